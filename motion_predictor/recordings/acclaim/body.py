# SPDX-License-Identifier: Apache-2.0
"""Read an ASF file: the bones of a body, and where their ends are at given angles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from motion_predictor.common.files import brief, read_file
from motion_predictor.errors import RecordingError

MAX_FILE_BYTES = 4 * 2**20
MAX_BONES = 500
INCH_M = 0.0254
ROOT = 'root'
_SECTIONS = (':units', ':root', ':bonedata', ':hierarchy')
_ANGLES = {'deg': np.pi / 180.0, 'rad': 1.0}
_ROOT_CHANNELS = {'TX', 'TY', 'TZ', 'RX', 'RY', 'RZ'}


@dataclass(frozen=True)
class Bone:
    """A bone: the vector to its end in the world's axes at rest, and the axes it turns about."""

    name: str
    parent: int
    """Index of the bone from whose end it starts; -1 for the root, which is a point."""
    vector: NDArray[np.float64]
    """From the bone's beginning to its end, in the file's units, ``(3,)``."""
    axes: Rotation
    """From the bone's own axes to those of the world."""
    channels: tuple[str, ...]
    """Names of its values in a frame of an AMC file, in their order: rx, ry, rz; and, for the
    root, tx, ty, tz."""


@dataclass(frozen=True)
class Body:
    """The bones of an ASF file, each after its parent; the first is the root."""

    bones: tuple[Bone, ...]
    unit_m: float
    """Metres in a unit of the file."""
    radians: float
    """Radians in a unit of the file's angles."""
    start: NDArray[np.float64]
    """Position of the root before its motion is added, in the file's units, ``(3,)``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the bones, 'root' first."""
        return tuple(bone.name for bone in self.bones)

    @property
    def moving(self) -> tuple[Bone, ...]:
        """Return the bones that have values in every frame, in the order of the bones."""
        return tuple(bone for bone in self.bones if bone.channels)

    def ends(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Compute the ends of the bones by forward kinematics.

        A bone with the axes C turns by C M C' in the axes of its parent, where M turns about the
        channels' axes one after another. For the root, its end is its place.

        :param values: values of the moving bones' channels, ``(T, channels)``.
        :returns: in metres and in the file's axes, ``(T, bones, 3)``.
        """
        count = len(values)
        places = np.zeros((count, len(self.bones), 3))
        turns: list[Rotation] = []
        column = 0
        for index, bone in enumerate(self.bones):
            own = values[:, column : column + len(bone.channels)]
            column += len(bone.channels)
            turn = bone.axes * _turned(bone.channels, own * self.radians) * bone.axes.inv()
            if bone.parent < 0:
                places[:, index] = self.start
                for channel, moved in zip(bone.channels, own.T):
                    if channel[0] == 't':
                        places[:, index, 'xyz'.index(channel[1])] += moved
            else:
                turn = turns[bone.parent] * turn
                places[:, index] = places[:, bone.parent] + turn.apply(bone.vector)
            turns.append(turn)
        return places * self.unit_m


def read_asf(path: Path) -> Body:
    """
    Read the body of an ASF file.

    The unit of its lengths is an inch divided by the ``length`` of ``:units``, 0.45 in the CMU
    database: 1 is 0.0254 / 0.45 m, 56.4 mm.

    :param path: the file.
    :raises RecordingError: naming the file and what is malformed.
    """
    text = read_file(path, max_bytes=MAX_FILE_BYTES).decode('utf-8', errors='replace')
    try:
        sections = _sections(text)
        units = {words[0]: words[1:] for words in sections[':units']}
        scale = _numbers(units.get('length', ['1']), 1, 'length of :units')[0]
        if not 1e-4 <= scale <= 1e4:
            raise ValueError(f'length {scale:g} of :units is not within 0.0001..10000')
        angle = ' '.join(units.get('angle', ['deg'])).lower()
        if angle not in _ANGLES:
            raise ValueError(f'angle {angle!r} of :units; expected deg or rad')
        root, start = _root(sections[':root'], _ANGLES[angle])
        bones = _ordered(
            root, _bones(sections[':bonedata'], _ANGLES[angle]), sections[':hierarchy']
        )
    except ValueError as error:
        raise RecordingError(f'{path}: not an ASF file that can be read: {brief(error)}') from None
    return Body(tuple(bones), INCH_M / scale, _ANGLES[angle], start)


def _turned(channels: Sequence[str], angles: NDArray[np.float64]) -> Rotation:
    """Return the rotations of frames, about the first channel's axis first."""
    turning = [index for index, name in enumerate(channels) if name[0] == 'r']
    if not turning:
        return Rotation.identity(len(angles))
    order = ''.join(channels[index][1] for index in turning)
    return Rotation.from_euler(order, angles[:, turning].reshape(len(angles), len(turning)))


def _sections(text: str) -> dict[str, list[list[str]]]:
    """Return the words of the lines of each section, without comments."""
    found: dict[str, list[list[str]]] = {}
    name = ''
    for line in text.splitlines():
        words = line.partition('#')[0].split()
        if not words:
            continue
        if words[0].startswith(':'):
            name = words[0].lower()
            found.setdefault(name, [])
        elif name:
            found[name].append(words)
    missing = [section for section in _SECTIONS[1:] if not found.get(section)]
    if missing:
        raise ValueError(f'no {", ".join(missing)}')
    found.setdefault(':units', [])
    return found


def _root(lines: list[list[str]], radians: float) -> tuple[Bone, NDArray[np.float64]]:
    fields = {words[0].lower(): words[1:] for words in lines}
    order = [word.upper() for word in fields.get('order', [])]
    if set(order) != _ROOT_CHANNELS or len(order) != len(_ROOT_CHANNELS):
        raise ValueError(f'order {" ".join(order)!r} of :root; expected TX TY TZ RX RY RZ')
    turn = _numbers(fields.get('orientation', ['0'] * 3), 3, 'orientation of :root')
    start = _numbers(fields.get('position', ['0'] * 3), 3, 'position of :root')
    axes = _axes(turn, ''.join(fields.get('axis', ['XYZ'])), radians, ':root')
    channels = tuple(word.lower() for word in order)
    return Bone(ROOT, -1, np.zeros(3), axes, channels), np.array(start)


def _bones(lines: list[list[str]], radians: float) -> Iterator[Bone]:
    """Yield the bones of ``:bonedata``; their parents are not known yet."""
    fields: dict[str, list[str]] | None = None
    for words in lines:
        key = words[0].lower()
        if key == 'begin':
            if fields is not None:
                raise ValueError('a begin within a bone, which has no end')
            fields = {}
        elif key == 'end':
            if fields is None:
                raise ValueError('an end without a begin')
            yield _bone(fields, radians)
            fields = None
        elif fields is not None and not words[0].startswith('('):  # more lines of limits
            fields[key] = words[1:]
    if fields is not None:
        raise ValueError(f'the bone {" ".join(fields.get("name", []))!r} has no end')


def _bone(fields: dict[str, list[str]], radians: float) -> Bone:
    name = ' '.join(fields.get('name', []))
    if not name or name == ROOT:
        raise ValueError(f'a bone is named {name!r}')
    direction = _numbers(fields.get('direction', []), 3, f'direction of {name}')
    length = _numbers(fields.get('length', []), 1, f'length of {name}')[0]
    axis = fields.get('axis', ['0', '0', '0', 'XYZ'])
    turn = _numbers(axis[:3], 3, f'axis of {name}')
    axes = _axes(turn, ''.join(axis[3:]) or 'XYZ', radians, name)
    channels = tuple(word.lower() for word in fields.get('dof', []))
    if not set(channels) <= {'rx', 'ry', 'rz'} or len(set(channels)) < len(channels):
        raise ValueError(f'dof {" ".join(channels)!r} of {name}; only rx, ry and rz are read')
    return Bone(name, -1, np.array(direction) * length, axes, channels)


def _axes(turn: Sequence[float], order: str, radians: float, of: str) -> Rotation:
    if sorted(order.upper()) != ['X', 'Y', 'Z']:
        raise ValueError(f'axis {order!r} of {of}; expected an order such as XYZ')
    index = ['XYZ'.index(letter) for letter in order.upper()]
    return Rotation.from_euler(order.lower(), [turn[each] * radians for each in index])


def _ordered(root: Bone, bones: Iterator[Bone], lines: list[list[str]]) -> list[Bone]:
    """Put the bones after their parents, as ``:hierarchy`` names them."""
    by_name = {}
    for bone in bones:
        if bone.name in by_name:
            raise ValueError(f'two bones are named {bone.name}')
        by_name[bone.name] = bone
        if len(by_name) > MAX_BONES:
            raise ValueError(f'more than {MAX_BONES} bones')
    children: dict[str, list[str]] = {}
    for words in lines:
        if words[0].lower() not in ('begin', 'end'):
            children.setdefault(words[0], []).extend(words[1:])
    ordered, indices = [root], {ROOT: 0}
    for parent in ordered:  # grows while it is read
        for name in children.pop(parent.name, ()):
            if name not in by_name or name in indices:
                fault = 'has two places' if name in indices else 'is not in :bonedata'
                raise ValueError(f'the bone {name} of :hierarchy {fault}')
            bone = by_name[name]
            indices[name] = len(ordered)
            ordered.append(Bone(name, indices[parent.name], bone.vector, bone.axes, bone.channels))
    loose = [name for name in by_name if name not in indices]
    if loose or children:
        raise ValueError(f'no way from the root to {", ".join([*loose, *children])}')
    return ordered


def _numbers(words: Sequence[str], count: int, of: str) -> list[float]:
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f'{of}: {" ".join(words)[:60]!r}; expected {count} numbers')
    return found
