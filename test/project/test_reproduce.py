# SPDX-License-Identifier: Apache-2.0
"""scripts/reproduce: from recordings to weights and a page, with the preset of seconds."""

import os
from pathlib import Path
import subprocess
import time

import pytest
from random_models import save_recording

from motion_predictor.model.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


def reproduce(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / 'scripts' / 'reproduce'), *words],
        env=os.environ | {'MOTION_PREDICTOR_DATA': str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_whole_way_from_recordings_to_the_page(tmp_path: Path) -> None:
    for split, seed in (('train', 0), ('val', 20), ('test', 40)):
        save_recording(tmp_path / 'data' / 'walks' / f'{split}.npz', (100, 90), seed)
    out, docs = tmp_path / 'weights', tmp_path / 'docs'
    words = ['--preset', 'debug', '--run', str(tmp_path / 'run'), '--out', str(out)]
    done = reproduce(*words, '--docs', str(docs), '--quick', data=tmp_path / 'data')
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ('swiftdiff', 'moe'):
        assert load_weights(out / f'{name}.safetensors').calibration is not None
    assert 'threshold' in load_weights(out / 'moe.safetensors').card['surprise']
    page = (docs / 'results.md').read_text()
    headings = ('Accuracy', 'Behind a noisy tracker', 'Temperature', 'Radii that hold', 'Time')
    for heading in (f'## {name}' for name in headings):
        assert heading in page


@pytest.mark.slow
def test_it_stops_whole_when_a_part_fails(tmp_path: Path) -> None:
    for split, seed in (('train', 0), ('val', 20), ('test', 40)):
        save_recording(tmp_path / 'data' / 'walks' / f'{split}.npz', (100, 90), seed)
    (tmp_path / 'weights').write_text('in the way of the folder')
    run = tmp_path / 'run'
    words = ['--preset', 'debug', '--run', str(run), '--out', str(tmp_path / 'weights')]
    done = reproduce(*words, '--docs', str(tmp_path / 'docs'), '--quick', data=tmp_path / 'data')
    assert done.returncode == 1, done.stderr[-2000:]
    assert 'teacher.safetensors: cannot be written' in done.stderr
    assert not (tmp_path / 'docs').exists()
    for _ in range(100):  # what was told to end takes a moment to do so
        left = subprocess.run(['pgrep', '-f', str(run)], capture_output=True, check=False)
        if not left.stdout:
            break
        time.sleep(0.1)
    assert left.stdout == b''


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    done = reproduce('--preset', 'debug', data=tmp_path)
    assert done.returncode == 2
    assert 'MOTION_PREDICTOR_DATA' in done.stderr
