# SPDX-License-Identifier: Apache-2.0
"""The candidate futures: the model, damped velocity, standing still, and what people did before.

The last one is computed in :mod:`motion_predictor.predict.place.memory`. Windows in, futures out,
for P people at once; no ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from motion_predictor.body.geometry import median, squares
from motion_predictor.model.candidates import knot_frames
from motion_predictor.model.config import WindowConfig

NEIGHBOURS = 10
"""Number of earlier moments that form the memory's candidate."""
DAMPING_S = 0.2
"""Time constant tau in seconds of a damped velocity: ``last + v * tau * (1 - exp(-t / tau))``."""
_FIT_DEGREE = 4
_CLEAN_FRAMES = 5  # time over which the velocity of a clean input is measured
_NOISY_FRAMES = 13  # time over which that of the noisiest input is measured
_NOISY_M = 0.02
_STILL_S = 0.1
_VELOCITY_DOUBT = 2.0  # resampled noise is not white


@lru_cache(maxsize=8)
def _spread_matrix(window: WindowConfig) -> np.ndarray:
    # Matrix (T_fut, K) from weights at knots to weights at every frame, linear in the logarithm of
    # time.
    knots = knot_frames(window)
    at = np.log(np.arange(1, window.future_frames + 1))
    matrix = np.stack(
        [np.interp(at, np.log(knots + 1.0), row) for row in np.eye(len(knots))], axis=1
    )
    return matrix.astype(np.float32)


def at_every_frame(weights: np.ndarray, window: WindowConfig) -> np.ndarray:
    """
    Interpolate the weights between the knots.

    :param weights: ``(P, K, C)``; each row sums to one.
    :param window: the model's window.
    :returns: ``(P, T_fut, C)``; each row sums to one.
    """
    return np.matmul(_spread_matrix(window), weights)


@lru_cache(maxsize=8)
def _residual_matrix(frames: int) -> np.ndarray:
    at = np.linspace(-1.0, 1.0, frames)
    basis, _ = np.linalg.qr(np.vander(at, min(_FIT_DEGREE + 1, frames)))
    free = max(frames - basis.shape[1], 1)
    return ((np.eye(frames) - basis @ basis.T) * np.sqrt(frames / free)).astype(np.float32)


def jitter_m(windows: np.ndarray) -> np.ndarray:
    """
    Return the noise of the input: the part that no smooth motion explains.

    It is the root mean square residual of a polynomial of the fourth degree on each coordinate,
    and the median over all joints.

    :param windows: metres from any origin near to the person, float32 ``(P, T_obs, J, 3)``.
    :returns: metres per coordinate, ``(P,)``.
    """
    persons, frames = windows.shape[:2]
    left = _residual_matrix(frames) @ windows.reshape(persons, frames, -1)
    left *= left
    by_joint = (left.sum(axis=1).reshape(persons, -1, 3).sum(axis=-1)) / (3 * frames)
    return np.sqrt(median(by_joint, -1))


@lru_cache(maxsize=64)
def _filters(frames: int, rate_hz: float, used: int, averaged: int) -> np.ndarray:
    # Return (3, T_obs): pose, velocity and standing pose from the window's last frames.
    found = np.zeros((3, frames))
    used, averaged = min(used, frames), min(averaged, frames)
    at = np.arange(1 - used, 1) / rate_hz
    centred = at - at.mean()
    slope = centred / (centred * centred).sum()
    found[1, frames - used :] = slope
    if averaged == 1:
        found[0, -1] = found[2, -1] = 1.0
    else:
        found[0, frames - used :] = 1.0 / used - at.mean() * slope
        found[2, frames - averaged :] = 1.0 / averaged
    return found.astype(np.float32)


@dataclass(frozen=True)
class Stance:
    """
    The present pose and velocity of P people, smoothed as much as the input's noise requires.

    ``pose`` and ``still`` are in metres and ``velocity`` in metres per second, float32 (P, J, 3).
    ``still`` is the pose if the person does not move. ``jitter`` is (P,), metres. ``doubt`` is
    (P,), the standard deviation of a velocity's coordinate in metres per second.
    """

    pose: np.ndarray
    velocity: np.ndarray
    still: np.ndarray
    jitter: np.ndarray
    doubt: np.ndarray


