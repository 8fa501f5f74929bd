# SPDX-License-Identifier: Apache-2.0
"""Calibrated radii: a conformal factor for each level, joint and instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motion_predictor.errors import ConfigError, ShapeError

LEVEL_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Calibration:
    """
    Radii that held a stated share of real positions, as multiples of the predicted spread.

    The method is split conformal prediction (Lei et al., JASA 2018). The score is ``|real - mean|
    / spread^power`` with ``spread = sqrt(trace of the covariance + floor_m^2)`` in metres, fitted
    on recordings that the model was not trained on. ``levels`` are the shares, increasing.
    ``factor`` is float32 (levels, T_fut, J), or (levels, P, T_fut, J) if the people's futures
    differ in time. ``samples`` is the number of samples S that it was fitted with.
    """

    levels: tuple[float, ...]
    factor: np.ndarray
    floor_m: float
    samples: int
    fitted_on: Mapping[str, str]
    """Names of the recordings with the digests of their files."""
    power: float = 1.0
    """Exponent of the spread; above 1 if errors grow faster than the spread that
    announces them."""

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:]))
        if not self.levels or not rising or not 0.0 < self.levels[0] <= self.levels[-1] < 1.0:
            raise ConfigError(f'calibration levels {self.levels}: must rise within 0..1')
        if self.factor.ndim not in (3, 4) or len(self.factor) != len(self.levels):
            raise ShapeError(
                f'calibration factor: expected ({len(self.levels)}, T_fut, J), '
                f'got {self.factor.shape}'
            )
        if not (np.isfinite(self.factor).all() and (self.factor >= 0.0).all()):
            raise ConfigError('calibration factor: must be finite and not negative')
        if not 0.0 <= self.power <= 10.0:
            raise ConfigError(f'calibration power={self.power}: must lie in 0..10')
        if not 0.0 < self.floor_m <= 10.0 or self.samples < 1:
            raise ConfigError(
                f'calibration floor_m={self.floor_m}, samples={self.samples}: must be positive'
            )

    def level_for(self, coverage: float) -> int | None:
        """Return the index of the lowest level at or above a share; None if all are below it."""
        for index, level in enumerate(self.levels):
            if level >= coverage - LEVEL_TOLERANCE:
                return index
        return None

    def radius(self, level: int, covariance: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """
        Return the radius about the mean that holds a joint as often as the level says.

        :param level: index into ``levels``.
        :param covariance: covariances of the samples at these frames, square metres, (P, frames,
            J, 3, 3).
        :param frames: indices of the frames, (frames,).
        :returns: metres, (P, frames, J).
        """
        factor = self.factor[level][..., frames, :]
        return factor * spread_m(covariance, self.floor_m) ** self.power

    def later(self, lag_frames: np.ndarray) -> Calibration:
        """
        Return the calibration for futures that begin later than the model's.

        Each instant takes the factor of the model's next later frame.

        :param lag_frames: delay of each person's future in frames, (P,).
        :returns: a calibration with a factor (levels, P, T_fut, J); the factor of the last frame
            is repeated at the end.
        """
        frames = self.factor.shape[-2]
        chosen = np.ceil(lag_frames).astype(np.int64)[:, None] + np.arange(frames)
        factor = self.factor[:, np.minimum(chosen, frames - 1)]  # (levels, P, T_fut, J)
        return replace(self, factor=factor)

    def facts(self) -> dict[str, Any]:
        """Return everything but the factors as JSON-able values."""
        return {
            'levels': list(self.levels),
            'floor_m': self.floor_m,
            'samples': self.samples,
            'power': self.power,
            'fitted_on': dict(self.fitted_on),
        }


def spread_m(covariance: np.ndarray, floor_m: float) -> np.ndarray:
    """
    Return the root mean square distance of samples from their mean, at least a floor.

    :param covariance: covariances of the samples, square metres, (P, T, J, 3, 3).
    :param floor_m: smallest value, metres.
    :returns: metres, (P, T, J).
    """
    trace = np.trace(covariance, axis1=-2, axis2=-1)
    return np.sqrt(np.maximum(trace, 0.0) + floor_m * floor_m)
