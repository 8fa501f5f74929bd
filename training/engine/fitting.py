# SPDX-License-Identifier: Apache-2.0
"""Fit one network to one loss: the training loop with AdamW, a warm start and a falling rate."""

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
"""AdamW's default: the presets regularise a network by dropout and not by weight decay."""
CLIP_NORM = 1.0
"""Largest norm of a gradient, the usual value for transformers; longer ones are shortened."""
LossOfStep = Callable[..., dict[str, Tensor]]
"""A function of ``(network, generator)``, and ``shard=`` if a step is shared, that returns the
named losses of a step; ``'loss'`` is minimised. It draws the whole batch from the generator;
``shard.of`` then keeps the rows of this process.
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
    Fit a network, continuing from the run folder's checkpoint if there is one.

    Step i draws everything from (seed, i), so a killed run continues exactly as it would have gone
    on. The learning rate rises linearly and falls by a cosine to zero.

    :param network: changed in place.
    :param losses: called once per step, under autocast where that is faster.
    :param optim: steps, rates, EMA.
    :param folder: run folder, for ``checkpoint.pt`` and TensorBoard logs.
    :param seed: seed of the whole run.
    :param title: title of the progress bar.
    :param device: 'cpu' or 'cuda'.
    :param partial: whether a step may leave some layers out, as a step without condition does.
    :param watch: as in :class:`training.engine.loop.Loop`.
    :returns: the exponential moving average of the network: the one to use.
    :raises ConfigError: if the batch cannot be divided evenly, or if the checkpoint cannot be
        read.
    :raises StorageError: if the run folder can no longer be written.
    :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step is done and saved; it says how
        to continue.
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
    """Return a network compiled with torch.compile, or report that there is no C++ compiler."""
    if shutil.which('g++') is None and shutil.which('clang++') is None:
        print('no C++ compiler found: going on without torch.compile', file=sys.stderr)
        return network
    return torch.compile(network)  # type: ignore[return-value]
