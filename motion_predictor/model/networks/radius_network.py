# SPDX-License-Identifier: Apache-2.0
"""The radius network: the distance of each joint from the published future, for each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.special import gammaincinv
import torch

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES

BY_JOINT = 6
COMMON = 6 + len(CANDIDATES)
STILL_M_S = 0.09
"""A person whose joints move no faster than this on average, in m/s, both by the velocity and by
the distance covered, stands still."""
SPEED_FLOOR = 0.02
"""Speed in m/s that is added before the logarithm of a speed is taken."""
_SIGMA = 1.33
"""Ratio of the standard deviation of white noise to the jitter that is measured of it."""


@dataclass(frozen=True, eq=False)
class RadiusNetwork:
    """
    The parameters of the network, float32; it has two hidden layers.

    ``levels`` increase. Cross-conformal calibration multiplies the radii by ``factor`` (L, K).
    ``still`` (L, K), at least one, multiplies them again for people who stand still: nothing tells
    which of them is about to move, and a requested level must hold for those too.
    """

    mean: np.ndarray
    scale: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    factor: np.ndarray
    levels: tuple[float, ...]
    still: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, hidden, levels = *self.first.shape, len(self.levels)
        shapes = {
            'mean': (count,), 'scale': (count,), 'first_bias': (hidden,),
            'second': (hidden, hidden), 'second_bias': (hidden,), 'output': (hidden, levels),
            'output_bias': (levels,), 'factor': (levels, self.factor.shape[-1]),
        }  # fmt: skip
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ShapeError(f'radius {name}: expected {shape}, got {found}')
        if self.still is not None and self.still.shape != self.factor.shape:
            raise ShapeError(f'radius still: expected {self.factor.shape}, got {self.still.shape}')
        for name in (*shapes, 'first') if self.still is None else (*shapes, 'first', 'still'):
            if not np.isfinite(getattr(self, name)).all():
                raise ConfigError(f'radius {name}: holds NaN or infinity')
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:]))
        if not levels or not rising or not 0.0 < self.levels[0] <= self.levels[-1] < 1.0:
            raise ConfigError(f'radius levels {self.levels}: must rise within 0..1')
        if (self.scale <= 0.0).any() or (self.factor <= 0.0).any():
            raise ConfigError('radius: scale and factor must be positive')
        if self.still is not None and (self.still < 1.0).any():
            raise ConfigError('radius still: must be 1 or more')

    def radii(self, told: np.ndarray, jitter: np.ndarray) -> np.ndarray:
        """
        Return the radius of every joint at the knots, never below the input's own noise.

        :param told: the inputs, from :func:`motion_predictor.predict.place.weighing.tell`, ``(P,
            K, J, F)``.
        :param jitter: noise of the input, metres, ``(P,)``.
        :returns: metres, increasing with the level, ``(L, P, K, J)``.
        """
        with torch.inference_mode():  # torch keeps to the number of threads that it was given
            x = torch.from_numpy(told).flatten(0, -2)
            for weight, bias in self._layers[:-1]:
                x = torch.addmm(bias, x, weight).tanh_()
            weight, bias = self._layers[-1]
            steps = torch.addmm(bias[:, None], weight.T, x.T).numpy()  # (L, P K J)
        for level in range(1, len(steps)):
            steps[level] = steps[level - 1] + softplus(steps[level])
        found = np.exp(np.minimum(steps, 5.0)).reshape(-1, *told.shape[:-1])
        found *= self.factor[:, None, :, None]
        if self.still is not None:
            more = np.where(stands_still(told), self.still[:, None], 1.0)  # (L, P, K)
            found = np.maximum.accumulate(found * more[..., None].astype(found.dtype), axis=0)
        return np.maximum(found, noise_radii(self.levels, jitter)[:, :, None, None])

    @cached_property
    def _layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        # Return weights and biases; the first layer includes the scaling of the inputs.
        first = self.first / self.scale[:, None]
        return [
            (torch.tensor(weight, dtype=torch.float32), torch.tensor(bias, dtype=torch.float32))
            for weight, bias in (
                (first, self.first_bias - self.mean @ first),
                (self.second, self.second_bias),
                (self.output, self.output_bias),
            )
        ]

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the parameters by name, in the form that :meth:`from_tensors` takes."""
        numbers = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: value
            for name, value in numbers.items()
            if name != 'levels' and value is not None
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], levels: Sequence[float]) -> RadiusNetwork:
        """
        Build a network from stored parameters.

        :raises ShapeError: if they do not fit each other.
        :raises ConfigError: if they are not finite, or if the levels do not increase.
        """
        numbers = {
            entry.name: np.asarray(tensors[entry.name])
            for entry in fields(cls)
            if entry.name != 'levels' and (entry.name != 'still' or 'still' in tensors)
        }
        return cls(**numbers, levels=tuple(float(level) for level in levels))


def stands_still(told: np.ndarray) -> np.ndarray:
    """
    Return which people stand still, from the inputs of the network.

    :param told: from :func:`motion_predictor.predict.place.weighing.tell`, ``(P, K, J, F)``.
    :returns: bool ``(P, 1)``.
    """
    speed = np.exp(told[:, 0, 0, BY_JOINT]) - SPEED_FLOOR  # the mean of the joints
    way = (np.exp(told[:, 0, :, 4]) - SPEED_FLOOR).mean(axis=-1)
    return ((speed < STILL_M_S) & (way < STILL_M_S))[:, None]


@lru_cache(maxsize=64)
def _noise_radii(levels: tuple[float, ...]) -> np.ndarray:
    # The quantile of chi with 3 degrees of freedom; to import scipy.stats takes much longer.
    return _SIGMA * np.sqrt(2.0 * gammaincinv(1.5, np.array(levels, dtype=float)))


def noise_radii(levels: Sequence[float], jitter: np.ndarray) -> np.ndarray:
    """
    Return the radii that hold the input's own noise; no radius is smaller.

    :param levels: shares that the radii hold, (L,).
    :param jitter: noise of the input, metres, ``(P,)``.
    :returns: metres, float32 ``(L, P)``.
    """
    return (_noise_radii(tuple(levels))[:, None] * jitter).astype(np.float32)


def softplus(values: np.ndarray) -> np.ndarray:
    """Return ``log(1 + exp(values))`` in a third of the time of NumPy's logaddexp."""
    return np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))
