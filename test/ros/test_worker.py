# SPDX-License-Identifier: Apache-2.0
"""The worker: its thread, a backlog, and a device that fails."""

from __future__ import annotations

from pathlib import Path
import threading
import time
import types
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from node_rig import Nodes, predictions_of, SUCCESS
from ros_harness import Listener, Source, wait_until, walker_poses
from sensor_msgs.msg import PointCloud2

from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.intake.inbox import Arrival
from motion_predictor.ros.messages import (
    decode_predictions,
    ns_to_stamp,
)
from motion_predictor.ros.replay import ENCODERS


def listened_to(caught: list[PointCloud2]) -> types.SimpleNamespace:
    """Return a publisher whose messages are caught before DDS: when each is made counts here."""
    return types.SimpleNamespace(publish=caught.append, get_subscription_count=lambda: 1)


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


def test_a_lost_device_makes_the_node_go_on_on_the_cpu_and_say_so(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SIMULATED: there is no GPU in the tests. The model runs on the CPU under the name 'cuda' and
    # raises what torch raises once a CUDA context has failed; the model fallen back to is real.
    node = nodes.start()
    assert node._session is not None
    lost = node._session.predictor
    predictions_of(listener, 'pose_array', walker_poses())

    def fail(*arguments: Any, **options: Any) -> Any:
        lost.device = 'cuda'  # not before: the worker may still be at an earlier frame
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


def test_a_worker_that_has_fallen_behind_reads_what_is_timely_and_predicts_everybody(
    listener: Listener, nodes: Nodes
) -> None:
    # A minute of ten people waits, and reading all of it would take longer than the next minute.
    node = nodes.make(max_persons=10, stale_timeout_s=10.0)
    assert node.trigger_configure() == SUCCESS
    worker = node._worker
    assert worker is not None
    caught: list[Any] = []
    node._outputs['predictions'] = listened_to(caught)  # type: ignore[assignment]
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
    node._outputs['predictions'] = listened_to(caught)  # type: ignore[assignment]
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
