# SPDX-License-Identifier: Apache-2.0
"""People of whom a part is never seen, over DDS: they are predicted, and every output says so."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from node_rig import Nodes
from ros_harness import Listener, wait_until
from scene import HORIZONS, LEGS, Scene
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.prediction import UNSEEN_RADIUS_M
from motion_predictor.ros.messages import decode_predictions
from motion_predictor.ros.publish.outputs import decode_moments

pytestmark = pytest.mark.alone

HIPS = [H36M17.index(joint) for joint in ('Hip', 'RHip', 'LHip')]
LEG_NAMES = ['RKnee', 'RAnkle', 'LKnee', 'LAnkle']
SETTINGS = {'diagnostics.period_s': 0.1, 'markers.rate_hz': 30.0}


def told_of(scene: Scene, name: str) -> str:
    """What the diagnostics say of a person."""
    if not scene.diagnostics:
        return ''
    values = {entry.key: entry.value for entry in scene.diagnostics[-1].status[0].values}
    found: str = values.get(f'person {name}', '')
    return found


@pytest.mark.parametrize('unseen', [LEGS, [*HIPS, *LEGS]], ids=['legs', 'hips and legs'])
def test_a_person_behind_a_table_is_predicted_from_every_frame(
    listener: Listener, nodes: Nodes, unseen: list[int]
) -> None:
    node = nodes.start(**SETTINGS)
    scene = Scene(listener)
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', unseen)
    sent, came, before = len(scene.source.sent_ns), len(scene.clouds), node._counts.snapshot()
    scene.until(lambda: len(scene.source.sent_ns) >= sent + 30, 'frames', unseen)
    listener.wait(
        lambda: decode_predictions(scene.clouds[-1]).stamp_ns == scene.source.sent_ns[-1],
        'the prediction of the last frame',
    )
    grown = {name: count - before.get(name, 0) for name, count in node._counts.snapshot().items()}
    assert grown['frames_unpredicted'] == 0, 'every frame is predicted from'
    answered = {decode_predictions(cloud).stamp_ns for cloud in scene.clouds[came:]}
    missing = set(scene.source.sent_ns[sent:]) - answered
    assert len(missing) <= grown['frames_skipped'], 'or skipped for a newer one while it is busy'
    cloud = decode_predictions(scene.clouds[-1])
    assert cloud.persons.tolist() == [0]
    assert np.isfinite(cloud.futures).all()
    np.testing.assert_array_equal(np.flatnonzero(~cloud.seen[0]), sorted(unseen))
    assert scene.states['0']['state'] == 'predicted'
    names = [H36M17.joints[joint] for joint in sorted(unseen)]
    assert scene.states['0']['joints'] == names
    scene.until(lambda: 'never seen' in told_of(scene, '0'), 'words', unseen)
    assert told_of(scene, '0') == f'predicted; {", ".join(names)} never seen'
    assert 'not predicted' not in scene.status[1], 'nothing to warn of'


def test_every_output_marks_what_was_never_seen(listener: Listener, nodes: Nodes) -> None:
    nodes.start(**SETTINGS)
    scene = Scene(listener)
    moments = listener.collect(PointCloud2, '/motion_predictor/moments')
    markers = listener.collect(MarkerArray, '/motion_predictor/markers')

    def all_there() -> bool:
        drawn = [m for array in markers[-1:] for m in array.markers if m.id == 0]
        return bool(drawn and drawn[0].points and moments and moments[-1].width and scene.poses)

    scene.until(all_there, 'all outputs', LEGS)
    count = len(scene.poses)
    scene.until(lambda: len(scene.poses) > count + 10, 'points', LEGS)
    found = decode_moments(moments[-1])
    np.testing.assert_array_equal(np.flatnonzero(~found.seen[0]), LEGS)
    assert found.radius_m[0][:, LEGS].min() >= np.float32(UNSEEN_RADIUS_M)
    hips = found.radius_m[0][:, [1, 1, 4, 4]]
    assert (found.radius_m[0][:, LEGS] >= hips - 1e-6).all(), 'not below what they hang on'
    old = moments[-1]
    old.fields = [field for field in old.fields if field.name != 'seen']
    assert decode_moments(old).seen.all(), 'a cloud from before joints were marked'
    (body,) = [marker for marker in markers[-1].markers if marker.id == 0]
    faint = [colour.a < 0.5 for colour in body.colors[::2]]
    assert faint == [bool({child, parent} & set(LEGS)) for child, parent in H36M17.bones]
    points = [(p.position.x, p.position.y, p.position.z) for p in scene.poses[-1].poses]
    assert len(points) == HORIZONS * 17
    assert np.isfinite(points).all(), 'completed joints are points too: a leg takes up space'


def test_somebody_who_stands_up_from_a_table_stays_the_same_person(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(**SETTINGS)
    scene = Scene(listener)
    seated = sitting(scene)
    scene.walks[0] = seated
    table = [*HIPS, *LEGS]
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', table)
    tracks = dict(node._session.tracks)
    number = scene.states['0']['number']
    scene.until(lambda: scene.frame > UP_FROM, 'the end of sitting', table)
    count = len(scene.clouds)
    scene.until(lambda: not scene.states['0']['joints'], 'the legs to be seen', None)
    scene.until(lambda: scene.frame > UP_FROM + 60, 'standing', None)
    assert dict(node._session.tracks) == tracks, 'the same history'
    assert list(scene.states) == ['0']
    assert scene.states['0']['number'] == number
    for cloud in scene.clouds[count:]:
        assert decode_predictions(cloud).persons.tolist() == [number], 'never taken back'
    assert decode_predictions(scene.clouds[-1]).seen.all()


UP_FROM, UP_IN = 60, 40
"""Frames of 50 Hz after which somebody gets up, and for how long."""


def sitting(scene: Scene) -> np.ndarray:
    """Somebody who sits, works with the hands, and gets up; made up on a walker's body."""
    standing = scene.walks[0][0].astype(np.float64)
    standing = standing - standing[0] * [1.0, 1.0, 0.0]
    left = standing[4] - standing[1]
    ahead = np.array([left[1], -left[0], 0.0]) / np.linalg.norm(left[:2])
    frames = np.arange(4000)
    up = np.clip((frames - UP_FROM) / UP_IN, 0.0, 1.0)
    up = up * up * (3.0 - 2.0 * up)
    poses = np.repeat(standing[None], len(frames), axis=0)
    poses[..., 2] -= 0.42 * (1.0 - up)[:, None]
    for hip, knee, ankle in ((1, 2, 3), (4, 5, 6)):
        down = standing[ankle, 2] + 0.0 * up
        poses[:, knee] = poses[:, hip] + 0.43 * (
            (1.0 - up)[:, None] * ahead - up[:, None] * [0.0, 0.0, 1.0]
        )
        poses[:, ankle] = poses[:, knee] * [1.0, 1.0, 0.0] + down[:, None] * [0.0, 0.0, 1.0]
    reach = 0.1 * np.sin(frames / 12.0)[:, None] * ahead
    poses[:, [12, 13]] += reach[:, None]
    poses[:, [15, 16]] -= reach[:, None]
    return poses + [2.0, 0.0, 0.0]


