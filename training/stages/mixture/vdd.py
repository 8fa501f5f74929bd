# SPDX-License-Identifier: Apache-2.0
"""Variational Diffusion Distillation (arXiv 2406.12538): a diffusion teacher into a mixture.

The student ``q(a|s) = sum_z q(z|s) q(a|s,z)`` minimises ``KL(q || p)`` to a teacher p that is
known through its score alone. With responsibilities ``r(z|s,a)`` of the frozen student the bound
falls apart into one objective for each expert,

    E_{a ~ q(a|s,z)} [ log p(a|s) + log r(z|s,a) ] + H(q(a|s,z)),

whose first term's gradient is the teacher's score at reparametrised samples. The gate learns by
cross-entropy to the responsibilities of the teacher's samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.mixture import GaussianMixture

GATES = ('learned', 'uniform')


class Student(Protocol):
    """A network that outputs a mixture, such as :class:`ExpertNetwork`."""

    def __call__(self, condition: Tensor) -> GaussianMixture:
        """Return the mixture under each condition, ``(B, ...)``."""

    def gate_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the gate's own optimiser trains."""

    def expert_parameters(self) -> list[nn.Parameter]:
        """Return all other parameters."""


StudentNetwork = TypeVar('StudentNetwork', bound=nn.Module)


class ScoreTeacher(Protocol):
    """The interface of a conditional diffusion model for VDD."""

    @property
    def levels(self) -> int:
        """Return the number of noise levels; 0 is the cleanest."""

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return signal and noise of levels: noised values are ``signal * a + noise * eps``.

        :param level: ``(B,)`` whole numbers.
        :returns: two tensors ``(B,)``.
        """
        ...

    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """
        Return the gradient of the log density of noised values.

        :param noisy: ``(M, B, N)``.
        :param condition: ``(B, ...)``.
        :param level: ``(B,)``.
        :returns: ``(M, B, N)``, without gradient.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class VddConfig:
    """Settings of the distillation; the extensions to the paper are our own and off by default."""

    steps: int
    """Number of steps; 0: the student stays as it is."""
    samples: int = 2
    """Reparametrised samples of an expert per step."""
    experts_a_step: int = 0
    """Experts drawn for each step; 0: all of them."""
    conditions_a_step: int = 0
    """Number of conditions of a batch, the first ones, for which the score is computed; 0: all of
    them."""
    learning_rate: float = 1e-3
    """Adam's rate, falling linearly to zero."""
    gate_learning_rate: float = 1e-3
    gate_every: int = 2
    """Number of expert steps per gate step."""
    gate: str = 'learned'
    """'learned', or 'uniform': left as it is."""
    noised: bool = False
    """Whether the score is computed for noised samples and compared with the noised mixture (the
    paper: un-noised)."""
    path_gradient: bool = False
    """Whether the entropy is estimated at the samples; see :func:`expert_bound`."""
    low_begin: float = 0.01
    """Lowest noise level at the start, as a share of the teacher's levels."""
    high_begin: float = 0.1
    """Highest noise level at the start."""
    low_end: float = 0.01
    high_end: float = 0.1
    """Highest noise level at the end; the band moves linearly between the two."""
    anneal: float = 1.0
    """Share of the steps after which band and temperature have reached their ends."""
    temperature: float = 1.0
    """Temperature of the responsibilities at the start; it falls geometrically to 1."""
    warm: float = 0.0
    """Share of the first steps without score: maximum likelihood alone."""
    reverse: float = 1.0
    """Weight of the experts' bound after the warm start."""
    forward: float = 0.0
    """Weight of the log likelihood of the teacher's samples after the warm start."""
    forward_end: float = 0.0
    """Value to which ``forward`` falls linearly."""
    real: float = 0.0
    """Weight of the log likelihood of the real values, throughout."""
    winner: bool = False
    """Whether likelihood terms go only to the nearest expert: winner-takes-all."""
    clip_norm: float = 10.0
    ema: float = 0.0
    """Decay of the average of the weights; 0: none."""
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.gate not in GATES:
            raise ConfigError(f'gate={self.gate!r}: must be one of {GATES}')
        for name, least in (('steps', 0), ('samples', 1), ('gate_every', 1), ('save_every', 1)):
            if getattr(self, name) < least:
                raise ConfigError(f'{name}={getattr(self, name)}: must be at least {least}')
        for low, high in ((self.low_begin, self.high_begin), (self.low_end, self.high_end)):
            if not 0.0 <= low <= high <= 1.0:
                raise ConfigError(f'noise band {low}..{high}: must rise within 0..1')
        if not self.temperature >= 1.0:
            raise ConfigError(f'temperature={self.temperature}: must be at least 1')
        if not 0.0 < self.anneal <= 1.0:
            raise ConfigError(f'anneal={self.anneal}: must lie in 0..1, above 0')
        if not (0.0 <= self.warm <= 1.0 and 0.0 <= self.ema < 1.0):
            raise ConfigError(f'warm={self.warm}, ema={self.ema}: must lie in 0..1')


