"""
What the guesses turned out to be worth: losses that have come true, of each person and the place.

Prediction with expert advice (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006):
a candidate's weight is the gate's times ``exp(-trust x discounted loss)``. Every loss is taken
relative to the mean loss of the candidates at that moment, so that hard moments count no more
than easy ones.
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
"""Predictions of a person whose outcome is waited for are so far apart."""
FLOOR_M = 0.005
"""Added to every loss: millimetres decide nothing."""
WORST = 2.0
"""A loss counts for at most so much more than the mean of the candidates."""
_NS = 1e-9


def relative_losses(errors: np.ndarray, available: np.ndarray) -> np.ndarray:
    """
    Compare candidates with each other.

    :param errors: metres a joint, ``(..., C)``.
    :param available: which of them there were, broadcastable to ``(..., C)``.
    :returns: relative to their mean, -1 to :data:`WORST`; 0 for those there were not.
    """
    there = np.broadcast_to(available, errors.shape)
    losses = np.where(there, errors + FLOOR_M, 0.0)
    mean = losses.sum(axis=-1, keepdims=True) / there.sum(axis=-1, keepdims=True)
    return np.where(there, np.clip(losses / mean - 1.0, -1.0, WORST), 0.0)


@dataclass
class _Waiting(Awaited):
    """Candidates of one person that wait for what will happen."""

    means: np.ndarray
    """(K, C, J, 3) metres from ``origin``."""
    origin: np.ndarray
    available: np.ndarray
    errors: np.ndarray
    """(K, C + 1), NaN until they are known; the last is of what was published."""
    published: np.ndarray
    """(K, J, 3) metres from ``origin``."""


@dataclass
class _Person:
    sums: np.ndarray
    waiting: list[_Waiting] = field(default_factory=list)
    next_ns: int = 0


class Evidence:
    """
    Discounted relative losses of every candidate, by person and for the place.

    A new person begins with nothing of their own, and with the place's. Used by one thread.

    Bound on the regret: with one way to forget that keeps ``k`` of its sum, trust ``t`` in it and
    a gate that gives the best candidate the weight ``w`` throughout, the weighted whole's
    relative loss, discounted like the sums (``(1 - k) sum k^(T - i) loss_i``), exceeds the best
    candidate's by at most ``k ln(1 / w) / t + t (1 - k) (1 + WORST)^2 / (8 k)``. (Hoeffding's
    lemma at every step, Jensen's inequality for the discount; chapter 2 of the book above. A
    horizon's delay adds what one horizon can lose.)
    """

    def __init__(self, window: WindowConfig) -> None:
        """Begin with nobody."""
        self._window = window
        self._frames = knot_frames(window)
        self._place = self._nothing()
        self._persons: dict[int, _Person] = {}
        self._errors = np.zeros((len(self._frames), len(CANDIDATES) + 1))
        self._counts = np.zeros((len(self._frames), 1))

    def _nothing(self) -> np.ndarray:
        return np.zeros((len(self._frames), len(MEMORIES), len(CANDIDATES)))

    def forget(self) -> None:
        """Forget everything, the place's too."""
        self._place = self._nothing()
        self._persons.clear()
        self._errors[:] = 0.0
        self._counts[:] = 0.0

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget what counts for some people alone; the place's means over everybody stay."""
        for track in tracks:
            self._persons.pop(track, None)

    @property
    def of_place(self) -> np.ndarray:
        """Return what counts for the place, ``(K, E, C)``; relative losses, -1 to WORST."""
        return self._place.copy()

    def begin_with(self, of_place: np.ndarray) -> None:
        """Go on from what was found out of the place before; see :attr:`of_place`."""
        self._place = np.clip(of_place, -1.0, WORST)

    @property
    def errors_m(self) -> np.ndarray:
        """
        Return how far off each candidate was of late, and last what was published.

        :returns: metres a joint, ``(K, C + 1)``, NaN before the first outcome.
        """
        with np.errstate(invalid='ignore', divide='ignore'):
            return self._errors / self._counts

    def of(self, tracks: Sequence[int]) -> np.ndarray:
        """
        Return what counts for these people now.

        :param tracks: numbers of their histories, P of them.
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
        Take in what has come true; whose track is nowhere named is forgotten.

        :param tracks: numbers of the histories of everyone predicted now.
        :param windows: what was observed of them.
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
        """Return the indices of those whose candidates are to be kept now, for the outcome."""
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
        Keep a person's candidates until it is known what they were worth.

        :param origin: of ``means`` and ``published``, metres, ``(3,)``.
        :param means: ``(K, C, J, 3)``.
        :param available: ``(C,)``.
        :param published: the one future that was shown, ``(K, J, 3)``.
        """
        errors = np.full((len(self._frames), len(CANDIDATES) + 1), np.nan)
        self._persons[track].waiting.append(
            _Waiting(window.stamp_ns, means, origin, available, errors, published)
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
