# SPDX-License-Identifier: Apache-2.0
"""Detect motion that the model never saw: compare real motion with earlier forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.mixture_forecast import checked_frames, CHECKED_S, Forecast
from motion_predictor.track.window import ObservedWindow

_NS = 1e-9


@dataclass(frozen=True)
class _Pending:
    """A forecast that waits for the real motion."""

    stamp_ns: int
    forecast: Forecast
    person: int


class SurpriseWatch:
    """
    Keeps one forecast of each person until it can be checked, then takes the next.

    So the model's likelihood is computed twice a second per person, at any rate of poses. One
    thread uses it; others may read :attr:`latest`.
    """

    def __init__(self, window: WindowConfig) -> None:
        """
        Begin without people.

        :param window: the model's window.
        """
        self._window = window
        self._frames = checked_frames(window.rate_hz)
        self._pending: dict[str, _Pending] = {}
        self.latest: Mapping[str, float] = {}
        """The latest surprise of each person, nats a coordinate; replaced, never changed."""

    def update(
        self,
        persons: tuple[str, ...],
        windows: tuple[ObservedWindow, ...],
        reassociated: Mapping[str, str],
        forecast: Forecast | None,
    ) -> np.ndarray:
        """
        Check the forecasts whose instants have come, and keep new ones.

        :param persons: names of the P people who are predicted now.
        :param windows: their observed windows.
        :param reassociated: new ids, each with the former id whose history it took over.
        :param forecast: forecast of these people from these windows; None if the model makes none.
        :returns: each person's latest surprise in nats per coordinate, NaN if there is none, (P,).
        """
        latest = dict(self.latest)
        for new, former in reassociated.items():
            if former in self._pending:
                self._pending[new] = self._pending.pop(former)
            if former in latest:
                latest[new] = latest.pop(former)
        for number, (name, window) in enumerate(zip(persons, windows, strict=True)):
            pending = self._pending.get(name)
            if pending is not None:
                age_s = (window.stamp_ns - pending.stamp_ns) * _NS
                if 0.0 <= age_s < CHECKED_S[-1] - 0.5 * self._window.period_s:
                    continue  # not yet
                del self._pending[name]
                poses = self._poses_since(window, age_s)
                if poses is not None:
                    latest[name] = pending.forecast.surprise(pending.person, poses, self._frames)
            if forecast is not None:
                self._pending[name] = _Pending(window.stamp_ns, forecast, number)
        self._pending = {name: self._pending[name] for name in persons if name in self._pending}
        self.latest = {name: latest[name] for name in persons if name in latest}
        return np.array([self.latest.get(name, np.nan) for name in persons])

    def _poses_since(self, window: ObservedWindow, age_s: float) -> np.ndarray | None:
        """Return the poses at the checked instants; None if they were not observed."""
        if age_s < 0.0:  # time has begun again
            return None
        last = len(window.poses) - 1
        at = last - (age_s - np.array(CHECKED_S)) * self._window.rate_hz
        at = np.minimum(at, last)  # within half a frame of the newest
        if at.min() < window.padded_frames:
            return None
        return window.between(at)[0]
