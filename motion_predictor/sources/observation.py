# SPDX-License-Identifier: Apache-2.0
"""The neutral records of one person that every input is decoded into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motion_predictor.errors import MessageError

MAX_POINTS = 100_000
MAX_PEOPLE = 256
MAX_NAME = 128
MAX_FRAME_NAME = 256
"""Greatest number of characters in a frame_id; a longer one is refused."""


@dataclass(frozen=True)
class DecodedPerson:
    """
    One person of one input message, in the joints and units of the sender.

    ``stamp_ns`` is 0 and ``frame_id`` is empty if the message has none. ``xyz`` is float64 (J_in,
    3), with NaN for joints that were not sent. ``confidence`` is float64 (J_in,), with NaN where
    it is unknown.
    """

    stamp_ns: int
    frame_id: str
    person: str
    xyz: np.ndarray
    confidence: np.ndarray
    flaw: str = ''
    """Reason why this person cannot be used although others of the message can; '' if there is
    none."""
    identified: bool = True
    """Whether the sender gives this person an id. If not, ``person`` is only a position in the
    message."""


@dataclass(frozen=True)
class Observation:
    """
    One person of one message, with the joints in the publisher's order.

    ``xyz`` is (J, 3), metres, in ``frame_id``. ``confidence`` is (J,), with NaN where it is
    unknown, or None.
    """

    stamp_ns: int
    frame_id: str
    person: str
    xyz: np.ndarray
    confidence: np.ndarray | None = None
    seen: np.ndarray | None = None
    """Which joints are really shown, bool (J,), decided once when the message is decoded; all of
    these are finite. None: the joints that are finite in ``xyz`` and, where (0, 0, 0) means a
    missing joint, not there.
    """
    source: str = ''
    """The input that it came from. Stamps of one source come from one clock; those of two may not.
    """
    identified: bool = True
    """Whether the tracker gives this person an id. If not, ``person`` is only a position in the
    message."""


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What a decoder must know: the joints of the sender's layout and the fields of clouds."""

    joints: int
    person_field: str = 'person'
    joint_field: str = 'joint'
    confidence_field: str = 'confidence'


def stamp_to_ns(stamp: Any) -> int:
    """Convert a message's stamp to integer nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def message_header(message: Any) -> tuple[int, str]:
    """Return the stamp in nanoseconds and the frame of a message; 0 and '' if it has none."""
    header = getattr(message, 'header', None)
    if header is None:
        return 0, ''
    frame_id = str(header.frame_id)
    return stamp_to_ns(header.stamp), frame_id if len(frame_id) <= MAX_FRAME_NAME else ''


def plausible(people: Sequence[DecodedPerson]) -> tuple[list[DecodedPerson], list[str]]:
    """
    Separate people that no tracker would send, so that they cost nobody else a prediction.

    :returns: the other people, and the reason for each person who was removed.
    :raises MessageError: if one message has too many people, or if nobody is left.
    """
    require_people(len(people))
    kept, flaws = [], []
    for person in people:
        flaw = person.flaw or _implausible(person)
        if flaw:
            flaws.append(flaw)
        else:
            kept.append(person)
    if flaws and not kept:
        raise MessageError(flaws[0])
    return kept, flaws


def flawed_people(people: Sequence[DecodedPerson]) -> list[DecodedPerson]:
    """
    Return the people that :func:`plausible` removes; they are present all the same.

    :returns: each with the flaw, and with a name of bounded length.
    """
    return [
        replace(
            person,
            person=person.person[:MAX_NAME],
            frame_id=person.frame_id[:MAX_FRAME_NAME],
            flaw=flaw,
        )
        for person in people
        if (flaw := person.flaw or _implausible(person))
    ]


def _implausible(person: DecodedPerson) -> str:
    for what, name, longest in (
        ('a person named', person.person, MAX_NAME),
        ('a frame_id of', person.frame_id, MAX_FRAME_NAME),
    ):
        if len(name) > longest:
            return f'{what} {name[:20]}...: {len(name)} characters; at most {longest}'
    return ''


def require_people(count: int) -> None:
    """
    Check that a message does not hold too many people.

    :raises MessageError: if it does.
    """
    if count > MAX_PEOPLE:
        raise MessageError(f'{count} people: one message holds {MAX_PEOPLE} at most')


def require_somebody(people: Sequence[DecodedPerson]) -> None:
    """
    Check that at least one person has no flaw, unless there are no people.

    :raises MessageError: with the first flaw.
    """
    if people and all(person.flaw for person in people):
        raise MessageError(people[0].flaw)


def require_count(what: str, count: int) -> None:
    """
    Check that a message does not hold too many things.

    :param what: the things that are counted, for the error.
    :param count: their number.
    :raises MessageError: if there are too many.
    """
    if count > MAX_POINTS:
        raise MessageError(f'{count} {what}: one message holds {MAX_POINTS} at most')


def require_blocks(what: str, count: int, joints: int) -> None:
    """
    Check that a message holds whole people.

    :param what: the things that are counted, for the error.
    :param count: their number.
    :param joints: number of joints of one person.
    :raises MessageError: if there are too many, or if the number is no multiple of ``joints``.
    """
    require_count(what, count)
    require_people(count // joints)
    if count % joints:
        raise MessageError(
            f'{what}: expected a multiple of {joints}, the joints of the layout, got {count}'
        )
