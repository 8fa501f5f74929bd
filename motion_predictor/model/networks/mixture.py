# SPDX-License-Identifier: Apache-2.0
"""Mixtures of Gaussian experts: density, samples and moments in closed form.

The axes are B conditions, E experts, N values and M samples. Densities are sums of exponentials
that underflow in hundreds of dimensions, so everything here stays in logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from motion_predictor.model.networks.covariance import Covariance, LOG_2PI


@dataclass(frozen=True)
class RankedSamples:
    """
    Samples of a mixture in order of weight.

    ``values`` is (B, S, N); ``weights`` is (B, S), each row sums to one; ``experts`` is (B, S),
    the number of each sample's expert.
    """

    values: Tensor
    weights: Tensor
    experts: Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """
    ``q(a|s) = sum_z q(z|s) N(a; mu_z(s), Sigma_z(s))`` for B conditions s and E experts z.

    ``log_weights`` is (B, E); the exponentials of each row sum to one. ``means`` is (B, E, N).
    ``points`` (B, E, N) represent the experts where single values are needed; None: the means do.
    They play no part in the density.
    """

    log_weights: Tensor
    means: Tensor
    covariance: Covariance
    points: Tensor | None = None

    @property
    def experts(self) -> int:
        """Return the number of experts, E."""
        return self.means.shape[1]

    @property
    def size(self) -> int:
        """Return the number of values, N."""
        return self.means.shape[2]

    @property
    def representatives(self) -> Tensor:
        """Return the value that represents each expert, ``(B, E, N)``."""
        return self.means if self.points is None else self.points

    def expert_log_prob(self, values: Tensor) -> Tensor:
        """
        Return the log density of every expert.

        :param values: ``(..., B, N)``.
        :returns: ``(..., B, E)``, nats.
        """
        return self.covariance.log_density(values.unsqueeze(-2) - self.means)

    def log_prob(self, values: Tensor) -> Tensor:
        """
        Return the log density of the mixture.

        :param values: ``(..., B, N)``.
        :returns: ``(..., B)``, nats.
        """
        return torch.logsumexp(self.log_weights + self.expert_log_prob(values), dim=-1)

    def log_responsibilities(self, values: Tensor, temperature: float = 1.0) -> Tensor:
        """
        Return ``log r(z|s,a)``, the probability of each expert given a value.

        :param values: ``(..., B, N)``.
        :param temperature: above 1 makes the probabilities more even; in many dimensions they are
            otherwise one-hot.
        :returns: ``(..., B, E)``; the exponentials sum to one over E.
        """
        joint = self.log_weights + self.expert_log_prob(values) / temperature
        return torch.log_softmax(joint, dim=-1)

    def sample_experts(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """
        Draw samples from every expert, differentiably (the reparametrised gradient).

        :param count: number of samples of each expert, M.
        :param generator: source of randomness.
        :returns: ``(M, B, E, N)``.
        """
        shape = (count, *self.log_weights.shape, self.covariance.noise_size)
        noise = torch.randn(
            shape, generator=generator, dtype=self.means.dtype, device=self.means.device
        )
        return self.means + self.covariance.deviate(noise)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """
        Draw samples from the mixture.

        :param count: number of samples for each condition, M.
        :param generator: source of randomness.
        :returns: ``(M, B, N)``.
        """
        weights = self.log_weights.exp()
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)  # (B, M)
        drawn = self.sample_experts(count, generator)
        index = chosen.T[..., None, None].expand(-1, -1, 1, self.size)
        return drawn.gather(2, index).squeeze(2)

    def entropies(self) -> Tensor:
        """Return each expert's differential entropy, ``(B, E)``, nats."""
        volume = self.covariance.log_volume() + 0.5 * self.size * (LOG_2PI + 1.0)
        return volume.expand(self.log_weights.shape)

    def mean(self) -> Tensor:
        """Return the mixture's mean, ``(B, N)``."""
        return (self.log_weights.exp().unsqueeze(-1) * self.means).sum(dim=1)

    def total_covariance(self) -> Tensor:
        """Return the mixture's covariance by the law of total covariance, ``(B, N, N)``."""
        weights = self.log_weights.exp()
        apart = self.means - self.mean().unsqueeze(1)
        return self.covariance.average(weights) + (weights.unsqueeze(-1) * apart).mT @ apart

    def noised(self, signal: Tensor, noise: Tensor) -> GaussianMixture:
        """
        Return the mixture of the noised values ``signal * a + noise * eps``.

        The result has no points of its own.

        :param signal: factor for each condition, ``(B,)``.
        :param noise: standard deviation of the noise for each condition, ``(B,)``.
        """
        signal, noise = signal[:, None, None], noise[:, None, None]
        return GaussianMixture(
            self.log_weights, signal * self.means, self.covariance.noised(signal, noise)
        )

    def widened(self, factor: float) -> GaussianMixture:
        """Return the mixture with all deviations multiplied; means and weights stay."""
        return replace(self, covariance=self.covariance.widened(factor))

    def spread_out(self, factor: float) -> GaussianMixture:
        """Return the mixture with its means moved apart by a factor; their weighted mean stays."""
        return replace(self, means=torch.lerp(self.mean().unsqueeze(1), self.means, factor))

    def select(self, experts: Tensor) -> GaussianMixture:
        """
        Return the mixture of some experts; their weights stay as they are.

        :param experts: numbers of the experts, ``(E',)``.
        """
        return GaussianMixture(
            self.log_weights[:, experts],
            self.means[:, experts],
            self.covariance.select(experts),
            None if self.points is None else self.points[:, experts],
        )

    def condition(self, keep: slice | Tensor) -> GaussianMixture:
        """Return the mixtures under some of the B conditions, by a slice or by their numbers."""
        return GaussianMixture(
            self.log_weights[keep],
            self.means[keep],
            self.covariance.condition(keep),
            None if self.points is None else self.points[keep],
        )

    def ranked(
        self, noise: Tensor, places: Tensor | None = None, apart: float = 1.0
    ) -> RankedSamples:
        """
        Return futures in order of weight: the experts' representatives, then stratified draws.

        If there are at least as many samples as experts, the first E samples are the
        representatives (the means, or points of their own) in order of weight. The other samples
        are drawn from the experts in proportion to their weights, with a systematic grid instead
        of independent draws. All samples of an expert share its weight. If there are fewer samples
        than experts, the samples are the means that represent all others best (:func:`covering`),
        the heaviest first. Each has the weight of all experts that it represents.

        Points that represent a whole density lie farther apart than the means of its experts,
        because they also represent the experts' own widths (principal points; Flury, 1990).

        :param noise: standard normal, ``(B, S, noise_size)``; sample i uses row i.
        :param places: places of the means, ``(B, E, F)``; the distance of two places is the cost
            if one expert represents the other. The default is the means themselves.
        :param apart: factor on the distances of the first E samples from the mixture's mean. It
            changes neither the draws nor the samples if these are fewer than the experts.
        :returns: S samples of each of the B conditions.
        """
        count = noise.shape[1]
        weights, order = self.log_weights.exp().sort(dim=-1, descending=True)
        if count < self.experts:
            chosen, held = covering(
                self.log_weights.exp(), self.means if places is None else places, count
            )
            values = self.means.gather(1, chosen.unsqueeze(-1).expand(-1, -1, self.size))
            return RankedSamples(values, held, chosen)
        kept = self.experts
        chosen, shared = order, torch.ones_like(weights)
        of_sample = weights
        if count > kept:
            at = (torch.arange(count - kept, device=noise.device) + 0.5) / (count - kept)
            rank = torch.searchsorted(
                weights.cumsum(dim=-1), at.expand(len(weights), -1).contiguous()
            )
            rank = rank.clamp_max(self.experts - 1)  # (B, S - E)
            shared = shared.scatter_add(1, rank, torch.ones_like(rank, dtype=shared.dtype))
            chosen = torch.cat((chosen, order.gather(1, rank)), dim=1)
            of_sample = torch.cat((weights / shared, (weights / shared).gather(1, rank)), dim=1)
        index = chosen.unsqueeze(-1).expand(-1, -1, self.size)
        points = self.representatives.gather(1, index[:, :kept])
        if apart != 1.0:
            points = torch.lerp(self.mean().unsqueeze(1), points, apart)
        if count > kept:
            drawn = self.covariance.gather(chosen[:, kept:]).deviate(noise[:, kept:])
            means = self.means.gather(1, index[:, kept:])
            points = torch.cat((points, means + drawn), dim=1)
        return RankedSamples(points, of_sample, chosen)

    def detach(self) -> GaussianMixture:
        """Return the same mixture without gradient."""
        return replace(
            self,
            log_weights=self.log_weights.detach(),
            means=self.means.detach(),
            covariance=self.covariance.detach(),
            points=None if self.points is None else self.points.detach(),
        )


