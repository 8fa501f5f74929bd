# SPDX-License-Identifier: Apache-2.0
"""Everything that one configured node publishes: predictions, people, and taking back."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
import traceback
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from motion_predictor.common.background import CancelledError, Stopped
from motion_predictor.errors import ConfigError, MessageError
from motion_predictor.predict.live import LivePrediction
from motion_predictor.ros.diagnostics.monitoring import Monitor
from motion_predictor.ros.messages import CloudEncoder
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.markers import MarkerTopic
from motion_predictor.ros.publish.model_topic import ModelTopic
from motion_predictor.ros.publish.outlook import Outlook, Shown
from motion_predictor.ros.publish.qos import is_wanted
from motion_predictor.ros.publish.seen import PeoplePublisher, PeopleReport, places
from motion_predictor.ros.publish.summaries import SummaryPublishers
from motion_predictor.ros.session import Session
from motion_predictor.track.snapshot import Snapshot

FLOAT32_REACH_M = 10_000.0
"""Distance in metres from the origin beyond which the float32 of clouds is wrong by a millimetre
and more."""


class Publishing:
    """Publishes predictions and the people who are present, and takes back the last outputs."""

    def __init__(
        self, node: Node, session: Session, publishers: Mapping[str, Any], monitor: Monitor
    ) -> None:
        """
        Begin with nothing published.

        :param node: its clock measures the latency.
        :param session: has the people.
        :param publishers: publishers by topic without ``~/``.
        :param monitor: counts and times the outputs.
        """
        self._node, self._session, self._publishers = node, session, publishers
        self._monitor = monitor
        self._cloud = CloudEncoder()
        self._markers = MarkerTopic(session, publishers)
        self._people = PeoplePublisher(publishers['people'])
        self.model = ModelTopic(session, publishers)
        self.summaries = SummaryPublishers(
            publishers,
            lambda name, seconds: monitor.latencies.add({name: seconds}),
            self._on_summary_failed,
        )
        self.report = PeopleReport()
        """Who was there last."""
        self._shows_people = False  # the last cloud had people
        self._last_stamp_ns = 0
        self._last_frame_id = ''
        self._empty_ns = 0  # stamp of the tracker's latest message that shows nobody

    # A prediction ------------------------------------------------------------------------------

    def publish(
        self,
        result: LivePrediction,
        settings: Settings,
        arrival_ns: int,
        stages: Mapping[str, float],
        stopped: Stopped,
    ) -> None:
        """
        Publish a prediction of at least one person, and everything made of it.

        :param result: the prediction.
        :param settings: the node's parameters.
        :param arrival_ns: arrival of its newest pose by the node's clock, nanoseconds.
        :param stages: durations of the earlier stages, seconds.
        :param stopped: returns whether the publishing thread is no longer wanted.
        :raises CancelledError: if the thread is no longer wanted.
        """
        modelled_s = perf_counter()
        shown = self._chosen(result, settings)
        message = self._encoded(shown)
        encoded_s = perf_counter()
        far = np.abs(result.last_poses).max() > FLOAT32_REACH_M
        self._monitor.counts.add('predictions_far_from_origin', int(far))
        require_wanted(stopped)
        if message is not None:
            self._publishers['predictions'].publish(message)
        published_s = perf_counter()
        total_s = (self._node.get_clock().now().nanoseconds - arrival_ns) * 1e-9
        self._shows_people = True
        self._last_stamp_ns, self._last_frame_id = result.stamp_ns, result.frame_id
        self._monitor.counts.add('predictions')
        self._monitor.output_rate.note(published_s)
        if total_s > settings.deadline_s:
            self._monitor.counts.add('deadline_misses')
        self._monitor.latencies.add(
            {
                **stages,
                'input': (arrival_ns - result.stamp_ns) * 1e-9,
                'message': encoded_s - modelled_s,
                'publish': published_s - encoded_s,
                'total': total_s,
            }
        )
        self._publish_summaries(shown, settings, stopped)
        self._markers.publish(shown, settings)

    def _chosen(self, result: LivePrediction, settings: Settings) -> Shown:
        assert result.prediction is not None
        window, turn = self._session.predictor.window, self._session.turn
        frames = output_frames(settings, window.rate_hz, window.future_frames)
        numbers = [self._session.numbers.table[name] for name in result.persons]
        return Shown(result, numbers, frames, turn)

    def _encoded(self, shown: Shown) -> PointCloud2 | None:
        """Return the cloud of ~/predictions; None if nobody subscribes to it."""
        if not is_wanted(self._publishers.get('predictions')):
            return None
        result = shown.result
        assert result.prediction is not None
        return self._cloud.encode(
            result.stamp_ns,
            result.frame_id,
            shown.numbers,
            shown.futures,
            result.prediction.weights_at(shown.frames),
            result.prediction.times_s[shown.frames],
            result.prediction.candidate,
            ~result.last_filled,
        )

    def _publish_summaries(self, shown: Shown, settings: Settings, stopped: Stopped) -> None:
        wanted = self.summaries.wanted(settings, perf_counter())
        if not wanted:
            return
        session = self._session
        outlook = Outlook.of(
            shown.result, shown.numbers, shown.frames, session.predictor.skeleton, session.turn
        )
        for name in wanted:
            require_wanted(stopped)
            try:
                self.summaries.publish(name, outlook, settings)
            except MessageError as error:  # NaN: subscribers get no message rather than this one
                self._on_summary_failed(name, error)

    def _on_summary_failed(self, name: str, error: Exception) -> None:
        if not self._node.context.ok():
            return  # it was shut down while the message was built
        about: dict[type[Exception], str] = {
            MessageError: 'outputs_not_finite',
            ConfigError: 'summaries_refused',
        }
        known = about.get(type(error))
        self._monitor.counts.add(known or 'worker_errors')
        text = str(error) if known else ''.join(traceback.format_exception(error))
        self._monitor.warn(name, text)

    # Who is there ------------------------------------------------------------------------------

    def publish_people(self, found: Snapshot | LivePrediction) -> None:
        """Publish who is predicted, who is only seen, and who is lost."""
        nobody = isinstance(found, Snapshot) and found.nobody and not found.persons
        self.report = PeopleReport(
            found.stamp_ns,
            found.frame_id,
            found.persons,
            found.others,
            self._session.numbers.table,
            nobody,
            {name: half for name, half in found.half_seen.items() if name in found.persons},
        )
        self._people.publish(self.report)

    def publish_nobody(self, settings: Settings) -> None:
        """
        Take back the last outputs: one empty cloud, every marker deleted.

        ~/poses still shows the people who are seen; it is empty only if the tracker says that
        nobody is present.
        """
        stamp_ns, frame_id = self._last_stamp_ns, self._last_frame_id
        report, others = self.report, places(self.report.others, self._session.turn)
        if report.stamp_ns >= stamp_ns and (report.nobody or others):
            stamp_ns, frame_id = report.stamp_ns, report.frame_id
        self.summaries.publish_nobody(
            stamp_ns,
            frame_id,
            asked=report.nobody and stamp_ns not in (0, self._empty_ns),
            others=others,
            horizons=len(settings.poses.horizons_s),
        )
        self._empty_ns = stamp_ns if report.nobody else 0
        if self._shows_people and 'predictions' in self._publishers:
            self._publishers['predictions'].publish(self._cloud.nobody(stamp_ns, frame_id))
        self._shows_people = False
        self._markers.publish_nobody(stamp_ns, frame_id)

    def end(self, settings: Settings) -> None:
        """Take everything back, also the people: the node no longer observes."""
        self.report = PeopleReport()
        self.publish_nobody(settings)
        self._people.publish(self.report)


def output_frames(settings: Settings, rate_hz: float, future_frames: int) -> np.ndarray:
    """
    Return the frames of a future that are published.

    :param settings: the node's parameters.
    :param rate_hz: rate of the model, frames per second.
    :param future_frames: number of the model's future frames.
    :returns: indices, at least one; every ``output.step_s`` up to ``horizon_s``.
    """
    stride = max(1, round(settings.output.step_s * rate_hz))
    last = min(future_frames, int(settings.horizon_s * rate_hz + 1e-6))
    frames = np.arange(stride, last + 1, stride) - 1
    return frames if len(frames) else np.array([max(last, 1) - 1])


def require_wanted(stopped: Stopped) -> None:
    """
    Continue only while the calling thread is wanted.

    :param stopped: returns whether it is no longer wanted.
    :raises CancelledError: if it is no longer wanted.
    """
    if stopped():
        raise CancelledError
