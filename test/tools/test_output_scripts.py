# SPDX-License-Identifier: Apache-2.0
"""Pictures and costs of the outputs: of the weighted whole, as the node publishes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')

from random_models import save_weighed
from rclpy.serialization import deserialize_message
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.model.candidates import CANDIDATES
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.summaries import SUMMARIES
from tools.measure import benchmark_outputs
from tools.site import draw_outputs


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weighed(tmp_path_factory.mktemp('weights') / 'weighed.safetensors')


def test_every_picture_is_of_the_weighted_whole(weights: Path, tmp_path: Path) -> None:
    scene = draw_outputs.make_scene('work', 6.0, 4, weights)
    prediction = scene.outlook.prediction
    assert prediction.mix is not None
    assert set(prediction.mix.candidate.tolist()) == set(range(len(CANDIDATES)))
    remembered = prediction.weights_at(scene.outlook.frames)[0, prediction.mix.candidate == 3]
    assert remembered.sum() > 0.0  # six seconds of the work are enough to remember some of it
    sent = SUMMARIES['trajectory'].encode(scene.outlook, Settings())
    shown = deserialize_message(sent, MultiDOFJointTrajectory)
    there = [[t.translation.x, t.translation.y, t.translation.z]
             for t in shown.points[1].transforms]  # fmt: skip
    np.testing.assert_allclose(there, prediction.expected[0, 24], atol=1e-5)
    written = draw_outputs.draw(scene, tmp_path)
    assert len(written) == 6
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in written)


def test_costs_are_of_the_weighted_whole(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_outputs, 'default_weights', lambda: weights)
    monkeypatch.setattr(benchmark_outputs, 'SAMPLES', 4)
    view = benchmark_outputs.outlook(2)
    assert view.prediction.mix is not None
    rows = {row.name: row for row in benchmark_outputs.rows_of(view)}
    cloud = rows['~/predictions'].build()
    samples = view.prediction.futures.shape[1]
    assert samples > 4
    assert cloud.width == 2 * samples * len(view.frames) * 17
    assert rows['~/markers'].build().markers
