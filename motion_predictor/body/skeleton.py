"""Joint names, parents and mirror pairs of the skeletons that a model can be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

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
