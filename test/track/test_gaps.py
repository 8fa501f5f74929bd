"""Joints that were not seen are filled in for a while, on bones of the right lengths."""

from dataclasses import replace

from histories import bone_lengths, error_m, ready, seconds, stamps_at, walker, with_missing
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.window import NotReady


@pytest.mark.parametrize('joint', H36M17.joints)
@pytest.mark.parametrize('when', ['before', 'now'])
def test_a_short_gap_is_filled_with_bone_lengths_kept_and_marked(joint: str, when: str) -> None:
    history, _ = with_missing([joint], *((12, 6) if when == 'before' else (6, 0)))
    window = ready(history)
    assert error_m(window) < (0.03 if when == 'before' else 0.16)
    lengths = bone_lengths(walker(np.zeros(1)))
    np.testing.assert_allclose(bone_lengths(window.poses), lengths + np.zeros((25, 1)), atol=0.012)
    column = H36M17.index(joint)
    assert window.filled[:, column].sum() >= 9
    assert window.filled[-1, column] == (when == 'now')
    others = np.delete(window.filled, column, axis=1)
    assert not others.any()
    assert history.counters.joints_not_finite == 6
    assert history.counters.windows_filled == 1


def test_a_whole_arm_or_leg_can_be_missing_for_a_moment() -> None:
    history, _ = with_missing(['LShoulder', 'LElbow', 'LWrist', 'RKnee', 'RAnkle'], 12, 6)
    window = ready(history)
    assert error_m(window) < 0.06
    lengths = bone_lengths(walker(np.zeros(1)))
    np.testing.assert_allclose(bone_lengths(window.poses), lengths + np.zeros((25, 1)), atol=0.02)


def test_an_elbow_between_seen_joints_stays_between_them() -> None:
    history, _ = with_missing(['LElbow'], 6, 0)
    window = ready(history)
    np.testing.assert_allclose(
        bone_lengths(window.poses)[-1], bone_lengths(walker(np.zeros(1)))[0], atol=0.003
    )


def test_a_joint_missing_for_too_long_gives_no_window() -> None:
    history, _ = with_missing(['RWrist'], 12, 0)
    assert history.window() is NotReady.JOINT_MISSING
    never, _ = with_missing(['RWrist'], 46, 0)
    assert never.window() is NotReady.JOINT_MISSING


def test_after_a_long_gap_the_person_is_as_one_who_has_just_appeared() -> None:
    stamps = stamps_at(30)
    stamps = np.concatenate((stamps[:-25], stamps[-10:]))
    reasons = []
    history = PoseHistory()
    for stamp, pose in zip(stamps, walker(seconds(stamps))):
        history.add(int(stamp), pose)
        reasons.append(history.window())
    assert reasons[-10] is NotReady.GAP_TOO_LONG
    window = ready(history)
    assert window.padded_frames == 25 - 16
    first = walker(seconds(stamps[-10:-9]))[0]
    np.testing.assert_allclose(window.poses[0], first, atol=1e-9)


def test_a_joint_that_returns_after_too_long_starts_anew_too() -> None:
    just_back, _ = with_missing(['RWrist'], 24, 2)
    assert just_back.window() is NotReady.JOINT_MISSING
    back, _ = with_missing(['RWrist'], 24, 10)
    assert ready(back).padded_frames > 0


def test_a_joint_last_seen_before_another_returned_gives_no_window() -> None:
    stamps = stamps_at(60.0, 1.0)
    count = len(stamps)
    seen = np.ones((count, 17), dtype=bool)
    seen[count - 40 : count - 16, H36M17.index('RWrist')] = False
    seen[count - 16 :, H36M17.index('LWrist')] = False
    history = PoseHistory()
    for stamp, pose, valid in zip(stamps, walker(seconds(stamps)), seen):
        history.add(int(stamp), pose, valid)
    assert history.window() is NotReady.JOINT_MISSING


@pytest.mark.parametrize('joints', [['Head'], ['Nose'], ['Head', 'Nose'], ['Spine'],
                                    ['Head', 'Nose', 'Spine']])  # fmt: skip
@pytest.mark.parametrize('seen_before', [True, False])
def test_head_and_spine_follow_the_torso_for_as_long_as_needed(
    joints: list[str], seen_before: bool
) -> None:
    history, _ = with_missing(joints, 40 if seen_before else 46, 0)
    window = ready(history)
    assert error_m(window) < (0.01 if seen_before else 0.06)
    columns = [H36M17.index(joint) for joint in joints]
    assert window.filled[:, columns].all()


def test_a_thorax_and_spine_gone_together_are_filled_sensibly() -> None:
    history, _ = with_missing(['Spine', 'Thorax'], 12, 7)
    assert error_m(ready(history)) < 0.03


def test_another_skeleton_is_filled_by_its_own_bones() -> None:
    config = replace(
        H36M17, name='bare', joints=tuple(f'j{i}' for i in range(17)),
    )  # fmt: skip
    history = PoseHistory(skeleton=config)
    stamps = stamps_at(30)
    for index, (stamp, pose) in enumerate(zip(stamps, walker(seconds(stamps)))):
        if 36 <= index < 42:
            pose[3] = np.nan
        history.add(int(stamp), pose)
    assert error_m(ready(history)) < 0.05
