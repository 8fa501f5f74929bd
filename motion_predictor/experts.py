"""Networks from a condition to a mixture of Gaussian experts."""

from __future__ import annotations

import itertools

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.config import ModelConfig
from motion_predictor.errors import ConfigError
from motion_predictor.mixture import Covariance, Diagonal, Full, GaussianMixture, LowRank

COVARIANCES = ('diagonal', 'low_rank', 'full')
MIN_LOG_SCALE = -4.5
MAX_LOG_SCALE = 4.0


class ExpertNetwork(nn.Module):
    """
    A multilayer perceptron with one head for the experts' means, one for scales, one for the gate.

    An expert's covariance is ``S (I + l l^T) S`` ('low_rank'), ``S L L^T S`` with a unit lower
    triangle L ('full') or ``S^2`` ('diagonal'). S follows the condition through one gain for each
    expert and one for each value; L is the expert's own, l is shared by all. The gate sees the
    features without passing gradients to them, so that it can have an optimiser of its own (VDD).
    Means and scales are in multiples of ``unit``, (N,), which is not trained.
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

        :param condition: length C of the flattened condition.
        :param values: N.
        :param experts: E.
        :param width: of the hidden layers.
        :param depth: hidden layers.
        :param covariance: one of COVARIANCES.
        :param rank: R, for 'low_rank' alone.
        :param dropout: after every hidden layer.
        :param spread: deviation of the experts' means from each other at the start.
        :param scale: deviation of each expert at the start.
        :raises ConfigError: on an unknown covariance or a useless rank.
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
        Give the mixture under each condition.

        :param condition: ``(B, ...)``, C numbers each.
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
        """List what the gate's own optimiser trains."""
        return list(self.gate.parameters())

    def expert_parameters(self) -> list[nn.Parameter]:
        """List everything else."""
        gate = {id(parameter) for parameter in self.gate.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in gate]


class MotionExperts(nn.Module):
    """
    A mixture of experts over the main directions of a motion model's whitened state.

    ``encoder`` (K D, N) has orthonormal columns: the coordinates of a state are its products
    with them, and white noise on the state is white noise on the coordinates. ``decoder``
    (N, K D) gives back the state whose poses are nearest in metres.
    """

    encoder: Tensor
    decoder: Tensor

    def __init__(self, config: ModelConfig, channels: int) -> None:
        """
        Make one with fresh weights.

        :param config: of role 'moe'.
        :param channels: D.
        """
        super().__init__()
        size = config.denoiser
        state = config.window.dct_keep * channels
        self.network = ExpertNetwork(
            config.condition_rows * channels,
            size.latent,
            experts=size.experts,
            width=size.width,
            depth=size.depth,
            covariance='low_rank',
            rank=size.rank,
            dropout=size.dropout,
        )
        self.register_buffer('encoder', torch.eye(state, size.latent))
        self.register_buffer('decoder', torch.eye(size.latent, state))

    def forward(self, condition: Tensor) -> GaussianMixture:
        """Give the mixture of coordinates under conditions ``(B, C, D)``."""
        return self.network(condition)

    def set_directions(self, encoder: Tensor, scale: Tensor) -> None:
        """
        Choose the directions.

        :param encoder: orthonormal columns, ``(K D, N)``.
        :param scale: metres of each whitened value, ``(K D,)``.
        """
        weighted = encoder / scale.square().unsqueeze(-1)  # (K D, N)
        self.encoder.copy_(encoder)
        self.decoder.copy_(torch.linalg.solve(encoder.T @ weighted, weighted.T))

    def encode(self, white: Tensor) -> Tensor:
        """Give the coordinates ``(..., N)`` of states ``(..., K, D)``."""
        return white.flatten(-2) @ self.encoder

    def decode(self, coordinates: Tensor, channels: int) -> Tensor:
        """Give the states ``(..., K, D)`` of coordinates ``(..., N)``."""
        return (coordinates @ self.decoder).unflatten(-1, (-1, channels))
