"""What the demo's predictions were worth, once the real future is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
import torch

from motion_predictor.config import WindowConfig
from motion_predictor.predictor import Prediction
from training.baselines import constant_velocity, zero_velocity
from training.metrics import frame_errors, world_metrics

WINDOW = WindowConfig()
SPLICE_S = 0.1
"""What is made up for longer joins two motions; for less, the cycle of one goes on."""
JITTER_S = 0.05
"""The replay may be so late with a frame."""


@dataclass(frozen=True)
class Collection:
    """The collector's file; see :func:`scripts.demo_collector.save`."""

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
    made_up_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """(K, 2) first and last instant, seconds since the first pose, of what nobody ever moved
    through."""

    def with_made_up(self, instants_s: np.ndarray, made_up: np.ndarray) -> Collection:
        """
        Note which of what was played is made up.

        :param instants_s: of the frames that were played, from the first, ``(N,)``.
        :param made_up: which of them are, ``(N,)`` bool.
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
        )


@dataclass(frozen=True)
class Scores:
    """Errors against what then happened; metres, L2 of whole poses in the world frame."""

    rows: np.ndarray  # (K,) rows of the collection whose future is known
    best: np.ndarray  # (K,) index of the sample that came nearest
    likely: np.ndarray  # (K,) index of the sample shown as the trajectory
    truth: np.ndarray  # (K, T, 17, 3)
    ade: dict[str, float]
    curves: dict[str, np.ndarray]  # (T,) mean error by step, same names as ade
    real: np.ndarray  # (K, T) which of the instants were scored: neither made up nor behind it

    @property
    def left_out(self) -> float:
        """Share of the instants of these rows that were not scored."""
        return 1.0 - float(self.real.mean())

    @property
    def steps(self) -> int:
        """How many steps, from the first, have an error."""
        scored = self.real.any(axis=0)
        return int(self.real.shape[1] if scored.all() else np.argmin(scored))


METHODS = ('best sample', 'median sample', 'zero velocity', 'constant velocity')


def score(collection: Collection) -> Scores | None:
    """
    Compare predictions, and standing still or going straight on, with what then happened.

    The real poses are interpolated between the frames received by a cubic spline.

    :returns: None when no prediction's whole future was recorded.
    """
    stamps = collection.stamps_s[collection.message]
    last_s = collection.pose_stamps_s[-1]
    known = stamps + collection.times_s[-1] <= last_s + 1e-6
    known &= stamps - WINDOW.observed_s >= -1e-6
    rows = np.flatnonzero(known)
    real_steps = _real(collection, stamps[rows])
    rows, real_steps = rows[real_steps.any(axis=1)], real_steps[real_steps.any(axis=1)]
    if not len(rows):
        return None
    motion = CubicSpline(collection.pose_stamps_s, collection.poses, axis=0)
    people = collection.person[rows]
    which = np.arange(len(rows))
    truth = motion(stamps[rows, None] + collection.times_s)[which, :, people]  # (K, T, 17, 3)
    before_s = np.arange(-WINDOW.observed_frames + 1, 1) / WINDOW.rate_hz
    observed = motion(stamps[rows, None] + before_s)[which, :, people].astype(np.float32)
    steps = np.round(collection.times_s * WINDOW.rate_hz).astype(int) - 1
    real = torch.from_numpy(truth.astype(np.float32))
    futures = torch.from_numpy(collection.futures[rows])
    frames = int(steps[-1]) + 1
    still = torch.from_numpy(zero_velocity(observed, frames)[:, :, steps])
    straight = torch.from_numpy(constant_velocity(observed, frames)[:, :, steps])

    share = torch.from_numpy(real_steps / real_steps.sum(axis=1, keepdims=True))[:, None]
    of_samples = frame_errors(futures.flatten(-2), real.flatten(-2))  # (K, S, T)
    whole = bool(real_steps.all())
    ade_of = of_samples.mean(dim=-1) if whole else (of_samples * share).sum(dim=-1)
    order = ade_of.argsort(dim=-1)
    best, median = order[:, 0], order[:, order.shape[1] // 2]
    errors = {
        'best sample': of_samples[which, best],
        'median sample': of_samples[which, median],
        'zero velocity': frame_errors(still.flatten(-2), real.flatten(-2))[:, 0],
        'constant velocity': frame_errors(straight.flatten(-2), real.flatten(-2))[:, 0],
    }
    if whole:
        ade = {name: float(error.mean()) for name, error in errors.items()}
        ade['median sample'] = float(world_metrics(futures, real)['ade_median'].mean())
    else:
        ade = {
            name: float((error * share[:, 0]).sum(dim=-1).mean()) for name, error in errors.items()
        }
        ade['median sample'] = float(ade_of.quantile(0.5, dim=-1).mean())
    prediction = Prediction(collection.futures[rows], collection.weights[rows], WINDOW.rate_hz)
    return Scores(
        rows=rows,
        best=best.numpy(),
        likely=prediction.most_likely,
        truth=truth.astype(np.float32),
        ade=ade,
        curves={name: _mean(error.numpy(), real_steps) for name, error in errors.items()},
        real=real_steps,
    )


def _real(collection: Collection, stamps_s: np.ndarray) -> np.ndarray:
    """
    Tell which instants of predictions are of motion that really went on from what was observed.

    :param stamps_s: of the predictions, (K,).
    :returns: (K, T) bool: neither made up, nor behind a splice; none where one was observed.
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


def _mean(error: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Average (K, T) errors over what is real; NaN for steps of which nothing is."""
    if real.all():
        return error.mean(axis=0)
    with np.errstate(invalid='ignore'):
        return (error * real).sum(axis=0) / real.sum(axis=0)


@dataclass(frozen=True)
class Timing:
    """How fast it went; latencies from the stamp of the newest pose used, milliseconds."""

    frames_in: int
    predictions_out: int
    rate_in_hz: float
    rate_out_hz: float
    published_ms: tuple[float, float]  # p50, p99
    received_ms: tuple[float, float]


def timing(collection: Collection) -> Timing:
    """Sum up rates and latencies."""

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
