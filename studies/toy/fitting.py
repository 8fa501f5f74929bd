# SPDX-License-Identifier: Apache-2.0
"""The methods that fit a mixture of Gaussians to a density in the plane: VDD and EM."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np
from scipy.cluster.vq import kmeans2
import torch
from torch import nn, Tensor

from motion_predictor.model.networks.mixture import GaussianMixture
from studies.common.covariances import Full
from training.stages.mixture.vdd import Batch, ScoreTeacher, VddConfig
from training.stages.mixture.vdd_training import distil

METHODS = {
    'vdd': 'VDD',
    'vdd_paper': 'VDD, un-noised queries',
    'vdd_exact': 'VDD, exact score',
    'em_data': 'EM on the data',
    'em_teacher': "EM on the teacher's samples",
}


def cluster_centres(points: Tensor, experts: int, seed: int, starts: int = 10) -> Tensor:
    """
    Find centres by k-means++, the start of EM and VDD alike.

    :param points: ``(N, 2)``.
    :param starts: number of starts, of which the one with the smallest distances is taken.
    :returns: ``(E, 2)``, float64.
    """
    values = points.double().numpy()
    found: list[tuple[float, np.ndarray]] = []
    for number in range(starts):
        centres, nearest = kmeans2(values, experts, minit='++', seed=seed * 1000 + number)
        found.append((float(np.square(values - centres[nearest]).sum()), centres))
    return torch.from_numpy(min(found, key=lambda one: one[0])[1])


def expectation_maximisation(
    points: Tensor, experts: int, seed: int, iterations: int = 100, floor: float = 1e-4
) -> GaussianMixture:
    """
    Fit a mixture by EM from k-means++ (Dempster, Laird and Rubin, 1977).

    :param points: ``(N, 2)``.
    :param floor: added to the covariances' diagonal.
    """
    points = points.double()
    nearest = torch.cdist(points, cluster_centres(points, experts, seed)).argmin(dim=1)
    weights = nn.functional.one_hot(nearest, experts).double()
    mixture = _maximise(points, weights, floor)
    for _ in range(iterations):
        weights = mixture.log_responsibilities(points[:, None]).exp()[:, 0]
        mixture = _maximise(points, weights, floor)
    return GaussianMixture(
        mixture.log_weights.float(),
        mixture.means.float(),
        Full(torch.linalg.cholesky(mixture.covariance.matrix()).float()),
    )


def _maximise(points: Tensor, weights: Tensor, floor: float) -> GaussianMixture:
    mass = weights.sum(dim=0).clamp_min(1e-6)
    means = (weights.T @ points) / mass[:, None]
    apart = points[:, None] - means  # (N, E, 2)
    covariance = torch.einsum('ne,nei,nej->eij', weights, apart, apart) / mass[:, None, None]
    covariance = covariance + floor * torch.eye(2, dtype=points.dtype)
    return GaussianMixture(
        (mass / mass.sum()).log()[None], means[None], Full(torch.linalg.cholesky(covariance)[None])
    )


class FreeExperts(nn.Module):
    """Mixtures whose parameters are free, one for each of B seeds, all trained at once."""

    def __init__(
        self, seeds: Sequence[int], experts: int, drawn: Tensor, scale: float = 0.3
    ) -> None:
        """
        Start every mixture at centres of its samples, by k-means++ as EM does.

        :param seeds: B seeds.
        :param experts: number of experts.
        :param drawn: samples, ``(N, B, 2)``.
        :param scale: standard deviation of each expert at the start.
        """
        super().__init__()
        centres = [cluster_centres(drawn[:, i], experts, seed) for i, seed in enumerate(seeds)]
        means = torch.stack(centres).float()
        self.means = nn.Parameter(means)
        self.log_scale = nn.Parameter(torch.full_like(means, math.log(scale)))
        self.lower = nn.Parameter(torch.zeros(len(seeds), experts, 2, 2))
        self.logits = nn.Parameter(torch.zeros(len(seeds), experts))

    def forward(self, condition: Tensor) -> GaussianMixture:
        """Return all mixtures; the condition is ignored."""
        tril = self.log_scale.exp().unsqueeze(-1) * (self.lower.tril(-1) + torch.eye(2))
        return GaussianMixture(self.logits.log_softmax(dim=-1), self.means, Full(tril))

    def gate_parameters(self) -> list[nn.Parameter]:
        """See :class:`training.stages.mixture.vdd.Student`."""
        return [self.logits]

    def expert_parameters(self) -> list[nn.Parameter]:
        """See :class:`training.stages.mixture.vdd.Student`."""
        return [self.means, self.log_scale, self.lower]


def vdd_settings(steps: int, noised: bool) -> VddConfig:
    """Return the settings for the toys: the annealed band with noised queries, or the paper's."""
    begin, end = ((0.3, 0.6), (0.0, 0.02)) if noised else ((0.02, 0.1), (0.02, 0.1))
    return VddConfig(
        steps=steps,
        samples=4,
        learning_rate=5e-2,
        gate_learning_rate=5e-2,
        noised=noised,
        low_begin=begin[0],
        high_begin=begin[1],
        low_end=end[0],
        high_end=end[1],
        anneal=0.4,
        clip_norm=1e6,
        path_gradient=True,
        warm=0.2 if noised else 0.0,  # otherwise some experts come to span two modes and stay so
    )


def distil_toy(
    teacher: ScoreTeacher,
    drawn: Tensor,
    experts: int,
    config: VddConfig,
    seeds: Sequence[int],
) -> list[GaussianMixture]:
    """
    Distil a teacher of the plane, once for each seed.

    :param drawn: samples of the teacher, for start and gate, ``(N, B, 2)``.
    :returns: B mixtures, each of one condition.
    """
    network = FreeExperts(seeds, experts, drawn)
    nothing = torch.zeros(len(seeds), 1)

    def batches(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(drawn), (128,), generator=generator)
        return Batch(nothing, drawn[chosen])

    distil(network, teacher, batches, config, seed=seeds[0], quiet=True)
    with torch.no_grad():
        mixture = network(nothing).detach()
    assert isinstance(mixture.covariance, Full)
    return [
        GaussianMixture(
            mixture.log_weights[i : i + 1],
            mixture.means[i : i + 1],
            Full(mixture.covariance.tril[i : i + 1]),
        )
        for i in range(len(seeds))
    ]
