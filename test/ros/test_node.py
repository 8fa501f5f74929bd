# SPDX-License-Identifier: Apache-2.0
"""The node in this process: lifecycle, parameters, inputs, frames."""

from __future__ import annotations

from dataclasses import replace
import gc
from pathlib import Path
import sys
import threading
import time
from typing import Any
import weakref

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_rig import FAILURE, Nodes, predictions_of, SUCCESS
from random_models import save_random
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, Source, wait_until, walker_poses
from sensor_msgs.msg import PointCloud2

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.ros.intake.transforms import FrameTransforms
from motion_predictor.ros.messages import (
    CloudEncoder,
    decode_predictions,
)
from motion_predictor.ros.parameters import PARAMETERS
from motion_predictor.ros.parameters.declare import ros_descriptor
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.ros.replay import ENCODERS
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


def test_full_collections_look_at_what_is_loaded_only_until_configure(nodes: Nodes) -> None:
    loaded = len(gc.get_objects())
    node = nodes.make()
    node.owns_process = True
    assert node.trigger_configure() == SUCCESS
    assert gc.get_freeze_count() >= 0.9 * loaded
    assert len(gc.get_objects()) < 0.1 * loaded
    assert node.trigger_cleanup() == SUCCESS
    assert gc.get_freeze_count() == 0


def test_a_node_among_others_leaves_their_collector_alone(nodes: Nodes) -> None:
    node = nodes.make()
    assert node.trigger_configure() == SUCCESS
    assert gc.get_freeze_count() == 0, 'a closed node of this process would stay in the graph'


def test_a_model_is_let_go_at_clean_up_and_not_when_python_comes_round_to_it(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start()
    assert node._session is not None
    model = weakref.ref(node._session.predictor)
    gc.disable()
    try:
        assert node.trigger_deactivate() == SUCCESS
        assert node.trigger_cleanup() == SUCCESS
        assert model() is None
    finally:
        gc.enable()
