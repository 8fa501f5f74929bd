"""Policies of the avoiding task: a diffusion policy, and students that choose in one pass.

All of them use only the position and choose the next steps at once. Networks work on chunks that
are whitened and flattened, ``(..., N)`` with N = 2 CHUNK, and on features of the position.
"""

from __future__ import annotations

from collections.abc import Callable
import copy
from dataclasses import dataclass
import itertools
import math
from typing import cast

import torch
from torch import nn, Tensor

from motion_predictor.model.schedule import cosine_alpha_bar
from studies.avoiding.avoiding_task import CHUNK, Demonstrations, FINISH_M, Policy, WALL_M
from studies.common.expert_network import ExpertNetwork
from training.stages.mixture.vdd import Batch, VddConfig
from training.stages.mixture.vdd_training import distil

VALUES = 2 * CHUNK
LEVELS = 100
WAVES = 4
FEATURES = 2 + 4 * WAVES


@dataclass(frozen=True)
class Data:
    """The demonstrations as network inputs: ``features`` (N, F), ``chunks`` (N, VALUES)."""

    features: Tensor
    chunks: Tensor
    mean: Tensor
    scale: Tensor

    def metres(self, chunks: Tensor) -> Tensor:
        """Return the steps of chunks ``(B, VALUES)`` in metres, ``(B, CHUNK, 2)``."""
        return (chunks * self.scale + self.mean).unflatten(-1, (CHUNK, 2))

    def policy(self, choose: Callable[[Tensor, torch.Generator], Tensor]) -> Policy:
        """Return the policy of a function from features ``(B, F)`` to chunks ``(B, VALUES)``."""
        return lambda position, generator: self.metres(choose(features_of(position), generator))


def features_of(positions: Tensor) -> Tensor:
    """
    Return a position and waves of it, so that a small network can turn sharply.

    :param positions: metres, ``(B, 2)``.
    :returns: ``(B, FEATURES)``.
    """
    scaled = positions / torch.tensor([WALL_M, FINISH_M]) - torch.tensor([0.0, 0.5])
    waves = [f(math.pi * 2**k * scaled) for k in range(WAVES) for f in (torch.sin, torch.cos)]
    return torch.cat((scaled, *waves), dim=-1)


def data_of(demonstrations: Demonstrations) -> Data:
    """Whiten the chunks of demonstrations, each value by its own mean and deviation."""
    chunks = demonstrations.chunks.flatten(1)
    mean, scale = chunks.mean(dim=0), chunks.std(dim=0)
    return Data(features_of(demonstrations.positions), (chunks - mean) / scale, mean, scale)


