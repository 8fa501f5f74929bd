# SPDX-License-Identifier: Apache-2.0
"""A mixture of experts in the node over real DDS: weights, closed forms, and who surprises it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from random_models import save_random_mixture
from ros_harness import Listener, PATIENCE_S, process, Source, walker_poses
from sensor_msgs.msg import PointCloud2
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.errors import WeightsError
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.mixture_forecast import checked_frames, Forecast
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.messages import decode_predictions
from motion_predictor.ros.publish.outputs import decode_moments
from motion_predictor.ros.replay import pose_array

NODE = 'motion_predictor'
SAMPLES = 3
CALM_NATS = 0.5
"""Above the surprise of somebody who stands still: the threshold of the made-up weights."""


def standing_pose() -> np.ndarray:
    """One pose of a walker, to be held, ``(17, 3)`` metres."""
    return walker_poses()[0][0].astype(np.float32)


def foreseen(predictor: Predictor) -> Prediction:
    """Predict somebody who has stood still, as the node should."""
    observed = np.repeat(standing_pose()[None], predictor.window.observed_frames, axis=0)
    return predictor.predict(observed, samples=SAMPLES, seed=0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the shipped mixture, else make one up, with a threshold that standing stays below."""
    try:
        return default_weights('moe')
    except WeightsError:
        path = tmp_path_factory.mktemp('weights') / 'mixture.safetensors'
    save_random_mixture(path)
    predictor = Predictor.load(path, device='cpu')
    forecast = foreseen(predictor).closed_form
    assert isinstance(forecast, Forecast)
    frames = checked_frames(predictor.window.rate_hz)
    still = np.repeat(standing_pose()[None], len(frames), axis=0)
    save_random_mixture(path, threshold=forecast.surprise(0, still, frames) + CALM_NATS)
    return path


class Running:
    """A node with the mixture, and everything it publishes."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        name = '/motion_predictor'
        self.clouds = listener.collect(PointCloud2, f'{name}/predictions')
        self.moments = listener.collect(PointCloud2, f'{name}/moments')
        self.trajectories = listener.collect(MultiDOFJointTrajectory, f'{name}/trajectory')
        self.diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
        self.source = Source(listener.node, PoseArray, '/skeleton', even=True)

    def send(self, pose: np.ndarray) -> None:
        """Publish a pose and handle what has come."""
        self.source.send(pose_array([pose]))
        self.listener.spin()

    def send_until(self, pose: Callable[[int], np.ndarray], holds: Callable[[], bool]) -> None:
        """Publish poses, 50 a second, until something holds."""
        frame = 0
        while not holds():
            self.send(pose(frame))
            frame += 1
            assert frame < 50 * PATIENCE_S, 'never'

    def status(self) -> tuple[DiagnosticStatus, dict[str, str]]:
        """Return the newest diagnostics and their values by name."""
        status = self.diagnostics[-1].status[0]
        return status, {entry.key: entry.value for entry in status.values}


@pytest.fixture(scope='module')
def running(weights: Path) -> Iterator[Running]:
    parameters = {
        'autostart': True,
        'model.path': weights,
        'weighing.enabled': False,  # the mixture alone
        'samples': SAMPLES,
        'diagnostics.period_s': 0.3,
    }
    listener = Listener()
    with process(NODE, parameters):
        made = Running(listener)
        made.send_until(
            lambda _: standing_pose(),
            lambda: len(made.clouds) > 60 and len(made.moments) > 5 and len(made.trajectories) > 5,
        )
        yield made
        listener.close()


def test_futures_of_somebody_who_stands_are_those_of_the_mixture_with_their_weights(
    running: Running, weights: Path
) -> None:
    predictor = Predictor.load(weights, device='cpu')
    expected = foreseen(predictor)
    cloud = decode_predictions(running.clouds[-1])
    frames = np.rint(cloud.times_s * predictor.window.rate_hz).astype(int) - 1
    assert cloud.weights[0].max() > cloud.weights[0].min() > 0.0
    np.testing.assert_allclose(cloud.weights, expected.weights, atol=1e-4)
    np.testing.assert_allclose(cloud.futures, expected.futures[:, :, frames], atol=2e-3)


def test_moments_are_the_closed_form_and_not_those_of_three_samples(
    running: Running, weights: Path
) -> None:
    predictor = Predictor.load(weights, device='cpu')
    expected = foreseen(predictor)
    found = decode_moments(running.moments[-1])
    frames = np.rint(found.times_s * predictor.window.rate_hz).astype(int) - 1
    closed = expected.moments(frames)
    np.testing.assert_allclose(found.moments.mean, closed.mean, atol=2e-3)
    scale = np.abs(closed.covariance).max()
    np.testing.assert_allclose(found.moments.covariance, closed.covariance, atol=0.01 * scale)


def test_the_trajectory_is_the_future_nearest_to_all_others(
    running: Running, weights: Path
) -> None:
    predictor = Predictor.load(weights, device='cpu')
    expected = foreseen(predictor)
    flat = expected.futures[0].reshape(expected.futures.shape[1], -1)
    apart = np.linalg.norm(flat[:, None] - flat, axis=-1) @ expected.weights[0]
    likely = expected.futures[0, apart.argmin()]
    last = running.trajectories[-1].points[-1]
    time_s = last.time_from_start.sec + 1e-9 * last.time_from_start.nanosec
    places = [t.translation for t in last.transforms]
    found = np.array([(place.x, place.y, place.z) for place in places])
    frame = round(time_s * predictor.window.rate_hz) - 1
    np.testing.assert_allclose(found, likely[frame], atol=2e-3)


def test_who_stands_is_not_flagged_and_who_then_rushes_off_is(running: Running) -> None:
    def surprise() -> str | None:
        if not running.diagnostics:
            return None
        values = running.status()[1]
        return next((v for name, v in values.items() if name.startswith('surprise ')), None)

    running.send_until(lambda _: standing_pose(), lambda: surprise() is not None)
    status, _ = running.status()
    assert 'unlike the training data' not in status.message
    step = np.float32([0.12, 0.0, 0.0])  # 6 m/s, the pose held

    def flagged() -> bool:
        return 'unlike the training data' in running.status()[0].message

    running.send_until(lambda frame: standing_pose() + (frame + 1) * step, flagged)
    assert running.status()[0].level == DiagnosticStatus.WARN
