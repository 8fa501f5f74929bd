# SPDX-License-Identifier: Apache-2.0
"""Evidence on the candidates: their past losses, for each person and for the place.

This is prediction with expert advice (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games,
2006). The weight of a candidate is the gate's weight times ``exp(-trust x discounted loss)``.
Every loss is relative to the mean loss of the candidates at that moment, so that hard moments
count no more than easy ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.awaited import Awaited
from motion_predictor.track.window import ObservedWindow

EVERY_S = 0.48
"""Time in seconds between predictions of a person that are kept to be compared with
the outcome."""
FLOOR_M = 0.005
"""Distance in metres that is added to every loss, so that millimetres decide nothing."""
WORST = 2.0
"""Greatest relative excess of a loss over the candidates' mean."""
_NS = 1e-9


def relative_losses(errors: np.ndarray, available: np.ndarray) -> np.ndarray:
    """
    Return the losses of candidates relative to their mean.

    :param errors: metres per joint, ``(..., C)``.
    :param available: which candidates were available, broadcastable to ``(..., C)``.
    :returns: between -1 and :data:`WORST`; 0 for candidates that were not available.
    """
    there = np.broadcast_to(available, errors.shape)
    losses = np.where(there, errors + FLOOR_M, 0.0)
    mean = losses.sum(axis=-1, keepdims=True) / there.sum(axis=-1, keepdims=True)
    return np.where(there, np.clip(losses / mean - 1.0, -1.0, WORST), 0.0)


@dataclass
class _Waiting(Awaited):
    """The candidates of one person that wait for the outcome."""

    means: np.ndarray
    """Means of the candidates, (K, C, J, 3), metres from ``origin``."""
    origin: np.ndarray
    available: np.ndarray
    errors: np.ndarray
    """Errors (K, C + 1), metres per joint, NaN until they are known; the last is that of the
    published future."""
    published: np.ndarray
    """The published future, (K, J, 3), metres from ``origin``."""


@dataclass
class _Person:
    sums: np.ndarray
    waiting: list[_Waiting] = field(default_factory=list)
    next_ns: int = 0


