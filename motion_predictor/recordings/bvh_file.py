# SPDX-License-Identifier: Apache-2.0
"""Parse the text of a BVH file and compute its joint positions from hierarchy and channels."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import re

import numpy as np
from numpy.typing import NDArray

from motion_predictor.common.files import brief, read_file
from motion_predictor.errors import RecordingError

MAX_FILE_BYTES = 512 * 2**20
MAX_JOINTS = 2000
CHUNK_JOINTS = 2**18
"""Number of joints times frames that are computed at a time: 25 MB."""
CHUNK_CHARACTERS = 2**20
FRAME_TIMES_S = 0.001, 1.0

_BOMS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
_MOTION = re.compile(r'\bMOTION\s+Frames\s*:\s*(\S+)\s+Frame\s*Time\s*:\s*(\S+)', re.IGNORECASE)
_SPACE = re.compile(r'\s')
_ODD_NAN = re.compile(r'[-+]?(?:\d\.#\w+|nan\(\w*\))', re.IGNORECASE)  # as C libraries write it
# a name ends with its line or with a brace: it may contain spaces
_WORD = re.compile(
    r"""\s*(?:
    (?P<kind>ROOT|JOINT)\b[ \t]*(?P<name>[^\n{}]*)
    | (?P<end>End)\b[^\n{}]*
    | (?P<open>\{) | (?P<close>\})
    | OFFSET\s+(?P<offset>[^\s{}]+\s+[^\s{}]+\s+[^\s{}]+)
    | CHANNELS\s+(?P<count>[^\s{}]+)(?P<channels>(?:\s+[A-Z](?:position|rotation)\b)*)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class BvhFile:
    """A parsed BVH file; the joints are in file order and include end sites with empty names."""

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: NDArray[np.float64]
    """Offset of each joint from its parent, in the file's units, ``(N, 3)``."""
    channels: tuple[tuple[str, ...], ...]
    """Names of the channels of each joint, for example 'Xposition', in the order of the values."""
    rate_hz: float
    values: NDArray[np.float64]
    """Values of the channels, ``(T, channels)``; NaN where the file has no number."""
    remarks: tuple[str, ...] = ()
    """Oddities of the file, in words."""

    def depth(self, joint: int, ancestor: int) -> int:
        """Return the number of bones between a joint and an ancestor, 0 if it is none."""
        steps = 0
        while joint > ancestor:
            joint, steps = self.parents[joint], steps + 1
        return steps if joint == ancestor else 0

    def at_rest(self) -> BvhFile:
        """Return the same body for one frame in its rest pose."""
        none = tuple(() for _ in self.joints)
        return replace(self, channels=none, values=np.zeros((1, 0)))

    def positions(self, wanted: Sequence[int]) -> NDArray[np.float64]:
        """
        Compute joint positions by forward kinematics.

        Position channels either replace the OFFSET or are added to it, as the file's own bones
        show: channels that equal the OFFSET are absolute, channels near zero are relative. Those
        of the root always replace it.

        :param wanted: indices of the joints.
        :returns: ``(T, wanted, 3)`` in the file's units and axes.
        """
        added = self._channels_are_added()
        frames = max(1, CHUNK_JOINTS // len(self.joints))
        parts = [
            self._chunk(self.values[begin : begin + frames], wanted, added)
            for begin in range(0, len(self.values), frames)
        ]
        return np.concatenate(parts)

    def _chunk(self, values: NDArray, wanted: Sequence[int], added: bool) -> NDArray[np.float64]:
        count = len(values)
        places = np.zeros((count, len(self.joints), 3))
        turns = np.zeros((count, len(self.joints), 3, 3))
        column = 0
        for index, parent in enumerate(self.parents):
            local = np.repeat(self.offsets[index][None], count, axis=0)
            turn = np.repeat(np.eye(3)[None], count, axis=0)
            for channel in self.channels[index]:
                axis = 'XYZ'.index(channel[0].upper())
                if channel[1:].lower() == 'position':
                    base = self.offsets[index, axis] if added and parent >= 0 else 0.0
                    local[:, axis] = base + values[:, column]
                else:
                    turn = turn @ _axis_rotations(axis, np.radians(values[:, column]))
                column += 1
            if parent < 0:
                places[:, index], turns[:, index] = local, turn
            else:
                places[:, index] = places[:, parent] + np.einsum(
                    'tij,tj->ti', turns[:, parent], local
                )
                turns[:, index] = turns[:, parent] @ turn
        return places[:, list(wanted)]

    def _channels_are_added(self) -> bool:
        """Return whether position channels below the root are relative, by a joints' majority."""
        relative = absolute = column = 0
        for index, names in enumerate(self.channels):
            where = {
                'XYZ'.index(name[0].upper()): column + i
                for i, name in enumerate(names)
                if name[1:].lower() == 'position'
            }
            column += len(names)
            bone = self.offsets[index]
            if index == 0 or len(where) < 3 or not bone.any():
                continue
            found = self.values[:, [where[axis] for axis in range(3)]]
            found = found[np.isfinite(found).all(axis=1)]
            if not len(found):
                continue
            middle = np.median(found, axis=0)
            if np.linalg.norm(middle) < np.linalg.norm(middle - bone):
                relative += 1
            else:
                absolute += 1
        return relative > absolute


def read_bvh_file(path: Path, rate_hz: float = 0.0) -> BvhFile:
    """
    Read and check the text of a BVH file.

    :param path: the file, in UTF-8 or UTF-16.
    :param rate_hz: frames per second instead of the file's own; 0 takes that of the file.
    :raises RecordingError: naming the file and what is malformed.
    """
    raw = read_file(path, max_bytes=MAX_FILE_BYTES)
    try:
        return _parse(_text(raw), rate_hz)
    except (ValueError, IndexError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f'{path}: not a BVH file that can be read: {brief(error)}') from None
    except MemoryError:
        raise RecordingError(f'{path}: {len(raw)} bytes are too large for the memory') from None


def _text(raw: bytes) -> str:
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), '')
    if not encoding and b'\0' in raw[:2]:
        encoding = 'utf-16-be' if raw[:1] == b'\0' else 'utf-16-le'
    text = raw.decode(encoding or 'utf-8', errors='replace')
    return text.replace('\r\n', '\n').replace('\r', '\n')


