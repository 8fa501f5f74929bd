# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_model
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.recordings.walker import walk
from training.judge.watching import SAMPLES, scores, Watching

WINDOWS_S = 6.0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write one walk in the cmu17 format."""
    poses = walk(WINDOWS_S, 25.0, np.random.default_rng(0))
    path = tmp_path / 'val.npz'
    np.savez(
        path,
        positions=np.round(1000.0 * poses).astype(np.int16),
        offsets=np.array([0, len(poses)]),
        names=np.array(['a_01']),
        subjects=np.array(['a']),
        actions=np.array(['walk']),
        skeletons=np.array(['h36m17']),
        source_fps=np.array([25], dtype=np.int16),
        fps=np.int16(25),
    )
    return path


def logged(folder: Path) -> tuple[dict[str, list[int]], list[int]]:
    """Return the steps of every curve, and of the drawn futures."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / 'tensorboard' / 'validation'))
    found.Reload()
    curves = {
        name: [event.step for event in found.Scalars(name)] for name in found.Tags()['scalars']
    }
    return curves, [event.step for event in found.Images('validation/future')]


@pytest.mark.slow
def test_curves_and_a_drawn_future_are_logged_when_it_is_time(
    recording: Path, tmp_path: Path
) -> None:
    student, codec = random_model(seed=1), random_model()
    watch = Watching(codec, [recording], 10, tmp_path / 'run' / 'swiftdiff')
    before = torch.get_rng_state()
    for done in range(1, 25):
        watch(done, student.denoiser)
    assert torch.equal(torch.get_rng_state(), before), 'the training draws as it did'
    curves, drawn = logged(tmp_path / 'run' / 'swiftdiff')
    assert curves.keys() == {
        f'validation/{name}'
        for name in (
            'mean_error_cm_at_0.5_s', 'mean_error_cm_at_1_s', 'mean_error_cm_at_2_s',
            f'best_of_{SAMPLES}_error_cm',
        )
    }  # fmt: skip
    assert all(steps == [10, 20] for steps in curves.values())
    assert drawn == [10, 20]


def test_the_scores_are_of_the_network_that_learns(recording: Path, tmp_path: Path) -> None:
    watch = Watching(random_model(), [recording], 1, tmp_path)
    one, other = (watch.predicted(random_model(seed=seed).denoiser) for seed in (1, 2))
    assert one.shape[1] == SAMPLES
    assert not np.allclose(one, other)


def test_errors_are_of_joints_in_centimetres() -> None:
    truth = np.zeros((2, 100, 17, 3), dtype=np.float32)
    futures = np.zeros((2, 3, 100, 17, 3), dtype=np.float32)
    futures[:, 0, :, :, 0] = 0.30
    futures[:, 1, :, :, 0] = 0.06
    found = scores(futures, truth, 50.0)
    assert found['mean_error_cm_at_1_s'] == pytest.approx(12.0, abs=1e-4)
    assert found['best_of_3_error_cm'] == 0.0
    futures[:, :, :50] = 0.0
    assert scores(futures, truth, 50.0)['mean_error_cm_at_1_s'] == 0.0
    assert scores(futures, truth, 50.0)['mean_error_cm_at_2_s'] > 11.0


def test_other_bodies_and_missing_files_are_refused(recording: Path, tmp_path: Path) -> None:
    other = Skeleton(name='rod', joints=('a', 'b'), parents=(-1, 0), mirror=(0, 1))
    config = replace(random_model().config, skeleton='rod')
    model = MotionModel(config, other)
    with pytest.raises(ConfigError, match='its joints are Hip'):
        Watching(model, [recording], 1, tmp_path)
    with pytest.raises(RecordingError, match='no such file'):
        Watching(random_model(), [tmp_path / 'none.npz'], 1, tmp_path)
