# SPDX-License-Identifier: Apache-2.0
"""Keyframes: the frames nearest to given horizons, and the poses at these frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAST_POSE = -1
"""Index that stands for the last observed pose."""


def keyframes(horizons_s: Sequence[float], rate_hz: float, future_frames: int) -> np.ndarray:
    """
    Return the frames nearest to given horizons.

    :param horizons_s: seconds after the last pose; 0 is that pose itself.
    :param rate_hz: frames per second of the futures; frame i is ``(i + 1) / rate_hz`` ahead.
    :param future_frames: number of future frames; a horizon beyond the last frame means the last.
    :returns: increasing indices; :data:`LAST_POSE` is the last pose.
    """
    frames = np.rint(np.asarray(horizons_s, dtype=np.float64) * rate_hz).astype(np.int64) - 1
    return np.unique(np.clip(frames, LAST_POSE, future_frames - 1))


def poses_at(futures: np.ndarray, last_poses: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """
    Return the poses at keyframes.

    :param futures: one future per person, metres, (P, T, J, 3).
    :param last_poses: last observed poses, metres, (P, J, 3).
    :param frames: from :func:`keyframes`, (K,).
    :returns: metres, float64 (P, K, J, 3).
    """
    return or_last_pose(futures[:, np.maximum(frames, 0)], last_poses, frames)


def or_last_pose(poses: np.ndarray, last_poses: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """
    Put the last poses where they are meant.

    :param poses: at keyframes, (P, K, J, 3); anything where the last pose is meant.
    :param last_poses: (P, J, 3).
    :param frames: from :func:`keyframes`, K of them.
    :returns: float64 (P, K, J, 3).
    """
    chosen = poses.astype(np.float64)
    chosen[:, frames == LAST_POSE] = last_poses[:, None]
    return chosen
