# SPDX-License-Identifier: Apache-2.0
"""What each tracker sends is read, and each of its traps has a rule and a counter."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from tracker_packages import plain
from tracker_people import MAKERS, source_pose

from motion_predictor.body.layout_file import layout
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError, MessageError
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.sources.naming import NamePattern, NearestNames
from motion_predictor.sources.observation import DecodedPerson
from motion_predictor.sources.source import Source
from motion_predictor.sources.trackers import message_class, TRACKERS, ZedSource

WALKERS = list(synthetic_walkers(2).persons.values())
PEOPLE = [WALKERS[0][0] + [3.0, 1.0, 0.0], WALKERS[1][10] + [4.0, -1.0, 0.0]]
FRAMES = {
    'zed': 'zed_left_camera_frame', 'yolo': 'base_link', 'nuitrack': '',
    'mocap4r2': 'vicon_world', 'mocap4r2_bodies': 'vicon_world', 'hiros': 'world',
}  # fmt: skip
TOPIC = '/people'


def make(kind: str, skeleton: str = '', pattern: str = '') -> Source:
    tracker = TRACKERS[kind]
    return tracker.source(layout(skeleton or tracker.layout), pattern or tracker.pattern)


def sent(kind: str, people: list[np.ndarray] = PEOPLE, stamp_ns: int = 7) -> Any:
    return MAKERS[kind](plain, layout(TRACKERS[kind].layout), people, stamp_ns)


def read(kind: str, message: Any, source: Source | None = None) -> list[DecodedPerson]:
    people = (source or make(kind)).decode(TOPIC, message, 99)
    assert people is not None
    return people


@pytest.mark.parametrize('kind', TRACKERS)
def test_everyone_arrives_where_they_are(kind: str) -> None:
    chosen = layout(TRACKERS[kind].layout)
    people = PEOPLE[:1] if kind == 'mocap4r2' else PEOPLE
    found = read(kind, sent(kind, people))
    names = ['0'] if kind == 'mocap4r2' else ['3', '4']
    assert [person.person for person in found] == names
    assert {person.frame_id for person in found} == {FRAMES[kind]}
    assert {person.stamp_ns for person in found} == {0 if kind == 'nuitrack' else 7}
    for person, pose in zip(found, people):
        assert person.confidence.shape == (chosen.num_joints,)
        metres = person.xyz * (1e-3 if kind == 'nuitrack' else 1.0)
        joints, seen = chosen.to_model(metres)
        assert seen.all()
        error = np.linalg.norm(joints - pose, axis=-1)
        exact = [H36M17.index(side + limb) for side in 'LR' for limb in
                 ('Hip', 'Knee', 'Ankle', 'Shoulder', 'Elbow', 'Wrist')]  # fmt: skip
        assert error[exact].max() < 1e-5
        assert error.max() < 0.15


@pytest.mark.parametrize('kind', TRACKERS)
def test_a_message_without_people_means_nobody(kind: str) -> None:
    assert read(kind, sent(kind, [])) == []


@pytest.mark.parametrize('kind', TRACKERS)
def test_every_counter_starts_at_zero_and_a_good_message_leaves_it_there(kind: str) -> None:
    source = make(kind)
    read(kind, sent(kind, PEOPLE[:1]), source)
    strays = {'mocap_unlabelled'} if kind == 'mocap4r2' else set()
    assert {name for name, count in source.counters.items() if count} == strays
    assert source.counters


@pytest.mark.parametrize('kind', TRACKERS)
def test_a_package_that_is_not_there_is_named_with_what_to_install(kind: str) -> None:
    package = TRACKERS[kind].message.split('/')[0]
    with pytest.raises(ConfigError) as refused:
        message_class(kind, f'absent_{TRACKERS[kind].message}', TRACKERS[kind].install)
    assert f'input.type={kind}' in str(refused.value)
    assert f'install {package}' in str(refused.value)


# ZED


@pytest.mark.parametrize('skeleton', ['zed18', 'zed34', 'zed38'])
def test_each_body_format_of_a_zed_is_read_from_its_slots(skeleton: str) -> None:
    chosen = layout(skeleton)
    (person,) = read('zed', MAKERS['zed'](plain, chosen, PEOPLE[:1]), make('zed', skeleton))
    np.testing.assert_allclose(person.xyz, source_pose(chosen, PEOPLE[0]))
    np.testing.assert_allclose(person.confidence, 0.8)


def test_another_body_format_is_refused_with_the_skeleton_to_set() -> None:
    message = MAKERS['zed'](plain, layout('zed18'), PEOPLE[:1])
    with pytest.raises(MessageError, match=r'set input\.skeleton to zed18'):
        read('zed', message)
    message.objects[0].body_format = -3
    with pytest.raises(MessageError, match=r'-3 is unknown'):
        read('zed', message)
    with pytest.raises(ConfigError, match='zed18, zed34 or zed38'):
        ZedSource(layout('coco17'), '')


@pytest.mark.parametrize(
    'state, counter', [(0, 'zed_not_tracked'), (2, 'zed_searching'), (3, 'zed_not_tracked')]
)
def test_what_a_zed_made_up_itself_is_not_an_observation(state: int, counter: str) -> None:
    source, message = make('zed'), sent('zed')
    message.objects[0].tracking_state = state
    people = read('zed', message, source)
    assert people[-1].person == '4'
    assert source.counters[counter] == 1
    if counter == 'zed_searching':  # still there, but nobody knows where
        assert people[0].person == '3'
        assert np.isnan(people[0].xyz).all()
    assert len(people) == 1 + (counter == 'zed_searching')


def test_without_tracking_a_zed_still_shows_people_whom_we_name() -> None:
    source = make('zed')
    names = set()
    for frame in range(3):
        message = sent('zed', [pose + [0.03 * frame, 0.0, 0.0] for pose in PEOPLE], frame * 10**8)
        for body in message.objects:
            body.tracking_available, body.tracking_state, body.label_id = False, 0, -1
        names.add(tuple(person.person for person in read('zed', message, source)))
    assert names == {('untracked/0', 'untracked/1')}


def test_joints_that_a_zed_does_not_see_are_missing() -> None:
    message = sent('zed', PEOPLE[:1])
    message.objects[0].skeleton_3d.keypoints[16].kp = [float('nan')] * 3
    (person,) = read('zed', message)
    assert np.isnan(person.xyz[16]).all()
    assert np.isfinite(np.delete(person.xyz, 16, axis=0)).all()


def test_other_objects_of_a_zed_are_passed_over() -> None:
    source, message = make('zed'), sent('zed')
    message.objects[1].skeleton_available = False
    assert [person.person for person in read('zed', message, source)] == ['3']
    assert source.counters['zed_without_skeleton'] == 1
    message.objects[1].label, message.objects[1].position = 'Person', [1.0, 2.0, 0.9]
    people = read('zed', message, source)
    assert [person.person for person in people] == ['3', '4'], 'a person all the same'
    np.testing.assert_allclose(people[1].xyz, np.tile([1.0, 2.0, 0.9], (38, 1)))


# YOLO


def test_a_sparse_list_of_yolo_joints_goes_where_its_ids_say() -> None:
    source, message = make('yolo'), sent('yolo', PEOPLE[:1])
    expected = source_pose(layout('coco17'), PEOPLE[0])
    points = message.detections[1].keypoints3d.data
    del points[3:5]
    points[0].id, points[1].id = 18, 0
    points[2].id = points[3].id
    (person,) = read('yolo', message, source)
    assert np.isnan(person.xyz[[0, 1, 2, 3, 4]]).all()
    np.testing.assert_allclose(person.xyz[5], expected[2])  # what came first
    np.testing.assert_allclose(person.xyz[6:], expected[6:])
    assert source.counters['yolo_joints_unknown'] == 2
    assert source.counters['yolo_joints_repeated'] == 1


@pytest.mark.parametrize('name', ['3', ''])
def test_people_of_yolo_without_points_in_space_are_there_and_a_chair_is_not(name: str) -> None:
    source, message = make('yolo'), sent('yolo')
    message.detections[1].keypoints3d.data, message.detections[1].id = [], name
    people = read('yolo', message, source)
    assert [person.person for person in people] == [name or 'unplaced/0', '4']
    assert np.isnan(people[0].xyz).all()
    assert source.counters['yolo_people_without_points'] == 1


def test_joints_without_depth_are_at_the_camera_and_are_no_joints() -> None:
    source, message = make('yolo'), sent('yolo', PEOPLE[:1])
    camera = np.array([0.3, -0.1, 1.2])
    points = message.detections[1].keypoints3d.data
    for joint in (9, 10):
        points[joint].point.x, points[joint].point.y, points[joint].point.z = camera
    (person,) = read('yolo', message, source)
    assert np.isnan(person.xyz[[9, 10]]).all()
    assert np.isfinite(np.delete(person.xyz, [9, 10], axis=0)).all()
    # Once the camera is known, one joint at its place is enough, however near the person is.
    near = PEOPLE[0] - PEOPLE[0][0] + [0.5, 0.0, 1.0]
    message = sent('yolo', [near])
    point = message.detections[1].keypoints3d.data[9].point
    point.x, point.y, point.z = camera
    (person,) = read('yolo', message, source)
    assert np.isnan(person.xyz[9]).all()
    assert np.isfinite(np.delete(person.xyz, 9, axis=0)).all()
    assert source.counters['yolo_joints_without_depth'] == 3


def test_a_single_joint_without_depth_is_out_of_reach_of_the_others() -> None:
    source, message = make('yolo'), sent('yolo', PEOPLE[:1])
    point = message.detections[1].keypoints3d.data[7].point
    point.x, point.y, point.z = 0.3, -0.1, 1.2
    (person,) = read('yolo', message, source)
    assert np.flatnonzero(np.isnan(person.xyz[:, 0])).tolist() == [7]


def test_a_stretched_person_is_not_out_of_their_own_reach() -> None:
    source, pose = make('yolo'), PEOPLE[0].copy()
    for side, sign in (('L', 1.0), ('R', -1.0)):
        for limb, reach in (('Elbow', 0.5), ('Wrist', 0.8)):
            pose[H36M17.index(side + limb)] = pose[8] + [0.0, sign * 0.1, reach]
    (person,) = read('yolo', sent('yolo', [pose]), source)
    assert np.isfinite(person.xyz).all()


def test_people_whom_yolo_does_not_track_are_told_apart_by_where_they_are() -> None:
    source = make('yolo')
    seen: list[dict[str, float]] = []
    for frame in range(4):
        people = PEOPLE if frame % 2 else PEOPLE[::-1]
        message = sent('yolo', people, frame * 10**8)
        for detection in message.detections:
            detection.id = ''
        found = read('yolo', message, source)
        seen.append({person.person: float(np.nanmedian(person.xyz[:, 1])) for person in found})
    assert all(entry.keys() == seen[0].keys() for entry in seen)
    assert all(entry == pytest.approx(seen[0]) for entry in seen)


# Nuitrack


def test_nuitrack_people_keep_their_left_and_right() -> None:
    (person,) = read('nuitrack', sent('nuitrack', PEOPLE[:1]))
    np.testing.assert_allclose(
        1e-3 * person.xyz[1:], source_pose(layout('nuitrack'), PEOPLE[0])[1:], atol=1e-9
    )


def test_nuitrack_joints_without_a_place_are_missing() -> None:
    source, message = make('nuitrack'), sent('nuitrack', PEOPLE[:1])
    joints = message.skeletons[0].joints
    joints[8].real, joints[9].real, joints[10].type = [0.0, 0.0, 0.0], [1.0], 31
    (person,) = read('nuitrack', message, source)
    assert np.isnan(person.xyz[[0, 8, 9, 10]]).all()
    assert source.counters['nuitrack_joints_without_place'] == 1
    assert source.counters['nuitrack_joints_unknown'] == 1


# mocap4ros2


def test_markers_by_index_and_strange_or_repeated_names_are_left_out() -> None:
    source, message = make('mocap4r2'), sent('mocap4r2', PEOPLE[:1])
    message.markers[1].id_type = 1
    message.markers[2].marker_name = 'Tripod'
    message.markers[3].marker_name = message.markers[4].marker_name
    (person,) = read('mocap4r2', message, source)
    assert np.isnan(person.xyz[[0, 1, 2, 3]]).all()
    assert np.isfinite(person.xyz[4:]).all()
    assert source.counters == {
        'mocap_unlabelled': 2, 'mocap_other_names': 1, 'mocap_ambiguous_names': 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    'pattern, name, read_as',
    [
        ('{joint}_{person}', 'l_shoulder_abcde', ('abcde', 'l_shoulder')),
        ('{joint}_{person}', 'mediapipe_torso_abcde', None),
        ('{joint}_{person}', 'p_head_x', ('x', 'p_head')),
        ('{joint}_{person}', 'head', None),
        ('{person}.{joint}', 'ana.torso', ('ana', 'torso')),
        ('{person}/{joint}', 'cell/ana/torso', None),
        ('human_{joint}', 'human_body', ('0', 'body')),
        ('{person}:{joint}', 'l_hip:r_hip', ('l_hip', 'r_hip')),
    ],
)
def test_a_pattern_tells_person_and_joint(
    pattern: str, name: str, read_as: tuple[str, str] | None
) -> None:
    joints = LAYOUTS['hri'].joints
    found = NamePattern(pattern, joints).read(name)
    assert (found and (found[0], joints[found[1]])) == read_as


@pytest.mark.parametrize('pattern', ['', '{person}', '{joint}{joint}', '{joint}{person}{person}'])
def test_a_pattern_that_cannot_tell_joints_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r'input\.pattern'):
        NamePattern(pattern, ('a',))


# Hi-ROS


def test_hiros_markers_go_by_name_else_by_id() -> None:
    source, message = make('hiros'), sent('hiros', PEOPLE[:1])
    markers = message.skeletons[0].markers
    markers[0].name, markers[5].name = 'Shoulder_L', 'PELVIS'
    markers[6].id, markers[7].id = 99, 8
    expected = source_pose(layout('k4a32'), PEOPLE[0])
    (person,) = read('hiros', message, source)
    np.testing.assert_allclose(person.xyz[[5, 0]], expected[[0, 5]])
    assert np.isnan(person.xyz[6]).all()
    assert source.counters == {'hiros_markers_unknown': 1, 'hiros_markers_repeated': 1}


def test_hiros_people_without_a_time_of_the_source_take_the_groups() -> None:
    message = sent('hiros')
    message.skeletons[1].src_time.nanosec = 0
    assert [person.stamp_ns for person in read('hiros', message)] == [7, 5_000_007]


# Names


def test_the_nearest_keeps_the_name_and_newcomers_get_new_ones() -> None:
    names, here, there = NearestNames(), np.array([1.0, 0.0, 1.0]), np.array([1.5, 0.0, 1.0])
    assert names.name(0, [here, there]) == ['untracked/0', 'untracked/1']
    assert names.name(10**8, [there, here]) == ['untracked/1', 'untracked/0']
    assert names.name(2 * 10**8, [there + 0.1]) == ['untracked/1']
    assert names.name(3 * 10**8, [here, there]) == ['untracked/0', 'untracked/1']
    assert names.name(20 * 10**8, [here]) == ['untracked/2'], 'gone for longer than a second'
    assert names.name(21 * 10**8, [np.full(3, np.nan), here]) == ['untracked/3', 'untracked/2']


NUMBERS = strategies.one_of(
    strategies.floats(width=32), strategies.just(0.0), strategies.floats(-5, 5)
)


@pytest.mark.slow
@pytest.mark.parametrize('kind', TRACKERS)
@settings(deadline=None, max_examples=25)
@given(data=strategies.data())
def test_whatever_numbers_come_the_arrays_have_their_shape(
    kind: str, data: strategies.DataObject
) -> None:
    chosen = layout(TRACKERS[kind].layout)
    numbers = data.draw(strategies.lists(NUMBERS, min_size=51, max_size=51))
    with np.errstate(all='ignore'):
        message = sent(kind, [PEOPLE[0], np.array(numbers).reshape(17, 3)])
        found = make(kind).decode(TOPIC, message, 99)
    assert found
    for person in found:
        assert person.xyz.shape == (chosen.num_joints, 3)
        assert person.confidence.shape == (chosen.num_joints,)
