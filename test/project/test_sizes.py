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
LONG_MODULES = {
    'test/model/test_weights.py': (500, 'damaged files of every part'),
    'test/predict/place/memory/test_place_memory.py': (460, 'one memory, many places'),
    'test/recordings/test_bvh.py': (460, 'the habits of a dozen exporters'),
    'test/recordings/test_damaged_files.py': (490, 'damaged files of every kind'),
    'test/ros/test_bad_days.py': (460, 'processes that are asked to end'),
    'test/ros/test_node.py': (870, 'to be cut as the node is: worker, intake, outputs'),
    'test/ros/test_outputs.py': (500, 'to be cut by output'),
    'test/sources/tf/test_tf_input.py': (630, 'to be cut: the tree, ids, what is late'),
    'test/tools/demo/test_demo.py': (470, 'to be cut: clips, scores'),
    'test/training/data/test_training_data.py': (730, 'to be cut by kind of data set'),
    'test/training/data/test_training_storage.py': (460, 'disks that are full, runs that stop'),
    'test/training/judge/accuracy/test_training_evaluate.py': (540, 'to be cut: rows, page'),
}
"""Modules that are longer: the lines that they may have, which only become fewer, and why."""
FULL_FOLDERS: dict[str, tuple[int, str]] = {}
"""Folders that hold more modules: how many, which only become fewer, and why."""


@cache
def modules() -> dict[str, str]:
    """Every module of ours by its path, and its text."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob('*.py'))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(found)}


def test_a_module_is_short() -> None:
    allowed = {path: lines for path, (lines, _) in LONG_MODULES.items()}
    long = {
        path: text.count('\n')
        for path, text in modules().items()
        if text.count('\n') > allowed.get(path, MAX_LINES)
    }
    assert not long, f'modules of more than {MAX_LINES} lines, or that have grown: {long}'


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
    allowed = {folder: count for folder, (count, _) in FULL_FOLDERS.items()}
    full = {folder: n for folder, n in folders.items() if n > allowed.get(folder, MAX_MODULES)}
    assert not full, f'folders of more than {MAX_MODULES} modules, or that have grown: {full}'
