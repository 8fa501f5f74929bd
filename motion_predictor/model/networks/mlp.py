# SPDX-License-Identifier: Apache-2.0
"""SwiftDiff's networks: multilayer perceptrons that denoise in one step.

The mixer is the published network (arXiv 2409.12456). It sees K rows of coefficients as tokens,
with one condition token in front. The flat network is for CPUs and sees all coefficients at once.
Both map ``(B, K, D)`` to ``(B, K, D)``.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.model.config import ModelConfig
from motion_predictor.model.networks.layers import FlatBlock, SqueezeExcitation


class MixerBlock(nn.Module):
    """SwiftDiff's block: an MLP over tokens and an MLP over channels; both share one gate."""

    def __init__(self, tokens: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_tokens = nn.LayerNorm(width)
        self.tokens_in = nn.Linear(tokens, tokens)
        self.tokens_out = nn.Linear(tokens, tokens)
        self.norm_channels = nn.LayerNorm(width)
        self.channels_in = nn.Linear(width, hidden)
        self.channels_out = nn.Linear(hidden, width)
        self.squeeze = SqueezeExcitation(tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, tokens, width)`` to the same shape."""
        y = self._drop(functional.gelu(_over_tokens(self.tokens_in, self.norm_tokens(x))))
        x = x + self.squeeze(_over_tokens(self.tokens_out, y))
        y = self._drop(functional.gelu(self.channels_in(self.norm_channels(x))))
        return x + self.squeeze(self.channels_out(y))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


def _over_tokens(linear: nn.Linear, x: Tensor) -> Tensor:
    # The same as transposing, applying the layer and transposing back, without the two copies.
    return linear.weight @ x + linear.bias[:, None]


class MixerDenoiser(nn.Module):
    """SwiftDiff: MLPs without attention, time embedding, position embedding or long skips."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        size = config.denoiser
        width, tokens = size.width, config.window.dct_keep + 1
        self.rows = nn.Linear(channels, width)
        self.condition = nn.Linear(config.condition_rows * channels, width)
        self.blocks = nn.ModuleList(
            MixerBlock(tokens, width, round(width * size.hidden_ratio), size.dropout)
            for _ in range(size.depth)
        )
        self.out = nn.Linear(width, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_t: Tensor, condition: Tensor, step: Tensor | None = None) -> Tensor:
        """
        Denoise in one step.

        :param x_t: noise, ``(B, K, D)``.
        :param condition: ``(P, C, D)`` with P a divisor of B. Each row serves B / P consecutive
            samples, so that a person's history is embedded once.
        :param step: ignored; SwiftDiff knows only ``t_star``.
        :returns: ``(B, K, D)``.
        """
        front = self.condition(condition.flatten(1))
        front = front.repeat_interleave(x_t.shape[0] // front.shape[0], dim=0)
        x = torch.cat((front.unsqueeze(1), self.rows(x_t)), dim=1)
        for block in self.blocks:
            x = block(x)
        return self.out(x[:, 1:])


class FlatDenoiser(nn.Module):
    """
    SwiftDiff for CPUs: an MLP on all coefficients; the history is embedded once per person.

    A separate branch turns the condition into a vector h. A linear map of h is the part that all
    samples share. h also enters every block of the samples' branch, which is the only part whose
    cost grows with S.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        size = config.denoiser
        width, narrow = size.width, size.condition_width
        values = config.window.dct_keep * channels
        self.condition = nn.Linear(config.condition_rows * channels, narrow)
        self.condition_blocks = nn.ModuleList(
            FlatBlock(narrow, round(narrow * size.hidden_ratio), size.dropout)
            for _ in range(size.condition_depth)
        )
        self.condition_norm = nn.LayerNorm(narrow)
        self.shared = nn.Linear(narrow, values)
        self.noise = nn.Linear(values, width, bias=False)
        self.begin = nn.Linear(narrow, width)
        self.blocks = nn.ModuleList(
            FlatBlock(width, round(width * size.hidden_ratio), size.dropout)
            for _ in range(size.depth)
        )
        shifts = [nn.Linear(narrow, width) for _ in range(size.depth)]
        for shift in shifts:
            nn.init.zeros_(shift.weight)
            nn.init.zeros_(shift.bias)
        self.shifts = nn.ModuleList(shifts)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, values)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_t: Tensor, condition: Tensor, step: Tensor | None = None) -> Tensor:
        """
        Denoise in one step.

        :param x_t: noise, ``(B, K, D)`` or ``(P, S, K, D)``; noise that is expanded from one
            person costs as much as for one person.
        :param condition: ``(P, C, D)`` with P a divisor of B, as for :class:`MixerDenoiser`.
        :param step: ignored.
        :returns: ``(B, K, D)`` or ``(P, S, K, D)``, as the noise.
        """
        people = len(condition)
        noise = x_t if x_t.ndim == 4 else x_t.unflatten(0, (people, -1))
        noise = noise[:1] if noise.stride(0) == 0 else noise  # the same for everybody
        return self.of_embedded(self.embedded(noise), condition).reshape(x_t.shape)

    def embedded(self, noise: Tensor) -> Tensor:
        """
        Return the first layer of the samples' branch, which does not depend on the history.

        :param noise: ``(P, S, K, D)``, or ``(1, S, K, D)`` if all people share it.
        :returns: ``(P, S, width)`` or ``(1, S, width)``.
        """
        found: Tensor = self.noise(noise.flatten(2))
        return found

    def of_embedded(self, embedded: Tensor, condition: Tensor) -> Tensor:
        """
        Denoise noise whose first layer is known.

        :param embedded: from :meth:`embedded`.
        :param condition: ``(P, C, D)``.
        :returns: ``(P, S, K D)``.
        """
        history = self.condition(condition.flatten(1))
        for block in self.condition_blocks:
            history = block(history)
        history = self.condition_norm(history)  # (P, condition_width)
        x = embedded + self.begin(history)[:, None]  # (P, S, width)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block(x + shift(history)[:, None])
        values: Tensor = self.out(self.norm(x)) + self.shared(history)[:, None]
        return values
