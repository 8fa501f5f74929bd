# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays and back."""

from __future__ import annotations

import array
from dataclasses import replace
import json

from hypothesis import given, settings, strategies
import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MessageError
from motion_predictor.ros import replay
from motion_predictor.ros.messages import (
    CloudEncoder,
    decode_predictions,
    encode_model,
    MarkerEncoder,
    MarkerPerson,
    ns_to_stamp,
    PREDICTION_DTYPE,
)
from motion_predictor.ros.replay import CLOUD_DTYPE, point_cloud
from motion_predictor.sources.observation import DecodedPerson, InputFormat, plausible, stamp_to_ns
from motion_predictor.sources.point_cloud import decode_point_cloud, read_cloud
from motion_predictor.sources.standard import decode_marker_array, decode_pose_array

FORM = InputFormat(joints=17)
TWO_PEOPLE = [np.random.default_rng(person).normal(size=(17, 3)) for person in range(2)]


def poses(xyz: np.ndarray) -> PoseArray:
    message = PoseArray(poses=[Pose(position=Point(x=x, y=y, z=z)) for x, y, z in xyz.tolist()])
    message.header.stamp = ns_to_stamp(1_500_000_007)
    message.header.frame_id = 'cell'
    return message


def cloud(dtype: np.dtype, rows: np.ndarray, *, big_endian: bool = False) -> PointCloud2:
    kinds = {'f4': PointField.FLOAT32, 'f8': PointField.FLOAT64, 'i4': PointField.INT32,
             'u1': PointField.UINT8}  # fmt: skip
    assert dtype.fields is not None
    fields = [
        PointField(name=name, offset=offset, datatype=kinds[kind.str[1:]], count=1)
        for name, (kind, offset) in ((n, dtype.fields[n][:2]) for n in dtype.names or ())
    ]
    message = PointCloud2(fields=fields, height=1, width=len(rows), is_bigendian=big_endian)
    message.point_step, message.row_step = dtype.itemsize, dtype.itemsize * len(rows)
    message.data = rows.tobytes()
    return message


@given(stamp_ns=strategies.integers(0, 2**31 * 10**9 - 1))
@settings(deadline=None)
def test_a_stamp_survives_the_round_trip(stamp_ns: int) -> None:
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns


def test_a_pose_array_holds_blocks_of_one_person_each() -> None:
    people = decode_pose_array(poses(np.concatenate(TWO_PEOPLE)), FORM)
    assert [person.person for person in people] == ['0', '1']
    assert {(person.stamp_ns, person.frame_id) for person in people} == {(1_500_000_007, 'cell')}
    for person, expected in zip(people, TWO_PEOPLE):
        np.testing.assert_array_equal(person.xyz, expected)
        assert np.isnan(person.confidence).all()


def test_a_pose_array_of_a_broken_block_is_refused() -> None:
    with pytest.raises(MessageError, match=r'multiple of 17.*got 20'):
        decode_pose_array(poses(np.zeros((20, 3))), FORM)


@pytest.mark.parametrize('kind', sorted(replay.ENCODERS))
def test_what_replay_publishes_is_read_back(kind: str) -> None:
    decode = {
        'pose_array': decode_pose_array,
        'marker_array': decode_marker_array,
        'point_cloud': decode_point_cloud,
    }[kind]
    seen = [pose.copy() for pose in TWO_PEOPLE]
    seen[1][4] = np.nan
    people = decode(replay.ENCODERS[kind][1](seen), FORM)
    assert [person.person for person in people] == ['0', '1']
    for person, expected in zip(people, seen):
        np.testing.assert_allclose(person.xyz, expected, rtol=0.0, atol=1e-6)
    nobody = [np.full((17, 3), np.nan)]
    assert decode(replay.ENCODERS[kind][1](nobody), FORM) == []


