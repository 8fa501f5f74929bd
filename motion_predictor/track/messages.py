"""Messages: everyone of one message is assigned to the bodies that are followed, all at once."""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from dataclasses import dataclass, field
from enum import Enum

from motion_predictor.track.history import AddOutcome
from motion_predictor.track.identity.assign import Sighting, Track
from motion_predictor.track.identity.tracks import Tracks

_ASKED_AT_ONCE = 16  # people of one message of whom each is told at once what becomes of them


class ObserveOutcome(Enum):
    """What became of an observation."""

    STORED = 'stored'
    MALFORMED = 'malformed'
    """Arrays of another shape than the layout's."""
    FAR_FUTURE = 'far_future'
    DUPLICATE = 'duplicate'
    TOO_LATE = 'too_late'
    WITHOUT_BODY = 'without_body'
    HELD = 'held'
    """Far back in time: stored if those after it show that time has begun anew."""
    ELSEWHERE = 'elsewhere'
    """Further off than anybody moves: dropped; the next one there is of somebody new."""
    FROZEN = 'frozen'
    """The pose before once more, to the bit, of somebody who moved: not stored."""
    OTHER_FRAME = 'other_frame'
    """In another frame than the people whom other sources show: dropped."""


@dataclass(frozen=True)
class ObserveResult:
    """What became of an observation; ``reset`` when it made everything before it void."""

    outcome: ObserveOutcome
    reset: bool = False

    @property
    def stored(self) -> bool:
        """Tell whether it changes what is predicted next."""
        return self.outcome is ObserveOutcome.STORED


@dataclass
class _Message:
    """Those of one message who have come so far."""

    stamp_ns: int
    sightings: list[Sighting] = field(default_factory=list)
    owners: list[Track | None] = field(default_factory=list)
    """Of each, whoever has the id and is clearly there."""
    tracks: list[Track | None] | None = None
    """Whose they are, where that was asked since the last of them came."""


class Messages:
    """
    What has come of the latest message of every source.

    Observations of one source and stamp belong to one message. Not thread-safe.
    """

    def __init__(self, tracks: Tracks) -> None:
        """
        Begin without a message.

        :param tracks: the bodies that are followed.
        """
        self._tracks = tracks
        self._open: dict[str, _Message] = {}

    @property
    def sources(self) -> KeysView[str]:
        """Return the sources of which a message is open, in the order in which it was opened."""
        return self._open.keys()

    def is_of_another(self, source: str, stamp_ns: int) -> bool:
        """Tell whether a source's open message has another stamp; False where none is open."""
        message = self._open.get(source)
        return message is not None and message.stamp_ns != stamp_ns

    def may_show(self, source: str, person: str) -> bool:
        """Tell whether a source's message is open and has not shown a person yet."""
        message = self._open.get(source)
        return message is not None and person not in {each.person for each in message.sightings}

    def add(self, sighting: Sighting) -> ObserveOutcome:
        """
        Take in one more person of a message, which is opened where it is not.

        :param sighting: the person.
        :returns: what will become of it, as far as can be told by now.
        """
        message = self._open.get(sighting.source)
        if message is None:
            message = self._open[sighting.source] = _Message(sighting.stamp_ns)
        message.sightings.append(sighting)
        message.owners.append(self._tracks.owner(sighting))
        message.tracks = None
        return self._outcome(message)

    def _outcome(self, message: _Message) -> ObserveOutcome:
        # What will become of the latest of a message.
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
        """Store everyone of a source's message: what has come of it is all of it."""
        message = self._open.pop(source, None)
        if message is not None:
            tracks = message.tracks or self._tracks.whose(message.sightings, message.owners)
            self._tracks.take(message.sightings, tracks)

    def forget(self, sources: Iterable[str]) -> None:
        """Drop the open messages of some sources."""
        for source in sources:
            self._open.pop(source, None)


_OUTCOMES = {
    AddOutcome.DUPLICATE: ObserveOutcome.DUPLICATE,
    AddOutcome.TOO_LATE: ObserveOutcome.TOO_LATE,
}
