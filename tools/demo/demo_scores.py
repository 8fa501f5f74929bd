# SPDX-License-Identifier: Apache-2.0
"""Scores of the demo's predictions against the real future."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from training.judge.baselines import damped_velocity, zero_velocity

WINDOW = WindowConfig()
SPLICE_S = 0.1
"""Invented motion that lasts longer than this, in seconds, joins two motions; shorter motion
continues one cycle."""
JITTER_S = 0.05
"""Largest delay of a replayed frame in seconds."""
AHEAD_S = 1.0
"""Horizon in seconds of the running error."""
RUNNING_S = 20.0
"""Time in seconds over which the running error is averaged; less at the beginning."""
RUNNING_FROM_S = 5.0
RUNNING_POINTS = 400


@dataclass(frozen=True)
class Collection:
    """The collector's file; see :func:`tools.demo.demo_collector.save`."""

    pose_stamps_s: np.ndarray  # (N,) seconds since the first pose
    poses: np.ndarray  # (N, P, 17, 3) metres
    stamps_s: np.ndarray  # (M,) of the predictions, seconds since the first pose
    published_s: np.ndarray  # (M,)
    received_s: np.ndarray  # (M,)
    times_s: np.ndarray  # (T,) of the predicted steps, after the stamp
    message: np.ndarray  # (R,) which of the M messages
    person: np.ndarray  # (R,)
    weights: np.ndarray  # (R, S)
    futures: np.ndarray  # (R, S, T, 17, 3) metres
    expected: np.ndarray  # (R, T, 17, 3) metres, the one future of ~/trajectory
    made_up_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """First and last instant of each stretch of invented motion, seconds since the first pose, (K,
    2)."""

    def with_made_up(self, instants_s: np.ndarray, made_up: np.ndarray) -> Collection:
        """
        Return the collection with the invented frames noted.

        :param instants_s: instants of the played frames, from the first, ``(N,)``.
        :param made_up: which of them are invented, ``(N,)`` bool.
        """
        edges = np.flatnonzero(np.diff(np.concatenate([[False], made_up, [False]]).astype(int)))
        first, last = edges[::2], edges[1::2] - 1
        return replace(self, made_up_s=np.stack([instants_s[first], instants_s[last]], axis=-1))

    @classmethod
    def load(cls, path: Path) -> Collection:
        """Read the file that the collector wrote."""
        with np.load(path) as stored:
            arrays = dict(stored)
        start_ns = arrays['pose_stamps_ns'][0] if len(arrays['pose_stamps_ns']) else 0
        seconds = {
            name: (arrays[f'{name}_ns'] - start_ns) * 1e-9
            for name in ('pose_stamps', 'stamps', 'published', 'received')
        }
        return cls(
            seconds['pose_stamps'],
            arrays['poses'],
            seconds['stamps'],
            seconds['published'],
            seconds['received'],
            arrays['times_s'].astype(np.float64),
            arrays['row_message'],
            arrays['row_person'],
            arrays['row_weights'],
            arrays['row_futures'],
            arrays['row_expected'],
        )


