# SPDX-License-Identifier: Apache-2.0
"""Read skeletons from files: JSON with names of joints and without indices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.files import brief, read_json, refused
from motion_predictor.errors import SkeletonError

Index = Callable[[Any, str], int]
"""A function from a joint's name, and the key that mentions it (for errors), to its index."""
MAX_FILE_BYTES = 256 * 1024
_FILE_KEYS = (
    'name', 'joints', 'parents', 'root', 'mirror', 'heading', 'zero_is_missing', 'bones_m',
)  # fmt: skip
_HEADINGS = ('left', 'ahead')


def read_skeleton(path: Path | str) -> Skeleton:
    """
    Read a skeleton file: JSON with names of joints and without indices.

    - ``name``: the name of the skeleton;
    - ``joints``: the list of joint names, each parent before its children;
    - ``root`` (optional): the name of the first joint;
    - ``parents``: the parent of every other joint, by name;
    - ``mirror`` (optional): the list of [right, left] pairs of joints;
    - ``heading`` (optional): ``{"left": [[right joint, left joint], ...]}``, one or two pairs
      whose lines point to the left, or ``{"ahead": [from, to]}``, or both; without it the axes of
      the input are kept;
    - ``zero_is_missing`` (optional): false if a joint may really lie at (0, 0, 0);
    - ``bones_m`` (optional): the usual lengths of the bones in metres, by the name of the lower
      joint.

    :param path: the file.
    :raises SkeletonError: if the file is not a skeleton; the error names the file, the fault and
        the remedy.
    """
    path = Path(path)
    content = read_json(path, SkeletonError, MAX_FILE_BYTES)
    try:
        with refused(path, 'does not describe a skeleton', SkeletonError):
            return _parse_skeleton(content, path.stem)
    except SkeletonError as error:
        raise SkeletonError(f'skeleton file {path}: {brief(error)}') from None


def _parse_skeleton(content: Any, stem: str) -> Skeleton:
    if not isinstance(content, dict):
        raise SkeletonError('expected named values at the top')
    unknown = sorted(set(content) - set(_FILE_KEYS))
    if unknown:
        raise SkeletonError(f'unknown key {unknown[0]!r}; known are {", ".join(_FILE_KEYS)}')
    joints, parents = content.get('joints'), content.get('parents')
    if not isinstance(joints, list) or not all(isinstance(name, str) for name in joints):
        raise SkeletonError('joints must be a list of names')
    if not isinstance(parents, dict):
        raise SkeletonError('parents must give the parent of each joint by name')
    name = str(content.get('name', stem))
    where = {joint: index for index, joint in enumerate(joints)}

    def index(joint: Any, wanted_by: str) -> int:
        if not isinstance(joint, str) or joint not in where:
            raise SkeletonError(f'{wanted_by} names {joint!r}; the joints are {", ".join(joints)}')
        return where[joint]

    root = content.get('root', joints[0] if joints else '')
    if index(root, 'root') != 0:
        raise SkeletonError(f'root {root!r} must come first among the joints, not {joints[0]!r}')
    for joint in parents:
        index(joint, 'parents')
    orphans = [joint for joint in joints[1:] if joint not in parents]
    if orphans or root in parents:
        raise SkeletonError(f'parents must name every joint but {root!r}; it lacks {orphans}')
    mirror = _mirror(content.get('mirror', []), len(joints), index)
    heading = content.get('heading', {})
    if not isinstance(heading, dict) or set(heading) - set(_HEADINGS):
        raise SkeletonError('heading must hold "left" (pairs right, left) or "ahead" (from, to)')
    left = heading.get('left', [])
    if not isinstance(left, list) or len(left) > 2:
        raise SkeletonError(f'heading.left={left!r}: must be one or two [right, left] pairs')
    sides = [_pair(pair, 'heading.left', index) for pair in left]
    ahead = heading.get('ahead')
    lengths = _bones(content.get('bones_m'), joints, index)
    zero = content.get('zero_is_missing', True)
    if not isinstance(zero, bool):
        raise SkeletonError(f'zero_is_missing={zero!r}: must be true or false')
    return Skeleton(
        name=name,
        joints=tuple(joints),
        parents=(-1, *(index(parents[joint], 'parents') for joint in joints[1:])),
        mirror=mirror,
        hips=sides[0] if sides else None,
        shoulders=sides[1] if len(sides) > 1 else None,
        ahead=None if ahead is None else _pair(ahead, 'heading.ahead', index),
        zero_is_missing=zero,
        bones_m=lengths,
    )


def _mirror(pairs: Any, count: int, index: Index) -> tuple[int, ...]:
    # Return, for every joint, its counterpart; a joint without one is its own.
    mirror = list(range(count))
    if not isinstance(pairs, list):
        raise SkeletonError(f'mirror={pairs!r}: must be a list of [right, left] pairs')
    for pair in pairs:
        first, second = _pair(pair, 'mirror', index)
        if mirror[first] != first or mirror[second] != second:
            raise SkeletonError(f'mirror: {pair} is not the only pair of its joints')
        mirror[first], mirror[second] = second, first
    return tuple(mirror)


def _bones(bones: Any, joints: list[str], index: Index) -> tuple[float, ...] | None:
    # Return the bone lengths in the order of the joints, 0 for the root; None if none are given.
    if bones is None:
        return None
    if not isinstance(bones, dict) or not all(
        isinstance(length, (int, float)) for length in bones.values()
    ):
        raise SkeletonError('bones_m must give lengths in metres by the name of the joint')
    for joint in bones:
        index(joint, 'bones_m')
    missing = [joint for joint in joints[1:] if joint not in bones]
    if missing:
        raise SkeletonError(f'bones_m lacks {", ".join(missing)}; give all or none')
    return (0.0, *(float(bones[joint]) for joint in joints[1:]))


def _pair(pair: Any, wanted_by: str, index: Index) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
        raise SkeletonError(f'{wanted_by}: {pair!r}: must be two different joints')
    return index(pair[0], wanted_by), index(pair[1], wanted_by)
