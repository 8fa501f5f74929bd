"""A pose that a tracker repeats to the bit, though the person moved: the tracker has stopped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_predictor.track.slips.body_watch import BodyWatch

_MOVES_M_S = 0.1
"""Somebody faster than this does not stop to the bit from one pose to the next."""
_NS = 1e-9


@dataclass
class FrozenPose:
    """What the tracker last showed of one body, and since when it repeats that."""

    shown: np.ndarray | None = None
    """Metres (J, 3)."""
    since_ns: int | None = None
    """Stamp since which it is shown in the same pose though it moved just before; -1 for one that
    stood still, None where it is not repeated."""

    def repeats(
        self, xyz: np.ndarray, stamp_ns: int, newest_ns: int, watch: BodyWatch, longest_s: float
    ) -> bool:
        """
        Tell whether a pose is only repeated; for longer than a while it counts as a real stop.

        :param xyz: the pose as it came, metres (J, 3).
        :param stamp_ns: its stamp, after ``newest_ns``.
        :param newest_ns: stamp of the newest pose stored.
        :param watch: of the body: knows how fast it moves.
        :param longest_s: after so long the person really stopped.
        """
        if self.shown is None or not np.array_equal(self.shown, xyz):
            return False
        since_ns = self.since_ns
        if since_ns is None:
            since_ns = newest_ns if watch.speed_m_s > _MOVES_M_S else -1
        return since_ns >= 0 and (stamp_ns - since_ns) * _NS <= longest_s

    def note(self, xyz: np.ndarray, newest_ns: int, frozen: bool) -> bool:
        """
        Take in what the tracker shows.

        :param xyz: the pose as it came, metres (J, 3).
        :param newest_ns: stamp of the newest pose stored.
        :param frozen: from :meth:`repeats`.
        :returns: whether it is repeated by somebody who moved, for however long.
        """
        if self.shown is None or not np.array_equal(self.shown, xyz):
            self.shown, self.since_ns = xyz, None
            return False
        if self.since_ns is None:
            self.since_ns = newest_ns if frozen else -1
        return self.since_ns >= 0
