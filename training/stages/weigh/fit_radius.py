# SPDX-License-Identifier: Apache-2.0
"""Fit the radius network by the pinball loss on people that neither model nor network has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor

from motion_predictor.body.geometry import bone_lengths, with_bones
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.networks.gate import Described, Gate
from motion_predictor.model.networks.radius_network import RadiusNetwork, stands_still
from motion_predictor.predict.place.candidates import Stance
from motion_predictor.predict.place.memory.recall import Recall
from motion_predictor.predict.place.mix import firmness
from motion_predictor.predict.place.weighing import tell
from training.judge.stream.kinds import ONSET
from training.stages.weigh.fit_gate import groups_of
from training.stages.weigh.weighing_data import Records

LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)
RARE_LEVEL = 0.99
"""From this level on, rare events that matter count more."""
ONSET_MISSES = 0.75
"""Share of a level's allowed misses that onsets may take here; strangers take more."""
_LEAST_M = 1e-4


@dataclass(frozen=True, kw_only=True)
class RadiusFit:
    """Settings for fitting the radius network."""

    steps: int = 500
    batch: int = 4096
    rate: float = 5e-3
    hidden: int = 64
    folds: int = 5
    """Number of folds of the people of one laboratory, if there is no other laboratory."""
    onset: float = 5.0
    """Factor on the weight of a person who stood still and then moves, from RARE_LEVEL on."""
    seed: int = 0


class _Network(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(len(mean), hidden)
        self.second = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, len(LEVELS))
        nn.init.normal_(self.output.weight, std=0.02)
        with torch.no_grad():
            self.output.bias[:] = torch.tensor([-3.0] + [-0.5] * (len(LEVELS) - 1))
        self.register_buffer('mean', mean)
        self.register_buffer('scale', scale)

    def forward(self, told: Tensor) -> Tensor:
        x = torch.tanh(self.first((told - self.mean) / self.scale))
        steps = self.output(torch.tanh(self.second(x)))
        return torch.cat((steps[..., :1], nn.functional.softplus(steps[..., 1:])), dim=-1).cumsum(
            dim=-1
        )

    def frozen(self, factor: NDArray[np.float32], still: NDArray[np.float32]) -> RadiusNetwork:
        def numbers(value: Tensor) -> NDArray[np.float32]:
            return np.ascontiguousarray(value.detach().numpy(), dtype=np.float32)

        return RadiusNetwork(
            numbers(self.mean), numbers(self.scale), numbers(self.first.weight.T),
            numbers(self.first.bias), numbers(self.second.weight.T), numbers(self.second.bias),
            numbers(self.output.weight.T), numbers(self.output.bias), factor, LEVELS, still,
        )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """The network's inputs for the moments of one part, and the real errors."""

    told: NDArray[np.float32]
    """Inputs of the network, (N, K, J, F)."""
    off: NDArray[np.float32]
    """Distance from the published future, metres, (N, K, J)."""
    people: NDArray[np.str_]
    onset: NDArray[np.bool_]
    """Whether the person stood still and then moved, (N,)."""

    def select(self, chosen: NDArray[np.bool_]) -> Told:
        """Return some of the moments."""
        return Told(self.told[chosen], self.off[chosen], self.people[chosen], self.onset[chosen])


def tell_part(part: Records, gate: Gate, skeleton: Skeleton, rate_hz: float) -> Told:
    """Compute the network's inputs in a node with this gate."""
    described = Described(part.features, part.means, part.available)
    weights = gate.weights(described, part.evidence)
    mean = (weights[..., None, None] * part.means).sum(axis=2)
    boned = with_bones(mean, bone_lengths(part.seen, skeleton)[:, None], skeleton)
    expected = mean + firmness(part.jitter)[:, None, None, None] * (boned - mean)
    off = np.linalg.norm(expected - part.truth, axis=-1).astype(np.float32)
    now = Stance(part.seen[:, -1], part.velocity, part.seen[:, -1], part.jitter, part.jitter)
    none = np.zeros((len(part), 0), np.float32)
    recall = Recall(None, none, part.distance, part.alike)
    told = tell(part.seen, now, part.means, weights, part.spreads, recall, rate_hz)
    people = np.char.add(part.laboratory + '/', part.subject)
    return Told(told, off, people, part.kind == ONSET)


