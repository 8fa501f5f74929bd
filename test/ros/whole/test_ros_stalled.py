# SPDX-License-Identifier: Apache-2.0
"""A predictor that is frozen or gone: what DDS tells, and what the page's monitor does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray
from node_rig import FAILURE, Nodes, SUCCESS
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import LivelinessPolicy, QoSProfile
from ros_harness import (
    Listener,
    PATIENCE_S,
    process,
    ROOT,
    ros_environment,
    Source,
    wait_until,
    walker_poses,
)
from std_msgs.msg import Bool, Float64

from motion_predictor.ros.messages import ns_to_stamp
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.qos import output_profile
from motion_predictor.ros.replay import pose_array

pytestmark = pytest.mark.alone

LEASE = Duration(seconds=0.5)
NODE = 'motion_predictor'


class Watcher:
    """A consumer that asks DDS for a sign of life within half a second."""

    def __init__(self, listener: Listener, topic: str = '/motion_predictor/poses') -> None:
        self.alive, self.missed = 0, 0
        self.messages: list[Any] = []
        profile = QoSProfile(
            depth=1,
            deadline=LEASE,
            liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
            liveliness_lease_duration=LEASE,
        )
        events = SubscriptionEventCallbacks(deadline=self._late, liveliness=self._alive)
        listener.node.create_subscription(
            PoseArray, topic, self.messages.append, profile, event_callbacks=events
        )
        self.source = Source(listener.node, PoseArray, '/skeleton')
        self.poses = iter(np.tile(walker_poses()[0], (400, 1, 1)))
        self.listener = listener

    def _late(self, event: Any) -> None:
        self.missed += event.total_count_change

    def _alive(self, event: Any) -> None:
        self.alive = event.alive_count

    def feed(self) -> None:
        """Send the next frame."""
        self.source.send(pose_array([next(self.poses)]))
        self.listener.spin()

    def wait(self, holds: Callable[[], Any], what: str) -> None:
        """Send frames until something holds."""
        wait_until(holds, self.feed, what)


HANGS = """
import pathlib, runpy, sys, time

flag = pathlib.Path(sys.argv[1])
from motion_predictor.predict.predictor import Predictor
predict = Predictor.predict

def hang(*given, **settings):
    while flag.exists():
        time.sleep(0.01)
    return predict(*given, **settings)

