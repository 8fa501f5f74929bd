# SPDX-License-Identifier: Apache-2.0
"""A queue of observations that wait for their transform; no ROS.

It works as ``tf2_ros::MessageFilter``: a message that comes before its transform is kept until the
transform comes, but no longer than ``tf_timeout_s``. Many messages can wait, and nothing else is
held up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from motion_predictor.sources.observation import Observation
from motion_predictor.sources.tf.tree import Pose

MAX_HELD = 256
"""Greatest number of waiting messages, several seconds of a camera. Beyond it the first ones are
handed out as they are."""
RESTARTS_AFTER = 3
"""If this many messages of a topic in a row have older stamps than before, time has begun again.
"""

Lookup = Callable[[str, int], Pose | None]
"""A function from frame and stamp (nanoseconds) to the transform; None if there is none yet."""


class Place(NamedTuple):
    """The frame and the stamp of people in a message."""

    frame_id: str
    stamp_ns: int


@dataclass(eq=False)
class Held:
    """One waiting message; ``groups`` are its people who still wait, by frame and stamp."""

    arrival: Any
    topic: str
    received_s: float
    groups: dict[Place, list[Observation]] = field(default_factory=dict)
    stored: bool = False
    """Whether one of its people was stored, for the counters."""


class Ready(NamedTuple):
    """People whose transform has come or will not come; no people: the message shows nobody."""

    held: Held
    place: Place | None
    people: list[Observation]
    found: Pose | None
    last: bool
    """Whether this completes the message."""


class TransformQueue:
    """
    Messages in the order of arrival, kept until the transforms of their people have come.

    People of one topic and frame are handed out in order. No person waits for one of another frame
    or topic, so a camera that TF does not know holds up no other camera. A message that shows
    nobody waits for the earlier messages of its topic.
    """

    def __init__(self, jump_back_s: float) -> None:
        """
        Begin with an empty queue.

        :param jump_back_s: if the stamps of a topic fall back by more than this, in seconds, time
            has begun again.
        """
        self._held: deque[Held] = deque()
        self._jump_back_ns = round(jump_back_s * 1e9)
        self._newest: dict[str, int] = {}
        self._fallen: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self._held)

    def put(self, held: Held) -> bool:
        """
        Add a message.

        :returns: True if the stamps of its topic have jumped back: time has begun again.
        """
        self._held.append(held)
        stamps = [place.stamp_ns for place in held.groups]
        if not stamps:
            return False
        newest = self._newest.get(held.topic, stamps[0])
        fallen = newest - max(stamps) > self._jump_back_ns
        count = self._fallen.get(held.topic, 0) + 1 if fallen else 0
        if fallen and count < RESTARTS_AFTER:
            self._fallen[held.topic] = count
            return False
        self._fallen[held.topic] = 0
        self._newest[held.topic] = max(stamps) if fallen else max(newest, *stamps)
        return fallen

    def clear(self) -> list[Held]:
        """Empty the queue and return the messages that were waiting."""
        dropped = list(self._held)
        self._held.clear()
        self._newest.clear()
        self._fallen.clear()
        return dropped

    def is_overdue(self, now_s: float, timeout_s: float) -> bool:
        """
        Return whether a person has waited for long enough.

        :param now_s: reading of the clock of ``received_s``.
        :param timeout_s: longest time in seconds that somebody waits after the arrival.
        """
        return any(now_s - held.received_s >= timeout_s for held in self._held)

    def ready(self, lookup: Lookup, now_s: float, timeout_s: float) -> Iterator[Ready]:
        """
        Hand out the people whose transforms are there or who have waited long enough.

        :param lookup: finds a transform without waiting.
        :param now_s: the present time by the clock of ``received_s``, seconds.
        :param timeout_s: longest time in seconds that a person may wait after the arrival.
        """
        waiting: set[tuple[str, str]] = set()  # pairs of topic and frame
        beyond = len(self._held) - MAX_HELD
        for index, held in enumerate(list(self._held)):
            overdue = now_s - held.received_s >= timeout_s or index < beyond
            if not held.groups:
                if all(topic != held.topic for topic, _ in waiting):
                    self._held.remove(held)
                    yield Ready(held, None, [], None, True)
                continue
            for place, people in list(held.groups.items()):
                key = (held.topic, place.frame_id)
                found = None if key in waiting else lookup(*place)
                if found is None and (key in waiting or not overdue):
                    waiting.add(key)
                    continue
                del held.groups[place]
                if not held.groups:
                    self._held.remove(held)
                yield Ready(held, place, people, found, not held.groups)