@dataclass(frozen=True)
class Scores:
    """
    Errors against what then happened, in the world frame.

    They are in metres per joint: the mean over the joints of the distance from the real position.
    """

    rows: np.ndarray  # (K,) rows of the collection whose future is known
    best: np.ndarray  # (K,) index of the sample that came nearest
    truth: np.ndarray  # (K, T, 17, 3)
    errors: dict[str, np.ndarray]  # (K, T), by method
    real: np.ndarray  # (K, T): True for scored instants: real, and not behind invented motion
    times_s: np.ndarray  # (T,) of the predicted steps, after the stamp
    pelvis: dict[str, np.ndarray]  # (K, T), by method of one future: how far the pelvis was off
    field_m: tuple[float, float] | None  # ADE and FDE as papers have them; see :func:`_field_norm`

    @property
    def mean_m(self) -> dict[str, float]:
        """Return the mean over the horizon and all predictions, by method."""
        share = self.real / self.real.sum(axis=1, keepdims=True)
        return {
            name: float((error * share).sum(axis=1).mean()) for name, error in self.errors.items()
        }

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Return the mean error of each step (T,), by method; NaN if no step is real."""
        with np.errstate(invalid='ignore'):
            return {
                name: (error * self.real).sum(axis=0) / self.real.sum(axis=0)
                for name, error in self.errors.items()
            }

    def at_m(self, ahead_s: float, method: str, *, pelvis: bool = False) -> float:
        """
        Return the mean error of one instant ahead over all predictions, metres.

        :param ahead_s: seconds after the stamp; the nearest predicted step is taken.
        :param method: one of :data:`METHODS`.
        :param pelvis: whether to use the pelvis alone instead of all joints; for :data:`RUNNING`
            only.
        :returns: NaN if no prediction's future is real there.
        """
        step = int(np.argmin(np.abs(self.times_s - ahead_s)))
        error = (self.pelvis if pelvis else self.errors)[method][self.real[:, step], step]
        seen = error[np.isfinite(error)]
        return float(seen.mean()) if len(seen) else float('nan')

    @property
    def left_out(self) -> float:
        """Return the share of the instants of these rows that were not scored."""
        return 1.0 - float(self.real.mean())

    @property
    def steps(self) -> int:
        """Return the number of steps, from the first, that have an error."""
        scored = self.real.any(axis=0)
        return int(self.real.shape[1] if scored.all() else np.argmin(scored))


EXPECTED, BEST, DAMPED, STILL = (
    'expected future', 'best sample', 'damped velocity', 'standing still',
)  # fmt: skip
METHODS = (EXPECTED, BEST, DAMPED, STILL)
RUNNING = (EXPECTED, DAMPED, STILL)
"""Methods whose running error is shown, with one future each."""
REPORTED_S = (0.5, 1.0, 2.0)
"""Horizons in seconds whose errors are reported."""


def score(collection: Collection) -> Scores | None:
    """
    Compare predictions, and two simple methods, with what then happened.

    The simple methods are standing still and coming to rest. A cubic spline interpolates the real
    poses between the received frames. Joints that the tracker did not see are not scored.

    :returns: None if no prediction's whole future was recorded.
    """
    stamps = collection.stamps_s[collection.message]
    last_s = collection.pose_stamps_s[-1]
    known = stamps + collection.times_s[-1] <= last_s + 1e-6
    known &= stamps - WINDOW.observed_s >= -1e-6
    known &= collection.person < collection.poses.shape[1]
    rows = np.flatnonzero(known)
    seen = np.isfinite(collection.poses).all(axis=-1)  # (N, P, 17)
    real_steps = _real(collection, stamps[rows]) & _seen(collection, seen, rows).any(axis=-1)
    rows, real_steps = rows[real_steps.any(axis=1)], real_steps[real_steps.any(axis=1)]
    if not len(rows):
        return None
    motion = CubicSpline(collection.pose_stamps_s, _filled(collection, seen), axis=0)
    people = collection.person[rows]
    which = np.arange(len(rows))
    truth = motion(stamps[rows, None] + collection.times_s)[which, :, people]  # (K, T, 17, 3)
    truth[~_seen(collection, seen, rows)] = np.nan
    before_s = np.arange(-WINDOW.observed_frames + 1, 1) / WINDOW.rate_hz
    observed = motion(stamps[rows, None] + before_s)[which, :, people].astype(np.float32)
    steps = np.round(collection.times_s * WINDOW.rate_hz).astype(int) - 1
    frames = int(steps[-1]) + 1
    best, of_best = _best(collection, rows, truth, real_steps)
    single = {
        EXPECTED: collection.expected[rows],
        DAMPED: damped_velocity(observed, frames)[:, 0, steps],
        STILL: zero_velocity(observed, frames)[:, 0, steps],
    }  # (K, T, J, 3) each
    of_single = {name: _apart(futures, truth) for name, futures in single.items()}
    pelvis = H36M17.parents.index(-1)
    return Scores(
        rows=rows,
        best=best,
        truth=truth.astype(np.float32),
        errors={name: of_single.get(name, of_best) for name in METHODS},
        real=real_steps,
        times_s=collection.times_s,
        pelvis={
            name: np.linalg.norm(futures[:, :, pelvis] - truth[:, :, pelvis], axis=-1)
            for name, futures in single.items()
        },
        field_m=_field_norm(collection, rows, truth, real_steps),
    )


def _field_norm(
    collection: Collection, rows: np.ndarray, truth: np.ndarray, real: np.ndarray
) -> tuple[float, float] | None:
    """
    Return ADE and FDE as papers of the field define them, metres.

    The norm is that over all coordinates of a pose whose joints are relative to the pelvis, for
    the best of the samples: the average over the predicted instants, and the last instant. It
    grows with the number of joints and is not a distance in the room.

    :returns: means over the predictions whose whole future is real and seen; None if there are
        none.
    """
    root = H36M17.parents.index(-1)
    found = []
    for row, future, scored in zip(rows, truth, real):
        if scored.all() and np.isfinite(future).all():
            samples = collection.futures[row][collection.weights[row] > 0.0]
            own = samples - samples[:, :, [root]] - (future - future[:, [root]])
            error = np.linalg.norm(own.reshape(*own.shape[:2], -1), axis=-1)  # (S, T)
            found.append((error.mean(axis=1).min(), error[:, -1].min()))
    return tuple(np.mean(found, axis=0).tolist()) if found else None


def _seen(collection: Collection, seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return which joints of each row's person were seen at each predicted instant, (K, T, J)."""
    at_s = collection.stamps_s[collection.message[rows], None] + collection.times_s
    after = np.searchsorted(collection.pose_stamps_s, at_s - 1e-6)
    after = np.minimum(after, len(seen) - 1)
    people = collection.person[rows, None]
    found: np.ndarray = seen[np.maximum(after - 1, 0), people] & seen[after, people]
    return found


