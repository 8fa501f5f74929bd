# SPDX-License-Identifier: Apache-2.0
"""The teacher of the tasks of behaviour learning: a diffusion policy, and the data it learns.

Networks work on chunks that are whitened and flattened, ``(..., N)`` with N = 2 CHUNK, and on the
features of a task's observations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import itertools
import math

import torch
from torch import nn, Tensor

from motion_predictor.model.schedule import cosine_alpha_bar
from studies.behaviour.tasks import CHUNK, Demonstrations, Policy, Task

VALUES = 2 * CHUNK
LEVELS = 100
WAVES_OF_LEVEL = 12


@dataclass(frozen=True)
class Data:
    """The demonstrations as network inputs: ``features`` (N, F), ``chunks`` (N, VALUES)."""

    task: Task
    features: Tensor
    chunks: Tensor
    mean: Tensor
    scale: Tensor

    @property
    def inputs(self) -> int:
        """Return the number of features, F."""
        return self.features.shape[-1]

    def metres(self, chunks: Tensor) -> Tensor:
        """Return the steps of chunks ``(B, VALUES)`` in metres, ``(B, CHUNK, 2)``."""
        return (chunks * self.scale + self.mean).unflatten(-1, (CHUNK, 2))

    def policy(self, choose: Callable[[Tensor, torch.Generator], Tensor]) -> Policy:
        """Return the policy of a function from features ``(B, F)`` to chunks ``(B, VALUES)``."""
        return lambda seen, generator: self.metres(choose(self.task.features(seen), generator))


def data_of(task: Task, demonstrations: Demonstrations) -> Data:
    """Whiten the chunks of demonstrations, each value by its own mean and deviation."""
    chunks = demonstrations.chunks.flatten(1)
    mean, scale = chunks.mean(dim=0), chunks.std(dim=0)
    features = task.features(demonstrations.observations)
    return Data(task, features, (chunks - mean) / scale, mean, scale)


class DiffusionPolicy(nn.Module):
    """
    A denoiser of chunks at a position; it is VDD's score.

    Its levels lie on the circle ``signal^2 + noise^2 = 1`` at angle ``asin(noise)``. The output is
    the velocity along it, ``signal * eps - noise * a`` (the v of Salimans and Ho, 2022).
    """

    def __init__(self, features: int, width: int = 128, depth: int = 3) -> None:
        """
        Make a network with fresh weights.

        :param features: number of inputs of the condition, F.
        :param width: width of the hidden layers.
        :param depth: number of hidden layers.
        """
        super().__init__()
        self.levels = LEVELS
        self.register_buffer('alpha_bar', cosine_alpha_bar(LEVELS).float())
        self.alpha_bar: Tensor
        sizes = [VALUES + features + WAVES_OF_LEVEL, *[width] * depth]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        self.network = nn.Sequential(*layers, nn.Linear(width, VALUES))

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        alpha_bar = self.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    def velocity(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """
        Predict the velocity.

        :param noisy: ``(B, VALUES)``.
        :param condition: ``(B, F)``.
        :param level: ``(B,)``.
        """
        return self.network(torch.cat((noisy, condition, self.waves(level)), dim=-1))

    def waves(self, level: Tensor) -> Tensor:
        """Return the waves by which networks know a level, ``(B, WAVES_OF_LEVEL)``."""
        signal, noise = self.scales(level)
        time, depth = (level.float() + 1.0) / LEVELS, (noise / signal).log()
        waves = [f(math.pi * k * time) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        waves += [f(k * depth) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        return torch.stack(waves, dim=-1)

    def clean(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Return the expected clean chunk, ``(B, VALUES)``."""
        signal, noise = (part[:, None] for part in self.scales(level))
        return signal * noisy - noise * self.velocity(noisy, condition, level)

    @torch.no_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.stages.mixture.vdd.ScoreTeacher`."""
        count = len(noisy)
        flat, levels = noisy.flatten(0, 1), level.repeat(count)
        signal, noise = (part[:, None] for part in self.scales(levels))
        velocity = self.velocity(flat, condition.repeat(count, 1), levels)
        return (-(signal * velocity + noise * flat) / noise).view_as(noisy)

    def step_down(self, noisy: Tensor, condition: Tensor, level: Tensor, lower: Tensor) -> Tensor:
        """Take one deterministic step of DDIM to lower levels, ``(B, VALUES)``."""
        signal, noise = (part[:, None] for part in self.scales(level))
        velocity = self.velocity(noisy, condition, level)
        clean, eps = signal * noisy - noise * velocity, signal * velocity + noise * noisy
        ahead, around = (part[:, None] for part in self.scales(lower))
        return ahead * clean + around * eps

    @torch.no_grad()
    def sample(self, condition: Tensor, generator: torch.Generator, steps: int) -> Tensor:
        """
        Sample by DDIM; with one step, the first estimate of the clean chunk.

        :param condition: ``(B, F)``.
        :param generator: source of the noise.
        :param steps: 1..LEVELS evaluations of the network.
        :returns: ``(B, VALUES)``.
        """
        noisy = torch.randn(len(condition), VALUES, generator=generator)
        visited = torch.linspace(LEVELS - 1, 0, steps + 1).round().long()[:-1]
        for number, level in enumerate(visited):
            at = level.expand(len(condition))
            if number + 1 == len(visited):
                return self.clean(noisy, condition, at)
            noisy = self.step_down(noisy, condition, at, visited[number + 1].expand(len(noisy)))
        raise AssertionError('unreachable')


def descend(network: nn.Module, loss_of: Callable[[int], Tensor], steps: int, rate: float) -> None:
    """Minimise a loss by Adam, the rate falling to zero along a half cosine."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss_of(step).backward()
        optimizer.step()


def train_teacher(
    data: Data, steps: int, generator: torch.Generator, batch: int = 512
) -> DiffusionPolicy:
    """Train a diffusion policy on demonstrations."""
    teacher = DiffusionPolicy(data.inputs)

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        level = torch.randint(LEVELS, (batch,), generator=generator)
        eps = torch.randn(batch, VALUES, generator=generator)
        signal, noise = (part[:, None] for part in teacher.scales(level))
        clean = data.chunks[chosen]
        given = teacher.velocity(signal * clean + noise * eps, data.features[chosen], level)
        return (given - (signal * eps - noise * clean)).square().mean()

    descend(teacher, loss, steps, 2e-3)
    return teacher.eval().requires_grad_(False)
