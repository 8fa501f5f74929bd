# SPDX-License-Identifier: Apache-2.0
"""Convert an observation into a pose in the model's joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from motion_predictor.body.layout import joints_there, Layout
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.sources.observation import Observation
from motion_predictor.track.limits import PeopleCounters, PeopleLimits
from motion_predictor.track.one_body import OneBody

_BEYOND_M = 1e6  # metres from the frame's origin: nobody is at such a place


class PoseReader:
    """Makes a pose in the model's joints from an observation."""

    def __init__(
        self,
        skeleton: Skeleton,
        layout: Layout | None,
        limits: PeopleLimits,
        body: OneBody,
        counters: PeopleCounters,
    ) -> None:
        """
        Prepare for observations of one layout.

        :param skeleton: the model's skeleton.
        :param layout: the publisher's joints; None: the model's own.
        :param limits: limits on the data.
        :param body: decides which joints are present and belong to one body.
        :param counters: counters to increase.
        """
        self.layout = layout
        self._skeleton, self._limits = skeleton, limits
        self._body, self._counters = body, counters

    def is_well_formed(self, observation: Observation) -> bool:
        """Return whether the arrays have the layout's shape."""
        joints = (self.layout or self._skeleton).num_joints
        return np.shape(observation.xyz) == (joints, 3) and all(
            array is None or np.shape(array) == (joints,)
            for array in (observation.confidence, observation.seen)
        )

    def read(self, observation: Observation) -> tuple[np.ndarray, np.ndarray] | None:
        """
        Return the joints of a body.

        :param observation: a well-formed observation.
        :returns: metres, float64 (J, 3), and which of them belong to one body, bool (J,), the
            others being zero; None if these are too few.
        """
        return self._body_of(*self._to_model(observation))

    def read_all(
        self, observations: Sequence[Observation]
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """
        Return what :meth:`read` returns for each observation, computed together.

        :param observations: well-formed observations.
        """
        told = {(each.seen is None, each.confidence is None) for each in observations}
        if len(told) > 1:
            return [self.read(each) for each in observations]
        one = observations[0]
        together = Observation(
            one.stamp_ns, one.frame_id, one.person, np.array([each.xyz for each in observations]),
            None if one.confidence is None else np.array([o.confidence for o in observations]),
            None if one.seen is None else np.array([each.seen for each in observations]),
        )  # fmt: skip
        xyz, shown = self._to_model(together)
        xyz = np.where(shown[..., None], xyz, 0.0)
        clear = self._body.are_clearly_bodies(xyz, shown)
        self._body.counters.joints_missing += int((~shown[clear]).sum())
        alone = (None if sure else self._body_of(*pose) for sure, *pose in zip(clear, xyz, shown))
        return [
            (pose, seen) if sure else found
            for sure, pose, seen, found in zip(clear.tolist(), xyz, shown, alone)
        ]

    def _body_of(self, xyz: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        seen = self._body.joints_of_one_body(xyz, shown)
        if not self._body.is_body(seen):
            self._body.counters.poses_without_body += 1
            return None
        return np.where(seen[:, None], xyz, 0.0), seen

    def place(self, observation: Observation) -> np.ndarray | None:
        """
        Return the position of a person from whatever points there are.

        :param observation: an observation, perhaps malformed.
        :returns: metres, float64 (J, 3), see :func:`measured_pose`; None if nothing is known.
        """
        skeleton = self._skeleton
        xyz = np.asarray(observation.xyz, dtype=np.float64)
        if xyz.ndim != 2 or xyz.shape[1:] != (3,):
            return None
        if self.is_well_formed(observation):
            for trusted in (observation, replace(observation, confidence=None)):
                pose = measured_pose(*self._to_model(trusted, count=False), skeleton)
                if pose is not None:
                    return pose
            if observation.seen is not None:
                return points_as_pose(xyz, np.asarray(observation.seen, dtype=bool), skeleton)
        return points_as_pose(xyz, joints_there(xyz, skeleton), skeleton)

    def _to_model(
        self, observation: Observation, count: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        xyz = np.asarray(observation.xyz, dtype=np.float64)
        if observation.seen is None:
            seen = self._body.joints_shown(xyz)
        else:
            seen = np.asarray(observation.seen, dtype=bool)
        if observation.confidence is not None:
            low = np.asarray(observation.confidence) < self._limits.min_confidence  # not for NaN
            if low.any():
                self._counters.joints_low_confidence += int((low & seen).sum()) if count else 0
                seen = seen & ~low
        return (xyz, seen) if self.layout is None else self.layout.to_model(xyz, seen)


def measured_pose(xyz: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """
    Move each unseen joint to the nearest seen joint along the bones.

    The result has one point per joint, and each point was measured.

    :param xyz: metres, (J, 3).
    :param seen: which joints were measured, bool (J,).
    :param skeleton: gives the bones.
    :returns: metres, (J, 3); None if no joint was seen.
    """
    usable = seen & (np.abs(np.where(seen[:, None], xyz, 0.0)) < _BEYOND_M).all(axis=1)
    if not usable.any():
        return None
    order = _nearest_joints(skeleton)  # (J, J)
    first = usable[order].argmax(axis=1)
    return np.asarray(xyz, dtype=np.float64)[order[np.arange(len(order)), first]]


def points_as_pose(points: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """
    Return measured points that are not the model's joints as a pose: repeated or cut.

    :param points: metres, (N, 3), in any layout.
    :param seen: which points were measured, bool (N,).
    :param skeleton: the model's skeleton.
    :returns: metres, (J, 3); None if no point was measured.
    """
    there = seen & (np.abs(np.where(seen[:, None], points, 0.0)) < _BEYOND_M).all(axis=1)
    if not there.any():
        return None
    return np.resize(points[there], (skeleton.num_joints, 3)).astype(np.float64)


@lru_cache(maxsize=8)
def _nearest_joints(skeleton: Skeleton) -> np.ndarray:
    # For each joint, all joints in the order of the bones between them: (J, J).
    count = skeleton.num_joints
    apart = np.full((count, count), count)
    np.fill_diagonal(apart, 0)
    for child, parent in skeleton.bones:
        apart[child, parent] = apart[parent, child] = 1
    for middle in range(count):
        apart = np.minimum(apart, apart[:, middle, None] + apart[middle])
    return np.argsort(apart, axis=1, kind='stable')
