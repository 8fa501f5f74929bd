"""The training loop that every network goes through: optimiser, EMA, logs, exact resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
import copy
import json
import math
from pathlib import Path
import shutil
import sys
from typing import Any

import torch
from torch import nn, Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import not_written, write_whole
from motion_predictor.errors import StorageError
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common import parallel
from training.common.logs import Logs
from training.common.stopping import stop_when_whole, stopped_at
from training.engine.checkpoints import load_checkpoint, save_checkpoint
from training.engine.config import OptimConfig

LossOfStep = Callable[..., dict[str, Tensor]]
"""
``(network, generator)``, and ``shard=`` where a step is shared, gives a step's named losses;
``'loss'`` is the one that is minimised. All of the batch is drawn from the generator, then
``shard.of`` keeps the rows of this process.
"""
Watch = Callable[[int, nn.Module], None]
"""``(steps done, moving average of the network)``."""
CURVE = 'losses.jsonl'
"""In the run folder: one JSON object for every ``log_every`` steps, exact to the last bit."""


def fit(
    network: nn.Module,
    losses: LossOfStep,
    optim: OptimConfig,
    folder: Path,
    *,
    seed: int,
    title: str,
    device: str = 'cpu',
    partial: bool = False,
    watch: Watch | None = None,
) -> nn.Module:
    """
    Fit a network, continuing from the run folder's checkpoint where there is one.

    Step i draws everything from (seed, i), so that a killed run continues exactly as it would
    have gone on. The learning rate rises linearly and falls by a cosine to zero. Under torchrun
    the processes share every batch, and so do the ``optim.accumulate`` parts of one process.

    :param network: changed in place.
    :param losses: called once a step, under autocast where that pays.
    :param optim: steps, rates, EMA.
    :param folder: run folder: ``checkpoint.pt`` and TensorBoard logs.
    :param seed: of the whole run.
    :param title: of the progress bar.
    :param device: 'cpu' or 'cuda'.
    :param partial: a step may leave some layers out, as one without condition does.
    :param watch: called after every step, once its checkpoint is written; what it raises ends
        the fitting there.
    :returns: the exponential moving average of the network: the one to use.
    :raises ConfigError: if the batch cannot be shared evenly, or the checkpoint cannot be read.
    :raises StorageError: if the run folder cannot be written to any more.
    :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, once the step is done and saved; it says how
        to go on.
    """
    processes = parallel.current()
    shards = processes.shards(optim.accumulate, optim.batch)
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
    wrapped = processes.wrap(compiled, device, partial=partial)
    curve = folder / CURVE
    if processes.is_main:
        forget_after(curve, begin)
    logs = None
    if processes.is_main:
        logs = Logs(folder / 'tensorboard', begin or None)
    bar = tqdm(
        range(begin, optim.steps),
        initial=begin,
        total=optim.steps,
        desc=title,
        disable=not processes.is_main,
    )
    kept = begin
    try:
        with stop_when_whole() as stop:
            for step in bar:
                for group in optimizer.param_groups:
                    group['lr'] = optim.learning_rate * _rate(step, optim)
                mixed = seed * 1_000_003 + step
                optimizer.zero_grad(set_to_none=True)
                terms: dict[str, Tensor] = {}
                for number, shard in enumerate(shards):
                    generator = torch.Generator(device).manual_seed(mixed)
                    torch.manual_seed(mixed + 1_000_000_007 * shard.index)  # of the dropout
                    shared = {'shard': shard} if shard.count > 1 else {}
                    last = number == len(shards) - 1
                    with _no_sync(wrapped, last):
                        with torch.autocast(device, torch.bfloat16, enabled=optim.bf16 and fast):
                            part = losses(wrapped, generator, **shared)
                        (part['loss'] / len(shards)).backward()
                    for name, value in part.items():
                        share = value.detach() / len(shards)
                        terms[name] = terms[name] + share if name in terms else share
                norm = nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
                optimizer.step()
                _average(averaged, network, min(optim.ema, (1.0 + step) / (10.0 + step)))
                done = step + 1
                if done % optim.log_every == 0:
                    values = processes.mean(terms)
                    if logs is not None:
                        for name, mean in values.items():
                            logs.add_scalar(f'train/{name}', mean, done)
                        logs.add_scalar('train/gradient_norm', float(norm), done)
                        rate = optimizer.param_groups[0]['lr']
                        logs.add_scalar('train/learning_rate', rate, done)
                        note(curve, {'step': done, **values})
                    bar.set_postfix({name: f'{mean:.4g}' for name, mean in values.items()})
                stopping = processes.any(stop.asked)
                save = done % optim.save_every == 0 or done == optim.steps or stopping
                if save and processes.is_main:
                    save_checkpoint(
                        path,
                        {
                            'network': network.state_dict(),
                            'averaged': averaged.state_dict(),
                            'optimizer': optimizer.state_dict(),
                            'step': done,
                        },
                    )
                    kept = done
                if watch is not None:
                    watch(done, averaged)
                if stopping:
                    raise KeyboardInterrupt(stopped_at(title, done, optim.steps))
    except StorageError as error:
        raise StorageError(
            f'{error}; {path} holds step {kept}: the same command goes on from there'
        ) from error
    finally:
        if logs is not None:
            logs.close()
    processes.wait()
    network.eval()
    return averaged


def note(curve: Path, values: Mapping[str, float]) -> None:
    """Append a line to a loss curve."""
    try:
        with curve.open('a', encoding='utf-8') as file:
            file.write(json.dumps(values) + '\n')
    except OSError as error:
        raise StorageError(not_written(curve, error)) from error


def read_curve(curve: Path) -> list[dict[str, float]]:
    """Read a loss curve; a last line that a killed process left unfinished is passed over."""
    entries = []
    for line in curve.read_text(encoding='utf-8').splitlines() if curve.is_file() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def forget_after(curve: Path, step: int) -> None:
    """Take back what a killed run noted after its last checkpoint."""
    kept = [entry for entry in read_curve(curve) if entry['step'] <= step]
    write_whole(curve, ''.join(json.dumps(entry) + '\n' for entry in kept))


def _no_sync(network: nn.Module, last: bool) -> Any:
    # Gradients are exchanged once a step, with the last part of the batch.
    hold = getattr(network, 'no_sync', None)
    return nullcontext() if last or hold is None else hold()


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
