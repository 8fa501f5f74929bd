# SPDX-License-Identifier: Apache-2.0
"""People whose latest observation was refused, and their position then."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from motion_predictor.track.states import OtherPerson, PersonState, Refusal

_MAX_REFUSED = 512


@dataclass(frozen=True)
class Refused:
    """What a message says about a person whose history did not accept it."""

    refusal: Refusal
    source: str
    stamp_ns: int
    arrival_ns: int | None
    pose: np.ndarray | None
    detail: str = ''
    newest_ns: int = 0
    """The newest stamp of all people when it came; it tells the time if there is no clock."""
    identified: bool = True
    """Whether the name is the tracker's id, and not only the position in its message."""
    message_ns: int = 0
    """Original stamp of the message, nanoseconds."""


class RefusedPeople:
    """People whose latest observation was refused, by name; at most a few hundred."""

    def __init__(self) -> None:
        """Begin without people."""
        self._people: dict[str, Refused] = {}

    def __len__(self) -> int:
        return len(self._people)

    def add_to(
        self, others: dict[str, OtherPerson], predicted: Container[str], unseen: Mapping[str, int]
    ) -> list[Refusal]:
        """
        Add the people who are not predicted, with their last known position, to those seen.

        :param others: the people seen, by name; this is changed.
        :param predicted: names of the people who are predicted.
        :param unseen: by source, the number of predicted people whom the latest message did not
            show; a person without an id who was refused in it may be one of them.
        :returns: the reason for each person added.
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
        Forget people of earlier messages without an id: the next message orders people anew.

        :param source: source of the message that begins.
        :param stamp_ns: its stamp, nanoseconds.
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
        """Note a refused observation; of too many people, the longest silent one is dropped."""
        self._people.pop(name, None)
        self._people[name] = refused
        if len(self._people) > _MAX_REFUSED:
            del self._people[next(iter(self._people))]

    def taken(self, name: str) -> None:
        """Note that a person's latest observation was accepted."""
        self._people.pop(name, None)

    def forget(self, sources: Iterable[str] | None = None) -> None:
        """Forget all people of these sources, or everybody."""
        gone = None if sources is None else set(sources)
        kept = {} if gone is None else self._people
        self._people = {name: r for name, r in kept.items() if r.source not in (gone or ())}

    def drop_stale(self, now_ns: int | None, newest_ns: int, timeout_ns: int) -> bool:
        """
        Forget the people who were not shown for some time.

        :param now_ns: the clock, nanoseconds; None: ``newest_ns``, the newest stamp, tells the
            time.
        :param newest_ns: the newest stamp, nanoseconds.
        :param timeout_ns: this time, nanoseconds.
        :returns: whether anybody was forgotten.
        """

        def is_stale(refused: Refused) -> bool:
            if now_ns is None or refused.arrival_ns is None:
                return newest_ns - refused.newest_ns > timeout_ns
            return abs(now_ns - refused.arrival_ns) > timeout_ns

        kept = {name: refused for name, refused in self._people.items() if not is_stale(refused)}
        changed = len(kept) != len(self._people)
        self._people = kept
        return changed
