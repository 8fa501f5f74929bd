"""Predictions that need no training: what every model must beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Baseline = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""Observed window (N, T_obs, J, 3) and T_fut -> one future, (N, 1, T_fut, J, 3); metres."""


def zero_velocity(observed: NDArray[np.float32], future_frames: int) -> NDArray[np.float32]:
    """
    Let the person stand still as last observed.

    :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    last = observed[:, -1]
    return np.repeat(last[:, None, None], future_frames, axis=2)


def constant_velocity(observed: NDArray[np.float32], future_frames: int) -> NDArray[np.float32]:
    """
    Let every joint keep the velocity it had between the last two observed frames.

    :param observed: positions in metres, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    return _moved(observed, observed[:, -1] - observed[:, -2], future_frames)


def constant_root_velocity(
    observed: NDArray[np.float32], future_frames: int
) -> NDArray[np.float32]:
    """
    Let the whole person glide on at the root's last velocity, the pose as last observed.

    :param observed: positions in metres, root first, shape ``(N, T_obs, J, 3)``.
    :param future_frames: T_fut.
    :returns: one future for each window, shape ``(N, 1, T_fut, J, 3)``.
    """
    step = observed[:, -1, :1] - observed[:, -2, :1]
    return _moved(observed, np.broadcast_to(step, observed[:, -1].shape), future_frames)


BASELINES: dict[str, tuple[str, Baseline]] = {
    'zero_velocity': ('zero velocity', zero_velocity),
    'constant_velocity': ('constant velocity', constant_velocity),
    'constant_root_velocity': ('constant root velocity, pose kept', constant_root_velocity),
}
"""Name -> (how tables call it, the function)."""


def _moved(
    observed: NDArray[np.float32], step: NDArray[np.float32], future_frames: int
) -> NDArray[np.float32]:
    """Move the last pose by ``step`` (N, J, 3), metres a frame, once more every frame."""
    ahead = np.arange(1, future_frames + 1, dtype=np.float32)[None, :, None, None]
    future = observed[:, -1][:, None] + ahead * step[:, None]
    return future[:, None].astype(np.float32)
