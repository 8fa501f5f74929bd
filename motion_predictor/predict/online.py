"""Observations of several people in, their predicted futures out: state and timing, no ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
import math
import threading
from typing import Protocol, TYPE_CHECKING

import numpy as np

from motion_predictor.body.layout import IDENTITY, joints_there, Layout
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, SkeletonError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.mixture_forecast import Forecast
from motion_predictor.predict.novelty import SurpriseWatch
from motion_predictor.predict.radius import CoverageWatch, MODES
from motion_predictor.sources.observation import Observation as Observation
from motion_predictor.track.clock import SourceClock
from motion_predictor.track.history import AddOutcome, PoseHistory
from motion_predictor.track.identity import PeopleRules, Sighting, Track
from motion_predictor.track.limits import HistoryCounters, HistoryLimits
from motion_predictor.track.one_body import OneBody
from motion_predictor.track.people import People
from motion_predictor.track.states import (
    Excluded,
    measured_pose,
    other_person,
    OtherPerson,
    PersonState,
    points_as_pose,
    Refusal,
    Refused,
    RefusedPeople,
    stamped_ahead,
    Timing,
)
from motion_predictor.track.window import NotReady, ObservedWindow

if TYPE_CHECKING:
    from motion_predictor.predict.place.following import Following
    from motion_predictor.predict.place.place import Place
    from motion_predictor.predict.prediction import Prediction

_NS = 1e-9
_MAX_HELD = 64
_MAX_GIVEN = 4096
_FAR_FROM_ORIGIN_M = 100.0  # float32 would lose hundredths of a millimetre from here on
_ASKED_AT_ONCE = 16  # people of one message of whom each is told at once what becomes of them


@dataclass(frozen=True, kw_only=True)
class OnlineLimits:
    """What is accepted of a tracker, for one person and for all together."""

    history: HistoryLimits = field(default_factory=HistoryLimits)
    min_confidence: float = 0.2
    """A joint of lower confidence counts as missing; one without confidence does not."""
    stale_timeout_s: float = 1.0
    """A person not seen for longer has departed."""
    max_future_s: float = 0.5
    """An observation stamped further ahead of the clock is dropped."""
    jump_back_s: float = 0.5
    """Stamps that fall back by more, on everyone, are a new beginning (a recording's loop)."""
    reassociate_within_m: float = 0.5
    """A new id this near to where another vanished takes over its history; 0 for never."""
    reassociate_within_s: float = 0.5
    """As long as the other vanished no longer ago than this."""

    def __post_init__(self) -> None:
        bounds = {
            'min_confidence': (0.0, 1000.0),
            'stale_timeout_s': (0.05, 60.0),
            'max_future_s': (0.0, 3600.0),
            'jump_back_s': (0.1, 60.0),
            'reassociate_within_m': (0.0, 5.0),
            'reassociate_within_s': (0.0, 5.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN fails too
                raise ConfigError(f'{name}={value}: must lie in {low}..{high}')


class ObserveOutcome(Enum):
    """What became of an observation."""

    STORED = 'stored'
    MALFORMED = 'malformed'
    """Arrays of another shape than the layout's."""
    FAR_FUTURE = 'far_future'
    DUPLICATE = 'duplicate'
    TOO_LATE = 'too_late'
    WITHOUT_BODY = 'without_body'
    HELD = 'held'
    """Far back in time: stored if those after it show that time has begun anew."""
    ELSEWHERE = 'elsewhere'
    """Further off than anybody moves: dropped; the next one there is of somebody new."""
    FROZEN = 'frozen'
    """The pose before once more, to the bit, of somebody who moved: not stored."""
    OTHER_FRAME = 'other_frame'
    """In another frame than the people whom other sources show: dropped."""


@dataclass(frozen=True)
class ObserveResult:
    """What became of an observation; ``reset`` when it made everything before it void."""

    outcome: ObserveOutcome
    reset: bool = False

    @property
    def stored(self) -> bool:
        """Tell whether it changes what is predicted next."""
        return self.outcome is ObserveOutcome.STORED


@dataclass(frozen=True)
class Snapshot:
    """Everything one prediction needs, taken at one instant; immutable by convention."""

    stamp_ns: int
    """Of the newest observation used; of the newest one there was, when nobody is predicted."""
    frame_id: str
    persons: tuple[str, ...]
    windows: tuple[ObservedWindow, ...]
    unpredicted: Mapping[str, NotReady | Excluded]
    departed: tuple[str, ...]
    """People whose histories were dropped since the last snapshot."""
    reassociated: Mapping[str, str]
    """New id to the former id whose history it took over (the former one has departed)."""
    tracks: tuple[int, ...]
    """Of each person: a number that stays while the history goes on, under whatever id."""
    others: Mapping[str, OtherPerson] = field(default_factory=dict)
    """Everybody else who is seen, or was until lately: those of ``unpredicted``, and those of whom
    the latest word was refused."""
    nobody: bool = False
    """The latest word of every source is that nobody is there."""
    arrival_ns: int | None = None
    """The caller's clock when the newest observation used came."""


@dataclass(frozen=True)
class OnlinePrediction:
    """
    Predicted futures of everyone who could be predicted, P people, in order of distance.

    Frame i of every future lies ``(i + 1) / rate_hz`` after ``stamp_ns``, also for a person who
    was last seen a little earlier (``ages_s``): that future is shifted by the age, and since it
    then ends earlier, only its first ``horizon_frames`` frames are the model's; those after
    repeat its last.
    """

    stamp_ns: int
    frame_id: str
    persons: tuple[str, ...]
    prediction: Prediction | None
    """None when nobody is predicted."""
    stamps_ns: np.ndarray
    """Newest observation of each person, int64 (P,)."""
    last_poses: np.ndarray
    """As observed at ``stamps_ns``, float64 (P, J, 3) metres."""
    last_filled: np.ndarray
    """Joints of ``last_poses`` that were not seen but filled in, bool (P, J)."""
    padded_frames: np.ndarray
    """Observed frames that repeat the first pose, int64 (P,)."""
    horizon_frames: np.ndarray
    """Frames of each person's futures that are the model's, int64 (P,)."""
    unpredicted: Mapping[str, NotReady | Excluded]
    departed: tuple[str, ...]
    reassociated: Mapping[str, str]
    surprises: np.ndarray | None = None
    """How unlikely what each person lately did was, nats a coordinate, NaN where that is not
    known, (P,); see :class:`motion_predictor.predict.novelty.SurpriseWatch`."""
    others: Mapping[str, OtherPerson] = field(default_factory=dict)
    """As in :class:`Snapshot`, and those for whom the model gave no numbers."""

    @property
    def ages_s(self) -> np.ndarray:
        """How much older than ``stamp_ns`` each person's newest observation is, (P,)."""
        return (self.stamp_ns - self.stamps_ns) * _NS


class FuturePredictor(Protocol):
    """What is asked of a model: :class:`motion_predictor.predict.predictor.Predictor` has it."""

    @property
    def window(self) -> WindowConfig:
        """Give what it sees and predicts."""

    @property
    def skeleton(self) -> Skeleton:
        """Its joints."""

    def predict(self, observed: np.ndarray, *, samples: int, seed: int) -> Prediction:
        """Sample futures of ``(P, T_obs, J, 3)``."""


@dataclass
class OnlineCounters:
    """How often each rule for several people has acted."""

    observations: int = 0
    observations_malformed: int = 0
    observations_far_future: int = 0
    observations_held: int = 0
    """Held back as a possible jump back in time."""
    observations_too_late: int = 0
    """Of those held: dropped, since time went on."""
    observations_other_frame: int = 0
    """Dropped: another source shows people in another frame."""
    joints_low_confidence: int = 0
    resets_jump_back: int = 0
    resets_frame_change: int = 0
    observations_steadied: int = 0
    """Stamps that came in bursts, replaced by those of an evenly running clock."""
    resets_asked: int = 0
    snapshots: int = 0
    model_calls: int = 0
    predictions_not_finite: int = 0
    """People for whom the model gave NaN or infinity: not predicted then."""


@dataclass
class _Message:
    """Those of one message who have come so far."""

    stamp_ns: int
    sightings: list[Sighting] = field(default_factory=list)
    owners: list[Track | None] = field(default_factory=list)
    """Of each, whoever has the id and is clearly there."""
    tracks: list[Track | None] | None = None
    """Whose they are, where that was asked since the last of them came."""


class OnlinePredictor:
    """
    Histories of several people, and one model for all of them.

    :meth:`observe` only stores and may be called from any thread. A worker calls
    :meth:`predict`, or :meth:`snapshot` (short, under the lock) and then :meth:`run` (the model,
    without it). The worker also has to call one of the first two every so often when nothing is
    observed, or nobody departs.

    Every person is predicted from a window that ends at their own newest pose, never from one
    stretched to somebody else's. The output stamp is the newest of theirs, and each future is
    shifted by its person's age: see :class:`OnlinePrediction`. A person whose newest pose is
    older than the newest observation of all by more than the longest gap that may be filled is
    left out until seen again.

    Observations of one source and stamp belong to one message: when the next message begins, or
    a prediction is asked for, they are assigned to the people known so far, all at once (see
    :class:`motion_predictor.track.people.People`).

    Every source of observations is held to its own clock: one whose stamps jump back begins anew
    alone, and one whose stamps are behind another's is left out rather than reset the other.
    """

    def __init__(
        self,
        predictor: FuturePredictor,
        limits: OnlineLimits | None = None,
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
        Begin with nobody.

        :param predictor: the model.
        :param limits: what is accepted of the tracker.
        :param layout: the publisher's joints; the model's own when None.
        :param max_persons: at most so many are predicted, the nearest to the reference point.
        :param samples: futures of each person.
        :param seed: of the samples.
        :param reference_point_m: in the frame of the observations.
        :param coverage: share of real positions that the radius of predictions is to hold.
        :param adapt: whether the radius follows what people really do: ``both``, ``widen``,
            ``fixed``; see :class:`motion_predictor.predict.radius.RadiusScale`.
        :param place: what is learnt of the place, and weighs the model against simple guesses
            and the memory; None: the model alone.
        :raises ConfigError: if a setting cannot work.
        :raises SkeletonError: if the layout does not give the model's joints.
        """
        if not 1 <= max_persons <= 1000:
            raise ConfigError(f'max_persons={max_persons}: must lie in 1..1000')
        if not 1 <= samples <= 10_000:
            raise ConfigError(f'samples={samples}: must lie in 1..10000')
        if seed < 0:
            raise ConfigError(f'seed={seed}: must not be negative')
        reference = np.array(reference_point_m, dtype=np.float64)
        if reference.shape != (3,) or not np.isfinite(reference).all():
            raise ConfigError(f'reference_point_m={reference_point_m}: must be three numbers')
        if layout is not None and predictor.skeleton.joints != layout.target.joints:
            raise SkeletonError(
                f'layout {layout.name} gives the joints of {layout.target.name}, the model has '
                f'those of {predictor.skeleton.name}; '
                f'{IDENTITY!r} takes joints in the order of the model'
            )
        self.predictor = predictor
        self.limits = limits or OnlineLimits()
        self.layout = layout
        self.max_persons = max_persons
        self.samples = samples
        self.seed = seed
        self.coverage = coverage
        self.adapt = adapt
        self.place = place
        self._watch: SurpriseWatch | None = None
        self._radii = CoverageWatch(predictor.window, coverage, adapt)
        self._lock = threading.Lock()
        self._held: dict[str, list[tuple[Observation, int | None]]] = {}
        self._messages: dict[str, _Message] = {}
        """By source, what has come of the latest message."""
        self._clocks: dict[str, SourceClock] = {}
        self._given: dict[int, int] = {}
        """The stamps that steadied observations had: outputs carry those."""
        self._frame_id = ''
        self._news = False
        self._refused = RefusedPeople()
        self._shows_people: dict[str, bool] = {}
        """By source: whether its latest word is that somebody is there."""
        self._counters = OnlineCounters()
        self._history_counters = HistoryCounters()
        self._body = OneBody(predictor.skeleton, self.limits.history, self._history_counters)
        rules = PeopleRules(
            self.limits.reassociate_within_m,
            self.limits.reassociate_within_s,
            self.limits.stale_timeout_s,
        )
        self._people = People(self._make_history, predictor.skeleton, rules, reference)
        self._left_out: dict[str, int] = {
            f'left_out_{reason.value}': 0
            for kind in (NotReady, Excluded, Refusal)
            for reason in kind
        }

    # Storing: any thread

    def observe(self, observation: Observation, now_ns: int | None = None) -> ObserveResult:
        """
        Store one person's pose.

        :param observation: joints in the layout's order, or the model's.
        :param now_ns: the clock that stamps are compared with; None: take any stamp, and tell
            who is stale from stamps alone.
        """
        with self._lock:
            self._counters.observations += 1
            self._shows_people[observation.source] = True
            result = self._take(observation, now_ns)
            if result.stored:
                self._refused.taken(observation.person)
                if not observation.identified:
                    self._refused.begin(observation.source, observation.stamp_ns)
            else:
                self._note_refused(observation, _REFUSALS[result.outcome], now_ns)
            return result

    def refuse(
        self,
        observation: Observation,
        refusal: Refusal,
        now_ns: int | None = None,
        detail: str = '',
    ) -> None:
        """
        Note somebody whom a message shows and who cannot be observed: seen, and not predicted.

        :param observation: what is known of them; its frame may be another one.
        :param refusal: why.
        :param now_ns: as for :meth:`observe`.
        :param detail: why, in words, where the refusal's own do not say enough.
        """
        with self._lock:
            self._shows_people[observation.source] = True
            self._note_refused(observation, refusal, now_ns, detail)

    def _take(self, observation: Observation, now_ns: int | None) -> ObserveResult:
        if not self._well_formed(observation):
            self._counters.observations_malformed += 1
            return ObserveResult(ObserveOutcome.MALFORMED)
        if now_ns is not None and observation.stamp_ns - now_ns > self._ns('max_future_s'):
            self._counters.observations_far_future += 1
            return ObserveResult(ObserveOutcome.FAR_FUTURE)
        source = observation.source
        observation = self._steadied(observation)
        if source in self._messages and (self._messages[source].stamp_ns != observation.stamp_ns):
            self._close(source)
        if self._is_other_frame(observation.frame_id, source):
            self._counters.observations_other_frame += 1
            return ObserveResult(ObserveOutcome.OTHER_FRAME)
        reset = self._enter_frame(observation.frame_id)
        held = self._held.get(source, [])
        if self._is_far_back(observation):
            self._counters.observations_held += 1
            held = [*held[1 - _MAX_HELD :], (observation, now_ns)]
            self._held[source] = held
            # People of one message with old stamps of their own say nothing of the others.
            stamps = {each.stamp_ns for each, _ in held}
            arrivals = {arrival_ns for _, arrival_ns in held if arrival_ns is not None}
            if len(stamps) < 2 or len(arrivals) == 1:
                return ObserveResult(ObserveOutcome.HELD, reset)
            # Nothing newer came of this source in between: its time has begun anew.
            self._counters.resets_jump_back += 1
            self._forget([source])
            return [ObserveResult(self._store(*each), True) for each in held][-1]
        self._counters.observations_too_late += len(held)
        self._held.pop(source, None)
        return ObserveResult(self._store(observation, now_ns), reset)

    def _steadied(self, observation: Observation) -> Observation:
        # The same with the stamp that an evenly running clock had, where stamps come in bursts.
        source, stamp_ns = observation.source, observation.stamp_ns
        clock = self._clocks.setdefault(source, SourceClock())
        before = clock.in_bursts
        steady_ns = clock.steady(stamp_ns, observation.person)
        if clock.in_bursts and not before:
            self._close(source)
            history = clock.history()
            self._people.restamp(source, history)
            self._given |= {even: given for given, even in history.items()}
        if steady_ns == stamp_ns:
            return observation
        self._counters.observations_steadied += 1
        self._given[steady_ns] = stamp_ns
        while len(self._given) > _MAX_GIVEN:
            del self._given[next(iter(self._given))]
        return replace(observation, stamp_ns=steady_ns)

    def _note_refused(
        self,
        observation: Observation,
        refusal: Refusal,
        now_ns: int | None,
        detail: str = '',
        pose: np.ndarray | None = None,
    ) -> None:
        people, name, source = self._people, observation.person, observation.source
        if refusal is Refusal.TOO_LATE and name in people.named:
            return  # no news of somebody who is known
        stamp_ns = observation.stamp_ns if now_ns is None else min(observation.stamp_ns, now_ns)
        if not observation.identified:
            self._refused.begin(source, observation.stamp_ns)
        if pose is None and refusal is not Refusal.NO_TRANSFORM:
            if not (people.named or self._messages or len(self._refused)):
                self._frame_id = observation.frame_id
            if observation.frame_id == self._frame_id:
                pose = self._measured(observation)
        if pose is None and refusal is Refusal.NO_BODY:
            refusal = Refusal.NO_JOINTS
        if refusal in (Refusal.NO_JOINTS, Refusal.NO_BODY):  # time goes on all the same
            people.newest[source] = max(people.newest.get(source, stamp_ns), stamp_ns)
        self._refused.note(
            name,
            Refused(
                refusal, source, stamp_ns, now_ns, pose, detail, people.newest_ns,
                observation.identified, observation.stamp_ns,
            ),
        )  # fmt: skip
        self._news = True

    def _measured(self, observation: Observation) -> np.ndarray | None:
        # Where somebody is, by whatever points there are; None where there are none.
        skeleton = self.predictor.skeleton
        xyz = np.asarray(observation.xyz, dtype=np.float64)
        if xyz.ndim != 2 or xyz.shape[1:] != (3,):
            return None
        if self._well_formed(observation):
            for trusted in (observation, replace(observation, confidence=None)):
                pose = measured_pose(*self._to_model(trusted, count=False), skeleton)
                if pose is not None:
                    return pose
            if observation.seen is not None:
                return points_as_pose(xyz, np.asarray(observation.seen, dtype=bool), skeleton)
        return points_as_pose(xyz, joints_there(xyz, skeleton), skeleton)

    def observe_nobody(
        self, stamp_ns: int, frame_id: str, now_ns: int | None = None, source: str = ''
    ) -> None:
        """
        Note that the tracker saw nobody: an empty message.

        :param stamp_ns: when.
        :param frame_id: of the message; '' when it does not say.
        :param now_ns: as for :meth:`observe`.
        :param source: which tracker, as for :class:`Observation`.
        """
        with self._lock:
            if now_ns is not None and stamp_ns - now_ns > self._ns('max_future_s'):
                self._counters.observations_far_future += 1
                return
            if frame_id and not self._is_other_frame(frame_id, source):
                self._enter_frame(frame_id)
            self._close(source)
            self._shows_people[source] = False
            self._refused.forget([source])
            newest = self._people.newest
            if stamp_ns > newest.get(source, stamp_ns - 1):
                newest[source] = stamp_ns
                self._news = True

    def reset(self) -> None:
        """Forget everyone, who is then reported as departed: the clock has jumped."""
        with self._lock:
            self._counters.resets_asked += 1
            self._forget()

    @property
    def counters(self) -> dict[str, int]:
        """Give every counter by its name, summed over all people there were."""
        with self._lock:
            self._close_all()
        return self.counters_so_far

    @property
    def counters_so_far(self) -> dict[str, int]:
        """Give the same for any thread, while a message is still being observed."""
        with self._lock:
            return {
                **{entry.name: getattr(self._counters, entry.name) for entry in _ENTRIES},
                **vars(self._people.counters),
                **self._history_counters.as_dict(),
                **self._left_out,
            }

    @property
    def source_rates_hz(self) -> dict[str, float]:
        """Poses per second of each person who is there, from the stamps' median spacing."""
        with self._lock:
            people = self._people.named.items()
            periods = {name: track.history.period_s for name, track in people}
        return {name: 1.0 / period for name, period in periods.items() if period}

    @property
    def shared_ids(self) -> tuple[str, ...]:
        """Ids that two bodies at once have, as of two trackers on one topic."""
        with self._lock:
            return self._people.shared_ids

    @property
    def stamp_jitters_s(self) -> dict[str, float]:
        """How unevenly the stamps of each source come, by :attr:`SourceClock.jitter_s`."""
        with self._lock:
            return {source: clock.jitter_s for source, clock in self._clocks.items()}

    # Predicting: one worker

    def predict(self, now_ns: int | None = None) -> OnlinePrediction | None:
        """
        Predict everyone who can be, in one call of the model.

        :param now_ns: as for :meth:`observe`.
        :returns: None when nothing has changed since the last call.
        """
        snapshot = self.snapshot(now_ns)
        return None if snapshot is None else self.run(snapshot)

    def snapshot(self, now_ns: int | None = None, *, expire: bool = True) -> Snapshot | None:
        """
        Take the windows of everyone who is there, and drop those who are stale.

        :param now_ns: as for :meth:`observe`.
        :param expire: False where observations wait that may show who seems stale: drop nobody.
        :returns: None when nothing has changed since the last call.
        """
        with self._lock:
            self._close_all()
            people = self._people
            if expire:
                people.drop_stale(now_ns)
                timeout_ns = self._ns('stale_timeout_s')
                self._news |= self._refused.drop_stale(now_ns, people.newest_ns, timeout_ns)
            if not self._news and not people.departed:
                return None
            self._counters.snapshots += 1
            self._news = False
            people.reassociate()
            windows, unpredicted = self._windows(now_ns)
            for reason in unpredicted.values():
                self._left_out[f'left_out_{reason.value}'] += 1
            departed = tuple(name for name in people.departed if name not in people.named)
            renamed = {new: old for new, old in people.renamed.items() if new in people.named}
            people.departed, people.renamed = [], {}
            others = self._others(windows, unpredicted)
            newest = max((window.stamp_ns for window in windows.values()), default=None)
            if newest is None:
                seen = [o.stamp_ns for o in others.values() if o.state is PersonState.SEEN]
                newest = max(seen, default=people.newest_ns)
            return Snapshot(
                self._given.get(newest, newest),
                self._frame_id,
                tuple(windows),
                tuple(windows.values()),
                unpredicted,
                tuple(dict.fromkeys(departed)),
                renamed,
                tuple(people.named[name].number for name in windows),
                others,
                bool(self._shows_people) and not any(self._shows_people.values()),
                self._arrival_of(windows),
            )

    def run(self, snapshot: Snapshot) -> OnlinePrediction:
        """
        Run the model on a snapshot; takes no lock.

        :param snapshot: from :meth:`snapshot`.
        """
        windows, joints = snapshot.windows, self.predictor.skeleton.num_joints
        frames = self.predictor.window.future_frames
        stamps = np.array([window.stamp_ns for window in windows], dtype=np.int64)
        last = np.array([window.poses[-1] for window in windows]).reshape(-1, joints, 3)
        filled = np.array([window.filled[-1] for window in windows], bool).reshape(-1, joints)
        padded = np.array([window.padded_frames for window in windows], dtype=np.int64)
        prediction, forecast = None, None
        lag = (snapshot.stamp_ns - stamps) * _NS * self.predictor.window.rate_hz  # frames
        if len(windows):
            prediction = self._call_model(np.stack([window.poses for window in windows]))
            finite = np.isfinite(prediction.futures).all(axis=(1, 2, 3, 4))
            finite &= np.isfinite(prediction.weights).all(axis=1)
            if not finite.all():
                return self.run(self._without(snapshot, ~finite))
            forecast = prediction.closed_form
            if self.place is not None:
                prediction = self.place.weigh(snapshot.tracks, windows, prediction)
            if self.place is None or self.place.following is None:
                prediction = self._with_true_radius(snapshot, prediction)
            if lag.any():
                futures = prediction.futures.copy()
                for person in np.flatnonzero(lag):
                    futures[person] = _advance(last[person], futures[person], lag[person])
                # what the model stated holds at its own instants, not between them
                prediction = replace(
                    prediction,
                    futures=futures,
                    closed_form=None,
                    calibration=prediction.calibration and prediction.calibration.later(lag),
                    mix=prediction.mix and prediction.mix.later(lag),
                )
        surprises = np.full(len(windows), np.nan)
        stated = forecast if isinstance(forecast, Forecast) else None
        if self._watch is not None or stated is not None:
            self._watch = self._watch or SurpriseWatch(self.predictor.window)
            surprises = self._watch.update(
                snapshot.persons, windows, snapshot.reassociated, stated
            )
        return OnlinePrediction(
            snapshot.stamp_ns,
            snapshot.frame_id,
            snapshot.persons,
            prediction,
            stamps,
            last,
            filled,
            padded,
            np.maximum(np.floor(frames - lag + 1e-6), 0).astype(np.int64),
            snapshot.unpredicted,
            snapshot.departed,
            snapshot.reassociated,
            surprises,
            snapshot.others,
        )

    def _without(self, snapshot: Snapshot, broken: np.ndarray) -> Snapshot:
        # The same without those of whom the model knows nothing, bool (P,): seen, not predicted.
        with self._lock:
            self._counters.predictions_not_finite += int(broken.sum())
        return unpredicted_of(snapshot, broken, Excluded.NOT_FINITE)

    @property
    def surprises(self) -> Mapping[str, float]:
        """
        Give how much each person's motion surprised the model lately, nats a coordinate.

        Empty unless the model is a mixture of experts; compare with
        ``Predictor.surprise_threshold``.
        """
        watch = self._watch
        return {} if watch is None else watch.latest

    @property
    def radius_scale(self) -> float:
        """Give what the radius is multiplied by now, so that it holds the share asked for."""
        followed = self._followed(lambda following: following.place_scales)
        return self._radii.scale if followed is None else followed

    @property
    def radius_held(self) -> float:
        """Give the share of joints that the radius held in the latest checks; NaN before any."""
        followed = self._followed(lambda following: following.held)
        return self._radii.held if followed is None else followed

    def _followed(self, asked: Callable[[Following], np.ndarray]) -> float | None:
        # Of the level that serves the coverage asked for; None where radii follow otherwise.
        following = None if self.place is None else self.place.following
        if following is None:
            return None
        enough = np.flatnonzero(following.levels >= self.coverage - 1e-6)
        return float(asked(following)[enough[0]]) if len(enough) else math.nan

    def _with_true_radius(self, snapshot: Snapshot, prediction: Prediction) -> Prediction:
        with self._lock:
            coverage, adapt = self.coverage, self.adapt
        self._radii.ask(coverage, adapt)
        self._radii.update(snapshot.tracks, snapshot.windows, prediction)
        return replace(prediction, radius_scale=self._radii.scale)

    def _call_model(self, observed: np.ndarray) -> Prediction:
        # Far from the frame's origin float32 is too coarse for the model's differences.
        with self._lock:
            self._counters.model_calls += 1
            samples, seed = self.samples, self.seed
        origins = observed[:, -1:, :1].copy()  # (P, 1, 1, 3)
        if np.abs(origins).max() < _FAR_FROM_ORIGIN_M:
            return self.predictor.predict(observed, samples=samples, seed=seed)
        near = self.predictor.predict(observed - origins, samples=samples, seed=seed)
        # float64, weights too: a mean by weights that miss one by 1e-7 is half a metre off there
        futures = near.futures + origins[:, None]
        weights = near.weights.astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        stated = near.closed_form
        if stated is not None:
            stated = stated.moved(origins)
        return replace(near, futures=futures, weights=weights, closed_form=stated)

    # Under the lock

    def _ns(self, limit: str) -> int:
        return round(getattr(self.limits, limit) / _NS)

    def _well_formed(self, observation: Observation) -> bool:
        source = self.layout or self.predictor.skeleton
        joints = source.num_joints
        return np.shape(observation.xyz) == (joints, 3) and all(
            array is None or np.shape(array) == (joints,)
            for array in (observation.confidence, observation.seen)
        )

    def _is_other_frame(self, frame_id: str, source: str) -> bool:
        # Sources that disagree must not reset each other: who is there first is kept.
        others = {track.source for track in self._people.named.values()} | set(self._messages)
        return frame_id != self._frame_id and bool(others - {source})

    def _enter_frame(self, frame_id: str) -> bool:
        changed = frame_id != self._frame_id
        reset = changed and bool(self._people.named or self._held or self._messages)
        if reset:
            self._counters.resets_frame_change += 1
            self._forget()
        self._frame_id = frame_id
        return reset

    def _is_far_back(self, observation: Observation) -> bool:
        track = self._people.named.get(observation.person) if observation.identified else None
        newest = self._people.newest.get(observation.source)
        longest = self._ns('jump_back_s')
        if track is not None:
            newest = track.history.newest_stamp_ns
        elif observation.identified:
            longest = max(longest, self._ns('stale_timeout_s'))
        return newest is not None and newest - observation.stamp_ns > longest

    def _forget(self, sources: Iterable[str] | None = None) -> None:
        # Everything of these sources, or of all.
        known = {*self._people.newest, *self._held, *self._messages, *self._clocks}
        gone = known if sources is None else set(sources)
        for source in gone:
            self._held.pop(source, None)
            self._messages.pop(source, None)
            self._clocks.pop(source, None)
            self._shows_people.pop(source, None)
        self._refused.forget(sources)
        if sources is None:
            self._shows_people.clear()
        self._people.forget(gone)
        self._news = True

    def _make_history(self) -> PoseHistory:
        return PoseHistory(
            self.predictor.window,
            self.predictor.skeleton,
            self.limits.history,
            self._history_counters,
        )

    def _store(self, observation: Observation, now_ns: int | None) -> ObserveOutcome:
        xyz, shown = self._to_model(observation)
        seen = self._body.joints_of_one_body(xyz, shown)
        if not self._body.is_body(seen):
            self._history_counters.poses_without_body += 1
            return ObserveOutcome.WITHOUT_BODY
        stamp_ns, source, person = observation.stamp_ns, observation.source, observation.person
        message = self._messages.get(source)
        if message is None or person in {each.person for each in message.sightings}:
            self._close(source)
            message = self._messages[source] = _Message(stamp_ns)
        xyz = np.where(seen[:, None], xyz, 0.0)
        message.sightings.append(
            Sighting(stamp_ns, source, person, observation.identified, xyz, seen, now_ns)
        )
        message.owners.append(self._people.owner(message.sightings[-1]))
        message.tracks = None
        outcome = self._outcome(message)
        self._news |= outcome is ObserveOutcome.STORED
        return outcome

    def _outcome(self, message: _Message) -> ObserveOutcome:
        # What will become of the latest of a message, as far as can be told by now.
        latest, track = message.sightings[-1], message.owners[-1]
        if track is None and len(message.sightings) <= _ASKED_AT_ONCE:
            message.tracks = self._people.whose(message.sightings, message.owners)
            track = message.tracks[-1]
            if track is None and self._people.is_set_aside(latest, message.tracks):
                return ObserveOutcome.ELSEWHERE
        if track is not None and self._people.is_frozen(track, latest):
            return ObserveOutcome.FROZEN
        refused = None if track is None else track.history.refusal(latest.stamp_ns)
        return ObserveOutcome.STORED if refused is None else _OUTCOMES[refused]

    def _close(self, source: str) -> None:
        # What has come of a message is all of it.
        message = self._messages.pop(source, None)
        if message is not None:
            self._people.max_persons = self.max_persons
            tracks = message.tracks or self._people.whose(message.sightings, message.owners)
            self._people.take(message.sightings, tracks)
        refused, self._people.refused = self._people.refused, []
        for each, refusal in refused:
            pose = measured_pose(each.xyz, each.seen, self.predictor.skeleton)
            seen = Observation(
                each.stamp_ns, self._frame_id, each.person, each.xyz,
                source=source, identified=each.identified,
            )  # fmt: skip
            self._note_refused(seen, refusal, each.arrival_ns, pose=pose)

    def _close_all(self) -> None:
        for source in list(self._messages):
            self._close(source)

    def _to_model(
        self, observation: Observation, count: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        xyz = np.asarray(observation.xyz, dtype=np.float64)
        if observation.seen is None:
            seen = self._body.joints_shown(xyz)
        else:
            seen = np.asarray(observation.seen, dtype=bool)
        if observation.confidence is not None:
            low = np.asarray(observation.confidence) < self.limits.min_confidence  # not for NaN
            if low.any():
                self._counters.joints_low_confidence += int((low & seen).sum()) if count else 0
                seen = seen & ~low
        return (xyz, seen) if self.layout is None else self.layout.to_model(xyz, seen)

    def _windows(
        self, now_ns: int | None
    ) -> tuple[dict[str, ObservedWindow], dict[str, NotReady | Excluded]]:
        windows: dict[str, ObservedWindow] = {}
        unpredicted: dict[str, NotReady | Excluded] = {}
        people, ahead = self._people, self._stamped_ahead()
        newest_of = self._newest_without(ahead, now_ns)
        for name, track in sorted(
            people.named.items(), key=lambda entry: people.distance_m(entry[1])
        ):
            history = track.history
            age_s = (newest_of.get(track.source, 0) - track.newest_stamp_ns) * _NS
            if name in ahead:
                unpredicted[name] = Excluded.STAMPED_AHEAD
            elif age_s > self._longest_gap_s(history):
                unpredicted[name] = Excluded.NOT_SEEN_LATELY
            elif len(windows) == self.max_persons:
                unpredicted[name] = Excluded.TOO_MANY_PERSONS
            else:
                window = self._window(history)
                if isinstance(window, ObservedWindow):
                    windows[name] = window
                else:
                    unpredicted[name] = window
        newest = max((window.stamp_ns for window in windows.values()), default=0)
        for name, window in list(windows.items()):
            behind_s = (newest - window.stamp_ns) * _NS
            if behind_s > self._longest_gap_s(people.named[name].history):
                unpredicted[name] = Excluded.SOURCE_BEHIND
                del windows[name]
        return windows, unpredicted

    def _arrival_of(self, windows: Mapping[str, ObservedWindow]) -> int | None:
        # When the newest of these observations came.
        if not windows:
            return None
        newest = max(windows, key=lambda name: windows[name].stamp_ns)
        return self._people.named[newest].arrival_ns

    @staticmethod
    def _window(history: PoseHistory) -> ObservedWindow | NotReady | Excluded:
        try:
            return history.window()
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):
            return Excluded.WINDOW_FAILED  # of this person alone: the others are predicted

    def _stamped_ahead(self) -> dict[str, float]:
        people = self._people.named
        stamps = [track.newest_stamp_ns for track in people.values()]
        if not stamps or (max(stamps) - min(stamps)) * _NS <= self.limits.history.max_joint_gap_s:
            return {}  # as nearly always, and then nobody's period is asked for
        times = {
            name: Timing(
                track.source,
                track.newest_stamp_ns,
                max(track.leads_ns, default=math.nan) * _NS,
            )
            for name, track in people.items()
        }
        gaps = (self._longest_gap_s(track.history) for track in people.values())
        return stamped_ahead(times, min(gaps, default=0.0))

    def _newest_without(self, ahead: Mapping[str, float], now_ns: int | None) -> dict[str, int]:
        # The newest stamp by source, not counting those of people who are stamped ahead: of those
        # who are there, and of whoever is gone or was refused, as far as the clock allows it.
        people = self._people
        newest = dict(people.newest)
        there: dict[str, list[Track]] = {}
        for name, track in people.named.items():
            tracks = there.setdefault(track.source, [])
            if name not in ahead:
                tracks.append(track)
        skewed = {people.named[name].source for name in ahead}
        for source, tracks in there.items():
            stamps = [track.newest_stamp_ns for track in tracks]
            leads = [lead_ns for track in tracks for lead_ns in track.leads_ns]
            if source in skewed:
                newest[source] = max(stamps, default=0)
            elif now_ns is not None and leads and source in newest:
                newest[source] = max(min(newest[source], now_ns + max(leads)), *stamps)
        return newest

    def _others(
        self,
        windows: Mapping[str, ObservedWindow],
        unpredicted: Mapping[str, NotReady | Excluded],
    ) -> dict[str, OtherPerson]:
        # Everybody but those who are predicted, with their state and where they were last.
        people = self._people
        ahead = self._stamped_ahead() if Excluded.STAMPED_AHEAD in unpredicted.values() else {}
        others: dict[str, OtherPerson] = {}
        for name, reason in unpredicted.items():
            track = people.named[name]
            others[name] = other_person(
                track.history,
                reason,
                longest_s=self._longest_gap_s(track.history),
                arrival_ns=track.arrival_ns,
                ahead_s=ahead.get(name),
                denied=not self._shows_people.get(track.source, True),
            )
        unseen = Counter(
            people.named[name].source
            for name, window in windows.items()
            if window.stamp_ns < people.newest.get(people.named[name].source, 0)
        )
        for refused in self._refused.add_to(others, windows, unseen):
            self._left_out[f'left_out_{refused.value}'] += 1
        return others

    def _longest_gap_s(self, history: PoseHistory) -> float:
        return self.limits.history.max_joint_gap_s + 1.5 * (history.period_s or 0.0)


_ENTRIES = fields(OnlineCounters)
_OUTCOMES = {
    AddOutcome.DUPLICATE: ObserveOutcome.DUPLICATE,
    AddOutcome.TOO_LATE: ObserveOutcome.TOO_LATE,
}
_REFUSALS = {
    ObserveOutcome.MALFORMED: Refusal.MALFORMED,
    ObserveOutcome.FAR_FUTURE: Refusal.FAR_FUTURE,
    ObserveOutcome.DUPLICATE: Refusal.TOO_LATE,
    ObserveOutcome.TOO_LATE: Refusal.TOO_LATE,
    ObserveOutcome.WITHOUT_BODY: Refusal.NO_BODY,
    ObserveOutcome.HELD: Refusal.TOO_LATE,
    ObserveOutcome.ELSEWHERE: Refusal.ELSEWHERE,
    ObserveOutcome.FROZEN: Refusal.FROZEN,
    ObserveOutcome.OTHER_FRAME: Refusal.OTHER_FRAME,
}


def unpredicted_of(snapshot: Snapshot, which: np.ndarray, reason: Excluded) -> Snapshot:
    """
    Take people out of those who are predicted, and leave them among those who are seen.

    :param which: bool (P,).
    :param reason: why they are not predicted.
    """
    kept = np.flatnonzero(~which)
    gone = [(snapshot.persons[i], snapshot.windows[i]) for i in np.flatnonzero(which)]
    others = {
        name: OtherPerson(PersonState.SEEN, reason, window.stamp_ns, window.poses[-1])
        for name, window in gone
    }
    return replace(
        snapshot,
        persons=tuple(snapshot.persons[i] for i in kept),
        windows=tuple(snapshot.windows[i] for i in kept),
        tracks=tuple(snapshot.tracks[i] for i in kept),
        unpredicted={**snapshot.unpredicted, **dict.fromkeys(others, reason)},
        others={**others, **snapshot.others},
    )


def _advance(last: np.ndarray, futures: np.ndarray, lag_frames: float) -> np.ndarray:
    # Futures (S, T, J, 3) as seen lag_frames later: straight between frames, the last repeated.
    samples, frames = futures.shape[:2]
    begin = np.broadcast_to(last.astype(futures.dtype), (samples, 1, *last.shape))
    path = np.concatenate((begin, futures), axis=1)  # (S, T + 1, J, 3)
    at = np.minimum(np.arange(1, frames + 1) + lag_frames, frames)
    left = np.minimum(at.astype(np.int64), frames - 1)
    share = (at - left).astype(futures.dtype)[:, None, None]
    return path[:, left] + share * (path[:, left + 1] - path[:, left])
