# SPDX-License-Identifier: Apache-2.0
"""The observed window: one person's poses, evenly spaced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from motion_predictor.model.config import WindowConfig


class NotReady(Enum):
    """Why there is no window."""

    NO_POSES = 'no_poses'
    TOO_FEW_POSES = 'too_few_poses'
    TOO_SHORT = 'too_short'
    """The person has been seen for less than min_observed_s."""
    GAP_TOO_LONG = 'gap_too_long'
    """The person was not seen for too long, and has not been seen long enough since."""
    JOINT_MISSING = 'joint_missing'
    """A joint was not seen for too long, and has not been seen long enough since."""
    SOURCE_TOO_SLOW = 'source_too_slow'


@dataclass(frozen=True)
class ObservedWindow:
    """
    The observed poses of one person, evenly spaced; the last frame is at ``stamp_ns``.

    ``poses`` is float64 (T_obs, J, 3), metres, in the source's frame, always finite. ``filled`` is
    bool (T_obs, J) and marks joints that were not seen and were filled in. The first
    ``padded_frames`` frames lie before the first observation and repeat the first pose; no motion
    is invented.
    """

    stamp_ns: int
    poses: np.ndarray
    filled: np.ndarray
    padded_frames: int
    source_period_s: float

    @property
    def seen(self) -> np.ndarray:
        """Return which joints were seen at all, bool (J,); the others are made up throughout."""
        return np.asarray(~self.filled.all(axis=0))

    def between(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return poses at instants between frames.

        :param frames: instants in units of frames, from 0 for the first to T_obs - 1 for the last,
            (N,).
        :returns: poses (N, J, 3), interpolated linearly between two frames; and which joints were
            seen in both frames, bool (N, J).
        """
        before = np.minimum(np.floor(frames).astype(np.int64), len(self.poses) - 2)
        share = (frames - before)[:, None, None]
        poses = self.poses[before] + share * (self.poses[before + 1] - self.poses[before])
        return poses, ~(self.filled[before] | self.filled[before + 1])


@lru_cache(maxsize=8)
def grid_s(config: WindowConfig) -> np.ndarray:
    """Return the instants of a window's frames, seconds before its last, float64 (T_obs,)."""
    found = np.arange(1 - config.observed_frames, 1) / config.rate_hz
    found.setflags(write=False)
    return found
