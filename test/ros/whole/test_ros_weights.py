# SPDX-License-Identifier: Apache-2.0
"""The node with damaged weights, and the radius when the device is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from node_rig import FAILURE, Nodes, SUCCESS
from random_models import observed_people, random_model
from ros_harness import Listener, Source, wait_until, walker_poses
from safetensors import safe_open
from safetensors.torch import save_file
from sensor_msgs.msg import PointCloud2

from motion_predictor.model.calibration import Calibration
from motion_predictor.model.weights import GoldenPair, save_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.publish.outputs import decode_moments
from motion_predictor.ros.replay import ENCODERS


@pytest.mark.parametrize('damage', ['none', 'of a file with a digest', 'of an earlier file'])
def test_damaged_weights_are_refused_at_configure(
    nodes: Nodes, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture
) -> None:
    model = random_model()
    observed = observed_people(1)[0]
    exact = Predictor(model, {}, device='cpu', engine='fp32')
    golden = GoldenPair(observed, exact.predict(observed, samples=2, seed=3).futures[0], 3)
    path = tmp_path / 'weights.safetensors'
    save_weights(path, model, {'about': 'a test'}, golden)
    if damage != 'none':
        with safe_open(str(path), framework='pt') as file:
            names = sorted(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = dict(file.metadata())
        tensors['denoiser.out.weight'][3, 2] += 1000.0
        if damage == 'of an earlier file':
            del metadata['digest']
        save_file(tensors, path, metadata=metadata)
    node = nodes.make(**{'model.path': str(path)})
    assert node.trigger_configure() == (SUCCESS if damage == 'none' else FAILURE)
    said = capfd.readouterr().err
    if damage == 'of an earlier file':
        assert 'weights: damaged: its golden pair is off by' in said
    elif damage != 'none':
        assert 'weights.safetensors: damaged: its content has SHA-256' in said
    assert 'Traceback' not in said


def test_the_radius_stays_when_the_device_is_lost(
    listener: Listener, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SIMULATED: the model runs on the CPU under the name 'cuda' and raises what torch raises.
    path = tmp_path / 'calibrated.safetensors'
    factor = np.full((1, 100, 17), 7.0, np.float32)
    held = Calibration((0.9,), factor, 0.1, 4, {'of': 'a test'})
    save_weights(path, random_model(), {'about': 'a test'}, calibration=held)
    node = nodes.start(**{'model.path': str(path), 'moments.adapt': 'fixed'})
    assert node._session is not None
    lost = node._session.predictor
    moments = listener.collect(PointCloud2, '/motion_predictor/moments')
    source = Source(listener.node, PoseArray, '/skeleton')
    still = ENCODERS['pose_array'][1]([walker_poses()[0][0]])

    def step() -> None:
        source.send(still)
        listener.spin()

    def radius() -> Any:
        whole = [cloud for cloud in moments if cloud.width]
        return decode_moments(whole[-1]).radius_m if len(whole) > 3 else None

    before = wait_until(lambda: radius() is not None and [radius()], step, 'a radius')[0]
    lost.device = 'cuda'

    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError('CUDA error: unspecified launch failure')

    monkeypatch.setattr(lost, 'predict', fail)
    wait_until(lambda: node._session.predictor is not lost, step, 'the CPU')
    moments.clear()
    after = wait_until(lambda: radius() is not None and [radius()], step, 'a radius')[0]
    assert node._session.predictor.weights is lost.weights
    np.testing.assert_allclose(after, before, rtol=1e-4)
