"""
Mixtures of Gaussian experts: density, samples and moments in closed form.

Of the axes, B are conditions, E experts, N values, M samples. Densities are sums of
exponentials that underflow in hundreds of dimensions: everything here stays in logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import Protocol

import torch
from torch import Tensor

_LOG_2PI = math.log(2.0 * math.pi)


class Covariance(Protocol):
    """The covariances of all experts, in one of three forms; batch axes ``(B, E)`` or ones."""

    def log_density(self, difference: Tensor) -> Tensor:
        """
        Give the log density of values about their means.

        :param difference: value minus mean, ``(..., B, E, N)``.
        :returns: ``(..., B, E)``, nats.
        """
        ...

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers one draw takes."""
        ...

    def deviate(self, noise: Tensor) -> Tensor:
        """
        Turn standard normal numbers into deviations from the means, differentiably.

        :param noise: ``(..., B, E, noise_size)``.
        :returns: ``(..., B, E, N)``.
        """
        ...

    def log_volume(self) -> Tensor:
        """Give half the logarithm of the determinant, ``(B, E)`` or ones."""
        ...

    def matrix(self) -> Tensor:
        """Write the covariances out, ``(B, E, N, N)`` or ones."""
        ...

    def average(self, weights: Tensor) -> Tensor:
        """
        Give the mean of the written out covariances.

        :param weights: of the experts, ``(B, E)``.
        :returns: ``(B, N, N)``.
        """
        ...

    def noised(self, signal: Tensor, noise: Tensor) -> Covariance:
        """
        Give the covariance of ``signal * a + noise * eps``, eps standard normal.

        :param signal: ``(B, 1, 1)``.
        :param noise: ``(B, 1, 1)``.
        """
        ...

    def widened(self, factor: float) -> Covariance:
        """Multiply all deviations."""
        ...

    def gains(self) -> Tensor | None:
        """
        Say by what the deviations of all experts are multiples of the first one's.

        :returns: ``(B, E)``; None where they are not.
        """
        ...

    def select(self, experts: Tensor) -> Covariance:
        """Keep some experts, by their numbers ``(E',)``."""
        ...

    def gather(self, chosen: Tensor) -> Covariance:
        """Take experts that differ from condition to condition, by their numbers ``(B, S)``."""
        ...

    def condition(self, keep: slice | Tensor) -> Covariance:
        """Keep some of the B conditions, by a slice or by their numbers."""
        ...

    def detach(self) -> Covariance:
        """Cut the gradient."""
        ...