@dataclass(frozen=True)
class Batch:
    """
    The data of one step.

    ``condition`` is (B, ...). ``drawn`` is (M, B, N), samples of the teacher. ``real`` is (M', B,
    N), recorded values, used if ``VddConfig.real`` is above 0. ``whole`` is (B, ...), for a
    further term. The teacher's score can be computed for the first ``known`` conditions; None: for
    all of them.
    """

    condition: Tensor
    drawn: Tensor
    real: Tensor | None = None
    whole: Tensor | None = None
    known: int | None = None


Batches = Callable[[torch.Generator], Batch]
"""A function that returns a step's batch."""
FurtherTerm = Callable[[GaussianMixture, Batch, float], Tensor]
"""A further term, minimised with the experts' terms; its last argument is the progress of the
training, 0..1."""


def draw_levels(
    config: VddConfig, levels: int, count: int, progress: float, generator: torch.Generator
) -> Tensor:
    """
    Draw noise levels from the band at some point of the training.

    :param config: settings.
    :param levels: number of the teacher's levels.
    :param count: B.
    :param progress: 0 at the first step, 1 at the last.
    :param generator: source of randomness.
    :returns: whole numbers ``(B,)``, each in 0..levels - 1.
    """
    progress = min(1.0, progress / config.anneal)
    low = config.low_begin + progress * (config.low_end - config.low_begin)
    high = config.high_begin + progress * (config.high_end - config.high_begin)
    share = low + (high - low) * torch.rand(count, generator=generator, device=generator.device)
    return (share * (levels - 1)).round().long()


