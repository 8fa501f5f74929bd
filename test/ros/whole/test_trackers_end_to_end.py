# SPDX-License-Identifier: Apache-2.0
"""
Over real DDS: each tracker's messages into a node process, with the shipped weights.

The message classes are made from the stand-in definitions of ``tracker_packages``; they go over
the wire as the drivers' would. Skipped where there is no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import (
    Listener,
    PATIENCE_S,
    ROOT,
    ros_environment,
    wait_until,
    walker_poses,
)
from sensor_msgs.msg import PointCloud2
import tracker_packages
from tracker_packages import DEFINITIONS, real, TYPE_HASHES
from tracker_people import MAKERS, source_pose, tf, transform
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.ros.messages import decode_predictions, ns_to_stamp
from motion_predictor.sources.trackers import TRACKERS

NEAR_M = 0.5
"""How far a joint moves, and the model errs, in a tenth of a second of a busy machine."""
SAME_WAY = 0.8
"""Cosine between directions on the body that tell left from right, and up from down."""
DIRECTIONS = ((4, 1), (11, 14), (10, 0))
"""Left hip from right hip, left shoulder from right shoulder, top of the head from the hips."""
OPTICAL = [-np.pi / 2, 0.0, 0.0]
TILT = [0.0, 0.5, 0.0]
"""Roll, pitch, yaw of a camera that looks down."""
HALL_FROM_ZED = (rotation_matrix(TILT), np.array([1.0, -2.0, 2.5]))
PEOPLE = [poses + [3.0, 0.5, 0.0] for poses in walker_poses(2)]
COMMON = {'model.threads': 1, 'samples': 4, 'stale_timeout_s': 0.6, 'diagnostics.period_s': 0.5}

Frame = Callable[[list[np.ndarray], int], Any]
"""Makes the message of (people's poses (17, 3) in metres, level; stamp)."""


@dataclass(frozen=True)
class Case:
    """A tracker, the parameters for it, and how it sees the people."""

    parameters: dict[str, Any]
    topic: str
    message: Frame
    frame_id: str
    numbers: tuple[int, ...] = (3, 4)
    seen: Callable[[np.ndarray], np.ndarray] = field(default=lambda pose: pose)
    """Poses in the frame of the output, from level ones."""
    stamped: bool = True


def tracker_case(kind: str, frame_id: str, **more: Any) -> Case:
    parameters = {'input.type': kind, 'input.topics': [f'/{kind}'], **more.pop('parameters', {})}
    chosen = layout(parameters.get('input.skeleton', TRACKERS[kind].layout))
    into = more.pop('into_camera', lambda pose: pose)

    def message(people: list[np.ndarray], stamp_ns: int) -> Any:
        return MAKERS[kind](real, chosen, [into(pose) for pose in people], stamp_ns)

    return Case(parameters, f'/{kind}', message, frame_id, **more)


def into_zed(pose: np.ndarray) -> np.ndarray:
    rotation, translation = HALL_FROM_ZED
    return (pose - translation) @ rotation


def into_tilted(pose: np.ndarray) -> np.ndarray:
    return (pose - [0.0, 0.0, 1.0]) @ rotation_matrix(TILT)


def kinect(people: list[np.ndarray], stamp_ns: int) -> Any:
    chosen, markers = layout('k4a32'), []
    for number, pose in enumerate(people):
        for joint, xyz in enumerate(source_pose(chosen, pose @ rotation_matrix(OPTICAL))):
            marker = Marker(id=100 * (number + 3) + joint, type=Marker.SPHERE)
            marker.header.frame_id = 'depth_camera_link'
            marker.header.stamp = ns_to_stamp(stamp_ns)
            position = marker.pose.position
            position.x, position.y, position.z = (float(value) for value in xyz)
            markers.append(marker)
    return MarkerArray(markers=markers)


def frames(skeleton: str, pattern: str, names: tuple[str, ...], parent: str) -> Frame:
    chosen = layout(skeleton)

    def message(people: list[np.ndarray], stamp_ns: int) -> Any:
        return tf(
            real,
            [
                transform(real, parent, pattern.format(joint=joint, person=name), xyz, stamp_ns)
                for name, pose in zip(names, people)
                for joint, xyz in zip(chosen.joints, source_pose(chosen, pose))
            ],
        )

    return message


CASES = {
    'kinect': Case(
        {'input.type': 'marker_array', 'input.topics': ['/kinect'], 'input.skeleton': 'k4a32',
         'input.rotation': OPTICAL},
        '/kinect', kinect, 'depth_camera_link', seen=lambda pose: pose @ rotation_matrix(OPTICAL),
    ),
    'zed': tracker_case(
        'zed', 'hall', parameters={'target_frame': 'hall'}, into_camera=into_zed
    ),
    'yolo': tracker_case('yolo', 'base_link'),
    'nuitrack': tracker_case(
        'nuitrack', 'sensor', stamped=False, into_camera=into_tilted, seen=into_tilted,
        parameters={'input.units_scale': 1e-3, 'input.frame_id': 'sensor', 'input.rotation': TILT},
    ),
    'mocap4r2': tracker_case('mocap4r2', 'vicon_world', numbers=(0,)),
    'mocap4r2_bodies': tracker_case('mocap4r2_bodies', 'vicon_world'),
    'hiros': tracker_case('hiros', 'world'),
    'tf': Case(
        {'input.type': 'tf', 'input.skeleton': 'xsens23', 'input.pattern': '{person}_{joint}'},
        '/tf', frames('xsens23', '{person}_{joint}', ('anna', 'bob'), 'world'), 'world',
        numbers=(0, 1),
    ),
    'hri': Case(
        {'input.type': 'hri', 'target_frame': 'floor'},
        '/tf', frames('hri', '{joint}_{person}', ('abcde', 'qwert'), 'camera'), 'floor',
        numbers=(0, 1), seen=lambda pose: pose + [0.0, 0.0, 1.0],
    ),
}  # fmt: skip


@pytest.fixture(scope='module')
def packages(pytestconfig: pytest.Config) -> Iterator[Path]:
    folder = Path(pytestconfig.cache.mkdir('tracker_packages'))
    try:
        hashes = tracker_packages.build(folder)
    except tracker_packages.CannotBuildError as error:
        pytest.skip(f'the message packages of the trackers cannot be made: {error}')
    before, path = set(sys.modules), list(sys.path)
    tracker_packages.use(folder)
    assert {name: hashes[name] for name in TYPE_HASHES} == TYPE_HASHES
    yield folder
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split('.')[0] in DEFINITIONS:
            del sys.modules[name]


class Running:
    """A process of nodes, one a case, and what they publish."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.clouds = {
            name: listener.collect(PointCloud2, f'/{name}/predictions') for name in CASES
        }
        self.diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
        fixed = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        tf_type = type(real('tf2_msgs/TFMessage'))
        self.publishers = {
            case.topic: listener.node.create_publisher(
                type(case.message([PEOPLE[0][0]], 1)), case.topic, 100
            )
            for case in CASES.values()
        }
        self.fixed = listener.node.create_publisher(tf_type, '/tf_static', fixed)
        self.listed = listener.node.create_publisher(
            type(real('hri_msgs/IdsList')), '/humans/bodies/tracked', 1
        )

    def values(self, name: str) -> dict[str, str]:
        """Wait for the next diagnostics of a node."""
        count = len(self.diagnostics)

        def found() -> Any:
            return [
                status
                for message in self.diagnostics[count:]
                for status in message.status
                if status.name.startswith(f'{name}:')
            ]

        status = self.listener.wait(found, f'diagnostics of {name}')[-1]
        return {entry.key: entry.value for entry in status.values}

    def list_bodies(self, *ids: str) -> None:
        """Say which bodies ROS4HRI tracks."""
        message = real('hri_msgs/IdsList')
        message.ids = list(ids)
        message.header.stamp = self.listener.node.get_clock().now().to_msg()
        self.listed.publish(message)


@pytest.fixture(scope='module')
def running(packages: Path) -> Iterator[Running]:
    parameters = {name: {**COMMON, **case.parameters} for name, case in CASES.items()}
    environment = ros_environment()
    environment['PYTHONPATH'] = os.pathsep.join(
        [environment['PYTHONPATH'], str(packages / 'python')]
    )
    script = str(Path(__file__).parents[2] / 'support' / 'trackers' / 'tracker_nodes.py')
    nodes = subprocess.Popen(
        [sys.executable, script, json.dumps(parameters)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert nodes.stdout is not None
    listener = Listener()
    log = []
    try:
        for line in nodes.stdout:
            log.append(line)
            if line.startswith('ready'):
                break
        assert log[-1].startswith('ready'), ''.join(log)
        yield Running(listener)
    finally:
        listener.close()
        nodes.send_signal(subprocess.signal.SIGINT)
        output, _ = nodes.communicate(timeout=PATIENCE_S)
    assert nodes.returncode == 0, output
    assert 'Traceback' not in output, output


def poses_at(seconds: float, people: int) -> list[np.ndarray]:
    """Where people are by then: they walk there and back, however busy the machine is."""
    last = len(PEOPLE[0]) - 1
    there = (50.0 * seconds) % (2 * last)
    frame = min(there, 2 * last - there)
    before = min(int(frame), last - 1)
    share = frame - before
    return [(1 - share) * poses[before] + share * poses[before + 1] for poses in PEOPLE[:people]]


def play(running: Running, name: str) -> tuple[Any, dict[int, list[np.ndarray]]]:
    """Publish people until the node predicts everyone; give the cloud and what was sent when."""
    case, clouds = CASES[name], running.clouds[name]
    sent: dict[int, list[np.ndarray]] = {}
    clouds.clear()
    begun_ns = running.listener.node.get_clock().now().nanoseconds

    def predicted() -> Any:
        whole = [cloud for cloud in clouds if cloud.width]
        decoded = decode_predictions(whole[-1]) if whole else None
        return decoded if decoded and len(decoded.persons) == len(case.numbers) else None

    def step() -> None:
        stamp_ns = running.listener.node.get_clock().now().nanoseconds
        seconds = (stamp_ns - begun_ns) * 1e-9 * case.stamped  # without stamps they stand
        sent[stamp_ns] = poses_at(seconds, len(case.numbers))
        running.publishers[case.topic].publish(case.message(sent[stamp_ns], stamp_ns))
        due_s = time.monotonic() + 0.02
        while (left_s := due_s - time.monotonic()) > 0.0:
            running.listener.executor.spin_once(timeout_sec=left_s)

    return wait_until(predicted, step, f'predictions of {name}'), sent


@pytest.mark.parametrize('name', CASES)
def test_people_are_predicted_near_where_they_are(running: Running, name: str) -> None:
    case = CASES[name]
    if name == 'zed':
        place_zed(running)
    if name == 'hri':
        running.fixed.publish(tf(real, [transform(real, 'floor', 'camera', (0, 0, 1), 0)]))
        running.list_bodies('abcde', 'qwert')
    cloud, sent = play(running, name)
    assert cloud.frame_id == case.frame_id
    assert sorted(cloud.persons.tolist()) == list(case.numbers)
    assert np.isfinite(cloud.futures).all()
    if case.stamped:
        assert cloud.stamp_ns in sent, 'a stamp that is of no observation'
        people = sent[cloud.stamp_ns]
    else:
        people = sent[max(stamp for stamp in sent if stamp <= cloud.stamp_ns)]
    for number, pose in zip(case.numbers, people):
        index = cloud.persons.tolist().index(number)
        soon = cloud.futures[index, :, 0].mean(axis=0)  # (17, 3), 0.1 s ahead
        now = case.seen(pose)
        apart = np.linalg.norm(soon - now, axis=-1)
        assert apart.max() < NEAR_M, f'{name}: {apart.round(2)}'
        for end, begin in DIRECTIONS:
            ways = [at[end] - at[begin] for at in (soon, now)]
            cosine = ways[0] @ ways[1] / np.prod(np.linalg.norm(ways, axis=-1))
            assert cosine > SAME_WAY, f'{name}: {end} from {begin}: {cosine:.2f}'
    assert int(running.values(name)['worker_errors']) == 0


def place_zed(running: Running) -> None:
    """Say where the ZED stands in the hall."""
    _, translation = HALL_FROM_ZED
    half = TILT[1] / 2
    turn = (0.0, np.sin(half), 0.0, np.cos(half))
    where = transform(real, 'hall', 'zed_left_camera_frame', translation, 0, turn)
    running.fixed.publish(tf(real, [where]))


def test_an_upper_body_alone_of_a_zed_is_predicted_and_the_legs_are_marked(
    running: Running,
) -> None:
    place_zed(running)
    zed, clouds = layout('zed38'), running.clouds['zed']
    below = ('knee', 'ankle', 'heel', 'toe', 'hip')
    hidden = [zed.index(joint) for joint in zed.joints if any(part in joint for part in below)]
    assert len(hidden) >= 8
    clouds.clear()
    begun_ns = running.listener.node.get_clock().now().nanoseconds

    def step() -> None:
        stamp_ns = running.listener.node.get_clock().now().nanoseconds
        (pose,) = poses_at((stamp_ns - begun_ns) * 1e-9, 1)
        message = CASES['zed'].message([pose], stamp_ns)
        for joint in hidden:
            message.objects[0].skeleton_3d.keypoints[joint].kp[:] = [float('nan')] * 3
        running.publishers['/zed'].publish(message)
        running.listener.executor.spin_once(timeout_sec=0.02)

    def half_seen() -> Any:
        # enough frames that joints which an earlier test showed no longer count as seen
        return len(clouds) >= 40 and clouds[-1].width and decode_predictions(clouds[-1])

    cloud = wait_until(half_seen, step, 'an upper body to be predicted')
    assert len(cloud.persons) == 1
    legs = [H36M17.index(joint) for joint in ('RKnee', 'RAnkle', 'LKnee', 'LAnkle')]
    assert not cloud.seen[0, legs].any()
    assert cloud.seen[0, list(H36M17.shoulders or ())].all()
    assert np.isfinite(cloud.futures).all()
    assert int(running.values('zed')['windows_half_seen']) > 0


def test_what_a_tracker_leaves_out_is_counted_in_the_diagnostics(running: Running) -> None:
    message = CASES['zed'].message([PEOPLE[0][0]], 1)
    message.header.stamp = running.listener.node.get_clock().now().to_msg()
    message.objects[0].tracking_state = 2
    running.publishers['/zed'].publish(message)
    running.listener.wait(
        lambda: int(running.values('zed')['zed_searching']) > 0, 'zed_searching to be counted'
    )


def test_a_zed_of_another_body_format_is_counted_as_malformed(running: Running) -> None:
    message = MAKERS['zed'](real, layout('zed18'), [PEOPLE[0][0]], 1)
    running.publishers['/zed'].publish(message)
    running.listener.wait(
        lambda: int(running.values('zed')['messages_malformed']) > 0, 'a malformed message'
    )


@pytest.mark.parametrize('name', ['kinect', 'hri'])
def test_an_empty_message_takes_the_prediction_back(running: Running, name: str) -> None:
    if name == 'hri':
        running.list_bodies('abcde', 'qwert')
    play(running, name)
    clouds = running.clouds[name]

    def gone() -> bool:
        if name == 'hri':
            running.list_bodies()
        else:
            running.publishers['/kinect'].publish(MarkerArray())
        return not clouds[-1].width

    running.listener.wait(gone, 'an empty cloud')