@dataclass(frozen=True)
class Diagonal:
    """Independent values: ``scale`` are deviations, ``(B, E, N)``."""

    scale: Tensor

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        distance = (difference / self.scale).square().sum(dim=-1)
        return _log_normal(distance, self.scale.shape[-1], self.log_volume())

    @property
    def noise_size(self) -> int:
        """See :class:`Covariance`."""
        return self.scale.shape[-1]

    def deviate(self, noise: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return self.scale * noise

    def log_volume(self) -> Tensor:
        """See :class:`Covariance`."""
        return self.scale.log().sum(dim=-1)

    def matrix(self) -> Tensor:
        """See :class:`Covariance`."""
        return torch.diag_embed(self.scale.square())

    def average(self, weights: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return torch.diag_embed((weights.unsqueeze(-1) * self.scale.square()).sum(dim=1))

    def noised(self, signal: Tensor, noise: Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal((signal.square() * self.scale.square() + noise.square()).sqrt())

    def gains(self) -> Tensor | None:
        """See :class:`Covariance`."""
        return _gains(self.scale)

    def widened(self, factor: float) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(factor * self.scale)

    def select(self, experts: Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(_select(self.scale, experts))

    def gather(self, chosen: Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(_gather(self.scale, chosen))

    def condition(self, keep: slice | Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(_slice(self.scale, keep))

    def detach(self) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(self.scale.detach())


@dataclass(frozen=True)
class Full:
    """Any covariance: ``tril`` is its lower Cholesky factor, ``(B, E, N, N)``."""

    tril: Tensor

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        columns = difference.flatten(0, -4) if difference.ndim > 3 else difference.unsqueeze(0)
        columns = columns.permute(1, 2, 3, 0)  # (B, E, N, M): one factor serves all M
        solved = torch.linalg.solve_triangular(
            self.tril.expand(*columns.shape[:2], -1, -1), columns, upper=False
        )
        distance = solved.square().sum(dim=-2).permute(2, 0, 1).view(difference.shape[:-1])
        return _log_normal(distance, self.tril.shape[-1], self.log_volume())

    @property
    def noise_size(self) -> int:
        """See :class:`Covariance`."""
        return self.tril.shape[-1]

    def deviate(self, noise: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return (self.tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_volume(self) -> Tensor:
        """See :class:`Covariance`."""
        return _log_diagonal(self.tril)

    def matrix(self) -> Tensor:
        """See :class:`Covariance`."""
        return self.tril @ self.tril.mT

    def average(self, weights: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return _average(self.matrix(), weights)

    def noised(self, signal: Tensor, noise: Tensor) -> Full:
        """See :class:`Covariance`."""
        eye = torch.eye(self.tril.shape[-1], dtype=self.tril.dtype, device=self.tril.device)
        covariance = signal[..., None].square() * self.matrix() + noise[..., None].square() * eye
        return Full(torch.linalg.cholesky(covariance))

    def gains(self) -> Tensor | None:
        """See :class:`Covariance`; not looked for."""
        return None

    def widened(self, factor: float) -> Full:
        """See :class:`Covariance`."""
        return Full(factor * self.tril)

    def select(self, experts: Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(_select(self.tril, experts))

    def gather(self, chosen: Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(_gather(self.tril, chosen))

    def condition(self, keep: slice | Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(_slice(self.tril, keep))

    def detach(self) -> Full:
        """See :class:`Covariance`."""
        return Full(self.tril.detach())


@dataclass(frozen=True)
class LowRank:
    """
    Diagonal plus low rank, ``S (I + l l^T) S``: ``scale`` (B, E, N), ``loading`` (B, E, N, R).

    The inverse is Woodbury's identity, the determinant the matrix determinant lemma: nothing
    larger than R x R is factorised. Loadings are relative to the scale, so that where they do
    not follow the condition, neither do the factorised matrices.
    """

    scale: Tensor
    loading: Tensor

    def _capacitance(self) -> Tensor:
        """Give the Cholesky factor of ``I + l^T l``."""
        eye = torch.eye(self.loading.shape[-1], dtype=self.scale.dtype, device=self.scale.device)
        return torch.linalg.cholesky(eye + self.loading.mT @ self.loading)

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        tril = self._capacitance()
        scaled = difference / self.scale  # (..., B, E, N)
        if self.loading.shape[1] == 1:  # all experts': one product with each condition's
            eye = torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
            back = torch.linalg.solve_triangular(tril.squeeze(1), eye, upper=False)  # (B, R, R)
            solved = scaled @ (self.loading.squeeze(1) @ back.mT)
        else:
            inner = torch.einsum('...nr,...n->...r', self.loading, scaled)
            solved = torch.linalg.solve_triangular(
                tril.expand(*inner.shape, inner.shape[-1]), inner.unsqueeze(-1), upper=False
            ).squeeze(-1)
        distance = scaled.square().sum(dim=-1) - solved.square().sum(dim=-1)
        return _log_normal(distance, self.scale.shape[-1], self._volume(tril))

    @property
    def noise_size(self) -> int:
        """See :class:`Covariance`."""
        return self.scale.shape[-1] + self.loading.shape[-1]

    def deviate(self, noise: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        own, common = noise.split((self.scale.shape[-1], self.loading.shape[-1]), dim=-1)
        if self.loading.shape[1] == 1:
            return self.scale * (own + common @ self.loading.squeeze(1).mT)
        return self.scale * (own + torch.einsum('...nr,...r->...n', self.loading, common))

    def _volume(self, tril: Tensor) -> Tensor:
        return self.scale.log().sum(dim=-1) + _log_diagonal(tril)

    def log_volume(self) -> Tensor:
        """See :class:`Covariance`."""
        return self._volume(self._capacitance())

    def matrix(self) -> Tensor:
        """See :class:`Covariance`."""
        factor = self.scale.unsqueeze(-1) * self.loading
        return torch.diag_embed(self.scale.square()) + factor @ factor.mT

    def average(self, weights: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        if self.loading.shape[1] != 1:
            return _average(self.matrix(), weights)
        common = self.loading[:, 0] @ self.loading[:, 0].mT  # all experts': no (B, E, N, N)
        common.diagonal(dim1=-2, dim2=-1).add_(1.0)
        scale = self.scale.expand(*weights.shape, -1)
        return common * ((weights.unsqueeze(-1) * scale).mT @ scale)

    def noised(self, signal: Tensor, noise: Tensor) -> LowRank:
        """See :class:`Covariance`."""
        kept = signal * self.scale
        scale = (kept.square() + noise.square()).sqrt()
        return LowRank(scale, (kept / scale).unsqueeze(-1) * self.loading)

    def gains(self) -> Tensor | None:
        """See :class:`Covariance`."""
        return _gains(self.scale) if self.loading.shape[1] == 1 else None

    def widened(self, factor: float) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(factor * self.scale, self.loading)

    def select(self, experts: Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(_select(self.scale, experts), _select(self.loading, experts))

    def gather(self, chosen: Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(_gather(self.scale, chosen), _gather(self.loading, chosen))

    def condition(self, keep: slice | Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(_slice(self.scale, keep), _slice(self.loading, keep))

    def detach(self) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(self.scale.detach(), self.loading.detach())


@dataclass(frozen=True)
class RankedSamples:
    """
    Samples of a mixture in order of weight.

    ``values`` (B, S, N); ``weights`` (B, S), rows sum to one; ``experts`` (B, S), whose they are.
    """

    values: Tensor
    weights: Tensor
    experts: Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """
    ``q(a|s) = sum_z q(z|s) N(a; mu_z(s), Sigma_z(s))`` for B conditions s and E experts z.

    ``log_weights`` (B, E), each row's exponentials sum to one; ``means`` (B, E, N). ``points``
    (B, E, N) stand for the experts where single values are asked for; None: the means do. They
    play no part in the density.
    """

    log_weights: Tensor
    means: Tensor
    covariance: Covariance
    points: Tensor | None = None

    @property
    def experts(self) -> int:
        """How many experts, E."""
        return self.means.shape[1]

    @property
    def size(self) -> int:
        """How many values, N."""
        return self.means.shape[2]

    @property
    def representatives(self) -> Tensor:
        """The value that stands for each expert, ``(B, E, N)``."""
        return self.means if self.points is None else self.points

    def expert_log_prob(self, values: Tensor) -> Tensor:
        """
        Give every expert's log density.

        :param values: ``(..., B, N)``.
        :returns: ``(..., B, E)``, nats.
        """
        return self.covariance.log_density(values.unsqueeze(-2) - self.means)

    def log_prob(self, values: Tensor) -> Tensor:
        """
        Give the mixture's log density.

        :param values: ``(..., B, N)``.
        :returns: ``(..., B)``, nats.
        """
        return torch.logsumexp(self.log_weights + self.expert_log_prob(values), dim=-1)

    def log_responsibilities(self, values: Tensor, temperature: float = 1.0) -> Tensor:
        """
        Give ``log r(z|s,a)``: which expert a value is from.

        :param values: ``(..., B, N)``.
        :param temperature: above 1 evens them out, lest they are one-hot in many dimensions.
        :returns: ``(..., B, E)``; the exponentials sum to one over E.
        """
        joint = self.log_weights + self.expert_log_prob(values) / temperature
        return torch.log_softmax(joint, dim=-1)

    def sample_experts(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """
        Draw from every expert, differentiably (the reparametrised gradient).

        :param count: M, from each.
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
        Draw from the mixture.

        :param count: M, for each condition.
        :param generator: source of randomness.
        :returns: ``(M, B, N)``.
        """
        weights = self.log_weights.exp()
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)  # (B, M)
        drawn = self.sample_experts(count, generator)
        index = chosen.T[..., None, None].expand(-1, -1, 1, self.size)
        return drawn.gather(2, index).squeeze(2)

    def entropies(self) -> Tensor:
        """Give each expert's differential entropy, ``(B, E)``, nats."""
        volume = self.covariance.log_volume() + 0.5 * self.size * (_LOG_2PI + 1.0)
        return volume.expand(self.log_weights.shape)

    def mean(self) -> Tensor:
        """Give the mixture's mean, ``(B, N)``."""
        return (self.log_weights.exp().unsqueeze(-1) * self.means).sum(dim=1)

    def total_covariance(self) -> Tensor:
        """Give the mixture's covariance by the law of total covariance, ``(B, N, N)``."""
        weights = self.log_weights.exp()
        apart = self.means - self.mean().unsqueeze(1)
        return self.covariance.average(weights) + (weights.unsqueeze(-1) * apart).mT @ apart

    def noised(self, signal: Tensor, noise: Tensor) -> GaussianMixture:
        """
        Give the mixture of noised values, ``signal * a + noise * eps``: a mixture again.

        It has no points of its own.

        :param signal: for each condition, ``(B,)``.
        :param noise: deviation of the noise, ``(B,)``.
        """
        signal, noise = signal[:, None, None], noise[:, None, None]
        return GaussianMixture(
            self.log_weights, signal * self.means, self.covariance.noised(signal, noise)
        )

    def widened(self, factor: float) -> GaussianMixture:
        """Multiply all experts' deviations; means and weights stay."""
        return replace(self, covariance=self.covariance.widened(factor))

    def spread_out(self, factor: float) -> GaussianMixture:
        """Multiply the distances of the means from the mixture's mean, which stays."""
        return replace(self, means=torch.lerp(self.mean().unsqueeze(1), self.means, factor))

    def select(self, experts: Tensor) -> GaussianMixture:
        """
        Keep some experts; their weights stay what they are.

        :param experts: their numbers, ``(E',)``.
        """
        return GaussianMixture(
            self.log_weights[:, experts],
            self.means[:, experts],
            self.covariance.select(experts),
            None if self.points is None else self.points[:, experts],
        )

    def condition(self, keep: slice | Tensor) -> GaussianMixture:
        """Keep the mixtures of some of the B conditions, by a slice or by their numbers."""
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
        Give futures in order of weight: what stands for the experts first, then stratified draws.

        With at least as many samples as experts, the first E samples are the representatives (the
        means, or points of their own) in order of weight. The others are drawn from the experts in
        proportion to their weights, with a systematic grid instead of a lottery. All samples of an
        expert share its weight. With fewer samples than experts, they are the means that stand for
        all others best (:func:`covering`), each with the weight of all that it stands for,
        heaviest first: points lie where one of all of them is near, which is farther out.

        Points that stand for a whole density lie farther apart than the means of its experts, as
        they have the experts' own widths to stand for too (principal points; Flury, 1990).

        :param noise: standard normal, ``(B, S, noise_size)``; sample i takes row i.
        :param places: of the means, ``(B, E, F)``: the distance between two of them is what it
            costs if one stands for the other; the means themselves by default.
        :param apart: what the distances from the mixture's mean of the first E samples are
            multiplied by; the draws, and fewer samples than experts, stay where they are.
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
        """Freeze: the same mixture, from which no gradient flows."""
        return replace(
            self,
            log_weights=self.log_weights.detach(),
            means=self.means.detach(),
            covariance=self.covariance.detach(),
            points=None if self.points is None else self.points.detach(),
        )


def covering(weights: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """
    Choose the experts that stand for all others best: greedy k-medoids.

    Each choice is the one that lowers the expected distance to the nearest chosen most (the
    objective is submodular: within 1 - 1/e of the best choice; Nemhauser, Wolsey, Fisher, 1978).

    :param weights: ``(B, E)``, rows sum to one.
    :param places: ``(B, E, F)``.
    :param count: S, at most E.
    :returns: numbers of the experts chosen and the weight of those they stand for, each
        ``(B, S)``, heaviest first.
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
    of = distance.gather(2, index).argmin(dim=2)  # (B, E): which of the chosen stands for it
    held = torch.zeros_like(weights[:, :count]).scatter_add(1, of, weights)
    held, order = held.sort(dim=1, descending=True)
    return chosen.gather(1, order), held


def _gains(scale: Tensor, tolerance: float = 1e-5) -> Tensor | None:
    ratio = scale / scale[:, :1]  # (B, E, N)
    low, high = ratio.amin(dim=-1), ratio.amax(dim=-1)
    return low if bool((high - low <= tolerance * high).all()) else None


def _average(matrix: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum('be,benm->bnm', weights, matrix.expand(*weights.shape, -1, -1))


def _log_normal(distance: Tensor, size: int, log_volume: Tensor) -> Tensor:
    return -0.5 * (distance + size * _LOG_2PI) - log_volume


def _log_diagonal(tril: Tensor) -> Tensor:
    return tril.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)


def _select(values: Tensor, experts: Tensor) -> Tensor:
    return values if values.shape[1] == 1 else values[:, experts]


def _gather(values: Tensor, chosen: Tensor) -> Tensor:
    if values.shape[1] == 1:
        return values
    index = chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2))
    return values.expand(len(chosen), *values.shape[1:]).gather(
        1, index.expand(*chosen.shape, *values.shape[2:])
    )


def _slice(values: Tensor, keep: slice | Tensor) -> Tensor:
    return values if len(values) == 1 else values[keep]
