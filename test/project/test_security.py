# SPDX-License-Identifier: Apache-2.0
"""What must not be in code that reads files and messages of others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from motion_predictor.body.layout_file import layout, MAX_FILE_BYTES
from motion_predictor.errors import SkeletonError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / 'motion_predictor').rglob('*.py')) + sorted(ROOT.glob('launch/*.py'))
BANNED_MODULES = {
    'pickle', 'cPickle', '_pickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve',
    'subprocess', 'ctypes', 'socket', 'urllib', 'http', 'requests',
}  # fmt: skip
BANNED_BUILTINS = {'eval', 'exec', 'compile', '__import__'}
BANNED_METHODS = {'system', 'popen', 'run_path'}
YAML_LOADERS = {'load', 'load_all', 'full_load', 'full_load_all', 'unsafe_load'}


def dangers(source: str) -> Iterator[str]:
    """Return what in a source could run somebody else's code, or reach for the network."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or '']
            yield from (name for name in names if name.split('.')[0] in BANNED_MODULES)
        elif isinstance(node, ast.Call):
            yield from _dangers_of_call(node)
        elif isinstance(node, ast.Attribute) and node.attr == '__reduce__':
            yield '__reduce__'


def _dangers_of_call(node: ast.Call) -> Iterator[str]:
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    of = owner.id if isinstance(owner, ast.Name) else ''
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
    settings = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in (BANNED_METHODS if isinstance(node.func, ast.Attribute) else BANNED_BUILTINS):
        yield f'{name}()'
    if of == 'torch' and name == 'load':
        yield 'torch.load()'
    if of == 'yaml' and name in YAML_LOADERS:
        yield f'yaml.{name}()'
    if of in ('np', 'numpy') and name in ('load', 'fromfile'):
        allowed = settings.get('allow_pickle')
        if not (isinstance(allowed, ast.Constant) and allowed.value is False):
            yield f'np.{name}() without allow_pickle=False'
    shell = settings.get('shell')
    if isinstance(shell, ast.Constant) and shell.value:
        yield 'shell=True'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.name)
def test_nothing_at_run_time_unpickles_runs_or_fetches(path: Path) -> None:
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'training').rglob('*.py')), ids=lambda path: path.name
)
def test_training_unpickles_nothing_either(path: Path) -> None:
    found = {danger.split('.')[0] for danger in dangers(path.read_text())}
    assert not found & (BANNED_MODULES - {'subprocess', 'socket', 'ctypes'} | {'np', 'yaml'})


@pytest.mark.parametrize(
    'source',
    [
        'import pickle', 'from pickle import loads', 'torch.load(p)', 'np.load(p)', 'eval(x)',
        'np.load(p, allow_pickle=True)', 'yaml.load(t)', 'os.system("x")', 'import socket',
        'def f():\n    import dill.source',
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert list(dangers(source))


def test_what_is_harmless_is_not_found() -> None:
    assert not list(dangers('np.load(p, allow_pickle=False); yaml.safe_load(t); re.compile(t)'))


def test_mapping_files_that_swell_or_are_no_files_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / 'bomb.yaml'
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 10)]
    bomb.write_text('\n'.join([*lines, 'thorax_rise_m: *a9', 'joints: []', 'mapping: {}']))
    deep = tmp_path / 'deep.json'
    deep.write_text('[' * 100_000)
    large = tmp_path / 'large.json'
    large.write_text(' ' * (MAX_FILE_BYTES + 1))
    endless = tmp_path / 'endless.yaml'
    endless.symlink_to('/dev/zero')
    for path, words in (
        (bomb, 'aliases'), (deep, 'deep.json'), (large, 'at most'), (endless, 'is a device'),
        (tmp_path / 'none.json', 'no such file'),
    ):  # fmt: skip
        with pytest.raises(SkeletonError, match=words):
            layout(str(path))
