"""What every input becomes, whatever its messages: one neutral record of one person."""

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
"""Characters of a frame_id; a longer one is refused."""


@dataclass(frozen=True)
class DecodedPerson:
    """
    One person of one input message, in the joints and units of the sender.

    ``stamp_ns`` is 0 where the message has none, ``frame_id`` empty likewise. ``xyz`` is float64
    (J_in, 3), NaN for joints that were not sent; ``confidence`` float64 (J_in,), NaN = unknown.
    """

    stamp_ns: int
    frame_id: str
    person: str
    xyz: np.ndarray
    confidence: np.ndarray
    flaw: str = ''
    """Why this person cannot be used, though others of the message can."""
    identified: bool = True
    """Whether the sender says who it is; else ``person`` is only a place in the message."""


@dataclass(frozen=True)
class Observation:
    """
    One person as one message shows them, in whatever order the publisher's joints have.

    ``xyz`` (J, 3) metres in ``frame_id``; ``confidence`` (J,), NaN where there is none, or None.
    """

    stamp_ns: int
    frame_id: str
    person: str
    xyz: np.ndarray
    confidence: np.ndarray | None = None
    seen: np.ndarray | None = None
    """
    Which joints are really shown, bool (J,), told once where a message is decoded; all of these
    are finite. None: those of ``xyz`` that are finite, and not at (0, 0, 0) where that is a void.
    """
    source: str = ''
    """Where it came from: the stamps of one source are of one clock, those of others may not."""
    identified: bool = True
    """Whether the tracker says who it is; else ``person`` is only a place in the message."""


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What the decoders must know: joints of the sender's layout, names of cloud fields."""

    joints: int
    person_field: str = 'person'
    joint_field: str = 'joint'
    confidence_field: str = 'confidence'


def stamp_to_ns(stamp: Any) -> int:
    """Convert a message's stamp to integer nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def message_header(message: Any) -> tuple[int, str]:
    """Get stamp and frame of an input message; 0 and empty where it has none that can be used."""
    header = getattr(message, 'header', None)
    if header is None:
        return 0, ''
    frame_id = str(header.frame_id)
    return stamp_to_ns(header.stamp), frame_id if len(frame_id) <= MAX_FRAME_NAME else ''


def plausible(people: Sequence[DecodedPerson]) -> tuple[list[DecodedPerson], list[str]]:
    """
    Take out people whom no tracker sends; they cost nobody else a prediction.

    :returns: the others, and why each of those was taken out.
    :raises MessageError: if there are too many people in one message, or nobody is left.
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
    Find those whom :func:`plausible` takes out: they are there all the same.

    :returns: each with their flaw, and with names that are not too long.
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
    Check that a message does not hold absurdly many people.

    :raises MessageError: if it does.
    """
    if count > MAX_PEOPLE:
        raise MessageError(f'{count} people: one message holds {MAX_PEOPLE} at most')


def require_somebody(people: Sequence[DecodedPerson]) -> None:
    """
    Check that somebody is without a flaw, where there is anybody.

    :raises MessageError: with the first flaw.
    """
    if people and all(person.flaw for person in people):
        raise MessageError(people[0].flaw)


def require_count(what: str, count: int) -> None:
    """
    Check that a message does not hold absurdly many things.

    :param what: what is counted, for the error.
    :raises MessageError: if it does.
    """
    if count > MAX_POINTS:
        raise MessageError(f'{count} {what}: one message holds {MAX_POINTS} at most')


def require_blocks(what: str, count: int, joints: int) -> None:
    """
    Check that a message holds whole people.

    :param what: what is counted, for the error.
    :param count: how many there are.
    :param joints: of one person.
    :raises MessageError: if there are too many, or they are no multiple of the joints.
    """
    require_count(what, count)
    require_people(count // joints)
    if count % joints:
        raise MessageError(
            f'{what}: expected a multiple of {joints}, the joints of the layout, got {count}'
        )
