"""Whose moments are whose: the names and numbers that everybody of this run went by. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import threading

from motion_predictor.common.files import brief
from motion_predictor.errors import MotionPredictorError

MOST_TRACKS = 2048
"""Beyond so many those of whom nothing is remembered are dropped."""
MOST_NAMED = 12


class UnknownPersonError(MotionPredictorError):
    """Nobody went by that name or number in this run; the message says who did."""


class KnownPeople:
    """
    Finds the histories of somebody by a name or number that they ever had in this run.

    Whoever goes on under another id is one person, with both names; two people to whom a tracker
    gave one id after the other share it. Methods may be called by any thread.
    """

    def __init__(self, remembered: Callable[[], set[int]]) -> None:
        """
        Know nobody.

        :param remembered: returns the histories of whom anything is remembered.
        """
        self._remembered = remembered
        self._words: dict[int, set[str]] = {}
        self._named: dict[int, tuple[str, int | None]] = {}
        self._most = MOST_TRACKS
        self._lock = threading.Lock()

    def note(self, tracks: Mapping[str, int], numbers: Mapping[str, int]) -> None:
        """
        Take in who is who now.

        :param tracks: number of each person's history, by the person's name.
        :param numbers: of people in the outputs, by their name.
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
        Return the histories of somebody.

        :param person: a name as in ~/people, or, where nobody has it for a name, a number.
        :raises UnknownPersonError: if nobody in this run went by it.
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
        """Forget the names of those who are forgotten; of whoever is here they are noted anew."""
        with self._lock:
            for track in tracks:
                self._words.pop(track, None)
                self._named.pop(track, None)


def _numbered(number: int | str) -> str:
    # No name of a tracker begins like this: numbers and names are kept apart.
    return f'\0{number}'
