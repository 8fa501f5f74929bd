# SPDX-License-Identifier: Apache-2.0
"""Messages: all people of one message are assigned to the followed bodies, all at once."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Sequence
from dataclasses import dataclass, field
from enum import Enum

from motion_predictor.sources.observation import Observation
from motion_predictor.track.history import AddOutcome
from motion_predictor.track.identity.assign import Sighting, Track
from motion_predictor.track.identity.tracks import Tracks
from motion_predictor.track.identity.usual import UsualSightings
from motion_predictor.track.states import Refusal

_ASKED_AT_ONCE = 16  # for up to this many people of a message the outcome of each is known at once


class ObserveOutcome(Enum):
    """The result of an observation."""

    STORED = 'stored'
    MALFORMED = 'malformed'
    """The arrays do not have the layout's shape."""
    FAR_FUTURE = 'far_future'
    DUPLICATE = 'duplicate'
    TOO_LATE = 'too_late'
    WITHOUT_BODY = 'without_body'
    HELD = 'held'
    """The stamp is far back in time; it is stored if later ones show that time has begun again."""
    ELSEWHERE = 'elsewhere'
    """The person is further away than anybody moves: dropped; the next one there is a
    new person."""
    FROZEN = 'frozen'
    """A person who was moving is shown in exactly the same pose again: not stored."""
    OTHER_FRAME = 'other_frame'
    """The frame is not that of the people whom other sources show: dropped."""


@dataclass(frozen=True)
class ObserveResult:
    """The result of an observation; ``reset`` is True if it made everything before it void."""

    outcome: ObserveOutcome
    reset: bool = False

    @property
    def stored(self) -> bool:
        """Return whether it changes the next prediction."""
        return self.outcome is ObserveOutcome.STORED


@dataclass
class _Message:
    """The people of one message who have come so far."""

    stamp_ns: int
    sightings: list[Sighting] = field(default_factory=list)
    owners: list[Track | None] = field(default_factory=list)
    """For each person, the body that has the id and is clearly there."""
    tracks: list[Track | None] | None = None
    """The body of each person, if that was asked since the last person came; otherwise None."""
    usual: UsualSightings | None = None
    """The usual people, if all have come at once; otherwise None."""


class Messages:
    """
    The open part of the latest message of every source.

    Observations of one source and stamp belong to one message. This class is not thread-safe.
    """

    def __init__(self, tracks: Tracks) -> None:
        """
        Begin without messages.

        :param tracks: the bodies that are followed.
        """
        self._tracks = tracks
        self._open: dict[str, _Message] = {}

    @property
    def sources(self) -> KeysView[str]:
        """Return the sources with an open message, in the order in which they were opened."""
        return self._open.keys()

    def is_of_another(self, source: str, stamp_ns: int) -> bool:
        """Return whether a source's open message has another stamp; False if none is open."""
        message = self._open.get(source)
        return message is not None and message.stamp_ns != stamp_ns

    def may_show(self, source: str, persons: Sequence[str]) -> bool:
        """Return whether a source's open message has shown none of some people; else False."""
        message = self._open.get(source)
        return message is not None and not (
            {each.person for each in message.sightings} & set(persons)
        )

    def add(self, sightings: Sequence[Sighting]) -> list[ObserveOutcome]:
        """
        Add some people to a message, which is opened if it is not open.

        :param sightings: people of one source and stamp.
        :returns: the outcome of each, as far as it is known by now.
        """
        if not sightings:
            return []
        first = sightings[0]
        message = self._open.get(first.source)
        usual = self._tracks.usual(sightings)
        if message is None:
            message = self._open[first.source] = _Message(first.stamp_ns, usual=usual)
        else:
            message.usual = None
        outcomes = []
        for sighting, owner in zip(sightings, usual.owners):
            message.sightings.append(sighting)
            message.owners.append(owner or self._tracks.owner(sighting))
            message.tracks = None
            stored = ObserveOutcome.STORED
            outcomes.append(stored if owner is not None else self._outcome(message))
        return outcomes

    def _outcome(self, message: _Message) -> ObserveOutcome:
        # Return the outcome for the latest person of a message.
        latest, track = message.sightings[-1], message.owners[-1]
        if track is None and len(message.sightings) <= _ASKED_AT_ONCE:
            message.tracks = self._tracks.whose(message.sightings, message.owners)
            track = message.tracks[-1]
            if track is None and self._tracks.is_set_aside(latest, message.tracks):
                return ObserveOutcome.ELSEWHERE
        if track is not None and self._tracks.is_frozen(track, latest):
            return ObserveOutcome.FROZEN
        refused = None if track is None else track.history.refusal(latest.stamp_ns)
        return ObserveOutcome.STORED if refused is None else _OUTCOMES[refused]

    def close(self, source: str) -> None:
        """Store all people of a source's message, which is complete."""
        message = self._open.pop(source, None)
        if message is not None:
            tracks = message.tracks or self._tracks.whose(message.sightings, message.owners)
            self._tracks.take(message.sightings, tracks, message.usual)

    def forget(self, sources: Iterable[str]) -> None:
        """Drop the open messages of some sources."""
        for source in sources:
            self._open.pop(source, None)


def messages_of(observations: Sequence[Observation]) -> list[Sequence[Observation]]:
    """
    Return observations in groups, in their order: people of one message, or each on their own.

    :param observations: people, perhaps of several messages.
    """
    origins = {(each.source, each.stamp_ns, each.frame_id) for each in observations}
    persons = {each.person for each in observations}
    if len(origins) == 1 and len(persons) == len(observations):
        return [observations]
    return [[each] for each in observations]


REFUSALS = {
    ObserveOutcome.MALFORMED: Refusal.MALFORMED,
    ObserveOutcome.FAR_FUTURE: Refusal.FAR_FUTURE,
    ObserveOutcome.DUPLICATE: Refusal.TOO_LATE,
    ObserveOutcome.TOO_LATE: Refusal.TOO_LATE,
    ObserveOutcome.WITHOUT_BODY: Refusal.NO_BODY,
    ObserveOutcome.HELD: Refusal.TOO_LATE,
    ObserveOutcome.ELSEWHERE: Refusal.ELSEWHERE,
    ObserveOutcome.FROZEN: Refusal.FROZEN,
    ObserveOutcome.OTHER_FRAME: Refusal.OTHER_FRAME,
}
"""For each outcome but STORED, why the person is seen and not predicted."""
_OUTCOMES = {
    AddOutcome.DUPLICATE: ObserveOutcome.DUPLICATE,
    AddOutcome.TOO_LATE: ObserveOutcome.TOO_LATE,
}