def test_a_kinect_marker_says_person_and_joint_by_its_id() -> None:
    marker = Marker(id=304, type=Marker.SPHERE, action=Marker.ADD)
    marker.pose.position = Point(x=1.0, y=2.0, z=3.0)
    marker.header.frame_id = 'depth_camera_link'
    label = Marker(id=399, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    removed = Marker(id=1, type=Marker.SPHERE, action=Marker.DELETE)
    (person,) = decode_marker_array(MarkerArray(markers=[marker, label, removed]), FORM)
    assert (person.person, person.frame_id) == ('3', 'depth_camera_link')
    np.testing.assert_array_equal(person.xyz[4], [1.0, 2.0, 3.0])
    assert np.isnan(np.delete(person.xyz, 4, axis=0)).all()


def test_a_marker_of_a_joint_that_the_layout_lacks_is_refused() -> None:
    marker = Marker(id=117, type=Marker.SPHERE, action=Marker.ADD)
    with pytest.raises(MessageError, match=r'117.*joint 17 of person 1.*0\.\.16'):
        decode_marker_array(MarkerArray(markers=[marker]), FORM)


def joint_markers(
    shape: int = Marker.SPHERE, ns: str = '', frame_id: str = 'map', first: int = 0
) -> list[Marker]:
    """One marker a joint of the first of two people."""
    markers = []
    for joint, (x, y, z) in enumerate(TWO_PEOPLE[0].tolist()):
        marker = Marker(id=first + joint, type=shape, action=Marker.ADD, ns=ns)
        marker.header.frame_id = frame_id
        marker.pose.position = Point(x=x, y=y, z=z)
        markers.append(marker)
    return markers


@pytest.mark.parametrize(
    'others',
    [
        joint_markers(Marker.CYLINDER, 'bones'),
        joint_markers(Marker.LINE_LIST, 'bones'),
        joint_markers(Marker.CUBE, 'table')[:1],
    ],
    ids=['bones as cylinders', 'bones as lines', 'a table as a cube'],
)
def test_what_is_drawn_beside_the_joints_is_nobody(others: list[Marker]) -> None:
    (person,) = decode_marker_array(
        MarkerArray(markers=[*joint_markers(ns='joints'), *others]), FORM
    )
    assert person.person == 'joints/0'
    np.testing.assert_array_equal(person.xyz, TWO_PEOPLE[0])


def test_joints_may_be_cubes_where_there_are_no_spheres() -> None:
    (person,) = decode_marker_array(MarkerArray(markers=joint_markers(Marker.CUBE)), FORM)
    np.testing.assert_array_equal(person.xyz, TWO_PEOPLE[0])


@pytest.mark.parametrize(
    'shape', [Marker.ARROW, Marker.CYLINDER, Marker.LINE_STRIP, Marker.LINE_LIST]
)
def test_bones_alone_are_not_nobody(shape: int) -> None:
    bones = joint_markers(shape, 'bones')
    with pytest.raises(MessageError, match=r'bones alone.*no joints.*as spheres'):
        decode_marker_array(MarkerArray(markers=bones), FORM)
    label = joint_markers(Marker.TEXT_VIEW_FACING, 'names')[:1]
    gone = [Marker(action=Marker.DELETEALL), *label]
    assert decode_marker_array(MarkerArray(markers=gone), FORM) == []
    (person,) = decode_marker_array(MarkerArray(markers=[*bones, *joint_markers()]), FORM)
    assert person.person == '0'


def test_somebody_in_another_frame_than_the_rest_of_the_message_has_a_flaw() -> None:
    here, there = joint_markers(), joint_markers(frame_id='camera', first=100)
    first, second = decode_marker_array(MarkerArray(markers=[*here, *there]), FORM)
    assert (first.flaw, first.frame_id) == ('', 'map')
    assert second.person == '1'
    assert "'camera'" in second.flaw
    assert "'map'" in second.flaw
    mixed = [*here[:5], *joint_markers(frame_id='camera')[5:]]
    with pytest.raises(MessageError, match='one message is of one frame'):
        decode_marker_array(MarkerArray(markers=mixed), FORM)


@pytest.mark.parametrize('kind', [Marker.SPHERE_LIST, Marker.POINTS])
def test_a_list_marker_is_one_person_in_the_frame_of_its_pose(kind: int) -> None:
    marker = Marker(ns='tracker', id=7, type=kind, action=Marker.ADD)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in TWO_PEOPLE[0].tolist()]
    marker.pose.position = Point(x=10.0, y=0.0, z=0.0)
    marker.pose.orientation = Quaternion(z=np.sqrt(0.5), w=np.sqrt(0.5))  # 90 degrees about z
    (person,) = decode_marker_array(MarkerArray(markers=[marker]), FORM)
    x, y, z = TWO_PEOPLE[0].T
    assert person.person == 'tracker/7'
    np.testing.assert_allclose(person.xyz, np.stack([10.0 - y, x, z], axis=-1), atol=1e-12)


