# SPDX-License-Identifier: Apache-2.0
"""Rates, latencies and counters of a running node, as plain thread-safe objects; no ROS."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
import threading
from time import perf_counter
from typing import Any

import numpy as np

COUNTERS = (
    'messages', 'messages_lost', 'messages_overflowed', 'messages_overdue',
    'messages_unread',
    'messages_empty', 'messages_malformed', 'messages_without_transform',
    'persons_refused',
    'messages_without_stamp', 'messages_same_stamp', 'messages_without_frame',
    'messages_without_news',
    'joints_not_finite',
    'joints_at_origin', 'joints_beyond_float32',
    'frames_refused', 'frames_stored', 'frames_answered',
    'frames_skipped', 'frames_unpredicted', 'predictions', 'deadline_misses',
    'worker_errors', 'resets_clock_jump', 'device_losses', 'outputs_not_finite',
)  # fmt: skip
"""Counters of every node, shown even while they are zero."""
STAGES = ('input', 'queue', 'history', 'model', 'message', 'publish', 'total')
"""Parts of the latency of a prediction; each summary is one more stage."""
RECENT_S = 1.0
"""Time in seconds over which the input's rate tells whether the worker can catch up."""
WARN_PERIOD_S = 5.0
MAX_LOGGED = 4_000
"""Greatest number of characters in a line of the log."""


class LatencyLog:
    """The latest latencies of each stage, and their percentiles."""

    def __init__(self, stages: tuple[str, ...], keep: int = 600) -> None:
        """
        Begin without latencies.

        :param stages: names of the stages.
        :param keep: number of the latest values of a stage that count.
        """
        self._lock = threading.Lock()
        self._values: dict[str, deque[float]] = {stage: deque(maxlen=keep) for stage in stages}

    def add(self, latencies_s: Mapping[str, float]) -> None:
        """Add one latency in seconds for each named stage."""
        with self._lock:
            for stage, value in latencies_s.items():
                self._values[stage].append(value)

    def percentiles_s(self, *percents: float) -> dict[str, tuple[float, ...]]:
        """Return the percentiles in seconds of each stage that has values."""
        with self._lock:
            held = {stage: list(values) for stage, values in self._values.items() if values}
        return {
            stage: tuple(float(p) for p in np.percentile(values, percents))
            for stage, values in held.items()
        }

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for values in self._values.values():
                values.clear()


class EventRate:
    """The recent rate of an event, by a clock that the caller reads."""

    def __init__(self, window_s: float = 3.0) -> None:
        """
        Begin without events.

        :param window_s: length of the past that counts, in seconds.
        """
        self._lock = threading.Lock()
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=4096)

    def note(self, now_s: float) -> None:
        """Count one event."""
        with self._lock:
            self._times.append(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return the mean rate over the window in Hz; 0.0 with fewer than two events in it."""
        with self._lock:
            while self._times and self._times[0] < now_s - self._window_s:
                self._times.popleft()
            if len(self._times) < 2 or self._times[-1] <= self._times[0]:
                return 0.0
            return (len(self._times) - 1) / (self._times[-1] - self._times[0])


class Counts:
    """Named counters that any thread may add to."""

    def __init__(self, *names: str) -> None:
        """
        Begin at zero.

        :param names: counters that are shown even while they are zero.
        """
        self._lock = threading.Lock()
        self._counts = Counter(dict.fromkeys(names, 0))

    def add(self, name: str, count: int = 1) -> None:
        """Add to one counter."""
        with self._lock:
            self._counts[name] += count

    def snapshot(self) -> dict[str, int]:
        """Return all counters, by name."""
        with self._lock:
            return dict(sorted(self._counts.items()))


class SequenceGaps:
    """Counts messages that were sent and never received, from the numbers that DDS gives them."""

    def __init__(self, publishers: int = 64) -> None:
        """
        Begin without publishers.

        :param publishers: number of publishers to remember, the latest ones.
        """
        self._publishers = publishers
        self._last: dict[bytes, int] = {}

    def lost_before(self, info: Mapping[str, Any]) -> int:
        """
        Return how many messages of this publisher are missing between this message and the last.

        :param info: rclpy's message info: ``publication_sequence_number`` and ``publisher_gid``.
            If the middleware does not number messages, the result is 0.
        """
        number, publisher = info.get('publication_sequence_number'), info.get('publisher_gid')
        if not isinstance(number, int) or not isinstance(publisher, Mapping):
            return 0
        key = bytes(publisher.get('data', b''))
        last = self._last.pop(key, None)
        self._last[key] = number  # the latest again
        if len(self._last) > self._publishers:
            del self._last[next(iter(self._last))]
        return 0 if last is None else max(0, number - last - 1)


class Monitor:
    """Counters, rates, latencies and warnings of a node; any thread may use it."""

    def __init__(self, log: Callable[[str], Any], stages: Sequence[str] = STAGES) -> None:
        """
        Begin with nothing counted.

        :param log: writes a warning.
        :param stages: names of the latencies.
        """
        self.counts = Counts(*COUNTERS)
        self.latencies = LatencyLog(tuple(stages))
        self.input_rate, self.output_rate = EventRate(), EventRate()
        self.recent_rate = EventRate(RECENT_S)
        self.last_received_s = 0.0
        """When the latest message came that was read, by ``perf_counter``; 0.0 before it."""
        self._log = log
        self._last_warnings: dict[str, float] = {}

    def warn(self, about: str, text: str) -> None:
        """
        Log a warning, each kind at most every few seconds.

        :param about: the kind.
        :param text: the warning.
        """
        now_s = perf_counter()
        if now_s - self._last_warnings.get(about, -WARN_PERIOD_S) >= WARN_PERIOD_S:
            self._last_warnings[about] = now_s
            self._log(text[:MAX_LOGGED])
