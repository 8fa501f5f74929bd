# SPDX-License-Identifier: Apache-2.0
"""The motion teacher's score on the coordinates of the mixture."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.schedule import to_eps, to_x0
from training.data.pool import EncodedPool

FITTED = 20_000
"""Greatest number of windows to which linear maps are fitted."""


class MotionTeacher:
    """
    The motion teacher's score on the experts' coordinates.

    The rest of the state is sampled from a linear Gaussian given coordinates and condition, fitted
    to the training windows. The expectation of the teacher's score along the directions is then
    the score of the coordinates alone (Fisher's identity).
    """

    def __init__(self, model: MotionModel, experts: MotionExperts, pool: EncodedPool) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.levels = model.config.diffusion_steps
        self.encoder = experts.encoder.clone()
        self.power = experts.network.unit.square()
        self.channels = model.state_scale.shape[-1]
        state, condition = pool.state[:FITTED].flatten(1), pool.condition[:FITTED].flatten(1)
        inputs = torch.cat((state @ experts.encoder, condition), dim=1)
        self.map = ridge(inputs, state)
        self.deviation = (state - inputs @ self.map).std(dim=0)

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        alpha_bar = self.model.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    @torch.no_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`; ``noisy`` is (M, B, N)."""
        count, size = noisy.shape[:2]
        signal, noise = (part[None, :, None] for part in self.scales(level))
        # the clean value beneath the noise: the linear estimate
        clean = noisy * signal * self.power / (signal.square() * self.power + noise.square())
        given = condition.flatten(1).expand(count, -1, -1)
        state = torch.cat((clean, given), dim=-1) @ self.map
        state = state + self.deviation * torch.randn_like(state)
        state = signal * state + noise * torch.randn_like(state)
        state = state + (noisy - state @ self.encoder) @ self.encoder.T  # the given coordinates
        flat = state.flatten(0, 1).unflatten(-1, (-1, self.channels))  # (M B, K, D)
        alpha_bar = self.model.alpha_bar[level].repeat(count)[:, None, None]
        output = self.model.denoiser(
            flat, condition.repeat(count, 1, 1), level.repeat(count)
        ).float()
        x_0 = to_x0(self.model.config.prediction, output, flat, alpha_bar)
        score = -to_eps(x_0, flat, alpha_bar) / (1.0 - alpha_bar).sqrt()
        return (score.flatten(1) @ self.encoder).unflatten(0, (count, size))


def ridge(inputs: Tensor, targets: Tensor, strength: float = 1e-3) -> Tensor:
    """
    Return a linear map fitted by regularised least squares, without intercept.

    :param inputs: ``(N, I)``.
    :param targets: ``(N, O)``.
    :param strength: weight of the penalty, relative to the inputs' mean square.
    :returns: ``(I, O)``.
    """
    gram = (inputs.T @ inputs).double()
    gram.diagonal().add_(strength * gram.diagonal().mean())
    return torch.linalg.solve(gram, (inputs.T @ targets).double()).float()
