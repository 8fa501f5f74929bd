# SPDX-License-Identifier: Apache-2.0
"""Errors of the joints that are seen while others are hidden, beside those with all seen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import save_random, save_recording

from training.judge.accuracy import evaluate
from training.judge.hiding import HIDDEN


def run(folder: Path, *more: str, roles: tuple[str, ...] = ('swiftdiff',)) -> dict[str, Any]:
    out = folder / 'out.json'
    words = ['--json', str(out), '--samples', '3', '--ddim-steps', '2', '--device', 'cpu']
    words += ['--engine', 'fp32', '--quiet', '--weights']
    words += [str(save_random(folder / f'{role}.safetensors', role)) for role in roles]
    words += ['--data', str(save_recording(folder / 'one' / 'val.npz', (76, 90)))]
    words += [str(save_recording(folder / 'two' / 'val.npz', (63,), seed=5))]
    assert evaluate.main([*words, *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_every_part_has_a_row_for_each_model_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path, '--hidden', *HIDDEN, roles=('teacher', 'swiftdiff'))
    assert [
        (row['model'], row['hidden'], row['set'], row['windows']) for row in result['rows']
    ] == [
        (model, hidden, of, count)
        for model in ('teacher', 'swiftdiff')
        for hidden in HIDDEN
        for of, count in (('one', 5), ('two', 1), ('both', 6))
    ]
    for row in result['rows']:
        for what in ('error_cm', 'energy'):
            assert set(row[what]) == {'all_seen', 'hidden', 'standing_still'}
        errors = row['error_cm']
        np.testing.assert_allclose(
            row['error_ratio'], np.divide(errors['hidden'], errors['all_seen']), atol=2e-3
        )
    assert 'swiftdiff on both/val, hips_and_legs hidden' in capsys.readouterr().out


def test_the_seed_alone_says_what_is_hidden(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, '--hidden', 'random')
    assert run(tmp_path, '--hidden', 'random', '--batch', '2')['rows'] == first['rows']
    assert run(tmp_path, '--hidden', 'random', '--seed', '5')['rows'] != first['rows']


def test_what_is_hidden_is_not_looked_at(tmp_path: Path) -> None:
    def moved_legs(path: Path) -> Path:
        with np.load(path) as file:
            arrays = dict(file)
        positions = arrays['positions'].copy()
        positions[:, [2, 3, 5, 6]] += np.array([300, -200, 100], dtype=np.int16)  # millimetres
        np.savez(path, **{**arrays, 'positions': positions})
        return path

    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    plain = save_recording(tmp_path / 'one' / 'val.npz', (76, 90))
    moved = moved_legs(save_recording(tmp_path / 'two' / 'val.npz', (76, 90)))
    out = tmp_path / 'out.json'
    words = ['--data', str(plain), str(moved), '--weights', str(weights), '--json', str(out)]
    assert evaluate.main([*words, '--samples', '3', '--hidden', 'legs', '--quiet']) == 0
    one, two, _ = json.loads(out.read_text())['rows']
    assert one['error_cm']['hidden'] == two['error_cm']['hidden']
    assert one['error_cm']['all_seen'] != two['error_cm']['all_seen']


@pytest.mark.parametrize('words', [('--take-over', 'x.json'), ('--neighbours', 'x.npz')])
def test_what_does_not_go_with_it_is_refused(
    words: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    data = save_recording(tmp_path / 'one' / 'val.npz', (76,))
    given = ['--weights', str(weights), '--data', str(data), '--json', str(tmp_path / 'o.json')]
    assert evaluate.main([*given, '--hidden', 'legs', *words]) == 2
    assert '--hidden' in capsys.readouterr().err
