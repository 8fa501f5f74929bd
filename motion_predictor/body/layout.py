# SPDX-License-Identifier: Apache-2.0
"""A layout: the order of a tracker's joints, and how they become the model's 17 joints."""

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
"""The name of a source joint, or source joints with weights that sum to one."""

SPINE_FRACTION = 0.47
"""Position of the spine joint on the line from Hip (0) to Thorax (1)."""
NOSE_UP_M = 0.18
NOSE_AHEAD_M = 0.02
"""Position of the nose joint from Thorax, in metres: along the neck, and ahead of it."""
HEAD_TOP_M = 0.27
"""Distance from Thorax to the top of the head, in metres. This and the two values above are the
medians of the recordings that the models are trained on (0.24 to 0.30 m for such a torso). They
are not those of Human3.6M, where this distance is 0.19 m."""
SKULL_TO_NOSE_M = 0.075
"""Distance from the joint at the base of the skull forward to the nose, in metres."""
MAX_PAIR_M = 0.8
"""Two joints further apart than this, in metres, have no meaningful middle: one of them is wrong.
"""
MAX_HEAD_M = 0.6
"""A head joint further from Thorax than this, in metres, does not show where the head is."""

DERIVED = ('Hip', 'Spine', 'Nose', 'Head')
"""Joints that a mapping may leave out, because they are computed from the others."""
MAX_NAME = 128
"""Greatest number of characters in a name."""
IDENTITY = 'identity'
"""Name of the layout that equals the model's own skeleton, whatever that skeleton is."""


@dataclass(frozen=True)
class Layout:
    """
    The joints of one publisher, in its order, and the rule that makes the model's joints of them.

    ``mapping`` names, for each joint of the model, its source joint or the source joints with the
    weights of their mean. Hip, Spine, Nose and Head may be left out and are then derived. Hip is
    the middle of the hips. Spine lies 47 % of the way from Hip to Thorax. Nose lies ahead of the
    neck. Head is the TOP of the head. It lies 0.27 m from Thorax (for a torso of 0.478 m,
    otherwise in proportion), towards the mean of ``head_towards`` or, without those joints, up the
    spine.
    """

    name: str
    joints: tuple[str, ...]
    mapping: Mapping[str, Source]
    units: str = 'm'
    """Unit of the publisher's lengths. :meth:`to_model` expects metres in any case."""
    thorax_rise_m: float = 0.0
    """Distance in metres by which Thorax is raised along the spine, for sources that only know the
    line between the shoulders."""
    nose_ahead_m: float = 0.0
    """Distance in metres by which Nose is moved ahead of the body (scaled with the body), for
    sources that send the centre of the skull."""
    head_towards: tuple[str, ...] = ()
    """Source joints whose mean shows the direction of the head: both ears, or the skull."""
    target: Skeleton = H36M17
    """The model's skeleton. If it is not the default skeleton of a person, the mapping must name
    all of its joints."""

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
            if not parts or not abs(sum(parts.values()) - 1.0) <= 1e-6:  # this also refuses NaN
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
        """Return the number of joints that the publisher sends, J_src."""
        return len(self.joints)

    @property
    def _is_person(self) -> bool:
        return self.target.joints == H36M17.joints

    @property
    def used(self) -> np.ndarray:
        """Return the indices of the source joints that the mapping uses, int64 ``(n,)``."""
        return np.union1d(np.flatnonzero(self._uses.any(axis=0)), self._towards)

    def index(self, joint: str) -> int:
        """
        Return the index of a source joint.

        :raises SkeletonError: if there is no joint of this name.
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
        Convert a publisher's joints into the model's joints.

        A joint whose source joints were not seen is missing; missing joints are zeros.

        :param xyz: metres, ``(..., J_src, 3)``, with any origin and axes.
        :param seen: True for each joint that is really shown, bool ``(..., J_src)``; these joints
            must all be finite. The default is the result of :func:`joints_there`.
        :returns: float64 ``(..., J, 3)`` in metres, and bool ``(..., J)``, True for each joint
            that is not missing; J is the number of joints of the target skeleton.
        :raises ShapeError: if the number of joints is not that of this layout.
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
        # Raise Thorax and fill in Spine, Nose and Head, in place.
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
"""Largest coordinate that float32 holds. Recordings and outputs are float32, so a coordinate
beyond this is not a position."""


def joints_there(xyz: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return which joints are really shown.

    A joint is not shown if a coordinate is NaN or too large for float32, or if it lies at exactly
    (0, 0, 0) where the skeleton says that this means a missing joint.

    :param xyz: joints as the sender gave them, ``(..., J, 3)``, in any layout.
    :param skeleton: the model's skeleton; the base of an arm may lie at the origin of its own
        frame.
    :returns: bool ``(..., J)``.
    """
    held: np.ndarray = (np.abs(xyz) <= FLOAT32_MOST).all(axis=-1)  # this also excludes NaN
    return held & xyz.any(axis=-1) if skeleton.zero_is_missing else held


def suggest(name: str, known: Iterable[str]) -> str:
    """Return words that name the known name closest to ``name``; '' if none is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.4)
    return f'; did you mean {close[0]!r}?' if close else ''
