# SPDX-License-Identifier: Apache-2.0
"""Which joints the judge hides, and the errors of those that are seen."""

from dataclasses import replace

import numpy as np
import pytest

from motion_predictor.body.completion import shows_torso
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from training.judge.hiding import HIDDEN, Hidden, hidden_row, seen_errors, seen_joints

LEGS = {'RKnee', 'RAnkle', 'LKnee', 'LAnkle'}


@pytest.mark.parametrize(
    'hidden, joints',
    [
        ('legs', [LEGS]),
        ('hips_and_legs', [LEGS | {'Hip', 'RHip', 'LHip'}]),
        ('arm', [{'LElbow', 'LWrist'}, {'RElbow', 'RWrist'}]),
        ('head', [{'Nose', 'Head'}]),
    ],
)
def test_a_part_is_hidden_and_nothing_else(hidden: Hidden, joints: list[set[str]]) -> None:
    found = []
    for seed in range(20):
        seen = seen_joints(hidden, H36M17, np.random.default_rng(seed))
        names = {H36M17.joints[joint] for joint in np.flatnonzero(~seen)}
        assert names in joints
        found += [names] if names not in found else []
    assert len(found) == len(joints), 'each side in its turn'


def test_joints_at_random_are_a_third_and_leave_a_torso() -> None:
    masks = np.stack(
        [seen_joints('random', H36M17, np.random.default_rng(seed)) for seed in range(400)]
    )
    assert shows_torso(masks, H36M17).all()
    assert 0.2 < 1.0 - masks.mean() < 0.32
    np.testing.assert_array_equal(
        masks[3], seen_joints('random', H36M17, np.random.default_rng(3))
    )


@pytest.mark.parametrize('hidden', HIDDEN)
def test_another_body_is_refused_by_name(hidden: Hidden) -> None:
    other = replace(H36M17, name='robot', joints=tuple(f'j{i}' for i in range(17)))
    with pytest.raises(ConfigError, match=f'--hidden {hidden}.*robot'):
        seen_joints(hidden, other, np.random.default_rng(0))


def test_errors_of_hidden_joints_count_nowhere() -> None:
    errors = np.ones((2, 3, 17))
    seen = np.ones((2, 17), dtype=bool)
    seen[0, 4:] = False
    errors[0, :, 4:] = np.nan_to_num(np.inf)
    errors[0, 1, :4] = 3.0
    np.testing.assert_allclose(seen_errors(errors, seen), [[1, 3, 1], [1, 1, 1]])


def test_a_row_is_the_ratio_of_means_not_the_mean_of_ratios() -> None:
    row = hidden_row(
        {'all_seen': np.array([[0.01], [0.03]]), 'hidden': np.array([[0.03], [0.03]])},
        {'all_seen': np.array([[1.0]]), 'hidden': np.array([[2.0]])},
    )
    assert row == {
        'error_cm': {'all_seen': [2.0], 'hidden': [3.0]}, 'error_ratio': [1.5],
        'energy': {'all_seen': [1.0], 'hidden': [2.0]}, 'energy_ratio': [2.0],
    }  # fmt: skip
