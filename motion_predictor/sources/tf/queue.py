"""
Observations that wait for their transform, each in its turn; no ROS.

As a ``tf2_ros::MessageFilter`` does: what came before its transform is kept until that comes, up
to ``tf_timeout_s``, many messages deep, while everything else goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from motion_predictor.sources.observation import Observation
from motion_predictor.sources.tf.tree import Pose

MAX_HELD = 256
"""Messages: several seconds of a camera. Of more, the first are answered as they are."""
RESTARTS_AFTER = 3
"""So many messages of a topic in a row whose stamps fell back are a new beginning of time."""

Lookup = Callable[[str, int], Pose | None]
"""Frame and stamp to its transform; None where there is none yet."""


class Place(NamedTuple):
    """Where and when people of a message were seen."""

    frame_id: str
    stamp_ns: int


@dataclass(eq=False)
class Held:
    """One message; ``groups`` are those of its people who are still waiting, by place."""

    arrival: Any
    topic: str
    received_s: float
    groups: dict[Place, list[Observation]] = field(default_factory=dict)
    stored: bool = False
    """Somebody of it was stored: for whoever counts."""


class Ready(NamedTuple):
    """People whose transform has come, or will not; without people the message shows nobody."""

    held: Held
    place: Place | None
    people: list[Observation]
    found: Pose | None
    last: bool
    """The message is done with."""


class TransformQueue:
    """
    Messages in the order of arrival, until the transforms of the people in them have come.

    People of one topic and frame are handed out in order. Nobody waits for anybody of another
    frame or topic: a camera that TF does not know holds up no other. A message that says that
    nobody is there waits for those of its topic before it.
    """

    def __init__(self, jump_back_s: float) -> None:
        """
        Start with nothing.

        :param jump_back_s: stamps of a topic that fall back by more are a new beginning.
        """
        self._held: deque[Held] = deque()
        self._jump_back_ns = round(jump_back_s * 1e9)
        self._newest: dict[str, int] = {}
        self._fallen: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the messages."""
        return len(self._held)

    def put(self, held: Held) -> bool:
        """
        Take in a message.

        :returns: whether its topic's stamps have jumped back: time has begun anew.
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
        """Forget everything; what was waiting."""
        dropped = list(self._held)
        self._held.clear()
        self._newest.clear()
        self._fallen.clear()
        return dropped

    def ready(self, lookup: Lookup, now_s: float, timeout_s: float) -> Iterator[Ready]:
        """
        Hand out those whose transforms are there, and those who have waited for long enough.

        :param lookup: finds a transform without waiting.
        :param now_s: by the clock of ``received_s``.
        :param timeout_s: how long somebody may wait after the arrival.
        """
        waiting: set[tuple[str, str]] = set()  # topics and frames
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
