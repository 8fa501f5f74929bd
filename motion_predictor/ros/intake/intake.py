# SPDX-License-Identifier: Apache-2.0
"""Intake: read each message, turn it level, transform it and give it to the people's histories."""

from __future__ import annotations

from collections.abc import Sequence
import math
from time import perf_counter
import traceback

from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.serialization import deserialize_message

from motion_predictor.common.background import CancelledError, Stopped
from motion_predictor.errors import MessageError
from motion_predictor.ros.diagnostics.monitoring import Monitor
from motion_predictor.ros.intake.inbox import Arrival, Inbox
from motion_predictor.ros.intake.pose_bytes import read_pose_array
from motion_predictor.ros.pace import Pace
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.session import Session
from motion_predictor.sources.decoding import Decoded
from motion_predictor.sources.observation import DecodedPerson, message_header, Observation
from motion_predictor.sources.tf.queue import Held, Place, Ready, TransformQueue
from motion_predictor.sources.tf.tree import Pose
from motion_predictor.track.checks.stamp_checks import SameStamps
from motion_predictor.track.messages import ObserveOutcome, ObserveResult
from motion_predictor.track.states import Refusal, short

EXPLAIN_PERIOD_S = 1.0


class Intake:
    """
    Takes messages out of the inbox and stores the people in them; only the worker uses it.

    People without a transform wait in :attr:`held` until it comes, or for ``tf_timeout_s``.
    """

    def __init__(
        self, session: Session, inbox: Inbox, monitor: Monitor, pace: Pace, settings: Settings
    ) -> None:
        """
        Begin without messages.

        :param session: has the input and the histories.
        :param inbox: the waiting messages.
        :param monitor: counts messages and frames.
        :param pace: says whether the worker keeps up.
        :param settings: the parameters at configure.
        """
        self._session, self._inbox, self._monitor, self._pace = session, inbox, monitor, pace
        self._counts = monitor.counts
        self._same_stamps = SameStamps()
        self._explained_s = -math.inf
        self.held = TransformQueue(settings.jump_back_s)
        """Messages that wait for a transform."""
        self.no_transform = ''
        """Why the latest of those who got no transform got none."""
        self.fresh = False
        """Something arrived since the last prediction."""
        self.waiting_frames = 0
        """Messages with people since the last prediction."""
        self.lag_ns: int | None = None
        """From the stamp of the observation that was stored last to its arrival."""

    def take_frames(self) -> int:
        """Return the number of messages with people since the last call."""
        frames, self.waiting_frames = self.waiting_frames, 0
        return frames

    def take_in(self, settings: Settings, count: int, stopped: Stopped) -> float:
        """
        Store the people of the first waiting messages in the histories.

        :param settings: the node's parameters.
        :param count: number of messages.
        :param stopped: returns whether the reading thread is no longer wanted.
        :returns: arrival of the first message, by ``perf_counter``, seconds.
        :raises CancelledError: if the thread is no longer wanted; the other messages are counted
            as unread.
        """
        oldest_s = perf_counter()
        arrivals = self._inbox.take_timely(self._session.input.subscriptions, count)
        for index, arrival in enumerate(arrivals):
            if stopped():
                self._counts.add('messages_unread', len(arrivals) - index)
                raise CancelledError
            oldest_s = min(oldest_s, arrival.received_s)
            self._counts.add('messages')
            self._read(settings, arrival)
        return min(oldest_s, self._answer_held(settings))

    def restart(self) -> None:
        """Begin again because the clock has jumped."""
        self.refuse_held()

    def refuse_held(self) -> None:
        """Refuse people who still wait for a transform, and count them."""
        for held in self.held.clear():
            if held.groups:
                self._counts.add('frames_stored' if held.stored else 'frames_refused')

    # One message -------------------------------------------------------------------------------

    def _read(self, settings: Settings, arrival: Arrival) -> None:
        session = self._session
        try:
            arrival = self._opened(arrival)
            decoded = session.input.decoder.decode(
                arrival.topic, arrival.message, arrival.received_ns
            )
        except MessageError as error:
            self._monitor.last_received_s = arrival.received_s
            self._counts.add('messages_malformed')
            self._monitor.warn('malformed', f'{arrival.topic}: {error}')
            return
        except Exception:  # error of a decoder: this message is lost, those behind it are not
            self._monitor.last_received_s = arrival.received_s
            self._counts.add('messages_malformed')
            self._counts.add('worker_errors')
            self._monitor.warn('decoder', f'{arrival.topic}:\n{traceback.format_exc()}')
            return
        if decoded is None:  # it says nothing about who is present, like most messages of TF
            self._counts.add('messages_without_news')
            return
        people = decoded.people
        self._note_decoded(arrival, decoded)
        for flawed in decoded.flawed:
            self._refuse(settings, arrival, flawed, Refusal.MALFORMED, flawed.flaw)
        self._note_header(arrival, people)
        held = Held(arrival, arrival.topic, arrival.received_s)
        if session.transforms is None:
            self._answer(settings, Ready(held, None, people, None, True))
            return
        for person in people:
            held.groups.setdefault(self._place(settings, arrival, person), []).append(person)
        self.held.put(held)

    def _opened(self, arrival: Arrival) -> Arrival:
        # Return the arrival with the message deserialised from its bytes.
        if not isinstance(arrival.message, bytes):
            return arrival
        kinds = {wanted.topic: wanted.message_type for wanted in self._session.input.subscriptions}
        kind = kinds[arrival.topic]
        if kind is PoseArray:
            positions = read_pose_array(arrival.message)
            if positions is not None:
                return arrival._replace(message=positions)
        try:
            message = deserialize_message(arrival.message, kind)
        except Exception as error:  # RMWError and others, from the middleware
            raise MessageError(f'cannot be read: {str(error).partition(chr(10))[0]}') from None
        return arrival._replace(message=message)

    def _note_decoded(self, arrival: Arrival, decoded: Decoded) -> None:
        """Count and log what a message's decoder left out; note when the message arrived."""
        topic, monitor = arrival.topic, self._monitor
        self._counts.add('persons_refused', len(decoded.flawed))
        if decoded.flawed:
            monitor.warn('refused', f'{topic}: left out: {decoded.flawed[0].flaw}')
        for what, number in decoded.counts.items():
            self._counts.add(what, number)
        if decoded.beyond:
            monitor.warn('beyond', f'{topic}: {decoded.beyond}')
        monitor.last_received_s = arrival.received_s
        monitor.input_rate.note(arrival.received_s)
        monitor.recent_rate.note(arrival.received_s)

    def _note_header(self, arrival: Arrival, people: list[Observation]) -> None:
        """Count a message without people, stamp or frame."""
        if not people:
            self._counts.add('messages_empty')
            return
        self._counts.add('messages_without_stamp', int(people[0].stamp_ns <= 0))
        names = (person.person for person in people)
        same = self._same_stamps.repeat(arrival.topic, people[0].stamp_ns, names)
        self._counts.add('messages_same_stamp', int(same))
        self._counts.add('messages_without_frame', int(not people[0].frame_id))

    @staticmethod
    def _place(settings: Settings, arrival: Arrival, person: DecodedPerson | Observation) -> Place:
        return Place(
            person.frame_id or settings.input.frame_id,
            person.stamp_ns if person.stamp_ns > 0 else arrival.received_ns,
        )

    # To the histories --------------------------------------------------------------------------

    def _answer_held(self, settings: Settings) -> float:
        """Store people whose transforms have come; return when the first of them arrived."""
        oldest_s, transforms = math.inf, self._session.transforms
        if transforms is None:
            return oldest_s
        timeout_s, now_s = settings.tf_timeout_s, perf_counter()
        if self.held.is_overdue(now_s, timeout_s):
            # A transform that came in time counts, however late the executor is to hand it over.
            transforms.catch_up()
        for ready in self.held.ready(transforms.lookup, now_s, timeout_s):
            oldest_s = min(oldest_s, ready.held.received_s)
            self._answer(settings, ready)
            if ready.held.stored and self._pace.can_answer_each(settings, len(self.held)):
                self._inbox.wake.set()  # and those behind it whose transforms have come
                break
        return oldest_s

    def _answer(self, settings: Settings, ready: Ready) -> None:
        """Store people of one message, or note that it shows nobody."""
        arrival, held, session = ready.held.arrival, ready.held, self._session
        if not ready.people:
            stamp_ns, frame_id = message_header(arrival.message)
            session.online.observe_nobody(
                stamp_ns if stamp_ns > 0 else arrival.received_ns - (self.lag_ns or 0),
                '' if session.transforms else frame_id,
                arrival.received_ns,
                session.input.source_of(arrival.topic),
            )
            self.fresh = True
            return
        session.checks.look_at(arrival.received_s, ready.people, session.scale)
        stored = self._observe_all(settings, arrival, ready.people, ready.found)
        self.fresh = True  # a refused person is seen too
        if any(stored):
            self.waiting_frames += not held.stored
            held.stored = True
        if ready.last:
            self._counts.add('frames_stored' if held.stored else 'frames_refused')

    def _observe_all(
        self,
        settings: Settings,
        arrival: Arrival,
        people: Sequence[Observation],
        found: Pose | None,
    ) -> list[bool]:
        """Store people of one message; return for each whether it worked."""
        online, now_ns = self._session.online, arrival.received_ns
        placed = [self._placed(settings, arrival, person, found) for person in people]
        seen = [each for each in placed if each is not None]
        try:
            done = iter(online.observe_all(seen, now_ns))
            results = [None if each is None else next(done) for each in placed]
        except Exception:  # one person is lost, the others in the message are not
            results = [
                self._observe(settings, arrival, *each)
                for each in zip(people, placed, strict=True)
            ]
        return [
            each is not None and result is not None and self._note(arrival, each, result.outcome)
            for each, result in zip(placed, results, strict=True)
        ]

    def _placed(
        self, settings: Settings, arrival: Arrival, person: Observation, found: Pose | None
    ) -> Observation | None:
        """Return a person in metres, level and in the target frame; None without a transform."""
        session = self._session
        frame_id, stamp_ns = self._place(settings, arrival, person)
        xyz = person.xyz * session.scale
        if session.turn is not None:
            xyz = xyz @ session.turn.T
        if session.transforms is not None:
            if found is None:
                self._counts.add('messages_without_transform')
                self._explain(settings, arrival, Place(frame_id, stamp_ns))
                return None
            rotation, translation = found
            xyz, frame_id = xyz @ rotation.T + translation, session.transforms.target_frame
        return Observation(
            stamp_ns,
            frame_id,
            session.input.name_of(arrival.topic, person),
            xyz,
            person.confidence,
            person.seen,
            session.input.source_of(arrival.topic),
            person.identified,
        )

    def _observe(
        self, settings: Settings, arrival: Arrival, person: Observation, placed: Observation | None
    ) -> ObserveResult | None:
        """Store one person; None if that fails."""
        if placed is None:
            return None
        try:
            return self._session.online.observe(placed, arrival.received_ns)
        except Exception:
            self._counts.add('worker_errors')
            self._monitor.warn(
                'person', f'{arrival.topic}: {short(placed.person)}:\n{traceback.format_exc()}'
            )
            self._refuse(settings, arrival, person, Refusal.FAILED)
            return None

    def _note(self, arrival: Arrival, placed: Observation, outcome: ObserveOutcome) -> bool:
        """Note the outcome of an observation; return whether it was stored."""
        ahead_ns = placed.stamp_ns - arrival.received_ns
        if outcome is ObserveOutcome.FAR_FUTURE:
            self._monitor.warn(
                'far future',
                f'{arrival.topic}: stamped {ahead_ns * 1e-9:.2f} s ahead '
                "of the node's clock, dropped; set max_future_s, synchronize the clocks, or set "
                'use_sim_time for a recording',
            )
        if outcome is ObserveOutcome.STORED:
            self.lag_ns = -ahead_ns
        return outcome is ObserveOutcome.STORED

    def _refuse(
        self,
        settings: Settings,
        arrival: Arrival,
        person: DecodedPerson | Observation,
        refusal: Refusal,
        why: str = '',
    ) -> None:
        """Note a person who is seen but cannot be observed."""
        source = self._session.input
        frame_id, stamp_ns = self._place(settings, arrival, person)
        nowhere = np.full_like(person.xyz, np.nan)
        seen = Observation(
            stamp_ns,
            frame_id,
            source.name_of(arrival.topic, person),
            nowhere,
            source=source.source_of(arrival.topic),
            identified=person.identified,
        )
        self._session.online.refuse(seen, refusal, arrival.received_ns, why)
        self.fresh = True

    def _explain(self, settings: Settings, arrival: Arrival, place: Place) -> None:
        now_s, transforms = perf_counter(), self._session.transforms
        if transforms is None or now_s - self._explained_s < EXPLAIN_PERIOD_S:
            return
        self._explained_s = now_s
        missing = transforms.explain(*place, settings.tf_timeout_s)
        self.no_transform = missing.text if missing else 'it came too late; set tf_timeout_s'
        self._monitor.warn('transform', f'{arrival.topic}: no transform: {self.no_transform}')
