# SPDX-License-Identifier: Apache-2.0
"""The parts of a mixture's training: their order, what learns, and by which terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from motion_predictor.model.config import DenoiserConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import CodedExperts
from training.engine.config import MoeConfig
from training.stages.mixture.nearest import Nearest, NearestExpert
from training.stages.mixture.start import experts_of, LOW_RANK, POINTS, with_fresh
from training.stages.mixture.terms import (
    likelihood_config,
    points_config,
    together_config,
    vdd_config,
)
from training.stages.mixture.vdd import Batches, ScoreTeacher, VddConfig
from training.stages.mixture.vdd_training import distil

LEARNERS = ('everything', 'covariances', 'points')


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the training; it begins from the result of the part before."""

    name: str
    """Title of the progress bar."""
    folder: str
    """Folder of its checkpoint, below the stage's."""
    terms: VddConfig
    """Number of steps, learning rate, and the weight of each term."""
    nearest: Nearest | None = None
    """The nearest expert's term, in addition to those."""
    learns: str = 'everything'
    """One of LEARNERS; the gate learns too, unless only the points do."""
    size: DenoiserConfig
    """Size of the network in this part."""
    fresh: str = ''
    """The part of the network that is replaced by a fresh one: LOW_RANK, POINTS, or ''."""
    seed: int
    """Number added to the chain's seed."""


def parts_of(
    config: MoeConfig, whole: DenoiserConfig, switches: Mapping[str, Any] | None = None
) -> list[Part]:
    """
    Return the parts of a mixture's training in order.

    :param config: settings of the mixture.
    :param whole: final size of the mixture's network.
    :param switches: settings of VDD, if those of a study differ.
    :returns: at least one part, unless the settings have no steps; the folder of the last part is
        the stage's own.
    """
    pulled = config.best > 0.0 and config.method in ('vdd', 'winner')
    if not pulled:  # nothing would train the points
        whole = replace(whole, points_width=0)
    parts = [
        *_first_parts(config, whole, pulled, switches),
        *_last_parts(config, whole, pulled, switches),
    ]
    wanted = [part for part in parts if part.terms.steps]
    return [*wanted[:-1], *(replace(part, folder='') for part in wanted[-1:])]


def _first_parts(
    config: MoeConfig, whole: DenoiserConfig, pulled: bool, switches: Mapping[str, Any] | None
) -> list[Part]:
    """Return the parts in which the means learn, with the same covariances for all histories."""
    size = whole
    if config.covariance_last:
        size = replace(whole, rank=config.plain_rank, loading_width=0, points_width=0)
    nearest = Nearest(best=config.best, end=config.best_end, fade=config.best_fade)
    return [
        Part(
            name='likelihood first',
            folder='first',
            terms=likelihood_config(config, config.likelihood_first, switches),
            size=size,
            seed=3,
        ),
        Part(
            name=config.method,
            folder='means',
            terms=vdd_config(config, switches),
            nearest=nearest if pulled else None,
            size=size,
            seed=3,
        ),
    ]


def _last_parts(
    config: MoeConfig, whole: DenoiserConfig, pulled: bool, switches: Mapping[str, Any] | None
) -> list[Part]:
    """Return the parts in which the covariances, everything, and the points learn."""
    nearest = Nearest(
        best=config.together_best, end=config.together_best_end, fade=config.together_fade
    )
    points = whole.points_width > 0
    parts = [
        Part(
            name='covariances',
            folder='covariances',
            terms=likelihood_config(config, config.covariance_last, switches),
            learns='covariances',
            size=replace(whole, points_width=0),
            fresh=LOW_RANK,
            seed=5,
        ),
        Part(
            name='together',
            folder='together',
            terms=together_config(config, switches),
            nearest=nearest if pulled else None,
            size=whole,
            fresh=POINTS if points and config.covariance_last else '',
            seed=7,
        ),
        Part(
            name='points',
            folder='points',
            terms=points_config(config, switches),
            nearest=nearest,
            learns='points',
            size=whole,
            seed=11,
        ),
    ]
    return parts if points and config.together_last else parts[:2]


def fit_part(
    part: Part,
    student: MotionModel,
    score: ScoreTeacher | None,
    batches: Batches,
    folder: Path,
    seed: int,
    before: Sequence[Part] = (),
) -> MotionModel:
    """
    Train one part, continuing from its checkpoint if there is one.

    :param part: the part.
    :param student: the student after the part before; it is changed, or replaced by one of another
        size.
    :param score: the teacher's score, for parts with terms that use it.
    :param batches: gives each step's windows and samples.
    :param folder: folder of the stage.
    :param seed: seed of the chain.
    :param before: the parts before it; it begins again if one of them has taken more steps.
    :returns: the student after this part.
    """
    if part.fresh:
        torch.manual_seed(seed + part.seed)
        student = with_fresh(part.fresh, student, part.size)
    experts = experts_of(student)
    experts.network = distil(
        experts.network,
        score if part.terms.reverse > 0.0 else None,
        batches,
        part.terms,
        seed=seed + part.seed,
        folder=folder / part.folder,
        key='; '.join(f'{earlier.terms.steps} of {earlier.name}' for earlier in before),
        further=NearestExpert(part.nearest, student) if part.nearest else None,
        trained=_learners(experts.network, part.learns),
        title=part.name,
    )
    return student


def _learners(network: CodedExperts, learns: str) -> Sequence[nn.Parameter] | None:
    """Enable gradients for what learns; return it, None for all experts' parameters."""
    network.requires_grad_(learns != 'points')
    if learns == 'covariances':
        return network.covariance_parameters()
    if learns == 'points':
        points = network.points_parameters()
        for parameter in points:
            parameter.requires_grad_(True)
        return points
    return None
