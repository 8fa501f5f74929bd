"""The node in this process: lifecycle, parameters, inputs, frames, diagnostics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import sys
import threading
import time
import types
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
from motion_predictor.ros.diagnostics.monitoring import Counts, EventRate, LatencyLog, SequenceGaps
from motion_predictor.ros.intake.inbox import Arrival
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
from motion_predictor.ros.publish.numbers import PersonNumbers
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


def test_numbers_of_people_are_kept_and_given_anew() -> None:
    numbers = PersonNumbers()
    assert numbers.update(['left/1', '7', 'anna'])
    assert numbers.table == {'left/1': 1, '7': 7, 'anna': 0}
    assert not numbers.update(['anna', '7', 'left/1'])
    assert numbers.update(['right/1', 'left/1', '7'])
    assert numbers.table == {'left/1': 1, '7': 7, 'right/1': 2}, "0 is anna's"
    assert numbers.update(['9', 'left/1'], {'9': '7'})
    assert numbers.table == {'left/1': 1, '9': 7}, 'the same person keeps the number'
    assert numbers.update(['right/1', 'anna'])
    assert numbers.table == {'right/1': 2, 'anna': 0}, 'who comes back has the number of before'
    for count in range(1000):
        numbers.update([f'somebody {count}', 'anna'])
        assert numbers.table['anna'] == 0
        assert max(numbers.table.values()) < 50, 'numbers of those who do not come back are used'


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


def test_monitoring_counts_rates_and_percentiles() -> None:
    rate = EventRate(window_s=2.0)
    assert rate.rate_hz(0.0) == 0.0
    for index in range(50):
        rate.note(0.1 * index)
    assert rate.rate_hz(5.0) == pytest.approx(10.0)
    assert rate.rate_hz(100.0) == 0.0
    log = LatencyLog(('model', 'total'), keep=100)
    for index in range(1000):
        log.add({'model': index / 1000.0})
    assert set(log.percentiles_s(50)) == {'model'}
    assert log.percentiles_s(0, 100)['model'] == (0.9, 0.999)
    counts = Counts('a')
    counts.add('b', 3)
    assert counts.snapshot() == {'a': 0, 'b': 3}


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


def test_the_worker_warms_the_model_up_in_its_own_thread(
    nodes: Nodes, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    warm_up = Predictor.warm_up

    def noted(predictor: Predictor, *arguments: Any) -> None:
        threads.append(threading.current_thread().name)
        warm_up(predictor, *arguments)

    monkeypatch.setattr(Predictor, 'warm_up', noted)
    nodes.start()
    listener.wait(lambda: len(threads) == 2, 'the second warm-up')
    assert threads[0] != threads[1] == 'prediction worker'


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


def test_a_full_inbox_keeps_the_newest_and_counts_what_it_dropped(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.make()
    monkeypatch.setattr('motion_predictor.ros.intake.inbox.INBOX_SIZE', 8)
    store = node._inbox.store('skeleton')
    for number in range(20):
        store(number, {'publication_sequence_number': number, 'publisher_gid': {'data': b'a'}})
    assert [arrival.message for arrival in node._inbox] == list(range(12, 20))
    assert node._counts.snapshot()['messages_overflowed'] == 12


def test_what_got_lost_before_the_node_is_told_by_the_messages_numbers() -> None:
    gaps = SequenceGaps(publishers=2)

    def lost(publisher: bytes, number: int | None) -> int:
        gid = {'implementation_identifier': 'x', 'data': publisher}
        info = {'publication_sequence_number': number, 'publisher_gid': gid}
        return gaps.lost_before(info)

    assert [lost(b'a', 7), lost(b'a', 8), lost(b'a', 12), lost(b'b', 3), lost(b'b', 3)] == [
        0, 0, 3, 0, 0,
    ]  # fmt: skip
    assert lost(b'c', 100) == lost(b'd', 1) == 0
    assert lost(b'a', 100) == 0, 'long forgotten'
    assert lost(b'a', None) == 0
    assert gaps.lost_before({}) == 0


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


def test_a_lost_device_makes_the_node_go_on_on_the_cpu_and_say_so(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SIMULATED: there is no GPU in the tests. The model runs on the CPU under the name 'cuda' and
    # raises what torch raises once a CUDA context has failed; the model fallen back to is real.
    node = nodes.start()
    assert node._session is not None
    lost = node._session.predictor
    predictions_of(listener, 'pose_array', walker_poses())
    lost.device = 'cuda'

    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError('CUDA error: unspecified launch failure\nCUDA kernel errors might ...')

    monkeypatch.setattr(lost, 'predict', fail)
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(walker_poses()[0][::-1])
    wait_until(
        lambda: len(clouds) > 5,
        lambda: (source.send(ENCODERS['pose_array'][1]([next(poses)])), listener.spin())[0],
        'predictions on the CPU',
    )
    assert np.isfinite(decode_predictions(clouds[-1]).futures).all()
    counts = node._counts.snapshot()
    assert (counts['device_losses'], counts['worker_errors']) == (1, 0)
    assert node._session.predictor is not lost
    assert node._session.predictor.device == 'cpu'
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
    listener.wait(lambda: diagnostics, 'diagnostics')
    status = diagnostics[-1].status[0]
    assert status.level == DiagnosticStatus.WARN
    assert 'cuda was lost (CUDA error: unspecified launch failure)' in status.message
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == SUCCESS
    assert not node._session.lost_device


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


def test_a_gpu_that_fails_at_the_first_call_is_done_without_too(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SIMULATED: a model that claims to be on a GPU and raises what torch raises there.
    real = Predictor.load.__func__

    def load(cls: type[Predictor], path: Path, *, device: str, engine: str) -> Predictor:
        predictor = real(cls, path, device='cpu', engine=engine)
        if device == 'auto':

            def fail(*arguments: Any) -> None:
                raise RuntimeError('CUDA error: out of memory\nCUDA kernel errors might ...')

            monkeypatch.setattr(predictor, 'warm_up', fail)
        return predictor

    monkeypatch.setattr(Predictor, 'load', classmethod(load))
    node = nodes.make()
    assert node.trigger_configure() == SUCCESS
    assert node._session is not None
    assert 'CUDA error: out of memory' in node._session.lost_device


@pytest.mark.parametrize('zero_is_missing', [True, False])
def test_a_joint_at_the_origin_is_there_where_the_skeleton_says_so(zero_is_missing: bool) -> None:
    skeleton = replace(H36M17, zero_is_missing=zero_is_missing)
    xyz = np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert joints_there(xyz, skeleton).tolist() == [not zero_is_missing, False, True]


def test_a_failure_on_the_cpu_is_counted_and_the_next_prediction_tried(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start()
    assert node._session is not None
    predictor = node._session.predictor
    real, failures = predictor.predict, iter([RuntimeError('out of memory')] * 2)

    def sometimes(*arguments: Any, **settings: Any) -> Any:
        for error in failures:
            raise error
        return real(*arguments, **settings)

    monkeypatch.setattr(predictor, 'predict', sometimes)
    # the first may be used up by the warm-up in the worker's thread
    predictions_of(listener, 'pose_array', walker_poses())
    assert node._counts.snapshot()['worker_errors'] == 2
    assert node._session.predictor is predictor


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


def test_a_worker_that_has_fallen_behind_reads_what_is_timely_and_predicts_everybody(
    listener: Listener, nodes: Nodes
) -> None:
    # A minute of ten people waits, and reading all of it would take longer than the next minute.
    node = nodes.make(max_persons=10, stale_timeout_s=10.0)
    assert node.trigger_configure() == SUCCESS
    worker = node._worker
    assert worker is not None
    caught: list[Any] = []
    node._outputs['predictions'] = types.SimpleNamespace(publish=caught.append)  # type: ignore[assignment]
    people = walker_poses(10)
    encode = ENCODERS['pose_array'][1]
    frames = [encode([poses[index] for poses in people]) for index in range(50)]
    now_ns, now_s = node.get_clock().now().nanoseconds, time.perf_counter()
    for index in range(500):
        age_s = (499 - index) / 30.0
        stamp_ns = now_ns - int(age_s * 1e9)
        message = PoseArray(poses=frames[index % 50].poses)
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), 'map'
        node._inbox.append(Arrival('skeleton', message, stamp_ns, now_s - age_s))
    worker.cycle(node._settings)
    counts = node._counts.snapshot()
    assert counts['messages'] <= 50
    assert counts['messages'] + counts['messages_overdue'] == 500
    cloud = decode_predictions(caught[-1])
    assert cloud.stamp_ns == now_ns
    assert len(cloud.persons) == 10


@pytest.mark.parametrize(
    'parameters,cycle_s,answered',
    [
        ({'catch_up_s': 1.0}, 0.001, 4),
        ({'catch_up_s': 0.0}, 0.001, 1),
        ({}, 0.026, 1),  # four of these take longer than 0.1 s
        ({'catch_up_s': 1.0}, 0.03, 1),  # at 30 Hz it would never catch up
        ({'rate_limit_hz': 30.0}, 0.001, 1),
    ],
)
def test_a_short_backlog_is_predicted_frame_by_frame_if_there_is_time_for_it(
    nodes: Nodes, parameters: dict[str, Any], cycle_s: float, answered: int
) -> None:
    node = nodes.make(stale_timeout_s=60.0, **parameters)
    assert node.trigger_configure() == SUCCESS
    worker = node._worker
    assert worker is not None
    caught: list[Any] = []
    node._outputs['predictions'] = types.SimpleNamespace(publish=caught.append)  # type: ignore[assignment]
    encoded = [ENCODERS['pose_array'][1]([pose]) for pose in walker_poses()[0][:30]]
    now_ns, now_s = node.get_clock().now().nanoseconds, time.perf_counter()
    stamps = [now_ns - int((29 - index) / 30.0 * 1e9) for index in range(30)]
    for index, (message, stamp_ns) in enumerate(zip(encoded, stamps)):
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), 'map'
        arrived_s = now_s - (29 - index) / 30.0
        node._inbox.append(Arrival('skeleton', message, stamp_ns, arrived_s))
        if index == 25:  # so far it kept up, and was idle
            worker.cycle(node._settings)
            worker.cycle(node._settings)
            caught.clear()
            worker.pace.due_s = 0.0
            worker.pace.cycles_s.extend([cycle_s] * 9)
    while node._inbox:
        worker.cycle(node._settings)
    assert [decode_predictions(cloud).stamp_ns for cloud in caught] == stamps[-answered:]
    counts = node._counts.snapshot()
    assert counts['frames_answered'] + counts['frames_skipped'] == counts['frames_stored'] == 30


def test_of_a_flood_as_many_messages_as_can_be_read_are_taken_evenly(nodes: Nodes) -> None:
    node = nodes.make()
    assert node.trigger_configure() == SUCCESS
    assert node._session is not None
    for index in range(500):
        node._inbox.append(Arrival('skeleton', index, 0, index / 1000.0))
    subscriptions = node._session.input.subscriptions
    taken = [
        arrival.message for arrival in node._inbox.take_timely(subscriptions, len(node._inbox))
    ]
    assert len(taken) == 50
    assert (taken[0], taken[-1]) == (0, 499)
    assert max(np.diff(taken)) <= 11
    assert node._counts.snapshot()['messages_overdue'] == 450
