# SPDX-License-Identifier: Apache-2.0
"""Find the joints of a person in a BVH file, by the names that exporters use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
import re

from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh_file import BvhFile

_PARTS: dict[str, tuple[str, ...]] = {
    'Hip': ('upleg', 'thigh', 'hip', 'upperleg', 'legupper', 'femur', 'thighbend'),
    'Knee': ('leg', 'lowleg', 'knee', 'shin', 'lowerleg', 'calf', 'tibia', 'leglower'),
    'Ankle': ('ankle', 'foot'),
    'Shoulder': (
        'arm', 'uparm', 'upperarm', 'uarm', 'shldr', 'humerus', 'armupper', 'shldrbend',
        'shoulder',
    ),
    'Elbow': (
        'forearm', 'lowarm', 'elbow', 'lowerarm', 'farm', 'radius', 'armlower', 'forearmbend',
    ),
    'Wrist': ('wrist', 'hand'),
}  # fmt: skip
"""Names in use, without side, case and separators: those of CMU, Mixamo, LaFAN, Xsens, Rokoko,
Bandai-Namco, Blender, 3ds Max (Bip01), SMPL, CMU's asf, Motive, Unreal, VRM and Poser. The first
that the file has is taken. Some exporters call a clavicle shoulder, and toes foot."""
_SIDES = {'L': ('left', 'l'), 'R': ('right', 'r')}
_MIDDLE: dict[str, tuple[str, ...]] = {
    'Thorax': ('neck', 'neck1', 'neck01', 'neck0', 'lowerneck', 'neckbase', 'necklower', 'necka'),
    'Nose': ('head', 'head1', 'head01', 'headjoint', 'skull'),
}
_TOPS = ('headtopend', 'headend', 'headnub', 'headtop', 'headtip')
_LIMBS = ('Hip', 'Knee', 'Ankle'), ('Shoulder', 'Elbow', 'Wrist')
_WORDS = re.compile(r'[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+')
_USUAL_PREFIX = re.compile(r'^(mixamorig|character|bip0?1|skeleton)\d*[_ ]?')


def find_joints(path: Path, bvh: BvhFile) -> dict[str, int]:
    """
    Find a person's joints in a BVH file.

    :param path: path of the file, for the error.
    :param bvh: the file.
    :returns: index in the file for each of the 17 joints except Hip and Spine; a file without a
        neck has no Thorax, and one without an end of the head no Head.
    :raises RecordingError: naming the joints that could not be found, and the file's own names.
    """
    readings = _readings(bvh.joints)
    found: dict[str, int] = {}
    wanted: dict[str, tuple[str, ...]] = {}
    for joint, names in _MIDDLE.items():
        wanted[joint] = names
        candidates = _candidates(readings, names)
        if candidates:
            found[joint] = candidates[0]
    for side, limb in product(_SIDES, _LIMBS):
        names_of = {part: _sided(side, part) for part in limb}
        candidates_of = [_candidates(readings, names_of[part]) for part in limb]
        wanted |= {side + part: names_of[part] for part in limb}
        chosen = _chain(bvh, candidates_of)
        found |= {side + part: index for part, index in zip(limb, chosen) if index is not None}
    missing = [joint for joint in wanted if joint not in found and joint != 'Thorax']
    if missing:
        tried = '; '.join(f'{joint} ({", ".join(wanted[joint][:6])}, ...)' for joint in missing)
        raise RecordingError(
            f'{path}: no joint found for {tried}; the file has '
            f'{brief(", ".join(name for name in bvh.joints if name))}; name them in a mapping file'
        )
    top = _candidates(readings, _TOPS)
    ends = [
        index
        for index, parent in enumerate(bvh.parents)
        if parent == found['Nose'] and not bvh.joints[index] and bvh.offsets[index].any()
    ]
    if top or ends:
        found['Head'] = top[0] if top else ends[0]
    return found


def _sided(side: str, part: str) -> tuple[str, ...]:
    names = [word + name for name in _PARTS[part] for word in _SIDES[side]]
    return (*names, *(name + word for name in _PARTS[part] for word in _SIDES[side]))


def _readings(names: Sequence[str]) -> dict[str, list[int]]:
    """
    Return the ways to read each name: whole, without the common part, or its last words.

    :returns: readings with the joints that have them; joints whose whole name it is come first.
    """
    named = [(index, name) for index, name in enumerate(names) if name]
    squashed = {index: re.sub(r'[^a-z0-9]', '', _local(name).lower()) for index, name in named}
    shared = _shared([squashed[index] for index, _ in named[1:]])
    whole: dict[str, list[int]] = {}
    ends: dict[str, list[int]] = {}
    for index, name in named:
        usual = _USUAL_PREFIX.sub('', _local(name).lower())
        for reading in {re.sub(r'[^a-z0-9]', '', usual), squashed[index].removeprefix(shared)}:
            whole.setdefault(reading, []).append(index)
        words = [word.lower() for word in _WORDS.findall(_local(name))]
        for begin in range(len(words)):
            ends.setdefault(''.join(words[begin:]), []).append(index)
    return {
        reading: list(dict.fromkeys([*whole.get(reading, ()), *ends.get(reading, ())]))
        for reading in {*whole, *ends}
    }


def _local(name: str) -> str:
    """Return a name without its namespace."""
    return re.split(r'[:|]', name)[-1]


def _shared(names: Sequence[str]) -> str:
    """Return the common beginning of all names; nothing if there are few names."""
    if len(names) < 10:
        return ''
    first, last = min(names), max(names)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last))
    )
    return first[:length]


def _candidates(readings: Mapping[str, list[int]], names: Sequence[str]) -> list[int]:
    return list(dict.fromkeys(index for name in names for index in readings.get(name, ())))


def _chain(bvh: BvhFile, candidates: Sequence[list[int]]) -> tuple[int | None, ...]:
    """Choose a joint for each part of a limb, each below the one before it if possible."""
    if all(candidates):
        for first, second, third in product(*(each[:8] for each in candidates)):
            if bvh.depth(second, first) and bvh.depth(third, second):
                return first, second, third
    taken: list[int | None] = []
    for each in candidates:
        taken.append(next((index for index in each if index not in taken), None))
    return tuple(taken)