def fit_network(groups: Sequence[Sequence[Told]], settings: RadiusFit) -> _Network:
    """Fit by the pinball loss of the logarithm, with equal weights of the groups."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    tensors = []
    for group in groups:
        rows = np.concatenate([part.told.reshape(-1, part.told.shape[-1]) for part in group])
        off = np.concatenate([part.off.reshape(-1) for part in group])
        counts = np.concatenate([_counts(part, settings.onset) for part in group])
        tensors.append(
            (
                torch.from_numpy(rows),
                torch.from_numpy(np.log(off + _LEAST_M)),
                torch.from_numpy(counts),
            )
        )
    joined = torch.cat([told[:: max(1, len(told) // 20_000)] for told, _, _ in tensors])
    mean, scale = joined.mean(dim=0), joined.std(dim=0).clamp_min(0.1)
    network = _Network(mean, scale, settings.hidden)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    levels = torch.tensor(LEVELS)
    weighing = 1.0 / (levels * (1.0 - levels)).sqrt()  # rare misses must not be drowned
    each = max(8, settings.batch // len(tensors))
    for _ in range(settings.steps):
        loss = torch.zeros(())
        for told, log_off, counts_of in tensors:
            drawn = torch.randint(len(told), (each,), generator=generator)
            beyond = log_off[drawn][:, None] - network(told[drawn])
            pinball = torch.maximum(levels * beyond, (levels - 1.0) * beyond)
            loss = loss + (counts_of[drawn] * weighing * pinball).mean()
        optimiser.zero_grad()
        (loss / len(tensors)).backward()
        optimiser.step()
        schedule.step()
    return network


def fit_radius(
    parts: Sequence[Records],
    gate: Gate,
    skeleton: Skeleton,
    rate_hz: float,
    settings: RadiusFit | None = None,
) -> RadiusNetwork:
    """
    Fit the network on everybody, and its factors on people left out.

    The method is cross-conformal (Vovk, 2015). The people of each laboratory are compared with a
    network that has seen none of them; a single laboratory is divided into folds. The factor of a
    level and horizon is the quantile of their error over their radius, with equal weights of the
    groups. From RARE_LEVEL on, people who stand still get the factor that those who then moved
    needed.

    :param parts: the records.
    :param gate: the gate.
    :param skeleton: the model's skeleton.
    :param rate_hz: frames per second.
    :param settings: settings of the fit.
    """
    settings = settings or RadiusFit()
    groups = [[tell_part(part, gate, skeleton, rate_hz) for part in g] for g in groups_of(parts)]
    left_out = _left_out(groups, settings)
    factor = np.ones((len(LEVELS), groups[0][0].off.shape[1]), dtype=np.float32)
    still = np.ones_like(factor)
    for level, share in enumerate(LEVELS):
        for knot in range(factor.shape[1]):
            ratios = [each.ratios[:, knot, :, level] for each in left_out]
            counts = [each.counts[:, knot, :, level] for each in left_out]
            factor[level, knot] = _shared_quantile(ratios, counts, share)
            begin = [each[group.begins].reshape(-1) for each, group in zip(ratios, left_out)]
            needed = np.concatenate(begin) / factor[level, knot]
            if share >= RARE_LEVEL and len(needed):
                asked = 1.0 - ONSET_MISSES * (1.0 - share)
                still[level, knot] = max(1.0, float(np.quantile(needed, asked)))
    return fit_network(groups, settings).frozen(factor, still)


@dataclass(frozen=True)
class _LeftOut:
    """A group's errors over the radii of networks that have not seen its people."""

    ratios: NDArray[np.float32]
    """Errors over radii, (N, K, J, L)."""
    counts: NDArray[np.float32]
    begins: NDArray[np.bool_]
    """Whether the person stood still, as far as the node knows, and then moved, (N,)."""


def _left_out(groups: Sequence[Sequence[Told]], settings: RadiusFit) -> list[_LeftOut]:
    found: list[list[_LeftOut]] = [[] for _ in groups]
    fold_of = _folds(groups, settings.folds)
    for fold in sorted(set(fold_of.values())):
        kept, left = _split(groups, fold_of, fold)
        network = fit_network([group for group in kept if group], settings)
        for index, group in enumerate(left):
            for part in group:
                with torch.no_grad():
                    radii = np.exp(network(torch.from_numpy(part.told)).numpy())  # (N, K, J, L)
                counts = _counts(part, settings.onset).reshape(radii.shape)
                begins = part.onset & stands_still(part.told)[:, 0]
                found[index].append(_LeftOut(part.off[..., None] / radii, counts, begins))
    return [
        _LeftOut(*(np.concatenate([getattr(part, entry.name) for part in group])
                   for entry in fields(_LeftOut)))
        for group in found
        if group
    ]  # fmt: skip


def _folds(groups: Sequence[Sequence[Told]], count: int) -> dict[str, int]:
    # Return the fold of each person: that of the laboratory.
    people = sorted({str(person) for group in groups for part in group for person in part.people})
    laboratories = sorted({person.rpartition('/')[0] for person in people})
    if len(laboratories) < 2:
        return {person: index % count for index, person in enumerate(people)}
    return {person: laboratories.index(person.rpartition('/')[0]) for person in people}


def _counts(part: Told, onset: float) -> NDArray[np.float32]:
    # Return the weight of each error at each level, (N K J, L).
    shape = (*part.off.shape, len(LEVELS))
    counts = np.ones(shape, dtype=np.float32)
    rare = np.array(LEVELS) >= RARE_LEVEL
    counts[part.onset] = np.where(rare, onset, 1.0)
    return counts.reshape(-1, len(LEVELS))


def _split(
    groups: Sequence[Sequence[Told]], fold_of: dict[str, int], fold: int
) -> tuple[list[list[Told]], list[list[Told]]]:
    kept: list[list[Told]] = []
    left: list[list[Told]] = []
    for group in groups:
        inside: list[Told] = []
        outside: list[Told] = []
        for part in group:
            out = np.array([fold_of[person] == fold for person in part.people], dtype=bool)
            for chosen, where in ((~out, inside), (out, outside)):
                if chosen.any():
                    where.append(part.select(chosen))
        kept.append(inside)
        left.append(outside)
    return kept, left


def _shared_quantile(values: Sequence[NDArray], counts: Sequence[NDArray], share: float) -> float:
    """Return the quantile of weighted values of several groups with equal weights."""
    every = np.concatenate([each.reshape(-1) for each in values])
    weights = np.concatenate([each.reshape(-1) / each.sum() for each in counts])
    order = np.argsort(every)
    held = np.cumsum(weights[order]) / weights.sum()
    return float(every[order][min(int(np.searchsorted(held, share)), len(every) - 1)])
