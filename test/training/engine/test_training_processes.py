# SPDX-License-Identifier: Apache-2.0
"""Trainings in real processes: two that share a batch, and one that is killed and goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import signal
import subprocess
import sys

import pytest
from safetensors.torch import load_file
import torch
from verb_processes import ENVIRONMENT, LONG_S, options, ROOT

from motion_predictor.errors import ConfigError
from training.common.parallel import Processes, Shard, WHOLE
from training.engine.curve import CURVE, note, read_curve
from training.engine.fitting import fit
from training.engine.presets import preset
from training.engine.runs import pool_of, Run
from training.stages import distill, train_teacher
from training.stages.pairs import Pairs
from training.stages.swiftdiff import SwiftDiffLoss
from training.stages.train_teacher import MotionModel, TeacherLoss


def losses(folder: Path, stage: str) -> list[float]:
    return [entry['loss'] for entry in read_curve(folder / stage / CURVE)]


SHORT = [
    f'{stage}.optim.{setting}'
    for stage in ('teacher', 'one_step', 'swiftdiff')
    for setting in ('steps=8', 'log_every=1', 'save_every=8')
]


BOTH_VERBS = """
import sys
from training.stages import distill, train_teacher
train_teacher.main(sys.argv[1:])
distill.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_same_batch(tmp_path: Path) -> None:
    settings = [*SHORT, 'teacher.unconditional=0.3']
    train_teacher.main(options(tmp_path / 'one', *settings))
    distill.main(options(tmp_path / 'one', *settings))
    script = tmp_path / 'both_verbs.py'
    script.write_text(BOTH_VERBS)
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    done = subprocess.run(
        [*torchrun, '--nproc-per-node=2', str(script), *options(tmp_path / 'two', *settings)],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=LONG_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('wrote') == 2  # rank 0 alone, once a verb
    for stage in ('teacher', 'one_step', 'swiftdiff'):
        alone, shared = (losses(tmp_path / name, stage) for name in ('one', 'two'))
        assert len(alone) == 8
        assert shared == pytest.approx(alone, rel=2e-4), stage


@pytest.mark.slow
def test_a_training_killed_in_the_middle_ends_as_the_unbroken_one(tmp_path: Path) -> None:
    settings = (
        'teacher.optim.steps=200', 'teacher.optim.log_every=1', 'teacher.optim.save_every=20',
    )  # fmt: skip
    train_teacher.main(options(tmp_path / 'unbroken', *settings))
    words = options(tmp_path / 'killed', *settings)
    curve = tmp_path / 'killed' / 'teacher' / CURVE
    started = subprocess.Popen(
        [sys.executable, '-m', 'training', 'train', 'teacher', *words],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert started.stderr is not None
    while started.stderr.read(64):  # its progress bar: comes as the training goes on
        if len(read_curve(curve)) >= 45:
            started.send_signal(signal.SIGKILL)
            break
    started.communicate(timeout=LONG_S)
    assert started.returncode == -signal.SIGKILL
    broken = read_curve(curve)
    assert 45 <= len(broken) < 200
    train_teacher.main(words)  # the same command goes on
    whole = read_curve(tmp_path / 'unbroken' / 'teacher' / CURVE)
    assert len(whole) == 200
    assert broken == whole[: len(broken)]
    assert read_curve(curve) == whole  # to the last bit
    unbroken, killed = (
        load_file(tmp_path / name / 'teacher.safetensors') for name in ('unbroken', 'killed')
    )
    assert all(torch.equal(unbroken[name], killed[name]) for name in unbroken)


def test_accumulated_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    chain = preset('debug')
    pool = pool_of(Run(tmp_path, (), 'cpu', ()), chain)
    torch.manual_seed(0)
    model = MotionModel(chain.model_of('teacher'), pool.skeleton, pool.state_whitening)
    student = MotionModel(chain.model_of('swiftdiff'), pool.skeleton, pool.state_whitening)
    one_step = MotionModel(chain.model_of('one_step'), pool.skeleton, pool.state_whitening)
    generator = torch.Generator().manual_seed(2)
    noise, target = torch.randn(2, len(pool), *pool.state.shape[1:], generator=generator)
    pairs = Pairs(torch.arange(len(pool)), noise, target)
    alone = replace(chain.swiftdiff, match_ddim=0.0)
    for loss, network in (
        (TeacherLoss(chain.teacher, model, pool), model.denoiser),
        (SwiftDiffLoss(alone, student, one_step, pool), student.denoiser),
        (SwiftDiffLoss(chain.swiftdiff, student, one_step, pool, pairs), student.denoiser),
    ):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        gradients = []
        for shards in ([WHOLE], [Shard(i, 4) for i in range(4)]):
            network.zero_grad()
            for shard in shards:
                terms = loss(network, torch.Generator().manual_seed(3), shard=shard)
                (terms['loss'] / len(shards)).backward()
            gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
        for whole, parts in zip(*gradients, strict=True):
            torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-6)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='multiple of 6'):
        Processes(rank=1, world=2).shards(accumulate=3, batch=32)
    shards = [shard for rank in range(2) for shard in Processes(rank, world=2).shards(2, batch=8)]
    rows = torch.arange(8)
    assert torch.equal(torch.cat([shard.of(rows) for shard in shards]), rows)
    optim = preset('debug').teacher.optim
    network = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match='accumulate=5'):
        fit(network, lambda *_: {}, replace(optim, accumulate=5), tmp_path, seed=0, title='never')


def test_a_half_written_last_line_of_a_curve_is_passed_over(tmp_path: Path) -> None:
    curve = tmp_path / CURVE
    note(curve, {'step': 1, 'loss': 0.1})
    with curve.open('a') as file:
        file.write('{"step": 2, "lo')
    assert read_curve(curve) == [{'step': 1, 'loss': 0.1}]
