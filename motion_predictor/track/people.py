# SPDX-License-Identifier: Apache-2.0
"""Several people: observations in, a snapshot of who can be predicted out; under one lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
import threading

import numpy as np

from motion_predictor.body.layout import IDENTITY, Layout
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, SkeletonError
from motion_predictor.model.config import WindowConfig
from motion_predictor.sources.observation import Observation
from motion_predictor.track.clock import SteadyStamps
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.identity.assign import Sighting, TrackRules
from motion_predictor.track.identity.tracks import Tracks
from motion_predictor.track.limits import HistoryCounters, PeopleCounters, PeopleLimits
from motion_predictor.track.messages import (
    Messages,
    messages_of,
    ObserveOutcome,
    ObserveResult,
    REFUSALS,
)
from motion_predictor.track.observed_pose import measured_pose, PoseReader
from motion_predictor.track.one_body import OneBody
from motion_predictor.track.refusals import Refused, RefusedPeople
from motion_predictor.track.snapshot import Frame, Snapshot, snapshot_of
from motion_predictor.track.states import Excluded, Refusal
from motion_predictor.track.window import NotReady

_NS = 1e-9
_MAX_HELD = 64
_Admitted = tuple[Observation, bool]  # to be stored; whether it made everything before it void


class People:
    """
    All observed people; :meth:`snapshot` returns who can be predicted, and from which poses.

    Every method may be called from any thread; none takes long. Call :meth:`snapshot` regularly
    even if nothing is observed, because otherwise nobody departs.

    Each window ends at that person's own newest pose. A person whose newest pose is older than the
    newest observation of all, by more than the longest gap that may be filled, is left out until
    seen again.

    Observations of one source and stamp belong to one message. When the next message begins or a
    snapshot is taken, they are assigned to the known people, all at once (see
    :class:`motion_predictor.track.identity.tracks.Tracks`).

    Every source has its own clock. A source whose stamps jump back begins again without the
    others. A source whose stamps are behind another's is left out and does not reset the other.
    """

    def __init__(
        self,
        window: WindowConfig,
        skeleton: Skeleton,
        limits: PeopleLimits | None = None,
        *,
        layout: Layout | None = None,
        max_persons: int = 8,
        reference_point_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """
        Begin without people.

        :param window: the model's window.
        :param skeleton: the model's skeleton.
        :param limits: limits on the tracker's data.
        :param layout: the publisher's joints; None: the model's own.
        :param max_persons: greatest number of people to predict, the nearest to the reference
            point.
        :param reference_point_m: in the frame of the observations, metres.
        :raises ConfigError: if a setting cannot work.
        :raises SkeletonError: if the layout does not give the model's joints.
        """
        if not 1 <= max_persons <= 1000:
            raise ConfigError(f'max_persons={max_persons}: must lie in 1..1000')
        reference = np.array(reference_point_m, dtype=np.float64)
        if reference.shape != (3,) or not np.isfinite(reference).all():
            raise ConfigError(f'reference_point_m={reference_point_m}: must be three numbers')
        if layout is not None and skeleton.joints != layout.target.joints:
            raise SkeletonError(
                f'layout {layout.name} gives the joints of {layout.target.name}, the model has '
                f'those of {skeleton.name}; {IDENTITY!r} takes joints in the order of the model'
            )
        self.limits = limits = limits or PeopleLimits()
        self.max_persons = max_persons
        self._skeleton = skeleton
        self._lock = threading.Lock()
        self._frame_id, self._news = '', False
        self._held: dict[str, list[tuple[Observation, int | None]]] = {}
        self._stamps = SteadyStamps()
        self._shows_people: dict[str, bool] = {}
        """By source: whether its latest word is that somebody is there."""
        self._counters, self._history_counters = PeopleCounters(), HistoryCounters()
        reasons = (*NotReady, *Excluded, *Refusal)
        self._left_out = {f'left_out_{reason.value}': 0 for reason in reasons}
        body = OneBody(skeleton, limits.history, self._history_counters)
        self._reader = PoseReader(skeleton, layout, limits, body, self._counters)
        self._tracks = Tracks(
            lambda: PoseHistory(window, skeleton, limits.history, self._history_counters),
            skeleton,
            TrackRules(
                limits.reassociate_within_m, limits.reassociate_within_s, limits.stale_timeout_s
            ),
            reference,
        )
        self._messages = Messages(self._tracks)
        self._refused = RefusedPeople()

    # Storing

    def observe(self, observation: Observation, now_ns: int | None = None) -> ObserveResult:
        """
        Store one person's pose.

        :param observation: joints in the order of the layout, or in the model's order.
        :param now_ns: the clock that stamps are compared with, nanoseconds; None: accept any
            stamp, and decide from stamps alone who is stale.
        """
        return self.observe_all([observation], now_ns)[0]

    def observe_all(
        self, observations: Sequence[Observation], now_ns: int | None = None
    ) -> list[ObserveResult]:
        """
        Store the poses of several people; those of one message are computed together.

        :param observations: as for :meth:`observe`.
        :param now_ns: as for :meth:`observe`.
        :returns: the result of each.
        """
        with self._lock:
            groups = messages_of(observations)
            return [result for group in groups for result in self._observe(group, now_ns)]

    def refuse(
        self,
        observation: Observation,
        refusal: Refusal,
        now_ns: int | None = None,
        detail: str = '',
    ) -> None:
        """
        Note a person whom a message shows but who cannot be observed: seen and not predicted.

        :param observation: what is known of the person; its frame may be another one.
        :param refusal: the reason.
        :param now_ns: as for :meth:`observe`.
        :param detail: the reason in words, if those of the refusal do not say enough.
        """
        with self._lock:
            self._shows_people[observation.source] = True
            self._note_refused(observation, refusal, now_ns, detail)

    def observe_nobody(
        self, stamp_ns: int, frame_id: str, now_ns: int | None = None, source: str = ''
    ) -> None:
        """
        Note that the tracker saw nobody: an empty message.

        :param stamp_ns: stamp of the message, nanoseconds.
        :param frame_id: frame of the message; '' if it has none.
        :param now_ns: as for :meth:`observe`.
        :param source: name of the tracker, as in :class:`Observation`.
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
            newest = self._tracks.newest
            if stamp_ns > newest.get(source, stamp_ns - 1):
                newest[source] = stamp_ns
                self._news = True

    def reset(self) -> None:
        """Forget everybody because the clock has jumped; they are then reported as departed."""
        with self._lock:
            self._counters.resets_asked += 1
            self._forget()

    # What there is

    def snapshot(self, now_ns: int | None = None, *, expire: bool = True) -> Snapshot | None:
        """
        Return the windows of everybody who is present, and drop stale people.

        :param now_ns: as for :meth:`observe`.
        :param expire: False drops nobody: observations are waiting that may show people who seem
            stale.
        :returns: None if nothing has changed since the last call.
        """
        with self._lock:
            self._close_all()
            tracks = self._tracks
            if expire:
                tracks.drop_stale(now_ns)
                timeout_ns = self._ns('stale_timeout_s')
                self._news |= self._refused.drop_stale(now_ns, tracks.newest_ns, timeout_ns)
            if not self._news and not tracks.departed:
                return None
            self._counters.snapshots += 1
            self._news = False
            tracks.reassociate()
            frame = Frame(self._frame_id, self._stamps, self._shows_people)
            gap_s = self.limits.history.max_joint_gap_s
            snapshot, reasons = snapshot_of(
                tracks, self._refused, frame, self.max_persons, gap_s, now_ns
            )
            for reason in reasons:
                self._left_out[f'left_out_{reason.value}'] += 1
            return snapshot

    @property
    def counters(self) -> dict[str, int]:
        """Return every counter by its name, summed over all people so far."""
        with self._lock:
            self._close_all()
        return self.counters_so_far

    @property
    def counters_so_far(self) -> dict[str, int]:
        """Return the same for any thread, even while a message is being observed."""
        with self._lock:
            return {
                **vars(self._counters),
                **vars(self._tracks.counters),
                **self._history_counters.as_dict(),
                **self._left_out,
            }

    @property
    def source_rates_hz(self) -> dict[str, float]:
        """Return the poses per second of each present person, from the stamps' median spacing."""
        with self._lock:
            people = self._tracks.named.items()
            periods = {name: track.history.period_s for name, track in people}
        return {name: 1.0 / period for name, period in periods.items() if period}

    @property
    def shared_ids(self) -> tuple[str, ...]:
        """Return the ids that two bodies have at once, as with two trackers on one topic."""
        with self._lock:
            return self._tracks.shared_ids

    @property
    def stamp_jitters_s(self) -> dict[str, float]:
        """Return the unevenness of each source's stamps, as :attr:`SourceClock.jitter_s`."""
        with self._lock:
            return self._stamps.jitters_s

    # Under the lock

    def _ns(self, limit: str) -> int:
        return round(getattr(self.limits, limit) / _NS)

    def _observe(self, group: Sequence[Observation], now_ns: int | None) -> list[ObserveResult]:
        # Store people of one message, each of whom is there once.
        admitted: list[_Admitted] = []
        early = [self._admit(observation, now_ns, admitted) for observation in group]
        stored = iter(self._store(admitted, now_ns))
        results = [next(stored) if result is None else result for result in early]
        for observation, result in zip(group, results):
            if not result.stored:
                self._note_refused(observation, REFUSALS[result.outcome], now_ns)
                continue
            self._refused.taken(observation.person)
            if not observation.identified:
                self._refused.begin(observation.source, observation.stamp_ns)
        return results

    def _admit(
        self, observation: Observation, now_ns: int | None, admitted: list[_Admitted]
    ) -> ObserveResult | None:
        # Add an observation to those to be stored; otherwise return its result.
        self._counters.observations += 1
        self._shows_people[observation.source] = True
        if not self._reader.is_well_formed(observation):
            self._counters.observations_malformed += 1
            return ObserveResult(ObserveOutcome.MALFORMED)
        if now_ns is not None and observation.stamp_ns - now_ns > self._ns('max_future_s'):
            self._counters.observations_far_future += 1
            return ObserveResult(ObserveOutcome.FAR_FUTURE)
        source = observation.source
        observation = self._steadied(observation)
        if self._messages.is_of_another(source, observation.stamp_ns):
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
            # The people of one message who have old stamps of their own say nothing about the
            # others.
            stamps = {each.stamp_ns for each, _ in held}
            arrivals = {arrival_ns for _, arrival_ns in held if arrival_ns is not None}
            if len(stamps) < 2 or len(arrivals) == 1:
                return ObserveResult(ObserveOutcome.HELD, reset)
            # Nothing newer came from this source in between: its time has begun again.
            self._counters.resets_jump_back += 1
            self._forget([source])
            return [self._store([(each, True)], then_ns)[0] for each, then_ns in held][-1]
        self._counters.observations_too_late += len(held)
        self._held.pop(source, None)
        admitted.append((observation, reset))
        return None

    def _steadied(self, observation: Observation) -> Observation:
        # Return the observation with the stamp of an even clock, if stamps come in bursts.
        source, stamp_ns = observation.source, observation.stamp_ns
        steady_ns, history = self._stamps.steady(source, observation.person, stamp_ns)
        if history is not None:
            self._close(source)
            self._tracks.restamp(source, history)
        if steady_ns == stamp_ns:
            return observation
        self._counters.observations_steadied += 1
        return replace(observation, stamp_ns=steady_ns)

    def _is_other_frame(self, frame_id: str, source: str) -> bool:
        # Sources that disagree must not reset each other: the first one is kept.
        if frame_id == self._frame_id:
            return False
        others = {track.source for track in self._tracks.named.values()} | self._messages.sources
        return bool(others - {source})

    def _enter_frame(self, frame_id: str) -> bool:
        changed = frame_id != self._frame_id
        reset = changed and bool(self._tracks.named or self._held or self._messages.sources)
        if reset:
            self._counters.resets_frame_change += 1
            self._forget()
        self._frame_id = frame_id
        return reset

    def _is_far_back(self, observation: Observation) -> bool:
        track = self._tracks.named.get(observation.person) if observation.identified else None
        newest = self._tracks.newest.get(observation.source)
        longest = self._ns('jump_back_s')
        if track is not None:
            newest = track.history.newest_stamp_ns
        elif observation.identified:
            longest = max(longest, self._ns('stale_timeout_s'))
        return newest is not None and newest - observation.stamp_ns > longest

    def _store(self, admitted: Sequence[_Admitted], now_ns: int | None) -> list[ObserveResult]:
        # Store people of one message, each of whom is there once.
        if not admitted:
            return []
        poses = self._reader.read_all([each for each, _ in admitted])
        sightings = [
            Sighting(each.stamp_ns, each.source, each.person, each.identified, *pose, now_ns)
            for (each, _), pose in zip(admitted, poses)
            if pose is not None
        ]
        source = admitted[0][0].source
        if not self._messages.may_show(source, [each.person for each in sightings]):
            self._close(source)
        outcomes = self._messages.add(sightings)
        self._news |= ObserveOutcome.STORED in outcomes
        left = iter(outcomes)
        return [
            ObserveResult(ObserveOutcome.WITHOUT_BODY if pose is None else next(left), reset)
            for (_, reset), pose in zip(admitted, poses)
        ]

    def _close(self, source: str) -> None:
        # Close the message: what has come of it is all of it.
        self._tracks.max_persons = self.max_persons
        self._messages.close(source)
        refused, self._tracks.refused = self._tracks.refused, []
        for each, refusal in refused:
            pose = measured_pose(each.xyz, each.seen, self._skeleton)
            seen = Observation(
                each.stamp_ns, self._frame_id, each.person, each.xyz,
                source=source, identified=each.identified,
            )  # fmt: skip
            self._note_refused(seen, refusal, each.arrival_ns, pose=pose)

    def _close_all(self) -> None:
        for source in list(self._messages.sources):
            self._close(source)

    def _note_refused(
        self,
        observation: Observation,
        refusal: Refusal,
        now_ns: int | None,
        detail: str = '',
        pose: np.ndarray | None = None,
    ) -> None:
        tracks, name, source = self._tracks, observation.person, observation.source
        if refusal is Refusal.TOO_LATE and name in tracks.named:
            return  # a known person without news
        stamp_ns = observation.stamp_ns if now_ns is None else min(observation.stamp_ns, now_ns)
        if not observation.identified:
            self._refused.begin(source, observation.stamp_ns)
        if pose is None and refusal is not Refusal.NO_TRANSFORM:
            if not (tracks.named or self._messages.sources or len(self._refused)):
                self._frame_id = observation.frame_id
            if observation.frame_id == self._frame_id:
                pose = self._reader.place(observation)
        if pose is None and refusal is Refusal.NO_BODY:
            refusal = Refusal.NO_JOINTS
        if refusal in (Refusal.NO_JOINTS, Refusal.NO_BODY):  # time goes on nevertheless
            tracks.newest[source] = max(tracks.newest.get(source, stamp_ns), stamp_ns)
        self._refused.note(
            name,
            Refused(
                refusal, source, stamp_ns, now_ns, pose, detail, tracks.newest_ns,
                observation.identified, observation.stamp_ns,
            ),
        )  # fmt: skip
        self._news = True

    def _forget(self, sources: Iterable[str] | None = None) -> None:
        # Drop everything of these sources, or of all.
        known = {
            *self._tracks.newest, *self._held, *self._messages.sources, *self._stamps.sources,
        }  # fmt: skip
        gone = known if sources is None else set(sources)
        self._messages.forget(gone)
        self._stamps.forget(gone)
        for source in gone:
            self._held.pop(source, None)
            self._shows_people.pop(source, None)
        self._refused.forget(sources)
        if sources is None:
            self._shows_people.clear()
        self._tracks.forget(gone)
        self._news = True
