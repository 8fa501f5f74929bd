# SPDX-License-Identifier: Apache-2.0
"""How large a module, a function and a folder may be, so that each can be looked over."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('motion_predictor', 'training', 'studies', 'tools', 'test')
MAX_LINES, MAX_FUNCTION, MAX_MODULES = 449, 60, 12
HEADER = '# SPDX-License-Identifier: Apache-2.0\n'
"""It is not counted: nobody reads it."""


@cache
def modules() -> dict[str, str]:
    """Every module of ours by its path, and its text."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob('*.py'))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(found)}


def test_a_module_is_short() -> None:
    lines = {path: text.removeprefix(HEADER).count('\n') for path, text in modules().items()}
    long = {path: count for path, count in lines.items() if count > MAX_LINES}
    assert not long, f'modules of more than {MAX_LINES} lines: {long}'


def test_no_two_files_of_tests_have_one_name() -> None:
    # pytest imports them by name: it could not collect the second.
    names = Counter(path.rpartition('/')[2] for path in modules() if path.startswith('test/'))
    twice = [name for name, count in names.items() if count > 1 and name.startswith('test_')]
    assert not twice, f'name the room, too: {twice}'


@pytest.mark.parametrize('package', PACKAGES)
def test_a_function_fits_on_a_screen(package: str) -> None:
    long = [
        f'{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines'
        for path, text in modules().items()
        if path.startswith(f'{package}/')
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    ]
    assert not long, '\n'.join(long)


def test_a_folder_holds_few_modules() -> None:
    folders: dict[str, int] = {}
    for path in modules():
        folder, _, name = path.rpartition('/')
        folders[folder] = folders.get(folder, 0) + (not name.startswith('__'))
    full = {folder: count for folder, count in folders.items() if count > MAX_MODULES}
    assert not full, f'folders of more than {MAX_MODULES} modules: {full}'
