# SPDX-License-Identifier: Apache-2.0
"""Skeletons that a model can be trained on: the names, parents and mirror pairs of the joints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from motion_predictor.errors import SkeletonError


@dataclass(frozen=True)
class Skeleton:
    """
    A kinematic tree of named joints.

    ``parents[j]`` is the index of the parent of joint j; the root comes first and has -1.
    ``mirror[j]`` is the index of the joint that replaces joint j when the person is mirrored.
    ``hips`` and ``shoulders`` are (right, left) pairs of joints; the line from right to left
    points to the body's left. ``ahead`` is a (from, to) pair whose line points ahead. The heading
    is computed from these, in this order of preference. If a skeleton has none of them, the axes
    of the input are kept, as for a robot arm on a fixed base.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    hips: tuple[int, int] | None = None
    shoulders: tuple[int, int] | None = None
    ahead: tuple[int, int] | None = None
    zero_is_missing: bool = True
    """Whether a joint at exactly (0, 0, 0) was not seen, as with trackers of people. False if a
    joint may really lie there, such as the base of an arm at the origin of its own frame."""
    bones_m: tuple[float, ...] | None = None
    """Usual length in metres of the bone above each joint, 0 for the root, (J,). A joint too far
    from its parent is recognised by these. None: the lengths of a person, by the names of the
    joints, otherwise 0.5 m."""

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
        """Return the number of joints, J."""
        return len(self.joints)

    @property
    def has_sides(self) -> bool:
        """Return whether any joint has a counterpart on the other side."""
        return any(other != joint for joint, other in enumerate(self.mirror))

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Return every (child, parent) pair of joint indices."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent >= 0)

    def index(self, joint: str) -> int:
        """
        Return the index of a joint.

        :raises SkeletonError: if there is no joint of this name; the error lists the names.
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
"""The 17 joints of Human3.6M, the model's own skeleton."""


def skeleton_to_dict(skeleton: Skeleton) -> dict[str, Any]:
    """
    Return a skeleton as JSON-able values; fields with their default value are left out.

    :returns: a dictionary that :func:`skeleton_from_dict` reads.
    """
    values: dict[str, Any] = {}
    for entry in fields(skeleton):
        value = getattr(skeleton, entry.name)
        if value != entry.default:
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def skeleton_from_dict(values: Mapping[str, Any]) -> Skeleton:
    """
    Build a skeleton from the values that :func:`skeleton_to_dict` returns.

    :raises SkeletonError: if the values do not describe a skeleton.
    """
    try:
        lists: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return Skeleton(**lists)
    except (TypeError, AttributeError) as error:
        raise SkeletonError(f'skeleton: {error}') from None