def _frames_used(jitter: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    # Return the number of frames over which velocity and standing pose are measured.
    share = np.clip(jitter / _NOISY_M, 0.0, 1.0)
    used = np.rint(_CLEAN_FRAMES + (_NOISY_FRAMES - _CLEAN_FRAMES) * np.sqrt(share)).astype(int)
    return used, np.where(jitter < 0.002, 1, max(2, round(_STILL_S * rate_hz)))


@lru_cache(maxsize=64)
def _smoothing(frames: int, rate_hz: float, used: int, averaged: int) -> np.ndarray:
    # Return (2, T_obs, T_obs): pose and velocity at every frame of a complete window.
    found = np.zeros((2, frames, frames))
    used, averaged = min(used, frames), min(averaged, frames)
    at = np.arange(used) / rate_hz
    slope = (at - at.mean()) / np.square(at - at.mean()).sum()
    for frame in range(frames):
        begin = min(max(frame - used + 1, 0), frames - used)
        found[1, frame, begin : begin + used] = slope
        reach = min(averaged // 2, frame, frames - 1 - frame)
        low = frame - reach
        found[0, frame, low : frame + reach + 1] = 1.0 / (2 * reach + 1)
    return found.astype(np.float32)


def smoothed_window(
    poses: np.ndarray, jitter: float, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """
    Smooth a complete window; unlike :func:`stance`, this uses later frames for earlier ones.

    :param poses: metres, float32 ``(T_obs, J, 3)``.
    :param jitter: noise of the input, metres.
    :param rate_hz: frames per second.
    :returns: poses in metres and velocities in metres per second at every frame, ``(T_obs, J,
        3)``.
    """
    used, averaged = _frames_used(np.array([jitter]), rate_hz)
    matrices = _smoothing(len(poses), rate_hz, int(used[0]), int(averaged[0]))
    found = (matrices @ poses.reshape(len(poses), -1)).reshape(2, *poses.shape)
    return found[0], found[1]


def stance(windows: np.ndarray, jitter: np.ndarray, rate_hz: float) -> Stance:
    """
    Return the present pose and velocity of people.

    A clean input is taken as it is, with the velocity over its last tenth of a second. The noisier
    the input, the more frames are used: a straight line through them, and their mean for a person
    who stands.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param jitter: noise of the input, metres, ``(P,)``; see :func:`jitter_m`.
    :param rate_hz: frames per second.
    """
    persons, frames = windows.shape[:2]
    used, averaged = _frames_used(jitter, rate_hz)
    filters = np.array(
        [_filters(frames, rate_hz, n, m) for n, m in zip(used.tolist(), averaged.tolist())]
    )
    found = (filters @ windows.reshape(persons, frames, -1)).reshape(
        persons, 3, *windows.shape[2:]
    )
    doubt = _VELOCITY_DOUBT * jitter * np.sqrt(12.0 / (used * (used * used - 1.0))) * rate_hz
    velocity = believed(found[:, 1], doubt[:, None])
    return Stance(found[:, 0], velocity, found[:, 2], jitter, doubt.astype(np.float32))


def believed(velocity: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """
    Shrink velocities by the amount that noise alone would show (James and Stein, 1961).

    :param velocity: ``(..., 3)``.
    :param doubt: standard deviation of a coordinate, broadcastable to ``(...)``.
    """
    square = squares(velocity)
    share = np.maximum(1.0 - 3.0 * np.square(doubt) / np.maximum(square, 1e-12), 0.0)
    return velocity * share[..., None].astype(velocity.dtype)


def damped_velocity(now: Stance, times_s: np.ndarray) -> np.ndarray:
    """
    Return futures in which every joint continues its motion ever more slowly.

    :param now: pose and velocity of P people.
    :param times_s: seconds ahead, ``(T,)``.
    :returns: metres, ``(P, T, J, 3)``.
    """
    return now.pose[:, None] + damping(times_s)[:, None, None] * now.velocity[:, None]


def damping(times_s: np.ndarray) -> np.ndarray:
    """
    Return the time at the first speed that covers the same distance as the damped velocity.

    :param times_s: seconds ahead, ``(T,)``.
    :returns: seconds, float32 ``(T,)``.
    """
    return (DAMPING_S * (1.0 - np.exp(-times_s / DAMPING_S))).astype(np.float32)


def standing_still(now: Stance, times_s: np.ndarray) -> np.ndarray:
    """
    Return futures in which everybody stands still.

    :param now: pose of P people.
    :param times_s: seconds ahead, ``(T,)``.
    :returns: metres, ``(P, T, J, 3)``.
    """
    return np.repeat(now.still[:, None], len(times_s), axis=1)
