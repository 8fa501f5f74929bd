"""The training loop that every network goes through: optimiser, EMA, logs, exact resume."""

from __future__ import annotations

from collections.abc import Callable
import copy
import math
from pathlib import Path
import shutil
import sys

import torch
from torch import nn, Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from motion_predictor.predictor import cpu_has_fast_bf16
from training.checkpoints import load_checkpoint, save_checkpoint
from training.config import OptimConfig

LossOfStep = Callable[[nn.Module, torch.Generator], dict[str, Tensor]]
"""Gives a step's named losses; ``'loss'`` is the one that is minimised."""


def fit(
    network: nn.Module,
    losses: LossOfStep,
    optim: OptimConfig,
    folder: Path,
    *,
    seed: int,
    title: str,
    device: str = 'cpu',
) -> nn.Module:
    """
    Fit a network, continuing from the run folder's checkpoint where there is one.

    Step i draws everything from (seed, i), so that a killed run continues exactly as it would
    have gone on. The learning rate rises linearly and falls by a cosine to zero.

    :param network: changed in place.
    :param losses: called once a step, under autocast where that pays.
    :param optim: steps, rates, EMA.
    :param folder: run folder: ``checkpoint.pt`` and TensorBoard logs.
    :param seed: of the whole run.
    :param title: of the progress bar.
    :param device: 'cpu' or 'cuda'.
    :returns: the exponential moving average of the network: the one to use.
    """
    network.to(device).train()
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=optim.learning_rate, weight_decay=optim.weight_decay, fused=True
    )
    path = folder / 'checkpoint.pt'
    begin = 0
    saved = load_checkpoint(path, device)
    if saved is not None:
        network.load_state_dict(saved['network'])
        averaged.load_state_dict(saved['averaged'])
        optimizer.load_state_dict(saved['optimizer'])
        begin = int(saved['step'])
    fast = device == 'cuda' or cpu_has_fast_bf16()
    compiled = compiled_network(network) if optim.compile else network
    with SummaryWriter(str(folder / 'tensorboard')) as logs:
        bar = tqdm(range(begin, optim.steps), initial=begin, total=optim.steps, desc=title)
        for step in bar:
            for group in optimizer.param_groups:
                group['lr'] = optim.learning_rate * _rate(step, optim)
            mixed = seed * 1_000_003 + step
            generator = torch.Generator(device).manual_seed(mixed)
            torch.manual_seed(mixed)
            with torch.autocast(device, torch.bfloat16, enabled=optim.bf16 and fast):
                terms = losses(compiled, generator)
            optimizer.zero_grad(set_to_none=True)
            terms['loss'].backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
            optimizer.step()
            _average(averaged, network, min(optim.ema, (1.0 + step) / (10.0 + step)))
            done = step + 1
            if done % optim.log_every == 0:
                values = {name: float(value.detach()) for name, value in terms.items()}
                for name, value in values.items():
                    logs.add_scalar(f'train/{name}', value, done)
                logs.add_scalar('train/gradient_norm', float(norm), done)
                logs.add_scalar('train/learning_rate', optimizer.param_groups[0]['lr'], done)
                bar.set_postfix({name: f'{value:.4g}' for name, value in values.items()})
            if done % optim.save_every == 0 or done == optim.steps:
                save_checkpoint(
                    path,
                    {
                        'network': network.state_dict(),
                        'averaged': averaged.state_dict(),
                        'optimizer': optimizer.state_dict(),
                        'step': done,
                    },
                )
    network.eval()
    return averaged


def _rate(step: int, optim: OptimConfig) -> float:
    rise = min(1.0, (step + 1) / max(1, optim.warmup_steps))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / optim.steps))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    targets: list[Tensor] = list(averaged.parameters())
    sources: list[Tensor] = [parameter.detach() for parameter in network.parameters()]
    torch._foreach_lerp_(targets, sources, 1.0 - decay)


def compiled_network(network: nn.Module) -> nn.Module:
    """Compile a network with torch.compile, or say that there is no C++ compiler for it."""
    if shutil.which('g++') is None and shutil.which('clang++') is None:
        print('no C++ compiler found: going on without torch.compile', file=sys.stderr)
        return network
    return torch.compile(network)  # type: ignore[return-value]
