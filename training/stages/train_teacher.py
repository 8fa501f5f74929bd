# SPDX-License-Identifier: Apache-2.0
"""Train the diffusion teacher: python -m training train teacher --preset small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import sys

import torch
from torch import nn, Tensor

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import target_of
from motion_predictor.model.weights import save_weights
from training.common.parallel import current, join, Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig, TeacherConfig
from training.engine.diffusion import add_noise
from training.engine.fitting import fit, LossOfStep
from training.engine.run_options import parse_run
from training.engine.runs import card_of, open_stage, pool_of, Run
from training.stages.losses import coefficient_weights

EXAMPLE = """
example, the seconds-long preset on synthetic walks:
  python -m training train teacher --preset debug --run runs/debug
example, two CPU cores and real motion:
  python -m training train teacher --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
example, two processes that share every batch (as many as there are GPUs):
  torchrun --nproc-per-node 2 -m training train teacher --preset full --run-folder runs/full \
      --data stores/h36m/train
"""


TeacherLosses = Callable[[TeacherConfig, MotionModel, EncodedPool], LossOfStep]
"""A function of settings, model and pool that returns the teacher's loss."""


def train_teacher(
    run: Run, chain: ChainConfig, pool: EncodedPool, *, loss: TeacherLosses | None = None
) -> MotionModel:
    """
    Fit the teacher's denoiser to noised windows and write ``teacher.safetensors``.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :param loss: the loss; None takes :class:`TeacherLoss`.
    :returns: the averaged model, which is used from here on.
    """
    config = chain.teacher
    folder = open_stage(run, chain, 'teacher')
    torch.manual_seed(chain.seed)
    model = MotionModel(
        chain.model_of('teacher'),
        pool.skeleton,
        pool.state_whitening,
        pool.condition_whitening,
    )
    model.to(run.device)
    losses = (loss or TeacherLoss)(config, model, pool)
    model.denoiser = fit(
        model.denoiser,
        losses,
        config.optim,
        folder,
        seed=chain.seed,
        title='teacher',
        device=run.device,
        partial=config.unconditional > 0.0,
    )
    card = card_of(run, chain, 'TransFusion teacher, sampled by DDIM', folder)
    card['completion'] = 'clean'  # the settings of its evaluation
    if current().is_main:
        save_weights(run.folder / 'teacher.safetensors', model, card, dtype=torch.float16)
    current().wait()
    return model


class TeacherLoss:
    """Mean square error of the denoiser at random steps (DDPM's simple loss)."""

    def __init__(self, config: TeacherConfig, model: MotionModel, pool: EncodedPool) -> None:
        self.config, self.model, self.pool = config, model.config, pool
        self.alpha_bar = model.alpha_bar
        self.weights = coefficient_weights(pool.state_whitening.scale, config.metric_weight)
        self.weights = self.weights.to(model.alpha_bar.device)

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Return one step's loss."""
        config, pool = self.config, self.pool
        device = pool.state.device
        size = config.optim.batch
        chosen = torch.randint(len(pool), (size,), generator=generator, device=device)
        step = torch.randint(
            1, self.model.diffusion_steps, (size,), generator=generator, device=device
        )
        shape = (size, *pool.state.shape[1:])
        eps = torch.randn(shape, generator=generator, device=device)
        chosen, step, eps = shard.of(chosen), shard.of(step), shard.of(eps)
        x_0, condition = pool.state[chosen], pool.condition[chosen]
        alpha_bar = self.alpha_bar[step][:, None, None]
        x_t = add_noise(x_0, eps, alpha_bar)
        blind = torch.rand((), generator=generator, device=device) < config.unconditional
        output = network(x_t, None if bool(blind) else condition, step).float()
        target = target_of(self.model.prediction, x_0, eps, alpha_bar)
        square = self.weights * (output - target).square()
        return self.terms(square, output, x_0, x_t, alpha_bar)

    def terms(
        self, square: Tensor, output: Tensor, x_0: Tensor, x_t: Tensor, alpha_bar: Tensor
    ) -> dict[str, Tensor]:
        """
        Return the losses of a batch; ``'loss'`` is minimised.

        :param square: weighed squared errors of the network's output, ``(B, K, D)``.
        :param output: output of the network.
        :param x_0: the windows.
        :param x_t: the windows with noise.
        :param alpha_bar: values at their steps, ``(B, 1, 1)``.
        """
        return {'loss': square.mean()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb."""
    run, chain = parse_run('training train teacher', __doc__, EXAMPLE, arguments, ('teacher',))
    try:
        with join(run.device) as processes:
            open_stage(run, chain, 'teacher')
            train_teacher(run, chain, pool_of(run, chain))
    except MotionPredictorError as error:
        sys.exit(f'training train teacher: {error}')
    if processes.is_main:
        print(f'wrote {Path(run.folder) / "teacher.safetensors"}')
