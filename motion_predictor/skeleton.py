"""Joint names, parents and mirror pairs of the skeletons that a model can be trained on."""

from __future__ import annotations

from dataclasses import dataclass

from motion_predictor.errors import SkeletonError


@dataclass(frozen=True)
class Skeleton:
    """
    A kinematic tree of named joints.

    ``parents[j]`` is the index of joint j's parent, -1 for the root, which comes first.
    ``mirror[j]`` is the joint that takes joint j's place when the person is mirrored.
    ``hips`` and ``shoulders`` are the (right, left) pairs that define the heading.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    hips: tuple[int, int]
    shoulders: tuple[int, int]

    def __post_init__(self) -> None:
        count = len(self.joints)
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
        for label, pair in (('hips', self.hips), ('shoulders', self.shoulders)):
            if len(pair) != 2 or not all(0 <= joint < count for joint in pair):
                raise SkeletonError(f'{self.name}: {label}={pair}: must be two joint indices')

    @property
    def num_joints(self) -> int:
        """How many joints, J."""
        return len(self.joints)

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