class Evidence:
    """
    Discounted relative losses of every candidate, for each person and for the place.

    A new person begins without losses of their own and with those of the place. One thread uses
    it.

    The regret is bounded as follows. Take one rate of forgetting that keeps ``k`` of its sum, a
    trust ``t`` in it, and a gate that always gives the best candidate the weight ``w``. The
    relative loss of the weighted whole, discounted like the sums (``(1 - k) sum k^(T - i)
    loss_i``), exceeds that of the best candidate by at most ``k ln(1 / w) / t + t (1 - k) (1 +
    WORST)^2 / (8 k)``. The proof uses Hoeffding's lemma at every step and Jensen's inequality for
    the discount; see chapter 2 of the book above. The delay of a horizon adds at most what one
    horizon can lose.
    """

    def __init__(self, window: WindowConfig) -> None:
        """Begin without people."""
        self._window = window
        self._frames = knot_frames(window)
        self._place = self._nothing()
        self._persons: dict[int, _Person] = {}
        self._errors = np.zeros((len(self._frames), len(CANDIDATES) + 1))
        self._counts = np.zeros((len(self._frames), 1))

    def _nothing(self) -> np.ndarray:
        return np.zeros((len(self._frames), len(MEMORIES), len(CANDIDATES)))

    def forget(self) -> None:
        """Forget everything, also for the place."""
        self._place = self._nothing()
        self._persons.clear()
        self._errors[:] = 0.0
        self._counts[:] = 0.0

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget the losses of some people; the place's means over everybody stay."""
        for track in tracks:
            self._persons.pop(track, None)

    @property
    def of_place(self) -> np.ndarray:
        """Return the place's discounted relative losses, ``(K, E, C)``, from -1 to WORST."""
        return self._place.copy()

    def begin_with(self, of_place: np.ndarray) -> None:
        """Continue with earlier losses of the place; see :attr:`of_place`."""
        self._place = np.clip(of_place, -1.0, WORST)

    @property
    def errors_m(self) -> np.ndarray:
        """
        Return the recent mean error of each candidate and, last, of the published future.

        :returns: metres per joint, ``(K, C + 1)``, NaN before the first outcome.
        """
        with np.errstate(invalid='ignore', divide='ignore'):
            return self._errors / self._counts

    def of(self, tracks: Sequence[int]) -> np.ndarray:
        """
        Return the losses that count for these people now.

        :param tracks: numbers of the P people's histories.
        :returns: float32 ``(P, K, E, C)``.
        """
        of_place = np.array([memory.of_place for memory in MEMORIES])
        found = np.empty((len(tracks), *self._place.shape), dtype=np.float32)
        for index, track in enumerate(tracks):
            person = self._persons.get(track)
            own = self._place if person is None else person.sums
            found[index] = np.where(of_place[:, None], self._place, own)
            if person is None:
                found[index][:, ~of_place] = 0.0
        return found

    def update(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        absent: Sequence[int] = (),
    ) -> None:
        """
        Add the outcomes that have come; people in neither list of tracks are forgotten.

        :param tracks: numbers of the histories of everybody who is predicted now.
        :param windows: their observed windows.
        :param absent: tracks of people who may come back.
        """
        kept = {track: self._persons[track] for track in absent if track in self._persons}
        self._persons = kept | {
            track: self._persons.get(track) or _Person(self._nothing()) for track in tracks
        }
        for track, window in zip(tracks, windows, strict=True):
            person = self._persons[track]
            for waiting in person.waiting:
                self._check(person, waiting, window)
            person.waiting = [each for each in person.waiting if each.come < len(self._frames)]

    def due(self, tracks: Sequence[int], windows: Sequence[ObservedWindow]) -> list[int]:
        """Return the indices of the people whose candidates must be kept now for comparison."""
        found = []
        for index, (track, window) in enumerate(zip(tracks, windows, strict=True)):
            person = self._persons[track]
            early = person.next_ns - window.stamp_ns
            if early > 0.1 * self._window.period_s / _NS and early < 2.0 * EVERY_S / _NS:
                continue
            if early < -EVERY_S / _NS or early > 0:
                person.next_ns = window.stamp_ns
            person.next_ns += round(EVERY_S / _NS)
            found.append(index)
        return found

    def keep(
        self,
        track: int,
        window: ObservedWindow,
        origin: np.ndarray,
        means: np.ndarray,
        available: np.ndarray,
        published: np.ndarray,
    ) -> None:
        """
        Keep a person's candidates until the outcome is known.

        :param track: number of the person's history.
        :param window: the person's observed window.
        :param origin: origin of ``means`` and ``published``, metres, ``(3,)``.
        :param means: means of the candidates, metres, ``(K, C, J, 3)``.
        :param available: which candidates were available, ``(C,)``.
        :param published: the one future that was shown, metres, ``(K, J, 3)``.
        """
        errors = np.full((len(self._frames), len(CANDIDATES) + 1), np.nan)
        self._persons[track].waiting.append(
            _Waiting(window.stamp_ns, window.seen, means, origin, available, errors, published)
        )

    def _check(self, person: _Person, waiting: _Waiting, window: ObservedWindow) -> None:
        outcomes = waiting.outcomes(window, self._frames, self._window.rate_hz)
        for knot, real, seen in outcomes:
            real = (real - waiting.origin)[seen]
            apart = np.linalg.norm(waiting.means[knot][:, seen] - real, axis=-1).mean(axis=-1)
            shown = np.linalg.norm(waiting.published[knot][seen] - real, axis=-1).mean()
            self._note(person, knot, apart, waiting.available, float(shown))

    def _note(
        self,
        person: _Person,
        knot: int,
        errors: np.ndarray,
        available: np.ndarray,
        shown: float,
    ) -> None:
        losses = relative_losses(errors, available)
        for index, memory in enumerate(MEMORIES):
            sums = self._place if memory.of_place else person.sums
            sums[knot, index] = memory.kept * sums[knot, index] + (1.0 - memory.kept) * losses
        kept = MEMORIES[-1].kept
        self._errors[knot] = kept * self._errors[knot] + np.append(errors, shown)
        self._counts[knot] = kept * self._counts[knot] + 1.0
