# SPDX-License-Identifier: Apache-2.0
"""Consistency distillation, the control of the one-step students."""

from pathlib import Path

import numpy as np
import pytest
from random_models import observed_people, save_random
import torch

from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.predictor import Predictor
from studies import consistency
from training.engine.config import ChainConfig
from training.engine.diffusion import ddim
from training.engine.presets import preset
from training.engine.runs import pool_of, Run

WORDS = ['--preset', 'debug', '--device', 'cpu']
BUDGET = ['pool=64', 'one_step.teacher_steps=5', 'one_step.optim.learning_rate=0.003']


def gap_to_the_path_s_end(path: Path, teacher_path: Path, chain: ChainConfig) -> float:
    """Mean distance of the one-step output from the end of the teacher's DDIM, same noise."""
    teacher, student = (load_weights(p).model for p in (teacher_path, path))
    pool = pool_of(Run(path.parent, (), 'cpu', ()), chain, like=teacher)
    noise = torch.randn(pool.state.shape, generator=torch.Generator().manual_seed(0))
    end = ddim(teacher, noise, pool.condition, pool.padded_of(torch.arange(len(pool))), steps=5)
    with torch.no_grad():
        found = student.one_step(noise, pool.condition)
    return float((found - end).square().mean())


@pytest.mark.slow
def test_one_step_comes_near_the_end_of_the_teachers_path(tmp_path: Path) -> None:
    teacher = save_random(tmp_path / 'teacher.safetensors', 'teacher')
    run = ['--run', str(tmp_path), '--set', *BUDGET]
    consistency.main([*WORDS, *run, 'one_step.optim.steps=1'])
    begun = tmp_path / 'begun.safetensors'
    (tmp_path / 'consistency.safetensors').rename(begun)
    (tmp_path / 'consistency').rename(tmp_path / 'begun')
    consistency.main([*WORDS, *run, 'one_step.optim.steps=150'])
    path = tmp_path / 'consistency.safetensors'
    chain = preset('debug')
    gaps = [gap_to_the_path_s_end(p, teacher, chain) for p in (begun, path)]
    assert gaps[1] < 0.8 * gaps[0]
    loaded = load_weights(path)
    assert loaded.model.config.role == 'one_step'
    assert loaded.card['teachers'] == {'teacher': file_digest(teacher)}
    futures = Predictor.load(path, device='cpu').predict(observed_people(1), samples=2).futures
    assert np.isfinite(futures).all()
