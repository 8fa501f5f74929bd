# SPDX-License-Identifier: Apache-2.0
"""``target_frame`` over real DDS: the transform at the observation's stamp, not the latest one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, TransformStamped
from node_rig import Nodes
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import Listener, Source, wait_until
from sensor_msgs.msg import PointCloud2
import tracker_packages

from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.intake.inbox import Arrival
from motion_predictor.ros.messages import decode_predictions, ns_to_stamp, stamp_to_ns
from motion_predictor.ros.replay import pose_array

TURN_RAD_S = 2.0
"""The camera turns: a transform a tenth of a second off moves somebody at 4 m by 0.8 m."""
TF_PERIOD_NS = 20_000_000
SECOND = 1_000_000_000
PERIOD_S = 0.04
"""Of the camera's frames."""
AGE_NS = 200_000_000
"""Observations are as old as this when they are sent; newer transforms are known by then."""
MOUNT = np.array([1.0, -2.0, 2.5])
"""Where the turning camera stands in the hall, metres."""


@pytest.fixture(scope='module')
def tf_message(tmp_path_factory: pytest.TempPathFactory) -> type:
    """Return the class tf2_msgs/msg/TFMessage: the installed one, or one made as ROS makes it."""
    try:
        import tf2_msgs.msg
    except ImportError:
        folder = tmp_path_factory.mktemp('messages')
        only = {'tf2_msgs': tracker_packages.DEFINITIONS['tf2_msgs']}
        try:
            tracker_packages.build(folder, only)
        except tracker_packages.CannotBuildError as error:
            pytest.skip(f'tf2_msgs is not installed and cannot be made: {error}')
        tracker_packages.use(folder, only)
        import tf2_msgs.msg
    return tf2_msgs.msg.TFMessage


def turn_at(stamp_ns: int, begun_ns: int) -> float:
    """Heading of the camera in the hall, radians."""
    return TURN_RAD_S * (stamp_ns - begun_ns) * 1e-9


def rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def transform(parent: str, child: str, stamp_ns: int, angle: float, shift: np.ndarray) -> Any:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, ns_to_stamp(stamp_ns)
    place = message.transform.translation
    place.x, place.y, place.z = shift.tolist()
    message.transform.rotation.z = float(np.sin(0.5 * angle))
    message.transform.rotation.w = float(np.cos(0.5 * angle))
    return message


class TurningCamera:
    """Sees somebody who walks in the hall, from a mast that turns; says so on /tf."""

    def __init__(self, listener: Listener, tf_message: type) -> None:
        self.listener, self.tf_message = listener, tf_message
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.moving = listener.node.create_publisher(tf_message, '/tf', 100)
        self.fixed = listener.node.create_publisher(tf_message, '/tf_static', latched)
        self.source = Source(listener.node, PoseArray, '/skeleton', 0.02)
        self.begun_ns = listener.node.get_clock().now().nanoseconds - AGE_NS
        self.told_ns = self.begun_ns - 2 * TF_PERIOD_NS
        self.told: list[tuple[int, int]] = []
        """Up to which stamp transforms were published, and by when, nanoseconds."""
        self.late_ns = 0
        """How late transforms come."""
        self.age_ns = AGE_NS
        self.frame_id = 'camera'
        self.walk = next(iter(synthetic_walkers(1).persons.values()))
        self.seen: dict[int, np.ndarray] = {}
        """Where the person really was in the hall, (17, 3), by stamp."""
        mast = transform('hall', 'mast', self.begun_ns, 0.0, MOUNT)
        self.fixed.publish(tf_message(transforms=[mast]))

    def tell(self) -> None:
        """Publish the camera's transforms up to now, as a driver does."""
        told = []
        now_ns = self.listener.node.get_clock().now().nanoseconds
        while self.told_ns < now_ns - self.late_ns:
            self.told_ns += TF_PERIOD_NS
            angle = turn_at(self.told_ns, self.begun_ns)
            told.append(transform('mast', 'camera', self.told_ns, angle, np.zeros(3)))
        self.moving.publish(self.tf_message(transforms=told))
        if told:
            after_ns = self.listener.node.get_clock().now().nanoseconds
            self.told.append((self.told_ns, after_ns))

    def told_ns_of(self, stamp_ns: int) -> int:
        """Return when the transform of a stamp had been published, nanoseconds."""
        return next(by_ns for until_ns, by_ns in self.told if until_ns >= stamp_ns)

    def look(self) -> None:
        """Publish what the camera saw ``age_ns`` ago, between two of its transforms."""
        self.tell()
        stamp_ns = self.listener.node.get_clock().now().nanoseconds - self.age_ns
        # Frame by frame: were it by the clock, joints would leap where this machine stood still,
        # and the node puts those right.
        frame = len(self.seen) % len(self.walk)
        place = self.walk[frame].astype(np.float64)
        self.seen[stamp_ns] = place
        turned = rotation(turn_at(stamp_ns, self.begun_ns))
        message = pose_array([(place - MOUNT) @ turned])  # rows: the inverse of the turn
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self.frame_id
        self.source.publisher.publish(message)
        next_s = time.monotonic() + PERIOD_S
        while time.monotonic() < next_s:
            self.listener.spin()


