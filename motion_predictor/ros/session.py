# SPDX-License-Identifier: Apache-2.0
"""The state of one configured node: the model, the input and the people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.body.layout import Layout
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.diagnostics.monitoring import Counts
from motion_predictor.ros.intake.inputs import Input
from motion_predictor.ros.intake.transforms import FrameTransforms
from motion_predictor.ros.memory.remembering import make_place, Remembering
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.numbers import PersonNumbers
from motion_predictor.sources.tf.frame_motion import FrameMotion
from motion_predictor.track.checks.body_checks import BodyChecks
from motion_predictor.track.limits import HistoryLimits, PeopleLimits


@dataclass
class Session:
    """What configure makes and clean-up releases; intake, worker and outputs share it."""

    predictor: Predictor
    online: LivePredictor
    input: Input
    scale: float
    """Metres per unit of the input."""
    turn: np.ndarray | None
    """Rotation (3, 3) from the input to a level frame; None if the input is level."""
    transforms: FrameTransforms | None
    frame_motion: FrameMotion
    """Motion of the target frame in the root of TF."""
    checks: BodyChecks
    numbers: PersonNumbers = field(default_factory=PersonNumbers)
    lost_device: str = ''
    """Why the device that the model was loaded to had to be left."""
    tracks: Mapping[str, int] = field(default_factory=dict)
    """Number of each person's history in the latest prediction, by name."""
    remembering: Remembering | None = None

    def words(self, person: str) -> str:
        """Return in words what a person's prediction mostly comes from; '' if there is none."""
        if self.remembering is None or person not in self.tracks:
            return ''
        return self.remembering.place.words(self.tracks[person])

    def close(self, counts: Counts) -> None:
        """
        Release what would otherwise continue.

        :param counts: receives what this session has counted.
        """
        if self.transforms is not None:
            self.transforms.close()
        for name, count in self.online.counters.items():
            counts.add(name, count)
        for name, count in self.input.source.counters.items():
            counts.add(name, count)
        if self.remembering is not None:
            self.remembering.close()


def make_online(predictor: Predictor, source: Layout, settings: Settings) -> LivePredictor:
    """Return the people's histories with the limits from the parameters."""
    limits = PeopleLimits(
        history=HistoryLimits(
            max_joint_gap_s=settings.max_joint_gap_s,
            min_observed_s=settings.min_observed_s,
        ),
        min_confidence=settings.input.min_confidence,
        stale_timeout_s=settings.stale_timeout_s,
        max_future_s=settings.max_future_s,
        jump_back_s=settings.jump_back_s,
        reassociate_within_m=settings.reassociate_within_m,
        reassociate_within_s=settings.reassociate_within_s,
    )
    point = np.array(settings.reference_point_m)
    turn = input_turn(settings)
    x, y, z = (point if turn is None else turn @ point).tolist()
    return LivePredictor(
        predictor,
        limits,
        layout=source,
        max_persons=settings.max_persons,
        samples=settings.samples,
        seed=settings.seed,
        reference_point_m=(x, y, z),
        coverage=settings.moments.coverage,
        adapt=settings.moments.adapt,
        place=make_place(predictor, settings),
    )


def follow_settings(online: LivePredictor, settings: Settings) -> None:
    """Apply the parameters that take effect with the next prediction."""
    online.samples = settings.samples
    online.seed = settings.seed
    online.max_persons = settings.max_persons
    online.coverage = settings.moments.coverage
    online.adapt = settings.moments.adapt
    if online.place is not None:
        online.place.follow(settings.moments.adapt)


def input_turn(settings: Settings) -> np.ndarray | None:
    """Return the matrix (3, 3) that makes the input level; None if it is level."""
    rotation = settings.input.rotation
    return rotation_matrix(rotation) if any(rotation[:3]) else None
