# SPDX-License-Identifier: Apache-2.0
"""Distil the teacher into one step by consistency, as a control: python -m studies consistency."""

from __future__ import annotations

from collections.abc import Sequence
import copy
from dataclasses import replace
import sys

import torch
from torch import nn, Tensor

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import ddim_steps, to_eps, to_x0
from motion_predictor.model.weights import file_digest, load_weights, save_weights
from training.common.parallel import Shard, WHOLE
from training.data.pool import EncodedPool
from training.data.store import data_digest
from training.engine.checkpoints import open_run
from training.engine.config import as_plain, ChainConfig, OneStepConfig
from training.engine.diffusion import add_noise, complete_history
from training.engine.fitting import fit
from training.engine.run_options import parse_run
from training.engine.runs import card_of, pool_of, Run, stage_or_shipped
from training.stages.losses import coefficient_weights

EXAMPLE = """
example, from the run folder's teacher, or the shipped one, with the budget of stage 1:
  python -m studies consistency --preset small --run runs/consistency \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
"""
METRIC_WEIGHT = 1.0
"""Exponent of a coefficient's scale as its weight in the loss, as the teacher's."""
DECAY = 0.95
"""Decay of the averaged student that gives the targets."""


class ConsistencyLoss:
    """
    Neighbours on one path of the teacher must end in the same x_0 (Song et al., 2023).

    A student that outputs v is the identity at the lowest level by construction: ``x_0 = sqrt(ab)
    x_t - sqrt(1 - ab) v``. The path is that of the teacher's DDIM, with the history put back at
    every step.
    """

    def __init__(
        self, config: OneStepConfig, student: MotionModel, teacher: MotionModel, pool: EncodedPool
    ) -> None:
        self.config, self.teacher, self.pool = config, teacher, pool
        self.target = copy.deepcopy(student.denoiser).eval().requires_grad_(False)
        levels = ddim_steps(student.config.diffusion_steps, config.teacher_steps)
        self.levels = torch.tensor(levels, device=pool.state.device)
        self.alpha_bar, self.prediction = student.alpha_bar, student.config.prediction
        self.weights = coefficient_weights(student.state_scale, METRIC_WEIGHT)

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Return one step's loss."""
        pool, size, device = self.pool, self.config.optim.batch, self.pool.state.device
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target.parameters()), list(network.parameters()), 1.0 - DECAY
            )
        chosen = torch.randint(len(pool), (size,), generator=generator, device=device)
        place = torch.randint(len(self.levels), (size,), generator=generator, device=device)
        eps = torch.randn((size, *pool.state.shape[1:]), generator=generator, device=device)
        chosen, place, eps = shard.of(chosen), shard.of(place), shard.of(eps)
        condition, step = pool.condition[chosen], self.levels[place]
        x_t = add_noise(pool.state[chosen], eps, self.alpha_bar[step][:, None, None])
        with torch.no_grad():
            clean = self._x_0(self.teacher.denoiser, x_t, condition, step)
            noise = to_eps(clean, x_t, self.alpha_bar[step][:, None, None])
            clean = complete_history(self.teacher, clean, pool.padded_of(chosen))
            lower = self.levels[(place + 1).clamp_max(len(self.levels) - 1)]
            x_s = add_noise(clean, noise, self.alpha_bar[lower][:, None, None])
            wanted = self._x_0(self.target, x_s, condition, lower)
            last = (place + 1 == len(self.levels))[:, None, None]  # the path has ended there
            wanted = torch.where(last, clean, wanted)
        found = self._x_0(network, x_t, condition, step)
        return {'loss': (self.weights * (found - wanted).square()).mean()}

    def _x_0(self, network: nn.Module, x_t: Tensor, condition: Tensor, step: Tensor) -> Tensor:
        output = network(x_t, condition, step).float()
        alpha_bar = self.alpha_bar[step][:, None, None]
        return to_x0(self.prediction, output, x_t, alpha_bar)


def distil_by_consistency(run: Run, chain: ChainConfig) -> MotionModel:
    """
    Train a copy of the teacher and write ``consistency.safetensors`` to the run folder.

    :param run: folder, device and data of the run.
    :param chain: settings; budget and number of the path's steps are those of ``one_step``.
    :returns: the averaged model, of role 'one_step'.
    :raises MotionPredictorError: if data, weights or run folder cannot be used.
    """
    path = stage_or_shipped(run, 'teacher')
    digests = {f'{p.parent.name}/{p.name}': data_digest(p) for p in run.data}
    folder = run.folder / 'consistency'
    settings = {'pool': chain.pool, 'seed': chain.seed, 'one_step': as_plain(chain)['one_step']}
    open_run(folder, {'data': digests, 'teacher': file_digest(path), **settings})
    teacher = load_weights(path).model.to(run.device)
    torch.manual_seed(chain.seed + 4)
    student = copy.deepcopy(teacher)
    first = ddim_steps(teacher.config.diffusion_steps, chain.one_step.teacher_steps)[0]
    student.config = replace(teacher.config, role='one_step', t_star=first)
    student.denoiser.train().requires_grad_(True)
    pool = pool_of(run, chain, like=teacher)
    config = chain.one_step
    student.denoiser = fit(
        student.denoiser,
        ConsistencyLoss(config, student, teacher, pool),
        config.optim,
        folder,
        seed=chain.seed + 4,
        title='consistency',
        device=run.device,
    )
    card = card_of(
        run, chain, 'one-step TransFusion, distilled from the teacher by consistency', folder
    )
    card['teachers'] = {'teacher': file_digest(path)}
    save_weights(run.folder / 'consistency.safetensors', student, card, dtype=torch.float16)
    return student


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb; it continues where it stopped."""
    run, chain = parse_run('studies consistency', __doc__, EXAMPLE, arguments, ('one_step',))
    try:
        distil_by_consistency(run, chain)
    except MotionPredictorError as error:
        sys.exit(f'studies consistency: {error}')
    print(f'wrote {run.folder / "consistency.safetensors"}')
