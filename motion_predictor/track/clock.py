# SPDX-License-Identifier: Apache-2.0
"""The clock of a tracker, estimated from the stamps of its messages alone.

If messages are stamped at arrival and wait on their way (Wi-Fi, a busy driver), their stamps come
in bursts: several within a millisecond, then none for a while. The poses were taken evenly. If the
stamps were believed, a walking person would stand still and leap in turn. Such stamps, and no
others, are replaced by those of a clock that runs evenly and is never later than the arrivals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
import math

import numpy as np

WINDOW_S = 2.0
"""Time in seconds over which the messages show how the clock runs."""
MAX_MESSAGES = 512
MIN_MESSAGES = 9
SHORT = 0.4
"""An interval shorter than this share of the mean interval belongs to a burst. A dropped frame
makes intervals longer and never shorter."""
BURSTS, NO_BURSTS = 0.15, 0.03
"""Stamps come in bursts once this share of the intervals is short; below the second share they no
longer do."""
LATEST = 2.0
"""No message waits longer than the longest silence, times this factor where several silences
follow one another. Stamps that are later than that beside an even clock belong to a clock that
changed its rate, or follow lost messages."""
MAX_SILENCE_S = 1.0
"""After a silence of this length, in seconds, the clock begins again."""
_MAX_GIVEN = 4096
_LEAST_STEP = 0.3  # share of a period from one stamp to the next
_NS = 1e-9


class SourceClock:
    """The clock of one source of messages; successive messages show some of the same people."""

    def __init__(self) -> None:
        """Begin without messages."""
        self._arrivals: deque[int] = deque(maxlen=MAX_MESSAGES)
        self._people: set[str] = set()
        self._bursts = False
        self._steady_ns = 0

    @property
    def in_bursts(self) -> bool:
        """Return whether stamps come in bursts, so that they are replaced."""
        return self._bursts

    @property
    def jitter_s(self) -> float:
        """Return half of the range of the middle 80 % of the intervals, seconds; NaN at first."""
        if len(self._arrivals) < MIN_MESSAGES:
            return math.nan
        low, high = np.quantile(np.diff(np.array(self._arrivals)), (0.1, 0.9))
        return 0.5 * float(high - low) * _NS

    def steady(self, stamp_ns: int, person: str) -> int:
        """
        Return the time when a pose was taken.

        :param stamp_ns: stamp of its message in nanoseconds, the same for all people of a message.
        :param person: a person in the message. Successive messages with nobody in common show
            different people, each with their own times; their stamps are left alone.
        :returns: nanoseconds; ``stamp_ns`` itself unless stamps come in bursts.
        """
        newest = self._arrivals[-1] if self._arrivals else None
        if newest is not None and stamp_ns == newest:
            self._people.add(person)
            return self._steady_ns
        if newest is not None and stamp_ns < newest:
            return stamp_ns
        silent = newest is None or (stamp_ns - newest) * _NS > MAX_SILENCE_S
        if silent or person not in self._people:
            self._arrivals.clear()
            self._bursts = False
        self._people = {person}
        self._arrivals.append(stamp_ns)
        while (stamp_ns - self._arrivals[0]) * _NS > WINDOW_S:
            self._arrivals.popleft()
        self._steady_ns = self._next(stamp_ns)
        return self._steady_ns

    def _next(self, stamp_ns: int) -> int:
        count = len(self._arrivals)
        if count < MIN_MESSAGES:
            return stamp_ns
        arrivals = np.array(self._arrivals)
        steps = arrivals[1:] - arrivals[:-1]
        period = (self._arrivals[-1] - self._arrivals[0]) / len(steps)
        share = int(np.count_nonzero(steps < SHORT * period)) / len(steps)
        if not self._bursts:
            self._bursts = share >= BURSTS
        elif share < NO_BURSTS:
            self._bursts = False
        if not self._bursts:
            return stamp_ns
        begin, period = self._line()
        waited = np.array(self._arrivals) - (begin + period * np.arange(count))
        if waited.max() > LATEST * steps.max():
            self._bursts = False
            return stamp_ns
        steady = round(begin + period * (count - 1))
        return min(max(steady, self._steady_ns + round(_LEAST_STEP * period)), stamp_ns)

    def history(self) -> dict[int, int]:
        """Return the even stamp of every remembered message, by its former stamp."""
        begin, period = self._line()
        return {
            arrival: min(round(begin + period * index), arrival)
            for index, arrival in enumerate(self._arrivals)
        }

    def _line(self) -> tuple[float, float]:
        # Return the highest line below all arrivals: its value at the first message, and its step
        # in ns.
        first = self._arrivals[0]
        hull = _lower_hull([arrival - first for arrival in self._arrivals])
        middle = 0.5 * (len(self._arrivals) - 1)
        left, right = next(edge for edge in pairwise(hull) if edge[0][0] <= middle <= edge[1][0])
        period = (right[1] - left[1]) / (right[0] - left[0])
        return first + left[1] - period * left[0], period


def _lower_hull(values: Sequence[int]) -> list[tuple[int, int]]:
    # Return the corners (index, value) of the lower convex hull, from the first to the last value.
    hull: list[tuple[int, int]] = []
    for index, value in enumerate(values):
        while len(hull) > 1:
            (a, low), (b, middle) = hull[-2:]
            if (middle - low) * (index - a) < (value - low) * (b - a):
                break
            hull.pop()
        hull.append((index, value))
    return hull


class SteadyStamps:
    """The clocks of all sources, and the former stamps of observations that were replaced."""

    def __init__(self) -> None:
        """Begin without sources."""
        self._clocks: dict[str, SourceClock] = {}
        self._given: dict[int, int] = {}

    @property
    def sources(self) -> frozenset[str]:
        """Return the sources that have a clock."""
        return frozenset(self._clocks)

    @property
    def jitters_s(self) -> dict[str, float]:
        """Return the unevenness of each source's stamps, as :attr:`SourceClock.jitter_s`."""
        return {source: clock.jitter_s for source, clock in self._clocks.items()}

    def steady(
        self, source: str, person: str, stamp_ns: int
    ) -> tuple[int, Mapping[int, int] | None]:
        """
        Return the stamp of an evenly running clock for an observation.

        :param source: source of the observation.
        :param person: the person whom it shows.
        :param stamp_ns: its own stamp, nanoseconds.
        :returns: the even stamp; and the even stamps of earlier observations by their former ones
            if bursts are only recognised now, otherwise None.
        """
        clock = self._clocks.get(source)
        if clock is None:
            clock = self._clocks[source] = SourceClock()
        before = clock.in_bursts
        steady_ns = clock.steady(stamp_ns, person)
        history = clock.history() if clock.in_bursts and not before else None
        if history is not None:
            self._given |= {even: given for given, even in history.items()}
        if steady_ns != stamp_ns:
            self._given[steady_ns] = stamp_ns
            while len(self._given) > _MAX_GIVEN:
                del self._given[next(iter(self._given))]
        return steady_ns, history

    def given(self, stamp_ns: int) -> int:
        """Return the original stamp of an observation, which the outputs carry."""
        return self._given.get(stamp_ns, stamp_ns)

    def forget(self, sources: Iterable[str]) -> None:
        """Make the clocks of some sources begin again."""
        for source in sources:
            self._clocks.pop(source, None)


