"""A layout: a tracker's joint order, and how it becomes the model's 17 joints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
import difflib

import numpy as np

from motion_predictor.body.geometry import lengths, torso_frame, unit
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.files import brief
from motion_predictor.errors import ShapeError, SkeletonError

Source = str | Mapping[str, float]
"""A source joint's name, or source joints with weights that sum to one."""

SPINE_FRACTION = 0.47
"""Where the spine joint lies on the way from Hip to Thorax."""
NOSE_UP_M = 0.18
NOSE_AHEAD_M = 0.02
"""The nose joint seen from Thorax: along the neck, and ahead of it (see HEAD_TOP_M)."""
HEAD_TOP_M = 0.27
"""Thorax to the top of the head. These three are the medians of the recordings that the models
are trained on (0.24 to 0.30 m for such a torso), not of Human3.6M itself, where it is 0.19 m."""
SKULL_TO_NOSE_M = 0.075
"""From the joint at the skull's base ahead to the nose."""
MAX_PAIR_M = 0.8
"""Joints further apart than this have no meaningful middle: one of them is wrong."""
MAX_HEAD_M = 0.6
"""A head joint further from Thorax than this does not say where the head is."""

DERIVED = ('Hip', 'Spine', 'Nose', 'Head')
"""Joints that a mapping may leave out: they follow from the others."""
MAX_NAME = 128
"""Characters of a name."""
IDENTITY = 'identity'
"""Name of the layout that is the model's own skeleton, whatever that is."""


