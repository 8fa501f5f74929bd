# SPDX-License-Identifier: Apache-2.0
"""The topic /diagnostics: the node's state, counters, rates, latencies and complaints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
import math
from time import perf_counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.subscription import Subscription as RosSubscription

from motion_predictor.ros.diagnostics.complaints import (
    about_input,
    about_namesakes,
    about_strangers,
    about_unseen,
    NO_INPUT,
)
from motion_predictor.ros.diagnostics.monitoring import Monitor
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.session import Session
from motion_predictor.ros.worker import Worker

UNCONFIGURED_S = 5.0
"""Time in seconds after which a node that nobody has configured says what would help; launch files
take less."""


class Diagnostics:
    """Publishes the node's reports on itself in every state; runs in the executor's thread."""

    def __init__(self, node: Node, monitor: Monitor) -> None:
        """
        Begin to wait until somebody configures the node.

        :param node: the node.
        :param monitor: its counters, rates and latencies.
        """
        self._node, self._monitor = node, monitor
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._reported: dict[str, int] = {}
        self._waits_since_s = perf_counter()  # until the first configure; None after it
        self._told_to_configure = self._told_of_silence = False

    def publish(
        self,
        worker: Worker | None,
        settings: Settings,
        subscriptions: Sequence[RosSubscription],
        now_s: float,
    ) -> None:
        """
        Publish one status.

        :param worker: the worker with its session; None while the node is unconfigured.
        :param settings: the node's parameters.
        :param subscriptions: subscriptions of the node's input; none while it is not active.
        :param now_s: reading of ``perf_counter``, seconds.
        """
        node = self._node
        session = None if worker is None else worker.session
        counts = self._counts_so_far(session)
        new = {name: count - self._reported.get(name, 0) for name, count in counts.items()}
        self._reported = dict(counts)
        active = worker is not None and worker.active
        state = 'active' if active else 'inactive' if session is not None else 'unconfigured'
        rates_hz = (
            self._monitor.input_rate.rate_hz(now_s), self._monitor.output_rate.rate_hz(now_s)
        )  # fmt: skip
        values = self._values(worker, state, rates_hz, now_s)
        values.update(counts)
        complaints: list[str] = []
        if worker is not None and active:
            complaints += about_input(
                node, self._monitor, worker, settings, subscriptions, new, now_s
            )
        self._log_silence(complaints)
        if session is not None:
            complaints += about_strangers(session)
            if session.lost_device:
                complaints.insert(0, session.lost_device)
        complaints += about_namesakes(node, self._monitor) + self._unconfigured(session, now_s)
        if session is not None and session.remembering:
            complaints += session.remembering.complaints
        if worker is not None and active:
            complaints += about_unseen(worker.publishing.report, *rates_hz)
        name = node.get_fully_qualified_name().lstrip('/')  # nodes of two cells get two names
        status = DiagnosticStatus(name=f'{name}: prediction', level=DiagnosticStatus.OK)
        status.level = DiagnosticStatus.WARN if complaints else DiagnosticStatus.OK
        status.message = '; '.join(complaints) or (state if not active else 'predicting')
        status.hardware_id = session.predictor.device if session is not None else ''
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _counts_so_far(self, session: Session | None) -> Mapping[str, int]:
        counts = Counter(self._monitor.counts.snapshot())
        if session is not None:
            counts.update(session.online.counters_so_far)  # this adds a text
            counts.update(dict(session.input.source.counters))
        return counts

    def _values(
        self, worker: Worker | None, state: str, rates_hz: tuple[float, float], now_s: float
    ) -> dict[str, Any]:
        received_s = self._monitor.last_received_s
        values: dict[str, Any] = {
            'state': state,
            'input rate (Hz)': f'{rates_hz[0]:.2f}',
            'output rate (Hz)': f'{rates_hz[1]:.2f}',
            'input age (s)': f'{now_s - received_s:.3f}' if received_s else 'never',
        }
        if worker is not None:
            values.update(_values_of_session(worker))
        for stage, (p50, p99) in self._monitor.latencies.percentiles_s(50, 99).items():
            values[f'latency {stage} p50 (ms)'] = f'{1e3 * p50:.2f}'
            values[f'latency {stage} p99 (ms)'] = f'{1e3 * p99:.2f}'
        return values

    def _log_silence(self, complaints: Sequence[str]) -> None:
        """Log once that no input comes, each time that it stops."""
        silence = next((text for text in complaints if text.startswith(NO_INPUT)), '')
        if silence and not self._told_of_silence:
            self._node.get_logger().warning(silence)
        self._told_of_silence = bool(silence)

    def _unconfigured(self, session: Session | None, now_s: float) -> list[str]:
        """Return a complaint if nobody has configured the node since its start; log it once."""
        if session is not None:
            self._waits_since_s = math.inf
        if now_s - self._waits_since_s < UNCONFIGURED_S:
            return []
        name = self._node.get_fully_qualified_name()
        complaint = (
            f'unconfigured for {UNCONFIGURED_S:g} s and more: `ros2 lifecycle set {name} '
            f'configure`, then `activate`; or start it with -p autostart:=true'
        )
        if not self._told_to_configure:
            self._told_to_configure = True
            self._node.get_logger().warning(complaint)
        return [complaint]


def _values_of_session(worker: Worker) -> dict[str, Any]:
    session = worker.session
    online = session.online
    values: dict[str, Any] = {
        'model': session.predictor.name,
        'device': session.predictor.device,
        'engine': session.predictor.engine,
        'engine measured': session.predictor.engine_times or 'not measured',
        'persons': ', '.join(session.numbers.table) or 'nobody',
        **worker.publishing.report.values,
        'radius scale': f'{online.radius_scale:.3f}',
        'radius held': f'{online.radius_held:.3f}',
    }
    for source, jitter_s in online.stamp_jitters_s.items():
        values[f'stamp jitter {source} (ms)'] = f'{1e3 * jitter_s:.2f}'
    for person, tall_m in session.checks.heights_m.items():
        values[f'body height {person} (m)'] = f'{tall_m:.2f}'
    if session.remembering is not None:
        values.update(session.remembering.values(session.tracks))
    for person, surprise in online.surprises.items():
        values[f'surprise {person} (nats)'] = f'{surprise:.2f}'
    return values
