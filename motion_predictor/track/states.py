# SPDX-License-Identifier: Apache-2.0
"""The states of people: predicted, seen only, or lost; and the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from motion_predictor.track.window import NotReady

_MAX_QUOTED = 40


class PersonState(Enum):
    """What is known about a person's future."""

    PREDICTED = 'predicted'
    SEEN = 'seen only'
    """The tracker shows the person, but the model does not predict them."""
    LOST = 'lost'
    """The tracker no longer shows the person, who is not forgotten yet."""


class Excluded(Enum):
    """Why a person with a history is not predicted, in addition to :class:`NotReady`."""

    NOT_SEEN_LATELY = 'not_seen_lately'
    """Others have been seen since, for longer than a gap may last."""
    TOO_MANY_PERSONS = 'too_many_persons'
    """``max_persons`` other people are nearer to the reference point."""
    SOURCE_BEHIND = 'source_behind'
    """Another source's stamps are ahead by more than a gap may last: one of the two clocks is
    wrong."""
    STAMPED_AHEAD = 'stamped_ahead'
    """The person is stamped ahead of everybody else by more than a gap may last."""
    WINDOW_FAILED = 'window_failed'
    """The observations cannot be resampled."""
    NOT_FINITE = 'not_finite'
    """The model's output was NaN or infinite."""
    PREDICTION_FAILED = 'prediction_failed'
    """The model could not be run."""


class Refusal(Enum):
    """Why a message's data on a person did not become part of the history."""

    NO_JOINTS = 'no_joints'
    NO_BODY = 'no_body'
    MALFORMED = 'malformed'
    FAR_FUTURE = 'far_future'
    TOO_LATE = 'too_late'
    ELSEWHERE = 'elsewhere'
    FROZEN = 'frozen'
    CROWDED_OUT = 'crowded_out'
    OTHER_FRAME = 'other_frame'
    NO_TRANSFORM = 'no_transform'
    FAILED = 'failed'


Reason = NotReady | Excluded | Refusal

_WORDS: Mapping[Reason, str] = {
    NotReady.NO_POSES: 'has just appeared',
    NotReady.TOO_FEW_POSES: 'has just appeared',
    NotReady.TOO_SHORT: 'has just appeared: seen for less than min_observed_s',
    NotReady.GAP_TOO_LONG: 'was out of sight, and seen for less than min_observed_s since',
    NotReady.JOINT_MISSING: 'joints were missing, and not seen for min_observed_s since',
    NotReady.SOURCE_TOO_SLOW: 'comes too seldom to tell a motion',
    Excluded.NOT_SEEN_LATELY: 'is no longer shown',
    Excluded.TOO_MANY_PERSONS: 'is farther away than max_persons others',
    Excluded.SOURCE_BEHIND: "its stamps are behind another topic's: synchronize their clocks",
    Excluded.STAMPED_AHEAD: 'is stamped ahead of everybody else: check its clock',
    Excluded.WINDOW_FAILED: 'what was observed cannot be resampled',
    Excluded.NOT_FINITE: 'the model gave NaN or infinity: check the weights and the device',
    Excluded.PREDICTION_FAILED: 'the model failed: see the log',
    Refusal.NO_JOINTS: 'has no joint in space',
    Refusal.NO_BODY: 'has too few joints that belong to one body',
    Refusal.MALFORMED: 'is malformed',
    Refusal.FAR_FUTURE: "is stamped ahead of the node's clock by more than max_future_s",
    Refusal.TOO_LATE: 'is stamped long before what is known already',
    Refusal.ELSEWHERE: 'leaps farther than anybody moves',
    Refusal.FROZEN: 'is shown in the same pose to the bit: does the tracker still run?',
    Refusal.CROWDED_OUT: 'is farther away than all who are followed: raise max_persons',
    Refusal.OTHER_FRAME: "is in another topic's frame: set target_frame",
    Refusal.NO_TRANSFORM: 'has no transform into target_frame',
    Refusal.FAILED: 'could not be read: see the log',
}


@dataclass(frozen=True)
class OtherPerson:
    """
    A person who is not predicted.

    ``pose`` is float64 (J, 3), metres, in the frame of the snapshot. Every joint lies at a
    position that was measured last: its own, or, for a joint that was not seen, that of the
    nearest seen joint. It is None if the person's position is not known.
    """

    state: PersonState
    reason: Reason
    stamp_ns: int
    pose: np.ndarray | None = None
    joints: tuple[str, ...] = ()
    """Needed joints that were not seen."""
    detail: str = ''
    """Words to use instead of those of the reason."""

    @property
    def words(self) -> str:
        """Return in words why the person is not predicted."""
        return self.detail or _WORDS[self.reason]


@dataclass(frozen=True)
class HalfSeen:
    """The joints of a predicted person that were not seen and are completed."""

    joints: tuple[str, ...]
    """Names of the joints."""
    words: str
    """The joints, and for how long they have not been seen."""


def short(name: str) -> str:
    """Return a name from outside, cut to a readable length."""
    return name if len(name) <= _MAX_QUOTED else f'{name[:_MAX_QUOTED]}...'


def sentence(others: Mapping[str, OtherPerson], most: int = 6) -> str:
    """
    Return in words who is seen but not predicted, and why; '' if there is nobody.

    :param others: the people by name.
    :param most: greatest number of names; the other people are counted.
    """
    seen = {name: other for name, other in others.items() if other.state is PersonState.SEEN}
    if not seen:
        return ''
    named = [f'{short(name)} ({other.words})' for name, other in list(seen.items())[:most]]
    more = f' and {len(seen) - most} more' if len(seen) > most else ''
    return f'seen and not predicted: {", ".join(named)}{more}'
