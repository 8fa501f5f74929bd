"""Everybody of whom the latest word was refused, and where they were then."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from motion_predictor.track.states import OtherPerson, PersonState, Refusal

_MAX_REFUSED = 512


@dataclass(frozen=True)
class Refused:
    """What a message says of somebody whose history did not take it up."""

    refusal: Refusal
    source: str
    stamp_ns: int
    arrival_ns: int | None
    pose: np.ndarray | None
    detail: str = ''
    newest_ns: int = 0
    """The newest stamp of all when it came: what tells time without a clock."""
    identified: bool = True
    """Whether the name is the tracker's, and not only the place in its message."""
    message_ns: int = 0
    """Stamp of the message, as it came."""


class RefusedPeople:
    """Everybody of whom the latest word was refused, by name; at most a few hundred."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._people: dict[str, Refused] = {}

    def __len__(self) -> int:
        return len(self._people)

    def add_to(
        self, others: dict[str, OtherPerson], predicted: Container[str], unseen: Mapping[str, int]
    ) -> list[Refusal]:
        """
        Add everybody who is not predicted, with their last known place, to those who are seen.

        :param others: by name; added to.
        :param predicted: names of those who are predicted.
        :param unseen: by source, how many of those the latest message did not show: somebody
            without an id of their own who was refused in it may be one of them.
        :returns: why each of those added was refused.
        """
        reasons, left = [], dict(unseen)
        for name, refused in self._people.items():
            if not refused.identified and left.get(refused.source, 0) > 0:
                left[refused.source] -= 1
                continue
            if name in predicted:
                if refused.identified:
                    continue
                name = self._another_name(name, others, predicted)
            pose = refused.pose
            if pose is None and name in others:
                pose = others[name].pose
            reasons.append(refused.refusal)
            others[name] = OtherPerson(
                PersonState.SEEN, refused.refusal, refused.stamp_ns, pose, (), refused.detail
            )
        return reasons

    def _another_name(self, name: str, others: Container[str], predicted: Container[str]) -> str:
        stem = name.rstrip('0123456789')
        numbered = (f'{stem}{number}' for number in count())
        return next(
            each
            for each in numbered
            if each not in self._people and each not in others and each not in predicted
        )

    def begin(self, source: str, stamp_ns: int) -> None:
        """
        Forget those of earlier messages who have no id: places of the next are others' places.

        :param source: of the message that begins.
        :param stamp_ns: its stamp.
        """
        old = [
            name
            for name, refused in self._people.items()
            if not refused.identified
            and refused.source == source
            and refused.message_ns != stamp_ns
        ]
        for name in old:
            del self._people[name]

    def note(self, name: str, refused: Refused) -> None:
        """Take in what was refused; of too many people the one heard of longest ago goes."""
        self._people.pop(name, None)
        self._people[name] = refused
        if len(self._people) > _MAX_REFUSED:
            del self._people[next(iter(self._people))]

    def taken(self, name: str) -> None:
        """Note that somebody's latest word was taken."""
        self._people.pop(name, None)

    def forget(self, sources: Iterable[str] | None = None) -> None:
        """Forget everybody of these sources, or everybody."""
        gone = None if sources is None else set(sources)
        kept = {} if gone is None else self._people
        self._people = {name: r for name, r in kept.items() if r.source not in (gone or ())}

    def drop_stale(self, now_ns: int | None, newest_ns: int, timeout_ns: int) -> bool:
        """
        Forget who was not shown for a time.

        :param now_ns: the clock; None where time is told by ``newest_ns``, the newest stamp.
        :param timeout_ns: after so long.
        :returns: whether somebody was forgotten.
        """

        def is_stale(refused: Refused) -> bool:
            if now_ns is None or refused.arrival_ns is None:
                return newest_ns - refused.newest_ns > timeout_ns
            return abs(now_ns - refused.arrival_ns) > timeout_ns

        kept = {name: refused for name, refused in self._people.items() if not is_stale(refused)}
        changed = len(kept) != len(self._people)
        self._people = kept
        return changed
