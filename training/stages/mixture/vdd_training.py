# SPDX-License-Identifier: Apache-2.0
"""Train by Variational Diffusion Distillation: separate optimisers for experts and gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn, Tensor

from training.common.parallel import Shard
from training.engine.checkpoints import Kept
from training.engine.loop import Descent, FromStep, Loop, Plan
from training.stages.mixture.vdd import (
    Batches,
    FurtherTerm,
    ScoreTeacher,
    step_losses,
    Student,
    StudentNetwork,
    VddConfig,
)


def distil(
    network: StudentNetwork,
    teacher: ScoreTeacher | None,
    batches: Batches,
    config: VddConfig,
    *,
    seed: int,
    folder: Path | None = None,
    key: str = '',
    further: FurtherTerm | None = None,
    trained: Sequence[nn.Parameter] | None = None,
    title: str = 'vdd',
    quiet: bool = False,
) -> StudentNetwork:
    """
    Train a student, continuing from the folder's checkpoint if there is one.

    Step i draws everything from (seed, i), so a killed run ends like an unbroken one.

    :param network: a :class:`Student`, changed in place.
    :param teacher: gives the score; None for likelihood terms alone.
    :param batches: gives each step's conditions and samples of the teacher.
    :param seed: seed of the whole run.
    :param folder: folder for checkpoint, curve and TensorBoard's logs; None keeps nothing.
    :param key: key of the network's start; a checkpoint with another key is ignored.
    :param further: a term beyond the method's own.
    :param trained: parameters of the experts that learn; None: all of them.
    :returns: the average of the weights.
    """
    device = next(network.parameters()).device
    student = cast(Student, network)

    def progress(step: int) -> float:
        return step / max(1, config.steps - 1)

    def losses(
        step: int, called: nn.Module, generator: torch.Generator, shard: Shard
    ) -> dict[str, Tensor]:
        batch = batches(generator)
        mixture = called(batch.condition)
        terms = step_losses(mixture, teacher, batch, config, progress(step), generator)
        if further is not None:
            terms['further'] = further(mixture, batch, progress(step))
            terms['experts'] = terms['experts'] + terms['further']
        return terms

    loop = Loop(
        network,
        losses,
        _descents(student, config, trained, progress),
        Plan(steps=config.steps, ema=config.ema, save_every=config.save_every),
        FromStep(seed, device),
        title=title,
        kept=Kept(folder / 'checkpoint.pt', key) if folder else None,
        folder=folder,
        quiet=quiet,
    )
    return loop.run()


def _descents(
    student: Student,
    config: VddConfig,
    trained: Sequence[nn.Parameter] | None,
    progress: Callable[[int], float],
) -> list[Descent]:
    def falling(rate: float) -> Callable[[int], float]:
        return lambda step: max(rate * (1.0 - progress(step)), 1e-8)

    learning = student.expert_parameters() if trained is None else list(trained)
    experts = Descent(
        name='experts',
        loss='experts',
        optimizer=torch.optim.Adam(learning, lr=config.learning_rate, fused=True),
        rate=falling(config.learning_rate),
        clip_norm=config.clip_norm,
    )
    if config.gate != 'learned':
        return [experts]
    gate = torch.optim.Adam(student.gate_parameters(), lr=config.gate_learning_rate)
    return [
        experts,
        Descent(
            name='gate',
            loss='gate',
            optimizer=gate,
            rate=falling(config.gate_learning_rate),
            clip_norm=config.clip_norm,
            every=config.gate_every,
        ),
    ]
