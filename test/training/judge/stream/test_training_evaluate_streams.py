# SPDX-License-Identifier: Apache-2.0
"""The verb that plays recordings as streams and judges what is published on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import save_random, save_recording

from motion_predictor.predict.prediction import Prediction
from training.judge.stream import evaluate_streams
from training.judge.stream.many_steps import ManyStepPredictor
from training.judge.stream.stream_scores import CANDIDATES, NEIGHBOURS, PUBLISHED


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp('streams')
    save_random(made / 'swiftdiff.safetensors')
    save_random(made / 'other.safetensors', seed=7)
    save_recording(made / 'one' / 'val.npz', (100, 140, 90))
    save_recording(made / 'two' / 'val.npz', (180,), seed=9)
    save_recording(made / 'two' / 'train.npz', (150, 120), seed=20)
    return made


def run(folder: Path, *more: str, sets: tuple[str, ...] = ('one', 'two')) -> dict[str, Any]:
    out = folder / 'out.json'
    words = ['--weights', str(folder / 'swiftdiff.safetensors'), '--json', str(out), '--quiet']
    words += ['--samples', '4', '--data', *(str(folder / name / 'val.npz') for name in sets)]
    assert evaluate_streams.main([*words, *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_every_table_has_every_group(folder: Path) -> None:
    result = run(folder)
    played = [(place['set'], place['takes'], place['predictions']) for place in result['places']]
    assert played == [('one', 3, 4 + 7 + 3), ('two', 1, 10)]
    groups = [(row['by'], row['name'], row['predictions']) for row in result['rows']]
    assert groups == [
        ('all', 'all', 24), ('kind', 'walking', 24),
        ('laboratory', 'one', 14), ('laboratory', 'two', 10), ('minutes', '0-1', 24),
    ]  # fmt: skip
    for row in result['rows']:
        assert {PUBLISHED, *CANDIDATES} <= set(row['error_cm'])
        assert all(len(of) == 4 for of in row['error_cm'].values())
        for name in ('error', 'energy'):
            best = [row['error_cm' if name == 'error' else 'energy'][b][h]
                    for h, b in enumerate(row[f'{name}_best'])]  # fmt: skip
            mine = row['error_cm' if name == 'error' else 'energy'][PUBLISHED]
            assert row[f'{name}_ratio'] == pytest.approx(
                [a / b for a, b in zip(mine, best)], rel=2e-3
            )
            for ratio, (low, high) in zip(row[f'{name}_ratio'], row[f'{name}_ratio_interval95']):
                assert low <= ratio + 1e-4
                assert ratio <= high + 1e-4
    assert [row['name'] for row in result['running']] == ['all', 'one/val', 'two/val']
    assert len(result['radii']) == len(result['rows'])
    assert set(result['joints'][0]['error_cm']) >= {'Hip', 'RWrist'}
    assert result['settings']['tracker']['rate_hz'] == 25.0
    assert result['over_laboratories']['error_ratio_mean']


@pytest.mark.slow
def test_hidden_joints_are_played_once_more_and_compared_at_the_same_instants(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(folder, '--hidden', 'legs', 'head')
    rows = result['hidden']
    assert [(r['hidden'], r['laboratory'], r['candidate'], r['windows']) for r in rows] == [
        (hidden, of, candidate, count)
        for hidden in ('legs', 'head')
        for of, count in (('one', 14), ('two', 10), ('all', 24))
        for candidate in (PUBLISHED, 'model')
    ]
    for row in rows:
        errors = row['error_cm']
        np.testing.assert_allclose(
            row['error_ratio'], np.divide(errors['hidden'], errors['all_seen']), atol=2e-3
        )
        assert errors['hidden'] != errors['all_seen']
    assert 'published on all, legs hidden' in capsys.readouterr().out
    assert result['rows'] == run(folder)['rows'], 'the tables stay those with all joints seen'


@pytest.mark.slow
def test_the_same_words_give_the_same_figures_in_one_process_and_in_two(folder: Path) -> None:
    words = ('--noise', '0.01', '--rate', '15', '--order', 'random', '--missing', '0.01')
    one = run(folder, *words)
    two = run(folder, *words, '--processes', '2')
    for name in ('rows', 'radii', 'running', 'joints'):
        assert one[name] == two[name]
    clean = run(folder)
    assert clean['rows'][0]['error_cm'] != one['rows'][0]['error_cm']


@pytest.mark.slow
def test_a_laboratory_can_be_judged_with_weights_that_have_not_seen_it(folder: Path) -> None:
    plain = run(folder)
    result = run(folder, '--held-out', f'two={folder / "other.safetensors"}')
    assert [Path(place['weights']).stem for place in result['places']] == ['swiftdiff', 'other']
    rows = {(row['by'], row['name']): row['error_cm'][PUBLISHED] for row in result['rows']}
    before = {(row['by'], row['name']): row['error_cm'][PUBLISHED] for row in plain['rows']}
    assert rows['laboratory', 'one'] == before['laboratory', 'one']
    assert rows['laboratory', 'two'] != before['laboratory', 'two']


def test_everybody_can_have_a_place_of_their_own(folder: Path) -> None:
    result = run(folder, '--places', 'subject', sets=('one',))
    places = [(place['place_of'], place['takes']) for place in result['places']]
    assert places == [('w0', 1), ('w1', 1), ('w2', 1)]
    assert [row['name'] for row in result['running']][1:] == [
        'one/val w0', 'one/val w1', 'one/val w2',
    ]  # fmt: skip
    assert [row['name'] for row in result['rows'] if row['by'] == 'laboratory'] == ['one']


@pytest.mark.slow
def test_neighbours_regimes_and_a_short_watch(folder: Path) -> None:
    near = run(folder, '--neighbours', str(folder / 'two' / 'train.npz'), sets=('one',))
    assert near['places'][0]['neighbours'] == 12
    row = near['rows'][0]
    assert row['error_cm'][NEIGHBOURS][3] < row['error_cm']['standing still'][3]
    changing = run(folder, '--regimes', sets=('two',))
    assert changing['places'][0]['takes'] == 1
    assert changing['settings']['regimes']
    short = run(folder, '--minutes', '0.05')
    assert [place['predictions'] for place in short['places']] == [4, 6]


def test_what_cannot_be_used_is_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    weights, val = folder / 'swiftdiff.safetensors', folder / 'one' / 'val.npz'
    save_recording(folder / 'short' / 'val.npz', (40,))
    for words, said in (
        (['--data', str(val), '--samples', '0'], '--samples 0'),
        (['--data', str(val), '--held-out', 'two'], 'expected SET=FILE'),
        (['--data', str(val), '--held-out', f'two={weights}'], 'no file of it among --data'),
        (['--data', str(val), str(val)], 'a second file for one/val'),
        (['--data', str(val), '--neighbours', str(val)], 'is judged as well'),
        (['--data', str(folder / 'short' / 'val.npz')], 'nobody could be predicted'),
        (['--data', str(folder / 'short' / 'val.npz'), '--regimes'], 'no clip lasts 5 s'),
        (['--data', str(val), '--regimes', '--order', 'random'], 'leave --order out'),
        (['--data', str(val), '--minutes', '0'], '--minutes 0'),
        (['--data', str(val), '--every', '0'], '--every 0'),
        (['--data', str(val), '--noise', '-1'], 'noise_m=-1'),
        (['--data', str(folder / 'nothing.npz')], 'no such file'),
    ):
        assert (
            evaluate_streams.main(
                ['--weights', str(weights), '--json', str(folder / 'x.json'), '--quiet', *words]
            )
            == 2
        )
        assert said in capsys.readouterr().err
    assert not (folder / 'x.json').exists()


@pytest.mark.slow
def test_a_teacher_is_played_into_the_streams_and_makes_every_third_prediction(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    sample = ManyStepPredictor.predict

    def counted(self: ManyStepPredictor, observed: np.ndarray, **how: int) -> Prediction:
        asked.append(len(observed))
        return sample(self, observed, **how)

    monkeypatch.setattr(ManyStepPredictor, 'predict', counted)
    weights = str(save_random(folder / 'teacher.safetensors', 'teacher'))
    taught = run(folder, '--weights', weights, '--ddim-steps', '2', '--every', '3', sets=('one',))
    assert taught['rows'][0]['predictions'] == sum(asked) == 5  # of 4 + 7 + 3
    assert taught['settings']['every'] == 3
    student = run(folder, '--every', '3', sets=('one',))
    same = {'damped velocity', 'standing still'}  # the same moments were scored
    for name, errors in student['rows'][0]['error_cm'].items():
        assert (taught['rows'][0]['error_cm'].get(name) == errors) == (name in same)
