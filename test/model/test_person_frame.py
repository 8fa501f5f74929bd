# SPDX-License-Identifier: Apache-2.0
"""The person's own frame, the features and the whitening, each with its inverse."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from random_models import observed_people
import torch
from torch import Tensor

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.person_frame import from_features, PersonFrame, to_features

ANGLES = st.floats(-np.pi, np.pi)
PLACES = st.tuples(*[st.floats(-20.0, 20.0)] * 3)


def people(count: int = 3) -> Tensor:
    return torch.from_numpy(observed_people(count)).double()


def turn(angle: float) -> Tensor:
    cos, sin = np.cos(angle), np.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]).double()


def test_the_person_stands_at_the_origin_and_faces_ahead() -> None:
    observed = people()
    inside = PersonFrame.of(observed, H36M17).enter(observed)
    last = inside[:, -1]
    torch.testing.assert_close(last[:, 0], torch.zeros(3, 3).double(), atol=1e-12, rtol=0)
    (right_hip, left_hip), (right_shoulder, left_shoulder) = H36M17.hips, H36M17.shoulders
    left = (
        last[:, left_hip] - last[:, right_hip] + last[:, left_shoulder] - last[:, right_shoulder]
    )
    assert torch.all(left[:, 1] > 0)  # the left side is on +y, so ahead is +x
    torch.testing.assert_close(left[:, 0], torch.zeros(3).double(), atol=1e-12, rtol=0)


def test_somebody_who_walks_has_come_from_behind() -> None:
    observed = people()
    inside = PersonFrame.of(observed, H36M17).enter(observed)
    assert torch.all(inside[:, 0, 0, 0] < -0.05)


def test_heights_differ_by_the_last_hips_alone() -> None:
    observed = people()
    inside = PersonFrame.of(observed, H36M17).enter(observed)
    expected = observed[..., 2] - observed[:, -1:, :1, 2]
    torch.testing.assert_close(inside[..., 2], expected)


def test_leaving_undoes_entering() -> None:
    observed = people()
    frame = PersonFrame.of(observed, H36M17)
    torch.testing.assert_close(frame.leave(frame.enter(observed)), observed)


def test_the_frame_is_a_rotation() -> None:
    rotation = PersonFrame.of(people(), H36M17).rotation
    torch.testing.assert_close(
        rotation @ rotation.transpose(-1, -2), torch.eye(3).double().expand(3, 3, 3)
    )
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(3).double())


@given(ANGLES, PLACES)
@settings(max_examples=40, deadline=None)
def test_turning_and_moving_the_person_changes_nothing_inside(
    angle: float, place: tuple[float, float, float]
) -> None:
    observed = people(1)
    moved = observed @ turn(angle).T + torch.tensor(place).double()
    inside = PersonFrame.of(observed, H36M17).enter(observed)
    torch.testing.assert_close(
        PersonFrame.of(moved, H36M17).enter(moved), inside, atol=1e-9, rtol=0
    )


@given(ANGLES, PLACES)
@settings(max_examples=20, deadline=None)
def test_that_holds_for_somebody_lying_on_a_side(
    angle: float, place: tuple[float, float, float]
) -> None:
    standing = people(1)
    lying = standing.clone()
    for (right, left), height in ((H36M17.hips, 0.3), (H36M17.shoulders, 0.4)):
        middle = 0.5 * (lying[..., right, :2] + lying[..., left, :2])
        for joint, side in ((right, -1.0), (left, 1.0)):
            lying[..., joint, :2] = middle
            lying[..., joint, 2] = 0.3 + side * height
    lying[..., list(H36M17.shoulders), 0] += 0.5  # the body lies along x
    moved = lying @ turn(angle).T + torch.tensor(place).double()
    inside = PersonFrame.of(lying, H36M17).enter(lying)
    torch.testing.assert_close(
        PersonFrame.of(moved, H36M17).enter(moved), inside, atol=1e-9, rtol=0
    )


def test_all_joints_in_one_point_still_give_a_finite_frame() -> None:
    frame = PersonFrame.of(torch.ones(1, 25, 17, 3), H36M17)
    assert torch.isfinite(frame.rotation).all()
    torch.testing.assert_close(frame.rotation[0], torch.eye(3))


def test_features_are_the_root_and_the_pose_about_it() -> None:
    poses = people()
    features = to_features(poses)
    assert features.shape == (3, 25, 51)
    torch.testing.assert_close(features[..., :3], poses[..., 0, :])
    torch.testing.assert_close(features[..., 3:6], poses[..., 1, :] - poses[..., 0, :])
    torch.testing.assert_close(from_features(features), poses)
