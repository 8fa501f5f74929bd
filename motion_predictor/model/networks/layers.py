# SPDX-License-Identifier: Apache-2.0
"""Layers that several networks use."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional


class SqueezeExcitation(nn.Module):
    """Weighs tokens by a gate on their channel means (ratio 4, no biases, sigmoid)."""

    def __init__(self, tokens: int, ratio: int = 4) -> None:
        super().__init__()
        squeezed = max(1, tokens // ratio)
        self.down = nn.Linear(tokens, squeezed, bias=False)
        self.up = nn.Linear(squeezed, tokens, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``(B, tokens, width)`` token by token."""
        gate = torch.sigmoid(self.up(functional.relu(self.down(x.mean(dim=-1)))))
        return x * gate.unsqueeze(-1)


class FlatBlock(nn.Module):
    """A residual MLP on one vector per row: LayerNorm, Linear, GELU, zero-initialised Linear."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        hidden = functional.gelu(self.expand(self.norm(x)))
        return x + self.contract(functional.dropout(hidden, self.dropout, self.training))
