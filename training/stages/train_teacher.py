"""Train the diffusion teacher: python -m training train teacher --preset small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import sys

import torch
from torch import nn, Tensor

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import target_of, to_x0
from motion_predictor.model.weights import save_weights
from training.common.parallel import current, join, Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig, TeacherConfig
from training.engine.diffusion import add_noise
from training.engine.fitting import fit
from training.engine.losses import coefficient_weights
from training.engine.run_options import parse_run
from training.engine.runs import card_of, open_stage, pool_of, Run

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


def train_teacher(run: Run, chain: ChainConfig, pool: EncodedPool) -> MotionModel:
    """
    Fit the teacher's denoiser to noised windows and write ``teacher.safetensors``.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :returns: the averaged model, the one that is used from here on.
    """
    config = chain.teacher
    folder = open_stage(run, chain, 'teacher')
    torch.manual_seed(chain.seed)
    model = MotionModel(
        config.model, pool.skeleton, pool.state_whitening, pool.condition_whitening
    )
    model.to(run.device)
    losses = TeacherLoss(config, model, pool)
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
    card['completion'] = config.completion
    if current().is_main:
        save_weights(run.folder / 'teacher.safetensors', model, card, dtype=torch.float16)
    current().wait()
    return model


class TeacherLoss:
    """
    Mean square error of the denoiser at random steps (DDPM's simple loss).

    With ``min_snr`` and ``velocity`` as
    :class:`training.engine.config.TeacherConfig` says.
    """

    def __init__(self, config: TeacherConfig, model: MotionModel, pool: EncodedPool) -> None:
        self.config = config
        self.alpha_bar = model.alpha_bar
        self.pool = pool
        self.weights = coefficient_weights(pool.state_whitening.scale, config.metric_weight)
        self.weights = self.weights.to(model.alpha_bar.device)
        past = config.model.window.observed_frames
        future = model.map_full[:, past - 1 :].T  # of coefficients, with the last observed frame
        self.to_velocity = future.diff(dim=0) * config.model.window.rate_hz  # (T_fut, K)
        self.scale = model.state_scale

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Give one step's loss."""
        config, pool = self.config, self.pool
        device = pool.state.device
        size = config.optim.batch
        chosen = torch.randint(len(pool), (size,), generator=generator, device=device)
        step = torch.randint(
            1, config.model.diffusion_steps, (size,), generator=generator, device=device
        )
        shape = (size, *pool.state.shape[1:])
        eps = torch.randn(shape, generator=generator, device=device)
        chosen, step, eps = shard.of(chosen), shard.of(step), shard.of(eps)
        x_0, condition = pool.state[chosen], pool.condition[chosen]
        alpha_bar = self.alpha_bar[step][:, None, None]
        x_t = add_noise(x_0, eps, alpha_bar)
        blind = torch.rand((), generator=generator, device=device) < config.unconditional
        output = network(x_t, None if bool(blind) else condition, step).float()
        target = target_of(config.model.prediction, x_0, eps, alpha_bar)
        square = self.weights * (output - target).square()
        if config.min_snr > 0.0:
            square = square * min_snr_weight(config.model.prediction, alpha_bar, config.min_snr)
        losses = {'loss': square.mean()}
        if config.velocity > 0.0:
            found = to_x0(config.model.prediction, output, x_t, alpha_bar)
            error = self.to_velocity @ ((found - x_0) * self.scale)  # metres a second
            losses['velocity'] = (alpha_bar * error.square()).mean()
            losses['loss'] = losses['loss'] + config.velocity * losses['velocity']
        return losses


def min_snr_weight(prediction: str, alpha_bar: Tensor, gamma: float) -> Tensor:
    """
    Weigh the square error of a prediction so that that of x0 counts by min(SNR, gamma).

    Min-SNR weighting (Hang et al., arXiv 2303.09556, section 3.4).

    :param prediction: 'eps', 'x0' or 'v': the square errors are SNR, 1 and SNR + 1 times x0's.
    :param alpha_bar: of the steps, any shape.
    :param gamma: above 0; the paper's choice is 5.
    :returns: shaped as ``alpha_bar``.
    """
    snr = alpha_bar / (1.0 - alpha_bar)
    of_x0 = {'eps': snr, 'x0': torch.ones_like(snr), 'v': snr + 1.0}[prediction]
    return snr.clamp_max(gamma) / of_x0


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
