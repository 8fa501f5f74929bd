# SPDX-License-Identifier: Apache-2.0
"""The network from a condition to a mixture of Gaussian experts."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.networks.covariance import LowRank
from motion_predictor.model.networks.layers import FlatBlock
from motion_predictor.model.networks.mixture import GaussianMixture

MIN_LOG_SCALE = -4.5
MAX_LOG_GAIN = 3.0
MAX_LOG_SCALE = 4.0


class CodedExperts(nn.Module):
    """
    A mixture whose experts share one network; a learned code tells them apart.

    One branch turns the condition into a vector, once. A second, narrow branch runs for every
    expert on that vector and the expert's code, and outputs the expert's mean. The flat SwiftDiff
    treats samples and their noise in the same way. So rare experts learn from common ones, and
    many experts cost little.

    Covariances are ``S (I + l l^T) S``. S is the product of a factor for each value and one for
    each expert; both follow the condition. The experts share l, which follows the condition if the
    size has a ``loading_width``. If the size has a ``points_width``, a separate head outputs the
    points that represent the experts. The points pass gradients to the features, but not to the
    means; the gate passes none to the features. Means and scales are multiples of ``unit``, (N,),
    which is not trained.
    """

    unit: Tensor

    def __init__(self, condition: int, size: DenoiserConfig) -> None:
        """
        Make a network with fresh weights.

        :param condition: length of the flattened condition, C.
        :param size: settings with the architecture 'experts'.
        """
        super().__init__()
        width, narrow, values = size.width, size.condition_width, size.latent
        self.experts, self.values = size.experts, values
        self.condition = nn.Linear(condition, narrow)
        self.condition_blocks = nn.ModuleList(
            FlatBlock(narrow, round(narrow * size.hidden_ratio), size.dropout)
            for _ in range(size.condition_depth)
        )
        self.condition_norm = nn.LayerNorm(narrow)
        self.register_buffer('unit', torch.ones(values))
        self.shared = nn.Linear(narrow, values)
        self.code = nn.Parameter(torch.randn(size.experts, width))
        self.begin = nn.Linear(narrow, width)
        self.blocks = nn.ModuleList(
            FlatBlock(width, round(width * size.hidden_ratio), size.dropout)
            for _ in range(size.depth)
        )
        self.shifts = nn.ModuleList(nn.Linear(narrow, width) for _ in range(size.depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, values)
        self.offset = nn.Parameter(0.1 * torch.randn(size.experts, values))
        self.log_scale = nn.Parameter(torch.zeros(values))
        self.value_gain = nn.Linear(narrow, values)
        self.expert_gain = nn.Linear(width, 1)
        self.loading = nn.Parameter(0.1 * torch.randn(values, size.rank))
        self.loading_change: nn.Sequential | None = None
        if size.loading_width:
            last = nn.Linear(size.loading_width, values * size.rank)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            first = nn.Linear(narrow, size.loading_width)
            self.loading_change = nn.Sequential(first, nn.GELU(), last)
        self.points: nn.Sequential | None = None
        if size.points_width:
            shift = nn.Linear(width, values)
            nn.init.zeros_(shift.weight)
            nn.init.zeros_(shift.bias)
            block = FlatBlock(width, size.points_width, size.dropout)
            self.points = nn.Sequential(block, nn.LayerNorm(width), shift)
        half = max(1, width // 2)
        self.gate_features = nn.Linear(width, half)
        self.gate_condition = nn.Linear(narrow, half)
        self.gate = nn.Linear(half, 1)
        self.gate_bias = nn.Parameter(torch.zeros(size.experts))
        for layer in (self.value_gain, self.expert_gain, *self.shifts):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.out.weight, std=0.05)
        nn.init.zeros_(self.out.bias)

    def forward(self, condition: Tensor) -> GaussianMixture:
        """
        Return the mixture under each condition.

        :param condition: ``(B, ...)``, C numbers per row.
        """
        history = self.condition(condition.flatten(1))
        for block in self.condition_blocks:
            history = block(history)
        history = self.condition_norm(history)  # (B, condition_width)
        x = self.code + self.begin(history)[:, None]  # (B, E, width)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block(x + shift(history)[:, None])
        x = self.norm(x)
        means = (self.out(x) + self.offset + self.shared(history)[:, None]) * self.unit
        log_scale = self.log_scale + self.unit.log() + self.value_gain(history)
        gain = self.expert_gain(x).clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp()
        scale = log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE).exp()[:, None] * gain  # (B, E, N)
        gate = self.gate_features(x.detach()) + self.gate_condition(history.detach())[:, None]
        logits = self.gate(functional.gelu(gate)).squeeze(-1) + self.gate_bias
        loading = self.loading[None, None]
        if self.loading_change is not None:  # (B, 1, N, R)
            loading = loading + self.loading_change(history).unflatten(-1, (1, self.values, -1))
        covariance = LowRank(scale, loading)
        points = None
        if self.points is not None:  # these heads train the features, but not through the means
            points = means.detach() + self.points(x) * self.unit
        return GaussianMixture(torch.log_softmax(logits, dim=-1), means, covariance, points)

    def gate_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the gate's own optimiser trains."""
        layers = (self.gate_features, self.gate_condition, self.gate)
        return [*(p for layer in layers for p in layer.parameters()), self.gate_bias]

    def expert_parameters(self) -> list[nn.Parameter]:
        """Return all other parameters."""
        gate = {id(parameter) for parameter in self.gate_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in gate]

    def points_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the experts' points alone; empty if there are no points."""
        return [] if self.points is None else list(self.points.parameters())

    def covariance_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the covariances alone."""
        layers = (self.value_gain, self.expert_gain, self.loading_change)
        own = [p for layer in layers if layer is not None for p in layer.parameters()]
        return [self.loading, self.log_scale, *own]


class MotionExperts(nn.Module):
    """
    A mixture of experts over the main directions of a motion model's whitened state.

    ``encoder`` (K D, N) has orthonormal columns. The coordinates of a state are its products with
    these columns, so white noise on the state is white noise on the coordinates. ``decoder`` (N, K
    D) returns the expected state under given coordinates.
    """

    encoder: Tensor
    decoder: Tensor

    def __init__(self, config: ModelConfig, channels: int) -> None:
        """
        Make a network with fresh weights.

        :param config: settings with role 'moe'.
        :param channels: number of channels of the state, D.
        """
        super().__init__()
        size = config.denoiser
        state = config.window.dct_keep * channels
        self.network = CodedExperts(config.condition_rows * channels, size)
        self.register_buffer('encoder', torch.eye(state, size.latent))
        self.register_buffer('decoder', torch.eye(size.latent, state))

    def forward(self, condition: Tensor) -> GaussianMixture:
        """Return the mixture of coordinates under conditions ``(B, C, D)``."""
        return self.network(condition)

    def set_directions(self, encoder: Tensor, decoder: Tensor) -> None:
        """
        Set the main directions.

        :param encoder: orthonormal columns, ``(K D, N)``.
        :param decoder: ``(N, K D)``.
        """
        self.encoder.copy_(encoder)
        self.decoder.copy_(decoder)

    def encode(self, white: Tensor) -> Tensor:
        """Return the coordinates ``(..., N)`` of states ``(..., K, D)``."""
        return white.flatten(-2) @ self.encoder

    def decode(self, coordinates: Tensor, channels: int) -> Tensor:
        """Return the states ``(..., K, D)`` of coordinates ``(..., N)``."""
        return (coordinates @ self.decoder).unflatten(-1, (-1, channels))
