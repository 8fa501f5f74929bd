# SPDX-License-Identifier: Apache-2.0
"""What followed the most alike moments of the training set, as a prediction."""

from pathlib import Path

import numpy as np
import pytest
from random_models import save_recording

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from training.data.store import data_digest
from training.data.windows import load_window_set
from training.judge import neighbours
from training.judge.baselines import zero_velocity
from training.judge.neighbours import load_neighbours, OF_ONE_CLIP, TrainingNeighbours

WINDOW = WindowConfig()


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('walks')
    return [
        save_recording(folder / 'one.npz', (300, 200, 150)),
        save_recording(folder / 'two.npz', (250,), seed=3),
    ]


@pytest.fixture(scope='module')
def bank(files: list[Path]) -> TrainingNeighbours:
    return load_neighbours(files, WINDOW)


def test_a_moment_that_is_remembered_is_its_own_nearest_neighbour_wherever_it_happens(
    files: list[Path], bank: TrainingNeighbours
) -> None:
    windows = load_window_set(files[0], WINDOW)
    poses = windows.poses[[2, 20]]
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    for moved in (poses, poses @ turn.T + np.array([5.0, -7.0, 0.0], dtype=np.float32)):
        futures = bank.futures(moved[:, :25], count=10)
        assert futures.shape == (2, 10, 100, 17, 3)
        np.testing.assert_allclose(futures[:, 0], moved[:, 25:], atol=5e-3)  # kept in 16 bits
    others = bank.futures(poses[:, :25], count=10, without_subject=windows.subjects[0])
    assert np.abs(others[:, 0] - poses[:, 25:]).max() > 0.02


def test_neighbours_begin_where_the_person_is_and_of_no_clip_come_more_than_eight(
    bank: TrainingNeighbours, files: list[Path]
) -> None:
    observed = load_window_set(files[1], WINDOW).poses[3:4, :25] + np.float32(1.0)
    futures = bank.futures(observed, count=50)
    clips = 4
    assert futures.shape[1] <= clips * OF_ONE_CLIP
    gap = np.linalg.norm(futures[:, :, 0] - observed[:, None, -1], axis=-1)
    assert gap.max() < 0.2  # a frame's motion


def test_the_search_by_main_directions_finds_the_very_nearest(
    bank: TrainingNeighbours, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = load_window_set(files[0], WINDOW).poses[::5, :25]
    whole = bank.futures(observed, count=6)
    for short in (2, 8, 12):  # the first two may miss some, and are then followed by a whole one
        monkeypatch.setattr(neighbours, 'SHORTLIST', short)
        np.testing.assert_array_equal(bank.futures(observed, count=6), whole)


def test_walking_on_is_better_guessed_by_other_walks_than_by_standing_still(
    bank: TrainingNeighbours, tmp_path: Path
) -> None:
    poses = load_window_set(save_recording(tmp_path / 'new.npz', (200,), seed=20), WINDOW).poses
    mean = bank.futures(poses[:, :25]).mean(axis=1)
    still = zero_velocity(poses[:, :25], 100)[:, 0]
    errors = [np.linalg.norm(one - poses[:, 25:], axis=-1).mean() for one in (mean, still)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.slow
def test_a_file_that_is_judged_is_not_remembered(files: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r'two\.npz: is judged as well'):
        load_neighbours(files, WINDOW, judged=[data_digest(files[1])])
    with pytest.raises(ConfigError, match='at least one file'):
        load_neighbours([], WINDOW)
    alone = load_neighbours([files[1]], WINDOW)
    with pytest.raises(ConfigError, match='every window is of w0'):
        alone.futures(np.zeros((1, 25, 17, 3), np.float32), without_subject='w0')
