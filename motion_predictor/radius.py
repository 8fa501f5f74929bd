"""
How far from the published future people will be: a radius for each joint, horizon and level.

A small network, trained by the pinball loss on people that the model has not seen, and a scale
that follows what the people here then did, by person and for the place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
import math
from typing import Any

import numpy as np
from scipy.stats import chi

from motion_predictor.candidates import CANDIDATES, Stance
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.memory import Recall

BY_JOINT = 6
COMMON = 6 + len(CANDIDATES)
PACE, RARE_PACE = 0.15, 0.5
"""How fast a scale follows, below RARE_LEVEL and from there on; see :class:`Following`."""
NARROWEST, WIDEST = 0.4, 6.0
RARE_LEVEL = 0.99
"""From here on a scale never narrows: a quiet hour says nothing of what is rare."""
STILL_M_S = 0.09
"""Who moves no faster, by the mean of the joints, stands still: in the velocity and in the way."""
_SPEED_FLOOR = 0.02
_SIGMA = 1.33
"""White noise of one metre leaves so much less than a metre of jitter."""


@dataclass(frozen=True, eq=False)
class RadiusNetwork:
    """
    The network's numbers, float32; two hidden layers.

    ``levels`` rise; ``factor`` (L, K) is what cross-conformal calibration multiplies radii by.
    ``still`` (L, K), none below one, multiplies them once more for whoever stands still: nothing
    tells who of them is about to move, and a level that is asked for must hold those too.
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

        :param told: from :func:`tell`, ``(P, K, J, F)``.
        :param jitter: of the input, metres, ``(P,)``.
        :returns: metres, rising with the level, ``(L, P, K, J)``.
        """
        x = (told - self.mean) / self.scale
        x = np.tanh(x @ self.first + self.first_bias)
        x = np.tanh(x @ self.second + self.second_bias)
        steps = np.moveaxis(x @ self.output + self.output_bias, -1, 0)  # (L, P, K, J)
        steps[1:] = np.logaddexp(0.0, steps[1:])
        found = np.exp(np.minimum(np.cumsum(steps, axis=0), 5.0))
        found *= self.factor[:, None, :, None]
        if self.still is not None:
            more = np.where(stands_still(told), self.still[:, None], 1.0)  # (L, P, K)
            found = np.maximum.accumulate(found * more[..., None].astype(found.dtype), axis=0)
        return np.maximum(found, noise_radii(self.levels, jitter)[:, :, None, None])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the numbers by name, as :meth:`from_tensors` takes them."""
        numbers = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: value
            for name, value in numbers.items()
            if name != 'levels' and value is not None
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], levels: Sequence[float]) -> RadiusNetwork:
        """
        Make a network of numbers that were stored.

        :raises ShapeError: if they do not fit each other.
        :raises ConfigError: if they are not finite, or the levels do not rise.
        """
        numbers = {
            entry.name: np.asarray(tensors[entry.name])
            for entry in fields(cls)
            if entry.name != 'levels' and (entry.name != 'still' or 'still' in tensors)
        }
        return cls(**numbers, levels=tuple(float(level) for level in levels))


def stands_still(told: np.ndarray) -> np.ndarray:
    """
    Tell who stands still, from what the network is told.

    :param told: from :func:`tell`, ``(P, K, J, F)``.
    :returns: bool ``(P, 1)``.
    """
    speed = np.exp(told[:, 0, 0, BY_JOINT]) - _SPEED_FLOOR  # the mean of the joints
    way = (np.exp(told[:, 0, :, 4]) - _SPEED_FLOOR).mean(axis=-1)
    return ((speed < STILL_M_S) & (way < STILL_M_S))[:, None]


@lru_cache(maxsize=64)
def _noise_radius(level: float) -> float:
    return _SIGMA * float(chi.ppf(level, 3))


def noise_radii(levels: Sequence[float], jitter: np.ndarray) -> np.ndarray:
    """
    Return what holds a share of the input's own noise: no radius is less.

    :param jitter: of the input, metres, ``(P,)``.
    :returns: metres, float32 ``(L, P)``.
    """
    noise = np.array([_noise_radius(level) for level in levels])
    return (noise[:, None] * jitter).astype(np.float32)


def tell(
    windows: np.ndarray,
    now: Stance,
    means: np.ndarray,
    weights: np.ndarray,
    spreads: np.ndarray,
    recall: Recall,
    rate_hz: float,
) -> np.ndarray:
    """
    Make what the network is told.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param now: of these people.
    :param means: of each candidate, metres, ``(P, K, C, J, 3)``.
    :param weights: of each candidate, ``(P, K, C)``.
    :param spreads: of each candidate's samples about its mean, metres, ``(P, K, C, J)``.
    :param recall: what the memory found.
    :returns: float32 ``(P, K, J, F)``.
    """
    persons, knots, _, joints = means.shape[:4]
    shares = weights[..., None]  # (P, K, C, 1)
    middle = (shares[..., None] * means).sum(axis=2)
    apart = np.square(means - middle[:, :, None]).sum(axis=-1)  # (P, K, C, J)
    between = np.sqrt((shares * apart).sum(axis=2))
    whole = np.sqrt((shares * (apart + np.square(spreads))).sum(axis=2))
    speed = np.sqrt(np.square(now.velocity).sum(axis=-1))  # (P, J)
    way = np.sqrt(np.square(windows[:, -1] - windows[:, 0]).sum(axis=-1))
    way = way * (rate_hz / (windows.shape[1] - 1))
    told = np.zeros((persons, knots, joints, BY_JOINT + COMMON + knots + joints), np.float32)
    told[..., 0] = _log(whole, 0.003)
    told[..., 1] = _log(between, 0.003)
    told[..., 2] = _log(spreads[:, :, 0], 0.003)
    told[..., 3] = _log(speed, _SPEED_FLOOR)[:, None]
    told[..., 4] = _log(way, _SPEED_FLOOR)[:, None]
    told[..., 5] = _log(np.sqrt(apart[:, :, 2]), 0.003)
    known = recall.known
    body = [
        _log(speed.mean(axis=-1), _SPEED_FLOOR),
        _log(speed.max(axis=-1), 0.05),
        _log(now.jitter, 0.0005),
        known,
        np.where(known, _log(np.where(known, recall.distance_m, 1.0), 0.01), 0.0),
        np.where(known, np.log1p(recall.alike), 0.0),
    ]
    at = BY_JOINT
    told[..., at : at + 6] = np.stack(body, axis=-1)[:, None, None]
    told[..., at + 6 : at + COMMON] = weights[:, :, None]
    at += COMMON
    told[..., at : at + knots] = np.eye(knots, dtype=np.float32)[:, None]
    told[..., at + knots :] = np.eye(joints, dtype=np.float32)
    return told