@pytest.mark.parametrize('moves', [True, False], ids=['works', 'still'])
def test_a_seated_person_of_whom_nothing_below_the_table_is_seen_is_predicted_there(
    listener: Listener, nodes: Nodes, moves: bool
) -> None:
    nodes.start(**SETTINGS)
    scene = Scene(listener)
    seated = sitting(scene)[:UP_FROM]
    noise = np.random.default_rng(0).normal(0.0, 0.002, (4000, 17, 3))
    way = np.concatenate((seated, seated[::-1])) if moves else seated[:1]
    scene.walks[0] = np.resize(way, (4000, 17, 3)) + noise
    table = [*HIPS, *LEGS]
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', table)
    count = len(scene.clouds)
    scene.until(lambda: len(scene.clouds) > count + 20, 'predictions', table)
    assert scene.states['0']['state'] == 'predicted'
    points = [(p.position.x, p.position.y, p.position.z) for p in scene.poses[-1].poses]
    points = np.reshape(points, (HORIZONS, 17, 3))
    shown = np.setdiff1d(np.arange(17), table)
    measured = scene.walks[0][:, shown]
    apart = np.linalg.norm(points[0, shown] - measured, axis=-1).max(axis=1)
    assert apart.min() < 0.02, 'horizon 0 has the joints where they were measured'


def confident_cloud(pose: np.ndarray, confidence: np.ndarray) -> PointCloud2:
    """Make a point cloud of a Kinect's joints of one person, with the confidence of each."""
    kind = np.dtype([(name, '<f4') for name in ('x', 'y', 'z', 'confidence')])
    rows = np.zeros(len(pose), dtype=kind)
    for axis, name in enumerate('xyz'):
        rows[name] = pose[:, axis]
    rows['confidence'] = confidence
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(kind.names or ())
    ]
    message = PointCloud2(fields=fields, height=1, width=len(rows), is_dense=True)
    message.point_step, message.row_step = kind.itemsize, rows.nbytes
    message.data = rows.tobytes()
    return message


def kinect_pose(pose: np.ndarray) -> np.ndarray:
    """Return a Kinect's 32 joints of somebody: what the model needs, the others in the chest."""
    kinect = layout('k4a32', H36M17)
    found = np.repeat(pose[[7]], kinect.num_joints, axis=0)
    for joint, source in kinect.mapping.items():
        for name in [source] if isinstance(source, str) else source:
            found[kinect.index(name)] = pose[H36M17.index(joint)]
    return found


def test_a_kinect_that_guesses_the_legs_of_a_person_at_a_table(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(
        **SETTINGS,
        **{'input.type': 'point_cloud', 'input.skeleton': 'k4a32', 'input.min_confidence': 0.4},
    )
    scene = Scene(listener, 'point_cloud')
    kinect = layout('k4a32', H36M17)
    low = [kinect.index(f'{part}_{side}') for part in ('knee', 'ankle', 'foot') for side in 'lr']
    confidence = np.full(kinect.num_joints, 0.67)
    confidence[low] = 0.33  # the tracker's own extrapolation
    source = scene.source

    def send() -> None:
        pose = kinect_pose(scene.walks[0][scene.frame])
        pose[low] += [0.0, 0.0, 0.9]  # and a bad one
        scene.frame += 1
        source.send(confident_cloud(pose, confidence))
        listener.spin()

    wait_until(lambda: scene.clouds and scene.clouds[-1].width, send, 'a prediction')
    cloud = decode_predictions(scene.clouds[-1])
    assert set(LEGS) <= set(np.flatnonzero(~cloud.seen[0]))
    knees = cloud.futures[0, :, 0, [2, 5], 2].mean()
    assert knees < 0.8, 'what the tracker made up is not looked at'
    assert set(LEG_NAMES) <= set(scene.states['0']['joints'])