def _parse(text: str, rate_hz: float) -> BvhFile:
    header = _MOTION.search(text)
    hierarchy = text[: header.start()] if header else text
    words = hierarchy.split(None, 1)
    if not words or words[0].upper() != 'HIERARCHY':
        raise ValueError('it needs a HIERARCHY and a MOTION part')
    if header is None:
        raise ValueError('no MOTION with "Frames:" and "Frame Time:"')
    joints, parents, offsets, channels = _parse_hierarchy(words[1] if len(words) > 1 else '')
    remarks: list[str] = []
    if not rate_hz > 0.0:
        frame_time_s = float(_numbers(header.group(2))[0])
        if not FRAME_TIMES_S[0] <= frame_time_s <= FRAME_TIMES_S[1]:
            raise ValueError(
                f'Frame Time {frame_time_s:g} s is not within 0.001..1; give the rate, frames per '
                f'second'
            )
        rate_hz = 1.0 / frame_time_s
    values = _table(
        header.group(1), text[header.end() :], sum(len(names) for names in channels), remarks
    )
    return BvhFile(
        tuple(joints),
        tuple(parents),
        np.array(offsets),
        tuple(channels),
        rate_hz,
        values,
        tuple(remarks),
    )


def _table(declared: str, text: str, width: int, remarks: list[str]) -> NDArray[np.float64]:
    """Read the rows of channels; exporters often write one row more or less than declared."""
    if not declared.isdecimal():
        raise ValueError(f'Frames: {declared[:40]!r} is no whole number')
    count = int(declared)
    numbers = _numbers(text)
    rows = numbers.size // width if width else 0
    if rows < 1 or numbers.size != rows * width or abs(rows - count) > 1:
        raise ValueError(
            f'{count} frames of {width} channels need {count * width} numbers, got {numbers.size}'
        )
    if rows != count:
        remarks.append(f'{count} frames declared, {rows} found')
    values = numbers.reshape(rows, width)
    odd = ~np.isfinite(values)
    if odd.any():
        remarks.append(f'frames with numbers missing: {int(odd.any(axis=1).sum())}')
        values = np.where(odd, np.nan, values)
    return values


