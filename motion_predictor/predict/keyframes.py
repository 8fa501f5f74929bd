"""Keyframes: the frames nearest to some horizons, and the poses at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAST_POSE = -1
"""In place of a frame's index: the last observed pose."""


def keyframes(horizons_s: Sequence[float], rate_hz: float, future_frames: int) -> np.ndarray:
    """
    Choose the frames nearest to some horizons.

    :param horizons_s: seconds after the last pose; 0 is that pose itself.
    :param rate_hz: frames a second of the futures; frame i lies ``(i + 1) / rate_hz`` ahead.
    :param future_frames: how many there are; a horizon beyond the last of them means the last.
    :returns: increasing indices, :data:`LAST_POSE` for the last pose.
    """
    frames = np.rint(np.asarray(horizons_s, dtype=np.float64) * rate_hz).astype(np.int64) - 1
    return np.unique(np.clip(frames, LAST_POSE, future_frames - 1))


def poses_at(futures: np.ndarray, last_poses: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """
    Take poses at keyframes.

    :param futures: one future of each person, (P, T, J, 3).
    :param last_poses: (P, J, 3).
    :param frames: from :func:`keyframes`, K of them.
    :returns: float64 (P, K, J, 3).
    """
    chosen = futures[:, np.maximum(frames, 0)].astype(np.float64)
    chosen[:, frames == LAST_POSE] = last_poses[:, None]
    return chosen