class DiffusionPolicy(nn.Module):
    """
    A denoiser of chunks at a position; it is VDD's score.

    Its levels lie on the circle ``signal^2 + noise^2 = 1`` at angle ``asin(noise)``. The output is
    the velocity along it, ``signal * eps - noise * a`` (the v of Salimans and Ho, 2022).
    """

    def __init__(self, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.levels = LEVELS
        self.register_buffer('alpha_bar', cosine_alpha_bar(LEVELS).float())
        self.alpha_bar: Tensor
        sizes = [VALUES + FEATURES + 12, *[width] * depth]
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
        :param condition: ``(B, FEATURES)``.
        :param level: ``(B,)``.
        """
        signal, noise = self.scales(level)
        time, depth = (level.float() + 1.0) / LEVELS, (noise / signal).log()
        waves = [f(math.pi * k * time) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        waves += [f(k * depth) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        return self.network(torch.cat((noisy, condition, torch.stack(waves, dim=-1)), dim=-1))

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

        :param condition: ``(B, FEATURES)``.
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


def _descend(
    network: nn.Module, loss_of: Callable[[int], Tensor], steps: int, rate: float
) -> None:
    # Adam, the rate falling to zero along a half cosine.
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
    teacher = DiffusionPolicy()

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        level = torch.randint(LEVELS, (batch,), generator=generator)
        eps = torch.randn(batch, VALUES, generator=generator)
        signal, noise = (part[:, None] for part in teacher.scales(level))
        clean = data.chunks[chosen]
        given = teacher.velocity(signal * clean + noise * eps, data.features[chosen], level)
        return (given - (signal * eps - noise * clean)).square().mean()

    _descend(teacher, loss, steps, 2e-3)
    return teacher.eval().requires_grad_(False)


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

    _descend(student, loss, steps, 1e-3)
    return student.eval().requires_grad_(False)


def new_mixture(experts: int) -> ExpertNetwork:
    """Return the network of all mixtures, with fresh weights."""
    return ExpertNetwork(FEATURES, VALUES, experts=experts, width=128, depth=3, covariance='full')


def fit_mixture_to_data(
    data: Data, experts: int, steps: int, seed: int, batch: int = 256
) -> ExpertNetwork:
    """Fit a mixture to demonstrations by expectation maximisation, by gradient steps."""
    config = VddConfig(
        steps=steps, reverse=0.0, real=1.0, gate_every=1, learning_rate=2e-3,
        gate_learning_rate=2e-3,
    )  # fmt: skip

    def batches(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        real = data.chunks[chosen][None]
        return Batch(data.features[chosen], real, real)

    return distil(new_mixture(experts), None, batches, config, seed=seed, quiet=True)


def fit_mixture_by_curriculum(
    data: Data,
    experts: int,
    steps: int,
    seed: int,
    *,
    pacing: float = 4.0,
    rounds: int = 20,
    batch: int = 256,
) -> ExpertNetwork:
    """
    Fit a mixture by the information-maximising curriculum, IMC (Blessing et al., 2023).

    Every expert weighs the demonstrations by ``q(z|s,a) q(a|s,z)^(1/pacing)`` and is fitted to
    them. The q(z|s,a) are the weights of the round before, normalised over the experts. So an
    expert may leave out what it cannot represent. As in the authors' code, a demonstration's
    greatest weight is one. Finally the gate learns the weights.

    :param steps: total steps of the experts, and then the same number for the gate.
    :param pacing: their eta; the greater, the longer the experts share.
    :param rounds: how often the curricula are updated.
    """
    generator = torch.Generator().manual_seed(seed)
    network = new_mixture(experts)
    log_weights = torch.zeros(len(data.chunks), experts)

    def renew() -> None:
        with torch.no_grad():
            for part in torch.arange(len(data.chunks)).split(4096):
                mixture = network(data.features[part])
                of_expert = mixture.expert_log_prob(data.chunks[part])
                posterior = log_weights[part].log_softmax(dim=-1)
                fresh = posterior + of_expert / pacing
                log_weights[part] = fresh - fresh.max(dim=-1, keepdim=True).values

    def expert_loss(step: int) -> Tensor:
        if step % max(1, steps // rounds) == 0:
            renew()
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        mixture = network(data.features[chosen])
        of_expert = mixture.expert_log_prob(data.chunks[chosen])
        return -(log_weights[chosen].exp() * of_expert).sum(dim=-1).mean() / VALUES

    _descend(network, expert_loss, steps, 2e-3)
    renew()

    def gate_loss(step: int) -> Tensor:
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        wanted = log_weights[chosen].softmax(dim=-1)
        return -(wanted * network(data.features[chosen]).log_weights).sum(dim=-1).mean()

    for parameter in network.expert_parameters():
        parameter.requires_grad_(False)
    _descend(network.gate, gate_loss, steps, 2e-3)
    return network.eval()


def vdd_settings(steps: int) -> VddConfig:
    """
    Return the task's settings, chosen on a separate seed (100).

    They have noised queries in an annealed band, a warm start and a fading likelihood of the
    teacher's chunks. Without the last two, experts leave ways.
    """
    return VddConfig(
        steps=steps, samples=2, learning_rate=2e-3, gate_learning_rate=2e-3, noised=True,
        path_gradient=True, low_begin=0.3, high_begin=0.6, low_end=0.03, high_end=0.15,
        anneal=0.4, clip_norm=10.0, warm=0.3, forward=0.5, forward_end=0.1,
    )  # fmt: skip


def distil_mixture(
    teacher: DiffusionPolicy,
    data: Data,
    experts: int,
    steps: int,
    seed: int,
    *,
    teacher_steps: int,
    batch: int = 128,
    drawn: int = 4096,
) -> ExpertNetwork:
    """
    Distil a teacher into a mixture by VDD, on the demonstrations' positions.

    :param teacher_steps: number of the teacher's sampling steps, for the gate.
    :param drawn: number of positions, each with one chunk of the teacher, from which batches are
        drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(data.features), (drawn,), generator=generator)
    condition = data.features[chosen]
    chunks = teacher.sample(condition, generator, teacher_steps)

    def batches(generator: torch.Generator) -> Batch:
        index = torch.randint(drawn, (batch,), generator=generator)
        return Batch(condition[index], chunks[index][None])

    return distil(
        new_mixture(experts), teacher, batches, vdd_settings(steps), seed=seed, quiet=True
    )


@torch.no_grad()
def sample_mixture(
    network: ExpertNetwork, condition: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw one chunk for each condition: ``(B, FEATURES)`` to ``(B, VALUES)``."""
    return cast(Tensor, network(condition).sample(1, generator)[0])
