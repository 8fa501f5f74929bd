# SPDX-License-Identifier: Apache-2.0
"""Ablations: each row changes what it says, is trained once, and ends in a table."""

from dataclasses import replace
import json
from pathlib import Path

import pytest
from random_models import random_model, save_random, save_recording
import torch
from torch.distributions import Categorical, kl_divergence, Normal

from motion_predictor.errors import ConfigError
from motion_predictor.model.weights import save_weights
from studies.ablation import ablate, ablated_loss, claims, recipe_results, swiftdiff_rows
from studies.common.students import fresh_model
from training.data.pool import EncodedPool
from training.engine.presets import preset
from training.judge.temperature import HIGHEST, LOWEST
from training.stages.swiftdiff import SwiftDiffLoss

ROWS = ['base', 'base_one_stage', 'pairs_x0', 'kl_gaussian', 'kl_softmax']


@pytest.fixture(scope='module')
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp('ablate')
    for split, seed in (('train', 0), ('val', 20), ('test', 40)):
        save_recording(folder / 'walks' / f'{split}.npz', (100, 90), seed)
    return [
        '--preset', 'debug', '--data', str(folder / 'walks' / 'train.npz'),
        '--teacher', str(save_random(folder / 'teacher.safetensors', 'teacher', deviation=0.05)),
        '--one-step', str(save_random(folder / 'one_step.safetensors', 'one_step')),
        '--run', str(folder / 'run'), '--seeds', '1', '--quiet',
    ]  # fmt: skip


@pytest.fixture(scope='module')
def ablated(words: list[str]) -> Path:
    out = Path(words[words.index('--run') + 1]).parent / 'docs' / 'ablations.json'
    shipped = ['--as-varied', '--shipped', words[words.index('--one-step') + 1]]
    assert ablate.main([*words, *shipped, '--rows', *ROWS, '--json', str(out)]) == 0
    return out


@pytest.fixture(scope='module')
def pool() -> EncodedPool:
    one_step = random_model('one_step')
    generator = torch.Generator().manual_seed(0)
    state = 0.1 * torch.randn(12, 20, 51, generator=generator)
    condition = torch.randn(12, one_step.config.condition_rows, 51, generator=generator)
    by_state, by_condition = one_step.state, one_step.condition
    return EncodedPool(
        by_state.apply(state),
        by_condition.apply(condition),
        by_state.apply(torch.zeros(1, 20, 51)),
        by_state,
        by_condition,
        torch.arange(12) % 4 > 0,
    )


@pytest.mark.slow
def test_every_row_is_scored_on_val_and_test_of_every_set(ablated: Path) -> None:
    result = json.loads(ablated.read_text())
    assert [found['row'] for found in result['results']] == ROWS
    for found in result['results']:
        assert set(found['scores']) == {'walks/val', 'walks/test'}
        assert set(found['error']) == {'val', 'test'}
    errors = {found['row']: found['error']['val'] for found in result['results']}
    assert len(set(errors.values())) == len(ROWS)
    assert {row['persons'] for row in result['latency'] if row['model'] == 'base'} == {1, 8, 32}
    # the shipped one is as varied on val as the teacher; students of four steps cannot be
    mine = result['shipped']
    assert LOWEST < mine['temperature'] < HIGHEST
    assert mine['scores']['walks/val']['apd'] == pytest.approx(result['apd'], rel=0.02)
    for found in result['results']:
        assert found['temperature'] == HIGHEST
        assert found['scores']['walks/val']['apd'] < result['apd']
    # what is beside the rows is here the reference itself, at another temperature
    own, theirs = mine['scores']['walks/test'], result['reference']['walks/test']
    ratios = [own[name] / theirs[name] for name in ('ade', 'fde', 'mmade', 'mmfde')]
    assert mine['error']['test'] == pytest.approx(sum(ratios) / 4.0, abs=1e-6) != 1.0


def test_the_page_judges_the_claims_whose_rows_were_run(ablated: Path) -> None:
    page = ablated.with_suffix('.md')
    assert recipe_results.main(['--json', str(ablated), '--out', str(page)]) == 0
    text = page.read_text()
    assert '`base` against `base_one_stage`' in text
    result = json.loads(ablated.read_text())
    mine = result['shipped']['error']['val']
    above = sum(found['error']['val'] > mine for found in result['results'])
    assert f'{mine:.3f} on val (below {above} of the 5 rows)' in text
    assert f'Here: {result["apd"]:.3f} m.' in text
    assert 'against `no_real`' not in text
    known = {row.name for row in swiftdiff_rows.ROWS}
    assert {name for claim in claims.CLAIMS for name in (claim.better, claim.worse)} <= (known)


