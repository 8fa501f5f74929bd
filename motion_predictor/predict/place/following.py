# SPDX-License-Identifier: Apache-2.0
"""Factors on the stated radii, by person and for the place, which follow how people here move."""

from __future__ import annotations

from collections.abc import Collection, Sequence
import math

import numpy as np

from motion_predictor.errors import ConfigError

PACE, RARE_PACE = 0.15, 0.5
"""How fast a factor follows, for levels below RARE_LEVEL and from there on; see
:class:`Following`."""
NARROWEST, WIDEST = 0.4, 6.0
RARE_LEVEL = 0.99
"""From this level on, a factor never falls: a quiet hour says nothing about rare events."""


class Following:
    """
    Factors on the radii that make them hold the requested shares, by person and for the place.

    The method is quantile tracking (Angelopoulos, Candes and Tibshirani, Conformal PID Control for
    Time Series Prediction, NeurIPS 2023, eq. 4) of the logarithm of each level's factor. A check
    moves both the place's and the person's logarithm by ``pace (missed - (1 - level))``. A new
    person begins with the place's factor.
    """

    def __init__(self, levels: Sequence[float], mode: str = 'both') -> None:
        """
        Begin with unchanged radii.

        :param levels: shares of real positions to hold.
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
        Change the mode; the factors found so far are kept.

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
        """Return the factor of each level's radius, ``(L, P)``; radii rise with the level."""
        none = np.zeros(len(self.levels))
        logs = np.stack([self._place + self._persons.get(track, none) for track in tracks], axis=1)
        return np.exp(np.clip(logs, self._lowest[:, None], self._highest))

    @property
    def held(self) -> np.ndarray:
        """Return the share of joints that each level held lately, ``(L,)``; NaN at first."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return 1.0 - self._missed / self._checked

    @property
    def place_scales(self) -> np.ndarray:
        """Return the place's factor for each level, ``(L,)``."""
        return np.exp(np.clip(self._place, self._lowest, self._highest))

    @property
    def place_logs(self) -> np.ndarray:
        """Return the logarithm of the place's factor for each level, ``(L,)``."""
        return self._place.copy()

    def begin_with(self, place_logs: np.ndarray) -> None:
        """Continue with earlier factors; see :attr:`place_logs`."""
        self._place = np.clip(place_logs, self._lowest, self._highest)

    def stay(self, tracks: Sequence[int]) -> None:
        """Forget everybody whose track is not given."""
        self._persons = {t: self._persons[t] for t in tracks if t in self._persons}

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget the factors of some people; the place's factor stays."""
        for track in tracks:
            self._persons.pop(track, None)

    def note(self, track: int, missed: np.ndarray, part: float = 1.0) -> None:
        """
        Add one check.

        :param track: number of the person's history.
        :param missed: share of the joints outside of each level's scaled radius, ``(L,)``.
        :param part: part of a whole prediction that was checked, 0..1.
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
        """Begin again with unchanged radii."""
        self._place = np.zeros(len(self.levels))
        self._persons.clear()
        self._checked[:] = 0.0
        self._missed[:] = 0.0
