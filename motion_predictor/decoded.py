"""What every input becomes, whatever its messages: one neutral record of one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_predictor.errors import MotionPredictorError


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
