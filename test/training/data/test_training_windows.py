# SPDX-License-Identifier: Apache-2.0
"""Recordings become windows: what is kept, what is refused, and how rates are changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import save_random

from motion_predictor.body.resampling import resample
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from training.data.random_windows import TrainingWindows
from training.data.windows import evaluation_windows, load_clips, load_window_set
from training.engine.presets import preset
from training.engine.runs import Run, training_windows
from training.judge.scoring import load_data
from training.stages import finetune

WINDOW = WindowConfig()


def recording(**changes: Any) -> dict[str, Any]:
    """Two clips of 63 and 90 frames at 25 Hz, in the cmu17 format."""
    generator = np.random.default_rng(0)
    frames = 153
    time_s = np.arange(frames)[:, None, None] / 25.0
    pose = generator.uniform(-800, 800, (1, 17, 3))
    positions = pose + 200.0 * np.sin(2.0 * np.pi * time_s + generator.uniform(0, 6, pose.shape))
    arrays: dict[str, Any] = {
        'positions': np.rint(positions).astype(np.int16),
        'offsets': np.array([0, 63, frames]),
        'names': np.array(['a_1', 'b_1']),
        'subjects': np.array(['a', 'b']),
        'actions': np.array(['walk', 'wave']),
        'skeletons': np.array(['asf', 'asf']),
        'source_fps': np.array([120, 120], dtype=np.int16),
        'fps': np.int16(25),
    }
    arrays.update(changes)
    return {name: value for name, value in arrays.items() if value is not None}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / 'test.npz'
        np.savez(path, **recording(**changes))
        return path

    return write


def test_the_shortest_clip_gives_exactly_one_window(save: Callable[..., Path]) -> None:
    windows = load_window_set(save(), WINDOW)
    assert windows.poses.shape == (4, 125, 17, 3)
    assert windows.poses.dtype == np.float32
    assert windows.clip.tolist() == [0, 1, 1, 1]  # 90 frames become 179: starts 0, 25, 50
    assert windows.start.tolist() == [0, 0, 25, 50]
    assert windows.actions == ['walk', 'wave', 'wave', 'wave']
    assert windows.subjects == ['a', 'b', 'b', 'b']


def test_positions_are_in_metres_and_no_window_spans_two_clips(save: Callable[..., Path]) -> None:
    path = save()
    raw = recording()['positions']
    poses = evaluation_windows(path, WINDOW)
    np.testing.assert_allclose(poses[0, ::2], raw[:63] / 1000.0, atol=1e-6)
    np.testing.assert_allclose(poses[1, ::2], raw[63:126] / 1000.0, atol=1e-6)


def test_a_recording_at_another_rate_gives_windows_too(save: Callable[..., Path]) -> None:
    arrays = recording()
    faster = np.rint(resample(arrays['positions'][63:].astype(np.float32), 25.0, 100.0))
    path = save(
        positions=faster.astype(np.int16),
        offsets=np.array([0, len(faster)]),
        names=np.array(['b_1']),
        subjects=np.array(['b']),
        actions=np.array(['wave']),
        fps=np.float64(100.0),
    )
    expected = resample(arrays['positions'][63:].astype(np.float32) / 1000.0, 25.0, 50.0)
    poses = evaluation_windows(path, WINDOW)
    np.testing.assert_allclose(poses[1], expected[25:150], atol=2e-3)


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'positions': None}, 'lacks positions'),
        ({'actions': None}, 'lacks actions'),
        ({'positions': np.zeros((153, 16, 3), np.int16)}, r'expected \(frames, 17, 3\)'),
        ({'positions': np.zeros((153, 17, 3))}, 'whole millimetres'),
        ({'offsets': np.array([0, 63, 150])}, '153 frames'),
        ({'offsets': np.array([0, 63, 63, 153])}, 'smallest step 0'),
        ({'offsets': np.array([0.0, 63.0, 153.0])}, 'whole numbers'),
        ({'offsets': np.array([0])}, 'clips \\+ 1'),
        ({'names': np.array(['a_1'])}, 'one for each of 2 clips'),
        ({'fps': np.array([25, 25])}, 'one positive number'),
        ({'fps': np.int16(0)}, 'one positive number'),
        ({'fps': np.float32(np.nan)}, 'one positive number'),
        ({'names': np.array(['a', None], dtype=object)}, 'only numbers and text'),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_was_expected(
    save: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=message) as caught:
        load_clips(save(**changes))
    assert 'test.npz' in str(caught.value)


def test_a_file_that_is_missing_truncated_or_no_npz_is_refused(
    save: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(RecordingError, match='no such file'):
        load_clips(tmp_path / 'none.npz')
    whole = save().read_bytes()
    for content in (b'', b'not an npz', whole[: len(whole) // 2], whole[:-30]):
        path = tmp_path / 'broken.npz'
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=r'broken\.npz'):
            load_clips(path)
    flipped = bytearray(whole)
    flipped[500:900] = bytes(400)
    path.write_bytes(flipped)
    with pytest.raises(RecordingError, match=r'broken\.npz'):
        load_clips(path)
    single = tmp_path / 'single.npy'
    np.save(single, np.zeros(3))
    with pytest.raises(RecordingError, match='npz'):
        load_clips(single)


def test_clips_shorter_than_a_window_are_left_out_and_none_left_is_an_error(
    save: Callable[..., Path],
) -> None:
    path = save()
    longer = WindowConfig(future_frames=120)
    assert load_window_set(path, longer).clip.tolist() == [1, 1]
    with pytest.raises(RecordingError, match='longest clip lasts'):
        load_window_set(path, WindowConfig(future_frames=1000))


def test_clips_shorter_than_a_window_are_counted_in_one_line(
    save: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    assert load_window_set(save(), WINDOW).short == ''
    path = save(offsets=np.array([0, 62, 153]))  # one frame short of a window
    said = f'{path}: 1 of 2 clips (2 of 6 s) are shorter than a window of 2.50 s and are not used'
    assert load_window_set(path, WINDOW).short == said
    load_data([path], WINDOW)
    assert capsys.readouterr().err == f'{said}\n'
    windows = TrainingWindows.load([path], WINDOW)
    assert windows.short == said
    chain = preset('debug')
    training_windows(Run(tmp_path, (path,), 'cpu', ()), chain)
    assert capsys.readouterr().err == f'{said}\n'
    words = ['--recording', str(path), '--weights', str(save_random(tmp_path / 'w.safetensors'))]
    assert finetune.main([*words, '--out', str(tmp_path / 'x.safetensors'), '--dry-run']) == 2
    said = capsys.readouterr().err
    assert '--recording: 1 of 2 clips (2 of 6 s) are shorter than a window' in said
    assert len(said.splitlines()) == 2
