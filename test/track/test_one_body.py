# SPDX-License-Identifier: Apache-2.0
"""Joints that are not of one body are not seen."""

from histories import error_m, filled_history, ready, seconds, stamps_at, START, walker
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.track.history import AddOutcome, PoseHistory


def test_joints_at_exactly_zero_are_missing() -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps[:-1])
    pose = walker(seconds(stamps[-1:]))[0]
    pose[H36M17.index('LWrist')] = 0.0
    assert history.add(int(stamps[-1]), pose) is AddOutcome.APPENDED
    assert history.counters.joints_at_origin == 1
    assert ready(history).filled[-1, H36M17.index('LWrist')]
    assert error_m(ready(history)) < 0.05


@pytest.mark.parametrize('joint', H36M17.joints)
@pytest.mark.parametrize('place', [(0.1, 0.0, 1.2), (30.0, -2.0, 1.0), (5.0, -2.0, 3.6)])
def test_a_joint_off_the_body_is_missing_and_no_other(joint: str, place: tuple) -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps[:-1])
    pose = walker(seconds(stamps[-1:]))[0]
    pose[H36M17.index(joint)] = place
    history.add(int(stamps[-1]), pose)
    window = ready(history)
    assert history.counters.joints_off_body == 1
    assert [H36M17.joints[j] for j in np.flatnonzero(window.filled[-1])] == [joint]
    assert error_m(window) < 0.06


def test_a_pose_without_a_body_is_refused() -> None:
    history = PoseHistory()
    rng = np.random.default_rng(0)
    nonsense = {
        'millimetres': 1000.0 * walker(np.zeros(1))[0],
        'one point': np.full((17, 3), 1.0) + 1e-3 * rng.normal(size=(17, 3)),
        'nothing': np.full((17, 3), np.nan),
        'zeros': np.zeros((17, 3)),
        'noise': 100.0 * rng.normal(size=(17, 3)),
    }
    for name, pose in nonsense.items():
        assert history.add(START, pose) is AddOutcome.WITHOUT_BODY, name
    assert history.counters.poses_without_body == len(nonsense)
    assert len(history) == 0


def test_people_of_any_size_have_a_body() -> None:
    pose = walker(np.zeros(1))[0]
    for size in (0.5, 1.0, 1.25):
        history = PoseHistory()
        assert history.add(START, size * (pose - pose[0]) + pose[0]).accepted
        assert history.counters.joints_off_body == 0


@pytest.mark.parametrize('scale', [30.0, 1e4, 1e9, 1e30, 1e200])
@pytest.mark.parametrize('turn', [1.0, -1.0])
def test_a_body_of_absurd_size_is_no_body(scale: float, turn: float) -> None:
    # All joints far apart, but many of them in the same direction.
    history = PoseHistory()
    pose = scale * turn * walker(np.zeros(1))[0]
    assert history.add(0, pose) is AddOutcome.WITHOUT_BODY
    assert history.counters.joints_off_body + history.counters.joints_not_finite > 0


def test_a_body_beyond_the_earth_is_no_body() -> None:
    history = PoseHistory()
    assert history.add(0, walker(np.zeros(1))[0] + 1e12) is AddOutcome.WITHOUT_BODY
    assert history.add(1, walker(np.zeros(1))[0] + 5e6).accepted
