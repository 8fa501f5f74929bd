# SPDX-License-Identifier: Apache-2.0
"""Tuning: the space, pruning along the front, studies that several processes share and resume."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
from random_models import save_random, save_recording

from motion_predictor.errors import ConfigError
from studies.ablation import recipe_results
from studies.common import verdicts
from studies.tune import search, search_space, studies, tune, tuning_page
from studies.tune.options import TuneOptions
from training.common.locks import Lock
from training.common.options import read_options
from training.engine.overrides import override
from training.engine.presets import preset, PRESETS

optuna = pytest.importorskip('optuna')


@pytest.fixture(scope='module')
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp('tune')
    for split, seed in (('train', 0), ('val', 20)):
        save_recording(folder / 'walks' / f'{split}.npz', (100, 90), seed)
    one_step = save_random(folder / 'one_step.safetensors', 'one_step')
    teacher = save_random(folder / 'teacher.safetensors', 'teacher', deviation=0.05)
    return [
        '--preset', 'debug', '--data', str(folder / 'walks' / 'train.npz'),
        '--one-step', str(one_step), '--teacher', str(teacher),
        '--run', str(folder / 'run'), '--startup', '2', '--quiet',
    ]  # fmt: skip


@pytest.fixture(scope='module')
def searched(words: list[str]) -> Path:
    """Both studies, a confirmation and the report, with trials of seconds."""
    assert tune.main([*words, '--sampler', *studies.SAMPLERS, '--trials', '3']) == 0
    assert tune.main([*words, '--confirm', '1']) == 0
    report = Path(words[words.index('--run') + 1]).parent / 'docs' / 'tuning.json'
    assert tune.main([*words, '--report', str(report)]) == 0
    return report


@pytest.mark.slow
def test_a_study_has_two_objectives_and_ends_with_the_trials_asked_for(searched: Path) -> None:
    result = json.loads(searched.read_text())
    for sampler in studies.SAMPLERS:
        assert len(result[sampler]) == 3
        for row in studies.completed(result[sampler]):
            assert row['error'] > 0.0
            assert row['latency_ms'] > 0.0
            scores = row['scores']['walks/val']
            assert set(scores) == {'ade', 'fde', 'mmade', 'mmfde', 'apd'}
    assert result['gp'][0]['default']
    assert {row['candidate'] for row in result['confirmed']} >= {'default', 'gp', 'random'}
    assert (searched.parent / 'images' / 'tuning_front_gp.svg').is_file()


def told(words: list[str]) -> TuneOptions:
    return read_options(TuneOptions, 'studies tune', '', words=words)


def test_the_control_begins_with_the_same_draws(searched: Path) -> None:
    result = json.loads(searched.read_text())
    assert result['gp'][1]['params'] == result['random'][1]['params']
    assert result['gp'][2]['params'] != result['random'][2]['params']


def test_asking_again_for_as_many_trials_runs_none(searched: Path, words: list[str]) -> None:
    before = json.loads(searched.read_text())['gp']
    assert tune.main([*words, '--trials', '3']) == 0
    options = told(words)
    study = search.study_of(options, 'gp')
    assert [trial.number for trial in study.get_trials()] == [row['number'] for row in before]


def test_a_trial_whose_process_is_gone_is_queued_again(tmp_path: Path) -> None:
    options = told(['--run', str(tmp_path)])
    study = search.study_of(options, 'gp')
    lost, alive = study.ask(), study.ask()
    lost.suggest_float('match', 0.1, 1.0)
    held = Lock(tmp_path / 'running' / f'{study.study_name}_{alive.number}')
    assert held.try_now()
    assert studies.revive(study, tmp_path) == [lost.number]
    again = study.ask()
    assert again.suggest_float('match', 0.1, 1.0) == lost.params['match']
    elsewhere = study.ask()
    elsewhere.set_user_attr('host', 'another machine')
    assert studies.revive(study, tmp_path) == [again.number]
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ['FAIL', 'RUNNING', 'FAIL', 'RUNNING', 'WAITING']


@pytest.mark.slow
def test_a_database_takes_the_study_too(tmp_path: Path) -> None:
    url = f'sqlite:///{tmp_path}/studies.db'
    options = told(['--run', str(tmp_path), '--storage', url])
    first = search.study_of(options, 'random')
    first.ask()
    assert len(search.study_of(options, 'random').get_trials()) == 1


def test_a_storage_that_cannot_be_used_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*words, '--storage', 'nosuch://host/studies']) == 2
    assert 'nosuch://host/studies' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['debug', 'small'])
def test_a_point_of_the_space_becomes_settings(name: str) -> None:
    dimensions, limits = search_space.space(name), search_space.budget(name)
    base = preset(name)
    point = search_space.default_of(base, dimensions) | {'match': 0.25, 'optim.batch': 8 * 4}
    if name == 'debug':
        point['optim.batch'] = 4
    chain = search_space.suggest(optuna.trial.FixedTrial(point), base, dimensions, limits)
    assert chain.swiftdiff.match == 0.25
    assert chain.swiftdiff.optim.steps == limits.windows // point['optim.batch']
    full = search_space.at_point(base, point, None).swiftdiff.optim
    own = base.swiftdiff.optim
    assert full.steps * full.batch == pytest.approx(own.steps * own.batch, rel=0.01)


@pytest.mark.parametrize('name', PRESETS)
def test_a_study_begins_with_the_preset(name: str) -> None:
    dimensions = search_space.space(name)
    point = search_space.default_of(preset(name), dimensions)  # which lies in the space
    assert {one.name for one in dimensions} == set(point)
    assert search_space.at_point(preset(name), point, None).swiftdiff == preset(name).swiftdiff


def test_a_default_outside_of_the_space_is_named() -> None:
    dimensions = search_space.space('small')
    for name, value in (('match', '50'), ('spread', '3')):
        base = override(preset('small'), {f'swiftdiff.{name}': value})
        with pytest.raises(ConfigError, match=rf'swiftdiff\.{name}'):
            search_space.default_of(base, dimensions)


def test_pruning_compares_a_trial_with_those_no_slower_alone() -> None:
    limits = replace(search_space.budget('small'), keep=0.5, fewest=2)
    slow_and_good = [(0.5, 9.0), (0.6, 9.0), (0.7, 9.0)]
    assert not search_space.falls_behind(0.9, 3.0, slow_and_good, limits)
    assert search_space.falls_behind(0.9, 9.0, slow_and_good, limits)
    assert not search_space.falls_behind(0.55, 9.0, slow_and_good, limits)
    assert not search_space.falls_behind(0.9, 9.0, slow_and_good[:1], limits)


@pytest.mark.slow
def test_a_trial_that_is_given_up_is_estimated_and_counted_as_such(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert search_space.extrapolated(2.0, 0, [[1.0, 0.9], [1.0, 0.7], [2.0, 1.6]]) == 1.6
    assert search_space.extrapolated(2.0, 1, [[1.0, 0.9]]) == 2.0
    monkeypatch.setattr(search, 'falls_behind', lambda *given: len(given[2]) == 2)  # the third
    given = [*words, '--sampler', 'random', '--trials', '4', '--run', str(tmp_path)]
    assert tune.main(given) == 0
    study = search.study_of(told(given), 'random')
    rows = studies.rows_of(study, search_space.space('debug'))
    assert [row['state'] for row in rows] == ['complete', 'complete', 'pruned', 'complete']
    whole = [(row['rungs'][0], row['error']) for row in rows[:2]]
    ratio = np.median([last / first for first, last in whole])
    assert study.trials[2].values[0] == pytest.approx(rows[2]['rungs'][0] * ratio)


def test_the_front_and_its_volume() -> None:
    rows = [
        {'number': 0, 'error': 0.8, 'latency_ms': 5.0},
        {'number': 1, 'error': 0.9, 'latency_ms': 3.0},
        {'number': 2, 'error': 0.95, 'latency_ms': 4.0},
    ]
    assert studies.front_of(rows) == [1, 0]
    volume = studies.hypervolume(rows, (1.0, 10.0))
    assert volume == pytest.approx(0.1 * 7.0 + 0.1 * 5.0)
    study = optuna.create_study(directions=['minimize', 'minimize'])
    for row in rows:
        values = [row['error'], row['latency_ms']]
        study.add_trial(optuna.create_trial(values=values))
    assert [trial.number for trial in study.best_trials] == [0, 1]
    picked = studies.pick(rows, 0.7)
    assert (picked['swiftdiff']['number'], picked['swiftdiff_balance']['number']) == (0, 1)
    assert studies.pick(rows[:1], 0.7)['swiftdiff_balance']['number'] == 0


def test_the_settings_off_the_front_are_printed(
    searched: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*words, '--export']) == 0
    text = capsys.readouterr().out
    assert '--stages swiftdiff' in text
    run = Path(words[words.index('--run') + 1])
    changes = (run / 'swiftdiff_balance.settings').read_text().split()
    override(preset('debug'), dict(change.split('=') for change in changes))
    assert np.all(['=' in change for change in changes])


def test_the_page_gives_a_verdict(searched: Path) -> None:
    page = searched.with_suffix('.md')
    assert recipe_results.main(['--json', str(searched), '--out', str(page)]) == 0
    text = page.read_text()
    assert 'Tuned below untuned: **undecided (one seed)**' in text
    assert '| default, untuned |' in text
    assert 'images/tuning_front_gp.svg' in text
    unconfirmed = json.loads(searched.read_text()) | {'confirmed': []}
    assert 'nothing is claimed' in tuning_page.tuning_page(unconfirmed, 'command')


def test_a_verdict_needs_seeds_that_do_not_overlap() -> None:
    assert verdicts.verdict([0.8, 0.81], [0.82, 0.9]) == 'holds'
    assert verdicts.verdict([0.91, 0.92], [0.82, 0.9]) == 'does not hold'
    assert verdicts.verdict([0.8, 0.85], [0.82, 0.9]).startswith('undecided')
    assert verdicts.verdict([0.8], [0.82, 0.9]).startswith('undecided')


@pytest.mark.parametrize('option, wanted', [('one-step', 'one-step'), ('teacher', 'diffusion')])
def test_a_teacher_of_another_role_is_named(
    words: list[str], option: str, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = save_random(tmp_path / 'student.safetensors')
    assert tune.main([*words, f'--{option}', str(student)]) == 2
    said = capsys.readouterr().err
    assert f"student.safetensors: role 'swiftdiff'; expected a {wanted} teacher" in said


def test_test_recordings_choose_nothing(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = save_recording(tmp_path / 'walks' / 'test.npz', (100,), 40)
    assert tune.main([*words, '--val', str(test)]) == 2
    assert 'choose nothing' in capsys.readouterr().err
