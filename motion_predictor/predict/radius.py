# SPDX-License-Identifier: Apache-2.0
"""Keep the stated radius true of the people present, by checking it against what they did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.awaited import Awaited
from motion_predictor.track.window import ObservedWindow

if TYPE_CHECKING:
    from motion_predictor.predict.prediction import Prediction

_NS = 1e-9
MODES = ('both', 'widen', 'fixed')
PACE = 0.2
"""How fast the scale follows: a person with all joints outside raises it by a fifth."""
NARROWEST, WIDEST = 0.5, 4.0
EVERY_S = 0.5
"""Time in seconds between predictions that are kept to be checked."""
INSTANTS = 8
_KEPT = 120 * INSTANTS  # checks that count as the latest: a minute of one person


class RadiusScale:
    """
    The factor with which the stated radii have lately held the requested share.

    The method is quantile tracking (Angelopoulos, Candes and Tibshirani, Conformal PID Control for
    Time Series Prediction, NeurIPS 2023, eq. 4) of the logarithm of the factor. Every check moves
    the logarithm by ``pace (missed - (1 - share))``. So in the long run the requested share is
    held for any people, as long as the factor stays within its bounds.
    """

    def __init__(self, share: float, mode: str = MODES[0]) -> None:
        """
        Begin with the stated radii.

        :param share: share of real positions to hold, above 0 and at most 1; at 1 no radius is
            enough, and the factor stays 1.
        :param mode: ``both`` for wider and narrower, ``widen`` for never narrower than stated,
            ``fixed`` for as stated.
        :raises ConfigError: if one of them cannot work.
        """
        if not 0.0 < share <= 1.0:
            raise ConfigError(f'share={share}: must lie above 0 and at most at 1')
        if mode not in MODES:
            raise ConfigError(f'mode={mode!r}: must be one of {", ".join(MODES)}')
        self.share = share
        self.mode = mode
        moves = mode != 'fixed' and share < 1.0
        self._lowest = math.log(NARROWEST) if moves and mode == 'both' else 0.0
        self._highest = math.log(WIDEST) if moves else 0.0
        self._log = 0.0
        self._latest: deque[float] = deque(maxlen=_KEPT)

    @property
    def value(self) -> float:
        """Return the present factor on radii."""
        return math.exp(self._log)

    @property
    def held(self) -> float:
        """Return the share within the scaled radii in the latest checks; NaN before the first."""
        latest = self._latest.copy()  # a copy of a deque that another thread may append to
        return 1.0 - sum(latest) / len(latest) if latest else math.nan

    def note(self, missed: float, part: float = 1.0) -> None:
        """
        Add one check.

        :param missed: share of the positions outside of the scaled radii, 0..1.
        :param part: part of a whole prediction that was checked; one of its eight instants is 1 /
            8.
        """
        self._latest.append(missed)
        moved = self._log + PACE * part * (missed - (1.0 - self.share))
        self._log = min(max(moved, self._lowest), self._highest)


def checked_instants(future_frames: int) -> np.ndarray:
    """Return the indices of the future frames at which radii are checked, at most 8 of them."""
    return np.unique(np.linspace(0, future_frames - 1, INSTANTS + 1).round().astype(np.int64)[1:])


@dataclass
class _Pending(Awaited):
    """A prediction of one person that waits for the outcome."""

    mean: np.ndarray
    """Mean positions, (instants, J, 3), metres."""
    radius: np.ndarray
    """Published radii (with their factor), (instants, J), metres."""


class CoverageWatch:
    """
    Compares predictions with what people then did, and scales the radius accordingly.

    Twice a second, a prediction of everybody is kept: its mean and its radius at a few instants.
    As each of these instants comes, the seen joints inside and outside are counted. One factor
    serves everybody; it belongs to the place and stays when people come and go. One thread uses
    this class; others may read :attr:`scale` and :attr:`held`.
    """

    def __init__(self, window: WindowConfig, share: float, mode: str = MODES[0]) -> None:
        """
        Begin without people.

        :param window: the model's window.
        :param share: as for :class:`RadiusScale`.
        :param mode: as for :class:`RadiusScale`.
        :raises ConfigError: if share or mode cannot work.
        """
        self._window = window
        self._frames = checked_instants(window.future_frames)
        self._scale = RadiusScale(share, mode)
        self._pending: dict[int, list[_Pending]] = {}
        self._begun_ns: int | None = None

    @property
    def scale(self) -> float:
        """Return the present factor on radii."""
        return self._scale.value

    @property
    def held(self) -> float:
        """Return the share of joints within the stated radii in the latest checks; or NaN."""
        return self._scale.held

    def ask(self, share: float, mode: str) -> None:
        """Begin again if another share or another mode is requested; see :meth:`__init__`."""
        if (share, mode) != (self._scale.share, self._scale.mode):
            self._scale = RadiusScale(share, mode)
            self._pending.clear()
            self._begun_ns = None

    def update(
        self,
        tracks: tuple[int, ...],
        windows: tuple[ObservedWindow, ...],
        prediction: Prediction,
    ) -> None:
        """
        Check the instants that have come, then keep this prediction if it is time for one.

        :param tracks: numbers of the histories of the P people who are predicted now; ids would
            not do, because an id may pass to another person, who did not do what is compared here.
        :param windows: their observed windows.
        :param prediction: prediction of these people from these windows, from each person's own
            last frame on.
        """
        pending = {track: self._pending.get(track, []) for track in tracks}
        for track, window in zip(tracks, windows, strict=True):
            for each in pending[track]:
                self._check(each, window)
            pending[track] = [each for each in pending[track] if each.come < len(self._frames)]
        self._pending = pending
        stamp_ns = max(window.stamp_ns for window in windows)
        every_ns = (EVERY_S - 0.5 * self._window.period_s) / _NS
        if self._begun_ns is not None and 0 <= stamp_ns - self._begun_ns < every_ns:
            return
        self._begun_ns = stamp_ns
        moments = prediction.moments(self._frames)
        radius = prediction.radius(self._scale.share, moments, self._frames) * self._scale.value
        for number, (track, window) in enumerate(zip(tracks, windows, strict=True)):
            pending[track].append(
                _Pending(window.stamp_ns, window.seen, moments.mean[number], radius[number])
            )

    def _check(self, pending: _Pending, window: ObservedWindow) -> None:
        # Count every instant that has come since; an instant that was not observed does not count.
        for instant, real, seen in pending.outcomes(window, self._frames, self._window.rate_hz):
            apart = np.linalg.norm(real - pending.mean[instant], axis=-1)
            missed = float((apart > pending.radius[instant])[seen].mean())
            self._scale.note(missed, 1.0 / len(self._frames))
