# SPDX-License-Identifier: Apache-2.0
"""What the node has learnt of the place that it watches, and the complete forecast made with it.

The model's samples come in. Damped velocity, standing still and the memory's futures are put
beside them. Gate and evidence weigh all of them, and the radius network gives the result a radius.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
import threading
from typing import TYPE_CHECKING

import numpy as np

from motion_predictor.body.geometry import bone_lengths
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.candidates import CANDIDATES, DAMPED, knot_frames, MEMORY, MODEL, STILL
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.networks.gate import Described
from motion_predictor.model.networks.radius_network import noise_radii
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.awaited import Awaited
from motion_predictor.predict.place.beside import side_by_side
from motion_predictor.predict.place.candidates import (
    at_every_frame,
    Stance,
    stance,
)
from motion_predictor.predict.place.evidence import Evidence
from motion_predictor.predict.place.following import Following
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.memory.recall import Like, nothing_found, occasions, Recall
from motion_predictor.predict.place.mix import firmness, Mix, overall
from motion_predictor.predict.place.noise import NoiseWatch
from motion_predictor.predict.place.weighing import describe, tell
from motion_predictor.track.window import ObservedWindow

if TYPE_CHECKING:
    from motion_predictor.predict.prediction import Prediction

LOST_S = 60.0
"""A person who was not predicted for longer than this, in seconds, is lost for good: their data
are dropped."""
_MOST_ABSENT = 256
_NS = 1e-9
_PIECE = 4096  # number of slots that are copied while the worker waits


@dataclass
class _AwaitedRadii(Awaited):
    """The radii of one person that wait for the outcome."""

    expected: np.ndarray
    """The expected future, (K, J, 3), metres."""
    radii: np.ndarray
    """The published radii (with their factors), (L, K, J), metres."""


@dataclass(frozen=True)
class Kept:
    """The data of a place that outlive the node; see :mod:`~.place.memory_file`."""

    columns: Mapping[str, np.ndarray]
    """Content of the memory, oldest first, as :meth:`PlaceMemory.columns` returns it; slots from
    0."""
    evidence: np.ndarray | None
    levels: tuple[float, ...]
    scales: np.ndarray | None
    """Logarithms of the factors on the radius of each level."""


@dataclass(frozen=True)
class Working:
    """The intermediate results of the latest forecast, for training and evaluation."""

    described: Described
    told: np.ndarray | None
    """Inputs of the radius network, (P, K, J, F)."""
    weights: np.ndarray
    """Weights of the candidates, (P, K, C)."""
    evidence: np.ndarray
    """Evidence on the candidates, (P, K, E, C)."""
    spreads: np.ndarray
    """Spreads of the candidates, metres, (P, K, C, J)."""
    recall: Recall
    now: Stance
    seen: np.ndarray
    """Observed windows, metres from the origins, (P, T_obs, J, 3)."""
    origins: np.ndarray


class Place:
    """
    Memory, evidence and radii of one place; one worker uses it.

    Other threads may call :meth:`forget` and the functions for diagnostics.
    """

    def __init__(
        self,
        window: WindowConfig,
        skeleton: Skeleton,
        weights: WeighingWeights | None,
        *,
        memory_mb: float = 64.0,
        remember: bool = True,
        follow: str = 'both',
    ) -> None:
        """
        Begin with nothing learnt.

        :param window: the model's window.
        :param skeleton: the model's skeleton.
        :param weights: weighing weights of the weights file; None: the model alone counts, during
            fitting.
        :param memory_mb: size of the memory in megabytes.
        :param remember: whether there is a memory.
        :param follow: whether radii follow what people do: ``both``, ``widen`` or ``fixed``.
        :raises ConfigError: if a setting cannot work.
        """
        self.window, self.skeleton, self.weights = window, skeleton, weights
        basis = None if weights is None else weights.basis
        self.memory = PlaceMemory(window, skeleton, basis, memory_mb) if remember else None
        self.evidence = Evidence(window)
        self.levels = weights.radius.levels if weights and weights.radius else ()
        self.following = Following(self.levels, follow) if self.levels else None
        self.working: Working | None = None
        self._knots = knot_frames(window)
        self._noise = NoiseWatch()
        self._awaited: dict[int, list[_AwaitedRadii]] = {}
        self._latest: dict[int, tuple[np.ndarray, Like]] = {}
        self._present: dict[int, int] = {}
        self._lock = threading.Lock()
        self.forgotten = 0
        """How often everything, or somebody, was forgotten."""
        self.moments_forgotten = 0
        """Of people who were to be forgotten."""

    @property
    def state(self) -> tuple[int, int]:
        """Return a pair that changes whenever something is remembered or forgotten."""
        return self.forgotten, 0 if self.memory is None else self.memory.span[1]

    def copied(self) -> Kept | None:
        """
        Return a copy of what outlives the node, made in pieces: the worker continues meanwhile.

        :returns: None if everything was forgotten while it was copied.
        """
        memory, pieces = self.memory, []
        with self._lock:
            forgotten, (begin, last) = self.forgotten, memory.span if memory else (0, 0)
            scales = None if self.following is None else self.following.place_logs
            evidence = self.evidence.of_place
        for first in range(begin, last, _PIECE):
            with self._lock:
                if memory is None or self.forgotten != forgotten:
                    return None
                pieces.append(memory.columns(first, min(first + _PIECE, last)))
        with self._lock:
            if self.forgotten != forgotten:
                return None
            oldest = memory.span[0] if memory else 0  # earlier ones were overwritten meanwhile
        columns = {
            name: np.concatenate([piece[name] for piece in pieces])[max(oldest - begin, 0) :]
            for name in (pieces[0] if pieces else ())
        }
        if columns:
            done = (columns['paths'][:, :1] >= 0) & (columns['paths'][:, -1:] < last)
            columns['paths'] = np.where(done, columns['paths'] - oldest, -1)
        return Kept(columns, evidence, self.levels, scales)

    def restore(self, kept: Kept) -> None:
        """
        Continue from a copy.

        :param kept: a copy with the same joints and window; evidence and scales may be None.
        """
        with self._lock:
            if self.memory is not None and kept.columns:
                self.memory.restore(kept.columns)
            if kept.evidence is not None:
                self.evidence.begin_with(kept.evidence)
            same = kept.levels == self.levels
            if self.following is not None and kept.scales is not None and same:
                self.following.begin_with(kept.scales)

    def forget(self) -> None:
        """Forget everything seen here: memory, evidence and factors on radii."""
        with self._lock:
            self.forgotten += 1
            if self.memory is not None:
                self.memory.forget()
            self.evidence.forget()
            self._awaited.clear()
            self._latest = {}
            if self.following is not None:
                self.following.forget()

    def forget_tracks(self, tracks: Collection[int]) -> int:
        """
        Forget some people: their moments, evidence, noise and factors on radii.

        What counts for the place stays: a few means over everybody. A person who is still present
        is learnt from again, like a new person.

        :param tracks: numbers of their histories.
        :returns: the number of forgotten moments.
        """
        with self._lock:
            self.forgotten += 1
            moments = 0 if self.memory is None else self.memory.forget_tracks(tracks)
            self.evidence.forget_tracks(tracks)
            if self.following is not None:
                self.following.forget_tracks(tracks)
            self._noise.forget_tracks(tracks)
            for track in tracks:
                self._awaited.pop(track, None)
                self._present.pop(track, None)
            self._latest = {t: of for t, of in self._latest.items() if t not in tracks}
            self.working = None
            self.moments_forgotten += moments
            return moments

    def remembered_tracks(self) -> set[int]:
        """Return the numbers of the histories that the memory holds something of."""
        with self._lock:
            return set() if self.memory is None else self.memory.tracks

    def follow(self, mode: str) -> None:
        """Change the way in which radii follow people; see :class:`Following`."""
        if self.following is not None and self.following.mode != mode:
            with self._lock:
                self.following.follow(mode)

    def weigh(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        prediction: Prediction,
    ) -> Prediction:
        """
        Put the other candidates beside the model's samples, and weigh all of them.

        :param tracks: numbers of the P people's histories.
        :param windows: their observed windows.
        :param prediction: prediction of the model, from each person's own last frame on.
        :returns: the prediction with all samples, weights and radii; see
            :class:`motion_predictor.predict.place.mix.Mix`.
        """
        with self._lock:
            return self._weigh(tracks, windows, prediction)

    def _weigh(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        prediction: Prediction,
    ) -> Prediction:
        origins = np.stack([window.poses[-1, 0] for window in windows])  # (P, 3)
        seen = np.stack([window.poses for window in windows]) - origins[:, None, None]
        seen = seen.astype(np.float32)
        absent = self._absent(tracks, windows)
        jitter = self._noise.judge(tracks, windows, seen, absent)
        now = stance(seen, jitter, self.window.rate_hz)
        recall = self._recall(tracks, windows, now)
        means, spreads, beside = side_by_side(prediction, now, recall, origins, self.window)
        at_knots = means[:, self._knots]
        described = describe(
            seen, now, at_knots, spreads[:, :, MODEL].mean(axis=-1),
            spreads[:, :, MEMORY].mean(axis=-1), recall, self.window.rate_hz,
        )  # fmt: skip
        self.evidence.update(tracks, windows, absent)
        evidence = self.evidence.of(tracks)
        if self.weights is None or self.weights.gate is None:
            weights = np.zeros((len(seen), len(self._knots), len(CANDIDATES)), np.float32)
            weights[..., MODEL] = 1.0
        else:
            weights = self.weights.gate.weights(described, evidence).astype(np.float32)
        told, radii = self._radii(tracks, seen, now, at_knots, weights, spreads, recall)
        mix = self._mix(prediction, means, weights, recall, origins, seen, now.jitter, radii)
        self.working = Working(
            described, told, weights, evidence, spreads, recall, now, seen, origins
        )
        self._keep(tracks, windows, described, mix, absent)
        shares = weights.sum(axis=1) / weights.shape[1]
        self._latest = {
            track: (mean, like) for track, mean, like in zip(tracks, shares, recall.like)
        }
        joint = overall(mix.shares, mix.within, mix.candidate)
        return replace(prediction, sampled=beside, weights=joint, mix=mix)

    def _absent(self, tracks: Sequence[int], windows: Sequence[ObservedWindow]) -> list[int]:
        # Return tracks that are not predicted now, of people who may still come back with them.
        for track, window in zip(tracks, windows, strict=True):
            self._present.pop(track, None)
            self._present[track] = window.stamp_ns
        newest, here = max(window.stamp_ns for window in windows), set(tracks)
        lately = [
            track
            for track, stamp_ns in self._present.items()
            if track not in here and abs(newest - stamp_ns) * _NS <= LOST_S
        ][-_MOST_ABSENT:]
        self._present = {track: self._present[track] for track in (*lately, *tracks)}
        return lately

    def _recall(
        self, tracks: Sequence[int], windows: Sequence[ObservedWindow], now: Stance
    ) -> Recall:
        if self.memory is None:
            return nothing_found(now, 0, self.window)
        self.memory.remember(tracks, windows, now.jitter)
        return self.memory.recall(now, shown=np.stack([window.seen for window in windows]))

    def _radii(
        self,
        tracks: Sequence[int],
        seen: np.ndarray,
        now: Stance,
        means: np.ndarray,
        weights: np.ndarray,
        spreads: np.ndarray,
        recall: Recall,
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        told = tell(seen, now, means, weights, spreads, recall, self.window.rate_hz)
        if self.weights is None or self.weights.radius is None or self.following is None:
            return told, None
        radii = self.weights.radius.radii(told, now.jitter)
        scaled = radii * self.following.scales(tracks)[:, :, None, None]
        scaled = np.maximum(scaled, noise_radii(self.levels, now.jitter)[:, :, None, None])
        return told, np.maximum.accumulate(scaled.astype(np.float32), axis=0)

    def _mix(
        self,
        prediction: Prediction,
        means: np.ndarray,
        weights: np.ndarray,
        recall: Recall,
        origins: np.ndarray,
        seen: np.ndarray,
        jitter: np.ndarray,
        radii: np.ndarray | None,
    ) -> Mix:
        samples, remembered = prediction.weights.shape[1], recall.weights.shape[1]
        within = np.empty((len(seen), samples + 2 + remembered), dtype=np.float32)
        within[:, :samples] = prediction.weights
        within[:, samples : samples + 2] = 1.0
        within[:, samples + 2 :] = recall.weights
        if radii is not None:
            radii = at_every_frame(radii, self.window)
        return Mix(
            _whose(samples, remembered), within, at_every_frame(weights, self.window),
            bone_lengths(seen, self.skeleton), firmness(jitter), means, origins, self.skeleton,
            self.levels, radii,
        )  # fmt: skip

    # Outcomes

    def _keep(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        described: Described,
        mix: Mix,
        absent: Sequence[int],
    ) -> None:
        self._check_radii(tracks, windows, absent)
        due = self.evidence.due(tracks, windows)
        if not due:
            return
        expected = mix.expected(self._knots)
        for index in due:
            origin = mix.origin[index]
            self.evidence.keep(
                tracks[index], windows[index], origin, described.means[index],
                described.available[index], expected[index] - origin,
            )  # fmt: skip
            if mix.radii is not None:
                radii = mix.radii[:, index][:, self._knots]
                waiting = self._awaited.setdefault(tracks[index], [])
                waiting.append(
                    _AwaitedRadii(
                        windows[index].stamp_ns, windows[index].seen, expected[index], radii
                    )
                )

    def _check_radii(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        absent: Sequence[int],
    ) -> None:
        if self.following is None:
            return
        self.following.stay((*tracks, *absent))
        self._awaited = {track: self._awaited.get(track, []) for track in (*tracks, *absent)}
        for track, window in zip(tracks, windows, strict=True):
            for waiting in self._awaited[track]:
                rate_hz = self.window.rate_hz
                for knot, real, there in waiting.outcomes(window, self._knots, rate_hz):
                    apart = np.linalg.norm(real - waiting.expected[knot], axis=-1)[there]
                    missed = (apart > waiting.radii[:, knot, there]).mean(axis=-1)
                    self.following.note(track, missed, 1.0 / len(self._knots))
            left = [each for each in self._awaited[track] if each.come < len(self._knots)]
            self._awaited[track] = left

    # For diagnostics: any thread

    def words(self, track: int) -> str:
        """Return in words what a person's future mostly comes from; '' for an unknown person."""
        found = self._latest.get(track)
        if found is None:
            return ''
        weights, like = found
        first, seen = int(weights.argmax()), occasions(like)
        text = f'{"mostly " if weights[first] > 0.5 else "partly "}{CANDIDATES[first]}'
        often = 'once' if seen == 1 else f'{seen} times'
        return f'{text}, has seen the like {often}' if seen else text

    def shares(self, track: int) -> dict[str, float]:
        """Return the weight of each candidate over all horizons, by its name."""
        found = self._latest.get(track)
        return {} if found is None else dict(zip(CANDIDATES, found[0].tolist(), strict=True))


@lru_cache(maxsize=8)
def _whose(samples: int, remembered: int) -> np.ndarray:
    # Return the candidate of each sample.
    found = np.repeat(
        np.array([MODEL, DAMPED, STILL, MEMORY], dtype=np.uint8), [samples, 1, 1, remembered]
    )
    found.setflags(write=False)
    return found
