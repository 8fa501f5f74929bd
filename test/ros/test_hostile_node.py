# SPDX-License-Identifier: Apache-2.0
"""The node under what takes long or is too large: everything else goes on, and it ends at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray
from node_rig import Nodes
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.serialization import serialize_message
from ros_harness import (
    Listener,
    PATIENCE_S,
    ROOT,
    ros_environment,
    Source,
    wait_until,
    walker_poses,
)
from sensor_msgs.msg import PointCloud2

from motion_predictor.ros.intake import inbox
from motion_predictor.ros.publish.outputs import no_occupancy
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.ros.replay import marker_array, pose_array


def walker(listener: Listener) -> Callable[[], None]:
    """Send the poses of somebody who walks, one with every call."""
    poses = walker_poses()[0]
    source = Source(listener.node, PoseArray, '/skeleton')
    sent = 0

    def step() -> None:
        nonlocal sent
        source.send(pose_array([poses[sent % len(poses)]]))
        sent += 1
        listener.spin()

    return step


def test_poses_go_on_while_occupancy_is_made_and_what_is_taken_back_stays_so(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(outlook: Any, settings: Any, stopped: Any) -> PointCloud2:
        begun.set()
        may_end.wait(PATIENCE_S)
        return no_occupancy(outlook.stamp_ns, 'too late')

    monkeypatch.setitem(SUMMARIES['occupancy'].__dict__, 'encode', slow)
    node = nodes.start(stale_timeout_s=0.2)
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    voxels = listener.collect(PointCloud2, '/motion_predictor/occupancy')
    step = walker(listener)
    wait_until(begun.is_set, step, 'occupancy to be asked for')
    before = len(shown)
    wait_until(lambda: len(shown) > before + 20, step, 'poses while occupancy is made')
    assert voxels == []
    listener.wait(lambda: not clouds[-1].width, 'everything to be taken back')
    may_end.set()
    assert node._worker is not None
    summaries = node._worker.publishing.summaries
    listener.wait(lambda: not summaries.busy, 'the end of what was called off')
    for _ in range(10):
        listener.spin()
    assert [cloud.header.frame_id for cloud in voxels] == []
    wait_until(lambda: voxels, step, 'occupancy of who came back')


def test_occupancy_that_cannot_be_made_is_counted_and_said(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('motion_predictor.predict.occupancy.MAX_VOXELS', 10)
    node = nodes.start()
    listener.collect(PointCloud2, '/motion_predictor/occupancy')
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    wait_until(
        lambda: node._counts.snapshot().get('summaries_refused') and shown,
        walker(listener),
        'occupancy to be refused',
    )
    assert not node._counts.snapshot()['worker_errors']


def test_parameters_whose_product_is_too_large_are_refused(nodes: Nodes) -> None:
    node = nodes.make(samples=1000, max_persons=100)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    node = nodes.start(samples=100)
    (result,) = node.set_parameters([RosParameter('max_persons', value=100)])
    assert result.successful
    (result,) = node.set_parameters([RosParameter('samples', value=1000)])
    assert not result.successful
    assert 'samples=1000, max_persons=100' in result.reason
    assert node.get_parameter('samples').value == 100


def test_a_message_that_is_too_large_or_broken_is_counted_and_the_others_are_predicted(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('motion_predictor.ros.intake.inbox.MAX_MESSAGE_BYTES', 10_000)
    node = nodes.start()
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    step = walker(listener)
    huge = listener.node.create_publisher(PoseArray, '/skeleton', 10)
    listener.wait(huge.get_subscription_count, 'the node to listen')
    store = node._inbox.store('skeleton')
    whole = serialize_message(pose_array([walker_poses()[0][0]]))
    store(whole[: len(whole) // 2], {})

    def both() -> None:
        huge.publish(PoseArray(poses=[Pose()] * 17 * 50))
        step()
        for _ in range(4):  # one spin handles one message of one subscription
            listener.spin()

    wait_until(lambda: len(clouds) > 5, both, 'predictions beside what cannot be read')
    listener.wait(lambda: not node._inbox, 'an empty inbox')
    counts = node._counts.snapshot()
    assert counts['messages_malformed'] >= 2
    assert not counts['worker_errors']
    assert counts['messages'] == sum(
        counts[name]
        for name in ('messages_malformed', 'messages_empty', 'frames_stored', 'frames_refused')
    )


def test_what_waits_unread_is_bounded_in_bytes(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('motion_predictor.ros.intake.inbox.MAX_INBOX_BYTES', 10_000)
    node = nodes.make()
    store = node._inbox.store('skeleton')
    for number in range(20):
        store(bytes([number]) * 3_000, {})
    assert [arrival.message[0] for arrival in node._inbox] == [17, 18, 19]
    assert node._counts.snapshot()['messages_overflowed'] == 17


def test_one_bad_person_does_not_take_the_others_away(listener: Listener, nodes: Nodes) -> None:
    from visualization_msgs.msg import MarkerArray

    node = nodes.start(**{'input.type': 'marker_array'})
    shown = listener.collect(PoseArray, '/motion_predictor/poses')
    people = [poses[:, :] + [0.0, 3.0 * index, 0.0] for index, poses in enumerate(walker_poses(3))]
    source = Source(listener.node, MarkerArray, '/skeleton')
    sent = 0

    def step() -> None:
        nonlocal sent
        message = marker_array([poses[sent % len(poses)] for poses in people])
        for marker in message.markers[17:34]:
            if sent % 3 == 0:
                marker.ns = 'x' * 100_000
            elif sent % 3 == 1:
                marker.id = 199
            else:
                marker.pose.position = Point(x=float('inf'), y=1e300, z=float('nan'))
        source.send(message)
        sent += 1
        listener.spin()

    wait_until(lambda: len(shown) > 10, step, 'the others')
    assert all(len(message.poses) >= 2 * 17 for message in shown[-5:])
    assert node._counts.snapshot()['persons_refused'] > 0
    assert not node._counts.snapshot()['messages_malformed']


def test_a_node_that_is_asked_to_end_does_not_wait_for_the_model(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start()
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    step = walker(listener)
    wait_until(lambda: clouds and clouds[-1].width, step, 'a prediction')
    assert node._worker is not None
    online = node._worker.session.online
    begun, may_end, ended = (threading.Event() for _ in range(3))
    run, worker = online.run, node._worker._thread

    def endless(snapshot: Any) -> Any:
        begun.set()
        may_end.wait(PATIENCE_S)
        ended.set()
        return run(snapshot)

    monkeypatch.setattr(online, 'run', endless)
    wait_until(begun.is_set, step, 'a prediction that does not end')
    node.stop()
    assert node.left_behind
    assert not ended.is_set()
    listener.wait(lambda: not clouds[-1].width, 'everything to be taken back')
    count = len(clouds)
    may_end.set()
    assert worker is not None
    listener.wait(lambda: not worker.is_alive(), 'the end of the thread')
    for _ in range(10):
        listener.spin()
    assert len(clouds) == count, 'what comes too late is not published'
    assert not node._counts.snapshot()['worker_errors']


HANGS = """
import sys, time
from motion_predictor.predict.live import LivePredictor

