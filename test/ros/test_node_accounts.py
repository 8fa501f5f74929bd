# SPDX-License-Identifier: Apache-2.0
"""The node in this process: odd messages, bursts and clocks, and how it accounts for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from node_rig import Nodes, predictions_of, SUCCESS
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter as RosParameter
from ros_harness import DOMAIN, Listener, Source, wait_until, walker_poses
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
import torch
from visualization_msgs.msg import MarkerArray

from motion_predictor.body.layout import joints_there
from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.diagnostics.complaints import about_counters
from motion_predictor.ros.loading import load_predictor
from motion_predictor.ros.messages import (
    decode_predictions,
    MessageError,
    ns_to_stamp,
)
from motion_predictor.ros.node import MotionPredictorNode
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.publishing import output_frames
from motion_predictor.ros.replay import ENCODERS
from motion_predictor.ros.session import make_online


@pytest.mark.parametrize(
    'step_s, horizon_s, first, last, count',
    [
        (0.1, 2.0, 4, 99, 20),
        (0.02, 2.0, 0, 99, 100),
        (0.1, 0.55, 4, 24, 5),
        (0.5, 60.0, 24, 99, 4),
        (2.0, 2.0, 99, 99, 1),
        (0.02, 0.02, 0, 0, 1),
    ],
)
def test_published_steps_lie_on_the_models_frames(
    step_s: float, horizon_s: float, first: int, last: int, count: int
) -> None:
    settings = Settings.from_values({'output.step_s': step_s, 'horizon_s': horizon_s})
    frames = output_frames(settings, 50.0, 100)
    assert (frames[0], frames[-1], len(frames)) == (first, last, count)


def test_message_errors_are_errors_of_values() -> None:
    assert issubclass(MessageError, ValueError)


def test_joints_that_are_all_nan_take_the_prediction_back_and_are_not_nobody(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(stale_timeout_s=60.0)
    poses = walker_poses()
    predictions_of(listener, 'pose_array', poses)
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    points = listener.collect(PoseArray, '/motion_predictor/poses')
    source = Source(listener.node, PoseArray, '/skeleton')
    message = ENCODERS['pose_array'][1]([poses[0][0]])
    for pose in message.poses:
        pose.position.x = float('nan')

    def taken_back() -> bool:
        source.send(message)
        listener.spin()
        return bool(clouds) and not clouds[-1].width and len(points) > 5

    wait_until(taken_back, lambda: None, 'the futures to be taken back')
    counts = node._counts.snapshot()
    assert counts['messages_empty'] == 0
    assert counts['frames_refused'] > 0
    assert all(len(array.poses) == 4 * 17 for array in points), 'where they were last'


def test_messages_without_a_stamp_are_counted_and_predicted_at_their_arrival(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start()
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    publisher = listener.node.create_publisher(PoseArray, '/skeleton', 10)
    begun_ns = node.get_clock().now().nanoseconds
    for pose in walker_poses()[0]:
        publisher.publish(ENCODERS['pose_array'][1]([pose]))
        time.sleep(0.02)  # a tracker's pace: spinning alone may return at once
        listener.spin()
        if clouds:
            break
    assert decode_predictions(clouds[-1]).stamp_ns > begun_ns
    assert node._counts.snapshot()['messages_without_stamp'] > 0


def test_parameters_change_where_ros_has_no_callback_after_the_change(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(rclpy.node.Node, 'add_post_set_parameters_callback')
    node = nodes.make()
    assert node.set_parameters([RosParameter('samples', value=7)])[0].successful
    assert node._settings.samples == 7


def test_the_reference_point_is_turned_level_with_the_input(weights: Path) -> None:
    predictor = Predictor.load(weights)
    settings = Settings.from_values(
        {'reference_point_m': [0.0, 0.0, 3.0], 'input.rotation': [-np.pi / 2, 0.0, 0.0]}
    )
    online = make_online(predictor, layout('h36m17'), settings)
    # three metres ahead of a camera that looks along +y
    np.testing.assert_allclose(online.people._tracks.reference_m, [0.0, 3.0, 0.0], atol=1e-9)


def test_changes_of_frame_are_told_and_a_new_session_is_no_news() -> None:
    new = {'resets_frame_change': 2, 'deadline_misses': -5}
    assert about_counters(new) == ['2 changes of frame_id (set target_frame)']


def test_an_empty_message_without_a_stamp_follows_the_trackers_clock(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'input.type': 'marker_array'})
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    publisher = listener.node.create_publisher(MarkerArray, '/skeleton', 10)
    poses = iter(np.tile(walker_poses()[0], (4, 1, 1)))

    def send_an_old_pose() -> int:
        message = ENCODERS['marker_array'][1]([next(poses)])
        stamp_ns = listener.node.get_clock().now().nanoseconds - 1_000_000_000_000
        for marker in message.markers:
            marker.header.stamp = ns_to_stamp(stamp_ns)
        publisher.publish(message)
        time.sleep(0.02)  # a tracker's pace: spinning alone may return at once
        listener.spin()
        return stamp_ns

    wait_until(lambda: clouds, send_an_old_pose, 'the first prediction')
    publisher.publish(MarkerArray())
    after_ns = send_an_old_pose()
    wait_until(
        lambda: clouds[-1].width and decode_predictions(clouds[-1]).stamp_ns > after_ns,
        send_an_old_pose,
        'a prediction after the empty message',
    )


def settled_counts(listener: Listener, node: MotionPredictorNode) -> dict[str, int]:
    """Wait until the worker has taken in what arrived."""
    listener.wait(lambda: not node._inbox, 'an empty inbox')
    return node._counts.snapshot()


def test_a_burst_is_answered_by_its_newest_frame_and_every_frame_is_accounted_for(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start()
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    message_type, encode = ENCODERS['pose_array']
    publisher = listener.node.create_publisher(message_type, '/skeleton', 500)
    infos: list[dict[str, object]] = []
    listener.node.create_subscription(
        message_type, '/skeleton', lambda message, info: infos.append(info), 1
    )
    listener.wait(lambda: publisher.get_subscription_count() > 1, 'the node to listen')
    listener.spin()
    now_ns = listener.node.get_clock().now().nanoseconds
    poses = walker_poses()[0]
    sent = [now_ns + (index - 360) * 1_000_000_000 // 360 for index in range(360)]  # 360 Hz
    for index, stamp_ns in enumerate(sent):
        message = encode([poses[index * 50 // 360] + 1e-4 * index])
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = 'map'
        publisher.publish(message)
        if index % 10 == 0:
            listener.spin()
    listener.wait(
        lambda: clouds and decode_predictions(clouds[-1]).stamp_ns == sent[-1],
        'a prediction of the newest frame',
    )
    counts = settled_counts(listener, node)
    ways = ('', '_lost', '_overflowed', '_overdue')
    if 'publisher_gid' in infos[-1]:  # Jazzy's rclpy does not say who published
        assert sum(counts[f'messages{way}'] for way in ways) >= 350
    assert counts['messages'] == counts['frames_stored'] + counts['frames_refused']
    listener.wait(
        lambda: sum(
            node._counts.snapshot()[f'frames_{name}']
            for name in ('answered', 'skipped', 'unpredicted')
        ) == counts['frames_stored'],
        'every stored frame to be accounted for',
    )  # fmt: skip


def test_joints_are_counted_by_what_is_wrong_with_them(listener: Listener, nodes: Nodes) -> None:
    node = nodes.start()
    pose = walker_poses()[0][0].copy()
    pose[1], pose[2], pose[3] = np.nan, 0.0, [np.inf, 0.0, 0.0]
    source = Source(listener.node, PoseArray, '/skeleton')
    message = ENCODERS['pose_array'][1]([pose])
    wait_until(
        lambda: node._counts.snapshot()['joints_at_origin'] > 0,
        lambda: (source.send(message, frame_id=''), listener.spin())[0],
        'joints at the origin',
    )
    counts = node._counts.snapshot()
    assert counts['joints_not_finite'] >= 2 * counts['joints_at_origin'] > 0
    assert counts['messages_without_frame'] > 0


def test_a_gpu_that_fails_at_configure_is_done_without_and_said(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SIMULATED: torch is told that there is a GPU; what it then raises is its own.
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    node = nodes.start()
    assert node._session is not None
    assert node._session.predictor.device == 'cpu'
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
    listener.wait(lambda: diagnostics, 'diagnostics')
    status = diagnostics[-1].status[0]
    assert status.level == DiagnosticStatus.WARN
    assert re.match(r'the device of model\.device=auto failed \(.+\): predicting on the CPU',
                    status.message)  # fmt: skip
    assert node._counts.snapshot()['device_losses'] == 1
    assert np.isfinite(predictions_of(listener, 'pose_array', walker_poses()).futures).all()
    with pytest.raises(ConfigError, match=r"model\.device='cuda': failed .+ 'auto' goes on"):
        load_predictor(node._settings.changed({'model.device': 'cuda'}))


@pytest.mark.parametrize('zero_is_missing', [True, False])
def test_a_joint_at_the_origin_is_there_where_the_skeleton_says_so(zero_is_missing: bool) -> None:
    skeleton = replace(H36M17, zero_is_missing=zero_is_missing)
    xyz = np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert joints_there(xyz, skeleton).tolist() == [not zero_is_missing, False, True]


def test_counters_go_on_over_a_clean_up(listener: Listener, nodes: Nodes) -> None:
    node = nodes.start()
    predictions_of(listener, 'pose_array', walker_poses())
    assert node._session is not None
    stored = node._session.online.counters['poses_accepted']
    assert stored > 0
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS
    assert node._counts.snapshot()['poses_accepted'] >= stored


def test_a_simulated_clock_set_back_resets_and_predictions_go_on(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.make(use_sim_time=True)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    clock = listener.node.create_publisher(Clock, '/clock', 10)
    message_type, encode = ENCODERS['pose_array']
    publisher = listener.node.create_publisher(message_type, '/skeleton', 10)
    for begin_s in (1000, 100):  # a bag that is played again
        count = len(clouds)
        for index, pose in enumerate(walker_poses()[0]):
            stamp_ns = begin_s * 1_000_000_000 + index * 20_000_000
            clock.publish(Clock(clock=ns_to_stamp(stamp_ns)))
            wait_until(
                lambda wanted=stamp_ns: node.get_clock().now().nanoseconds == wanted,
                listener.spin,
                'the time',
            ) if index else [listener.spin() for _ in range(20)]
            message = encode([pose])
            message.header.stamp = ns_to_stamp(stamp_ns)
            message.header.frame_id = 'map'
            taken = node._counts.snapshot()['messages']
            publisher.publish(message)
            for _ in range(50):  # simulated time must not run ahead of the node that lives in it
                listener.spin()
                if node._counts.snapshot()['messages'] > taken:
                    break
            if len(clouds) > count + 3 and clouds[-1].width:
                break
        newest = decode_predictions(clouds[-1])
        assert len(newest.persons) == 1
        assert begin_s <= newest.stamp_ns * 1e-9 < begin_s + 30
    assert node._counts.snapshot()['resets_clock_jump'] >= 1
    assert node._counts.snapshot()['worker_errors'] == 0


def test_a_subscriber_that_takes_nothing_holds_nobody_up(listener: Listener, nodes: Nodes) -> None:
    idle = Context()
    rclpy.init(context=idle, domain_id=DOMAIN)
    sleeper = rclpy.node.Node('sleeper', context=idle)  # never spun
    sleeper.create_subscription(PointCloud2, '/motion_predictor/predictions', print, 1)
    nodes.start()
    publishers = listener.node.get_publishers_info_by_topic
    listener.wait(lambda: publishers('/motion_predictor/predictions'), 'the topic')
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (4, 1, 1)))
    wait_until(
        lambda: len(clouds) > 30,
        lambda: (
            source.send(ENCODERS['pose_array'][1]([next(poses)])), listener.spin()
        )[0],
        'predictions for those who take them',
    )  # fmt: skip
    sleeper.destroy_node()
    rclpy.try_shutdown(context=idle)
