# SPDX-License-Identifier: Apache-2.0
"""Covariances of Gaussian experts: the interface, and the form of the deployed models."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Protocol

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


class Covariance(Protocol):
    """The covariances of all experts, in one of several forms; batch axes ``(B, E)`` or ones."""

    def log_density(self, difference: Tensor) -> Tensor:
        """
        Return the log density of values about the experts' means.

        :param difference: value minus mean, ``(..., B, E, N)``.
        :returns: ``(..., B, E)``, nats.
        """
        ...

    @property
    def noise_size(self) -> int:
        """Return how many standard normal numbers one draw takes."""
        ...

    def deviate(self, noise: Tensor) -> Tensor:
        """
        Turn standard normal numbers into deviations from the means, differentiably.

        :param noise: ``(..., B, E, noise_size)``.
        :returns: ``(..., B, E, N)``.
        """
        ...

    def log_volume(self) -> Tensor:
        """Return half the logarithm of the determinant, ``(B, E)`` or ones."""
        ...

    def matrix(self) -> Tensor:
        """Return the covariances as full matrices, ``(B, E, N, N)`` or ones."""
        ...

    def average(self, weights: Tensor) -> Tensor:
        """
        Return the weighted mean of the full covariances.

        :param weights: weights of the experts, ``(B, E)``.
        :returns: ``(B, N, N)``.
        """
        ...

    def noised(self, signal: Tensor, noise: Tensor) -> Covariance:
        """
        Return the covariance of ``signal * a + noise * eps``, eps standard normal.

        :param signal: ``(B, 1, 1)``.
        :param noise: ``(B, 1, 1)``.
        """
        ...

    def widened(self, factor: float) -> Covariance:
        """Return the covariances with all deviations multiplied by a factor."""
        ...

    def gains(self) -> Tensor | None:
        """
        Return the factors by which the experts' deviations are multiples of the first one's.

        :returns: ``(B, E)``; None if they are not such multiples.
        """
        ...

    def select(self, experts: Tensor) -> Covariance:
        """Return the covariances of some experts, by their numbers ``(E',)``."""
        ...

    def gather(self, chosen: Tensor) -> Covariance:
        """Return the covariances of experts chosen per condition, by their numbers ``(B, S)``."""
        ...

    def condition(self, keep: slice | Tensor) -> Covariance:
        """Return the covariances under some of the B conditions, by a slice or by numbers."""
        ...

    def detach(self) -> Covariance:
        """Return the covariances without gradient."""
        ...


@dataclass(frozen=True)
class LowRank:
    """
    Diagonal plus low rank, ``S (I + l l^T) S``: ``scale`` (B, E, N), ``loading`` (B, E, N, R).

    The inverse is Woodbury's identity and the determinant is the matrix determinant lemma, so
    nothing larger than R x R is factorised. Loadings are relative to the scale. If the loadings do
    not follow the condition, neither do the factorised matrices.
    """

    scale: Tensor
    loading: Tensor

    def _capacitance(self) -> Tensor:
        """Return the Cholesky factor of ``I + l^T l``."""
        eye = torch.eye(self.loading.shape[-1], dtype=self.scale.dtype, device=self.scale.device)
        return torch.linalg.cholesky(eye + self.loading.mT @ self.loading)

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        tril = self._capacitance()
        scaled = difference / self.scale  # (..., B, E, N)
        if self.loading.shape[1] == 1:  # for all experts: one product with each condition's matrix
            eye = torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
            back = torch.linalg.solve_triangular(tril.squeeze(1), eye, upper=False)  # (B, R, R)
            solved = scaled @ (self.loading.squeeze(1) @ back.mT)
        else:
            inner = torch.einsum('...nr,...n->...r', self.loading, scaled)
            solved = torch.linalg.solve_triangular(
                tril.expand(*inner.shape, inner.shape[-1]), inner.unsqueeze(-1), upper=False
            ).squeeze(-1)
        distance = scaled.square().sum(dim=-1) - solved.square().sum(dim=-1)
        return log_normal(distance, self.scale.shape[-1], self._volume(tril))

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
        return self.scale.log().sum(dim=-1) + log_diagonal(tril)

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
            return averaged(self.matrix(), weights)
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
        return common_gains(self.scale) if self.loading.shape[1] == 1 else None

    def widened(self, factor: float) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(factor * self.scale, self.loading)

    def select(self, experts: Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(select_experts(self.scale, experts), select_experts(self.loading, experts))

    def gather(self, chosen: Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(gather_experts(self.scale, chosen), gather_experts(self.loading, chosen))

    def condition(self, keep: slice | Tensor) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(keep_conditions(self.scale, keep), keep_conditions(self.loading, keep))

    def detach(self) -> LowRank:
        """See :class:`Covariance`."""
        return LowRank(self.scale.detach(), self.loading.detach())


def common_gains(scale: Tensor, tolerance: float = 1e-5) -> Tensor | None:
    """Return the factors by which each expert's deviations are multiples of the first; or None."""
    ratio = scale / scale[:, :1]  # (B, E, N)
    low, high = ratio.amin(dim=-1), ratio.amax(dim=-1)
    return low if bool((high - low <= tolerance * high).all()) else None


def averaged(matrix: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of covariances ``(B, E, N, N)`` or ones, by weights ``(B, E)``."""
    return torch.einsum('be,benm->bnm', weights, matrix.expand(*weights.shape, -1, -1))


def log_normal(distance: Tensor, size: int, log_volume: Tensor) -> Tensor:
    """Return the log density of a normal distribution at a squared Mahalanobis distance."""
    return -0.5 * (distance + size * LOG_2PI) - log_volume


def log_diagonal(tril: Tensor) -> Tensor:
    """Return half the log determinant of a covariance from its Cholesky factor."""
    return tril.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)


def select_experts(values: Tensor, experts: Tensor) -> Tensor:
    """Return the values of some experts, by numbers ``(E',)``; an axis of one stands for all."""
    return values if values.shape[1] == 1 else values[:, experts]


def gather_experts(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the values of experts by their numbers ``(B, S)``; an axis of one stands for all."""
    if values.shape[1] == 1:
        return values
    index = chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2))
    return values.expand(len(chosen), *values.shape[1:]).gather(
        1, index.expand(*chosen.shape, *values.shape[2:])
    )


def keep_conditions(values: Tensor, keep: slice | Tensor) -> Tensor:
    """Return the values under some of the B conditions; an axis of one stands for all."""
    return values if len(values) == 1 else values[keep]