def covering(weights: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """
    Choose the experts that represent all others best: greedy k-medoids.

    Each choice is the one that lowers the expected distance to the nearest chosen expert most. The
    objective is submodular, so the result is within 1 - 1/e of the best choice (Nemhauser, Wolsey,
    Fisher, 1978).

    :param weights: ``(B, E)``; each row sums to one.
    :param places: ``(B, E, F)``.
    :param count: number of experts to choose, S, at most E.
    :returns: numbers of the chosen experts, and the weight of those that each represents, both
        ``(B, S)``, the heaviest first.
    """
    distance = torch.cdist(places, places)  # (B, E, E)
    nearest = torch.full_like(weights, torch.inf)
    picked: list[Tensor] = []
    for _ in range(count):
        cost = (weights[:, :, None] * torch.minimum(nearest[:, :, None], distance)).sum(dim=1)
        for earlier in picked:
            cost.scatter_(1, earlier[:, None], torch.inf)
        best = cost.argmin(dim=1)
        picked.append(best)
        to_best = distance.gather(2, best[:, None, None].expand(-1, distance.shape[1], 1))
        nearest = torch.minimum(nearest, to_best.squeeze(2))
    chosen = torch.stack(picked, dim=1)  # (B, S)
    index = chosen[:, None].expand(-1, distance.shape[1], -1)
    of = distance.gather(2, index).argmin(dim=2)  # (B, E): the chosen expert that represents it
    held = torch.zeros_like(weights[:, :count]).scatter_add(1, of, weights)
    held, order = held.sort(dim=1, descending=True)
    return chosen.gather(1, order), held
