# SPDX-License-Identifier: Apache-2.0
"""Names of people: read from the names of frames and markers, or given by the nearest position."""

from __future__ import annotations

from collections.abc import Sequence
import re

import numpy as np

from motion_predictor.errors import ConfigError
from motion_predictor.sources.observation import MAX_FRAME_NAME, MAX_PEOPLE

NAME_PATTERN = '{joint}_{person}'
"""The pattern of frame names in ROS4HRI (REP-155)."""
NEAREST_M = 0.6
"""A person without an id gets the name of whoever was last seen within this distance, in metres,
"""
NEAREST_S = 1.0
"""and no longer ago than this, in seconds."""
MAX_NAMES = 10_000
"""Number of names that a pattern remembers before it forgets them all and begins again."""


def require_pattern(pattern: str) -> None:
    """
    Check that a pattern can tell which joint a name means.

    :raises ConfigError: if it cannot.
    """
    if pattern.count('{joint}') != 1 or pattern.count('{person}') > 1:
        raise ConfigError(
            f'input.pattern={pattern!r}: must have {{joint}} once and {{person}} at most once, '
            f'such as {NAME_PATTERN!r}'
        )


class NamePattern:
    """
    Reads the person and the joint from the name of a frame, a marker or a rigid body.

    ``{joint}`` stands for a joint of the layout, ``{person}`` for at least one character without a
    slash. Without ``{person}`` there is one person, named '0'.
    """

    def __init__(self, pattern: str, joints: Sequence[str]) -> None:
        """
        Make a pattern.

        :param pattern: for example '{joint}_{person}'.
        :param joints: names of the layout's joints, (J_src,).
        :raises ConfigError: if the pattern cannot tell which joint a name means.
        """
        require_pattern(pattern)
        longest_first = sorted(joints, key=len, reverse=True)
        parts = {
            '{joint}': f'(?P<joint>{"|".join(re.escape(joint) for joint in longest_first)})',
            '{person}': r'(?P<person>[^/]+?)',
        }
        pieces = re.split(r'(\{joint\}|\{person\})', pattern)
        self._expression = re.compile(''.join(parts.get(p, re.escape(p)) for p in pieces))
        self._index = {joint: number for number, joint in enumerate(joints)}
        self._read: dict[str, tuple[str, int] | None] = {}

    def read(self, name: str) -> tuple[str, int] | None:
        """Return the person and the joint's index; None if the name does not fit the pattern."""
        if len(name) > MAX_FRAME_NAME:
            return None
        if name not in self._read:
            if len(self._read) >= MAX_NAMES:
                self._read.clear()
            found = self._expression.fullmatch(name)
            self._read[name] = found and (
                found.groupdict().get('person', '0'),
                self._index[found['joint']],
            )
        return self._read[name]


class NearestNames:
    """Names people whose tracker gives no ids: the nearest earlier person is the same person."""

    def __init__(self) -> None:
        """Begin without people."""
        self._seen: dict[int, tuple[int, np.ndarray]] = {}  # number: stamp, place
        self._next = 0

    def name(self, stamp_ns: int, places: Sequence[np.ndarray]) -> list[str]:
        """
        Name every person of one message.

        :param stamp_ns: stamp of the message.
        :param places: position of each person, (3,) metres.
        :returns: one name per person; whoever is near an earlier position keeps that name.
        """
        recent = {
            number: place
            for number, (seen_ns, place) in self._seen.items()
            if abs(stamp_ns - seen_ns) <= NEAREST_S * 1e9
        }
        numbers = list(recent)
        here = np.array(places, dtype=np.float64).reshape(-1, 1, 3)
        there = np.array([*recent.values()], dtype=np.float64).reshape(1, -1, 3)
        apart = np.linalg.norm(here - there, axis=-1)  # (people, names)
        near = np.argwhere(apart <= NEAREST_M)
        chosen: dict[int, int] = {}
        taken: set[int] = set()
        for place in np.lexsort((near[:, 1], near[:, 0], apart[tuple(near.T)])):
            index, number = int(near[place, 0]), numbers[near[place, 1]]
            if index not in chosen and number not in taken:
                chosen[index] = number
                taken.add(number)
        for index in range(len(places)):
            if index not in chosen:
                chosen[index] = self._next
                self._next += 1
        latest = sorted(recent, key=lambda number: self._seen[number][0])[-MAX_PEOPLE:]
        kept = {number: self._seen[number] for number in latest}
        self._seen = kept | {chosen[i]: (stamp_ns, place) for i, place in enumerate(places)}
        return [f'untracked/{chosen[index]}' for index in range(len(places))]
