# SPDX-License-Identifier: Apache-2.0
"""What training verbs can be told, and config.yaml, which starts a run again."""

from dataclasses import replace
import json
from pathlib import Path
import sys

import pytest

from motion_predictor.errors import ConfigError
from training.engine.presets import preset
from training.engine.run_config import read_config, write_config
from training.engine.run_options import parse_run
from training.engine.runs import open_stage, Run

STAGES = ('one_step', 'swiftdiff')
DEBUG = ('--preset', 'debug', '--device', 'cpu')


def parsed(*words: str):
    return parse_run('training train swiftdiff', 'Purpose.', 'example', words, STAGES)


def test_settings_are_options_and_set_says_the_same() -> None:
    _, by_option = parsed(*DEBUG, '--teacher.optim.steps', '7', '--no-whiten', '--seed', '3')
    words = ('--set', 'teacher.optim.steps=7', 'whiten=false')
    _, by_set = parsed(*DEBUG, *words, '--seed', '3')
    assert by_option == by_set
    assert by_set.teacher.optim.steps == 7
    assert by_set.seed == 3
    assert not by_set.whiten


def test_a_run_is_where_it_is_told_and_of_the_stages_it_is_told(tmp_path: Path) -> None:
    run, chain = parsed(*DEBUG, '--run-folder', str(tmp_path), '--stages', 'swiftdiff')
    assert run == Run(tmp_path, (), 'cpu', ('swiftdiff',))
    assert parsed(*DEBUG)[0].folder == Path('runs/debug')
    assert parsed(*DEBUG)[0].stages == STAGES
    assert chain == preset('debug')


@pytest.mark.parametrize(
    'words, message',
    [
        (('--stages', 'teacher'), r'--stages teacher: must be of one_step, swiftdiff'),
        (('--set', 'teacher.optim.steps'), r'--set teacher.optim.steps: expected NAME=VALUE'),
        (('--set', 'nothing=1'), r"no setting 'nothing'"),
        (('--data', 'nowhere.npz'), r'--data: no such file or store: nowhere.npz'),
        (('--config', 'nowhere.yaml'), r'--config nowhere.yaml: holds a preset; leave --preset'),
    ],
)
def test_what_cannot_be_used_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        parsed(*DEBUG, *words)


@pytest.mark.slow
def test_a_setting_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(*DEBUG, '--teacher.optim.steps', '0')
    assert stop.value.code == 2
    assert 'steps=0: must be at least 1' in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(*DEBUG, '--teacher.optim.stepz', '5')
    assert stop.value.code == 2
    assert '--teacher.optim.stepz' in capsys.readouterr().err


@pytest.mark.slow
def test_the_config_of_a_run_starts_the_same_run(tmp_path: Path) -> None:
    words = ('--teacher.optim.steps', '7', '--seed', '3', '--set', 'swiftdiff.match=0.001')
    run, chain = parsed(*DEBUG, '--run', str(tmp_path / 'run'), *words)
    open_stage(run, chain, 'one_step')
    written = tmp_path / 'run' / 'config.yaml'
    again, settings = parsed('--config', str(written))
    assert (again, settings) == (run, chain)
    open_stage(again, settings, 'one_step')  # which refuses other settings
    other, changed = parsed('--config', str(written), '--run', 'elsewhere', '--seed', '4')
    assert other == replace(run, folder=Path('elsewhere'))
    assert changed == replace(chain, seed=4)


def test_a_dry_run_prints_what_config_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(*DEBUG, '--set', 'teacher.optim.learning_rate=1e-5', '--dry-run')
    assert stop.value.code == 0
    path = tmp_path / 'mine.yaml'
    path.write_text(capsys.readouterr().out)
    assert json.loads(path.read_text())['data'] == []
    assert parsed('--config', str(path))[1].teacher.optim.learning_rate == 1e-5


def test_a_config_with_a_setting_that_there_is_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'config.yaml'
    write_config(path, {'device': 'cpu'}, preset('debug'))
    text = path.read_text()
    path.write_text(text.replace('whiten: true', 'whitened: true'))
    with pytest.raises(ConfigError, match=r'config.yaml: ChainConfig: unknown .*whitened'):
        read_config(path)
    path.write_text(text.replace('whiten: true', 'whiten: perhaps'))
    with pytest.raises(ConfigError, match=r"config.yaml: ChainConfig.whiten='perhaps'"):
        read_config(path)
    path.write_text('a: [1')
    with pytest.raises(ConfigError, match=r'config.yaml: while parsing'):
        read_config(path)


@pytest.mark.parametrize('stage', ['teacher', 'moe'])
def test_scores_while_learning_are_refused_where_there_are_none(stage: str) -> None:
    with pytest.raises(SystemExit, match=f'--val: the {stage} is not scored'):
        parse_run('training train', 'Purpose.', '', (*DEBUG, '--val', 'val.npz'), (stage,))


def test_a_service_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(SystemExit, match='pip install wandb'):
        parsed(*DEBUG, '--logger', 'wandb')