def test_a_target_frame_that_moves_is_warned_of(
    listener: Listener, nodes: Nodes, tf_message: type
) -> None:
    nodes.start(**{'target_frame': 'camera', 'tf_timeout_s': 0.2, 'diagnostics.period_s': 0.2})
    told = listener.collect(DiagnosticArray, '/diagnostics')
    camera = TurningCamera(listener, tf_message)
    wait_until(
        lambda: told and "target_frame 'camera' moves in 'hall'" in told[-1].status[0].message,
        camera.look,
        'the moving frame to be told',
    )


def test_people_are_seen_where_they_were_when_they_were_observed(
    listener: Listener, nodes: Nodes, tf_message: type
) -> None:
    node = nodes.start(target_frame='hall', tf_timeout_s=0.2)
    camera = TurningCamera(listener, tf_message)
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    wait_until(lambda: len(shown) > 5 and clouds, camera.look, 'people in the target frame')
    compared = 0
    for message in shown:
        stamp_ns = stamp_to_ns(message.header.stamp)
        assert message.header.frame_id == 'hall'
        assert stamp_ns in camera.seen, 'the stamp of an observation'
        observed = [(p.position.x, p.position.y, p.position.z) for p in message.poses[:17]]
        # between transforms 20 ms apart of a camera that turns evenly
        np.testing.assert_allclose(observed, camera.seen[stamp_ns], atol=2e-3)
        compared += 1
    assert compared > 5
    assert decode_predictions(clouds[-1]).frame_id == 'hall'
    assert node._counts.snapshot()['worker_errors'] == 0


def test_an_observation_newer_than_every_transform_waits_for_it_or_is_counted(
    listener: Listener, nodes: Nodes, tf_message: type
) -> None:
    node = nodes.start(target_frame='hall', tf_timeout_s=0.01)
    camera = TurningCamera(listener, tf_message)
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    wait_until(lambda: shown, camera.look, 'people in the target frame')
    before = node._counts.snapshot()['messages_without_transform']
    camera.tell = lambda: None  # type: ignore[method-assign]
    wait_until(
        lambda: node._counts.snapshot()['messages_without_transform'] > before,
        camera.look,
        'an observation without a transform to be counted',
    )


