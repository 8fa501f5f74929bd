# SPDX-License-Identifier: Apache-2.0
"""Short trainings of SwiftDiff students, and timing of their calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import time

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.model.config import ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.predictor import Predictor
from studies.common.material import Material
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig
from training.engine.loop import Watch
from training.engine.runs import Run
from training.judge.speed.benchmark import FEWEST
from training.judge.speed.cases import walking_window, WARM_UP
from training.stages.swiftdiff import distil_swiftdiff, StudentLoss


def shortened(chain: ChainConfig, windows: int, pool: int) -> ChainConfig:
    """
    Return the settings with stage 2 cut to the budget of a trial.

    :param chain: the settings.
    :param windows: total number of windows; the steps follow from the batch.
    :param pool: number of windows that are drawn.
    :returns: settings with a warm-up of at most a tenth of the steps.
    """
    optim = chain.swiftdiff.optim
    steps = max(1, windows // optim.batch)
    short = replace(
        optim,
        steps=steps,
        warmup_steps=min(optim.warmup_steps, max(1, steps // 10)),
        log_every=min(optim.log_every, max(1, steps // 8)),
        save_every=max(1, steps // 5),
    )
    return replace(chain, pool=pool, swiftdiff=replace(chain.swiftdiff, optim=short))


def train_student(
    material: Material,
    chain: ChainConfig,
    folder: Path,
    *,
    loss: StudentLoss | None = None,
    watch: Watch | None = None,
) -> MotionModel:
    """
    Train a student as ``train swiftdiff`` does; a killed training continues where it stopped.

    :param material: windows, teacher and pairs.
    :param chain: settings.
    :param folder: folder of the student alone.
    :param loss: the loss; None takes :class:`training.stages.swiftdiff.SwiftDiffLoss`.
    :param watch: as in :class:`training.engine.loop.Loop`.
    """
    run = Run(folder, material.data, material.device, ('swiftdiff',))
    pool, one_step, pairs = material.pool, material.one_step, material.pairs
    return distil_swiftdiff(run, chain, pool, one_step, pairs=pairs, loss=loss, watch=watch)


def times_ms(
    models: Sequence[MotionModel],
    *,
    persons: int = 1,
    repetitions: int = 30,
    samples: int = 50,
    device: str = 'cpu',
    budget_s: float = 20.0,
) -> list[float]:
    """
    Time one Predictor call of some models in turns, with one thread.

    On a CPU this is the processor time of this thread: the duration of a call on a core of its
    own, whatever else the machine does. With CUDA it is the time of the wall clock.

    :param models: one-step models; their weights do not matter.
    :param persons: number of people, P.
    :param repetitions: number of calls.
    :param samples: number of samples.
    :param device: the device.
    :param budget_s: time in seconds; a slower model makes fewer calls, but at least three.
    :returns: the median of each, milliseconds.
    """
    now = time.thread_time if device == 'cpu' else time.perf_counter
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calls: list[tuple[Predictor, NDArray[np.float32]]] = []
        times_s: list[list[float]] = []
        for model in models:
            predictor = Predictor(model, {}, device=device)
            observed = walking_window(persons, model.config.window)
            for _ in range(WARM_UP):
                predictor.predict(observed, samples=samples)
            calls.append((predictor, observed))
            times_s.append([])
        for turn in range(repetitions):
            for (predictor, observed), own in zip(calls, times_s):
                if turn >= FEWEST and sum(own) > budget_s:
                    continue
                begun = now()
                predictor.predict(observed, samples=samples)
                own.append(now() - begun)
    finally:
        torch.set_num_threads(before)
    return [round(1000.0 * float(np.median(own)), 3) for own in times_s]


def fresh_model(config: ModelConfig, pool: EncodedPool) -> MotionModel:
    """Return an untrained model of some size, for timing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MotionModel(
            config, pool.skeleton, pool.state_whitening, pool.condition_whitening
        ).eval()
