# SPDX-License-Identifier: Apache-2.0
"""Predictions that need no training, which every model must beat."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DAMPING_S = 0.2
"""Time constant of damped velocity, seconds."""
DAMPED_OVER_S = 0.1
"""Time in seconds over which that velocity is averaged: five frames at 50 Hz."""


class Baseline(Protocol):
    """The interface of the functions below."""

    def __call__(
        self, observed: NDArray[np.float32], future_frames: int, rate_hz: float = ...
    ) -> NDArray[np.float32]:
        """
        Predict one future for each window.

        :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
        :param future_frames: T_fut.
        :param rate_hz: frames per second of the windows.
        :returns: metres, shape ``(N, 1, T_fut, J, 3)``.
        """


def zero_velocity(
    observed: NDArray[np.float32], future_frames: int, rate_hz: float = 50.0
) -> NDArray[np.float32]:
    """
    Return futures in which the person stands still as last observed.

    :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :param rate_hz: frames per second of the windows; nothing depends on it.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    last = observed[:, -1]
    return np.repeat(last[:, None, None], future_frames, axis=2)


def constant_velocity(
    observed: NDArray[np.float32], future_frames: int, rate_hz: float = 50.0
) -> NDArray[np.float32]:
    """
    Return futures in which every joint keeps its velocity between the last two observed frames.

    :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :param rate_hz: frames per second of the windows; nothing depends on it.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    return _moved(observed, observed[:, -1] - observed[:, -2], future_frames)


def constant_root_velocity(
    observed: NDArray[np.float32], future_frames: int, rate_hz: float = 50.0
) -> NDArray[np.float32]:
    """
    Return futures in which the last pose glides on at the root's last velocity.

    :param observed: positions in metres, root first, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :param rate_hz: frames per second of the windows; nothing depends on it.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    step = observed[:, -1, :1] - observed[:, -2, :1]
    return _moved(observed, np.broadcast_to(step, observed[:, -1].shape), future_frames)


def damped_velocity(
    observed: NDArray[np.float32], future_frames: int, rate_hz: float = 50.0
) -> NDArray[np.float32]:
    """
    Return futures in which every joint comes to rest after ``v tau (1 - exp(-t / tau))``.

    :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :param rate_hz: frames per second of the windows.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    steps = max(1, min(round(DAMPED_OVER_S * rate_hz), observed.shape[1] - 1))
    velocity = (observed[:, -1] - observed[:, -1 - steps]) * (rate_hz / steps)  # (N, J, 3)
    ahead_s = np.arange(1, future_frames + 1) / rate_hz
    travelled_s = DAMPING_S * (1.0 - np.exp(-ahead_s / DAMPING_S))[None, :, None, None]
    future = observed[:, -1][:, None] + travelled_s * velocity[:, None]
    return future[:, None].astype(np.float32)


BASELINES: dict[str, tuple[str, Baseline]] = {
    'zero_velocity': ('zero velocity', zero_velocity),
    'constant_velocity': ('constant velocity', constant_velocity),
    'constant_root_velocity': ('constant root velocity, pose kept', constant_root_velocity),
    'damped_velocity': ('damped velocity', damped_velocity),
}
"""Name in the tables and function of each baseline, by its name."""


def _moved(
    observed: NDArray[np.float32], step: NDArray[np.float32], future_frames: int
) -> NDArray[np.float32]:
    """Move the last pose by ``step`` (N, J, 3), metres per frame, once more in every frame."""
    ahead = np.arange(1, future_frames + 1, dtype=np.float32)[None, :, None, None]
    future = observed[:, -1][:, None] + ahead * step[:, None]
    return future[:, None].astype(np.float32)
