# SPDX-License-Identifier: Apache-2.0
"""The bounded inbox: callbacks store messages in it and wake the worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import threading
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from rclpy.subscription import Subscription as RosSubscription

from motion_predictor.ros.diagnostics.monitoring import Monitor, SequenceGaps
from motion_predictor.ros.intake.inputs import Subscription

INBOX_SIZE = 512
"""Greatest number of waiting messages: over a second of the fastest input."""
MAX_INBOX_BYTES = 64 * 2**20
MAX_MESSAGE_BYTES = 8 * 2**20
"""Greatest size of a message in bytes. A message of 100 000 points is smaller; a larger one comes
from no tracker and is not even read."""
BACKLOG_S = 1.0
"""A message that has waited longer than this, in seconds, while newer ones came is
dropped unread."""
MAX_TAKEN = 50
"""Number of messages of a topic that are read before a prediction; if there are more, this many
are read, evenly spaced."""


class Arrival(NamedTuple):
    """A message as the callback stored it, with the node's clock and a stopwatch reading."""

    topic: str
    message: Any
    received_ns: int
    received_s: float


class Inbox:
    """
    Keeps messages in the order of arrival until the worker takes them.

    Callbacks only store, in any thread. If the inbox is full, the oldest messages are dropped.
    """

    def __init__(self, monitor: Monitor, now_ns: Callable[[], int]) -> None:
        """
        Begin without messages.

        :param monitor: counts lost and dropped messages.
        :param now_ns: reads the node's clock, nanoseconds.
        """
        self._monitor, self._now_ns = monitor, now_ns
        self._waiting: deque[Arrival] = deque()
        self._gaps = SequenceGaps()
        self.wake = threading.Event()
        """Set when there is something for the worker to do."""
        self.reset_wanted = threading.Event()
        """Set when the clock has jumped: the histories begin anew."""

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Arrival]:
        """Iterate over the messages, the oldest first."""
        return iter(list(self._waiting))

    def append(self, arrival: Arrival) -> None:
        """Add a message, whatever is waiting already."""
        self._waiting.append(arrival)

    def clear(self) -> None:
        """Forget the messages."""
        self._waiting.clear()

    def restart(self) -> None:
        """Forget the messages and the publishers: new subscriptions are about to be made."""
        self.clear()
        self._gaps = SequenceGaps()

    def store(self, topic: str) -> Callable[..., None]:
        """
        Return the callback of a topic's subscription.

        :param topic: name of the topic in the subscription.
        """

        def store(message: Any, lost: int = 0) -> None:
            counts = self._monitor.counts
            if lost:
                counts.add('messages_lost', lost)
            if _size(message) > MAX_MESSAGE_BYTES:
                counts.add('messages')
                counts.add('messages_malformed')
                self._monitor.warn(
                    'size', f'{topic}: a message of {_size(message)} bytes is not read'
                )
                return
            while self._is_full(message):  # the newest messages matter most
                with contextlib.suppress(IndexError):  # the worker has just taken all
                    self._waiting.popleft()
                    counts.add('messages_overflowed')
            self._waiting.append(Arrival(topic, message, self._now_ns(), perf_counter()))
            self.wake.set()

        def store_with_info(message: Any, info: Mapping[str, Any]) -> None:
            store(message, self._gaps.lost_before(info))

        # Before ROS 2 Iron, callbacks do not receive the message's number.
        return store_with_info if hasattr(RosSubscription, 'CallbackType') else store

    def _is_full(self, message: Any) -> bool:
        if len(self._waiting) >= INBOX_SIZE:
            return True
        if _size(message) * INBOX_SIZE < MAX_INBOX_BYTES or not self._waiting:
            return False
        held = sum(_size(arrival.message) for arrival in list(self._waiting))
        return held + _size(message) > MAX_INBOX_BYTES

    def take_timely(self, subscriptions: Sequence[Subscription], count: int) -> list[Arrival]:
        """
        Take the oldest messages out, and drop those that the worker cannot catch up with.

        A worker that has fallen behind and read everything would never predict anybody.

        :param subscriptions: the topics. No message of a reliable topic is dropped, because each
            is one piece of a whole, as with TF.
        :param count: number of messages to take.
        :returns: the messages to read, in order; the others are counted.
        """
        arrivals: list[Arrival] = []
        for _ in range(count):
            with contextlib.suppress(IndexError):  # a callback made room in between
                arrivals.append(self._waiting.popleft())
        kept = set(range(len(arrivals)))
        for wanted in subscriptions:
            if wanted.reliable:
                continue
            waiting = [i for i, arrival in enumerate(arrivals) if arrival.topic == wanted.topic]
            if len(waiting) < 2:
                continue
            newest_s = arrivals[waiting[-1]].received_s
            timely = [i for i in waiting if newest_s - arrivals[i].received_s <= BACKLOG_S]
            if len(timely) > MAX_TAKEN:
                places = np.linspace(0, len(timely) - 1, MAX_TAKEN).round().astype(int)
                timely = [timely[place] for place in places]
            kept -= set(waiting) - set(timely)
        self._monitor.counts.add('messages_overdue', len(arrivals) - len(kept))
        return [arrivals[i] for i in sorted(kept)]


def _size(message: Any) -> int:
    # Return the size of a message as it came over DDS; one made in this process costs nothing
    # more.
    return len(message) if isinstance(message, bytes) else 0
