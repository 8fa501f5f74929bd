# SPDX-License-Identifier: Apache-2.0
"""Teachers in the plane: a small denoiser, and the exact scores of known densities."""

from __future__ import annotations

import math

import torch
from torch import nn, Tensor

from motion_predictor.model.networks.mixture import GaussianMixture
from motion_predictor.model.schedule import cosine_alpha_bar
from studies.toy.toy_densities import Density, EXTENT

LEVELS = 100


class Levels:
    """The cosine schedule of noise that all teachers here share."""

    levels = LEVELS
    alpha_bar: Tensor
    """``(LEVELS,)``."""

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        alpha_bar = self.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()


class ToyTeacher(Levels, nn.Module):
    """A small denoiser in the plane; it is VDD's score."""

    def __init__(self, width: int = 128) -> None:
        """
        Make a network with fresh weights.

        :param width: width of its hidden layers.
        """
        super().__init__()
        self.register_buffer('alpha_bar', cosine_alpha_bar(LEVELS).float())
        self.network = nn.Sequential(
            nn.Linear(2 + 20 + 8 + 7, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def velocity(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Predict ``signal * eps - noise * a`` (the v of Salimans and Ho, 2022)."""
        time = (level.float() + 1.0) / LEVELS
        signal, noise = self.scales(level)
        depth = (noise / signal).log()  # at low levels the score changes with this, not with time
        waves = [f(math.pi * k * time) for k in (0.5, 1, 2, 4) for f in (torch.cos, torch.sin)]
        waves += [f(k * depth) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        waves.append(0.5 * depth.clamp(-4.0, 4.0))
        place = [
            f(math.pi / EXTENT * k * noisy)
            for k in (1, 2, 4, 8, 16)
            for f in (torch.cos, torch.sin)
        ]
        return self.network(torch.cat((noisy, *place, torch.stack(waves, dim=-1)), dim=-1))

    @torch.no_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        flat, levels = noisy.flatten(0, 1), level.repeat(len(noisy))
        signal, noise = (part[:, None] for part in self.scales(levels))
        eps = signal * self.velocity(flat, levels) + noise * flat
        return (-eps / noise).view_as(noisy)

    def fit(self, points: Tensor, steps: int, seed: int) -> ToyTeacher:
        """Train on points ``(N, 2)``."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=4e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group['lr'] = 4e-3 * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            chosen = torch.randint(len(points), (256,), generator=generator)
            share = torch.rand(256, generator=generator).pow(1.5)  # more of the low levels
            level = (LEVELS * share).long().clamp_max(LEVELS - 1)
            eps = torch.randn(256, 2, generator=generator)
            # each with its mirror image, because otherwise the small noise of low levels drowns
            # their score
            chosen, level, eps = chosen.repeat(2), level.repeat(2), torch.cat((eps, -eps))
            signal, noise = (part[:, None] for part in self.scales(level))
            clean = points[chosen]
            target = signal * eps - noise * clean
            loss = (self.velocity(signal * clean + noise * eps, level) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.requires_grad_(False)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample by DDPM's ancestral steps, ``(count, 2)``."""
        x = torch.randn(count, 2, generator=generator)
        for number in reversed(range(LEVELS)):
            level = torch.full((count,), number)
            signal, noise = (part[:, None] for part in self.scales(level))
            clean = signal * x - noise * self.velocity(x, level)
            eps = (x - signal * clean) / noise
            if number == 0:
                return clean
            ahead, around = (part[:, None] for part in self.scales(level - 1))
            fresh = around / noise * (1.0 - (signal / ahead).square()).clamp_min(0.0).sqrt()
            kept = (around.square() - fresh.square()).clamp_min(0.0).sqrt()
            x = ahead * clean + kept * eps + fresh * torch.randn(x.shape, generator=generator)
        raise AssertionError('unreachable')

    def log_prob(self, points: Tensor) -> Tensor:
        """
        Return the log density of the samples of the probability flow (Song et al., 2021).

        On the circle ``signal^2 + noise^2 = 1``, the flow's velocity by angle is the network's own
        output. It is integrated by Heun's steps from level to level.

        :param points: ``(N, 2)``.
        :returns: nats, ``(N,)``; -10 000 if the path leaves for infinity, far from all points.
        """
        angle = (1.0 - self.alpha_bar).sqrt().asin()
        x, gained = points, torch.zeros(len(points))
        speed, spread = self._velocity_and_divergence(x, 0)
        for level in range(1, LEVELS):
            step = angle[level] - angle[level - 1]
            ahead, ahead_spread = self._velocity_and_divergence(x + step * speed, level)
            x = x + 0.5 * step * (speed + ahead)
            gained = gained + 0.5 * step * (spread + ahead_spread)
            speed, spread = ahead, ahead_spread
        found = -0.5 * x.square().sum(dim=-1) - math.log(2.0 * math.pi) + gained
        return torch.where(found.isfinite(), found, -1e4)

    @torch.enable_grad()
    def _velocity_and_divergence(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        asked = x.detach().requires_grad_()
        speed = self.velocity(asked, torch.full((len(x),), level))
        across, along = (
            torch.autograd.grad(speed[:, i].sum(), asked, retain_graph=i == 0)[0][:, i]
            for i in range(2)
        )
        return speed.detach(), across + along


class DensityTeacher(Levels):
    """The exact score of a density in the plane, without the error of a learned teacher."""

    def __init__(self, density: Density) -> None:
        self.density = density
        self.alpha_bar = cosine_alpha_bar(LEVELS).float()

    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        signal, noise = (part[:, None] for part in self.scales(level))
        power = (signal * self.density.width).square() + noise.square()  # (B, 1)
        centres = signal[..., None] * self.density.centres  # (B, C, 2)
        logits = noisy.transpose(0, 1) @ centres.mT - 0.5 * centres.square().sum(dim=-1)[:, None]
        weights = torch.softmax(logits / power[..., None], dim=-1)  # (B, M, C)
        return ((weights @ centres).transpose(0, 1) - noisy) / power


class ExactTeacher(Levels):
    """The exact score of a noised mixture of Gaussians, without the error of a learned teacher."""

    def __init__(self, mixture: GaussianMixture) -> None:
        self.mixture = mixture
        self.alpha_bar = cosine_alpha_bar(LEVELS).float()

    @torch.enable_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        asked = noisy.detach().requires_grad_()
        log_p = self.mixture.noised(*self.scales(level)).log_prob(asked)
        return torch.autograd.grad(log_p.sum(), asked)[0]