def expert_bound(
    mixture: GaussianMixture,
    teacher: ScoreTeacher,
    condition: Tensor,
    level: Tensor,
    *,
    samples: int,
    noised: bool = False,
    temperature: float = 1.0,
    path_gradient: bool = False,
    experts: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """
    Return each expert's part of the bound, up to a constant: its GRADIENT is what counts.

    The score is held constant and multiplied with the sample; the gradient is then that of ``log
    p``. With ``noised`` both sides are noised to the level first: a noised mixture is a mixture
    again, so responsibilities and entropies stay closed forms, and the bound is that of
    ``KL(q_level || p_level)``, weighed by the level's noise.

    :param mixture: the mixture, with gradients.
    :param teacher: gives the score.
    :param condition: ``(B, ...)``.
    :param level: ``(B,)``.
    :param samples: number of samples of each expert, M.
    :param temperature: temperature of the responsibilities.
    :param path_gradient: whether the entropy is estimated at the same samples by the frozen
        expert's log density, so that the gradient reaches it only through the samples (Roeder, Wu
        and Duvenaud, 2017, "sticking the landing"). The mean gradient is the same, but it has no
        noise where the student equals the teacher; that of the closed form does not vanish there.
    :param experts: numbers of the experts to update, ``(E',)``; None for all.
    :param generator: source of randomness.
    :returns: ``(B, E')``, to be maximised.
    """
    weight = torch.ones_like(mixture.log_weights[:, 0])
    if noised:
        signal, weight = teacher.scales(level)
        mixture = mixture.noised(signal, weight)
    if experts is None:
        experts = torch.arange(mixture.experts, device=mixture.means.device)
    own = mixture.select(experts)
    drawn = own.sample_experts(samples, generator)  # (M, B, E', N)
    flat = drawn.transpose(1, 2).flatten(0, 1)  # (M E', B, N)
    with torch.no_grad():
        score = teacher.score(flat.detach(), condition, level)
    log_r = mixture.detach().log_responsibilities(flat, temperature)  # (M E', B, E)
    log_r = log_r.unflatten(0, (samples, len(experts)))  # (M, E', B, E)
    index = experts[None, :, None, None].expand(samples, -1, log_r.shape[2], 1)
    log_r = log_r.gather(-1, index).squeeze(-1)  # (M, E', B)
    log_p = (score * flat).sum(dim=-1).unflatten(0, (samples, len(experts)))
    inner = (log_p + log_r).mean(dim=0).T  # (B, E')
    if path_gradient:
        frozen = own.detach()
        entropy = -frozen.covariance.log_density(drawn - frozen.means).mean(dim=0)  # (B, E')
    else:
        entropy = own.entropies()
    return weight[:, None] * (inner + entropy)


def likelihood(
    mixture: GaussianMixture, values: Tensor, *, temperature: float = 1.0, winner: bool = False
) -> Tensor:
    """
    Return the experts' likelihood of values, weighed by frozen responsibilities (the E step).

    At temperature 1 its gradient in the experts is that of the log likelihood.

    :param values: ``(M, B, N)``.
    :param temperature: temperature of the responsibilities.
    :param winner: whether only the expert with the nearest mean counts (winner-takes-all).
    :returns: nats per value: the mean over M, B and N.
    """
    log_p, targets = _responsible(mixture, values, temperature, winner)
    return (targets * log_p).sum(dim=-1).mean() / mixture.size


def gate_loss(
    mixture: GaussianMixture, values: Tensor, *, temperature: float = 1.0, winner: bool = False
) -> Tensor:
    """
    Return the gate's cross-entropy to the responsibilities of values.

    :param values: samples of the teacher, ``(M, B, N)``.
    """
    with torch.no_grad():
        targets = _responsible(mixture, values, temperature, winner)[1]
    return -(targets * mixture.log_weights).sum(dim=-1).mean()


def _responsible(
    mixture: GaussianMixture, values: Tensor, temperature: float, winner: bool
) -> tuple[Tensor, Tensor]:
    """Return every expert's log density and its frozen share of values, each ``(M, B, E)``."""
    log_p = mixture.expert_log_prob(values)
    with torch.no_grad():
        if not winner:
            return log_p, torch.softmax(mixture.log_weights + log_p / temperature, dim=-1)
        distance = (values.unsqueeze(-2) - mixture.means).square().sum(dim=-1)  # (M, B, E)
        nearest = nn.functional.one_hot(distance.argmin(dim=-1), mixture.experts)
        return log_p, nearest.to(values.dtype)


def step_losses(
    mixture: GaussianMixture,
    teacher: ScoreTeacher | None,
    batch: Batch,
    config: VddConfig,
    progress: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """
    Return one step's terms; separate optimisers minimise ``'experts'`` and ``'gate'``.

    :param mixture: mixture under the batch's conditions, with gradients.
    :param teacher: the teacher; None if the bound has no weight.
    :param progress: 0 at the first step, 1 at the last.
    :param generator: source of randomness.
    """
    temperature = config.temperature ** (1.0 - min(1.0, progress / config.anneal))
    options: dict[str, Any] = {'temperature': temperature, 'winner': config.winner}
    warm = progress < config.warm
    terms: dict[str, Tensor] = {}
    loss = torch.zeros((), device=mixture.means.device)
    if teacher is not None and config.reverse > 0.0 and not warm and batch.known != 0:
        bound = _bound_of_step(mixture, teacher, batch, config, progress, temperature, generator)
        terms['bound'] = bound.mean() / mixture.size
        loss = loss - config.reverse * terms['bound']
    after = max(0.0, progress - config.warm) / max(1e-9, 1.0 - config.warm)
    forward = 1.0 if warm else config.forward + after * (config.forward_end - config.forward)
    seen = {'forward': batch.drawn} if forward > 0.0 else {}
    if config.real > 0.0:
        if batch.real is None:
            raise ConfigError(f'real={config.real}: the batches hold no recorded values')
        seen['real'] = batch.real
    shares = []
    for name, values in seen.items():
        log_p, targets = _responsible(mixture, values, **options)
        terms[name] = (targets * log_p).sum(dim=-1).mean() / mixture.size
        loss = loss - (forward if name == 'forward' else config.real) * terms[name]
        shares.append(targets)
    terms['experts'] = loss
    if shares:
        terms['gate'] = -(torch.cat(shares) * mixture.log_weights).sum(dim=-1).mean()
    else:
        terms['gate'] = gate_loss(mixture, batch.drawn, **options)
    return terms


def _bound_of_step(
    mixture: GaussianMixture,
    teacher: ScoreTeacher,
    batch: Batch,
    config: VddConfig,
    progress: float,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the bound for the conditions and experts of a step."""
    count = config.conditions_a_step or len(mixture.means)
    if batch.known is not None:
        count = min(count, batch.known)
    asked, given = mixture, batch.condition
    if count < len(mixture.means):
        asked, given = mixture.condition(slice(0, count)), batch.condition[:count]
    level = draw_levels(config, teacher.levels, len(asked.means), progress, generator)
    experts = None
    if 0 < config.experts_a_step < mixture.experts:
        order = torch.randperm(mixture.experts, generator=generator, device=generator.device)
        experts = order[: config.experts_a_step]
    return expert_bound(
        asked,
        teacher,
        given,
        level,
        samples=config.samples,
        noised=config.noised,
        temperature=temperature,
        path_gradient=config.path_gradient,
        experts=experts,
        generator=generator,
    )
