# SPDX-License-Identifier: Apache-2.0
"""``motion-predictor VERB``: which verbs there are, and what is said where something is absent."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

from motion_predictor import bundle, commands
from training.__main__ import VERBS

ROOT = Path(__file__).resolve().parents[3]
WITHOUT = """
import builtins, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {absent!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
from motion_predictor.commands import main
sys.exit(main({words!r}))
"""


def without(absent: set[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb where packages are not installed."""
    program = WITHOUT.format(absent=absent, words=list(words))
    return subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True
    )


def test_help_names_every_verb_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(['--help']) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in [*commands.OWN, *commands.BESIDE, *VERBS]:
        assert sum(line.startswith(f'  {name}  ') for line in lines) == 1, name


def test_no_verb_of_training_hides_behind_another() -> None:
    assert not {name.split()[0] for name in VERBS} & {*commands.OWN, *commands.BESIDE}


@pytest.mark.parametrize('words, said', [([], 'usage'), (['evaluat'], 'expected one of: node')])
def test_an_unknown_verb_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(words) == 2
    written = capsys.readouterr()
    assert said in written.out + written.err


@pytest.mark.slow
@pytest.mark.parametrize(
    'absent, verb, extra',
    [
        ('tyro', 'evaluate', 'training'),
        ('rclpy', 'node', 'ros'),
        ('rclpy', 'replay', 'ros'),
        ('rclpy', 'demo', 'demo'),
        ('matplotlib', 'demo', 'demo'),
        ('rclpy rcl_interfaces lifecycle_msgs geometry_msgs builtin_interfaces', 'node', 'ros'),
        ('rclpy rcl_interfaces lifecycle_msgs geometry_msgs builtin_interfaces', 'replay', 'ros'),
    ],
)
def test_a_verb_says_which_extra_it_lacks(absent: str, verb: str, extra: str) -> None:
    pytest.importorskip('tqdm', reason='tqdm is not installed, which is asked for first')
    words = ['--seconds', '5'] if verb == 'demo' else ['--help']
    done = without({*absent.split()}, verb, *words)
    assert done.returncode == 2
    assert f'needs {absent.split()[0]}' in done.stderr
    assert f"pip install 'motion-predictor[{extra}]'" in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_a_fault_of_our_own_is_no_missing_extra() -> None:
    done = without({'safetensors'}, 'node')
    assert done.returncode == 1
    assert 'pip install' not in done.stderr


def test_without_the_programs_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, 'in_source_tree', lambda: False)
    assert commands.main(['train', 'teacher']) == 2
    assert 'pip install motion-predictor[training]' in capsys.readouterr().err
    assert commands.main(['--help']) == 0
    assert '  node  ' in capsys.readouterr().out


@pytest.mark.slow
def test_help_of_a_verb_is_typed_as_it_was_begun() -> None:
    pytest.importorskip('tqdm')
    pytest.importorskip('tyro')
    done = without(set(), 'evaluate', '--help')
    assert done.returncode == 0
    assert 'usage: motion-predictor evaluate' in done.stdout


def test_every_extra_that_is_named_exists() -> None:
    text = (ROOT / 'setup.py').read_text()
    for extra in {*commands.EXTRAS.values(), 'demo'}:
        assert f"'{extra}': " in text