def _filled(collection: Collection, seen: np.ndarray) -> np.ndarray:
    """Return the poses with unseen joints interpolated linearly; zero if never seen."""
    if seen.all():
        return collection.poses
    poses, at_s = collection.poses.copy(), collection.pose_stamps_s
    for person, joint in np.argwhere(~seen.all(axis=0)):
        there, path = seen[:, person, joint], poses[:, person, joint]
        for axis in range(3):
            known = path[there, axis]
            path[:, axis] = np.interp(at_s, at_s[there], known) if there.any() else 0.0
    return poses


def _apart(poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """
    Return the mean distance over the joints of poses (..., J, 3) from the truth, (...).

    :param poses: metres, (..., J, 3).
    :param truth: NaN for joints that were not seen; if none was seen, the result is zero.
    """
    apart = np.linalg.norm(poses - truth, axis=-1)
    seen = np.isfinite(apart)
    mean: np.ndarray = np.where(seen, apart, 0.0).sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1)
    return mean


def _best(
    collection: Collection, rows: np.ndarray, truth: np.ndarray, real: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample of each row that came nearest, and its error (K, T)."""
    best, errors = np.zeros(len(rows), dtype=int), np.zeros(real.shape)
    for index, row in enumerate(rows):  # one by one: all samples of a long run are gigabytes
        of_samples = _apart(collection.futures[row], truth[index])  # (S, T)
        mean = of_samples[:, real[index]].mean(axis=1)
        mean[collection.weights[row] <= 0.0] = np.inf  # a weight of zero: not published
        best[index] = mean.argmin()
        errors[index] = of_samples[best[index]]
    return best, errors


@dataclass(frozen=True)
class Running:
    """Recent error of one future while the node went on watching, metres per joint."""

    watched_s: np.ndarray  # (N,) since the first pose: when the errors had become known
    errors_m: dict[str, np.ndarray]  # (N,) means over the time before, by method
    ends_m: dict[str, tuple[float, float]]  # means over the first and the last ``span_s``
    span_s: float
    ahead_s: float


def running(collection: Collection, scores: Scores) -> Running | None:
    """
    Average the error :data:`AHEAD_S` ahead over the last :data:`RUNNING_S`, repeatedly.

    The mean at an instant is over the predictions that had come true by then and were not older,
    all people together. So it uses nothing that only the future knows.

    :returns: None if too few predictions came true.
    """
    step = int(np.argmin(np.abs(collection.times_s - AHEAD_S)))
    ahead_s = float(collection.times_s[step])
    real = scores.real[:, step]
    known_s = (collection.stamps_s[collection.message[scores.rows]] + ahead_s)[real]
    if not len(known_s) or known_s[-1] - known_s[0] < 2.0 * RUNNING_FROM_S:
        return None
    at = np.linspace(known_s[0] + RUNNING_FROM_S, known_s[-1], RUNNING_POINTS)
    last = np.searchsorted(known_s, at + 1e-6, side='right')
    first = np.searchsorted(known_s, at - RUNNING_S - 1e-6)
    there = last > first
    span_s = min(RUNNING_S, 0.5 * float(known_s[-1] - known_s[0]))
    early, late = known_s <= known_s[0] + span_s, known_s >= known_s[-1] - span_s
    errors, ends = {}, {}
    for name in RUNNING:
        error = scores.errors[name][real, step]
        summed = np.concatenate([[0.0], np.cumsum(error)])
        errors[name] = ((summed[last] - summed[first]) / np.maximum(last - first, 1))[there]
        ends[name] = float(error[early].mean()), float(error[late].mean())
    return Running(at[there], errors, ends, span_s, ahead_s)


def _real(collection: Collection, stamps_s: np.ndarray) -> np.ndarray:
    """
    Return which instants of predictions are motion that continues the observed one.

    :param stamps_s: stamps of the predictions, (K,).
    :returns: (K, T) bool: neither invented nor behind a splice; none if a splice was observed.
    """
    at = stamps_s[:, None] + collection.times_s
    real = np.ones(at.shape, bool)
    for first_s, last_s in collection.made_up_s:
        begin_s, end_s = first_s - JITTER_S, last_s + JITTER_S
        real &= (at < begin_s) | (at > end_s)
        if last_s - first_s > SPLICE_S:
            before = stamps_s[:, None] - WINDOW.observed_s > end_s
            real &= before | (at < begin_s)
    return real


@dataclass(frozen=True)
class Timing:
    """Rates, and latencies from the stamp of the newest pose used, in milliseconds."""

    frames_in: int
    predictions_out: int
    rate_in_hz: float
    rate_out_hz: float
    published_ms: tuple[float, float]  # p50, p99
    received_ms: tuple[float, float]


def timing(collection: Collection) -> Timing:
    """Return rates and latencies."""

    def quantiles(instants: np.ndarray) -> tuple[float, float]:
        late = (instants - collection.stamps_s) * 1e3
        return float(np.quantile(late, 0.5)), float(np.quantile(late, 0.99))

    def rate(instants: np.ndarray) -> float:
        if len(instants) < 2:
            return 0.0
        return float((len(instants) - 1) / (instants[-1] - instants[0]))

    return Timing(
        frames_in=len(collection.pose_stamps_s),
        predictions_out=len(collection.stamps_s),
        rate_in_hz=rate(collection.pose_stamps_s),
        rate_out_hz=rate(collection.stamps_s),
        published_ms=quantiles(collection.published_s),
        received_ms=quantiles(collection.received_s),
    )


def summary(measured: Timing, scores: Scores | None, learning: Running | None = None) -> str:
    """Return the results in one line."""
    line = (
        f'{measured.frames_in} frames in ({measured.rate_in_hz:.1f} Hz), '
        f'{measured.predictions_out} predictions out ({measured.rate_out_hz:.1f} Hz), '
        f'latency p50/p99 {measured.published_ms[0]:.1f}/{measured.published_ms[1]:.1f} ms to '
        f'publication, {measured.received_ms[0]:.1f}/{measured.received_ms[1]:.1f} ms to reception'
    )
    if scores is None:
        return line + '; no prediction with its whole future known, so no error'
    error = ', '.join(f'{name} {_centimetres(scores, name)}' for name in METHODS)
    error += f'; of the pelvis: {EXPECTED} {_centimetres(scores, EXPECTED, pelvis=True)}'
    left = (
        f', without the {100 * scores.left_out:.0f} % of their instants that are made up or come '
        'after a splice'
        if scores.left_out
        else ''
    )
    line += (
        f'; error of a joint in cm at {"/".join(f"{s:g}" for s in REPORTED_S)} s '
        f'(in the world, n={len(scores.rows)}{left}): {error}'
    )
    if learning is not None:
        ends = (
            f'{name} {100 * first:.1f} -> {100 * last:.1f}'
            for name, (first, last) in learning.ends_m.items()
        )
        line += (
            f'; {learning.ahead_s:g} s ahead, first -> last {learning.span_s:.0f} s: '
            f'{", ".join(ends)}'
        )
    return line


def _centimetres(scores: Scores, method: str, *, pelvis: bool = False) -> str:
    means = (100.0 * scores.at_m(ahead_s, method, pelvis=pelvis) for ahead_s in REPORTED_S)
    return '/'.join(f'{mean:.1f}' for mean in means)
