# SPDX-License-Identifier: Apache-2.0
"""One bad person costs nobody else anything; what no tracker sends is refused before it costs."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray
from sensor_msgs.msg import PointField
from tracker_packages import plain
from tracker_people import tf, transform
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import MessageError
from motion_predictor.ros.replay import CLOUD_DTYPE, marker_array, point_cloud, pose_array
from motion_predictor.sources.naming import NamePattern, NearestNames
from motion_predictor.sources.observation import DecodedPerson, InputFormat, MAX_PEOPLE, plausible
from motion_predictor.sources.point_cloud import decode_point_cloud, read_cloud
from motion_predictor.sources.standard import decode_marker_array, decode_pose_array
from motion_predictor.sources.tf.people import TfSource
from motion_predictor.sources.tf.tree import MAX_AT_ONCE
from motion_predictor.sources.trackers import TRACKERS

FORM = InputFormat(joints=17)
POSES = [np.full((17, 3), 1.0), np.full((17, 3), 5.0), np.full((17, 3), 9.0)]


def names(people: list[DecodedPerson]) -> list[str]:
    kept, _ = plausible(people)
    return [person.person for person in kept]


@pytest.mark.slow
def test_a_cloud_of_very_many_fields_is_read_by_those_it_needs() -> None:
    message = point_cloud(POSES)
    other = [PointField(name=f'f{i}', offset=0, datatype=7, count=1) for i in range(60_000)]
    message.fields = [*other, *message.fields]
    people = decode_point_cloud(message, FORM)
    assert [person.xyz[0, 0] for person in people] == [1.0, 5.0, 9.0]
    with pytest.raises(MessageError, match='fields: a cloud has 1000 at most'):
        read_cloud(message)
    message.fields = other
    with pytest.raises(MessageError, match=r'missing x, y, z') as refused:
        decode_point_cloud(message, FORM)
    assert len(str(refused.value)) < 1000


def cloud_with(column: str, value: float) -> Any:
    """Three people; one value of the second is changed."""
    kinds = [(name, 'f4') for name in ('x', 'y', 'z', 'person', 'joint', 'confidence')]
    plain_cloud = read_cloud(point_cloud(POSES))
    rows = np.zeros(len(plain_cloud), dtype=kinds)
    for name in CLOUD_DTYPE.names or ():
        rows[name] = plain_cloud[name]
    rows[column][20] = value
    message = point_cloud(POSES)
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=7, count=1)
        for index, (name, _) in enumerate(kinds)
    ]
    message.point_step, message.row_step = rows.dtype.itemsize, rows.nbytes
    message.data = array.array('B', rows.tobytes())
    return message


@pytest.mark.parametrize(
    'column, value', [('joint', 17.0), ('joint', np.nan), ('joint', -1.0), ('joint', np.inf)]
)
def test_a_joint_that_the_layout_lacks_costs_that_person_alone(column: str, value: float) -> None:
    people = decode_point_cloud(cloud_with(column, value), FORM)
    kept, flaws = plausible(people)
    assert [person.person for person in kept] == ['0', '2']
    assert len(flaws) == 1
    assert flaws[0].startswith('person 1: joint ')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e30])
def test_a_point_of_nobody_costs_nobody_else(value: float) -> None:
    kept, flaws = plausible(decode_point_cloud(cloud_with('person', value), FORM))
    assert [person.person for person in kept] == ['0', '1', '2']
    assert np.isnan(kept[1].xyz).any(axis=1).sum() == 1
    assert flaws == ['field person: holds NaN or infinity']


def test_a_marker_that_does_not_fit_costs_that_person_alone() -> None:
    message = marker_array(POSES)
    message.markers[20].id = 199  # joint 99 of person 1
    kept, flaws = plausible(decode_marker_array(message, FORM))
    assert [person.person for person in kept] == ['0', '2']
    assert 'joint 99 of person 1' in flaws[0]


@pytest.mark.parametrize('wrong', ['too short', 'no rotation'])
def test_a_list_that_does_not_fit_costs_that_person_alone(wrong: str) -> None:
    message = MarkerArray()
    for number in range(3):
        marker = Marker(type=Marker.SPHERE_LIST, id=number, points=[Point(x=1.0)] * 17)
        if number == 1:
            marker.points = marker.points[: 16 if wrong == 'too short' else 17]
            marker.pose.orientation.x = float('nan') if wrong == 'no rotation' else 0.0
        message.markers.append(marker)
    assert names(decode_marker_array(message, FORM)) == ['0', '2']
    message.markers = message.markers[1:2]
    with pytest.raises(MessageError):
        decode_marker_array(message, FORM)


def test_names_and_frames_of_absurd_length_cost_their_owners_alone() -> None:
    message = marker_array(POSES)
    for marker in message.markers[17:34]:
        marker.ns = 'x' * 1_000_000
    for marker in message.markers[34:]:
        marker.header.frame_id = 'y' * 1_000_000
    kept, flaws = plausible(decode_marker_array(message, FORM))
    assert [person.person for person in kept] == ['0']
    assert [len(flaw) < 200 for flaw in flaws] == [True, True]
    poses = pose_array(POSES)
    poses.header.frame_id = 'x' * 1_000_000
    with pytest.raises(MessageError, match='1000000 characters'):
        plausible(decode_pose_array(poses, FORM))


@pytest.mark.slow
def test_more_people_than_a_room_holds_are_refused_before_they_are_read() -> None:
    markers = MarkerArray(
        markers=[Marker(type=Marker.SPHERE, id=100 * person) for person in range(3000)]
    )
    with pytest.raises(MessageError, match=f'{MAX_PEOPLE + 1} people'):
        decode_marker_array(markers, FORM)
    with pytest.raises(MessageError, match='100001 markers'):
        decode_marker_array(MarkerArray(markers=[Marker()] * 100_001), FORM)
    with pytest.raises(MessageError, match='300 people'):
        decode_pose_array(PoseArray(poses=[Pose()] * 17 * 300), FORM)


LISTS = {
    'zed': 'objects', 'yolo': 'detections', 'nuitrack': 'skeletons', 'hiros': 'skeletons',
}  # fmt: skip


@pytest.mark.parametrize('kind', LISTS)
def test_a_trackers_message_of_too_many_people_is_refused(kind: str) -> None:
    tracker = TRACKERS[kind]
    source = tracker.source(layout(tracker.layout), tracker.pattern)
    message = plain(tracker.message.replace('/msg/', '/'))
    setattr(message, LISTS[kind], [None] * 300)
    with pytest.raises(MessageError, match='300 people'):
        source.decode('/people', message, 1)


def test_markers_of_too_many_people_are_refused() -> None:
    source = TRACKERS['mocap4r2'].source(layout('h36m17'), '{person}_{joint}')
    message = plain('mocap4r2_msgs/Markers')
    marker = plain('mocap4r2_msgs/Marker')
    for person in range(300):
        made = plain('mocap4r2_msgs/Marker')
        made.__dict__.update(vars(marker))
        made.id_type, made.marker_name = 0, f'{person}_{layout("h36m17").joints[0]}'
        message.markers.append(made)
    with pytest.raises(MessageError, match='257 people'):
        source.decode('/people', message, 1)


def test_a_pattern_remembers_no_name_of_absurd_length() -> None:
    pattern = NamePattern('{joint}_{person}', ('hip', 'knee'))
    assert pattern.read('hip_ana') == ('ana', 0)
    assert pattern.read('hip_' + 'x' * 1_000_000) is None
    assert sum(len(name) for name in pattern._read) < 100


def test_who_has_no_name_is_told_apart_however_many_there_are() -> None:
    nearest = NearestNames()
    places = [np.array([2.0 * index, 0.0, 1.0]) for index in range(200)]
    first = nearest.name(0, places)
    assert len(set(first)) == 200
    order = np.random.default_rng(0).permutation(200)
    again = nearest.name(33_000_000, [places[index] + [0.1, 0.0, 0.0] for index in order])
    assert again == [first[index] for index in order]
    for frame in range(20):  # ever new people
        far = [place + [0.0, 10.0 * (frame + 1), 0.0] for place in places]
        nearest.name(40_000_000 + frame, far)
    assert len(nearest._seen) <= MAX_PEOPLE + 200


def test_of_a_message_of_very_many_transforms_the_first_are_read() -> None:
    source = TfSource(layout('hri'), '{joint}_{person}')
    sent = [transform(plain, 'map', 'hand', (1.0, 0.0, 0.0), 7)] * (MAX_AT_ONCE + 70)
    assert source.decode('/tf', tf(plain, sent), 7) is None
    assert source.counters['tf_unusable'] == 70
