# SPDX-License-Identifier: Apache-2.0
"""A consumer's subscription to one output of the predictor, which knows whether it is alive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, QoSProfile

PREDICTOR = 'motion_predictor'
"""Name of the predictor's node, in the namespace of the consumer unless it is remapped."""
LEASE_S = 0.5
"""Requested deadline and lease in seconds; the predictor offers 0.4 s."""
INTERVALS = 15
"""Number of the last intervals whose mean is the usual period."""
FEWEST = 3
"""Least number of intervals for a usual period."""


class Heard:
    """
    The newest message of an output, until the predictor falls silent.

    The predictor is silent after ``(1 + missed_periods)`` usual periods without a message, after
    ``longest_s`` in any case, or when DDS reports that no publisher is alive.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        output: str,
        *,
        longest_s: float,
        missed_periods: float = float('inf'),
        watched: bool = False,
        taken: Callable[[Any], None] | None = None,
    ) -> None:
        """
        Subscribe.

        :param node: the consumer.
        :param output: topic of the predictor without ``~/``.
        :param longest_s: time in seconds without a message after which the predictor is silent.
        :param missed_periods: number of usual periods by which a message may be late.
        :param watched: whether to request the deadline and the liveliness that the predictor
            offers, so that DDS reports its death; other publishers are not heard then.
        :param taken: called with each message.
        """
        self.newest: Any = None
        """The last message; None before the first one, and once the predictor is silent."""
        self.topic = node.resolve_topic_name(f'{PREDICTOR}/{output}')
        self._node, self._taken = node, taken
        self._longest_s, self._missed_periods = longest_s, missed_periods
        self._arrivals_s: deque[float] = deque(maxlen=INTERVALS + 1)
        profile, events = QoSProfile(depth=1), SubscriptionEventCallbacks()
        if watched:
            lease = Duration(seconds=LEASE_S)
            profile.deadline = profile.liveliness_lease_duration = lease
            profile.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC
            events = SubscriptionEventCallbacks(liveliness=self._on_liveliness)
        node.create_subscription(
            message_type, f'{PREDICTOR}/{output}', self._take, profile, event_callbacks=events
        )

    @property
    def patience_s(self) -> float:
        """Return the time in seconds after the last message from which the predictor is silent."""
        count = len(self._arrivals_s) - 1
        if count < FEWEST:
            return self._longest_s
        usual_s = (self._arrivals_s[-1] - self._arrivals_s[0]) / count
        return min(self._longest_s, (1.0 + self._missed_periods) * usual_s)

    def current(self) -> Any:
        """Return the newest message; None if there is none, or if the predictor is silent."""
        if self.newest is not None and perf_counter() - self._arrivals_s[-1] > self.patience_s:
            self.forget()
        return self.newest

    def forget(self) -> None:
        """Begin again: the predictor counts as silent until its next message."""
        self.newest = None
        self._arrivals_s.clear()

    def _take(self, message: Any) -> None:
        self.newest = message
        self._arrivals_s.append(perf_counter())
        if self._taken is not None:
            self._taken(message)

    def _on_liveliness(self, event: Any) -> None:
        if not event.alive_count:
            self.forget()
