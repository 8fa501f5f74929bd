# SPDX-License-Identifier: Apache-2.0
"""Covariances of experts that only studies use: of independent values, and general ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motion_predictor.model.networks.covariance import (
    averaged,
    common_gains,
    gather_experts,
    keep_conditions,
    log_diagonal,
    log_normal,
    select_experts,
)


@dataclass(frozen=True)
class Diagonal:
    """Independent values: ``scale`` are the standard deviations, ``(B, E, N)``."""

    scale: Tensor

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        distance = (difference / self.scale).square().sum(dim=-1)
        return log_normal(distance, self.scale.shape[-1], self.log_volume())

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
        return common_gains(self.scale)

    def widened(self, factor: float) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(factor * self.scale)

    def select(self, experts: Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(select_experts(self.scale, experts))

    def gather(self, chosen: Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(gather_experts(self.scale, chosen))

    def condition(self, keep: slice | Tensor) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(keep_conditions(self.scale, keep))

    def detach(self) -> Diagonal:
        """See :class:`Covariance`."""
        return Diagonal(self.scale.detach())


@dataclass(frozen=True)
class Full:
    """A general covariance: ``tril`` is its lower Cholesky factor, ``(B, E, N, N)``."""

    tril: Tensor

    def log_density(self, difference: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        columns = difference.flatten(0, -4) if difference.ndim > 3 else difference.unsqueeze(0)
        columns = columns.permute(1, 2, 3, 0)  # (B, E, N, M): one factor serves all M
        solved = torch.linalg.solve_triangular(
            self.tril.expand(*columns.shape[:2], -1, -1), columns, upper=False
        )
        distance = solved.square().sum(dim=-2).permute(2, 0, 1).view(difference.shape[:-1])
        return log_normal(distance, self.tril.shape[-1], self.log_volume())

    @property
    def noise_size(self) -> int:
        """See :class:`Covariance`."""
        return self.tril.shape[-1]

    def deviate(self, noise: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return (self.tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_volume(self) -> Tensor:
        """See :class:`Covariance`."""
        return log_diagonal(self.tril)

    def matrix(self) -> Tensor:
        """See :class:`Covariance`."""
        return self.tril @ self.tril.mT

    def average(self, weights: Tensor) -> Tensor:
        """See :class:`Covariance`."""
        return averaged(self.matrix(), weights)

    def noised(self, signal: Tensor, noise: Tensor) -> Full:
        """See :class:`Covariance`."""
        eye = torch.eye(self.tril.shape[-1], dtype=self.tril.dtype, device=self.tril.device)
        covariance = signal[..., None].square() * self.matrix() + noise[..., None].square() * eye
        return Full(torch.linalg.cholesky(covariance))

    def gains(self) -> Tensor | None:
        """See :class:`Covariance`; it is not computed here."""
        return None

    def widened(self, factor: float) -> Full:
        """See :class:`Covariance`."""
        return Full(factor * self.tril)

    def select(self, experts: Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(select_experts(self.tril, experts))

    def gather(self, chosen: Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(gather_experts(self.tril, chosen))

    def condition(self, keep: slice | Tensor) -> Full:
        """See :class:`Covariance`."""
        return Full(keep_conditions(self.tril, keep))

    def detach(self) -> Full:
        """See :class:`Covariance`."""
        return Full(self.tril.detach())
