# SPDX-License-Identifier: Apache-2.0
"""The synthetic walker goes as people go."""

from __future__ import annotations

import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.recordings.walker import synthetic_walkers


@pytest.mark.parametrize('seed', [0, 1])
def test_a_walker_goes_ahead_and_keeps_a_foot_on_the_ground(seed: int) -> None:
    (motion,) = synthetic_walkers(duration_s=20.0, seed=seed).persons.values()
    right, left = (motion[:-1, H36M17.index(name)] for name in ('RHip', 'LHip'))
    across = (left - right)[:, :2]
    ahead = np.stack([across[:, 1], -across[:, 0]], axis=-1)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    speed = 50.0 * (np.diff(motion[:, 0, :2], axis=0) * ahead).sum(-1)  # m/s
    assert speed.min() > -0.1, 'nobody starts back within a step'
    assert 0.7 < speed.mean() < 1.5
    feet = motion[:, [H36M17.index('RAnkle'), H36M17.index('LAnkle')]]
    np.testing.assert_allclose(feet[..., 2].min(axis=1), 0.08, atol=1e-5)
    moved = np.linalg.norm(np.diff(feet, axis=0), axis=-1).min(axis=1)
    assert np.quantile(moved, 0.9) < 0.01, 'one foot stands'