def hang(self, snapshot):
    print('hanging', flush=True)
    time.sleep(3600)

LivePredictor.run = hang
from motion_predictor.ros.node import main
sys.exit(main(['--ros-args', '-p', 'autostart:=true', '-p', 'model.path:=' + sys.argv[1]]))
"""


@pytest.mark.alone
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_with_0_while_the_model_is_at_work(
    listener: Listener, weights: Path, number: signal.Signals
) -> None:
    node = subprocess.Popen(
        [sys.executable, '-u', '-c', HANGS, str(weights)],
        cwd=ROOT, env=ros_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        hanging = threading.Event()
        printed: list[str] = []

        def read() -> None:
            assert node.stdout is not None
            for line in node.stdout:
                printed.append(line)
                if 'hanging' in line:
                    hanging.set()

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(hanging.is_set, walker(listener), 'a prediction that does not end')
        node.send_signal(number)
        assert node.wait(PATIENCE_S) == 0
        reader.join(PATIENCE_S)
        assert 'Traceback' not in ''.join(printed), printed
        assert 'a prediction under way is given up' in ''.join(printed)
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()


def test_the_limits_leave_room_for_what_trackers_send() -> None:
    crowd = marker_array([walker_poses()[0][0]] * 100)
    assert 10 * len(serialize_message(crowd)) < inbox.MAX_MESSAGE_BYTES
