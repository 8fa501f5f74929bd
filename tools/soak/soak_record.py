# SPDX-License-Identifier: Apache-2.0
"""The record of a soak: frames sent and received, faults, and the counters that they raised."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
import threading

import numpy as np


@dataclass
class Run:
    """Consecutive good frames: the faults before and after them, and their number."""

    after: str
    before: str = ''
    length: int = 0


@dataclass
class Frames:
    """The sent and received frames by stamp; the listening thread shares them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: dict[int, bool] = field(default_factory=dict)
    """Recent stamps in order of sending; whether the frame is a good one."""
    answered: dict[int, float] = field(default_factory=dict)
    """Latency in seconds of those that were answered, by stamp."""
    roots: dict[int, np.ndarray] = field(default_factory=dict)
    """Position of the good person's first joint in good frames, (3,) metres, by stamp."""
    unserved: list[str] = field(default_factory=list)
    """Predictions from good frames that lack the good person."""
    frames_given: set[str] = field(default_factory=set)
    unknown_stamps: list[int] = field(default_factory=list)
    unknown_frames: list[str] = field(default_factory=list)
    not_finite: int = 0
    good: int = 0
    good_answered: int = 0
    waiting: deque[int] = field(default_factory=deque)
    """Stamps of good frames without a prediction of that stamp or a newer one."""
    covered_s: list[float] = field(default_factory=list)
    """Time in seconds, for each good frame, until a prediction of that stamp or a newer one."""
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the beginning, latency in seconds) of good frames."""
    places: dict[int, tuple[Run, int]] = field(default_factory=dict)
    """Run and index of good frames, by stamp, until forgotten."""
    unanswered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Good frames without a prediction of their own stamp, by the faults before and after them."""

    def forget(self, before_ns: int) -> None:
        """Forget frames with earlier stamps; note the good and unanswered ones among them."""
        for stamp in [stamp for stamp in self.sent if stamp < before_ns]:
            good = self.sent.pop(stamp)
            self.roots.pop(stamp, None)
            answered = self.answered.pop(stamp, None) is not None
            run, _ = self.places.pop(stamp, (Run(''), 0))
            if good and not answered:
                self.unanswered[run.after, run.before] += 1


@dataclass
class Tally:
    """Number of injected faults of one kind, and of those that diagnostics named afterwards."""

    injected: int = 0
    named: int = 0
    counters: dict[str, int] = field(default_factory=dict)


def memory_growth(rss_mb: list[float]) -> float:
    """
    Return the growth of memory from after the warm-up to the end.

    :param rss_mb: resident memory at even times.
    :returns: median of the last third over that of the middle third, minus one; in the first third
        every kind of fault comes for the first time and the place's memory fills.
    """
    third = max(1, len(rss_mb) // 3)
    early, late = rss_mb[third : 2 * third] or rss_mb[:1], rss_mb[-third:]
    return float(np.median(late) / np.median(early) - 1.0)


def percentiles_ms(values_s: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum of durations in milliseconds."""
    if not values_s:
        return {}
    found = np.percentile(values_s, (50, 99, 100)) * 1e3
    return dict(zip(('p50', 'p99', 'max'), found.round(1).tolist()))
