# SPDX-License-Identifier: Apache-2.0
"""Where the committed figures come from: commits of this history, or exceptions that are named."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import subprocess
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / 'docs/results'
FILES = sorted((RESULTS / 'data').glob('*.json'))
LOST = {'weighing'}
"""Results whose commit is not in the history; their pages name it."""
CHANGED = {
    'balance_calibration', 'balance_temperature', 'benchmark', 'calibration', 'engines',
    'evaluation', 'evaluation_10mm', 'moe_accuracy', 'moe_benchmark', 'moe_benchmark_paper_size',
    'moe_calibration', 'moe_mixtures', 'moe_temperature', 'moe_threshold', 'moe_without_jump',
    'streams_memory_off', 'streams_regimes', 'streams_teacher', 'temperature', 'toy_vdd',
    'toy_vdd_2000', 'toy_vdd_50000', 'tuning', 'weighing',
}  # fmt: skip
"""Results of a tree, or with a part of a tree, with uncommitted changes; a rerun removes them
from here."""


def git(*words: str) -> str:
    done = subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope='module')
def history() -> set[str]:
    """Every commit of the history; a shallow clone has too few of them."""
    if not (ROOT / '.git').exists():
        pytest.skip('no git checkout: the history of the figures cannot be seen')
    if git('rev-parse', '--is-shallow-repository').strip() == 'true':
        pytest.skip('a shallow clone: the history of the figures cannot be seen')
    return set(git('rev-list', 'HEAD').split())


def made_by(found: Any, name: str = '') -> Iterator[tuple[str, bool]]:
    """Give the commits of a result's runs, and whether the tree had changes; not of its models."""
    if isinstance(found, list):
        for each in found:
            yield from made_by(each, name)
    elif isinstance(found, dict) and name != 'card':
        if isinstance(found.get('commit'), str):
            yield found['commit'], bool(found.get('modified'))
        for key, value in found.items():
            yield from made_by(value, key)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_result_names_commits_of_the_history(path: Path, history: set[str]) -> None:
    runs = list(made_by(json.loads(path.read_text())))
    assert runs, f'{path.name} names no commit'
    strange = {commit for commit, _ in runs if commit not in history}
    if path.stem not in LOST:
        assert not strange, f'{path.name}: {strange} not in the history; run its command again'
        return
    assert strange, f'{path.name} is in order again: remove it from LOST'
    pages = ' '.join(page.read_text() for page in RESULTS.glob('*.md'))
    assert all(commit in pages for commit in strange), f'no page names {strange}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_result_is_of_a_clean_tree(path: Path) -> None:
    changed = any(modified for _, modified in made_by(json.loads(path.read_text())))
    if path.stem in CHANGED:
        assert changed, f'{path.name} is of a clean tree now: remove it from CHANGED'
    else:
        assert not changed, f'{path.name}: uncommitted changes; commit, and run its command again'
