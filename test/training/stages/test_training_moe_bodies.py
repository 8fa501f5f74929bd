# SPDX-License-Identifier: Apache-2.0
"""Mixtures of bodies that are no people's, and settings that a mixture must share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from other_bodies import BODIES, record, skeleton_file
import pytest
from random_models import save_random, save_random_mixture

from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.model.weights import load_weights, save_weights
from motion_predictor.predict.predictor import Predictor
from training.stages import distill, distill_moe, train_teacher

LINKS = [f'link{number}' for number in range(17)]
ROBOT17 = {
    'name': 'robot17',
    'joints': LINKS,
    'root': 'link0',
    'parents': dict(zip(LINKS[1:], LINKS)),
    'heading': {'ahead': ['link0', 'link3']},
    'zero_is_missing': False,
}
"""As many joints as a person: written as one, it would go unnoticed."""


def move_chain(frames: int, rate_hz: float, seed: int) -> np.ndarray:
    """Links that wave, (T, 17, 3) metres."""
    time_s = np.arange(frames) / rate_hz
    poses, angle = np.zeros((frames, 17, 3)), np.zeros(frames)
    for joint in range(1, 17):
        angle = angle + 0.1 * np.sin(np.pi * time_s + seed + 0.3 * joint)
        bone = np.stack([0.1 * np.cos(angle), 0.1 * np.sin(angle), 0.02 + 0 * angle], axis=-1)
        poses[:, joint] = poses[:, joint - 1] + bone
    return poses.astype(np.float32)


SHORT = [
    'pool=64',
    *(f'{stage}.optim.{setting}' for stage in ('teacher', 'one_step')
      for setting in ('steps=4', 'log_every=1', 'save_every=4', 'warmup_steps=1')),
    'moe.vdd.steps=4', 'moe.vdd.save_every=4', 'moe.covariance_last=4', 'moe.together_last=4',
    'moe.points_last=2',
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('body', ['arm', 'quadruped', 'robot17'])
def test_a_mixture_is_of_the_body_that_was_recorded(tmp_path: Path, body: str) -> None:
    content, move = (ROBOT17, move_chain) if body == 'robot17' else BODIES[body]
    path = skeleton_file(tmp_path, content)
    data = record(tmp_path / body / 'train.npz', move)
    words = ['--preset', 'debug', '--run', str(tmp_path / 'run'), '--device', 'cpu']
    words += ['--data', str(data), '--skeleton', str(path), '--set', *SHORT]
    train_teacher.main(words)
    distill.main([*words, '--stages', 'one_step'])
    distill_moe.main(words)
    skeleton = read_skeleton(path)
    predictor = Predictor.load(tmp_path / 'run' / 'moe.safetensors', device='cpu')
    assert predictor.skeleton == skeleton
    assert predictor.model.config.skeleton == skeleton.name
    futures = predictor.predict(move(25, 50.0, 9), samples=3).futures
    assert futures.shape == (1, 3, 100, skeleton.num_joints, 3)
    assert np.isfinite(futures).all()
    distill_moe.main(words)  # windows that are kept are of the same body


def test_a_teacher_of_another_body_is_refused(tmp_path: Path) -> None:
    path = skeleton_file(tmp_path, ROBOT17)
    data = record(tmp_path / 'robot' / 'train.npz', move_chain)
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / 'run' / f'{role}.safetensors', role)  # a person's
    words = ['--preset', 'debug', '--run', str(tmp_path / 'run'), '--device', 'cpu']
    words += ['--data', str(data), '--skeleton', str(path)]
    with pytest.raises(SystemExit, match='joints of h36m17, the recordings those of robot17'):
        distill_moe.main(words)
    assert not (tmp_path / 'run' / 'moe').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    'setting,value',
    [
        ('condition', 'padded'),
        ('condition_keep', '8'),
        ('residual', 'false'),
        ('heading', 'input'),
        ('window.dct_keep', '16'),
    ],
)
def test_settings_of_the_encoding_are_refused_where_the_teacher_has_others(
    tmp_path: Path, setting: str, value: str
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu']
    words += ['--set', 'pool=64', f'encoding.{setting}={value}']
    name = setting.split('.')[0]
    with pytest.raises(SystemExit, match=f"encoding.{name}=.*must be the teacher's .*teacher"):
        distill_moe.main(words)


def test_weights_to_begin_with_are_of_the_same_encoding(tmp_path: Path) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    start = save_random_mixture(tmp_path / 'start.safetensors')
    model = load_weights(start).model
    model.config = replace(model.config, heading='input')
    save_weights(start, model, {})
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', *SHORT]
    with pytest.raises(
        SystemExit, match=r"encoding\.heading='own': must be the teacher's .*start"
    ):
        distill_moe.main([*words, f'moe.start={start}'])
    assert not (tmp_path / 'moe').exists(), 'nothing that another try would stumble over'