def test_a_cloud_may_be_of_doubles_big_endian_and_in_any_order() -> None:
    dtype = np.dtype([('confidence', '>f4'), ('z', '>f8'), ('y', '>f8'), ('x', '>f8'),
                      ('id', '>i4'), ('joint', 'u1')])  # fmt: skip
    rows = np.zeros(17, dtype)
    order = np.random.default_rng(0).permutation(17)
    rows['x'], rows['y'], rows['z'] = TWO_PEOPLE[0][order].T
    rows['id'], rows['joint'], rows['confidence'] = 42, order, order / 100.0
    form = InputFormat(joints=17, person_field='id')
    (person,) = decode_point_cloud(cloud(dtype, rows, big_endian=True), form)
    assert person.person == '42'
    np.testing.assert_array_equal(person.xyz, TWO_PEOPLE[0])
    np.testing.assert_allclose(person.confidence, np.arange(17) / 100.0, rtol=1e-6)


def test_a_plain_cloud_holds_blocks_of_one_person_each() -> None:
    dtype = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4')])
    rows = np.concatenate(TWO_PEOPLE).astype('f4').view(dtype).reshape(-1)
    people = decode_point_cloud(cloud(dtype, rows), FORM)
    assert [person.person for person in people] == ['0', '1']
    np.testing.assert_allclose(people[1].xyz, TWO_PEOPLE[1], atol=1e-6)
    with pytest.raises(MessageError, match='multiple of 17'):
        decode_point_cloud(cloud(dtype, rows[:-1]), FORM)


def test_a_cloud_that_contradicts_itself_is_refused() -> None:
    dtype = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4')])
    rows = np.zeros(17, dtype)
    short = cloud(dtype, rows)
    short.data = short.data[:-5]
    with pytest.raises(MessageError, match='199 bytes'):
        read_cloud(short)
    outside = cloud(dtype, rows)
    outside.fields[2].offset = 10
    with pytest.raises(MessageError, match=r'field z.*point_step=12'):
        read_cloud(outside)
    huge = cloud(dtype, rows)
    huge.width = 2_000_000_000
    with pytest.raises(MessageError, match='2000000000 points'):
        read_cloud(huge)
    flat = cloud(dtype, rows)
    flat.fields = flat.fields[:2]
    with pytest.raises(MessageError, match='missing z'):
        decode_point_cloud(flat, FORM)


@given(
    data=strategies.binary(max_size=64),
    step=strategies.integers(0, 40),
    row=strategies.integers(0, 2**32 - 1),
    width=strategies.integers(0, 2**32 - 1),
    offset=strategies.integers(0, 2**32 - 1),
    datatype=strategies.integers(0, 255),
)
@settings(deadline=None, max_examples=200)
def test_any_cloud_is_either_read_or_refused(
    data: bytes, step: int, row: int, width: int, offset: int, datatype: int
) -> None:
    message = PointCloud2(height=1, width=width, point_step=step, row_step=row, data=data)
    message.fields = [
        PointField(name=name, offset=offset if name == 'z' else 0, datatype=datatype, count=1)
        for name in ('x', 'y', 'z')
    ]
    try:
        people = decode_point_cloud(message, FORM)
    except MessageError:
        return
    assert all(person.xyz.shape == (17, 3) for person in people)


def test_predictions_are_laid_out_as_documented() -> None:
    generator = np.random.default_rng(0)
    futures = generator.normal(size=(2, 5, 4, 17, 3)).astype(np.float32)
    weights = generator.random((2, 5)).astype(np.float32)
    times = np.array([0.1, 0.2, 0.3, 0.4])
    message = CloudEncoder().encode(12_345_678_901, 'map', [3, 9], futures, weights, times)
    assert [(field.name, field.offset, field.datatype) for field in message.fields] == [
        ('x', 0, PointField.FLOAT32), ('y', 4, PointField.FLOAT32), ('z', 8, PointField.FLOAT32),
        ('t', 12, PointField.FLOAT32), ('person', 16, PointField.UINT32),
        ('sample', 20, PointField.UINT16), ('step', 22, PointField.UINT16),
        ('joint', 24, PointField.UINT8), ('candidate', 25, PointField.UINT8),
        ('seen', 26, PointField.UINT8), ('weight', 28, PointField.FLOAT32),
    ]  # fmt: skip
    assert (message.height, message.width) == (1, 2 * 5 * 4 * 17)
    assert len(message.data) == message.row_step == message.width * PREDICTION_DTYPE.itemsize
    row = read_cloud(message).reshape(2, 5, 4, 17)[1, 2, 3, 16]
    assert (row['person'], row['sample'], row['step'], row['joint']) == (9, 2, 3, 16)
    assert row['t'] == np.float32(0.4)
    decoded = decode_predictions(message)
    assert (decoded.stamp_ns, decoded.frame_id) == (12_345_678_901, 'map')
    np.testing.assert_array_equal(decoded.persons, [3, 9])
    np.testing.assert_array_equal(decoded.futures, futures)
    np.testing.assert_array_equal(decoded.weights, weights)
    np.testing.assert_allclose(decoded.times_s, times, rtol=1e-6)
    assert decoded.candidate.tolist() == [0] * 5
    assert decoded.seen.shape == (2, 17)
    assert decoded.seen.all()


