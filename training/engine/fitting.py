"""One network, one loss: the training loop with AdamW, a warm start and a falling rate."""

from __future__ import annotations

from collections.abc import Callable
import math
from pathlib import Path
import shutil
import sys

import torch
from torch import nn, Tensor

from training.common.parallel import Shard
from training.engine.checkpoints import Kept
from training.engine.config import OptimConfig
from training.engine.loop import Descent, FromStep, Loop, Plan, Watch

WEIGHT_DECAY = 0.01
"""AdamW's, as it comes: dropout, not decay, is what the presets hold a network back by."""
CLIP_NORM = 1.0
"""Gradients longer than this are shortened: the usual length for transformers."""
LossOfStep = Callable[..., dict[str, Tensor]]
"""
``(network, generator)``, and ``shard=`` where a step is shared, gives a step's named losses;
``'loss'`` is the one that is minimised. All of the batch is drawn from the generator, then
``shard.of`` keeps the rows of this process.
"""


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
    have gone on. The learning rate rises linearly and falls by a cosine to zero.

    :param network: changed in place.
    :param losses: called once a step, under autocast where that pays.
    :param optim: steps, rates, EMA.
    :param folder: run folder: ``checkpoint.pt`` and TensorBoard logs.
    :param seed: of the whole run.
    :param title: of the progress bar.
    :param device: 'cpu' or 'cuda'.
    :param partial: a step may leave some layers out, as one without condition does.
    :param watch: as of :class:`training.engine.loop.Loop`.
    :returns: the exponential moving average of the network: the one to use.
    :raises ConfigError: if the batch cannot be shared evenly, or the checkpoint cannot be read.
    :raises StorageError: if the run folder cannot be written to any more.
    :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, once the step is done and saved; it says how
        to go on.
    """
    network.to(device)

    def of_step(
        step: int, called: nn.Module, generator: torch.Generator, shard: Shard
    ) -> dict[str, Tensor]:
        return losses(called, generator, **({'shard': shard} if shard.count > 1 else {}))

    loop = Loop(
        network,
        of_step,
        [_descent(network, optim)],
        _plan(optim, partial),
        FromStep(seed, torch.device(device)),
        title=title,
        kept=Kept(folder / 'checkpoint.pt'),
        folder=folder,
        compiled=compiled_network(network) if optim.compile else None,
        watch=watch,
    )
    return loop.run()


def _descent(network: nn.Module, optim: OptimConfig) -> Descent:
    return Descent(
        name='optimizer',
        loss='loss',
        optimizer=torch.optim.AdamW(
            network.parameters(), lr=optim.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        ),
        rate=lambda step: optim.learning_rate * _rate(step, optim),
        clip_norm=CLIP_NORM,
    )


def _plan(optim: OptimConfig, partial: bool) -> Plan:
    return Plan(
        steps=optim.steps,
        ema=optim.ema,
        save_every=optim.save_every,
        log_every=optim.log_every,
        batch=optim.batch,
        accumulate=optim.accumulate,
        bf16=optim.bf16,
        partial=partial,
    )


def _rate(step: int, optim: OptimConfig) -> float:
    rise = min(1.0, (step + 1) / max(1, optim.warmup_steps))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / optim.steps))


def compiled_network(network: nn.Module) -> nn.Module:
    """Compile a network with torch.compile, or say that there is no C++ compiler for it."""
    if shutil.which('g++') is None and shutil.which('clang++') is None:
        print('no C++ compiler found: going on without torch.compile', file=sys.stderr)
        return network
    return torch.compile(network)  # type: ignore[return-value]
