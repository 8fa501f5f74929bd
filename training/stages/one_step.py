# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the teacher's DDIM in one pass of a network of its own architecture."""

from __future__ import annotations

import torch
from torch import nn, Tensor

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from motion_predictor.model.weights import save_weights
from training.common.parallel import current, Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.checkpoints import open_run
from training.engine.config import ChainConfig
from training.engine.fitting import fit
from training.engine.loop import Watch
from training.engine.runs import card_of, open_stage, Run, settings_up_to
from training.stages.losses import (
    coefficient_weights,
)
from training.stages.pairs import make_pairs


def distil_one_step(
    run: Run,
    chain: ChainConfig,
    pool: EncodedPool,
    teacher: MotionModel,
    *,
    watch: Watch | None = None,
) -> MotionModel:
    """
    Stage 1: train a copy of the teacher to return its DDIM end point in one pass.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :param teacher: the diffusion teacher; it is not changed.
    :param watch: as in :class:`training.engine.loop.Loop`.
    :returns: the one-step teacher, also written to ``one_step.safetensors``.
    """
    config = chain.one_step
    folder = open_stage(run, chain, 'one_step')
    torch.manual_seed(chain.seed + 1)
    whitening = pool.state_whitening, pool.condition_whitening
    student = MotionModel(chain.model_of('one_step'), pool.skeleton, *whitening).to(run.device)
    student.denoiser.load_state_dict(teacher.denoiser.state_dict())
    made = {'teacher_steps': config.teacher_steps, 'pairs': config.pairs}
    with current().main_first():  # the pairs of another teacher would be read again without notice
        open_run(run.folder / 'pairs', {**settings_up_to(run, chain, 'teacher'), **made})
    pairs = make_pairs(run, chain, pool, teacher, run.folder / 'pairs', config.pairs)
    chosen, noise = pairs.chosen, pairs.noise
    weights = coefficient_weights(student.state_scale, chain.teacher.metric_weight)
    alpha_bar = student.alpha_bar[config.t_star]

    def losses(
        network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        size = (config.optim.batch,)
        rows = shard.of(torch.randint(len(chosen), size, generator=generator, device=noise.device))
        x_t, condition = noise[rows], pool.condition[chosen[rows]]
        step = torch.full((len(rows),), config.t_star, device=x_t.device)
        output = network(x_t, condition, step).float()
        x_0 = to_x0(student.config.prediction, output, x_t, alpha_bar)
        return {'loss': (weights * (x_0 - pairs.target[rows]).square()).mean()}

    student.denoiser = fit(
        student.denoiser,
        losses,
        config.optim,
        folder,
        seed=chain.seed + 1,
        title='one step',
        device=run.device,
        watch=watch,
    )
    card = card_of(
        run, chain, 'one-step TransFusion, distilled from the teacher (stage 1)', folder
    )
    if current().is_main:
        save_weights(run.folder / 'one_step.safetensors', student, card, dtype=torch.float16)
    current().wait()
    return student
