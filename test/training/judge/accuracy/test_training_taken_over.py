# SPDX-License-Identifier: Apache-2.0
"""What the evaluation command keeps, and takes over from an earlier evaluation."""

import json
from pathlib import Path

from evaluations import row_of, run
import numpy as np
import pytest
from random_models import save_random

from training.judge.accuracy import evaluate
from training.report.accuracy import evaluation_section


@pytest.mark.slow
def test_a_second_run_reuses_the_futures(
    tmp_path: Path,
    weights: list[Path],
    recordings: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = run(tmp_path, weights, recordings)

    def forbidden(*_: object, **__: object) -> np.ndarray:
        raise AssertionError('a model ran again')

    monkeypatch.setattr('training.engine.diffusion.Sampler.sample', forbidden)
    second = run(tmp_path, weights, recordings)
    assert first['rows'] == second['rows']


@pytest.mark.slow
def test_rows_of_the_same_weights_data_and_settings_are_taken_over(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    first = run(tmp_path, weights[:2], recordings)
    kept = tmp_path / 'kept.json'
    kept.write_text(json.dumps(first))
    elsewhere = ('--runs', str(tmp_path / 'other'), '--take-over', str(kept))
    second = run(tmp_path, weights, recordings, *elsewhere)
    assert [r['model'] for r in second['rows']].count('teacher') == 3
    for model in ('teacher', 'one_step'):
        old, new = row_of(first, model, 'both'), row_of(second, model, 'both')
        assert new['pose'] == old['pose']
        assert new['taken_over_from'] == first['commit']
    student, teacher = row_of(second, 'swiftdiff', 'both'), row_of(second, 'teacher', 'both')
    assert 'taken_over_from' not in student
    expected = student['pose']['ade'] / teacher['pose']['ade']
    assert student['against']['pose.ade']['ratio'] == pytest.approx(expected, abs=1e-4)
    assert student['against']['pose.ade']['interval95'] is None
    stores = list((tmp_path / 'other').iterdir())
    assert len(stores) == 2  # the student's alone, one a file
    page = evaluation_section(second, tmp_path, tmp_path / 'page.md')
    assert 'taken over from the evaluation at commit' in page
    order = list(dict.fromkeys(row['model'] for row in second['rows']))
    assert order[-3:] == ['teacher', 'one_step', 'swiftdiff']


@pytest.mark.slow
def test_rows_of_weights_that_are_not_at_hand_are_taken_over_by_name(
    tmp_path: Path,
    weights: list[Path],
    recordings: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = run(tmp_path, weights, recordings)
    kept = tmp_path / 'kept.json'
    kept.write_text(json.dumps(first))
    words = ['--data', *map(str, recordings), '--json', str(tmp_path / 'x.json')]
    words += ['--take-over', str(kept), '--samples', '4', '--ddim-steps', '3', '--quiet']
    words += ['--device', 'cpu', '--engine', 'fp32', '--runs', str(tmp_path / 'runs')]
    gone = weights[1].rename(tmp_path / 'elsewhere')
    second = run(tmp_path, weights, recordings, '--take-over', str(kept))
    assert row_of(second, weights[1].stem, 'both')['taken_over_from'] == first['commit']
    assert [r['model'] for r in second['rows']] == [r['model'] for r in first['rows']]
    assert evaluate.main([*words, '--weights', str(weights[1]), '--samples', '5']) == 2
    assert 'other data or settings' in capsys.readouterr().err
    assert evaluate.main([*words, '--weights', str(tmp_path / 'never.safetensors')]) == 2
    assert "has rows of ['one_step', 'swiftdiff', 'teacher']" in capsys.readouterr().err
    gone.rename(weights[1])


@pytest.mark.slow
def test_nothing_is_taken_over_from_other_settings_data_or_weights(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    kept = tmp_path / 'kept.json'
    kept.write_text(json.dumps(run(tmp_path, weights[1:2], recordings)))
    take = ('--take-over', str(kept))
    for changed, data in ((('--samples', '5'), recordings), ((), recordings[:1])):
        again = run(tmp_path, weights[1:2], data, *take, *changed)
        assert not any('taken_over_from' in row for row in again['rows'])
    save_random(weights[1], 'one_step', 99)
    again = run(tmp_path, weights[1:2], recordings, *take)
    assert not any('taken_over_from' in row for row in again['rows'])
    kept.write_text('{}')
    with pytest.raises(AssertionError):
        run(tmp_path, weights[1:2], recordings, *take)