@dataclass(frozen=True)
class Layout:
    """
    One publisher's joints, in its order, and what the model's joints are made of.

    ``mapping`` gives for a joint of the model the source joint, or the weighted mean of source
    joints, that it is. Hip, Spine, Nose and Head may be left out: Hip is then the middle of the
    hips, Spine lies 47% of the way from Hip to Thorax, Nose is ahead of the neck, and Head, the
    TOP of the head, lies 0.27 m (for a torso of 0.478 m, else in proportion) from Thorax towards
    the mean of ``head_towards`` or, without those, up the spine.
    """

    name: str
    joints: tuple[str, ...]
    mapping: Mapping[str, Source]
    units: str = 'm'
    """What the publisher's lengths are in; :meth:`to_model` expects metres whatever it says."""
    thorax_rise_m: float = 0.0
    """Added to Thorax up the spine, for sources that only know the line of the shoulders."""
    nose_ahead_m: float = 0.0
    """Added to Nose ahead of the body (scaled with it), for sources that give a skull centre."""
    head_towards: tuple[str, ...] = ()
    """Source joints whose mean shows the direction of the head: both ears, or the skull."""
    target: Skeleton = H36M17
    """The model's joints. For another skeleton than a person's the mapping must name them all."""

    _weights: np.ndarray = field(init=False, repr=False, compare=False)  # (17, J)
    _uses: np.ndarray = field(init=False, repr=False, compare=False)  # (17, J) bool
    _made: np.ndarray = field(init=False, repr=False, compare=False)  # (17,) bool
    _pairs: np.ndarray = field(init=False, repr=False, compare=False)  # (pairs, 3)
    _towards: np.ndarray = field(init=False, repr=False, compare=False)  # (n,)
    _mapped: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise SkeletonError(f'{self.name}: joints must have names, all of them different')
        target = self.target
        unknown = sorted(set(self.mapping) - set(target.joints))
        if unknown:
            raise SkeletonError(
                f'{self.name}: mapping names {unknown}, which the model does not have; '
                f'it has {", ".join(target.joints)}'
            )
        derived = DERIVED if self._is_person else ()
        absent = [j for j in target.joints if j not in self.mapping and j not in derived]
        if absent:
            raise SkeletonError(
                f'{self.name}: mapping lacks {", ".join(absent)}; '
                f'only {", ".join(derived) or "none"} can be left out'
            )
        for name, value in (
            ('thorax_rise_m', self.thorax_rise_m),
            ('nose_ahead_m', self.nose_ahead_m),
        ):
            if not 0.0 <= value <= 0.3:
                raise SkeletonError(f'{self.name}: {name}={value}: must lie in 0..0.3')
        count = len(self.joints)
        weights = np.zeros((target.num_joints, count))
        pairs = []
        for joint, source in self.mapping.items():
            row = target.index(joint)
            parts = {source: 1.0} if isinstance(source, str) else dict(source)
            if not parts or not abs(sum(parts.values()) - 1.0) <= 1e-6:  # nor NaN
                raise SkeletonError(
                    f'{self.name}: the weights of {joint} are {brief(parts)}; they must sum to 1'
                )
            columns = [self._column(part, joint) for part in parts]
            weights[row, columns] = list(parts.values())
            if self._is_person:
                pairs += [(row, columns[0], other) for other in columns[1:]]
        if self._is_person and 'Hip' not in self.mapping:
            right, left = (H36M17.index(joint) for joint in ('RHip', 'LHip'))
            weights[0] = 0.5 * (weights[right] + weights[left])
            pairs.append((0, int(weights[right].argmax()), int(weights[left].argmax())))
        towards = [self._column(joint, 'head_towards') for joint in self.head_towards]
        freeze = object.__setattr__
        freeze(self, '_weights', weights)
        freeze(self, '_uses', weights != 0.0)
        freeze(self, '_made', self._uses.any(axis=1))
        freeze(self, '_pairs', np.array(pairs, dtype=np.int64).reshape(-1, 3))
        freeze(self, '_towards', np.array(towards, dtype=np.int64))
        freeze(self, '_mapped', frozenset(self.mapping))

    @property
    def num_joints(self) -> int:
        """How many joints the publisher sends, J_src."""
        return len(self.joints)

    @property
    def _is_person(self) -> bool:
        return self.target.joints == H36M17.joints

    @property
    def used(self) -> np.ndarray:
        """Return indices of the source joints that the model's joints are made of, int64 (n,)."""
        return np.union1d(np.flatnonzero(self._uses.any(axis=0)), self._towards)

    def index(self, joint: str) -> int:
        """
        Find a source joint by its name.

        :raises SkeletonError: if there is no such joint.
        """
        return self._column(joint, 'index')

    def _column(self, joint: str, wanted_by: str) -> int:
        try:
            return self.joints.index(joint)
        except ValueError:
            raise SkeletonError(
                f'{self.name}: {wanted_by} names {brief(repr(joint))}, which is not among its '
                f'joints{suggest(str(joint)[:MAX_NAME], self.joints)}'
            ) from None

    def to_model(
        self, xyz: np.ndarray, seen: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Turn a publisher's joints into the model's.

        What is made of joints that were not seen is missing; missing results are zeros.

        :param xyz: metres, shape ``(..., J_src, 3)``, any origin and axes.
        :param seen: which joints are really shown, all of them finite, bool ``(..., J_src)``;
            by default those of :func:`joints_there`.
        :returns: float64 ``(..., J, 3)`` in metres and bool ``(..., J)``, J of the target.
        :raises ShapeError: if the number of joints is not this layout's.
        """
        xyz = np.asarray(xyz, dtype=np.float64)
        if xyz.ndim < 2 or xyz.shape[-2:] != (self.num_joints, 3):
            raise ShapeError(
                f'xyz: expected (..., {self.num_joints}, 3) for layout {self.name}, '
                f'got {xyz.shape}'
            )
        if seen is None:
            seen = joints_there(xyz, self.target)
        else:
            seen = np.asarray(seen, dtype=bool)
            if seen.shape != xyz.shape[:-1]:
                raise ShapeError(f'seen: expected {xyz.shape[:-1]}, got {seen.shape}')
        if seen.all():
            points = np.ascontiguousarray(xyz)
            known = np.broadcast_to(self._made, (*xyz.shape[:-2], len(self._made))).copy()
        else:
            points = np.where(seen[..., None], xyz, 0.0)
            known = self._made & ~(~seen[..., None, :] & self._uses).any(axis=-1)
        joints = self._weights @ points  # (..., 17, 3)
        for row, first, second in self._pairs:
            apart = lengths(points[..., first, :] - points[..., second, :])
            known[..., row] &= apart <= MAX_PAIR_M
        self._derive(joints, known, points, seen)
        joints[~known] = 0.0
        return joints, known

    def _derive(
        self, joints: np.ndarray, known: np.ndarray, points: np.ndarray, seen: np.ndarray
    ) -> None:
        # Fills in Thorax' rise, Spine, Nose and Head, in place.
        if not self._is_person:
            return
        if self.thorax_rise_m:
            up, clear = unit(joints[..., _THORAX, :] - joints[..., _HIP, :])
            joints[..., _THORAX, :] += self.thorax_rise_m * up
            known[..., _THORAX] &= known[..., _HIP] & clear
        if 'Spine' not in self._mapped:
            hip, thorax = joints[..., _HIP, :], joints[..., _THORAX, :]
            joints[..., _SPINE, :] = hip + SPINE_FRACTION * (thorax - hip)
            known[..., _SPINE] = known[..., _HIP] & known[..., _THORAX]
        needs_frame = self.nose_ahead_m or not {'Nose', 'Head'} <= self._mapped
        if not needs_frame:
            return
        axes, scale, framed = torso_frame(joints, known)
        ahead, up = axes[..., 0], axes[..., 2]
        if self.head_towards:
            target = points[..., self._towards, :].mean(axis=-2)
            neck, clear = unit(target - joints[..., _THORAX, :])
            away = lengths(target - joints[..., _THORAX, :])
            clear &= seen[..., self._towards].all(axis=-1) & (away <= MAX_HEAD_M)
        else:
            neck, clear = up, framed
        if 'Nose' not in self._mapped:
            offset = NOSE_UP_M * neck + NOSE_AHEAD_M * ahead
            joints[..., _NOSE, :] = joints[..., _THORAX, :] + scale[..., None] * offset
            known[..., _NOSE] = framed & clear
        elif self.nose_ahead_m:
            joints[..., _NOSE, :] += scale[..., None] * self.nose_ahead_m * ahead
            known[..., _NOSE] &= framed
        if 'Head' not in self._mapped:
            top = joints[..., _THORAX, :] + scale[..., None] * HEAD_TOP_M * neck
            joints[..., _HEAD, :] = top
            known[..., _HEAD] = known[..., _HIP] & known[..., _THORAX] & clear


_HIP, _SPINE, _THORAX, _NOSE, _HEAD = (
    H36M17.index(joint) for joint in ('Hip', 'Spine', 'Thorax', 'Nose', 'Head')
)


FLOAT32_MOST = float(np.finfo(np.float32).max)
"""Recordings and the outputs are float32: a coordinate beyond this is no place."""


def joints_there(xyz: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Tell which joints are really shown: no NaN, nothing that float32 cannot hold, no void.

    :param xyz: as they came, ``(..., J, 3)``, of whatever layout.
    :param skeleton: the model's; the base of an arm may lie at its own frame's origin.
    :returns: bool ``(..., J)``.
    """
    held: np.ndarray = (np.abs(xyz) <= FLOAT32_MOST).all(axis=-1)  # not NaN either
    return held & xyz.any(axis=-1) if skeleton.zero_is_missing else held


def suggest(name: str, known: Iterable[str]) -> str:
    """Return words that name the closest of what is known; '' where none is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.4)
    return f'; did you mean {close[0]!r}?' if close else ''
