# SPDX-License-Identifier: Apache-2.0
"""The mixture's parts: each row changes what it says, is trained once, and ends in a table."""

import json
from pathlib import Path

import pytest
from random_models import save_random, save_recording

from studies.ablation import ablate_moe, recipe_results
from training.engine import runs
from training.engine.presets import preset

ROWS = ['base', 'experts_10', 'no_best', 'no_teacher']


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for split, seed in (('train', 0), ('val', 20)):
        save_recording(tmp_path / 'walks' / f'{split}.npz', (100, 90), seed)
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    monkeypatch.setattr(runs, 'default_weights', lambda name: tmp_path / f'{name}.safetensors')
    return [
        '--preset', 'debug', '--data', str(tmp_path / 'walks' / 'train.npz'),
        '--run', str(tmp_path / 'run'), '--seeds', '1', '--quiet', '--rows', *ROWS,
    ]  # fmt: skip


@pytest.mark.slow
def test_rows_are_scored_recalled_and_make_a_page(words: list[str], tmp_path: Path) -> None:
    out, page = tmp_path / 'moe.json', tmp_path / 'moe.md'
    assert ablate_moe.main([*words, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    assert [found['row'] for found in result['results']] == ROWS
    for found in result['results']:
        assert set(found['scores']) == {'walks/val'}
        assert {'ade', 'apd', 'nll', 'used'} <= set(found['scores']['walks/val'])
    errors = {found['row']: found['error']['val'] for found in result['results']}
    assert len(set(errors.values())) == len(ROWS)
    assert errors['base'] == pytest.approx(1.0, abs=1e-4)
    kept = [path.name.split('_')[0] for path in (tmp_path / 'run' / 'moe_samples').iterdir()]
    assert sorted(kept) == ['futures', 'windows']  # which rows share
    assert ablate_moe.main([*words, '--json', str(out)]) == 0
    assert json.loads(out.read_text())['results'] == result['results']
    assert recipe_results.main(['--json', str(out), '--out', str(page)]) == 0
    text = page.read_text()
    assert '(`no_best`): better than the base **' in text
    assert '| APD | NLL | USED |' in text
    assert 'former preset' not in text


@pytest.mark.slow
def test_the_page_says_what_the_preset_has_changed_in_since(
    words: list[str], tmp_path: Path
) -> None:
    out, page = tmp_path / 'moe.json', tmp_path / 'moe.md'
    assert ablate_moe.main([*words, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    result['base']['best'] = 3.5
    result['base']['vdd']['real'] = 0.7
    del result['base']['plain_rank']  # as in a file from before there was such a setting
    result['base']['cross_fit'].pop('optim')  # nor such a group
    result['base']['match'] = 1.5  # and one from before such a one was taken away
    out.write_text(json.dumps(result))
    assert recipe_results.main(['--json', str(out), '--out', str(page)]) == 0
    (said,) = [line for line in page.read_text().splitlines() if 'former preset' in line]
    assert sorted(said.split(': ')[1].rstrip('.').split(', ')) == [
        '`best` 3.5 -> 1.0',
        '`cross_fit.optim.batch` 512 -> 16',
        '`cross_fit.optim.ema` 0.9995 -> 0.999',
        '`cross_fit.optim.steps` 5000 -> 4',
        '`cross_fit.optim.warmup_steps` 500 -> 200',
        '`match` 1.5 -> no such setting',
        '`plain_rank` 8 -> 1',
        '`vdd.real` 0.7 -> 0.1',
    ]


def test_every_row_fits_the_settings() -> None:
    for name in ('debug', 'small', 'full'):
        base = preset(name)
        limits = ablate_moe.budget(name)
        made = [ablate_moe.settings_of(row, base, limits, 0) for row in ablate_moe.ROWS]
        begun = [chain.moe.likelihood_first + chain.moe.vdd.steps for chain in made]
        assert set(begun) == {limits.steps}
    base = preset('small')
    made = [ablate_moe.settings_of(row, base, limits, 0) for row in ablate_moe.ROWS]
    assert len({str(chain) for chain in made}) == len(made)
