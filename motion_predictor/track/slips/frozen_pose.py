# SPDX-License-Identifier: Apache-2.0
"""Detect a tracker that has stopped: it repeats a pose exactly although the person was moving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_predictor.track.slips.body_watch import BodyWatch

_MOVES_M_S = 0.1
"""A person faster than this, in m/s, does not stop exactly from one pose to the next."""
_NS = 1e-9


@dataclass
class FrozenPose:
    """The last pose that the tracker showed of one body, and since when it repeats it."""

    shown: np.ndarray | None = None
    """Last pose, metres (J, 3)."""
    since_ns: int | None = None
    """Stamp since which the same pose is shown although the person was moving just before; -1 if
    the person stood still, None if the pose is not repeated."""

    def repeats(
        self, xyz: np.ndarray, stamp_ns: int, newest_ns: int, watch: BodyWatch, longest_s: float
    ) -> bool:
        """
        Return whether a pose is only a repetition; after some time it counts as a real stop.

        :param xyz: the original pose, metres (J, 3).
        :param stamp_ns: its stamp in nanoseconds, after ``newest_ns``.
        :param newest_ns: stamp of the newest stored pose, nanoseconds.
        :param watch: knows how fast the body moves.
        :param longest_s: time in seconds after which the person really stopped.
        """
        if self.shown is None or not np.array_equal(self.shown, xyz):
            return False
        since_ns = self.since_ns
        if since_ns is None:
            since_ns = newest_ns if watch.speed_m_s > _MOVES_M_S else -1
        return since_ns >= 0 and (stamp_ns - since_ns) * _NS <= longest_s

    def note(self, xyz: np.ndarray, newest_ns: int, frozen: bool) -> bool:
        """
        Note a pose that the tracker shows.

        :param xyz: the original pose, metres (J, 3).
        :param newest_ns: stamp of the newest stored pose, nanoseconds.
        :param frozen: the result of :meth:`repeats`.
        :returns: whether it is repeated although the person was moving, for any length of time.
        """
        if self.shown is None or not np.array_equal(self.shown, xyz):
            self.shown, self.since_ns = xyz, None
            return False
        if self.since_ns is None:
            self.since_ns = newest_ns if frozen else -1
        return self.since_ns >= 0
