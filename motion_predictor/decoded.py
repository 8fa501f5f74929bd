"""What every input becomes, whatever its messages: one neutral record of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motion_predictor.errors import MotionPredictorError

MAX_POINTS = 100_000
MAX_PEOPLE = 256
MAX_NAME = 128


class MessageError(MotionPredictorError, ValueError):
    """A message does not have the form that the configured input expects."""


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
    """Get stamp and frame of an input message; 0 and empty where it has none."""
    header = getattr(message, 'header', None)
    return (0, '') if header is None else (stamp_to_ns(header.stamp), header.frame_id)


def require_plausible(people: Sequence[DecodedPerson]) -> None:
    """
    Refuse what no tracker sends, and what would only take time and memory.

    :raises MessageError: if there are too many people in one message, or names are too long.
    """
    if len(people) > MAX_PEOPLE:
        raise MessageError(f'{len(people)} people: one message holds {MAX_PEOPLE} at most')
    for person in people:
        if len(person.person) > MAX_NAME:
            raise MessageError(
                f'a person named {person.person[:20]}...: {len(person.person)} characters; at '
                f'most {MAX_NAME}'
            )


def require_blocks(what: str, count: int, joints: int) -> None:
    """
    Check that a message holds whole people.

    :param what: what is counted, for the error.
    :param count: how many there are.
    :param joints: of one person.
    :raises MessageError: if there are too many, or they are no multiple of the joints.
    """
    if count > MAX_POINTS:
        raise MessageError(f'{count} {what}: one message holds {MAX_POINTS} at most')
    if count % joints:
        raise MessageError(
            f'{what}: expected a multiple of {joints}, the joints of the layout, got {count}'
        )
