# SPDX-License-Identifier: Apache-2.0
"""Mixtures of Gaussians as policies: by EM, by a curriculum (IMC), and by VDD of a teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from studies.behaviour.diffusion_policy import Data, descend, DiffusionPolicy, VALUES
from studies.common.expert_network import ExpertNetwork
from training.stages.mixture.vdd import Batch, VddConfig
from training.stages.mixture.vdd_training import distil


@dataclass(frozen=True)
class Drawn:
    """Chunks ``(N, VALUES)`` at features ``(N, F)``."""

    features: Tensor
    chunks: Tensor


def new_mixture(features: int, experts: int) -> ExpertNetwork:
    """Return the network of all mixtures, with fresh weights."""
    return ExpertNetwork(features, VALUES, experts=experts, width=128, depth=3, covariance='full')


def fit_mixture_to_chunks(
    data: Data, drawn: Drawn, experts: int, steps: int, seed: int, batch: int = 256
) -> ExpertNetwork:
    """Fit a mixture to chunks by expectation maximisation, by gradient steps."""
    config = VddConfig(
        steps=steps, reverse=0.0, real=1.0, gate_every=1, learning_rate=2e-3,
        gate_learning_rate=2e-3,
    )  # fmt: skip

    def batches(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(drawn.chunks), (batch,), generator=generator)
        real = drawn.chunks[chosen][None]
        return Batch(drawn.features[chosen], real, real)

    return distil(new_mixture(data.inputs, experts), None, batches, config, seed=seed, quiet=True)


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
    network = new_mixture(data.inputs, experts)
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

    descend(network, expert_loss, steps, 2e-3)
    renew()

    def gate_loss(step: int) -> Tensor:
        chosen = torch.randint(len(data.chunks), (batch,), generator=generator)
        wanted = log_weights[chosen].softmax(dim=-1)
        return -(wanted * network(data.features[chosen]).log_weights).sum(dim=-1).mean()

    for parameter in network.expert_parameters():
        parameter.requires_grad_(False)
    descend(network.gate, gate_loss, steps, 2e-3)
    return network.eval()


def vdd_settings(steps: int, kind: str) -> VddConfig:
    """
    Return the settings of VDD.

    :param steps: number of steps.
    :param kind: ``vdd`` has our additions, chosen on a separate seed (100): noised queries in an
        annealed band, entropies at the samples, a warm start and a fading likelihood of the
        teacher's chunks. ``vdd_bound`` lacks the last two: the bound alone. ``vdd_paper`` has
        none: un-noised queries at small noise, as published, with the same rates and batches.
    """
    common = VddConfig(
        steps=steps, samples=2, learning_rate=2e-3, gate_learning_rate=2e-3, clip_norm=10.0
    )
    if kind == 'vdd_paper':
        return common
    bound = replace(
        common, noised=True, path_gradient=True, low_begin=0.3, high_begin=0.6, low_end=0.03,
        high_end=0.15, anneal=0.4,
    )  # fmt: skip
    if kind == 'vdd_bound':
        return bound
    return replace(bound, warm=0.3, forward=0.5, forward_end=0.1)


def draw_chunks(
    teacher: DiffusionPolicy, data: Data, seed: int, sampling_steps: int, count: int = 4096
) -> Drawn:
    """Draw one chunk of the teacher at each of a number of the demonstrations' moments."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(data.features), (count,), generator=generator)
    condition = data.features[chosen]
    return Drawn(condition, teacher.sample(condition, generator, sampling_steps))


def distil_mixture(
    teacher: DiffusionPolicy,
    data: Data,
    drawn: Drawn,
    config: VddConfig,
    *,
    experts: int,
    seed: int,
    batch: int = 128,
) -> ExpertNetwork:
    """
    Distil a teacher into a mixture by VDD.

    :param drawn: moments and chunks of the teacher, from which batches are drawn.
    """

    def batches(generator: torch.Generator) -> Batch:
        index = torch.randint(len(drawn.chunks), (batch,), generator=generator)
        return Batch(drawn.features[index], drawn.chunks[index][None])

    network = new_mixture(data.inputs, experts)
    return distil(network, teacher, batches, config, seed=seed, quiet=True)


@torch.no_grad()
def sample_mixture(
    network: ExpertNetwork, condition: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw one chunk for each condition: ``(B, F)`` to ``(B, VALUES)``."""
    return cast(Tensor, network(condition).sample(1, generator)[0])
