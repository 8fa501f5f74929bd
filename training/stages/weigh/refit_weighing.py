# SPDX-License-Identifier: Apache-2.0
"""Fit the weighing of a fine-tuned model on the recordings that it has not learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.place.following import RARE_LEVEL
from motion_predictor.predict.predictor import Predictor
from training.data.clips import Clip
from training.stages.weigh.fit_gate import fit_gate, GateFit
from training.stages.weigh.fit_radius import tell_part
from training.stages.weigh.weighing_data import play_clips, PLAYS

FEWEST = 100
"""Least number of moments; with fewer, gate and radii stay those of the original weights."""
STEPS, RATE = 100, 2e-3
"""A short fit from the original gate, which has seen many more people."""


def refit(
    student: MotionModel,
    weighing: WeighingWeights | None,
    clips: Sequence[NDArray[np.float32]],
    samples: int = 50,
) -> tuple[WeighingWeights | None, int]:
    """
    Continue from the original's gate, and calibrate its radii.

    :param student: the fine-tuned model.
    :param weighing: weighing of the weights that it began from; None: there is none to continue
        from.
    :param clips: clips that the student has not learnt from, at the model's rate, metres ``(T, J,
        3)`` each.
    :param samples: samples of the model.
    :returns: the weighing to write with the student, and the number of moments that it was fitted
        on: 0 if there were fewer than FEWEST and the original's is kept.
    """
    if weighing is None or weighing.gate is None:
        return weighing, 0
    rate_hz = student.config.window.rate_hz
    predictor = Predictor(student, {}, device='cpu')
    named = [Clip(str(i), 'own', 'own', clip, rate_hz) for i, clip in enumerate(clips)]
    played = [
        play_clips(predictor, weighing.basis, named, 'own', number, PLAYS[number], samples)
        for number in (0, 2, 3)
    ]
    parts = [part for part in played if part is not None]
    moments = len(parts[0]) if parts else 0
    if moments < FEWEST:
        return weighing, 0
    gate = fit_gate(parts, GateFit(steps=STEPS, rate=RATE), start=weighing.gate)
    radius = weighing.radius
    if radius is not None:
        told = tell_part(parts[0], gate, student.skeleton, rate_hz)
        radii = radius.radii(told.told, parts[0].jitter)  # (L, N, K, J)
        shares = [np.quantile(told.off / of, level) for of, level in zip(radii, radius.levels)]
        # a short recording says nothing about rare events
        most = [
            s if level < RARE_LEVEL else max(s, 1.0) for s, level in zip(shares, radius.levels)
        ]
        factor = np.array(most, dtype=np.float32)[:, None] * radius.factor
        radius = replace(radius, factor=factor.astype(np.float32))
    facts = {**weighing.facts, 'refitted_on_own_moments': moments}
    return replace(weighing, gate=gate, radius=radius, facts=facts), moments
