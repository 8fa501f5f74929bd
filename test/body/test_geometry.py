# SPDX-License-Identifier: Apache-2.0
"""Headings, turns and bones of bodies."""

import numpy as np
from place_people import ARM, swinging
import pytest
from random_models import walking
import torch

from motion_predictor.body.geometry import back, bone_lengths, heading, turn, with_bones
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.model.person_frame import PersonFrame

POSES = walking(40, 1).astype(np.float64)


def angle(degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.array([np.cos(radians), np.sin(radians)])


def test_a_heading_is_a_unit_vector_that_turns_with_the_body_and_stays_when_it_is_moved() -> None:
    before = heading(POSES, H36M17)
    assert np.linalg.norm(before, axis=-1) == pytest.approx(1.0)
    turned = heading(turn(POSES, angle(70.0)) + [3.0, -5.0, 0.0], H36M17)
    there = turn(np.append(before, np.zeros((len(before), 1)), axis=1), angle(70.0))
    assert turned == pytest.approx(there[:, :2], abs=1e-9)


def test_somebody_who_walks_straight_faces_where_they_go() -> None:
    poses = swinging(0.2)
    ahead = poses[0, 9, :2] - poses[0, 8, :2]  # the nose is before the neck
    assert heading(poses, H36M17)[0] @ ahead > 0.0


def test_a_mirrored_body_faces_the_mirrored_way() -> None:
    mirrored = POSES[:, list(H36M17.mirror)] * [1.0, -1.0, 1.0]
    assert heading(mirrored, H36M17) == pytest.approx(heading(POSES, H36M17) * [1.0, -1.0])


def test_it_is_the_heading_that_the_networks_use() -> None:
    window = POSES[:25].astype(np.float32)
    local = PersonFrame.of(torch.from_numpy(window[None]), H36M17)
    found = heading(window[-1], H36M17)
    assert found == pytest.approx(local.rotation[0, :2, 0].numpy(), abs=1e-6)


def test_without_hips_shoulders_or_a_line_ahead_the_axes_of_the_input_are_kept() -> None:
    assert heading(POSES[:, :3], ARM) == pytest.approx(np.tile([1.0, 0.0], (40, 1)))


@pytest.mark.parametrize('lines', [('hips',), ('shoulders',), ('ahead',)])
def test_any_one_line_tells_the_heading_and_a_point_tells_none(lines: tuple[str, ...]) -> None:
    pair = {'hips': (2, 1), 'shoulders': (2, 1), 'ahead': (0, 1)}
    body = Skeleton('part', ('a', 'b', 'c'), (-1, 0, 0), (0, 2, 1), **{k: pair[k] for k in lines})
    there = np.array([[0.0, 0.0, 1.0], [0.1, 0.2, 1.0], [0.1, -0.2, 1.0]])
    found = heading(there, body)
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert heading(turn(there, angle(90.0)), body) == pytest.approx([-found[1], found[0]])
    assert heading(np.zeros((3, 3)), body) == pytest.approx([1.0, 0.0])


def test_turning_back_undoes_a_turn() -> None:
    there = angle(33.0)
    assert turn(turn(POSES, there), back(there)) == pytest.approx(POSES)
    assert turn(np.array([1.0, 0.0, 2.0]), angle(90.0)) == pytest.approx([0.0, 1.0, 2.0])


def test_one_slip_of_the_tracker_does_not_move_a_bones_length() -> None:
    slipped = POSES.copy()
    slipped[7, 3] += 1.0
    assert bone_lengths(slipped, H36M17) == pytest.approx(bone_lengths(POSES, H36M17), abs=1e-3)
    assert bone_lengths(POSES, H36M17)[0] == 0.0


def test_a_mean_of_bodies_gets_the_bones_that_are_asked_for_and_its_root_and_directions_stay() -> (
    None
):
    mean = 0.5 * (POSES[0] + POSES[20])
    lengths = bone_lengths(POSES, H36M17)
    grown = with_bones(mean[None], lengths, H36M17)[0]
    assert bone_lengths(grown[None], H36M17) == pytest.approx(lengths)
    assert grown[0] == pytest.approx(mean[0])
    for child, parent in H36M17.bones:
        before, after = mean[child] - mean[parent], grown[child] - grown[parent]
        assert after @ before == pytest.approx(np.linalg.norm(after) * np.linalg.norm(before))
    assert with_bones(POSES[:1], lengths * 0 + bone_lengths(POSES[:1], H36M17), H36M17) == (
        pytest.approx(POSES[:1])
    )


def test_a_bone_without_length_is_kept_and_nothing_is_divided_by_zero() -> None:
    flat = np.zeros((2, 17, 3))
    assert with_bones(flat, np.ones(17), H36M17) == pytest.approx(flat)
