# SPDX-License-Identifier: Apache-2.0
"""A wheel: what it carries, and that it runs in a fresh environment with an empty HOME."""

from __future__ import annotations

from email.parser import Parser
import os
from pathlib import Path
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = 'motion_predictor/bundle_files'
LEFT_OUT = shutil.ignore_patterns(
    '.*', '__pycache__', 'build', 'install', 'log', 'runs', 'demo_output', '*.egg-info', 'shared'
)
HERE = """
import motion_predictor
from motion_predictor.bundle import add_programs
from motion_predictor.model.weights import default_weights, load_weights
from motion_predictor import Predictor
print(motion_predictor.__file__)
print(default_weights(), load_weights(default_weights('moe')).digest != '')
add_programs()
import training.stages.train_teacher as teacher
print(teacher.__file__)
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tree: a build leaves folders beside its sources."""
    folder = tmp_path_factory.mktemp('wheel')
    shutil.copytree(ROOT, folder / 'tree', ignore=LEFT_OUT)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet', 'wheel']
    subprocess.run(
        [*pip, '--no-deps', '--no-build-isolation', '--wheel-dir', folder, folder / 'tree'],
        check=True,
    )
    (made,) = folder.glob('*.whl')
    return made


@pytest.mark.slow
def test_it_carries_weights_types_and_training_in_one_folder(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition('/')[0] for name in names}
    assert {top for top in tops if '.' not in top} == {'motion_predictor'}
    assert 'motion_predictor/py.typed' in names
    for path in (ROOT / 'resource' / 'weights').iterdir():
        assert f'{BUNDLE}/weights/{path.name}' in names
        assert not any(f'share/motion_predictor/weights/{path.name}' in name for name in names)
    for folder in ('training', 'tools/demo', 'tools/measure'):
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                assert f'{BUNDLE}/{path.relative_to(ROOT).as_posix()}' in names
    assert not any(name.startswith((f'{BUNDLE}/tools/soak', f'{BUNDLE}/test')) for name in names)


@pytest.mark.slow
def test_its_card_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (card,) = [name for name in archive.namelist() if name.endswith('.dist-info/METADATA')]
        told = Parser().parsestr(archive.read(card).decode())
        (entry,) = [name for name in archive.namelist() if name.endswith('entry_points.txt')]
        scripts = archive.read(entry).decode().split()
    assert told['Description-Content-Type'] == 'text/markdown'
    assert told.get_payload().startswith('# motion_predictor')
    assert all('https://arxiv.org/abs/' in url for url in told.get_all('Project-URL'))
    assert 'Typing :: Typed' in told.get_all('Classifier')
    assert scripts == [
        '[console_scripts]',
        'motion-predictor',
        '=',
        'motion_predictor.commands:main',
    ]


@pytest.mark.slow
@pytest.mark.ros
def test_it_runs_in_a_fresh_environment_with_an_empty_home(wheel: Path, tmp_path: Path) -> None:
    home, venv, work = tmp_path / 'home', tmp_path / 'venv', tmp_path / 'work'
    home.mkdir()
    work.mkdir()
    subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
    given = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    given |= {'HOME': str(home), 'PATH': f'{venv / "bin"}:{os.environ["PATH"]}'}

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=work, env=given, capture_output=True, text=True)

    pip = [venv / 'bin' / 'python', '-m', 'pip', '--disable-pip-version-check', 'install']
    done = run(*pip, '-c', ROOT / 'constraints.txt', f'{wheel}[demo]')
    if 'No matching distribution' in done.stderr or 'ConnectionError' in done.stderr:
        pytest.skip(f'no registry has what the wheel needs: {done.stderr.splitlines()[-1]}')
    assert done.returncode == 0, done.stderr
    command = venv / 'bin' / 'motion-predictor'

    lacking = run(command, 'evaluate')
    assert lacking.returncode == 2
    assert "pip install 'motion-predictor[training]'" in lacking.stderr

    shown = run(command, 'demo', '--seconds', '10')
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert (work / 'demo_output' / 'index.html').is_file()
    assert (work / 'demo_output' / 'session.mcap').is_file()
    assert 'predictions out' in shown.stdout

    training = ['tqdm', 'tyro', 'tensorboard', 'ruamel.yaml']
    assert run(*pip, '-c', ROOT / 'constraints.txt', *training).returncode == 0
    found = run(venv / 'bin' / 'python', '-c', HERE)
    assert found.returncode == 0, found.stderr
    package, weights, teacher = found.stdout.splitlines()
    assert all(str(venv) in line for line in (package, weights, teacher))
    assert weights.endswith('swiftdiff.safetensors True')
    assert run(command, 'train', 'teacher', '--help').returncode == 0
