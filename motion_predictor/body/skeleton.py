"""Joint names, parents and mirror pairs of the skeletons that a model can be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from motion_predictor.common.files import brief, read_json, refused
from motion_predictor.errors import SkeletonError


@dataclass(frozen=True)
class Skeleton:
    """
    A kinematic tree of named joints.

    ``parents[j]`` is the index of joint j's parent, -1 for the root, which comes first.
    ``mirror[j]`` is the joint that takes joint j's place when the person is mirrored.
    ``hips`` and ``shoulders`` are the (right, left) pairs whose lines point to the left, and
    ``ahead`` a (from, to) pair that points ahead: these give the heading, in this order of
    preference. With none of them the axes of the input are kept, as for a robot arm on a fixed
    base.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    hips: tuple[int, int] | None = None
    shoulders: tuple[int, int] | None = None
    ahead: tuple[int, int] | None = None
    zero_is_missing: bool = True
    """Whether a joint at exactly (0, 0, 0) was not seen, as with trackers of people. False where
    a joint may really be there, such as the base of an arm at its own frame's origin."""
    bones_m: tuple[float, ...] | None = None
    """Usual length of the bone above each joint, metres, 0 for the root; by these a joint too far
    off is told. None: a person's, by the joints' names, else 0.5 m."""

    def __post_init__(self) -> None:
        count = len(self.joints)
        pairs = (self.hips, self.shoulders, self.ahead)
        indices = [*self.parents, *self.mirror, *(joint for pair in pairs for joint in pair or ())]
        if not all(isinstance(index, int) for index in indices):
            raise SkeletonError(f'{self.name}: parents and pairs must be whole numbers of joints')
        if not isinstance(self.zero_is_missing, bool):
            raise SkeletonError(
                f'{self.name}: zero_is_missing={self.zero_is_missing!r}: must be true or false'
            )
        if count < 2 or len(set(self.joints)) != count:
            raise SkeletonError(f'{self.name}: needs at least 2 joints with names all different')
        if len(self.parents) != count or self.parents[0] != -1:
            raise SkeletonError(
                f'{self.name}: parents must list {count} joints with -1 (the root) first, '
                f'got {self.parents}'
            )
        for joint, parent in enumerate(self.parents[1:], start=1):
            if not 0 <= parent < joint:
                raise SkeletonError(
                    f'{self.name}: the parent of {self.joints[joint]} is {parent}; '
                    f'it must come earlier in the list, in 0..{joint - 1}'
                )
        twice = [self.mirror[m] for m in self.mirror if 0 <= m < len(self.mirror)]
        if twice != list(range(count)):
            raise SkeletonError(f'{self.name}: mirror must swap pairs, got {self.mirror}')
        for label in ('hips', 'shoulders', 'ahead'):
            pair = getattr(self, label)
            if pair is not None and (
                len(pair) != 2 or not all(0 <= joint < count for joint in pair)
            ):
                raise SkeletonError(f'{self.name}: {label}={pair}: must be two joint indices')
        if self.bones_m is not None and (
            len(self.bones_m) != count
            or not all(0.0 <= length <= 100.0 for length in self.bones_m)
        ):
            raise SkeletonError(
                f'{self.name}: bones_m={self.bones_m}: must be {count} lengths of 0 to 100 m'
            )

    @property
    def num_joints(self) -> int:
        """How many joints, J."""
        return len(self.joints)

    @property
    def has_sides(self) -> bool:
        """Whether any joint has a counterpart on the other side, so that mirroring has a sense."""
        return any(other != joint for joint, other in enumerate(self.mirror))

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Every (child, parent) pair."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent >= 0)

    def index(self, joint: str) -> int:
        """
        Find a joint by its name.

        :raises SkeletonError: if there is no such joint, listing those there are.
        """
        try:
            return self.joints.index(joint)
        except ValueError:
            raise SkeletonError(
                f'{self.name} has no joint {joint!r}; it has {", ".join(self.joints)}'
            ) from None


