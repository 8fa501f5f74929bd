# SPDX-License-Identifier: Apache-2.0
"""Resample recorded motion: band-limited for even frames, linear for uneven ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motion_predictor.errors import ConfigError

HALF_WIDTH = 16
"""Number of frames on each side of an instant that its interpolation uses."""
KAISER_BETA = 8.0


def resample(poses: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """
    Change the frame rate of a recording by band-limited interpolation.

    The filter is a Kaiser-windowed sinc. The recording is continued past its ends by point
    reflection. At a higher rate, the given frames that fall on an instant of the result are kept.
    At a lower rate, the band is first narrowed to the new rate.

    :param poses: any positions over time, shape ``(T, ...)``.
    :param from_hz: rate of ``poses``, frames per second.
    :param to_hz: rate of the result, frames per second.
    :returns: shape ``(T', ...)``; frame i is at the instant ``i / to_hz``, and no frame lies after
        the last given one.
    :raises ConfigError: if a rate is not positive.
    """
    if not (from_hz > 0 and to_hz > 0):
        raise ConfigError(f'resample: rates must be positive, got {from_hz} to {to_hz} Hz')
    frames = len(poses)
    if from_hz == to_hz or frames < 2:
        return np.array(poses, dtype=np.float32)
    ratio = from_hz / to_hz
    instants = np.arange(int((frames - 1) / ratio + 1e-9) + 1) * ratio  # in given frames
    return sampled_at(poses, instants, min(1.0, to_hz / from_hz))


def sampled_at(
    poses: NDArray[np.floating], instants: NDArray[np.floating], band: float = 1.0
) -> NDArray[np.float32]:
    """
    Interpolate evenly recorded motion at any instants by a Kaiser-windowed sinc.

    :param poses: any positions over time, all finite, ``(T, ...)`` with T at least 2.
    :param instants: in units of frames, within 0..T-1, ``(N,)``.
    :param band: fraction of the recording's band that is kept, 0..1.
    :returns: the positions at the instants, ``(N, ...)``.
    """
    frames = len(poses)
    reach = min(round(HALF_WIDTH / band), frames - 1)
    padded = np.concatenate(
        [
            2 * poses[:1] - poses[reach:0:-1],
            poses,
            2 * poses[-1:] - poses[-2 : -reach - 2 : -1],
        ]
    )
    before = np.minimum(np.floor(instants + 1e-9).astype(np.int64), frames - 1)
    taps = np.arange(1 - reach, reach + 1)
    distance = (instants - before)[:, None] - taps  # (T', 2 reach)
    if reach == 1:  # two frames: a straight line between them
        weights = np.clip(1.0 - np.abs(distance), 0.0, None)
    else:
        inside = 1.0 - (distance / (reach - 0.5)) ** 2
        kaiser = np.i0(KAISER_BETA * np.sqrt(np.clip(inside, 0.0, None)))
        weights = np.sinc(band * distance) * np.where(inside > -1e-9, kaiser, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    result = np.zeros((len(instants), *poses.shape[1:]), dtype=np.float64)
    trailing = (1,) * (poses.ndim - 1)
    last = len(padded) - 1
    for column, tap in enumerate(taps):
        rows = np.minimum(before + reach + tap, last)
        result += weights[:, column].reshape(-1, *trailing) * padded[rows]
    return result.astype(np.float32)


def between(
    poses: NDArray[np.floating], known: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.floating]:
    """
    Interpolate linearly between frames that may be uneven or have missing joints.

    :param poses: ``(T, J, 3)``, NaN where a joint is missing.
    :param known: instants of the frames, increasing, ``(T,)``.
    :param wanted: instants of the result, ``(N,)``, in the same unit.
    :returns: ``(N, J, 3)``.
    """
    if len(poses) == 1:
        return np.repeat(poses, len(wanted), axis=0)
    after = np.clip(np.searchsorted(known, wanted, side='right'), 1, len(known) - 1)
    share = ((wanted - known[after - 1]) / (known[after] - known[after - 1]))[:, None, None]
    mixed = (1 - share) * poses[after - 1] + share * poses[after]
    # an instant that equals a frame needs no neighbour, which may be missing
    mixed = np.where(share <= 1e-9, poses[after - 1], mixed)
    return np.where(share >= 1 - 1e-9, poses[after], mixed).astype(np.float32)
