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
"""What is counted of every node, shown although nothing was counted yet."""
STAGES = ('input', 'queue', 'history', 'model', 'message', 'publish', 'total')
"""What the latency of a prediction is made of; each summary is a stage beside them."""
RECENT_S = 1.0
"""The input's rate during this time tells whether the worker can catch up."""
WARN_PERIOD_S = 5.0
MAX_LOGGED = 4_000
"""Characters of a line of the log."""


class LatencyLog:
    """The latest latencies of each stage, and their percentiles."""

    def __init__(self, stages: tuple[str, ...], keep: int = 600) -> None:
        """
        Start empty.

        :param stages: names of the stages.
        :param keep: how many of the latest values of a stage count.
        """
        self._lock = threading.Lock()
        self._values: dict[str, deque[float]] = {stage: deque(maxlen=keep) for stage in stages}

    def add(self, latencies_s: Mapping[str, float]) -> None:
        """Note one latency in seconds for each stage named."""
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
    """How often something happened lately, by a clock that the caller reads."""

    def __init__(self, window_s: float = 3.0) -> None:
        """
        Start with no events.

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
        """Return the mean rate over the window; 0.0 with fewer than two events in it."""
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
        Start at zero.

        :param names: counters that are shown although nothing was counted yet.
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
    """Messages that publishers sent and nobody saw, from the numbers that DDS gives them."""

    def __init__(self, publishers: int = 64) -> None:
        """
        Start with no publisher known.

        :param publishers: how many are remembered, the latest of them.
        """
        self._publishers = publishers
        self._last: dict[bytes, int] = {}

    def lost_before(self, info: Mapping[str, Any]) -> int:
        """
        Tell how many messages of its publisher are missing between this one and the last.

        :param info: what rclpy tells of a message: ``publication_sequence_number`` and
            ``publisher_gid``; where the middleware does not number messages, nothing is missed.
        """
        number, publisher = info.get('publication_sequence_number'), info.get('publisher_gid')
        if not isinstance(number, int) or not isinstance(publisher, Mapping):
            return 0
        key = bytes(publisher.get('data', b''))
        last = self._last.pop(key, None)
        self._last[key] = number  # as the latest
        if len(self._last) > self._publishers:
            del self._last[next(iter(self._last))]
        return 0 if last is None else max(0, number - last - 1)


class Monitor:
    """What a node counts and times, and its warnings; any thread may use it."""

    def __init__(self, log: Callable[[str], Any], stages: Sequence[str] = STAGES) -> None:
        """
        Start with nothing counted.

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
        """
        now_s = perf_counter()
        if now_s - self._last_warnings.get(about, -WARN_PERIOD_S) >= WARN_PERIOD_S:
            self._last_warnings[about] = now_s
            self._log(text[:MAX_LOGGED])
