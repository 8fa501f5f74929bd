# SPDX-License-Identifier: Apache-2.0
"""People from frames: the tree of transforms, and when a pose is complete."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from tf_people import (
    decode,
    feed,
    frames_of,
    given_without_a_wrist,
    HRI,
    MOVING,
    PERIOD_NS,
    STATIC,
    turned,
    WALKERS,
    XSENS,
)
from tracker_packages import plain
from tracker_people import source_pose, stamp, transform

from motion_predictor.sources.tf.people import MAX_PEOPLE, TfSource
from motion_predictor.sources.tf.tree import TransformTree

HALF = np.sqrt(0.5)
QUARTER_TURN = (0.0, 0.0, HALF, HALF)  # about z: x becomes y


def add(tree: TransformTree, *of_transform: Any, static: bool = False) -> bool:
    return tree.add(transform(plain, *of_transform), static)


def translation(tree: TransformTree, frame: str, stamp_ns: int, target: str = '') -> Any:
    found = tree.place([frame], stamp_ns, target)
    return found[frame].translation.tolist() if frame in found else None


def test_a_chain_of_frames_is_composed() -> None:
    tree = TransformTree()
    add(tree, 'map', 'base', (1.0, 2.0, 0.0), 0, QUARTER_TURN, static=True)
    add(tree, 'base', 'camera', (0.5, 0.0, 1.0), 100, QUARTER_TURN)
    add(tree, '/camera', '/hand', (1.0, 0.0, 0.0), 100)
    found = tree.place(['hand', 'map'], 100)
    np.testing.assert_allclose(found['hand'].translation, [0.0, 2.5, 1.0], atol=1e-12)
    np.testing.assert_allclose(found['hand'].rotation, np.diag([-1.0, -1.0, 1.0]), atol=1e-12)
    assert (found['hand'].root, found['map'].root) == ('map', 'map')
    seen = translation(tree, 'hand', 100, 'camera')
    np.testing.assert_allclose(seen, [1.0, 0.0, 0.0], atol=1e-12)
    assert translation(tree, 'hand', 100, 'elsewhere') is None


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(data=strategies.data())
def test_seen_from_anywhere_in_the_tree_frames_keep_their_distances(
    data: strategies.DataObject,
) -> None:
    tree = TransformTree()
    numbers = strategies.floats(-3.0, 3.0)
    names = [f'frame_{index}' for index in range(8)]
    for index, name in enumerate(names[1:], 1):
        parent = names[data.draw(strategies.integers(0, index - 1))]
        turn = data.draw(strategies.tuples(numbers, numbers, numbers, numbers))
        turn = turn if np.linalg.norm(turn) > 0.1 else (0.0, 0.0, 0.0, 1.0)
        add(tree, parent, name, data.draw(strategies.tuples(numbers, numbers, numbers)), 5, turn)
    target = data.draw(strategies.sampled_from(names))
    here, there = tree.place(names, 5), tree.place(names, 5, target)
    assert here.keys() == there.keys() == set(names)
    for first in names:
        for second in names:
            apart = [w[first].translation - w[second].translation for w in (here, there)]
            assert np.linalg.norm(apart[0]) == pytest.approx(np.linalg.norm(apart[1]), abs=1e-9)
    np.testing.assert_allclose(there[target].rotation, np.eye(3), atol=1e-9)


def test_between_two_stamps_a_frame_is_between() -> None:
    tree = TransformTree()
    add(tree, 'map', 'hand', (0.0, 0.0, 1.0), 1_000_000_000)
    add(tree, 'map', 'hand', (1.0, 0.0, 1.0), 1_100_000_000, [-v for v in turned(1.0)])
    found = tree.place(['hand'], 1_025_000_000)['hand']
    np.testing.assert_allclose(found.translation, [0.25, 0.0, 1.0])
    assert not found.lacking
    assert np.arctan2(found.rotation[1, 0], found.rotation[0, 0]) == pytest.approx(0.25, abs=0.01)


def test_after_its_last_stamp_a_frame_stays_for_a_moment_and_is_said_to_be_lacking() -> None:
    tree = TransformTree()
    add(tree, 'map', 'base', (0.0, 0.0, 1.0), 1_000_000_000)
    add(tree, 'base', 'hand', (1.0, 0.0, 0.0), 1_040_000_000)
    assert tree.place(['hand'], 1_040_000_000)['hand'].lacking == {'base'}
    assert tree.place(['hand'], 1_060_000_000) == {}
    assert tree.place(['hand'], 900_000_000) == {}
    assert not tree.place(['hand'], 1_000_000_000)['hand'].lacking


@pytest.mark.parametrize(
    'of_transform',
    [
        ('map', 'hand', (np.nan, 0.0, 0.0), 1),
        ('map', 'hand', (np.inf, 0.0, 0.0), 1),
        ('map', 'hand', (0.0, -1e30, 0.0), 1),
        ('map', 'hand', (1.0, np.nan, 1.0), 1),
        ('map', 'hand', (1.0, 1.0, np.nan), 1),
        ('map', 'hand', (0.0, 0.0, 0.0), 1, (0.0, 0.0, 0.0, 0.0)),
        ('map', '', (0.0, 0.0, 0.0), 1),
        ('', 'hand', (0.0, 0.0, 0.0), 1),
        ('hand', '/hand', (0.0, 0.0, 0.0), 1),
    ],
)
def test_a_transform_that_means_nothing_is_not_taken(of_transform: tuple[Any, ...]) -> None:
    tree = TransformTree()
    assert not add(tree, *of_transform)
    assert tree.place(['hand'], 1)['hand'].root == 'hand'


def test_frames_that_go_in_a_circle_are_nowhere() -> None:
    tree = TransformTree()
    for parent, child in (('a', 'b'), ('b', 'c'), ('c', 'a')):
        add(tree, parent, child, (1.0, 0.0, 0.0), 1)
    assert tree.place(['a', 'b', 'c'], 1) == {}


def test_the_memory_of_a_tree_is_bounded() -> None:
    tree = TransformTree()
    moving = transform(plain, 'map', 'hand', (0.0, 0.0, 1.0), 0)
    for index in range(2000):
        stamp(moving.header.stamp, index * 10_000_000)
        tree.add(moving, False)
    assert len(tree._edges['hand'].stamps) < 400, 'three seconds at 100 Hz, and a few'


def test_a_frame_whose_stamps_fall_back_begins_anew() -> None:
    tree = TransformTree()
    add(tree, 'map', 'hand', (5.0, 0.0, 1.0), 9_000_000_000)
    add(tree, 'map', 'hand', (1.0, 0.0, 1.0), 2_000_000_000)
    assert translation(tree, 'hand', 2_000_000_000) == [1.0, 0.0, 1.0]
    assert translation(tree, 'hand', 9_000_000_000) is None


@pytest.mark.parametrize('how', ['together', 'one by one'])
def test_a_pose_is_given_as_soon_as_the_last_of_its_frames_has_come(how: str) -> None:
    source = TfSource(HRI, '{joint}_{person}')
    assert feed(source, 0, how) == []
    first = feed(source, 1, how)  # who the frames of a person are is known only now
    assert {(p.person, p.stamp_ns) for p in first} == {
        (name, 10**9 + frame * PERIOD_NS) for name in ('ana', 'bo_2') for frame in (0, 1)
    }
    for frame in range(2, 12):
        found = {person.person: person for person in feed(source, frame, how)}
        assert found.keys() == {'ana', 'bo_2'}
        for name, poses in zip(('ana', 'bo_2'), WALKERS):
            assert found[name].stamp_ns == 10**9 + frame * PERIOD_NS
            assert found[name].frame_id == 'world'
            np.testing.assert_allclose(found[name].xyz, source_pose(HRI, poses[frame]), atol=1e-9)
    assert not any(source.counters.values())


def test_frames_that_a_driver_stamps_one_after_the_other_are_one_pose() -> None:
    source = TfSource(XSENS, '{person}_{joint}')
    given = []
    for frame in range(6):
        begin_ns = 10**9 + frame * 8_333_333
        for index, sent in enumerate(
            frames_of(XSENS, WALKERS[0][frame], begin_ns, 'skeleton', '{person}_{joint}')
        ):
            sent.header.stamp.nanosec += 20_000 * index
            given += decode(source, [sent], begin_ns) or []
    assert len(given) == 6
    assert [person.stamp_ns for person in given] == [
        10**9 + frame * 8_333_333 + 20_000 * 22 for frame in range(6)
    ]
    for frame, person in enumerate(given):
        np.testing.assert_allclose(
            person.xyz, source_pose(XSENS, WALKERS[0][frame]), atol=0.01
        )  # interpolated by up to 0.4 ms


@pytest.mark.slow
def test_a_driver_at_360_hz_loses_no_pose() -> None:
    source = TfSource(XSENS, '{person}_{joint}')
    stamps, given = [10**9 + round(frame * 1e9 / 360) for frame in range(20)], []
    for frame, stamp_ns in enumerate(stamps):
        for sent in frames_of(XSENS, WALKERS[0][frame], stamp_ns, 'x', '{person}_{joint}'):
            given += decode(source, [sent], stamp_ns) or []
    assert [person.stamp_ns for person in given] == stamps
    for frame, person in enumerate(given):
        np.testing.assert_allclose(person.xyz, source_pose(XSENS, WALKERS[0][frame]), atol=1e-9)


def test_frames_of_fixed_joints_belong_to_every_pose() -> None:
    # As ROS4HRI does: torso, head, wrists and ankles hang at moving links by fixed joints.
    source = TfSource(HRI, '{joint}_{person}')
    links = {
        'head': 'p_head', 'torso': 'waist', 'l_wrist': 'l_elbow', 'r_wrist': 'r_elbow',
        'l_ankle': 'l_knee', 'r_ankle': 'r_knee',
    }  # fmt: skip
    pose = source_pose(HRI, WALKERS[0][0])
    at = dict(zip(HRI.joints, pose))
    fixed = [
        transform(plain, f'{parent}_q', f'{child}_q', at[child] - at[parent], 0)
        for child, parent in links.items()
    ]
    assert decode(source, fixed, 0, STATIC) is None
    given = []
    for frame in range(3):
        sent = [
            transform(plain, 'world', f'{joint}_q', at[joint], 10**9 + frame * PERIOD_NS)
            for joint in HRI.joints
            if joint not in links
        ]
        given += decode(source, sent, 10**9 + frame * PERIOD_NS) or []
    assert len(given) == 3
    for person in given:
        np.testing.assert_allclose(person.xyz, pose, atol=1e-9)


def test_a_pose_waits_for_a_root_that_another_program_sends() -> None:
    source = TfSource(HRI, '{joint}_{person}', 'map', wait_s=0.05)
    given = []
    for frame in range(5):
        stamp_ns = 10**9 + frame * PERIOD_NS
        links = frames_of(HRI, WALKERS[0][0], stamp_ns, 'q', '{joint}_{person}', 'camera')
        given += decode(source, links, stamp_ns) or []
        assert all(person.stamp_ns < stamp_ns for person in given), 'before its root has come'
        camera = transform(plain, 'map', 'camera', (0.0, 10.0 * frame, 2.0), stamp_ns)
        given += decode(source, [camera], stamp_ns + 5_000_000) or []
    assert len(given) == 5
    for person in given:
        frame = (person.stamp_ns - 10**9) // PERIOD_NS
        expected = source_pose(HRI, WALKERS[0][0]) + [0.0, 10.0 * frame, 2.0]
        np.testing.assert_allclose(person.xyz, expected, atol=1e-9)
        assert person.frame_id == 'map'
    assert not any(source.counters.values())


def test_a_tilted_camera_is_set_right_by_the_frame_that_is_asked_for() -> None:
    source = TfSource(HRI, '{joint}_{person}', 'floor')
    tilt = np.deg2rad(30.0)
    turn = (0.0, float(np.sin(tilt / 2)), 0.0, float(np.cos(tilt / 2)))  # looks down
    camera = transform(plain, 'floor', 'camera', (0.0, 0.0, 2.5), 0, turn)
    decode(source, [camera], 0, STATIC)
    cos, sin = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    given = []
    for frame in range(3):
        stamp_ns = 10**9 + frame * PERIOD_NS
        seen = (WALKERS[0][frame] - [0.0, 0.0, 2.5]) @ rotation
        sent = frames_of(HRI, seen, stamp_ns, 'q', '{joint}_{person}', 'camera')
        given += decode(source, sent, stamp_ns) or []
    assert len(given) == 3
    joints, valid = HRI.to_model(given[2].xyz)
    assert valid.all()
    np.testing.assert_allclose(joints[:7], WALKERS[0][2][:7], atol=1e-9)  # hips, knees, ankles


def test_what_does_not_come_in_time_is_missing_and_counted() -> None:
    source = TfSource(HRI, '{joint}_{person}', wait_s=0.05)
    given = given_without_a_wrist(source)
    assert [(person.stamp_ns - 10**9) // PERIOD_NS for person in given] == [3, 4, 5, 6]
    assert np.isnan(given[-1].xyz[HRI.index('l_wrist')]).all()
    assert np.isfinite(np.delete(given[-1].xyz, HRI.index('l_wrist'), axis=0)).all()


def test_a_transform_that_never_comes_holds_a_pose_up_no_longer_than_allowed() -> None:
    source = TfSource(HRI, '{joint}_{person}', 'map', wait_s=0.05)
    for frame in range(4):
        feed(source, frame)
    assert source.counters['tf_not_placed'] == 4, 'of each of two people two are overdue'
    assert source.counters['tf_not_complete'] == 4


def test_robots_are_no_people() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(5):
        stamp_ns = 10**9 + frame * PERIOD_NS
        names = ('torso_lift_link', 'head_pan_link', 'l_elbow_flex_link', 'r_wrist_roll_link')
        sent = [transform(plain, 'base_link', name, (0.1, 0.2, 1.0), stamp_ns) for name in names]
        assert decode(source, sent, stamp_ns) is None
    assert source.counters['tf_too_few_joints'] > 0


def test_people_who_hang_in_the_air_are_nowhere() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(4):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'q', '{joint}_{person}', 'body_q')
        assert decode(source, sent[1:], stamp_ns) is None
    assert source.counters['tf_not_placed'] == 4


def test_a_recording_that_loops_begins_anew() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(40):
        feed(source, frame)
    assert source.counters['tf_restarts'] == 0
    feed(source, 0)
    given = feed(source, 1)
    assert {(p.person, (p.stamp_ns - 10**9) // PERIOD_NS) for p in given} == {
        ('ana', 0), ('ana', 1), ('bo_2', 0), ('bo_2', 1),
    }  # fmt: skip
    assert source.counters['tf_restarts'] == 2


def test_what_comes_again_or_late_is_counted_and_not_given_twice() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(4):
        feed(source, frame)
    assert feed(source, 3) == []
    assert source.counters['tf_late'] == 2 * HRI.num_joints


def test_unusable_transforms_are_counted() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    decode(source, [transform(plain, 'map', 'head_q', (np.nan, 0.0, 0.0), 1)], 1)
    assert source.counters['tf_unusable'] == 1


def test_there_are_never_more_people_than_fit() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for index in range(MAX_PEOPLE + 5):
        sent = transform(plain, 'map', f'head_{index}', (0.1, 0.0, 0.0), 10**9)
        decode(source, [sent], 10**9)
        fixed = transform(plain, 'map', f'torso_{index}', (0.1, 0.0, 0.0), 0)
        decode(source, [fixed], 10**9, STATIC)
    assert len(source._people) == MAX_PEOPLE
    assert len(source._fixed) == MAX_PEOPLE
    assert source.counters['tf_too_many_people'] == 5
    later = transform(plain, 'map', 'head_new', (0.1, 0.0, 0.0), 20 * 10**9)
    decode(source, [later], 20 * 10**9)
    assert 'new' in source._people, 'who has been gone for long makes room'


@pytest.mark.slow
def test_somebody_new_is_seen_however_many_were_there_before() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    pose = WALKERS[0][0]
    for person in range(400):  # one after the other: 6800 frames
        given = []
        for frame in range(3):
            stamp_ns = 10**9 + person * 5 * 10**9 + frame * PERIOD_NS
            sent = frames_of(HRI, pose, stamp_ns, f'id{person}', '{joint}_{person}')
            given += decode(source, sent, stamp_ns) or []
        assert len(given) == 3, f'body number {person}'


@pytest.mark.slow
def test_a_flood_of_people_of_one_frame_each_takes_nobody_away() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    given = 0
    for frame in range(20):
        given += len(feed(source, frame))
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = transform(plain, 'map', 'x', (0.1, 0.0, 0.0), stamp_ns)
        for index in range(100):
            sent.child_frame_id = f'head_{frame}_{index}'
            decode(source, [sent], stamp_ns + 2_000_000)
    assert given == 40
    assert len(source._people) <= MAX_PEOPLE
    assert source.counters['tf_too_many_people'] > 1000


NUMBERS = strategies.one_of(
    strategies.floats(width=64), strategies.just(0.0), strategies.floats(-3.0, 3.0)
)
NAMES = strategies.one_of(
    strategies.sampled_from(
        ['map', '/map', 'body_q', 'head_q', 'l_hip_q', 'l_hip', '', 'a' * 500]
    ),
    strategies.text(max_size=8),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(data=strategies.data())
def test_whatever_transforms_come_nothing_breaks(data: strategies.DataObject) -> None:
    source = TfSource(HRI, '{joint}_{person}', data.draw(strategies.sampled_from(['', 'map'])))
    for frame in range(3):
        feed(source, frame)
    for _ in range(data.draw(strategies.integers(1, 6))):
        stamps = strategies.one_of(
            strategies.integers(0, 2**31 * 10**9 - 1), strategies.integers(10**9, 2 * 10**9)
        )
        sent = [
            transform(
                plain, data.draw(NAMES), data.draw(NAMES),
                data.draw(strategies.tuples(NUMBERS, NUMBERS, NUMBERS)), data.draw(stamps),
                data.draw(strategies.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
            )
            for _ in range(data.draw(strategies.integers(0, 4)))
        ]  # fmt: skip
        topic = data.draw(strategies.sampled_from([MOVING, STATIC]))
        for person in decode(source, sent, data.draw(stamps), topic) or []:
            assert person.xyz.shape == (HRI.num_joints, 3)
            assert not np.isinf(person.xyz).any()
    assert all(
        math.isfinite(number) for edge in source.tree._edges.values() for number in edge.values
    )