Predictor.predict = hang
sys.argv = ['motion_predictor', *sys.argv[2:]]
runpy.run_module('motion_predictor', run_name='__main__')
"""


@pytest.mark.parametrize('how', ['the process is frozen', 'the model hangs', 'killed'])
def test_a_consumer_learns_of_a_predictor_that_stands_still_from_dds(
    listener: Listener, weights: Path, tmp_path: Path, how: str
) -> None:
    flag = tmp_path / 'hang'
    parameters = ['-p', 'autostart:=true', '-p', f'model.path:={weights}', '-p', 'samples:=3']
    node = subprocess.Popen(
        [sys.executable, '-c', HANGS, str(flag), '--ros-args', *parameters],
        cwd=ROOT,
        env=ros_environment(),
    )
    try:
        watcher = Watcher(listener)
        watcher.wait(lambda: len(watcher.messages) > 5 and watcher.alive == 1, 'messages')
        before = watcher.missed
        if how == 'the model hangs':
            flag.touch()
        else:
            node.send_signal(signal.SIGKILL if how == 'killed' else signal.SIGSTOP)
        watcher.wait(lambda: watcher.alive == 0, 'the liveliness to be lost')
        watcher.wait(lambda: watcher.missed > before or how == 'killed', 'a missed deadline')
        if how == 'killed':
            return
        count = len(watcher.messages)
        flag.unlink(missing_ok=True)
        node.send_signal(signal.SIGCONT)
        watcher.wait(lambda: watcher.alive == 1, 'the liveliness to come back')
        watcher.wait(lambda: len(watcher.messages) > count, 'messages')
    finally:
        node.kill()
        node.wait(timeout=PATIENCE_S)


def test_a_deactivated_node_is_not_alive(listener: Listener, nodes: Nodes) -> None:
    node = nodes.start()
    watcher = Watcher(listener)
    watcher.wait(lambda: watcher.messages and watcher.alive == 1, 'messages')
    assert node.trigger_deactivate() == SUCCESS
    watcher.wait(lambda: watcher.alive == 0, 'the liveliness to be lost')
    assert node.trigger_activate() == SUCCESS
    watcher.wait(lambda: watcher.alive == 1, 'the liveliness to come back')


def test_outputs_offer_what_the_rates_allow_and_every_policy_can_be_set(
    listener: Listener, nodes: Nodes
) -> None:
    own = Settings.from_values({'occupancy.rate_hz': 0.5, 'rate_limit_hz': 2.0})
    seconds = {
        name: output_profile(name, own).deadline.nanoseconds * 1e-9
        for name in ('poses', 'occupancy', 'markers')
    }
    assert seconds == pytest.approx({'poses': 1.0, 'occupancy': 4.0, 'markers': 1.0})
    plain = output_profile('poses', Settings())
    assert plain.deadline.nanoseconds < 5e8
    assert plain.liveliness_lease_duration.nanoseconds < 5e8
    place = 'qos_overrides./motion_predictor/poses.publisher'
    nodes.start(**{
        f'{place}.deadline': 2_000_000_000,
        f'{place}.liveliness': 'automatic',
        f'{place}.liveliness_lease_duration': 3_000_000_000,
        f'{place}.lifespan': 4_000_000_000,
        f'{place}.durability': 'transient_local',
        f'{place}.depth': 7,
    })  # fmt: skip
    topic = '/motion_predictor/poses'
    listener.wait(lambda: listener.node.get_publishers_info_by_topic(topic), 'the output')
    (found,) = listener.node.get_publishers_info_by_topic(topic)
    profile = found.qos_profile
    assert profile.deadline.nanoseconds == 2_000_000_000
    assert profile.liveliness == LivelinessPolicy.AUTOMATIC
    assert profile.liveliness_lease_duration.nanoseconds == 3_000_000_000
    assert profile.lifespan.nanoseconds == 4_000_000_000
    assert profile.durability.name == 'TRANSIENT_LOCAL'


def test_an_override_that_cannot_be_is_refused_with_its_topic(
    nodes: Nodes, capfd: pytest.CaptureFixture
) -> None:
    place = 'qos_overrides./motion_predictor/poses.publisher'
    node = nodes.make(**{f'{place}.liveliness': 'sometimes'})
    assert node.trigger_configure() == FAILURE
    said = capfd.readouterr().err
    assert 'qos_overrides of ~/poses' in said
    assert 'sometimes' in said
    assert 'Traceback' not in said


# The monitor of docs/guide/consumers/ssm.md


@pytest.fixture
def monitor() -> Iterator[Any]:
    with process('motion_predictor.ros.consumers.monitor', {}) as running:
        yield running


class Robot:
    """Hears the monitor, and sends it points as a predictor would."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.limits = listener.collect(Float64, '/speed_limit_predicted')
        self.valid = listener.collect(Bool, '/speed_limit_predicted_valid')
        profile = output_profile('poses', Settings())
        self.publisher = listener.node.create_publisher(
            PoseArray, '/motion_predictor/poses', profile
        )
        listener.wait(lambda: self.limits and self.valid, 'the monitor')
        listener.wait(self.publisher.get_subscription_count, 'the monitor to listen')

    def send(self, distance_m: float | None, ahead_s: float = 0.0, frame_id: str = 'map') -> None:
        """Show somebody so far from the robot, or nobody."""
        message = PoseArray()
        now_ns = self.listener.node.get_clock().now().nanoseconds
        message.header.stamp = ns_to_stamp(now_ns + round(ahead_s * 1e9))
        message.header.frame_id = frame_id
        if distance_m is not None:
            message.poses = [Pose(position=Point(x=distance_m, y=0.0, z=1.0))]
        self.publisher.publish(message)
        self.listener.spin()

    def said(self) -> tuple[float, bool]:
        """Return the latest limit and whether it is valid."""
        return self.limits[-1].data, self.valid[-1].data

    def never_moves(self, step: Callable[[], None]) -> None:
        """Check that nothing of the next while permits any speed."""
        self.limits.clear()
        self.valid.clear()
        wait_until(lambda: len(self.limits) > 30 and len(self.valid) > 30, step, 'its word')
        assert {limit.data for limit in self.limits} == {0.0}
        assert {valid.data for valid in self.valid} == {False}


def test_the_monitor_never_permits_full_speed_without_knowing(
    listener: Listener, monitor: Any
) -> None:
    robot = Robot(listener)
    robot.never_moves(listener.spin)
    robot.never_moves(lambda: robot.send(9.0, ahead_s=5.0))
    robot.never_moves(lambda: robot.send(None, ahead_s=5.0))
    robot.never_moves(lambda: robot.send(9.0, ahead_s=-1.0))
    robot.never_moves(lambda: robot.send(9.0, frame_id='lab'))
    wait_until(lambda: robot.said() == (1.0, True), lambda: robot.send(9.0), 'full speed')
    listener.wait(lambda: robot.said() == (0.0, False), 'nothing to be permitted any more')
    wait_until(lambda: robot.said() == (1.0, True), lambda: robot.send(None), 'an empty room')
    wait_until(lambda: robot.said() == (0.0, True), lambda: robot.send(0.1), 'a stop')


def test_the_monitor_stops_when_the_node_is_frozen(
    listener: Listener, monitor: Any, weights: Path
) -> None:
    limits = listener.collect(Float64, '/speed_limit_predicted')
    parameters = {'autostart': True, 'model.path': weights, 'samples': 3}
    source = Source(listener.node, PoseArray, '/skeleton')
    far = iter(np.tile(walker_poses()[0] + [30.0, 0.0, 0.0], (400, 1, 1)))

    def feed() -> None:
        source.send(pose_array([next(far)]))
        listener.spin()

    with process(NODE, parameters) as node:
        wait_until(lambda: limits and limits[-1].data == 1.0, feed, 'full speed')
        node.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: limits[-1].data == 0.0, feed, 'a stop')
            limits.clear()
            wait_until(lambda: len(limits) > 30, feed, 'its word')
            assert {limit.data for limit in limits} == {0.0}
        finally:
            node.send_signal(signal.SIGCONT)
