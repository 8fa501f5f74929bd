"""The node in this process: lifecycle, parameters, inputs, frames, diagnostics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_rig import FAILURE, Nodes, predictions_of, SUCCESS
from random_models import save_random
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
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
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.diagnostics.complaints import about_counters
from motion_predictor.ros.intake.transforms import FrameTransforms
from motion_predictor.ros.loading import load_predictor
from motion_predictor.ros.messages import (
    CloudEncoder,
    decode_predictions,
    MessageError,
    ns_to_stamp,
)
from motion_predictor.ros.node import MotionPredictorNode
from motion_predictor.ros.parameters import PARAMETERS, Settings
from motion_predictor.ros.parameters.declare import ros_descriptor
from motion_predictor.ros.publish.publishing import output_frames
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.ros.replay import ENCODERS
from motion_predictor.ros.session import make_online
from motion_predictor.sources.tf.tree import Pose


@pytest.mark.parametrize('kind', sorted(ENCODERS))
def test_two_people_are_predicted_whatever_the_message(
    listener: Listener, nodes: Nodes, kind: str
) -> None:
    nodes.start(**{'input.type': kind})
    cloud = predictions_of(listener, kind, walker_poses(2))
    assert sorted(cloud.persons.tolist()) == [0, 1]
    assert cloud.futures.shape == (2, 4, 20, 17, 3)
    assert np.isfinite(cloud.futures).all()
    assert cloud.frame_id == 'map'


def test_millimetres_in_an_optical_frame_come_back_in_metres_in_that_frame(
    listener: Listener, nodes: Nodes
) -> None:
    level = walker_poses()[0]
    optical = np.stack([level[..., 0], -level[..., 2], level[..., 1]], axis=-1)

    nodes.start(**{'input.units_scale': 0.001, 'input.rotation': [-np.pi / 2, 0.0, 0.0]})
    cloud = predictions_of(listener, 'pose_array', [1000.0 * optical], 'camera_optical')
    assert cloud.frame_id == 'camera_optical'
    first = cloud.futures[0, :, 0]  # (S, J, 3), 0.1 s ahead
    # y points down in this frame: the head must lie above the ankles, that is at smaller y.
    head, ankle = first[:, 10, 1].mean(), first[:, 3, 1].mean()
    assert -2.5 < head < ankle < 0.5


def test_several_topics_are_told_apart(listener: Listener, nodes: Nodes) -> None:
    nodes.start(**{'input.topics': ['left', 'right']})
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    message_type, encode = ENCODERS['pose_array']
    sources = [Source(listener.node, message_type, topic, 0.01) for topic in ('left', 'right')]
    for poses in zip(*walker_poses(2)):
        for source, pose in zip(sources, poses):
            source.send(encode([pose]))
            listener.spin()
        if clouds and len(decode_predictions(clouds[-1]).persons) == 2:
            break
    assert sorted(decode_predictions(clouds[-1]).persons.tolist()) == [0, 1]


def test_the_lifecycle_services_answer_and_a_deactivated_node_is_silent(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.make()
    change = listener.node.create_client(ChangeState, '/motion_predictor/change_state')
    get = listener.node.create_client(GetState, '/motion_predictor/get_state')
    listener.wait(change.service_is_ready, 'the lifecycle services')

    def request(transition: int) -> str:
        asked = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        listener.wait(asked.done, 'a transition')
        assert asked.result().success
        state = get.call_async(GetState.Request())
        listener.wait(state.done, 'the state')
        return str(state.result().current_state.label)

    assert request(Transition.TRANSITION_CONFIGURE) == 'inactive'
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    for _ in range(2):
        assert request(Transition.TRANSITION_ACTIVATE) == 'active'
        predictions_of(listener, 'pose_array', walker_poses())
        assert request(Transition.TRANSITION_DEACTIVATE) == 'inactive'
        listener.wait(lambda: clouds and not clouds[-1].width, 'the futures to be taken back')
    assert request(Transition.TRANSITION_CLEANUP) == 'unconfigured'
    assert request(Transition.TRANSITION_CONFIGURE) == 'inactive'
    assert request(Transition.TRANSITION_ACTIVATE) == 'active'
    assert request(Transition.TRANSITION_ACTIVE_SHUTDOWN) == 'finalized'


def test_autostart_configures_and_activates(listener: Listener, nodes: Nodes) -> None:
    nodes.make(autostart=True)
    predictions_of(listener, 'pose_array', walker_poses())


def test_configure_fails_with_a_reason_and_can_be_tried_again(
    listener: Listener, nodes: Nodes, weights: Path, tmp_path: Path
) -> None:
    truncated = tmp_path / 'truncated.safetensors'
    truncated.write_bytes(weights.read_bytes()[:500])
    node = nodes.make(**{'model.path': str(truncated)})
    assert node.trigger_configure() == FAILURE
    good = RosParameter('model.path', value=str(weights))
    assert node.set_parameters([good])[0].successful
    assert node.trigger_configure() == SUCCESS


@pytest.mark.parametrize(
    'parameters, words',
    [
        ({'samples': 0}, ['samples', '1 to 1000']),
        ({'samples': 1.5}, ['samples', 'integer']),
        ({'input.type': 'poses'}, ["input.type='poses'", 'pose_array']),
        ({'output.step_s': 5.0}, ['output.step_s=5', 'horizon_s=2']),
    ],
)
def test_a_bad_parameter_is_refused_at_the_start(
    nodes: Nodes, parameters: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        nodes.make(**parameters)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    'change, words',
    [
        ({'samples': 100_000}, ['samples']),
        ({'output.step_s': 9.0}, ['output.step_s=9', 'horizon_s=2']),
        ({'model.device': 'cpu'}, ['model.device', 'configure']),
        ({'horizon_s': 5.0}, ['horizon_s=5', 'tiny predicts 2 s', 'at most']),
        ({'diagnostics.period_s': 2.0}, ['read-only']),
    ],
)
def test_a_bad_change_is_refused_with_a_reason_while_running(
    nodes: Nodes, change: dict[str, Any], words: list[str]
) -> None:
    node = nodes.start()
    ((name, value),) = change.items()
    before = node.get_parameter(name).value
    result = node.set_parameters([RosParameter(name, value=value)])[0]
    assert not result.successful
    assert all(word in result.reason for word in words), result.reason
    assert node.get_parameter(name).value == before


def test_a_horizon_beyond_the_model_is_refused_at_configure_and_the_default_is_cut(
    listener: Listener, nodes: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    short = WindowConfig(future_frames=50)
    path = save_random(tmp_path / 'short.safetensors', window=short)
    node = nodes.make(**{'model.path': str(path), 'horizon_s': 1.5})
    assert node.trigger_configure() == FAILURE
    assert 'horizon_s=1.5: short predicts 1 s; set at most that' in capfd.readouterr().err
    assert node.set_parameters([RosParameter('horizon_s', value=2.0)])[0].successful
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    cloud = predictions_of(listener, 'pose_array', walker_poses())
    assert cloud.times_s[-1] == pytest.approx(1.0)


def test_no_cloud_is_built_that_is_not_published(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(CloudEncoder, 'encode', lambda *given: built.append(given))
    node = nodes.start(**{'publish.predictions': False})
    poses = listener.collect(PoseArray, '/motion_predictor/poses')
    source = Source(listener.node, PoseArray, '/skeleton')
    walk = iter(np.tile(walker_poses()[0], (60, 1, 1)))
    wait_until(
        lambda: len(poses) > 3 and node._counts.snapshot()['predictions'] > 3,
        lambda: (source.send(ENCODERS['pose_array'][1]([next(walk)])), listener.spin())[0],
        'predictions',
    )
    assert node.trigger_deactivate() == SUCCESS
    assert not built


def test_a_good_change_applies_to_the_next_prediction(listener: Listener, nodes: Nodes) -> None:
    node = nodes.start()
    changes = {'samples': 3, 'output.step_s': 0.5, 'horizon_s': 1.0}
    results = node.set_parameters([RosParameter(n, value=v) for n, v in changes.items()])
    assert all(result.successful for result in results)
    cloud = predictions_of(listener, 'pose_array', walker_poses())
    assert cloud.futures.shape == (1, 3, 2, 17, 3)
    np.testing.assert_allclose(cloud.times_s, [0.5, 1.0])


def test_every_parameter_is_described_to_ros(nodes: Nodes) -> None:
    node = nodes.make()
    for parameter in PARAMETERS:
        descriptor = node.describe_parameter(parameter.name)
        assert descriptor.description.startswith(parameter.description)
        assert descriptor.read_only == parameter.read_only
        if parameter.maximum is not None:
            ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
            assert [r.to_value for r in ranges] == [parameter.maximum]
    assert ros_descriptor(PARAMETERS[0]).name == PARAMETERS[0].name


def test_a_target_frame_without_tf2_is_refused_with_the_package_to_install(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ('tf2_msgs', 'tf2_msgs.msg'):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match='tf2-msgs'):
        FrameTransforms(None, 'map')
    assert nodes.make(target_frame='map').trigger_configure() == FAILURE


def test_people_are_predicted_in_the_target_frame(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    left = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])

    class Known(FrameTransforms):
        def __init__(self, node: Any, target_frame: str, changed: Any) -> None:
            self.target_frame = target_frame

        def lookup(self, frame_id: str, stamp_ns: int) -> Pose | None:
            asked.append((self.target_frame, frame_id, stamp_ns))
            return left, np.array([100.0, 0.0, 0.0])

        def catch_up(self) -> None:
            pass

        def target_in_root(self, now_ns: int) -> None:  # asked for by the diagnostics
            return None

        def close(self) -> None:
            pass

    monkeypatch.setattr('motion_predictor.ros.node.FrameTransforms', Known)
    nodes.start(target_frame='hall')
    poses = walker_poses()[0]
    poses = poses - poses[0, 0] * [1.0, 1.0, 0.0] + [5.0, 0.0, 0.0]
    cloud = predictions_of(listener, 'pose_array', [poses, poses - [0.0, 2.0, 0.0]], 'camera')
    assert cloud.frame_id == 'hall'
    assert len(asked) == len(set(asked)), 'people of one message share one look-up'
    assert {(target, source) for target, source, _ in asked} == {('hall', 'camera')}
    root = cloud.futures[cloud.persons.tolist().index(0), :, 0, 0].mean(axis=0)
    # 90 degrees to the left, then 100 m along x: five metres ahead are now five to the left
    assert np.linalg.norm(root[:2] - [100.0, 5.0]) < 2.0


def test_a_node_lives_in_a_users_own_executor(listener: Listener, nodes: Nodes) -> None:
    node = nodes.make(autostart=True)
    listener.executor.remove_node(node)
    executor = SingleThreadedExecutor(context=listener.context)
    executor.add_node(node)
    listener.wait(
        lambda: (executor.spin_once(timeout_sec=0.01), node.count_publishers('/skeleton') == 0
                 and node.count_subscribers('/skeleton') == 1)[1],
        'the node to subscribe',
    )  # fmt: skip
    executor.remove_node(node)


@pytest.mark.parametrize('pause_s', [0.0, 0.003, 0.02])
def test_a_context_that_is_shut_down_ends_the_threads_without_a_trace(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, pause_s: float
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(threading, 'excepthook', raised.append)
    listener = Listener()
    nodes = Nodes(listener, weights)
    node = nodes.start(**{'diagnostics.period_s': 0.1})
    predictions_of(listener, 'pose_array', walker_poses(1))
    assert node._worker is not None
    worker, publishing = node._worker._thread, node._worker.publishing
    assert worker is not None
    time.sleep(pause_s)
    rclpy.try_shutdown(context=listener.context)
    worker.join(60.0)
    assert not worker.is_alive(), 'the worker ends with its context'
    # what is built in the background is handed over after the end, too
    summaries, settings = publishing.summaries, node._settings
    made = threading.Event()

    def encode(*arguments: Any) -> Any:
        made.set()
        return SUMMARIES['occupancy'].message_type()

    monkeypatch.setitem(SUMMARIES, 'occupancy', replace(SUMMARIES['occupancy'], encode=encode))
    summaries.publish('occupancy', None, settings)  # type: ignore[arg-type]
    assert made.wait(60.0)
    nodes.close()
    listener.close()
    assert not raised, [each.exc_value for each in raised]
    assert 'Traceback' not in capfd.readouterr().err


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
    np.testing.assert_allclose(online.people._tracks._reference_m, [0.0, 3.0, 0.0], atol=1e-9)


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


# Bad days


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
    listener.wait(publisher.get_subscription_count, 'the node to listen')
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
