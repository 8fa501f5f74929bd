"""The parts of a mixture's training: in which order, what learns, and by which terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from motion_predictor.model.config import DenoiserConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import CodedExperts
from training.engine.config import MoeConfig
from training.engine.vdd import Batches, distil, ScoreTeacher, VddConfig
from training.stages.mixture.nearest import Nearest, NearestExpert
from training.stages.mixture.start import experts_of, LOW_RANK, POINTS, with_fresh

LEARNERS = ('everything', 'covariances', 'points')


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: it begins from what the part before came to."""

    name: str
    """Of the progress bar."""
    folder: str
    """Of its checkpoint, below the stage's."""
    terms: VddConfig
    """How many steps, at which rate, and what each term weighs."""
    nearest: Nearest | None = None
    """The nearest expert's term beside those."""
    learns: str = 'everything'
    """One of LEARNERS; but for the points alone, the gate learns too."""
    size: DenoiserConfig
    """Of the network in this part."""
    fresh: str = ''
    """What of the network is made anew for it: LOW_RANK, POINTS, or ''."""
    seed: int
    """Beside the chain's."""


def parts_of(config: MoeConfig) -> list[Part]:
    """
    List the parts of a mixture's training, in order.

    :returns: at least one, unless the settings have no steps at all; the last one's folder is the
        stage's own.
    """
    pulled = config.best > 0.0 and config.method in ('vdd', 'winner')
    whole = config.model.denoiser
    if not pulled:  # nobody would teach the points
        whole = replace(whole, points_width=0)
    first = whole
    if config.covariance_last:
        first = replace(whole, rank=config.plain_rank, loading_width=0, points_width=0)
    early = _nearest(config, config.best, config.best_end, config.best_fade)
    late = _nearest(config, config.together_best, config.together_best_end, config.together_fade)
    parts = [
        Part(
            name='likelihood first', folder='first', terms=first_config(config), size=first, seed=3
        ),
        Part(
            name=config.method,
            folder='means',
            terms=vdd_config(config),
            nearest=early if pulled else None,
            size=first,
            seed=3,
        ),
        Part(
            name='covariances',
            folder='covariances',
            terms=last_config(config),
            learns='covariances',
            size=replace(whole, points_width=0),
            fresh=LOW_RANK,
            seed=5,
        ),
        Part(
            name='together',
            folder='together',
            terms=together_config(config),
            nearest=late if pulled else None,
            size=whole,
            fresh=POINTS if whole.points_width and config.covariance_last else '',
            seed=7,
        ),
    ]
    if config.together_last and whole.points_width:
        parts.append(
            Part(
                name='points',
                folder='points',
                terms=points_config(config),
                nearest=late,
                learns='points',
                size=whole,
                seed=11,
            )
        )
    wanted = [part for part in parts if part.terms.steps]
    return [*wanted[:-1], *(replace(part, folder='') for part in wanted[-1:])]


def _nearest(config: MoeConfig, best: float, end: float, fade: float) -> Nearest:
    return Nearest(
        best=best,
        end=end,
        fade=fade,
        everyone=config.best_all,
        root=config.root,
        frame_stride=config.frame_stride,
    )


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
    Train one part, going on from its checkpoint where there is one.

    :param student: as the part before left it; changed, or replaced by one of another size.
    :param score: the teacher's, for the parts whose terms ask for it.
    :param batches: gives each step's windows and samples.
    :param folder: of the stage.
    :param seed: of the chain.
    :param before: the parts before it: it begins anew where one of them has taken more steps.
    :returns: the student that the part came to.
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
    """Let gradients reach what learns; return it, None for all experts' parameters."""
    network.requires_grad_(learns != 'points')
    if learns == 'covariances':
        return network.covariance_parameters()
    if learns == 'points':
        points = network.points_parameters()
        for parameter in points:
            parameter.requires_grad_(True)
        return points
    return None


def vdd_config(config: MoeConfig) -> VddConfig:
    """Give the training settings of a method: the controls are VDD without its score."""
    vdd = config.vdd
    if config.method == 'vdd':
        return vdd
    if config.method == 'em_teacher':
        return replace(vdd, reverse=0.0, warm=1.0, real=0.0)
    alone = replace(vdd, reverse=0.0, warm=0.0, forward=0.0, forward_end=0.0)
    if config.method == 'em_data':
        return replace(alone, real=1.0)
    return replace(alone, winner=True, real=max(vdd.real, 0.1))


def likelihood_config(config: MoeConfig) -> VddConfig:
    """Give the settings of maximum likelihood on the values that a method may see."""
    method = 'em_teacher' if config.method == 'em_teacher' else 'em_data'
    return vdd_config(replace(config, method=method))


def first_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the likelihood that comes first, of ``likelihood_first`` steps."""
    return replace(
        likelihood_config(config),
        steps=config.likelihood_first,
        learning_rate=config.likelihood_rate,
        temperature=config.likelihood_temperature,
    )


def last_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the covariances' own likelihood, of ``covariance_last`` steps."""
    return replace(likelihood_config(config), steps=config.covariance_last)


def together_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the last steps of all, of ``together_last`` steps."""
    return replace(
        vdd_config(config),
        steps=config.together_last,
        learning_rate=config.together_rate,
        temperature=1.0,
    )


def points_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the points' own steps: no term but the nearest expert's."""
    return replace(
        likelihood_config(config),
        steps=config.points_last,
        learning_rate=config.points_rate,
        gate='uniform',
        real=0.0,
    )