def _numbers(text: str) -> NDArray[np.float64]:
    """Read numbers separated by spaces, with decimal commas if there is no point."""
    if ',' in text:
        text = text.replace(',', ' ' if '.' in text else '.')
    if '#' in text or '(' in text:
        text = _ODD_NAN.sub('nan', text)
    parts = []
    begin = 0
    while begin < len(text):  # a string for each number of a long file would fill the memory
        end = _SPACE.search(text, begin + CHUNK_CHARACTERS)
        stop = end.start() if end else len(text)
        parts.append(np.array(text[begin:stop].split(), np.float64))
        begin = stop
    return np.concatenate(parts) if parts else np.zeros(0)


def _parse_hierarchy(
    text: str,
) -> tuple[list[str], list[int], list[list[float]], list[tuple[str, ...]]]:
    joints: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[str, ...]] = []
    stack: list[int] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            odd = text[position:].split(None, 1)[0]
            raise ValueError(f'unexpected {odd[:40]!r} in the HIERARCHY')
        position = word.end()
        if word['kind'] or word['end']:
            name = (word['name'] or '').strip()
            if word['kind'] and not name:
                raise ValueError(f'a {word["kind"]} without a name')
            if not stack and joints:
                raise ValueError(
                    f'more than one ROOT ({joints[0]}, {name}): a file of several people or '
                    f'things; export each on its own'
                )
            joints.append(name)
            parents.append(stack[-1] if stack else -1)
            offsets.append([0.0, 0.0, 0.0])
            channels.append(())
            if len(joints) > MAX_JOINTS:
                raise ValueError(f'more than {MAX_JOINTS} joints')
            continue
        if word['open']:
            if not joints:
                raise ValueError('a brace before the first joint')
            stack.append(len(joints) - 1)
            continue
        if not stack:
            raise ValueError('braces that do not belong together')
        if word['close']:
            stack.pop()
        elif word['offset']:
            offsets[stack[-1]] = _offset(word['offset'], joints[stack[-1]])
        else:
            channels[stack[-1]] = _channels(word['count'], word['channels'], joints[stack[-1]])
    if stack or not joints:
        raise ValueError('braces that do not belong together, or no joint')
    return joints, parents, offsets, channels


def _offset(text: str, joint: str) -> list[float]:
    try:
        found = _numbers(text).tolist()
    except ValueError:
        found = []
    if len(found) != 3 or not np.isfinite(found).all():
        raise ValueError(f'OFFSET {text[:60]!r} of {joint or "an end"}: three numbers are needed')
    return found


def _channels(count: str, names: str, joint: str) -> tuple[str, ...]:
    found = tuple(names.split())
    if not count.isdecimal() or int(count) != len(found):
        raise ValueError(
            f'CHANNELS {count[:40]} of {joint or "an end"}: {len(found)} position or rotation '
            f'channels follow'
        )
    odd = [name for name in found if name[0].upper() not in 'XYZ']
    if odd:
        raise ValueError(f'unknown channel {odd[0]!r} of {joint}')
    return found


def _axis_rotations(axis: int, angles: NDArray) -> NDArray:
    """Return rotations about one axis, ``(T, 3, 3)``."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out = np.repeat(np.eye(3)[None], len(angles), axis=0)
    out[:, first, first] = out[:, second, second] = np.cos(angles)
    out[:, second, first] = np.sin(angles)
    out[:, first, second] = -np.sin(angles)
    return out
