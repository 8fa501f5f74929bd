"""Candidates, memory and gate in the node over real DDS: what it publishes, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from random_models import random_model, random_weighing
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, Source, walker_poses
from sensor_msgs.msg import PointCloud2
from test_node import Nodes
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.memory import NEIGHBOURS
from motion_predictor.messages import decode_predictions, DecodedPredictions
from motion_predictor.outputs import decode_moments
from motion_predictor.replay import pose_array
from motion_predictor.weights import save_weights

NODE = '/motion_predictor'


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'weighed.safetensors'
    card = {'what': 'untrained weights, for tests'}
    save_weights(path, random_model(deviation=0.02), card, weighing=random_weighing())
    return path


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def nodes(listener: Listener, weights: Path) -> Iterator[Nodes]:
    nodes = Nodes(listener, weights)
    yield nodes
    nodes.close()


def predicted(
    listener: Listener,
    people: list[np.ndarray],
    holds: Callable[[DecodedPredictions], bool] = lambda cloud: True,
    frames: int = 40,
) -> DecodedPredictions:
    """Publish poses until somebody is predicted so that something holds; the newest cloud."""
    clouds = listener.collect(PointCloud2, f'{NODE}/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    for index in range(2000):
        source.send(pose_array([poses[index % len(poses)] for poses in people]))
        listener.spin()
        if index > frames and clouds and clouds[-1].width:
            cloud = decode_predictions(clouds[-1])
            if holds(cloud):
                return cloud
    raise AssertionError('nobody was predicted')


def test_every_candidate_is_in_the_cloud_with_weights_of_each_step(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start()
    walk = walker_poses()[0].copy()
    walk[np.arange(len(walk)) % 16 >= 11, 16] = np.nan  # filled in while it is missing
    cloud = predicted(listener, [walk], lambda cloud: not cloud.seen.all())
    counts = [4, 1, 1, NEIGHBOURS]
    assert np.bincount(cloud.candidate).tolist() == counts
    assert cloud.futures.shape == (1, sum(counts), 20, 17, 3)
    np.testing.assert_allclose(cloud.step_weights.sum(axis=1), 1.0, atol=1e-5)
    assert np.ptp(cloud.step_weights[0], axis=1).max() > 1e-3
    assert np.flatnonzero(~cloud.seen[0]).tolist() == [16]


@pytest.mark.parametrize(
    'settings, samples',
    [({'weighing.enabled': False}, 4), ({'memory.enabled': False}, 6)],
    ids=['the model alone', 'no memory'],
)
def test_weighing_and_memory_can_be_turned_off(
    listener: Listener, nodes: Nodes, settings: dict[str, Any], samples: int
) -> None:
    nodes.start(**settings)
    cloud = predicted(listener, walker_poses())
    assert cloud.futures.shape[1] == samples
    assert cloud.candidate.tolist() == [0, 0, 0, 0, 1, 2][:samples]


def test_trajectory_and_moments_show_the_same_expected_future(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(**{'trajectory.horizons_s': [0.5]})
    moments = listener.collect(PointCloud2, f'{NODE}/moments')
    trajectories = listener.collect(MultiDOFJointTrajectory, f'{NODE}/trajectory')
    for adapt in ('both', 'fixed'):
        node.set_parameters([RosParameter('moments.adapt', value=adapt)])
        predicted(listener, walker_poses())
        assert node._session is not None
        place = node._session.online.place  # what the worker really uses
        assert place is not None
        assert place.following is not None
        assert place.following.mode == adapt
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in moments if m.width}
    pairs = [
        (by_stamp[key], t)
        for t in trajectories
        if (key := (t.header.stamp.sec, t.header.stamp.nanosec)) in by_stamp and t.points
    ]
    assert pairs
    cloud = decode_moments(pairs[-1][0])
    there = [(t.translation.x, t.translation.y, t.translation.z)
             for t in pairs[-1][1].points[0].transforms]  # fmt: skip
    np.testing.assert_allclose(cloud.moments.mean[0, 4], there, atol=1e-5)