def _log(values: np.ndarray, floor: float) -> np.ndarray:
    return np.log(values + np.float32(floor))


@dataclass
class _Scales:
    logs: np.ndarray
    held: np.ndarray = field(default_factory=lambda: np.zeros(2))


class Following:
    """
    What radii are multiplied by so that they hold what was asked, by person and for the place.

    Quantile tracking (Angelopoulos, Candes and Tibshirani, Conformal PID Control for Time Series
    Prediction, NeurIPS 2023, eq. 4) of the logarithm of each level's scale: a check moves the
    place's and the person's by ``pace (missed - (1 - level))`` each. A new person begins with the
    place's.
    """

    def __init__(self, levels: Sequence[float], mode: str = 'both') -> None:
        """
        Begin with radii as they are.

        :param levels: shares of real positions to be held.
        :param mode: ``both`` for wider and narrower, ``widen`` for never narrower than stated,
            ``fixed`` for as stated.
        :raises ConfigError: if the mode is unknown.
        """
        self.levels = np.array(levels, dtype=np.float64)
        self.follow(mode)
        self._place = np.zeros(len(self.levels))
        self._persons: dict[int, np.ndarray] = {}
        self._checked = np.zeros(len(self.levels))
        self._missed = np.zeros(len(self.levels))

    def follow(self, mode: str) -> None:
        """
        Follow in another way from now on; what was found out is kept.

        :param mode: as for the constructor.
        :raises ConfigError: if the mode is unknown.
        """
        if mode not in ('both', 'widen', 'fixed'):
            raise ConfigError(f'mode={mode!r}: must be both, widen or fixed')
        self.mode = mode
        self._pace = np.where(self.levels < RARE_LEVEL, PACE, RARE_PACE)
        narrows = (self.levels < RARE_LEVEL) & (mode == 'both')
        self._lowest = np.where(narrows, math.log(NARROWEST), 0.0)
        self._highest = math.log(WIDEST) if mode != 'fixed' else 0.0

    def scales(self, tracks: Sequence[int]) -> np.ndarray:
        """Return what each level's radius is multiplied by, rising enough, ``(L, P)``."""
        none = np.zeros(len(self.levels))
        logs = np.stack([self._place + self._persons.get(track, none) for track in tracks], axis=1)
        return np.exp(np.clip(logs, self._lowest[:, None], self._highest))

    @property
    def held(self) -> np.ndarray:
        """Return the share of joints that each level held of late, ``(L,)``; NaN before any."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return 1.0 - self._missed / self._checked

    @property
    def place_scales(self) -> np.ndarray:
        """Return the place's scale of each level, ``(L,)``."""
        return np.exp(np.clip(self._place, self._lowest, self._highest))

    @property
    def place_logs(self) -> np.ndarray:
        """Return the logarithm of the place's scale of each level, ``(L,)``."""
        return self._place.copy()

    def begin_with(self, place_logs: np.ndarray) -> None:
        """Go on from scales that were found before; see :attr:`place_logs`."""
        self._place = np.clip(place_logs, self._lowest, self._highest)

    def stay(self, tracks: Sequence[int]) -> None:
        """Forget everybody who is not among the tracks."""
        self._persons = {t: self._persons[t] for t in tracks if t in self._persons}

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget what was found out of some people; the place's scale stays."""
        for track in tracks:
            self._persons.pop(track, None)

    def note(self, track: int, missed: np.ndarray, part: float = 1.0) -> None:
        """
        Take in one check.

        :param missed: share of the joints outside of each level's scaled radius, ``(L,)``.
        :param part: of a whole prediction that was checked.
        """
        kept = 1.0 - part / 120.0
        self._checked = kept * self._checked + 1.0
        self._missed = kept * self._missed + missed
        step = self._pace * part * (missed - (1.0 - self.levels))
        low, high = self._lowest, self._highest
        self._place = np.clip(self._place + step, low, high)
        person = self._persons.get(track, np.zeros(len(self.levels))) + step
        self._persons[track] = np.clip(person, low - self._place, high - self._place)

    def forget(self) -> None:
        """Begin anew."""
        self._place = np.zeros(len(self.levels))
        self._persons.clear()
        self._checked[:] = 0.0
        self._missed[:] = 0.0
