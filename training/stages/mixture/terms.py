# SPDX-License-Identifier: Apache-2.0
"""Weights of VDD's terms in each part of a mixture's training, and the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from training.engine.config import MoeConfig
from training.stages.mixture.vdd import VddConfig

RATE = 2e-3
"""Adam's rate in the main parts; it falls linearly to zero."""
LATE_RATE = 4e-4
"""Adam's rate in the last steps, which must not lose what was learnt before."""
TEMPERATURE = 30.0
"""Temperature of the responsibilities at the start: in over a hundred dimensions they are
otherwise one-hot."""
LEAST_REAL = 0.1
"""Least weight of the recordings' likelihood with winner-takes-all: its gate learns by it."""


def vdd_config(config: MoeConfig, switches: Mapping[str, Any] | None = None) -> VddConfig:
    """
    Return the training settings of a method; the controls are VDD without its score.

    The score is computed for noised samples in a band that falls, and the entropy is estimated at
    the samples. Without both, the bound's gradient is noise where the student is near the teacher.

    :param config: settings of the mixture.
    :param switches: settings of a study, by name.
    """
    weights = config.vdd
    vdd = VddConfig(
        steps=weights.steps,
        samples=weights.samples,
        experts_a_step=weights.experts_a_step,
        conditions_a_step=weights.conditions_a_step,
        save_every=weights.save_every,
        reverse=weights.reverse,
        forward=weights.forward,
        forward_end=weights.forward_end,
        real=weights.real,
        learning_rate=RATE,
        noised=True,
        path_gradient=True,
        low_begin=0.3,
        high_begin=0.6,
        low_end=0.1,
        high_end=0.3,
        anneal=0.5,
        temperature=TEMPERATURE,
        clip_norm=30.0,
        ema=0.998,
    )
    vdd = replace(vdd, **(switches or {}))
    if config.method == 'vdd':
        return vdd
    if config.method == 'em_teacher':
        return replace(vdd, reverse=0.0, warm=1.0, real=0.0)
    alone = replace(vdd, reverse=0.0, warm=0.0, forward=0.0, forward_end=0.0)
    if config.method == 'em_data':
        return replace(alone, real=1.0)
    return replace(alone, winner=True, real=max(vdd.real, LEAST_REAL))


def likelihood_config(
    config: MoeConfig, steps: int, switches: Mapping[str, Any] | None = None
) -> VddConfig:
    """Return the settings of maximum likelihood on the values that a method may use."""
    method = 'em_teacher' if config.method == 'em_teacher' else 'em_data'
    return replace(vdd_config(replace(config, method=method), switches), steps=steps)


def together_config(config: MoeConfig, switches: Mapping[str, Any] | None = None) -> VddConfig:
    """Return the settings of the last ``together_last`` steps."""
    return replace(
        vdd_config(config, switches),
        steps=config.together_last,
        learning_rate=LATE_RATE,
        temperature=1.0,
    )


def points_config(config: MoeConfig, switches: Mapping[str, Any] | None = None) -> VddConfig:
    """Return the settings of the points' own steps: only the nearest expert's term."""
    return replace(
        likelihood_config(config, config.points_last, switches), gate='uniform', real=0.0
    )
