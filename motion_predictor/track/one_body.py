# SPDX-License-Identifier: Apache-2.0
"""Decide which joints of a pose belong to one body."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.geometry import squares
from motion_predictor.body.layout import FLOAT32_MOST, joints_there
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.limits import HistoryCounters, HistoryLimits

# Bones of a tall adult; a much longer one is an error of the tracker.
_BONES_M = {
    'RHip': 0.16, 'LHip': 0.16, 'RKnee': 0.50, 'LKnee': 0.50, 'RAnkle': 0.50, 'LAnkle': 0.50,
    'Spine': 0.30, 'Thorax': 0.35, 'Nose': 0.20, 'Head': 0.20, 'LShoulder': 0.25,
    'RShoulder': 0.25, 'LElbow': 0.35, 'RElbow': 0.35, 'LWrist': 0.32, 'RWrist': 0.32,
}  # fmt: skip
_OTHER_BONE_M = 0.5
_FAR_M = 1e3  # metres from the rest of the body: a bound, so that no number drowns the others
_CLEARLY_NEAR_M = 10.0  # metres from another joint: so near that the margin exceeds rounding
_MARGIN_M2 = 1e-6
_BEYOND_M = 1e8  # metres from the frame's origin: no place on Earth in any frame of reference


class OneBody:
    """Finds the joints that are present and near enough to one another; counts the others."""

    def __init__(
        self, skeleton: Skeleton, limits: HistoryLimits, counters: HistoryCounters
    ) -> None:
        """
        Compute the largest possible distance between each two joints.

        :param skeleton: skeleton of the poses.
        :param limits: limits on the poses.
        :param counters: counters to increase.
        """
        self.skeleton, self.limits, self.counters = skeleton, limits, counters
        self._near_m2 = _reach(skeleton, self.limits) ** 2
        self._clearly_near_m2 = self._near_m2 - _MARGIN_M2
        self._min_extent_m = self.limits.min_extent_m
        if skeleton.bones_m is not None:  # for a robot smaller than people
            self._min_extent_m = min(self._min_extent_m, 0.3 * max(skeleton.bones_m))

    def joints_shown(self, xyz: np.ndarray) -> np.ndarray:
        """
        Return which joints are present in a pose that no decoder has checked.

        :param xyz: joints as the sender gave them, (..., J, 3), in any layout.
        :returns: bool (..., J); the others are counted.
        """
        shown = joints_there(xyz, self.skeleton)
        if not shown.all():
            finite = (np.abs(xyz) <= FLOAT32_MOST).all(axis=-1)
            self.counters.joints_not_finite += int((~finite).sum())
            self.counters.joints_at_origin += int((finite & ~shown).sum())
        return shown

    def joints_of_one_body(self, xyz: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """
        Return the joints that are present and near enough to one another to form one body.

        :param xyz: metres, float64 (J, 3).
        :param seen: which joints are really shown, bool (J,); these are finite.
        :returns: which joints can be used, bool (J,); the others are counted.
        """
        kept = seen.copy()
        if not kept.all():
            self.counters.joints_missing += int((~seen).sum())
        if not kept.any():
            return kept
        # Relative to a point on the body, because coordinates in a map may be large. Points that
        # are extremely far away must not drown the rest.
        if kept.all():
            points = xyz - np.sort(xyz, axis=0)[len(xyz) // 2]
            if np.abs(points).max() <= _FAR_M and np.abs(xyz).max() <= _BEYOND_M:
                square = (points * points).sum(axis=1)
                apart = square[:, None] + square - 2.0 * points @ points.T
                if apart.max() >= self._min_extent_m**2 and (apart <= self._near_m2).all():
                    return kept  # as in most cases
        points = np.where(kept[:, None], xyz, 0.0)
        with np.errstate(over='ignore'):
            points = points - np.sort(points[kept], axis=0)[np.count_nonzero(kept) // 2]
        far = kept & ((np.abs(points) > _FAR_M) | (np.abs(xyz) > _BEYOND_M)).any(axis=1)
        if far.any():
            self.counters.joints_off_body += int(far.sum())
            kept &= ~far
            if not kept.any():
                return kept
        points = np.where(kept[:, None], points, 0.0)
        square = (points * points).sum(axis=1)
        apart = square[:, None] + square - 2.0 * points @ points.T
        both = kept[:, None] & kept
        if np.where(both, apart, 0.0).max() < self._min_extent_m**2 and kept.sum() > 2:
            self.counters.joints_off_body += int(kept.sum())
            return np.zeros_like(kept)
        conflicts = (apart > self._near_m2) & both
        while conflicts.any():
            # Remove the joint that disagrees with most others; of several, the one furthest away.
            votes = conflicts.sum(axis=1)
            worst = np.flatnonzero(votes == votes.max())
            far = np.where(both[worst], apart[worst], 0.0).sum(axis=1)
            off = int(worst[far.argmax()])
            kept[off] = False
            both[off], both[:, off] = False, False
            conflicts &= both
            self.counters.joints_off_body += 1
        return kept

    def are_clearly_bodies(self, xyz: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """
        Return of which poses :meth:`joints_of_one_body` surely keeps every joint that is seen.

        This counts nothing.

        :param xyz: metres, float64 (P, J, 3).
        :param seen: which joints are really shown, bool (P, J); these are finite, the others zero.
        :returns: bool (P,); False wherever a joint is near a limit, or too few are seen.
        """
        whole = bool(seen.all())
        points = xyz - xyz[np.arange(len(xyz)), 0 if whole else seen.argmax(axis=1)][:, None]
        if not whole:
            points *= seen[..., None]
        square = squares(points)
        apart = square[:, :, None] + square[:, None] - 2.0 * points @ points.transpose(0, 2, 1)
        if not whole:
            apart *= seen[:, :, None] & seen[:, None]
        clear = (apart <= self._clearly_near_m2).all(axis=(1, 2))
        clear &= apart.max(axis=(1, 2)) >= self._min_extent_m**2 + _MARGIN_M2
        clear &= square.max(axis=1) <= _CLEARLY_NEAR_M**2
        clear &= np.abs(xyz).max(axis=(1, 2)) < _BEYOND_M
        if not whole:
            clear &= seen.sum(axis=1) >= min(self.limits.min_joints, self.skeleton.num_joints)
        return np.asarray(clear)

    def is_body(self, kept: np.ndarray) -> bool:
        """
        Return whether enough joints are left to form a body.

        :param kept: joints from :meth:`joints_of_one_body`, bool (J,).
        """
        return bool(kept.sum() >= min(self.limits.min_joints, self.skeleton.num_joints))


def _reach(skeleton: Skeleton, limits: HistoryLimits) -> np.ndarray:
    # Return the largest distance of each two joints along the bones between them, metres (J, J).
    count = skeleton.num_joints
    reach = np.full((count, count), np.inf)
    np.fill_diagonal(reach, 0.0)
    for child, parent in skeleton.bones:
        length = _BONES_M.get(skeleton.joints[child], _OTHER_BONE_M)
        if skeleton.bones_m is not None:
            length = max(skeleton.bones_m[child], 0.01)
        reach[child, parent] = reach[parent, child] = limits.max_bone_ratio * length
    for middle in range(count):
        reach = np.minimum(reach, reach[:, middle, None] + reach[middle])
    if skeleton.bones_m is None:
        reach = np.minimum(reach, limits.max_extent_m)
    np.fill_diagonal(reach, np.inf)
    return reach
