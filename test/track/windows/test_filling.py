# SPDX-License-Identifier: Apache-2.0
"""Joints that were not seen are filled in for a while, on bones of the right lengths."""

from dataclasses import replace

from histories import (
    bone_lengths,
    error_m,
    GRID_S,
    ready,
    SECOND,
    seconds,
    stamps_at,
    walker,
    with_missing,
)
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.window import NotReady

LEGS = ['RKnee', 'RAnkle', 'LKnee', 'LAnkle']
HIPS = ['Hip', 'RHip', 'LHip']


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


@pytest.mark.parametrize('first', [12, 46])
@pytest.mark.parametrize('joints', [['RWrist'], LEGS, [*HIPS, *LEGS], ['LShoulder', 'LElbow']])
def test_a_joint_missing_for_too_long_counts_as_never_seen(joints: list[str], first: int) -> None:
    history, _ = with_missing(joints, first, 0)
    window = ready(history)
    unseen = np.isin(H36M17.joints, joints)
    np.testing.assert_array_equal(window.seen, ~unseen)
    assert window.filled[:, unseen].all()
    assert not window.filled[:, ~unseen].any()
    truth = walker(seconds(window.stamp_ns) + GRID_S)
    np.testing.assert_allclose(window.poses[:, ~unseen], truth[:, ~unseen], atol=0.005)
    assert np.abs(window.poses[:, unseen] - truth[:, unseen]).max() < 0.8, 'on the body'
    assert np.linalg.norm(np.diff(window.poses[:, unseen], axis=0), axis=-1).max() < 0.06
    assert window.padded_frames == 0
    assert (history.counters.windows_half_seen, history.counters.windows_filled) == (1, 1)


@pytest.mark.parametrize(
    'joints', [['LShoulder', 'RShoulder'], ['LShoulder', 'RHip'], ['Thorax', 'RShoulder', 'LHip']]
)
@pytest.mark.parametrize('first', [12, 46])
def test_without_a_torso_for_too_long_there_is_no_window(joints: list[str], first: int) -> None:
    history, _ = with_missing(joints, first, 0)
    assert history.window() is NotReady.JOINT_MISSING
    brief, _ = with_missing(joints, 6, 0)
    assert ready(brief).seen.all(), 'a short gap is filled'


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


@pytest.mark.parametrize('back', [2, 10, 14])
def test_a_joint_that_returns_after_too_long_is_seen_after_a_whole_window(back: int) -> None:
    history, _ = with_missing(['RWrist'], 34, back)
    window = ready(history)
    assert window.padded_frames == 0
    assert not window.seen[H36M17.index('RWrist')]
    assert window.seen.sum() == 16
    long_back, _ = with_missing(['RWrist'], 38, 19)
    assert ready(long_back).seen.all()
    assert error_m(ready(long_back)) < 0.03


def test_a_torso_that_returns_after_too_long_starts_anew_without_the_legs() -> None:
    def behind_a_table(back: int) -> PoseHistory:
        history, stamps = PoseHistory(), stamps_at(30)
        for index, (stamp, pose) in enumerate(zip(stamps, walker(seconds(stamps)))):
            pose[[H36M17.index(joint) for joint in LEGS]] = np.nan
            if 10 <= index < len(stamps) - back:
                pose[list(H36M17.shoulders)] = np.nan
            history.add(int(stamp), pose)
        return history

    assert behind_a_table(0).window() is NotReady.JOINT_MISSING
    assert behind_a_table(2).window() is NotReady.JOINT_MISSING, 'not seen for long enough since'
    window = ready(behind_a_table(10))
    assert window.padded_frames > 0
    np.testing.assert_array_equal(window.seen, ~np.isin(H36M17.joints, LEGS))


def test_joints_that_take_turns_are_each_never_seen() -> None:
    stamps = stamps_at(60.0, 1.0)
    count = len(stamps)
    seen = np.ones((count, 17), dtype=bool)
    wrists = H36M17.index('RWrist'), H36M17.index('LWrist')
    seen[count - 40 : count - 16, wrists[0]] = False
    seen[count - 16 :, wrists[1]] = False
    history = PoseHistory()
    for stamp, pose, valid in zip(stamps, walker(seconds(stamps)), seen):
        history.add(int(stamp), pose, valid)
    assert set(np.flatnonzero(~ready(history).seen)) == {wrists[0]}, '0.27 s is not too long'
    for stamp in stamps[-1] + (np.arange(1, 5) * SECOND // 60):
        history.add(int(stamp), walker(seconds(stamp))[0], seen[-1])
    assert set(np.flatnonzero(~ready(history).seen)) == set(wrists)


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
