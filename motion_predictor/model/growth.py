"""Grow a mixer into a larger one that gives the same output, as Net2Net does."""

from __future__ import annotations

import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.denoiser import build_denoiser

NOISE = 0.02
"""Copies of a channel differ by this share of their weights' deviation, or they never part."""


def grown(network: nn.Module, old: ModelConfig, new: ModelConfig, seed: int = 0) -> nn.Module:
    """
    Grow a mixer, as Net2Net does (Chen et al., ICLR 2016, arXiv 1511.05641).

    Wider: every channel is copied, and what reads the copies shares the weight among them; layer
    norm and squeeze-excitation see the same mean and variance. Deeper: new blocks that add zero,
    spread between the old ones. Only the noise that lets the copies part changes the output: it is
    balanced, so that copies of one input share a weight whose sum stays.

    :param network: a mixer of ``old``'s size; it is not changed.
    :param old: its settings.
    :param new: settings of the larger one: width and hidden width whole multiples, depth not
        smaller, all else alike.
    :param seed: of the noise and of the new blocks.
    :returns: a network of ``new``'s size, in evaluation mode as fresh ones are not.
    :raises ConfigError: if the old one cannot be grown into the new one.
    """
    small, large = old.denoiser, new.denoiser
    if small.architecture != 'mixer' or large.architecture != 'mixer':
        raise ConfigError(
            f'{small.architecture} to {large.architecture}: only a mixer can be grown'
        )
    times, rest = divmod(large.width, small.width)
    if rest or small.hidden_ratio != large.hidden_ratio:
        raise ConfigError(
            f'width={large.width}, hidden_ratio={large.hidden_ratio}: must be a multiple of '
            f'{small.width}, with hidden_ratio={small.hidden_ratio}'
        )
    if large.depth < small.depth:
        raise ConfigError(f'depth={large.depth}: must be {small.depth} at least')
    source = network.state_dict()
    channels = source['out.weight'].shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        target = build_denoiser(new, channels // 3)
        state = dict(target.state_dict())
        places = [round(i * large.depth / small.depth) for i in range(small.depth)]
        for name in ('rows', 'condition'):
            state[f'{name}.weight'] = _copy_rows(source[f'{name}.weight'], times)
            state[f'{name}.bias'] = source[f'{name}.bias'].repeat(times)
        state['out.weight'] = _share(source['out.weight'], times)
        state['out.bias'] = source['out.bias']
        for number in range(large.depth):
            block = f'blocks.{number}.'
            if number not in places:  # adds zero until trained
                for layer in ('tokens_out', 'channels_out'):
                    state[f'{block}{layer}.weight'] = torch.zeros_like(
                        state[f'{block}{layer}.weight']
                    )
                    state[f'{block}{layer}.bias'] = torch.zeros_like(state[f'{block}{layer}.bias'])
                continue
            origin = f'blocks.{places.index(number)}.'
            for name in list(state):
                if not name.startswith(block):
                    continue
                value = source[origin + name[len(block) :]]
                if '.channels_' in name:
                    value = (
                        value.repeat(times)
                        if value.ndim == 1
                        else _share(_copy_rows(value, times), times)
                    )
                elif '.norm_' in name:
                    value = value.repeat(times)
                state[name] = value
    target.load_state_dict(state)
    return target


def grown_model(model: MotionModel, config: ModelConfig) -> MotionModel:
    """
    Grow a model's network; everything else stays as it is.

    :param model: with a mixer; it is not changed.
    :param config: of the larger one.
    :returns: in evaluation mode.
    :raises ConfigError: as :func:`grown`.
    """
    network = grown(model.denoiser, model.config, config)
    larger = MotionModel(config, model.skeleton)
    state = {f'denoiser.{name}': value for name, value in network.state_dict().items()}
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith('denoiser.')}
    larger.load_state_dict({**rest, **state})
    return larger.eval().requires_grad_(False)


def _copy_rows(matrix: Tensor, times: int) -> Tensor:
    """Repeat what a layer gives: ``(out, in)`` to ``(times * out, in)``."""
    return matrix.repeat(times, 1)


def _share(matrix: Tensor, times: int) -> Tensor:
    """Let a layer read ``times`` copies of its input: ``(out, in)`` to ``(out, times * in)``."""
    parts = (matrix / times).repeat(1, times).unflatten(1, (times, -1))
    noise = NOISE * parts.std() * torch.randn_like(parts)
    noise = noise - noise.mean(dim=1, keepdim=True)  # copies of one input: their sum stays
    return (parts + noise).flatten(1)
