"""
Every network that can be deployed.

TransFusion's denoiser (arXiv 2307.16106) is the teacher and the one-step teacher; the MLP mixer
is SwiftDiff's (arXiv 2409.12456). Both see K rows of coefficients as tokens with one condition
token in front; the flat network, SwiftDiff's for CPUs, sees all coefficients at once:
``(B, K, D)`` in, ``(B, K, D)`` out.
"""

from __future__ import annotations

import math

import torch
from torch import nn, Tensor
from torch.nn import functional

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.networks.experts import FlatBlock, MotionExperts


class SqueezeExcitation(nn.Module):
    """Weigh tokens by a gate on their channel means (ratio 4, no biases, sigmoid)."""

    def __init__(self, tokens: int, ratio: int = 4) -> None:
        super().__init__()
        squeezed = max(1, tokens // ratio)
        self.down = nn.Linear(tokens, squeezed, bias=False)
        self.up = nn.Linear(squeezed, tokens, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``(B, tokens, width)`` token by token."""
        gate = torch.sigmoid(self.up(functional.relu(self.down(x.mean(dim=-1)))))
        return x * gate.unsqueeze(-1)


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """
    Scaled dot-product attention, dropout on the weights.

    Written out where gradients are wanted on a CPU: the fused kernel's backward pass takes
    three fifths of a training step there for windows of 21 tokens.

    :param query: ``(B, heads, tokens, width / heads)``, as are key and value.
    """
    if query.is_cuda or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return functional.dropout(scores.softmax(dim=-1), dropout, dropout > 0.0) @ value


class TransfusionBlock(nn.Module):
    """Squeeze-excitation, self-attention and feed-forward, each with its residual."""

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

    The first ``depth // 2`` blocks feed the last ``depth // 2`` by concatenation.
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
        Denoise.

        :param x_t: noisy coefficients ``(B, K, D)``.
        :param condition: ``(B, C, D)``, or None to denoise without one.
        :param step: diffusion step ``(B,)``.
        :returns: ``(B, K, D)``, what ``ModelConfig.prediction`` says.
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
    Sinusoids of a diffusion step (Vaswani et al., 2017).

    :param step: ``(B,)``.
    :param width: even length of the embedding.
    :returns: float32 ``(B, width)``, cosines then sines.
    """
    half = width // 2
    decay = torch.exp(
        -math.log(max_period) * torch.arange(half, device=step.device, dtype=torch.float32) / half
    )
    angle = step.float()[:, None] * decay[None]
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class MixerBlock(nn.Module):
    """SwiftDiff's block: an MLP over tokens, an MLP over channels, one gate shared by both."""

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
    """SwiftDiff: MLPs only, no attention, no time or position embedding, no long skips."""

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

        :param x_t: noise ``(B, K, D)``.
        :param condition: ``(P, C, D)`` with P a divisor of B: each row serves B / P
            consecutive samples, so that a person's history is embedded once.
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
    SwiftDiff for CPUs: an MLP on all coefficients at once, the history's part run once a person.

    A branch of its own turns the condition into a vector h. It gives what all samples share (a
    linear map of h) and enters every block of the samples' branch, whose cost alone grows with S.
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

        :param x_t: noise ``(B, K, D)``, or ``(P, S, K, D)``; expanded from one person's, it costs
            what one person's costs.
        :param condition: ``(P, C, D)`` with P a divisor of B, as for :class:`MixerDenoiser`.
        :param step: ignored.
        :returns: shaped as the noise.
        """
        history = self.condition(condition.flatten(1))
        for block in self.condition_blocks:
            history = block(history)
        history = self.condition_norm(history)  # (P, condition_width)
        people = len(history)
        noise = x_t if x_t.ndim == 4 else x_t.unflatten(0, (people, -1))
        noise = noise[:1] if noise.stride(0) == 0 else noise  # the same for everybody
        x = self.noise(noise.flatten(2)) + self.begin(history)[:, None]  # (P, S, width)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block(x + shift(history)[:, None])
        values = self.out(self.norm(x)) + self.shared(history)[:, None]
        return values.reshape(x_t.shape)


def build_denoiser(config: ModelConfig, num_joints: int) -> nn.Module:
    """
    Make the network of a model, with fresh weights.

    :param config: names the architecture and its size.
    :param num_joints: J; the network sees 3J channels.
    :raises ConfigError: if the architecture does not fit the role.
    """
    if config.denoiser.architecture == 'transfusion':
        return TransfusionDenoiser(config, 3 * num_joints)
    architecture = config.denoiser.architecture
    if architecture == 'experts':
        return MotionExperts(config, 3 * num_joints)
    if config.role == 'teacher':
        raise ConfigError(
            f'architecture={architecture!r}: a teacher needs a time step; use "transfusion"'
        )
    network = FlatDenoiser if architecture == 'flat' else MixerDenoiser
    return network(config, 3 * num_joints)
