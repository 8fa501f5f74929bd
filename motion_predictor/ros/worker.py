# SPDX-License-Identifier: Apache-2.0
"""The predicting thread: it takes messages in, runs the model and publishes predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import threading
from time import perf_counter
import traceback
from typing import Any

import numpy as np
from rclpy.node import Node

from motion_predictor.common.background import Stopped
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.live import LivePrediction
from motion_predictor.ros.diagnostics.monitoring import Monitor
from motion_predictor.ros.intake.inbox import Inbox
from motion_predictor.ros.intake.intake import Intake
from motion_predictor.ros.pace import Pace
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.publishing import Publishing, require_wanted
from motion_predictor.ros.publish.qos import assert_alive
from motion_predictor.ros.session import follow_settings, Session
from motion_predictor.track.snapshot import Snapshot, unpredicted_of
from motion_predictor.track.states import Excluded

HELD_PERIOD_S = 0.01
"""Period in seconds with which the worker looks for people who have waited for their transform
long enough."""
IDLE_PERIOD_S = 0.05
"""Period in seconds with which the worker looks for people who have gone while nothing arrives."""


class Worker:
    """
    Runs :meth:`cycle` in a thread of its own from :meth:`start` to :meth:`stop`.

    Intake, pace and publishing belong to it. They live as long as the session, and its thread uses
    them. The executor's thread uses them only while the worker stands still, or only reads.
    """

    def __init__(
        self,
        node: Node,
        session: Session,
        inbox: Inbox,
        publishers: Mapping[str, Any],
        monitor: Monitor,
        settings: Callable[[], Settings],
    ) -> None:
        """
        Make the worker; no thread is started yet.

        :param node: its clock, log and context are used.
        :param session: the model and the people.
        :param inbox: the waiting messages; it wakes the worker.
        :param publishers: publishers of the node's outputs by topic without ``~/``.
        :param monitor: counts and times.
        :param settings: returns the present parameters of the node.
        """
        self._node, self.session, self._inbox, self._publishers = node, session, inbox, publishers
        self._monitor, self._counts, self._settings = monitor, monitor.counts, settings
        self.pace = Pace()
        self.intake = Intake(session, inbox, monitor, self.pace, settings())
        self.publishing = Publishing(node, session, publishers, monitor)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._used: tuple[Any, ...] = ()  # people and stamps of the last prediction

    # The thread --------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Return whether it was started and not stopped."""
        return self._thread is not None

    def start(self) -> None:
        """Begin without people, and publish the model."""
        self.session.online.reset()
        self.intake.held.clear()
        self._stopping = threading.Event()  # one per thread: a former thread may be left behind
        self.publishing.model.publish()
        self._thread = threading.Thread(
            target=self._work, args=(self._stopping,), name='prediction worker', daemon=True
        )
        self._thread.start()

    def stop(self, patience_s: float) -> bool:
        """
        End the thread and the background work.

        :param patience_s: longest time to wait for a running prediction, seconds.
        :returns: whether it ended; if not, its thread continues and publishes nothing.
        """
        ended = True
        if self._thread is not None:
            self._stopping.set()
            self._inbox.wake.set()
            self._thread.join(patience_s)
            ended = not self._thread.is_alive()
            self._thread = None
        self.publishing.summaries.close(0.1 * patience_s)
        return ended

    def take_back(self) -> None:
        """Take back what was published, after the thread was stopped; count the rest."""
        self._counts.add('frames_skipped', self.intake.take_frames())
        self.intake.refuse_held()
        self._used = ()
        self.publishing.end(self._settings())

    def _work(self, stopping: threading.Event) -> None:
        try:
            # Torch keeps thread pools and handles by thread, so those of configure do not serve
            # here.
            use_threads(self._settings().model.threads)
            self.session.predictor.warm_up(1, self._settings().samples)
        except Exception:  # the first prediction deals with a failed device
            self._counts.add('worker_errors')
            self._monitor.warn('worker', 'the warm-up failed:\n' + traceback.format_exc())
        while not stopping.is_set():
            self._inbox.wake.wait(self._wait_s())
            self._inbox.wake.clear()
            if stopping.is_set():
                return
            try:
                assert_alive(self._publishers.values())
                self.cycle(self._settings(), stopping.is_set)
            except Exception:
                if stopping.is_set() or not self._node.context.ok():
                    return
                self._counts.add('worker_errors')
                self._monitor.warn('worker', 'a prediction failed:\n' + traceback.format_exc())

    def _wait_s(self) -> float:
        wait_s = IDLE_PERIOD_S
        if self.intake.fresh:
            wait_s = min(wait_s, max(0.0, self.pace.due_s - perf_counter()))
        if len(self.intake.held):
            wait_s = min(wait_s, HELD_PERIOD_S)
        return wait_s

    # One turn ----------------------------------------------------------------------------------

    def cycle(self, settings: Settings, stopped: Stopped = lambda: False) -> None:
        """
        Take in what is waiting, and predict everybody about whom there is news.

        :param settings: the node's parameters for this turn.
        :param stopped: returns whether the thread is no longer wanted.
        :raises CancelledError: if the thread is no longer wanted.
        """
        if self._inbox.reset_wanted.is_set():
            self._inbox.reset_wanted.clear()
            self.session.online.reset()
            self.intake.restart()
        # People are absent as of now: messages that arrive during the reading are not read yet.
        begun_s, begun_ns = perf_counter(), self._node.get_clock().now().nanoseconds
        waiting = len(self._inbox)
        count = 1 if self._can_catch_up(settings, waiting) else waiting
        if count < waiting:
            self._inbox.wake.set()
        oldest_s = self.intake.take_in(settings, count, stopped)
        if self.intake.fresh and not self.pace.is_due(settings):
            return
        self.intake.fresh = False
        follow_settings(self.session.online, settings)
        snapshot = self.session.online.snapshot(begun_ns, expire=count == waiting)
        if snapshot is None:
            return
        stages = {'queue': begun_s - oldest_s, 'history': perf_counter() - begun_s}
        self._number_people(snapshot)
        if not snapshot.persons:
            self._counts.add('frames_unpredicted', self.intake.take_frames())
            self.publishing.publish_people(snapshot)
            self._publish_nobody(settings)
            return
        self._note_tracks(snapshot)
        if self._is_new(snapshot):
            self._answer(settings, snapshot, stages, stopped)
            self.pace.cycles_s.append(perf_counter() - begun_s)

    def _can_catch_up(self, settings: Settings, waiting: int) -> bool:
        now_s = perf_counter()
        return self.pace.can_catch_up(
            settings,
            waiting,
            self._monitor.recent_rate.rate_hz(now_s),
            now_s,
            in_pieces=any(wanted.reliable for wanted in self.session.input.subscriptions),
        )

    def _number_people(self, snapshot: Snapshot) -> None:
        present = [*snapshot.persons, *snapshot.others]
        if self.session.numbers.update(present, snapshot.reassociated):
            self.publishing.model.publish()

    def _note_tracks(self, snapshot: Snapshot) -> None:
        session = self.session
        session.tracks = dict(zip(snapshot.persons, snapshot.tracks))
        if session.remembering is not None:
            session.remembering.frame_id = snapshot.frame_id
            session.remembering.known.note(session.tracks, session.numbers.table)

    def _is_new(self, snapshot: Snapshot) -> bool:
        """Return whether there is news about anybody who is seen; the news then counts as used."""
        seen = tuple((name, other.stamp_ns) for name, other in snapshot.others.items())
        using = (snapshot.persons, tuple(window.stamp_ns for window in snapshot.windows), seen)
        if using == self._used:
            return False
        self._used = using
        return True

    # One prediction ----------------------------------------------------------------------------

    def _answer(
        self, settings: Settings, snapshot: Snapshot, stages: dict[str, float], stopped: Stopped
    ) -> None:
        """Predict, and count the frames by outcome."""
        frames = self.intake.take_frames()
        try:
            answered = self._predict(settings, snapshot, stages, stopped)
        except Exception:
            self._counts.add('frames_unpredicted', frames)
            if not stopped():
                everybody = np.ones(len(snapshot.persons), dtype=bool)
                failed = unpredicted_of(snapshot, everybody, Excluded.PREDICTION_FAILED)
                self.publishing.publish_people(failed)
                self._publish_nobody(settings)
            raise
        self._counts.add('frames_answered' if answered else 'frames_unpredicted', min(frames, 1))
        self._counts.add('frames_skipped', max(frames - 1, 0))

    def _predict(
        self, settings: Settings, snapshot: Snapshot, stages: dict[str, float], stopped: Stopped
    ) -> bool:
        """Run the model and publish everything; return whether anybody was predicted."""
        begun_s = perf_counter()
        result = self._run(settings, snapshot)
        require_wanted(stopped)
        self.publishing.publish_people(result)
        self.session.checks.note(
            result.persons, result.stamps_ns, result.last_poses, result.last_filled
        )
        if result.prediction is None:
            self._publish_nobody(settings)
            return False
        stages['model'] = perf_counter() - begun_s
        arrival_ns = result.stamp_ns if snapshot.arrival_ns is None else snapshot.arrival_ns
        self.publishing.publish(result, settings, arrival_ns, stages, stopped)
        return True

    def _run(self, settings: Settings, snapshot: Snapshot) -> LivePrediction:
        try:
            return self.session.online.run(snapshot)
        except RuntimeError as error:  # torch's errors of a failed device
            if self.session.predictor.device == 'cpu':
                raise
            self._fall_back_to_cpu(settings, error)
            return self.session.online.run(snapshot)

    def _fall_back_to_cpu(self, settings: Settings, error: RuntimeError) -> None:
        # After a failure of the device every later call on it may fail: nothing is copied from it.
        session = self.session
        lost = session.predictor.device
        self._counts.add('device_losses')
        reason = str(error).strip().partition('\n')[0]
        session.lost_device = f'{lost} was lost ({reason}): predicting on the CPU'
        self._node.get_logger().error(
            f'{session.lost_device}; clean up and configure to try {lost}'
        )
        session.predictor = session.predictor.on_cpu()
        session.online.predictor = session.predictor
        session.predictor.warm_up(1, settings.samples)
        self.publishing.model.publish()

    def _publish_nobody(self, settings: Settings) -> None:
        """Take back the last prediction; the same people are new when they come again."""
        self._used = ()
        self.publishing.publish_nobody(settings)
