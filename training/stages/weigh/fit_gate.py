# SPDX-License-Identifier: Apache-2.0
"""Fit the gate by the energy score of the weighted whole and the error of its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor

from motion_predictor.model.candidates import CANDIDATES, MEMORIES, MEMORY
from motion_predictor.model.networks.gate import Gate
from training.stages.weigh.weighing_data import Records

HIDDEN = 24
LEAST_TRUST = tuple(4.0 if m.kept in (0.6, 0.98) else 0.0 for m in MEMORIES)
"""Least trust in a person's last second and in the place's last minute, chosen on left-out
laboratories."""
_GUESSES = MEMORY  # these candidates are always available


@dataclass(frozen=True, kw_only=True)
class GateFit:
    """Settings for fitting the gate."""

    steps: int = 400
    batch: int = 2048
    rate: float = 1e-2
    decay: float = 1e-4
    hidden: int = HIDDEN
    energy: float = 1.0
    """Weight of the energy score, relative to the error of the mean."""
    seed: int = 0


class _Network(nn.Module):
    mean: Tensor
    scale: Tensor
    least: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, knots: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(len(mean), hidden)
        self.output = nn.Linear(hidden, len(CANDIDATES))
        nn.init.normal_(self.output.weight, std=0.05)
        nn.init.zeros_(self.output.bias)
        self.more_trust = nn.Parameter(torch.full((knots, len(MEMORIES)), -1.0))
        self.register_buffer('mean', mean)
        self.register_buffer('scale', scale)
        self.register_buffer('least', torch.tensor(LEAST_TRUST))

    @property
    def trust(self) -> Tensor:
        return self.least + nn.functional.softplus(self.more_trust)

    def forward(self, features: Tensor, evidence: Tensor, available: Tensor) -> Tensor:
        hidden = torch.tanh(self.hidden((features - self.mean) / self.scale))
        logits = self.output(hidden) - (self.trust[:, :, None] * evidence).sum(dim=2)
        return torch.softmax(logits.masked_fill(~available[:, None], -1e4), dim=-1)

    def go_on_from(self, gate: Gate) -> None:
        """Copy a gate's parameters."""
        more = np.maximum(gate.trust - np.array(LEAST_TRUST, dtype=np.float32), 1e-3)
        numbers = {
            'mean': gate.mean, 'scale': gate.scale, 'hidden.weight': gate.hidden.T,
            'hidden.bias': gate.hidden_bias, 'output.weight': gate.output.T,
            'output.bias': gate.output_bias, 'more_trust': np.log(np.expm1(more)),
        }  # fmt: skip
        state = {name: torch.from_numpy(value.copy()) for name, value in numbers.items()}
        self.load_state_dict({**state, 'least': self.least})

    def frozen(self) -> Gate:
        def numbers(value: Tensor) -> NDArray[np.float32]:
            return np.ascontiguousarray(value.detach().numpy(), dtype=np.float32)

        return Gate(
            numbers(self.mean), numbers(self.scale), numbers(self.hidden.weight.T),
            numbers(self.hidden.bias), numbers(self.output.weight.T), numbers(self.output.bias),
            numbers(self.trust),
        )  # fmt: skip


def best_guess(part: Records) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Score the best of model, damped velocity and standing still, chosen afterwards by horizon.

    :returns: error of its mean (metres per joint) and its energy score, ``(K,)`` each.
    """
    off = np.linalg.norm(part.means - part.truth[:, :, None], axis=-1).mean(axis=(0, 3))
    own = np.diagonal(part.between, axis1=2, axis2=3)
    energy = (part.near - 0.5 * own).mean(axis=0)
    return off[:, :_GUESSES].min(axis=1), energy[:, :_GUESSES].min(axis=1)


def groups_of(parts: Sequence[Records]) -> list[list[Records]]:
    """Group the records of one laboratory and one way of playing; each group has equal weight."""
    found: dict[tuple[str, int], list[Records]] = {}
    for part in parts:
        found.setdefault((part.laboratory, part.play), []).append(part)
    return list(found.values())


def fit_gate(
    parts: Sequence[Records], settings: GateFit | None = None, start: Gate | None = None
) -> Gate:
    """
    Fit the gate on people that the model has not seen.

    The loss is the energy score of the weighted whole plus the error of its mean. Both are
    relative to the best guess of the group (see :func:`best_guess`), so every laboratory and every
    horizon has equal weight.

    :param parts: the records.
    :param settings: settings of the fit.
    :param start: a gate to continue from, for a place with few recordings.
    """
    settings = settings or GateFit()
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    groups = [_Group(group) for group in groups_of(parts)]
    knots = groups[0].features.shape[1]
    told = torch.cat([group.features.flatten(0, 1) for group in groups])
    mean, scale = told.mean(dim=0), told.std(dim=0).clamp_min(0.1)
    mean[-knots:], scale[-knots:] = 0.0, 1.0
    network = _Network(mean, scale, knots, settings.hidden)
    if start is not None:
        network.go_on_from(start)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.rate, weight_decay=settings.decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    each = max(8, settings.batch // len(groups))
    for _ in range(settings.steps):
        drawn = [group.draw(each, generator) for group in groups]
        loss = _loss(network, [torch.cat(column) for column in zip(*drawn)], settings.energy)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.frozen()


class _Group:
    """The moments of one laboratory and one way of playing, as tensors."""

    def __init__(self, parts: Sequence[Records]) -> None:
        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))

        self.features, self.evidence = joined('features'), joined('evidence')
        self.available, self.means, self.truth = (
            joined('available'), joined('means'), joined('truth'),
        )  # fmt: skip
        self.near, self.between = joined('near'), joined('between')
        scores = [best_guess(part) for part in parts]
        share = np.array([len(part) for part in parts], dtype=np.float32)
        share /= share.sum()
        self.off = torch.from_numpy(sum(s * o for s, (o, _) in zip(share, scores)))
        self.energy = torch.from_numpy(sum(s * e for s, (_, e) in zip(share, scores)))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw moments at random, with the scores of the best guess."""
        chosen = torch.randint(len(self.features), (count,), generator=generator)
        columns = (
            self.features, self.evidence, self.available, self.means, self.truth, self.near,
            self.between,
        )  # fmt: skip
        scores = (self.off.expand(count, -1), self.energy.expand(count, -1))
        return (*(column[chosen] for column in columns), *scores)


def _loss(network: _Network, drawn: Sequence[Tensor], energy: float) -> Tensor:
    features, evidence, available, means, truth, near, between, best_off, best_energy = drawn
    weights = network(features, evidence, available)
    mean = (weights[..., None, None] * means).sum(dim=2)
    off = (mean - truth).norm(dim=-1).mean(dim=-1)  # (B, K)
    pairs = torch.einsum('bkc,bkcd,bkd->bk', weights, between, weights)
    score = (weights * near).sum(dim=-1) - 0.5 * pairs
    return (off / best_off).mean() + energy * (score / best_energy).mean()
