# SPDX-License-Identifier: Apache-2.0
"""Outputs about everybody who is seen: ~/people, and the points of people without a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
from typing import Any

import numpy as np
from std_msgs.msg import String

from motion_predictor.track.states import HalfSeen, OtherPerson, PersonState, sentence, short

MOST_NAMED = 32
"""Number of people whom the diagnostics list one by one."""


@dataclass(frozen=True)
class PeopleReport:
    """Everybody whom the node knows at one instant; it is replaced, never changed."""

    stamp_ns: int = 0
    frame_id: str = ''
    predicted: tuple[str, ...] = ()
    others: Mapping[str, OtherPerson] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Number of everybody, by name."""
    nobody: bool = False
    """Whether every source says that nobody is present."""
    half_seen: Mapping[str, HalfSeen] = field(default_factory=dict)
    """Predicted people of whom joints were not seen and are completed."""

    @property
    def people(self) -> list[dict[str, Any]]:
        """Return what ~/people lists: everybody, those who are predicted first."""
        predicted = [
            {
                'number': self.numbers[name],
                'name': name,
                'state': PersonState.PREDICTED.value,
                'joints': list(self.half_seen[name].joints) if name in self.half_seen else [],
            }
            for name in self.predicted
        ]
        return predicted + [
            {
                'number': self.numbers[name],
                'name': name,
                'state': other.state.value,
                'reason': other.reason.value,
                'joints': list(other.joints),
                'placed': other.pose is not None,
            }
            for name, other in self.others.items()
        ]

    @property
    def complaint(self) -> str:
        """Return in words who is seen but not predicted, and why; '' if there is nobody."""
        return sentence(self.others)

    @property
    def values(self) -> dict[str, str]:
        """Return what the diagnostics say about each person."""
        said = {f'person {short(name)}': PersonState.PREDICTED.value for name in self.predicted}
        for name, half in self.half_seen.items():
            said[f'person {short(name)}'] = f'{PersonState.PREDICTED.value}; {half.words}'
        for name, other in self.others.items():
            said[f'person {short(name)}'] = f'{other.state.value}: {other.words}'
        return dict(list(said.items())[:MOST_NAMED])


class PeoplePublisher:
    """Publishes ~/people whenever a person's state changes."""

    def __init__(self, publisher: Any) -> None:
        """
        Begin without a message.

        :param publisher: publisher of ``std_msgs/msg/String``, which keeps the last message for
            late joiners.
        """
        self._publisher = publisher
        self._said: list[dict[str, Any]] | None = None

    def publish(self, report: PeopleReport) -> None:
        """Publish the people, if the message differs from the last one."""
        people = report.people
        if people == self._said:
            return
        self._said = people
        content = {'stamp_ns': report.stamp_ns, 'frame_id': report.frame_id, 'people': people}
        self._publisher.publish(String(data=json.dumps(content)))


def places(others: Mapping[str, OtherPerson], turn: np.ndarray | None) -> list[np.ndarray]:
    """
    Return the pose of everybody who is not predicted and whose position is known.

    :param others: the people by name.
    :param turn: matrix (3, 3) that made the input level and is undone here; None for none.
    :returns: poses (J, 3), metres, in the output frame.
    """
    known = [other.pose for other in others.values() if other.pose is not None]
    return known if turn is None else [pose @ turn for pose in known]


def seen_points(poses: Sequence[np.ndarray], horizons: int) -> np.ndarray:
    """
    Return the points of people who are not predicted: their last position at every horizon.

    :param poses: one pose per person, metres, (J, 3).
    :param horizons: number of keyframes of ~/poses.
    :returns: metres, float64 (N, 3), ordered (person, horizon, joint).
    """
    if not poses:
        return np.zeros((0, 3))
    return np.concatenate([np.tile(np.asarray(pose, np.float64), (horizons, 1)) for pose in poses])