@pytest.mark.alone
def test_transforms_that_come_late_cost_no_frame_while_they_are_waited_for(
    listener: Listener, nodes: Nodes, tf_message: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start(target_frame='hall', tf_timeout_s=1.0)
    camera = TurningCamera(listener, tf_message)
    camera.late_ns, camera.age_ns = 150_000_000, 0
    session = node._session
    assert session is not None
    tree, source = session.transforms._tree, session.input.source  # type: ignore[union-attr]
    decode, heard = source.decode, {}  # when frames were received, nanoseconds, by stamp

    def hear(topic: str, message: Any, received_ns: int) -> Any:
        heard[stamp_to_ns(message.header.stamp)] = received_ns
        return decode(topic, message, received_ns)

    monkeypatch.setattr(source, 'decode', hear)

    def begin() -> None:
        camera.tell()
        listener.spin()

    wait_until(lambda: len(tree) == 2, begin, 'transforms to be heard')
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    wait_until(lambda: len(shown) > 30, camera.look, 'people whose transforms come late')

    def done() -> bool:
        counts = node._counts.snapshot()
        ends = ('frames_answered', 'frames_skipped', 'frames_unpredicted', 'frames_refused')
        return not node._inbox and len(heard) == sum(counts[end] for end in ends)

    wait_until(done, begin, 'every frame that was heard to be answered or counted')
    counts = node._counts.snapshot()
    assert counts['messages'] == len(heard) == counts['frames_stored'] + counts['frames_refused']
    assert counts['messages_without_transform'] == counts['frames_refused']
    # Where this machine stands still, a transform is published more than a second late, or a frame
    # is received when the transforms of its time are forgotten already (KEEP_S).
    late = [s for s in heard if max(camera.told_ns_of(s) - heard[s], heard[s] - s) > SECOND]
    assert counts['frames_refused'] <= len(late), 'no frame and no transform is a second late'
    sent = [stamp for stamp in camera.seen if min(heard) <= stamp <= max(heard)]
    unheard = ('messages_lost', 'messages_overdue', 'messages_overflowed')
    assert len(sent) == len(heard) + sum(counts[how] for how in unheard)
    stamps = [stamp_to_ns(message.header.stamp) for message in shown]
    assert stamps == sorted(set(stamps) & set(heard)), 'each is of one frame'
    for message in shown[-10:]:
        observed = [(p.position.x, p.position.y, p.position.z) for p in message.poses[:17]]
        expected = camera.seen[stamp_to_ns(message.header.stamp)]
        np.testing.assert_allclose(observed, expected, atol=2e-3)


def test_a_transform_that_came_in_time_is_found_however_late_the_executor_is(
    listener: Listener, nodes: Nodes, tf_message: type
) -> None:
    node = nodes.start(target_frame='hall', tf_timeout_s=1.0)
    camera = TurningCamera(listener, tf_message)
    worker = node._worker
    assert worker is not None
    tree = worker.session.transforms._tree  # type: ignore[union-attr]

    def begin() -> None:
        camera.tell()
        listener.spin()

    wait_until(lambda: len(tree) == 2, begin, 'transforms to be heard')
    frames = []
    for _ in range(3):  # no callback is run from here on: messages of TF stay in DDS
        camera.told_ns += TF_PERIOD_NS  # an instant of which the tree has no transform
        stamp_ns = camera.told_ns
        told = transform('mast', 'camera', stamp_ns, 0.0, np.zeros(3))
        camera.moving.publish(tf_message(transforms=[told]))
        message = pose_array([camera.walk[0]])
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), 'camera'
        frames.append(message)
    for message in frames:
        now_ns = listener.node.get_clock().now().nanoseconds
        node._inbox.append(Arrival('/skeleton', message, now_ns, time.perf_counter()))
    node._inbox.wake.set()

    def ended() -> int:
        counts = node._counts.snapshot()
        return counts['frames_stored'] + counts['frames_refused']

    wait_until(lambda: ended() == 3, lambda: time.sleep(0.01), 'every frame to be decided on')
    assert node._counts.snapshot()['messages_without_transform'] == 0
    assert node._counts.snapshot()['frames_stored'] == 3


@pytest.mark.parametrize(
    'target, frame_id, late_ns, age_ns, words',
    [
        ('hall', 'camara', 0, 0, "no frame 'camara', which is the frame_id of the input; it has "),
        ('hill', 'camera', 0, 0, "no frame 'hill', which is target_frame; it has 'hall'"),
        ('tower', 'camera', 0, 0, "does not connect 'camera' (its tree begins at 'hall')"),
        ('hall', 'camera', 300_000_000, 0, 'set tf_timeout_s above 0.'),
        ('hall', 'camera', 0, 5_000_000_000, 'younger than the stamp of the input'),
    ],
)  # fmt: skip
def test_why_there_is_no_transform_is_said_in_the_diagnostics(
    listener: Listener, nodes: Nodes, tf_message: type, target: str, frame_id: str, late_ns: int,
    age_ns: int, words: str,
) -> None:  # fmt: skip
    nodes.start(target_frame=target, tf_timeout_s=0.05, **{'diagnostics.period_s': 0.2})
    camera = TurningCamera(listener, tf_message)
    away = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    other = listener.node.create_publisher(tf_message, '/tf_static', away)
    bell = transform('tower', 'bell', camera.begun_ns, 0.0, MOUNT)
    other.publish(tf_message(transforms=[bell]))
    camera.frame_id, camera.late_ns, camera.age_ns = frame_id, late_ns, age_ns
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')

    def said() -> list[str]:
        return [status.message for each in diagnostics for status in each.status]

    wait_until(lambda: any(words in text for text in said()), camera.look, words)
