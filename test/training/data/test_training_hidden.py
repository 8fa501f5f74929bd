# SPDX-License-Identifier: Apache-2.0
"""Training windows hide joints as cameras do; the network is told which."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from motion_predictor.body.completion import shows_torso
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.codec import Codec
from motion_predictor.recordings.walker import walk
from training.data.hidden import hide_joints
from training.data.pool import encode_pool
from training.data.random_windows import Augmentation, TrainingWindows
from training.engine.presets import preset


def test_every_joint_is_hidden_in_some_windows_and_the_torso_never_whole() -> None:
    seen = hide_joints(4000, 0.5, H36M17, torch.Generator().manual_seed(0))
    whole = seen.all(dim=1).float().mean()
    assert 0.45 < whole < 0.55
    assert (~seen).any(dim=0).all()
    assert shows_torso(seen.numpy(), H36M17).all()
    legs = [H36M17.index(joint) for joint in ('RKnee', 'RAnkle', 'LKnee', 'LAnkle')]
    assert 0.15 < (~seen[:, legs]).all(dim=1).float().mean() < 0.35


def test_nothing_is_hidden_unless_asked_for() -> None:
    assert hide_joints(50, 0.0, H36M17, torch.Generator()).all()


def test_only_people_can_be_half_hidden() -> None:
    arm = Skeleton('arm', ('base', 'hand'), (-1, 0), (0, 1))
    with pytest.raises(ConfigError, match=r'hidden=0\.5'):
        hide_joints(3, 0.5, arm, torch.Generator())


def test_the_condition_marks_hidden_joints_and_does_not_know_where_they_were() -> None:
    config = dataclasses.replace(preset('debug').model_of('swiftdiff'), mask=True)
    codec = Codec(config, H36M17)
    observed = torch.from_numpy(walk(0.6, 50.0, np.random.default_rng(1)))[None, :25].float()
    seen = torch.ones(1, 17, dtype=torch.bool)
    seen[0, 3] = False
    whole, part = codec.observe(observed), codec.observe(observed, seen)
    assert whole.condition.shape == (1, config.condition_keep + 1, 51)
    assert not whole.condition[:, -1].any()
    assert part.condition[0, -1].nonzero().flatten().tolist() == [9, 10, 11]


def test_a_pool_of_half_seen_people_keeps_the_mask_as_it_is() -> None:
    config = dataclasses.replace(preset('debug').model_of('teacher'), mask=True)
    clips = [walk(4.0, 50.0, np.random.default_rng(seed)) for seed in range(3)]
    windows = TrainingWindows(clips, config.window)
    pool = encode_pool(windows, Codec(config, H36M17), Augmentation(hidden=0.5), 64, 0, fit=True)
    row = pool.condition[:, -1]
    assert set(row.unique().tolist()) == {0.0, 1.0}
    assert not row[pool.clean].any()
    assert torch.equal(pool.clean, ~row.any(dim=1))
