# SPDX-License-Identifier: Apache-2.0
"""A folder of ASF and AMC files becomes stores."""

from __future__ import annotations

from pathlib import Path

from acclaim_person import amc_text, asf_text, REST
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from training.data.prepare import main
from training.data.store import open_store


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    """Two subjects as the CMU database lays them out; each bends a knee."""
    for subject in ('07', '08'):
        folder = tmp_path / 'subjects' / subject
        folder.mkdir(parents=True)
        (folder / f'{subject}.asf').write_text(asf_text())
        frames = [{'ltibia': (30 * np.sin(i / 40),)} for i in range(360)]
        (folder / f'{subject}_01.amc').write_text(amc_text(*frames))
    return tmp_path / 'subjects'


def test_a_folder_becomes_stores_in_metres_by_subject(
    subjects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['prepare', 'cmu', str(subjects), '--out', str(tmp_path), '--test', '08', '--quiet']
    assert main(words) == 0
    assert (
        'cmu: 2 files: unit 0.0564444 m, y up, 120 Hz, the rate of CMU' in capsys.readouterr().out
    )
    for split, subject in (('train', '07'), ('test', '08')):
        store = open_store(tmp_path / 'cmu' / split)
        store.verify()
        assert [(clip.subject, clip.name) for clip in store.clips] == [
            (subject, f'{subject}/{subject}_01')
        ]
        assert len(store.positions) == 150  # three seconds at 50 Hz
        x, y, z = REST['Head']
        assert store.positions[:, H36M17.index('Head')] == pytest.approx(
            np.tile((z, x, y), (150, 1)), abs=1e-4
        )


def test_another_rate_is_taken_as_given(subjects: Path, tmp_path: Path) -> None:
    words = ['prepare', 'cmu', str(subjects), '--out', str(tmp_path), '--quiet']
    assert main([*words, '--recorded-rate', '60', '--name', 'slow']) == 0
    assert len(open_store(tmp_path / 'slow' / 'train').positions) == 600  # twice six seconds


def test_a_damaged_file_is_named_or_left_out(
    subjects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = subjects / '07' / '07_01.amc'
    path.write_text(path.read_text()[:5000])
    words = ['prepare', 'cmu', str(subjects), '--out', str(tmp_path), '--quiet']
    assert main(words) == 2
    assert '07_01.amc: not an AMC file that can be read' in capsys.readouterr().err
    assert main([*words, '--skip-bad']) == 0
    assert len(open_store(tmp_path / 'cmu' / 'train')) == 1
    (subjects / '08' / '08.asf').unlink()
    assert main([*words, '--overwrite']) == 2
    assert 'needs the .asf file of its body beside it' in capsys.readouterr().err


def test_a_folder_without_motions_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['prepare', 'cmu', str(tmp_path), '--out', str(tmp_path / 'out')]) == 2
    assert 'no .amc file in it' in capsys.readouterr().err