def test_students_are_scored_as_they_come_where_nothing_else_is_asked_for(
    words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / 'ablations.json'
    more = ['--shipped', words[words.index('--one-step') + 1], '--rows', 'base', '--no-times']
    assert ablate.main([*words, *more, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    assert result['apd'] is None
    assert {found['temperature'] for found in result['results']} == {1.0}
    assert result['shipped']['scores'] == result['reference']
    assert result['shipped']['error'] == {'val': 1.0, 'test': 1.0}
    page = tmp_path / 'page.md'
    assert recipe_results.main(['--json', str(out), '--out', str(page)]) == 0
    assert 'Read with care' in page.read_text()


def test_another_file_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'other.json'
    path.write_text('{"format": "something else"}')
    assert recipe_results.main(['--json', str(path), '--out', str(tmp_path / 'page.md')]) == 2
    assert 'something else' in capsys.readouterr().err


def test_a_finished_row_is_recalled(ablated: Path, words: list[str]) -> None:
    results = sorted((Path(words[words.index('--run') + 1]) / 'rows').glob('*/result.json'))
    before = [path.stat().st_mtime_ns for path in results]
    again = ablated.with_name('again.json')
    assert ablate.main([*words, '--as-varied', '--rows', *ROWS, '--json', str(again)]) == 0
    assert [path.stat().st_mtime_ns for path in results] == before
    first, second = (json.loads(path.read_text()) for path in (ablated, again))
    assert first['results'] == second['results']


def test_a_row_changes_its_settings_and_no_others() -> None:
    base, limits = preset('small'), swiftdiff_rows.budget('small')
    row = next(row for row in swiftdiff_rows.ROWS if row.name == 'eps_801')
    changed = swiftdiff_rows.settings_of(row, base, limits, 1)
    own = swiftdiff_rows.settings_of(swiftdiff_rows.ROWS[0], base, limits, 1)
    model = replace(changed.swiftdiff.model, prediction='x0', t_star=own.swiftdiff.model.t_star)
    assert changed.swiftdiff.model.t_star == 801
    assert replace(changed.swiftdiff, model=model) == own.swiftdiff


@pytest.mark.parametrize('name', [row.name for row in swiftdiff_rows.ROWS])
def test_every_row_fits_the_preset_it_is_for(name: str) -> None:
    row = next(row for row in swiftdiff_rows.ROWS if row.name == name)
    chain = swiftdiff_rows.settings_of(row, preset('small'), swiftdiff_rows.budget('small'), 0)
    for setting, value in row.changes.items():
        found = chain.swiftdiff
        for part in setting.split('.'):
            found = getattr(found, part)
        assert type(found)(value) == found


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(ConfigError, match='depth_99'):
        swiftdiff_rows.rows_for(['depth_99'], 'small')


def test_the_divergences_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    found, target = torch.randn(2, 3, 5, 4, 6, generator=generator)
    mine = ablated_loss.kl_of_softmaxes(found, target)
    flat = [values.flatten(0, 1).flatten(1) for values in (target, found)]
    wanted = kl_divergence(Categorical(logits=flat[0]), Categorical(logits=flat[1])).mean()
    assert mine == pytest.approx(float(wanted), rel=1e-4)
    fits = [
        Normal(values.mean(dim=1), (values.var(dim=1) + 0.05).sqrt()) for values in (target, found)
    ]
    gaussian = ablated_loss.kl_of_gaussians(found, target)
    assert gaussian == pytest.approx(float(kl_divergence(fits[0], fits[1]).mean()), rel=1e-4)
    assert ablated_loss.kl_of_gaussians(target, target).abs() < 1e-6
    assert ablated_loss.kl_of_softmaxes(target, target).abs() < 1e-6


def test_on_clean_windows_the_distance_is_that_of_stage_two(pool: EncodedPool) -> None:
    chain = swiftdiff_rows.settings_of(
        swiftdiff_rows.ROWS[1], preset('debug'), swiftdiff_rows.budget('debug'), 0
    )
    config = chain.swiftdiff
    student = fresh_model(chain.model_of('swiftdiff'), pool)
    torch.nn.init.normal_(student.denoiser.out.weight, std=0.1)
    one_step = random_model('one_step')
    chosen = pool.clean.nonzero().squeeze(-1)
    clean = replace(
        pool,
        state=pool.state[chosen],
        condition=pool.condition[chosen],
        clean=pool.clean[chosen],
    )
    plain = SwiftDiffLoss(replace(config, samples=config.matched), student, one_step, clean)
    losses = [
        float(loss(student.denoiser, torch.Generator().manual_seed(3))['loss'].detach())
        for loss in (
            plain,
            ablated_loss.AblatedLoss(config, student, one_step, clean),
            ablated_loss.AblatedLoss(config, student, one_step, pool),
        )
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)  # noisy windows are passed over


def test_a_student_that_gives_the_pairs_has_nothing_to_learn(pool: EncodedPool) -> None:
    chain = swiftdiff_rows.settings_of(
        swiftdiff_rows.ROWS[1], preset('debug'), swiftdiff_rows.budget('debug'), 0
    )
    config = chain.swiftdiff
    student = fresh_model(chain.model_of('swiftdiff'), pool)
    torch.nn.init.normal_(student.denoiser.out.weight, std=0.1)
    noise = torch.randn(12, 20, 51, generator=torch.Generator().manual_seed(4))
    chosen = torch.arange(12)
    target = ablated_loss.estimate(student, noise, pool.condition)
    for shift, least in ((0.0, 0.0), (1.0, 1e-3)):
        pairs = ablated_loss.Pairs(chosen, noise, target.detach() + shift)
        loss = ablated_loss.AblatedLoss(
            config, student, random_model('one_step'), pool, pairs=pairs
        )
        value = float(loss(student.denoiser, torch.Generator())['loss'].detach())
        assert value == pytest.approx(0.0, abs=1e-8) if shift == 0.0 else value > least


def test_a_teacher_of_another_training_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = random_model('teacher')
    other.state_scale.fill_(0.3)
    save_weights(tmp_path / 'other.safetensors', other, {'what': 'for tests'})
    given = [*words, '--teacher', str(tmp_path / 'other.safetensors'), '--rows', 'pairs_x0']
    assert ablate.main(given) == 2
    assert 'state_scale' in capsys.readouterr().err
