# SPDX-License-Identifier: Apache-2.0
"""Pairs of noise and the result of a teacher's DDIM, made once and kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import written_whole
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common.parallel import current
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig
from training.engine.diffusion import ddim
from training.engine.runs import Run

PAIRS_A_FILE = 4096


@dataclass(frozen=True)
class Pairs:
    """Fixed noises with the targets of a student, whitened like its pool."""

    chosen: Tensor
    """Numbers of the pool's windows, ``(N,)``."""
    noise: Tensor
    """Noises, ``(N, K, D)``."""
    target: Tensor
    """Targets, ``(N, K, D)``."""


def make_pairs(
    run: Run,
    chain: ChainConfig,
    pool: EncodedPool,
    teacher: MotionModel,
    folder: Path,
    count: int,
    *,
    among: Tensor | None = None,
) -> Pairs:
    """
    Run the teacher's DDIM from fresh noises, or read what an earlier call wrote.

    If there are several processes, each makes its share of the files.

    :param run: the run.
    :param chain: settings: ``one_step.teacher_steps``, and how the teacher puts the history back.
    :param pool: the windows, with the teacher's whitening or another.
    :param teacher: the teacher.
    :param folder: folder of the pairs' files.
    :param count: number of pairs, N.
    :param among: numbers of the windows that may be used; None for all.
    """
    config = chain.one_step
    folder.mkdir(parents=True, exist_ok=True)
    among = torch.arange(len(pool)) if among is None else among.cpu()
    fast = run.device == 'cuda' or cpu_has_fast_bf16()
    teacher = copy.deepcopy(teacher)
    if fast and config.optim.bf16:
        teacher.denoiser.to(torch.bfloat16)
    files = range((count + PAIRS_A_FILE - 1) // PAIRS_A_FILE)
    processes = current()
    mine = files[processes.rank :: processes.world]
    for number in tqdm(mine, desc='teacher pairs', unit='file', disable=not processes.is_main):
        path = folder / f'{number:04d}.safetensors'
        if not path.is_file():
            size = min(PAIRS_A_FILE, count - number * PAIRS_A_FILE)
            generator = torch.Generator().manual_seed(chain.seed * 1_000_003 + number)
            chosen = among[torch.randint(len(among), (size,), generator=generator)]
            noise = torch.randn((size, *pool.state.shape[1:]), generator=generator)
            ends: list[Tensor] = []
            for first in range(0, size, 256):
                rows = chosen[first : first + 256].to(run.device)
                condition, padded = as_seen_by(teacher, pool, rows)
                end = ddim(
                    teacher,
                    noise[first : first + 256].to(run.device),
                    condition,
                    padded,
                    steps=config.teacher_steps,
                )
                ends.append(pool.state_whitening.apply(teacher.state.undo(end)).cpu())
            with written_whole(path) as partial:
                save_file({'chosen': chosen, 'noise': noise, 'end': torch.cat(ends)}, partial)
    processes.wait()
    parts = [load_file(folder / f'{number:04d}.safetensors') for number in files]
    joined = [torch.cat([part[name] for part in parts]) for name in ('chosen', 'noise', 'end')]
    return Pairs(*(values.to(run.device) for values in joined))


def as_seen_by(model: MotionModel, pool: EncodedPool, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return windows of a pool with a model's whitening.

    :param model: a model of the same encoding.
    :param pool: the pool.
    :param chosen: numbers of the windows, ``(B,)``.
    :returns: conditions ``(B, C, D)``; padded states, broadcastable to ``(B, K, D)``.
    """
    known = pool.condition_whitening.undo(pool.condition[chosen])
    condition = model.condition.apply(known[:, : model.config.condition_rows])  # without a mask
    return condition, model.state.apply(pool.state_whitening.undo(pool.padded_of(chosen)))
