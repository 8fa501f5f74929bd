"""
Grow a trained mixer into a larger one that gives the same output: python -m training.growth.

Wider and deeper, as Net2Net does: a place to go on training from at that size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys

import torch
from torch import nn, Tensor

from motion_predictor.config import ModelConfig
from motion_predictor.denoiser import build_denoiser
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model import MotionModel
from motion_predictor.weights import file_digest, load_weights, save_weights

EXAMPLE = """
example, the size published for Human3.6M, from a small trained mixer:
  python -m training.growth --weights mixer.safetensors --width 768 --depth 12 \\
      --out runs/grown/swiftdiff.safetensors
then, as it is shipped:
  python -m training.export --run runs/grown --only swiftdiff --dtype int8 --out resource/weights
"""
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


def _copy_rows(matrix: Tensor, times: int) -> Tensor:
    """Repeat what a layer gives: ``(out, in)`` to ``(times * out, in)``."""
    return matrix.repeat(times, 1)


def _share(matrix: Tensor, times: int) -> Tensor:
    """Let a layer read ``times`` copies of its input: ``(out, in)`` to ``(out, times * in)``."""
    parts = (matrix / times).repeat(1, times).unflatten(1, (times, -1))
    noise = NOISE * parts.std() * torch.randn_like(parts)
    noise = noise - noise.mean(dim=1, keepdim=True)  # copies of one input: their sum stays
    return (parts + noise).flatten(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb."""
    parser = argparse.ArgumentParser(
        prog='python -m training.growth',
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--weights', type=Path, required=True, help='a mixer')
    parser.add_argument('--width', type=int, required=True, help='a multiple of its own')
    parser.add_argument('--depth', type=int, required=True, help='its own or more')
    parser.add_argument('--out', type=Path, required=True, help='weights file to write')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done')
    options = parser.parse_args(arguments)
    try:
        loaded = load_weights(options.weights)
        old = loaded.model.config
        size = replace(old.denoiser, width=options.width, depth=options.depth)
        new = replace(old, denoiser=size)
        network = grown(loaded.model.denoiser, old, new)
        what = f'{old.denoiser.depth} x {old.denoiser.width} to {size.depth} x {size.width}'
        if options.dry_run:
            print(f'would grow {options.weights} from {what}')
            return
        model = MotionModel(new, loaded.model.skeleton)
        statistics = {
            name: value
            for name, value in loaded.model.state_dict().items()
            if not name.startswith('denoiser.')
        }
        state = {f'denoiser.{name}': value for name, value in network.state_dict().items()}
        model.load_state_dict({**statistics, **state})
        card = {
            **loaded.card,
            'what': f'SwiftDiff grown from {what} (Net2Net), not trained at that size: it gives '
            'the futures of the smaller one, and is a place to begin training from',
            'grown_from': file_digest(options.weights),
        }
        card.pop('scores', None)
        save_weights(options.out, model, card)
    except MotionPredictorError as error:
        sys.exit(f'training.growth: {error}')
    print(f'wrote {options.out}: {what}')


if __name__ == '__main__':
    main()
