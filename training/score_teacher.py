"""
The diffusion teacher, tuned to tell a mixture how it denoises, and the term that asks it.

A conditional density is known by how well it denoises: the relative entropy of two densities is
half the integral, over the signal-to-noise ratio, of the square distance between their denoisers
(Guo, Shamai and Verdu, 2005; Kong, Brekelmans and Ver Steeg, arXiv 2302.03792). A mixture's
denoiser is a closed form, since a noised mixture is a mixture; so it can be pulled towards the
teacher's, at the noised futures that really happened, in a band of ratios where the teacher knows
more than a likelihood on few people finds out. This is the forward counterpart of VDD's bound,
which compares the same two scores at the student's own samples.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from motion_predictor.experts import MotionExperts
from motion_predictor.mixture import GaussianMixture
from motion_predictor.model import MotionModel
from motion_predictor.schedule import to_x0
from motion_predictor.weights import file_digest, load_weights, save_weights
from training.config import ChainConfig, MoeConfig, OptimConfig, TeacherConfig
from training.diffusion import add_noise, LevelsOfRatio
from training.fitting import fit
from training.pool import EncodedPool
from training.runs import card_of, Run
from training.train_teacher import TeacherLoss
from training.vdd import Batch

ADAPTED = 'moe_teacher.safetensors'
"""In the run folder: the teacher after its tuning."""


def score_config(teacher: MotionModel, optim: OptimConfig) -> TeacherConfig:
    """Give the settings of the tuning: coefficients alike, half of the steps by the log ratio."""
    return TeacherConfig(model=teacher.config, optim=optim, metric_weight=0.0, log_ratio=0.5)


def adapted_teacher(
    run: Run, chain: ChainConfig, teacher: MotionModel, pool: EncodedPool, folder: Path
) -> tuple[MotionModel, str]:
    """
    Tune a copy of the teacher to the mixture's windows, or read the run folder's.

    :param run: its folder gets ``moe_teacher.safetensors``; one that is there is used as it is.
    :param chain: settings; ``moe.adapt_steps`` at least 1.
    :param teacher: is not changed.
    :param pool: the mixture's training windows.
    :param folder: of this part, for its checkpoint.
    :returns: the tuned teacher and its file's digest.
    """
    path = run.folder / ADAPTED
    if not path.is_file():
        optim = replace(
            chain.teacher.optim,
            steps=chain.moe.adapt_steps,
            learning_rate=chain.moe.adapt_rate,
        )
        model = copy.deepcopy(teacher).requires_grad_(True)
        model.denoiser = fit(
            model.denoiser,
            TeacherLoss(score_config(teacher, optim), model, pool),
            optim,
            folder,
            seed=chain.seed + 9,
            title="teacher's tuning",
            device=run.device,
        )
        card = card_of(run, chain, "teacher tuned to the mixture's windows", folder.parent)
        save_weights(path, model, card, dtype=torch.float16)
    return load_weights(path).model.to(run.device), file_digest(path)


class DenoiserMatch:
    """
    Half the square distance of the mixture's denoiser from the teacher's, over a band.

    In nats a coordinate: the part of the relative entropy of the teacher's density to the
    mixture's that comes from the band, noised recordings standing in for the teacher's own noised
    samples.
    """

    def __init__(
        self, config: MoeConfig, teacher: MotionModel, experts: MotionExperts, *, noisy: bool
    ) -> None:
        """
        Prepare.

        :param config: weight (``match``), band and rows of the term.
        :param teacher: whose state the experts' directions are of.
        :param experts: with their directions set.
        :param noisy: whether the teacher knows histories behind noise; without, a batch's first
            ``known`` conditions alone are asked about.
        """
        self.config, self.noisy = config, noisy
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.encoder = experts.encoder.clone()
        self.levels = LevelsOfRatio(teacher.alpha_bar, config.match_low, config.match_high)

    def __call__(self, mixture: GaussianMixture, batch: Batch, progress: float) -> Tensor:
        """
        Give the term; it draws from the device's own source of randomness.

        :param batch: ``whole`` are the real states.
        :param progress: of no account.
        """
        assert batch.whole is not None
        count = len(batch.whole) if self.noisy or batch.known is None else batch.known
        rows = torch.randperm(count, device=batch.whole.device)[: self.config.match_rows]
        if not len(rows):
            return mixture.means.new_zeros(())
        level = self.levels.draw(len(rows))
        alpha_bar = self.teacher.alpha_bar[level][:, None, None]
        x_0 = batch.whole[rows]
        x_t = add_noise(x_0, torch.randn_like(x_0), alpha_bar)
        with torch.no_grad():
            output = self.teacher.denoiser(x_t, batch.condition[rows], level).float()
            clean = to_x0(self.teacher.config.prediction, output, x_t, alpha_bar)
        noisy = (x_t.flatten(1) @ self.encoder).requires_grad_(True)
        signal, noise = alpha_bar[:, 0, 0].sqrt(), (1.0 - alpha_bar[:, 0, 0]).sqrt()
        log_density = mixture.condition(rows).noised(signal, noise).log_prob(noisy)
        (score,) = torch.autograd.grad(log_density.sum(), noisy, create_graph=True)
        known = signal[:, None] * (clean.flatten(1) @ self.encoder)
        wanted = (known - noisy.detach()) / noise[:, None].square()  # Tweedie's formula
        square = noise.square() * (score - wanted).square().sum(dim=-1)
        return self.config.match * 0.5 * self.levels.width * square.mean() / mixture.size
