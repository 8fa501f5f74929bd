# SPDX-License-Identifier: Apache-2.0
"""TransFusion's denoiser (arXiv 2307.16106), the network of both teachers."""

from __future__ import annotations

import math

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.model.config import ModelConfig
from motion_predictor.model.networks.layers import SqueezeExcitation


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """
    Return scaled dot-product attention with dropout on the weights.

    It is written out where gradients are needed on a CPU. There, for windows of 21 tokens, the
    backward pass of the fused kernel takes three fifths of a training step.

    :param query: ``(B, heads, tokens, width / heads)``; key and value have the same shape.
    """
    if query.is_cuda or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return functional.dropout(scores.softmax(dim=-1), dropout, dropout > 0.0) @ value


class TransfusionBlock(nn.Module):
    """Squeeze-excitation, self-attention and feed-forward, each with a residual connection."""

    def __init__(self, tokens: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.squeeze = SqueezeExcitation(tokens)
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.norm_hidden = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, tokens, width)`` to the same shape."""
        x = x + self.squeeze(x)
        qkv = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, width / heads)
        mixed = attend(query, key, value, self.dropout if self.training else 0.0)
        x = x + mixed.transpose(1, 2).flatten(2)
        hidden = functional.gelu(self.expand(self.norm_hidden(x)))
        hidden = functional.dropout(hidden, self.dropout, self.training)
        return x + self.contract(hidden)


class TransfusionDenoiser(nn.Module):
    """
    TransFusion's transformer with long skips; time and condition share one token in front.

    The outputs of the first ``depth // 2`` blocks are concatenated to the inputs of the last
    ``depth // 2``.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        size = config.denoiser
        keep, width = config.window.dct_keep, size.width
        tokens = keep + 1
        self.width = width
        self.rows = nn.Linear(channels, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(config.condition_rows * channels, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransfusionBlock(
                tokens, width, size.heads, round(width * size.hidden_ratio), size.dropout
            )
            for _ in range(size.depth)
        )
        self.skips = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(size.depth // 2))
        self.out = nn.Linear(width, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_t: Tensor, condition: Tensor | None, step: Tensor) -> Tensor:
        """
        Denoise coefficients.

        :param x_t: noisy coefficients, ``(B, K, D)``.
        :param condition: ``(B, C, D)``, or None to denoise without one.
        :param step: diffusion step ``(B,)``.
        :returns: ``(B, K, D)``, the quantity that ``ModelConfig.prediction`` names.
        """
        front = self.time(step_embedding(step, self.width).to(x_t.dtype))
        if condition is not None:
            front = front + self.condition(condition.flatten(1))
        x = torch.cat((front.unsqueeze(1), self.rows(x_t)), dim=1) + self.position
        kept: list[Tensor] = []
        half = len(self.skips)
        for number, block in enumerate(self.blocks):
            late = number - (len(self.blocks) - half)
            if late >= 0:
                x = self.skips[late](torch.cat((x, kept.pop()), dim=-1))
            x = block(x)
            if number < half:
                kept.append(x)
        return self.out(x[:, 1:])


def step_embedding(step: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """
    Return the sinusoidal embedding of a diffusion step (Vaswani et al., 2017).

    :param step: ``(B,)``.
    :param width: length of the embedding, even.
    :returns: float32 ``(B, width)``, cosines then sines.
    """
    half = width // 2
    decay = torch.exp(
        -math.log(max_period) * torch.arange(half, device=step.device, dtype=torch.float32) / half
    )
    angle = step.float()[:, None] * decay[None]
    return torch.cat((angle.cos(), angle.sin()), dim=-1)
