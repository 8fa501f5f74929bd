# SPDX-License-Identifier: Apache-2.0
"""Joints that were never seen are put where they usually are, and move with what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from motion_predictor.body.completion import can_complete, complete, shows_torso
from motion_predictor.body.geometry import bone_lengths, heading, turn
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import SkeletonError
from motion_predictor.recordings.walker import walk

LEGS = [H36M17.index(joint) for joint in ('RKnee', 'RAnkle', 'LKnee', 'LAnkle')]
HIPS = [H36M17.index(joint) for joint in ('Hip', 'RHip', 'LHip')]


@pytest.fixture(scope='module')
def walks() -> np.ndarray:
    """Return somebody who walks, (1, 100, 17, 3)."""
    return walk(2.0, 50.0, np.random.default_rng(3)).astype(np.float64)[None, :100]


def seen_but(*joints: int) -> np.ndarray:
    seen = np.ones((1, 17), dtype=bool)
    seen[0, list(joints)] = False
    return seen


def test_a_whole_body_stays_as_it_is(walks: np.ndarray) -> None:
    assert complete(walks, np.ones((1, 17), dtype=bool), H36M17) is walks


def test_seen_joints_stay_and_hidden_ones_do_not_matter(walks: np.ndarray) -> None:
    seen = seen_but(*LEGS, *HIPS)
    holes = np.where(seen[:, None, :, None], walks, np.nan)
    completed = complete(holes, seen, H36M17)
    assert np.isfinite(completed).all()
    assert np.array_equal(completed[:, :, seen[0]], walks[:, :, seen[0]])


def test_legs_hang_below_the_hips_with_bones_of_that_body(walks: np.ndarray) -> None:
    completed = complete(walks, seen_but(*LEGS), H36M17)
    true = bone_lengths(walks, H36M17)[0, LEGS]
    assert bone_lengths(completed, H36M17)[0, LEGS] == pytest.approx(true, rel=0.2)
    assert (completed[:, :, LEGS, 2] < completed[:, :, HIPS, 2].min(axis=-1)[..., None]).all()


def test_hips_below_the_shoulders_are_near_the_true_ones(walks: np.ndarray) -> None:
    completed = complete(walks, seen_but(*LEGS, *HIPS, 7), H36M17)
    off = np.linalg.norm(completed[:, :, HIPS] - walks[:, :, HIPS], axis=-1)
    assert off.mean() < 0.12


def test_what_turns_and_moves_the_body_does_so_to_what_is_completed(walks: np.ndarray) -> None:
    angle, shift = np.array([np.cos(2.0), np.sin(2.0)]), np.array([3.0, -1.0, 0.4])
    seen = seen_but(*LEGS, 9, 10, 13)
    turned = complete(turn(walks, angle) + shift, seen, H36M17)
    assert turned == pytest.approx(turn(complete(walks, seen, H36M17), angle) + shift, abs=1e-9)


def test_a_mirrored_body_is_completed_as_the_mirrored_one(walks: np.ndarray) -> None:
    flip, mirror = np.array([1.0, -1.0, 1.0]), list(H36M17.mirror)
    seen = seen_but(*LEGS, 13)
    mirrored = complete(walks[:, :, mirror] * flip, seen[:, mirror], H36M17)
    assert mirrored == pytest.approx(complete(walks, seen, H36M17)[:, :, mirror] * flip, abs=1e-9)


def test_the_heading_is_that_of_the_shoulders_where_no_hips_are_seen(walks: np.ndarray) -> None:
    completed = complete(walks, seen_but(*LEGS, *HIPS), H36M17)
    left = walks[..., 11, :2] - walks[..., 14, :2]
    ahead = np.stack((left[..., 1], -left[..., 0]), axis=-1)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    assert heading(completed, H36M17) == pytest.approx(ahead, abs=1e-6)


def test_bodies_of_one_call_are_completed_each_by_its_own_mask(walks: np.ndarray) -> None:
    both = np.concatenate((walks, walks + 1.0, walks + 2.0))
    seen = np.concatenate((seen_but(*LEGS), np.ones((1, 17), dtype=bool), seen_but(9, 10)))
    together = complete(both, seen, H36M17)
    for body in range(3):
        alone = complete(both[body : body + 1], seen[body : body + 1], H36M17)
        assert np.array_equal(together[body], alone[0])


@pytest.mark.parametrize(
    'hidden, enough',
    [
        (LEGS + HIPS, True),  # shoulders alone
        ([11], True),  # hips and one shoulder
        ([11, 0, 1], False),  # one shoulder, half of the hips
        ([11, 14], False),  # hips alone
        ([], True),
    ],
)
def test_a_torso_is_two_shoulders_or_hips_and_a_shoulder(hidden: list[int], enough: bool) -> None:
    assert shows_torso(seen_but(*hidden), H36M17).tolist() == [enough]


def test_other_bodies_than_people_cannot_be_completed() -> None:
    arm = Skeleton('arm', ('base', 'hand'), (-1, 0), (0, 1))
    seen = np.array([[True, False]])
    assert not can_complete(arm)
    assert not shows_torso(seen, arm).any()
    with pytest.raises(SkeletonError, match='arm'):
        complete(np.zeros((1, 5, 2, 3)), seen, arm)
