# SPDX-License-Identifier: Apache-2.0
"""Live prediction: observations of several people in, their predicted futures out; no ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
import math
from typing import Protocol, TYPE_CHECKING

import numpy as np

from motion_predictor.body.completion import hangs_on
from motion_predictor.body.layout import Layout
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.futures.sampled import Later, Moved
from motion_predictor.predict.mixture_forecast import Forecast
from motion_predictor.predict.novelty import SurpriseWatch
from motion_predictor.predict.radius import CoverageWatch, MODES
from motion_predictor.sources.observation import Observation
from motion_predictor.track.limits import PeopleLimits
from motion_predictor.track.messages import ObserveResult
from motion_predictor.track.people import People
from motion_predictor.track.snapshot import Snapshot, unpredicted_of
from motion_predictor.track.states import Excluded, Refusal

if TYPE_CHECKING:
    from motion_predictor.predict.place.following import Following
    from motion_predictor.predict.place.place import Place
    from motion_predictor.predict.prediction import Prediction

_NS = 1e-9
_FAR_FROM_ORIGIN_M = 100.0  # metres: from here on float32 would lose hundredths of a millimetre


@dataclass(frozen=True)
class LivePrediction(Snapshot):
    """
    A snapshot, and the futures of the P people who could be predicted.

    Frame i of every future is ``(i + 1) / rate_hz`` after ``stamp_ns``, also for a person who was
    last seen a little earlier (``ages_s``). That person's future is shifted by the age and ends
    earlier, so only its first ``horizon_frames`` frames are the model's; the frames after them
    repeat the last one. ``others`` also holds the people for whom the model gave no numbers.
    """

    prediction: Prediction | None = None
    """The prediction; None if nobody is predicted."""
    surprises: np.ndarray | None = None
    """How unlikely each person's recent motion was, in nats per coordinate, NaN where it is not
    known, (P,); see :class:`motion_predictor.predict.novelty.SurpriseWatch`."""

    @property
    def ages_s(self) -> np.ndarray:
        """Return the age of each person's newest observation at ``stamp_ns``, seconds, (P,)."""
        return (self.stamp_ns - self.stamps_ns) * _NS

    @cached_property
    def horizon_frames(self) -> np.ndarray:
        """Return the number of the model's frames in each person's futures, int64 (P,)."""
        if self.prediction is None:
            return np.zeros(0, dtype=np.int64)
        frames, rate_hz = self.prediction.future_frames, self.prediction.rate_hz
        whole = np.floor(frames - self.ages_s * rate_hz + 1e-6)
        return np.maximum(whole, 0).astype(np.int64)


class FuturePredictor(Protocol):
    """The interface of a model; :class:`motion_predictor.predict.predictor.Predictor` has it."""

    @property
    def window(self) -> WindowConfig:
        """Return the number of frames that it observes and predicts, and their rate."""

    @property
    def skeleton(self) -> Skeleton:
        """Return its skeleton."""

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """
        Return sampled futures for observed windows, metres, ``(P, T_obs, J, 3)``.

        ``seen`` says which joints were seen at all, as for :meth:`Predictor.predict`.
        """


@dataclass
class LiveCounters:
    """Counters of calls of the model that gave nothing."""

    model_calls: int = 0
    predictions_not_finite: int = 0
    """People for whom the model returned NaN or infinity; they are not predicted then."""


