# SPDX-License-Identifier: Apache-2.0
"""All names and numbers that each person has had in this run. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import threading

from motion_predictor.common.files import brief
from motion_predictor.errors import MotionPredictorError

MOST_TRACKS = 2048
"""Beyond this number of histories, those with nothing in the memory are dropped."""
MOST_NAMED = 12


class UnknownPersonError(MotionPredictorError):
    """Nobody had that name or number in this run; the message lists who did."""


class KnownPeople:
    """
    Finds the histories of a person by any name or number that the person had in this run.

    A person who continues under another id is one person with both names. Two people to whom a
    tracker gave the same id one after the other share it. Methods may be called by any thread.
    """

    def __init__(self, remembered: Callable[[], set[int]]) -> None:
        """
        Begin without people.

        :param remembered: returns the histories that the memory holds something of.
        """
        self._remembered = remembered
        self._words: dict[int, set[str]] = {}
        self._named: dict[int, tuple[str, int | None]] = {}
        self._most = MOST_TRACKS
        self._lock = threading.Lock()

    def note(self, tracks: Mapping[str, int], numbers: Mapping[str, int]) -> None:
        """
        Note the present names and numbers.

        :param tracks: number of each person's history, by name.
        :param numbers: number of each person in the outputs, by name.
        """
        with self._lock:
            for name, track in tracks.items():
                called = name, numbers.get(name)
                if self._named.get(track) == called:
                    continue
                self._named[track] = called
                self._words.setdefault(track, set()).add(name)
                if called[1] is not None:
                    self._words[track].add(_numbered(called[1]))
            if len(self._words) > self._most:
                left = self._remembered() | set(tracks.values())
                self._most = max(MOST_TRACKS, 2 * len(left))
                self._words = {track: of for track, of in self._words.items() if track in left}
                self._named = {track: of for track, of in self._named.items() if track in left}

    def find(self, person: str) -> set[int]:
        """
        Return the histories of a person.

        :param person: a name as in ~/people or, if nobody has it as a name, a number.
        :raises UnknownPersonError: if nobody had it in this run.
        """
        wanted = person.strip()
        with self._lock:
            for word in (wanted, _numbered(wanted)):
                found = {track for track, words in self._words.items() if word in words}
                if found:
                    return found
            names = sorted({name for name, _ in self._named.values()})
        several = f' and {len(names) - MOST_NAMED} more' if len(names) > MOST_NAMED else ''
        raise UnknownPersonError(
            f'{brief(repr(person))}: nobody was predicted by that name or number in this run '
            f'(predicted were: {brief(", ".join(names[:MOST_NAMED])) or "nobody"}{several}); '
            'people of former runs have no names left: ~/forget forgets everybody'
        )

    def drop(self, tracks: set[int]) -> None:
        """Forget the names of forgotten people; those who are present are noted again."""
        with self._lock:
            for track in tracks:
                self._words.pop(track, None)
                self._named.pop(track, None)


def _numbered(number: int | str) -> str:
    # No name of a tracker begins like this, so numbers and names stay apart.
    return f'\0{number}'
