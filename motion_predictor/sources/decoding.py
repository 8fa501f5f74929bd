# SPDX-License-Identifier: Apache-2.0
"""Decode one message into the people that it shows, for the node and for bags alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from motion_predictor.body.layout import FLOAT32_MOST, joints_there, Layout
from motion_predictor.sources.observation import (
    DecodedPerson,
    flawed_people,
    Observation,
    plausible,
)
from motion_predictor.sources.source import Source

_MAX_SHOWN = 40


@dataclass(frozen=True)
class Decoded:
    """The content of one message."""

    people: list[Observation]
    """The people whose poses can be used."""
    flawed: list[DecodedPerson]
    """The people who are present but whose poses cannot be used, each with the flaw."""
    counts: Mapping[str, int]
    """Number of missing joints of ``people`` by reason; empty if none is missing."""
    beyond: str = ''
    """The first coordinate that float32 cannot hold, in words; '' if there is none."""


class Decoder:
    """
    Reads the messages of a source and decides, once, which joints of each person are seen.

    A joint is seen if it is not NaN, not the void at (0, 0, 0), and within float32. All later code
    reads this decision from :attr:`motion_predictor.sources.observation.Observation.seen`.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        """
        Make a decoder.

        :param source: reads the fields of the messages.
        :param layout: the joints of the source.
        """
        self.source = source
        self._layout = layout

    def decode(self, topic: str, message: Any, received_ns: int) -> Decoded | None:
        """
        Read one message.

        :param topic: the topic that it came on.
        :param message: an object with the fields of the source's message.
        :param received_ns: the node's clock when the message came, nanoseconds.
        :returns: the people that it shows; None if the message does not say who is present.
        :raises MessageError: if it cannot be read, or if nobody in it can be used.
        """
        people = self.source.decode(topic, message, received_ns)
        if people is None:
            return None
        if not people:
            return Decoded([], [], {})
        flawed = flawed_people(people)
        if flawed:
            people, _ = plausible(people)
        counts: dict[str, int] = {}
        beyond = ''
        observed = []
        for person in people:
            seen = joints_there(person.xyz, self._layout.target)
            if not seen.all():
                finite = np.isfinite(person.xyz).all(axis=1)
                too_far = finite & (np.abs(person.xyz) > FLOAT32_MOST).any(axis=1)
                _count(counts, finite, finite & ~seen & ~too_far, too_far)
                if too_far.any():
                    beyond = beyond or self._in_words(person, too_far)
            observed.append(
                Observation(
                    person.stamp_ns, person.frame_id, person.person, person.xyz,
                    person.confidence, seen, topic, person.identified,
                )
            )  # fmt: skip
        return Decoded(observed, flawed, counts, beyond)

    def _in_words(self, person: DecodedPerson, beyond: np.ndarray) -> str:
        joint = int(beyond.argmax())
        value = person.xyz[joint][np.abs(person.xyz[joint]).argmax()]
        return (
            f'person {person.person[:_MAX_SHOWN]!r}: joint {self._layout.joints[joint]} at '
            f'{value:.3g}, which float32 cannot hold: taken as missing; is this the right field, '
            'and are these metres?'
        )


def _count(
    counts: dict[str, int], finite: np.ndarray, at_origin: np.ndarray, too_far: np.ndarray
) -> None:
    missing = {
        'joints_not_finite': int((~finite).sum()),
        'joints_at_origin': int(at_origin.sum()),
        'joints_beyond_float32': int(too_far.sum()),
    }
    for what, number in missing.items():
        counts[what] = counts.get(what, 0) + number