class LivePredictor:
    """
    The people who are present, and one model for all of them.

    :meth:`observe` only stores and may be called from any thread. One worker calls
    :meth:`predict`, or :meth:`snapshot` (short, under the people's lock) and then :meth:`run` (the
    model, without the lock). The worker must call :meth:`predict` or :meth:`snapshot` regularly
    even if nothing is observed, because otherwise nobody departs. The state of the people, and the
    rules about stamps, frames and ids, are in :class:`motion_predictor.track.people.People`.

    Every person is predicted from a window that ends at their own newest pose. The stamp of the
    output is the newest of all, and each future is shifted by its person's age: see
    :class:`LivePrediction`.
    """

    def __init__(
        self,
        predictor: FuturePredictor,
        limits: PeopleLimits | None = None,
        *,
        layout: Layout | None = None,
        max_persons: int = 8,
        samples: int = 50,
        seed: int = 0,
        reference_point_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
        coverage: float = 0.9,
        adapt: str = MODES[0],
        place: Place | None = None,
    ) -> None:
        """
        Begin without people.

        :param predictor: the model.
        :param limits: limits on the tracker's data.
        :param layout: the publisher's joints; None: the model's own.
        :param max_persons: greatest number of people to predict, the nearest to the reference
            point.
        :param samples: number of futures per person.
        :param seed: seed of the samples.
        :param reference_point_m: in the frame of the observations, metres.
        :param coverage: share of real positions that the radius of predictions must hold.
        :param adapt: whether the radius follows what people really do: ``both``, ``widen`` or
            ``fixed``; see :class:`motion_predictor.predict.radius.RadiusScale`.
        :param place: learns from the place, and weighs the model against simple candidates and the
            memory; None: the model alone.
        :raises ConfigError: if a setting cannot work.
        :raises SkeletonError: if the layout does not give the model's joints.
        """
        if not 1 <= samples <= 10_000:
            raise ConfigError(f'samples={samples}: must lie in 1..10000')
        if seed < 0:
            raise ConfigError(f'seed={seed}: must not be negative')
        self.people = People(
            predictor.window,
            predictor.skeleton,
            limits,
            layout=layout,
            max_persons=max_persons,
            reference_point_m=reference_point_m,
        )
        self.predictor = predictor
        self.samples = samples
        self.seed = seed
        self.coverage = coverage
        self.adapt = adapt
        self.place = place
        self._watch: SurpriseWatch | None = None
        self._radii = CoverageWatch(predictor.window, coverage, adapt)
        self._counters = LiveCounters()

    # Storing: any thread

    def observe(self, observation: Observation, now_ns: int | None = None) -> ObserveResult:
        """Store one person's pose; see :meth:`People.observe`."""
        return self.people.observe(observation, now_ns)

    def observe_all(
        self, observations: Sequence[Observation], now_ns: int | None = None
    ) -> list[ObserveResult]:
        """Store several people's poses; see :meth:`People.observe_all`."""
        return self.people.observe_all(observations, now_ns)

    def refuse(
        self,
        observation: Observation,
        refusal: Refusal,
        now_ns: int | None = None,
        detail: str = '',
    ) -> None:
        """Note a person who is seen but cannot be observed; see :meth:`People.refuse`."""
        self.people.refuse(observation, refusal, now_ns, detail)

    def observe_nobody(
        self, stamp_ns: int, frame_id: str, now_ns: int | None = None, source: str = ''
    ) -> None:
        """Note that the tracker saw nobody; see :meth:`People.observe_nobody`."""
        self.people.observe_nobody(stamp_ns, frame_id, now_ns, source)

    def reset(self) -> None:
        """Forget everybody because the clock has jumped; they are then reported as departed."""
        self.people.reset()

    @property
    def limits(self) -> PeopleLimits:
        """Return the limits on the tracker's data."""
        return self.people.limits

    @property
    def max_persons(self) -> int:
        """Return the greatest number of people to predict; it may be changed at any time."""
        return self.people.max_persons

    @max_persons.setter
    def max_persons(self, count: int) -> None:
        self.people.max_persons = count

    @property
    def counters(self) -> dict[str, int]:
        """Return every counter by its name, summed over all people so far."""
        return {**self.people.counters, **vars(self._counters)}

    @property
    def counters_so_far(self) -> dict[str, int]:
        """Return the same for any thread, even while a message is being observed."""
        return {**self.people.counters_so_far, **vars(self._counters)}

    @property
    def source_rates_hz(self) -> dict[str, float]:
        """Return the poses per second of each present person; see :class:`People`."""
        return self.people.source_rates_hz

    @property
    def shared_ids(self) -> tuple[str, ...]:
        """Return the ids that two bodies have at once, as with two trackers on one topic."""
        return self.people.shared_ids

    @property
    def stamp_jitters_s(self) -> dict[str, float]:
        """Return the unevenness of each source's stamps; see :class:`People`."""
        return self.people.stamp_jitters_s

    # Predicting: one worker

    def predict(self, now_ns: int | None = None) -> LivePrediction | None:
        """
        Predict everybody who can be predicted, in one call of the model.

        :param now_ns: as for :meth:`observe`.
        :returns: None if nothing has changed since the last call.
        """
        snapshot = self.snapshot(now_ns)
        return None if snapshot is None else self.run(snapshot)

    def snapshot(self, now_ns: int | None = None, *, expire: bool = True) -> Snapshot | None:
        """Return the windows of everybody who is present; see :meth:`People.snapshot`."""
        return self.people.snapshot(now_ns, expire=expire)

    def run(self, snapshot: Snapshot) -> LivePrediction:
        """
        Run the model on a snapshot; takes no lock.

        :param snapshot: from :meth:`snapshot`.
        """
        windows, prediction, forecast = snapshot.windows, None, None
        if windows:
            prediction = self._call_model(
                np.stack([window.poses for window in windows]),
                np.stack([window.seen for window in windows]),
            )
            finite = prediction.sampled.finite() & np.isfinite(prediction.weights).all(axis=1)
            if not finite.all():
                self._counters.predictions_not_finite += int((~finite).sum())
                left = unpredicted_of(snapshot, ~finite, Excluded.NOT_FINITE)
                return self.run(replace(left, nobody=False))  # people are seen
            forecast = prediction.closed_form
            if self.place is not None:
                prediction = self.place.weigh(snapshot.tracks, windows, prediction)
            if self.place is None or self.place.following is None:
                prediction = self._with_true_radius(snapshot, prediction)
            seen = np.stack([window.seen for window in windows])
            if not seen.all():
                hanging = hangs_on(seen, self.predictor.skeleton)
                prediction = replace(prediction, hangs_on=hanging)
            lag = (snapshot.stamp_ns - snapshot.stamps_ns) * _NS * self.predictor.window.rate_hz
            if lag.any():
                prediction = _later(prediction, snapshot.last_poses, lag)
        surprises = np.full(len(windows), np.nan)
        stated = forecast if isinstance(forecast, Forecast) else None
        if self._watch is not None or stated is not None:
            self._watch = self._watch or SurpriseWatch(self.predictor.window)
            surprises = self._watch.update(
                snapshot.persons, windows, snapshot.reassociated, stated
            )
        known = {entry.name: getattr(snapshot, entry.name) for entry in fields(Snapshot)}
        return LivePrediction(**known, prediction=prediction, surprises=surprises)

    @property
    def surprises(self) -> Mapping[str, float]:
        """
        Return how much each person's recent motion surprised the model, in nats per coordinate.

        Empty unless the model is a mixture of experts. Compare it with
        ``Predictor.surprise_threshold``.
        """
        watch = self._watch
        return {} if watch is None else watch.latest

    @property
    def radius_scale(self) -> float:
        """Return the present factor on the radius, with which it holds the requested share."""
        followed = self._followed(lambda following: following.place_scales)
        return self._radii.scale if followed is None else followed

    @property
    def radius_held(self) -> float:
        """Return the share of joints within the radius in the latest checks; NaN at first."""
        followed = self._followed(lambda following: following.held)
        return self._radii.held if followed is None else followed

    def _followed(self, asked: Callable[[Following], np.ndarray]) -> float | None:
        # Return the value of the level for the requested coverage; None if radii follow otherwise.
        following = None if self.place is None else self.place.following
        if following is None:
            return None
        enough = np.flatnonzero(following.levels >= self.coverage - 1e-6)
        return float(asked(following)[enough[0]]) if len(enough) else math.nan

    def _with_true_radius(self, snapshot: Snapshot, prediction: Prediction) -> Prediction:
        self._radii.ask(self.coverage, self.adapt)
        self._radii.update(snapshot.tracks, snapshot.windows, prediction)
        return replace(prediction, radius_scale=self._radii.scale)

    def _call_model(self, observed: np.ndarray, seen: np.ndarray) -> Prediction:
        # Far from the frame's origin, float32 is too coarse for the model's differences.
        self._counters.model_calls += 1
        samples, seed = self.samples, self.seed
        origins = observed[:, -1:, :1].copy()  # (P, 1, 1, 3)
        if np.abs(origins).max() < _FAR_FROM_ORIGIN_M:
            return self.predictor.predict(observed, samples=samples, seed=seed, seen=seen)
        near = self.predictor.predict(observed - origins, samples=samples, seed=seed, seen=seen)
        # float64 for the weights too: far away, weights whose sum misses one by 1e-7 shift a mean
        # by half a metre
        weights = near.weights.astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        stated = near.closed_form
        if stated is not None:
            stated = stated.moved(origins)
        sampled = Moved(near.sampled, origins[:, 0, 0].astype(np.float64))
        return replace(near, sampled=sampled, weights=weights, closed_form=stated)


def _later(prediction: Prediction, last: np.ndarray, lag_frames: np.ndarray) -> Prediction:
    # Return the prediction as seen some frames later, (P,), for people with older last poses (P,
    # J, 3).
    stated = prediction.closed_form
    return replace(
        prediction,
        sampled=Later(prediction.sampled, last, lag_frames),
        closed_form=stated.later(lag_frames) if isinstance(stated, Forecast) else None,
        calibration=prediction.calibration and prediction.calibration.later(lag_frames),
        mix=prediction.mix and prediction.mix.later(lag_frames),
    )
