# SPDX-License-Identifier: Apache-2.0
"""Students of a diffusion policy that follow its path: consistency models and trajectories."""

from __future__ import annotations

import copy

import torch
from torch import nn, Tensor

from studies.behaviour.diffusion_policy import (
    Data,
    descend,
    DiffusionPolicy,
    LEVELS,
    VALUES,
    WAVES_OF_LEVEL,
)


class ConsistencyStudent(nn.Module):
    """
    The teacher's own network as a consistency function (Song et al., 2023).

    It turns back along the circle of noise levels by the whole angle at once, so at the lowest
    level it is the identity by construction.
    """

    def __init__(self, teacher: DiffusionPolicy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(teacher).requires_grad_(True)

    def forward(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Return the chunk at the end of the teacher's path through a noisy one."""
        angle = (1.0 - self.policy.alpha_bar).sqrt().asin()
        back = (angle[level] - angle[0])[:, None]
        velocity = self.policy.velocity(noisy, condition, level)
        return back.cos() * noisy - back.sin() * velocity

    @torch.no_grad()
    def sample(self, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Sample in one pass, ``(B, VALUES)``."""
        noise = torch.randn(len(condition), VALUES, generator=generator)
        return self(noise, condition, torch.full((len(condition),), LEVELS - 1))


def distil_consistency(
    teacher: DiffusionPolicy,
    data: Data,
    steps: int,
    generator: torch.Generator,
    *,
    batch: int = 512,
    stops: int = 34,
    decay: float = 0.95,
) -> ConsistencyStudent:
    """
    Distil a teacher by consistency: points of one of its paths must give the same chunk.

    :param stops: number of noise levels, with the lowest and the highest.
    :param decay: decay of the averaged student that gives the targets.
    """
    student = ConsistencyStudent(teacher)
    target = copy.deepcopy(student).requires_grad_(False)
    visited = torch.linspace(0, LEVELS - 1, stops).round().long()

    def loss(step: int) -> Tensor:
        if step:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(target.parameters()), list(student.parameters()), 1.0 - decay
                )
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        number = torch.randint(1, stops, (batch,), generator=generator)
        level, lower = visited[number], visited[number - 1]
        condition, clean = data.features[chosen], data.chunks[chosen]
        signal, noise = (part[:, None] for part in teacher.scales(level))
        noisy = signal * clean + noise * torch.randn(clean.shape, generator=generator)
        with torch.no_grad():
            wanted = target(teacher.step_down(noisy, condition, level, lower), condition, lower)
        return (student(noisy, condition, level) - wanted).square().mean()

    descend(student, loss, steps, 1e-3)
    return student.eval().requires_grad_(False)


class TrajectoryStudent(nn.Module):
    """
    A consistency trajectory model, CTM (Kim et al., 2024): from any level to any lower one.

    It turns back along the circle of noise levels from one level to another at once. So it is the
    identity from a level to itself by construction, and the teacher's velocity is its start.
    """

    def __init__(self, teacher: DiffusionPolicy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(teacher).requires_grad_(True)
        first = self.policy.network[0]
        assert isinstance(first, nn.Linear)
        self.target = nn.Linear(WAVES_OF_LEVEL, first.out_features, bias=False)
        nn.init.zeros_(self.target.weight)

    @property
    def last(self) -> nn.Linear:
        """Return the last layer, by whose gradients the terms are balanced."""
        layer = self.policy.network[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def velocity(self, noisy: Tensor, condition: Tensor, level: Tensor, lower: Tensor) -> Tensor:
        """Predict the mean velocity between two levels, ``(B, VALUES)``."""
        policy = self.policy
        inputs = torch.cat((noisy, condition, policy.waves(level)), dim=-1)
        hidden = policy.network[0](inputs) + self.target(policy.waves(lower))
        for layer in list(policy.network)[1:]:
            hidden = layer(hidden)
        return hidden

    def forward(self, noisy: Tensor, condition: Tensor, level: Tensor, lower: Tensor) -> Tensor:
        """Return the chunk at a lower level of the teacher's path through a noisy one."""
        angle = (1.0 - self.policy.alpha_bar).sqrt().asin()
        back = (angle[level] - angle[lower])[:, None]
        return back.cos() * noisy - back.sin() * self.velocity(noisy, condition, level, lower)

    @torch.no_grad()
    def sample(self, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Sample in one pass, ``(B, VALUES)``."""
        noise = torch.randn(len(condition), VALUES, generator=generator)
        level = torch.full((len(condition),), LEVELS - 1)
        return self(noise, condition, level, torch.zeros_like(level))


def _balance(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Return the weight of another term at which its gradient is as long as that of the one."""
    (of_one,) = torch.autograd.grad(one, weight, retain_graph=True)
    (of_other,) = torch.autograd.grad(other, weight, retain_graph=True)
    return (of_one.norm() / of_other.norm().clamp_min(1e-9)).clamp_max(1.0)


def _jumps(
    batch: int, stops: int, whole: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the stops from which jumps start, and the lower ones at which they end."""
    number = torch.randint(1, stops, (batch,), generator=generator)
    to = (torch.rand(batch, generator=generator) * number).long()
    return number, torch.where(torch.rand(batch, generator=generator) < whole, 0, to)


def distil_trajectories(
    teacher: DiffusionPolicy,
    data: Data,
    steps: int,
    generator: torch.Generator,
    *,
    batch: int = 512,
    stops: int = 34,
    strides: int = 17,
    whole: float = 0.5,
    decay: float = 0.95,
) -> TrajectoryStudent:
    """
    Distil a teacher by consistency of trajectories, with denoising beside it as in the paper.

    A jump from a level to a lower one must end as the teacher's steps to a level between do,
    followed by the averaged student's jump. Both ends are carried to the lowest level by the
    averaged student and compared there. Denoising is weighed so that both terms' gradients in the
    last layer are alike. The adversarial term of the paper is left out, as in its use for
    policies (Prasad et al., 2024).

    :param stops: number of noise levels, with the lowest and the highest.
    :param strides: greatest number of the teacher's steps.
    :param whole: share of jumps to the lowest level, as in use; the others end anywhere.
    :param decay: decay of the averaged student that gives the targets.
    """
    student = TrajectoryStudent(teacher)
    average = copy.deepcopy(student).requires_grad_(False)
    visited = torch.linspace(0, LEVELS - 1, stops).round().long()

    def loss(step: int) -> Tensor:
        if step:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(average.parameters()), list(student.parameters()), 1.0 - decay
                )
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        number, to = _jumps(batch, stops, whole, generator)
        stride = torch.randint(1, strides + 1, (1,), generator=generator)
        level, lower, lowest = visited[number], visited[to], torch.zeros_like(number)
        condition, clean = data.features[chosen], data.chunks[chosen]
        signal, noise = (part[:, None] for part in teacher.scales(level))
        eps = torch.randn(clean.shape, generator=generator)
        noisy = signal * clean + noise * eps
        with torch.no_grad():
            between, at = noisy, number
            for _ in range(int(stride)):
                here, at = at, torch.maximum(at - 1, to)
                between = teacher.step_down(between, condition, visited[here], visited[at])
            wanted = average(between, condition, visited[at], lower)
            wanted = average(wanted, condition, lower, lowest)
        ended = average(student(noisy, condition, level, lower), condition, lower, lowest)
        denoised = student.velocity(noisy, condition, level, level)
        apart = (ended - wanted).square().mean()
        wrong = (denoised - (signal * eps - noise * clean)).square().mean()
        return apart + _balance(apart, wrong, student.last.weight) * wrong

    descend(student, loss, steps, 1e-3)
    return student.eval().requires_grad_(False)
