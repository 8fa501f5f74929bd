# SPDX-License-Identifier: Apache-2.0
"""The results page's section on the nearest neighbours, from an evaluation of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_models import save_random, save_recording

from training.judge.accuracy import evaluate
from training.report.results import main as write_results


@pytest.fixture
def evaluations(tmp_path: Path) -> list[Path]:
    """An evaluation without neighbours and one with them."""
    weights = save_random(tmp_path / 'teacher.safetensors', 'teacher', 0)
    test = save_recording(tmp_path / 'one' / 'test.npz', (76, 90))
    train = save_recording(tmp_path / 'one' / 'train.npz', (150, 120), seed=10)
    made = []
    for name, more in (('plain', []), ('beside', ['--neighbours', str(train)])):
        words = ['--weights', str(weights), '--data', str(test), *more, '--samples', '4']
        words += ['--ddim-steps', '3', '--device', 'cpu', '--quiet', '--runs', str(tmp_path)]
        assert evaluate.main([*words, '--json', str(tmp_path / f'{name}.json')]) == 0
        made.append(tmp_path / f'{name}.json')
    return made


def test_the_section_says_where_the_teacher_is_behind(
    evaluations: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / 'results.md'
    words = ['--json', *map(str, evaluations), '--out', str(page)]
    assert write_results(words) == 0
    assert 'is not ahead of the neighbours in: one: ADE' in page.read_text()
    result = json.loads(evaluations[1].read_text())
    for row in result['rows']:
        if row['role'] == 'teacher':
            row['pose'] = dict.fromkeys(row['pose'], 0.001)
            row['world'] = dict.fromkeys(row['world'], 0.001)
    evaluations[1].write_text(json.dumps(result))
    assert write_results(words) == 0
    assert 'is ahead of the neighbours in all of these' in page.read_text()


def test_an_evaluation_beside_neighbours_alone_is_no_page(
    evaluations: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ['--json', str(evaluations[1]), '--out', str(tmp_path / 'page.md')]
    assert write_results(words) == 2
    assert 'without --tracker-noise and --neighbours' in capsys.readouterr().err
