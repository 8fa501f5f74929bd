# SPDX-License-Identifier: Apache-2.0
"""A network with one head for all experts of a mixture, for all forms of covariances."""

from __future__ import annotations

import itertools

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.covariance import Covariance, LowRank
from motion_predictor.model.networks.experts import MAX_LOG_SCALE, MIN_LOG_SCALE
from motion_predictor.model.networks.mixture import GaussianMixture
from studies.common.covariances import Diagonal, Full

COVARIANCES = ('diagonal', 'low_rank', 'full')


class ExpertNetwork(nn.Module):
    """
    A multilayer perceptron with one head for the experts' means, one for scales, one for the gate.

    An expert's covariance is ``S (I + l l^T) S`` ('low_rank'), ``S L L^T S`` with a unit lower
    triangle L ('full') or ``S^2`` ('diagonal'). S follows the condition through one gain for each
    expert and one for each value; L is the expert's own, l is shared by all. The gate passes no
    gradients to the features, so that it can have its own optimiser (VDD). Means and scales are
    multiples of ``unit``, (N,), which is not trained.
    """

    def __init__(
        self,
        condition: int,
        values: int,
        *,
        experts: int,
        width: int,
        depth: int,
        covariance: str = 'full',
        rank: int = 0,
        dropout: float = 0.0,
        spread: float = 1.0,
        scale: float = 0.5,
    ) -> None:
        """
        Make a network with fresh weights.

        :param condition: length of the flattened condition, C.
        :param values: number of values, N.
        :param experts: number of experts, E.
        :param width: width of the hidden layers.
        :param depth: number of hidden layers.
        :param covariance: one of COVARIANCES.
        :param rank: R, only for 'low_rank'.
        :param dropout: dropout after every hidden layer.
        :param spread: standard deviation of the experts' means from each other at the start.
        :param scale: standard deviation of each expert at the start.
        :raises ConfigError: if the covariance is unknown or the rank cannot be used.
        """
        super().__init__()
        if covariance not in COVARIANCES:
            raise ConfigError(f'covariance={covariance!r}: must be one of {COVARIANCES}')
        if (covariance == 'low_rank') != (rank > 0):
            raise ConfigError(f'rank={rank}: above 0 with covariance low_rank, 0 with others')
        self.experts, self.values, self.kind = experts, values, covariance
        self.dropout = dropout
        sizes = [condition, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.register_buffer('unit', torch.ones(values))
        self.unit: Tensor
        self.common = nn.Linear(condition, values)
        self.means = nn.Linear(width, experts * values)
        self.expert_gain = nn.Linear(width, experts)
        self.value_gain = nn.Linear(width, values)
        self.log_scale = nn.Parameter(torch.zeros(experts, values) + torch.tensor(scale).log())
        self.gate = nn.Linear(width, experts)
        for layer in (self.common, self.expert_gain, self.value_gain, self.gate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.means.weight, std=0.1 * spread * width**-0.5)
        nn.init.normal_(self.means.bias, std=spread)
        if covariance == 'low_rank':
            self.loading = nn.Parameter(0.1 * torch.randn(1, 1, values, rank))
        elif covariance == 'full':
            self.lower = nn.Parameter(torch.zeros(experts, values, values))

    def forward(self, condition: Tensor, step: Tensor | None = None) -> GaussianMixture:
        """
        Return the mixture under each condition.

        :param condition: ``(B, ...)``, C numbers per row.
        :param step: ignored.
        """
        flat = condition.flatten(1)
        hidden = flat
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            after = functional.gelu(norm(layer(hidden)))
            after = functional.dropout(after, self.dropout, self.training)
            hidden = after if number == 0 else hidden + after
        means = self.means(hidden).unflatten(-1, (self.experts, -1))
        means = (means + self.common(flat).unsqueeze(1)) * self.unit
        log_scale = (
            self.log_scale
            + self.unit.log()
            + self.expert_gain(hidden).unsqueeze(-1)
            + self.value_gain(hidden).unsqueeze(1)
        )
        scale = log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE).exp()  # (B, E, N)
        log_weights = torch.log_softmax(self.gate(hidden.detach()), dim=-1)
        return GaussianMixture(log_weights, means, self._covariance(scale))

    def _covariance(self, scale: Tensor) -> Covariance:
        if self.kind == 'diagonal':
            return Diagonal(scale)
        if self.kind == 'low_rank':
            return LowRank(scale, self.loading)
        eye = torch.eye(self.values, dtype=scale.dtype, device=scale.device)
        return Full(scale.unsqueeze(-1) * (self.lower.tril(-1) + eye))

    def gate_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the gate's own optimiser trains."""
        return list(self.gate.parameters())

    def expert_parameters(self) -> list[nn.Parameter]:
        """Return all other parameters."""
        gate = {id(parameter) for parameter in self.gate.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in gate]
