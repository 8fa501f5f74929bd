# SPDX-License-Identifier: Apache-2.0
"""Match a teacher alone: with other distances than those of stage 2, and with fixed pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from motion_predictor.model.weights import load_weights
from studies.common.material import Material, with_ddim
from training.common.parallel import Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig, SwiftDiffConfig
from training.stages.pairs import Pairs
from training.stages.swiftdiff import SwiftDiffLoss


class AblatedLoss(SwiftDiffLoss):
    """
    Match a teacher alone, with another distance than that of stage 2, or match fixed pairs.

    The teachers know only clean histories, so only those are matched.
    """

    def __init__(
        self,
        config: SwiftDiffConfig,
        student: MotionModel,
        one_step: MotionModel,
        pool: EncodedPool,
        *,
        match: str = 'mse',
        pairs: Pairs | None = None,
    ) -> None:
        """
        Keep the student, the teachers and the pool that the loss compares.

        :raises ConfigError: if the settings have more terms than ``match``, the only one here.
        """
        for name in ('real', 'spread', 'match_ddim'):
            if getattr(config, name) > 0.0:
                raise ConfigError(f'{name}={getattr(config, name)}: must be 0 beside this match')
        super().__init__(config, student, one_step, pool, pairs)
        self.match = match
        self.clean = pool.clean.nonzero().squeeze(-1)

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Return one step's losses."""
        if self.pairs is not None:
            match = self.of_pairs(self.pairs, network, generator, shard)
        else:
            match = self._of_samples(network, generator, shard)
        return {'match': match, 'loss': self.config.match * match}

    def _of_samples(self, network: nn.Module, generator: torch.Generator, shard: Shard) -> Tensor:
        size, samples = self.config.optim.batch, self.config.matched
        device = self.pool.state.device
        rows = torch.randint(len(self.clean), (size,), generator=generator, device=device)
        shape = (size, samples, *self.pool.state.shape[1:])
        noise = torch.randn(shape, generator=generator, device=device)
        chosen, noise = self.clean[shard.of(rows)], shard.of(noise)
        condition = self.pool.condition[chosen]
        found = self._x_0(network, noise, condition)
        with torch.no_grad():
            target = self._teachers(noise, condition)
        if self.match == 'kl_softmax':
            return kl_of_softmaxes(found, target)
        if self.match == 'kl_gaussian':
            return kl_of_gaussians(found, target)
        return self._square(found - target).mean()


def kl_of_softmaxes(found: Tensor, target: Tensor) -> Tensor:
    """
    Return KL(softmax(target) || softmax(found)) over all coefficients of a sample.

    :param found: the student's coefficients, whitened, ``(B, M, K, D)``.
    :param target: the teacher's, of the same shape.
    :returns: mean over samples, a scalar in nats.
    """
    mine = found.flatten(0, 1).flatten(1).log_softmax(dim=-1)
    theirs = target.flatten(0, 1).flatten(1).log_softmax(dim=-1)
    return functional.kl_div(mine, theirs, reduction='batchmean', log_target=True)


def kl_of_gaussians(found: Tensor, target: Tensor, floor: float = 0.05) -> Tensor:
    """
    Return KL(teacher || student) between Gaussians fitted to each window's samples.

    :param found: the student's samples, whitened, ``(B, M, K, D)``, M >= 2.
    :param target: the teacher's, of the same shape.
    :param floor: added to the variances, so that few samples do not make them zero.
    :returns: mean over windows and coefficients, a scalar in nats.
    """
    mean, variance = found.mean(dim=1), found.var(dim=1) + floor
    their_mean, their_variance = target.mean(dim=1), target.var(dim=1) + floor
    gap = (their_variance + (their_mean - mean).square()) / variance
    return 0.5 * (gap - 1.0 + variance.log() - their_variance.log()).mean()


def pairs_for(
    target: str, chain: ChainConfig, material: Material, teacher: Path, run: Path
) -> Pairs:
    """
    Make fixed pairs, or read those of an earlier call; all targets have the same noises.

    :param target: 'one_step', 'ddim_N' or 'x0'.
    :param chain: settings.
    :param material: windows and teachers.
    :param teacher: weights file of the diffusion teacher.
    :param run: run folder.
    :raises ConfigError: if 'x0' is requested and the diffusion teacher has another encoding than
        the one-step teacher.
    """
    kind, _, steps = target.partition('_')
    asked = int(steps) if kind == 'ddim' else 1
    settings = replace(chain, one_step=replace(chain.one_step, teacher_steps=asked))
    pairs = with_ddim(material, settings, teacher, run, chain.swiftdiff.pairs).pairs
    assert pairs is not None
    if kind == 'ddim':
        return pairs
    model = material.one_step if target == 'one_step' else load_weights(teacher).model
    model.to(material.device)
    for name in ('state_mean', 'state_scale', 'condition_mean', 'condition_scale'):
        mine, theirs = getattr(material.one_step, name), getattr(model, name)
        if mine.shape != theirs.shape or not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5):
            raise ConfigError(
                f'--teacher and --one-step differ in {name}: give those of one training'
            )
    parts: list[Tensor] = []
    with torch.no_grad():
        for first in range(0, len(pairs.chosen), 256):
            last = first + 256
            condition = material.pool.condition[pairs.chosen[first:last]]
            parts.append(estimate(model, pairs.noise[first:last], condition))
    return replace(pairs, target=torch.cat(parts))


def estimate(model: MotionModel, noise: Tensor, condition: Tensor) -> Tensor:
    """
    Return a network's own estimate of x_0 from noise at its t*, in one evaluation.

    :param noise: ``(B, K, D)``.
    :param condition: ``(B, C, D)``.
    """
    config = model.config
    step = torch.full((len(noise),), config.t_star, device=noise.device)
    output = model.denoiser(noise, condition, step).float()
    return to_x0(config.prediction, output, noise, model.alpha_bar[config.t_star])