H36M17 = Skeleton(
    name='h36m17',
    joints=(
        'Hip', 'RHip', 'RKnee', 'RAnkle', 'LHip', 'LKnee', 'LAnkle', 'Spine', 'Thorax', 'Nose',
        'Head', 'LShoulder', 'LElbow', 'LWrist', 'RShoulder', 'RElbow', 'RWrist',
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    mirror=(0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13),
    hips=(1, 4),
    shoulders=(14, 11),
)  # fmt: skip
"""Human3.6M's 17 joints, the model's own skeleton."""


def skeleton_to_dict(skeleton: Skeleton) -> dict[str, Any]:
    """
    Write a skeleton as JSON-able values, what is at its default left out.

    :returns: read back by :func:`skeleton_from_dict`.
    """
    values: dict[str, Any] = {}
    for entry in fields(skeleton):
        value = getattr(skeleton, entry.name)
        if value != entry.default:
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def skeleton_from_dict(values: Mapping[str, Any]) -> Skeleton:
    """
    Build a skeleton from what :func:`skeleton_to_dict` wrote.

    :raises SkeletonError: if it does not describe one.
    """
    try:
        lists: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return Skeleton(**lists)
    except (TypeError, AttributeError) as error:
        raise SkeletonError(f'skeleton: {error}') from None


MAX_FILE_BYTES = 256 * 1024
_FILE_KEYS = (
    'name', 'joints', 'parents', 'root', 'mirror', 'heading', 'zero_is_missing', 'bones_m',
)  # fmt: skip
_HEADINGS = ('left', 'ahead')


def read_skeleton(path: Path | str) -> Skeleton:
    """
    Read a skeleton file: JSON with names alone, no indices.

    - ``name``: of the skeleton; ``joints``: list of names, each parent before its children;
    - ``root``: the first joint's name (may be left out); ``parents``: the parent of every other
      joint, by name;
    - ``mirror`` (may be left out): list of [right, left] pairs of joints;
    - ``heading`` (may be left out): ``{"left": [[right joint, left joint], ...]}``, one or two
      pairs whose lines point to the left, and/or ``{"ahead": [from, to]}``; without it the axes
      of the input are kept;
    - ``zero_is_missing``: false where a joint may really lie at (0, 0, 0);
    - ``bones_m``: usual lengths of the bones in metres, by the name of the lower joint.

    :param path: the file.
    :raises SkeletonError: naming the file, what is wrong and what would do.
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
    mirror, pairs = list(range(len(joints))), content.get('mirror', [])
    if not isinstance(pairs, list):
        raise SkeletonError(f'mirror={pairs!r}: must be a list of [right, left] pairs')
    for pair in pairs:
        first, second = _pair(pair, 'mirror', index)
        if mirror[first] != first or mirror[second] != second:
            raise SkeletonError(f'mirror: {pair} is not the only pair of its joints')
        mirror[first], mirror[second] = second, first
    heading = content.get('heading', {})
    if not isinstance(heading, dict) or set(heading) - set(_HEADINGS):
        raise SkeletonError('heading must hold "left" (pairs right, left) or "ahead" (from, to)')
    left = heading.get('left', [])
    if not isinstance(left, list) or len(left) > 2:
        raise SkeletonError(f'heading.left={left!r}: must be one or two [right, left] pairs')
    sides = [_pair(pair, 'heading.left', index) for pair in left]
    ahead = heading.get('ahead')
    bones = content.get('bones_m')
    lengths: tuple[float, ...] | None = None
    if bones is not None:
        if not isinstance(bones, dict) or not all(
            isinstance(length, (int, float)) for length in bones.values()
        ):
            raise SkeletonError('bones_m must give lengths in metres by the name of the joint')
        for joint in bones:
            index(joint, 'bones_m')
        missing = [joint for joint in joints[1:] if joint not in bones]
        if missing:
            raise SkeletonError(f'bones_m lacks {", ".join(missing)}; give all or none')
        lengths = (0.0, *(float(bones[joint]) for joint in joints[1:]))
    zero = content.get('zero_is_missing', True)
    if not isinstance(zero, bool):
        raise SkeletonError(f'zero_is_missing={zero!r}: must be true or false')
    return Skeleton(
        name=name,
        joints=tuple(joints),
        parents=(-1, *(index(parents[joint], 'parents') for joint in joints[1:])),
        mirror=tuple(mirror),
        hips=sides[0] if sides else None,
        shoulders=sides[1] if len(sides) > 1 else None,
        ahead=None if ahead is None else _pair(ahead, 'heading.ahead', index),
        zero_is_missing=zero,
        bones_m=lengths,
    )


def _pair(pair: Any, wanted_by: str, index: Any) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
        raise SkeletonError(f'{wanted_by}: {pair!r}: must be two different joints')
    return index(pair[0], wanted_by), index(pair[1], wanted_by)