def test_weights_of_each_step_candidates_and_unseen_joints_are_read_back() -> None:
    generator = np.random.default_rng(0)
    futures = generator.normal(size=(2, 5, 4, 17, 3)).astype(np.float32)
    weights = generator.random((2, 5, 4)).astype(np.float32)
    candidate = np.array([0, 0, 1, 2, 3], dtype=np.uint8)
    seen = generator.random((2, 17)) < 0.5
    encoder = CloudEncoder()
    times = np.arange(4)
    encoder.encode(1, 'map', [3, 9], futures, weights, times)  # the columns of others do not stay
    decoded = decode_predictions(
        encoder.encode(2, 'map', [3, 9], futures, weights, times, candidate, seen)
    )
    np.testing.assert_array_equal(decoded.step_weights, weights)
    np.testing.assert_allclose(decoded.weights, weights.mean(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(decoded.candidate, candidate)
    np.testing.assert_array_equal(decoded.seen, seen)


def test_a_cloud_recorded_before_candidates_were_is_read_too() -> None:
    weights = np.full((1, 2), 0.5, dtype=np.float32)
    futures = np.ones((1, 2, 3, 17, 3), dtype=np.float32)
    message = CloudEncoder().encode(7, 'map', [4], futures, weights, np.arange(3))
    message.fields = [f for f in message.fields if f.name not in ('candidate', 'seen')]
    decoded = decode_predictions(message)
    np.testing.assert_array_equal(decoded.futures, futures)
    assert decoded.candidate.tolist() == [0, 0]
    assert decoded.seen.all()


def test_an_encoder_follows_people_who_come_and_go() -> None:
    encoder = CloudEncoder()
    for persons in ([1], [1, 2], [2], []):
        shape = (len(persons), 3, 2, 17, 3)
        weights = np.full(shape[:2], 1 / 3, dtype=np.float32)
        times = np.array([0.1, 0.2])
        message = encoder.encode(1, 'map', persons, np.ones(shape, 'f4'), weights, times)
        assert decode_predictions(message).persons.tolist() == persons
    nobody = encoder.nobody(77, 'map')
    assert (nobody.width, len(nobody.data), stamp_to_ns(nobody.header.stamp)) == (0, 0, 77)
    assert len(nobody.fields) == 11
    assert decode_predictions(nobody).futures.shape[0] == 0


def test_markers_of_someone_who_has_gone_are_deleted_once() -> None:
    encoder = MarkerEncoder(H36M17)
    pose = TWO_PEOPLE[0]
    likely, samples = np.stack([pose] * 20), np.stack([np.stack([pose] * 20)] * 4)
    people = [MarkerPerson(number, pose, likely, samples) for number in (0, 5)]
    both = encoder.encode(5, 'map', people).markers
    assert {(marker.ns, marker.id) for marker in both} == {
        (f'person_{number}', kind) for number in (0, 5) for kind in range(3)
    }
    for marker in both:
        assert len(marker.points) % 2 == 0
        assert len(marker.colors) in (0, len(marker.points))
        assert marker.lifetime.sec + marker.lifetime.nanosec > 0
    one = encoder.encode(6, 'map', people[:1]).markers
    deleted = [marker.ns for marker in one if marker.action == Marker.DELETE]
    assert deleted == ['person_5'] * 3
    assert encoder.shown == {0}
    gone = encoder.encode(7, 'map', []).markers
    assert [marker.action for marker in gone] == [Marker.DELETE] * 3
    assert encoder.encode(8, 'map', []).markers == []


def test_bones_to_joints_that_were_never_seen_are_drawn_faintly_and_have_no_samples() -> None:
    encoder = MarkerEncoder(H36M17)
    pose = TWO_PEOPLE[0]
    likely, samples = np.stack([pose] * 20), np.stack([np.stack([pose] * 20)] * 4)
    seen = np.ones(17, dtype=bool)
    seen[[2, 3, 5, 6]] = False
    whole = encoder.encode(5, 'map', [MarkerPerson(0, pose, likely, samples)]).markers
    half = encoder.encode(6, 'map', [MarkerPerson(0, pose, likely, samples, '', seen)]).markers
    assert whole[0].colors == []
    faint = [color.a for color in half[0].colors[::2]]
    assert faint == [0.25 if {child, parent} & {2, 3, 5, 6} else 1.0
                     for child, parent in H36M17.bones]  # fmt: skip
    assert len(half[0].colors) == len(half[0].points)
    shares = [mine.a / other.a for mine, other in zip(half[1].colors, whole[1].colors)]
    assert {round(share, 6) for share in shares} == {0.25, 1.0}
    assert len(half[2].points) * 6 == len(whole[2].points) * 4, 'both feet are left out'


def test_words_are_written_above_a_person_and_taken_back() -> None:
    encoder = MarkerEncoder(H36M17)
    pose = TWO_PEOPLE[0]
    likely, samples = np.stack([pose] * 20), np.stack([np.stack([pose] * 20)] * 4)
    person = MarkerPerson(5, pose, likely, samples, 'mostly standing still')
    *_, words = encoder.encode(5, 'map', [person]).markers
    assert (words.type, words.text) == (Marker.TEXT_VIEW_FACING, 'mostly standing still')
    assert (words.ns, words.id, words.color.a) == ('person_5', 3, 1.0)
    top = pose[pose[:, 2].argmax()]
    place = words.pose.position
    assert (place.x, place.y, place.z) == pytest.approx((*top[:2], top[2] + 0.2))
    assert words.scale.z > 0.0
    silent = encoder.encode(6, 'map', [replace(person, words='')]).markers
    assert [(m.id, m.action) for m in silent if m.id == 3] == [(3, Marker.DELETE)]
    assert all(m.id != 3 for m in encoder.encode(7, 'map', [replace(person, words='')]).markers)
    encoder.encode(8, 'map', [person])
    gone = encoder.encode(9, 'map', []).markers
    assert [(m.id, m.action) for m in gone] == [(kind, Marker.DELETE) for kind in range(4)]


def test_the_model_topic_explains_the_stream() -> None:
    text = encode_model(H36M17, {'split': 'x'}, {'walker': 4}, {'rate_hz': 50.0}).data
    content = json.loads(text)
    assert content['joints'] == list(H36M17.joints)
    assert content['parents'] == list(H36M17.parents)
    assert content['persons'] == {'4': 'walker'}
    assert (content['units'], content['rate_hz'], content['card']) == ('m', 50.0, {'split': 'x'})


def test_an_optical_frame_is_turned_level() -> None:
    # x right, y down, z ahead: down must become -z, ahead must stay horizontal
    turned = rotation_matrix([-np.pi / 2, 0.0, 0.0])
    np.testing.assert_allclose(turned @ [0.0, 1.0, 0.0], [0.0, 0.0, -1.0], atol=1e-12)
    assert abs((turned @ [0.0, 0.0, 1.0])[2]) < 1e-12
    half = np.sqrt(0.5)
    np.testing.assert_allclose(rotation_matrix([-half, 0.0, 0.0, half]), turned, atol=1e-12)


@given(angles=strategies.tuples(*[strategies.floats(-3.0, 3.0)] * 3))
@settings(deadline=None)
def test_a_rotation_keeps_lengths_and_handedness(angles: tuple[float, float, float]) -> None:
    matrix = rotation_matrix(angles)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_a_message_of_absurdly_many_people_is_refused_at_once() -> None:
    rows = np.zeros(5000, CLOUD_DTYPE)
    rows['person'] = np.arange(5000)
    message = point_cloud([np.ones((17, 3))])
    message.width, message.row_step = len(rows), rows.nbytes
    message.data = array.array('B', rows.tobytes())
    with pytest.raises(MessageError, match='5000 people'):
        decode_point_cloud(message, InputFormat(joints=17))
    pose = DecodedPerson(0, '', '0', np.zeros((17, 3)), np.zeros(17))
    with pytest.raises(MessageError, match='300 people'):
        plausible([pose] * 300)
    with pytest.raises(MessageError, match='4000 characters'):
        plausible([replace(pose, person='9' * 4000)])
    with pytest.raises(MessageError, match='170000 poses'):
        decode_pose_array(PoseArray(poses=[Pose()] * 170_000), InputFormat(joints=17))


def test_a_cloud_of_a_hundred_people_is_read_back() -> None:
    futures = np.zeros((100, 50, 20, 17, 3), dtype=np.float32)
    futures[99, 49, 19, 16] = 7.0
    weights = np.full((100, 50), 0.02, dtype=np.float32)
    message = CloudEncoder().encode(7, 'map', range(100), futures, weights, np.arange(20))
    decoded = decode_predictions(message)
    np.testing.assert_array_equal(decoded.futures, futures)