@dataclass(frozen=True)
class Timing:
    """
    When a person was last seen, by their own stamp, and how far their stamps are ahead.

    ``lead_s`` is the largest recent lead of a stamp over the clock at its arrival, in seconds: a
    message that waits on its way has a smaller lead. It is NaN without a clock.
    """

    source: str
    stamp_ns: int
    lead_s: float


_AHEAD_OF_CLOCK_S = 0.02


def stamped_ahead(people: Mapping[str, Timing], apart_s: float) -> dict[str, float]:
    """
    Return people whose stamps are so far ahead that everybody else would look out of date.

    A person is at fault under two conditions. First, their stamps, compared with the clock at
    arrival, are ahead of those of others, and these others are at least as many. Second, the
    stamps are also ahead of the clock, or they are those of one person and ahead of most others of
    the same source. Otherwise the others are behind or no longer seen, which the caller must
    judge.

    :param people: newest observation of each person.
    :param apart_s: largest difference between stamps of one instant, seconds.
    :returns: lead in seconds over the others, for each person at fault.
    """
    found: dict[str, float] = {}
    rest = dict(people)
    while len(rest) > 1:
        newest = max(timing.stamp_ns for timing in rest.values())
        near = {n: t for n, t in rest.items() if (newest - t.stamp_ns) * _NS <= apart_s}
        lead_s = min(timing.lead_s for timing in near.values())
        behind = [
            timing
            for name, timing in rest.items()
            if name not in near and not lead_s - timing.lead_s <= apart_s  # also without a clock
        ]
        if not behind or len(near) > len(behind):
            return found
        fewer_of_one = len(near) < len(behind) and (
            len({timing.source for timing in [*near.values(), *behind]}) == 1
        )
        if not (lead_s > _AHEAD_OF_CLOCK_S or fewer_of_one):
            return found
        reference = max(timing.stamp_ns for timing in behind)
        for name in near:
            found[name] = (rest.pop(name).stamp_ns - reference) * _NS
    return found
