# SPDX-License-Identifier: Apache-2.0
"""Over real DDS: replay process, then node process, then a subscriber that checks what it gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
import itertools
import json
from pathlib import Path
import signal
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from ros_harness import (
    Listener,
    PATIENCE_S,
    process,
    ROOT,
    Source,
    there_and_back,
    wait_until,
    walker_poses,
)
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.ros.messages import decode_predictions, DecodedPredictions
from motion_predictor.ros.replay import pose_array

SAMPLES = 6
NODE = 'motion_predictor'
REPLAY = 'motion_predictor.ros.replay'


class Running:
    """A node process with everything it publishes."""

    def __init__(self, listener: Listener, node: Any) -> None:
        self.listener = listener
        self.node = node
        self.clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
        self.markers = listener.collect(MarkerArray, '/motion_predictor/markers')
        self.models = listener.collect(String, '/motion_predictor/model', latched=True)
        self.diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
        self.inputs = listener.collect(PoseArray, '/skeleton')

    def next_cloud(self) -> DecodedPredictions:
        """Wait for the next cloud."""
        count = len(self.clouds)
        self.listener.wait(lambda: len(self.clouds) > count, 'a prediction')
        return decode_predictions(self.clouds[count])

    def values(self) -> dict[str, str]:
        """Wait for the next diagnostics."""
        count = len(self.diagnostics)
        self.listener.wait(lambda: len(self.diagnostics) > count, 'diagnostics')
        return {entry.key: entry.value for entry in self.diagnostics[-1].status[0].values}

    def nobody(self) -> DecodedPredictions:
        """Wait until the node has taken its predictions back."""
        self.listener.wait(lambda: self.clouds and not self.clouds[-1].width, 'an empty cloud')
        return decode_predictions(self.clouds[-1])


@pytest.fixture(scope='module')
def refused(weights: Path) -> Iterator[dict[str, Any]]:
    """Start nodes that must refuse to start; they run beside the other tests."""
    truncated = weights.with_name('truncated.safetensors')
    truncated.write_bytes(weights.read_bytes()[:-1000])
    common = {'autostart': True, 'model.path': weights}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(process(NODE, {**common, **parameters}))
            for name, parameters in {
                'out of range': {'samples': 0},
                'truncated': {'model.path': truncated},
            }.items()
        }


@pytest.fixture(scope='module')
def running(weights: Path, refused: dict[str, Any]) -> Iterator[Running]:
    parameters = {
        'autostart': True,
        'model.path': weights,
        'samples': SAMPLES,
        'diagnostics.period_s': 0.5,
        'stale_timeout_s': 0.6,
    }
    # With the shipped profile, so that it is seen to be understood.
    profile = str(ROOT / 'config' / 'fastdds_large_messages.xml')
    variables = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    listener = Listener()
    with process(NODE, parameters, **dict.fromkeys(variables, profile)) as node:
        yield Running(listener, node)
        for _ in range(2):  # as `ros2 launch` does after a terminal has
            node.send_signal(signal.SIGINT)
        output, _ = node.communicate(timeout=PATIENCE_S)
        listener.close()
    assert node.returncode == 0, output
    assert 'Traceback' not in output
    assert 'XML' not in output


def check_cloud(cloud: DecodedPredictions, persons: int) -> None:
    assert cloud.futures.shape == (persons, SAMPLES, 20, 17, 3)
    assert np.isfinite(cloud.futures).all()
    assert cloud.frame_id == 'map'
    np.testing.assert_allclose(cloud.times_s, 0.1 * np.arange(1, 21), rtol=1e-5)
    np.testing.assert_allclose(cloud.weights.sum(axis=1), 1.0, rtol=1e-5)


def test_a_replayed_person_is_predicted_until_the_source_stops_and_again_after(
    running: Running,
) -> None:
    replayed = {'path': 'synthetic', 'rate_hz': 30.0, 'wait_for_subscribers': 2}
    stamps: list[int] = []
    for _ in range(2):
        with process(REPLAY, replayed):
            for _ in range(5):
                cloud = running.next_cloud()
                check_cloud(cloud, persons=1)
                assert cloud.persons.tolist() == [0]
                stamps.append(cloud.stamp_ns)
        empty = running.nobody()
        assert empty.stamp_ns >= stamps[-1]
        assert empty.frame_id == 'map'
    assert stamps == sorted(set(stamps))
    sent = {message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            for message in running.inputs}  # fmt: skip
    assert set(stamps) <= sent, 'a stamp is not that of an observation'


def test_two_people_are_predicted_at_once_and_one_may_leave(running: Running) -> None:
    source = Source(running.listener.node, PoseArray, '/skeleton')
    people = walker_poses(2)
    frame = 0

    def walk(count: int) -> None:
        nonlocal frame
        source.send(pose_array([there_and_back(poses, frame) for poses in people[:count]]))
        frame += 1
        running.listener.spin()

    def last_persons() -> list[int]:
        return decode_predictions(running.clouds[-1]).persons.tolist() if running.clouds else []

    def walk_until(count: int, persons: list[int]) -> DecodedPredictions:
        wait_until(lambda: last_persons() == persons, lambda: walk(count), f'people {persons}')
        return decode_predictions(running.clouds[-1])

    both = walk_until(2, [0, 1])
    check_cloud(both, persons=2)
    newest = np.array([there_and_back(poses, frame - 1)[0] for poses in people])
    start = both.futures[:, :, 0, 0].mean(axis=1)  # (2, 3), the roots soon after
    assert np.linalg.norm(start - newest, axis=-1).max() < 3.0, 'not near where people are'
    shown = running.markers
    running.listener.wait(
        lambda: (walk(2), any(m.ns == 'person_1' for a in shown for m in a.markers))[1],
        'markers of the second person',
    )
    walk_until(1, [0])
    running.listener.wait(
        lambda: (walk(1), {('person_1', Marker.DELETE)} <= {
            (m.ns, m.action) for a in shown for m in a.markers})[1],
        'deletion of the markers of the second person',
    )  # fmt: skip
    count = len(running.clouds)
    running.nobody()
    empty = [cloud for cloud in running.clouds[count:] if not cloud.width]
    assert len(empty) == 1, 'nobody must be said once'


def test_missing_joints_never_become_nan(running: Running) -> None:
    source = Source(running.listener.node, PoseArray, '/skeleton')
    poses = walker_poses()[0].copy()
    missing = np.random.default_rng(0).random(poses.shape[:2]) < 0.1
    poses[missing] = np.nan
    poses[::7, 3] = 0.0
    before = len(running.clouds)
    frames = itertools.count()

    def walk() -> None:
        source.send(pose_array([there_and_back(poses, next(frames))]))
        running.listener.spin()

    what = 'predictions from poses that lack joints'
    wait_until(lambda: len(running.clouds) >= before + 10, walk, what)
    for message in running.clouds[before:]:
        assert np.isfinite(decode_predictions(message).futures).all()
    counted = running.values()
    assert int(counted['joints_not_finite']) + int(counted['joints_missing']) > 0
    assert int(counted['windows_filled']) > 0


def test_a_message_of_the_wrong_size_is_counted_and_does_no_harm(running: Running) -> None:
    source = Source(running.listener.node, PoseArray, '/skeleton')
    broken = pose_array([walker_poses()[0][0][:12]])
    running.listener.wait(
        lambda: (source.send(broken), int(running.values()['messages_malformed']) > 0)[1],
        'a malformed message to be counted',
    )
    assert int(running.values()['worker_errors']) == 0


def test_diagnostics_and_model_explain_the_stream(running: Running) -> None:
    values = running.values()
    assert values['state'] == 'active'
    assert values['model'] == 'tiny'
    for stage in ('queue', 'history', 'model', 'message', 'publish', 'total'):
        p50, p99 = (float(values[f'latency {stage} {p} (ms)']) for p in ('p50', 'p99'))
        assert 0.0 <= p50 <= p99
    assert {'deadline_misses', 'frames_skipped', 'input rate (Hz)'} <= values.keys()
    running.listener.wait(lambda: running.models, 'the latched model description')
    content = json.loads(running.models[-1].data)
    assert len(content['joints']) == len(content['parents']) == 17
    assert content['rate_hz'] == 50.0
    assert content['horizon_s'] == 2.0


@pytest.mark.parametrize(
    'reason, words',
    [
        ('out of range', ['samples', '1 to 1000']),
        ('truncated', ['truncated.safetensors', 'configure failed', 'truncated or']),
    ],
)
def test_a_node_that_cannot_start_says_why_and_ends(
    refused: dict[str, Any], reason: str, words: list[str]
) -> None:
    node = refused[reason]
    output, _ = node.communicate(timeout=PATIENCE_S)
    assert node.returncode == 1, output
    assert all(word in output for word in words), output
    assert 'Traceback' not in output
