# SPDX-License-Identifier: Apache-2.0
"""
What scripts/prepare deletes and installs.

The interpreter that makes the environment and apt-get are stand-ins, as a real set-up takes
minutes and a real apt-get would change this machine; the script is the real one.
"""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[3]
NEEDED = (
    'constraints.txt', 'requirements.txt', 'requirements-ros.txt', 'requirements-colcon.txt',
    'setup.py',
)  # fmt: skip
STAND_IN = f"""#!/bin/bash
case "$*" in
  *'import ensurepip'*) [ -e "$KIND/no_ensurepip" ] && exit 1; exit 0 ;;
  '-m pip'* | '-m virtualenv'*) exit 1 ;;
  '-m venv'*)
    [ -e "$KIND/full" ] && {{ echo 'no space left on device' >&2; exit 1; }}
    mkdir -p .venv/bin && touch .venv/pyvenv.cfg
    printf '#!/bin/bash\\nexit 1\\n' >.venv/bin/python && chmod +x .venv/bin/python ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
APT = '#!/bin/bash\necho "$*" >>"$KIND/apt"\nrm -f "$KIND/no_ensurepip"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with the script and the files that it reads."""
    folder = tmp_path / 'tree'
    (folder / 'scripts').mkdir(parents=True)
    shutil.copy(ROOT / 'scripts' / 'prepare', folder / 'scripts')
    for name in NEEDED:
        shutil.copy(ROOT / name, folder)
    programs = tmp_path / 'programs'
    programs.mkdir()
    for name, text in (('python', STAND_IN), ('apt-get', APT), ('sudo', '#!/bin/bash\nexit 1\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / 'id').write_text('#!/bin/bash\necho 0\n')
    (programs / 'id').chmod(0o755)
    return folder


def prepare(tree: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ('AMENT_PREFIX_PATH', 'ROS_DISTRO')}
    programs = tree.parent / 'programs'
    environment = kept | {
        'PYTHON': str(programs / 'python'),
        'PATH': f'{programs}:{kept["PATH"]}',
        'KIND': str(tree.parent),
    }
    return subprocess.run(
        [tree / 'scripts' / 'prepare'], env=environment, capture_output=True, text=True
    )


def filled(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text('precious')
    return folder


def test_a_link_is_never_cleared(tree: Path) -> None:
    elsewhere = filled(tree.parent / 'elsewhere', 'thesis.tex', 'pyvenv.cfg', 'python')
    (tree / '.venv').symlink_to(elsewhere)
    done = prepare(tree)
    assert done.returncode == 1
    assert f'is a link to {elsewhere}' in done.stderr
    assert {path.name for path in elsewhere.iterdir()} == {'thesis.tex', 'pyvenv.cfg', 'python'}
    assert (elsewhere / 'thesis.tex').read_text() == 'precious'


@pytest.mark.parametrize(
    'names, said',
    [
        (('thesis.tex',), 'is no virtual environment'),
        (('thesis.tex', 'pyvenv.cfg'), 'was not made by this script'),
    ],
)
def test_what_others_made_is_never_cleared(tree: Path, names: tuple[str, ...], said: str) -> None:
    filled(tree / '.venv', *names)
    done = prepare(tree)
    assert done.returncode == 1
    assert said in done.stderr
    assert {path.name for path in (tree / '.venv').iterdir()} == {*names}


def test_its_own_folder_is_cleared_and_that_is_said(tree: Path) -> None:
    elsewhere = filled(tree.parent / 'elsewhere', 'thesis.tex')
    venv = filled(tree / '.venv', 'old', 'pyvenv.cfg')
    (venv / 'python').write_text('wheels Python 3.9.1')
    (venv / 'lib').symlink_to(elsewhere)
    done = prepare(tree)
    assert f'deleting everything in {venv}' in done.stderr
    assert 'wheels Python 3.9.1' in done.stderr
    assert not (venv / 'old').exists()
    assert (elsewhere / 'thesis.tex').exists(), 'what a link inside leads to stays'
    assert (venv / 'python').read_text().startswith('wheels Python 3.')
    assert 'installing failed' in done.stderr, 'the stand-in ends here'


def test_an_interrupted_set_up_is_taken_up_again(tree: Path) -> None:
    (tree.parent / 'full').touch()
    assert 'could not make .venv' in prepare(tree).stderr
    (tree.parent / 'full').unlink()
    again = prepare(tree)
    assert 'made for an interrupted set-up' in again.stderr
    assert (tree / '.venv' / 'pyvenv.cfg').is_file()


def test_a_system_package_is_installed_for_ensurepip_alone(tree: Path) -> None:
    log = tree.parent / 'apt'
    (tree.parent / 'full').touch()
    assert prepare(tree).returncode == 1
    assert not log.exists(), 'a full disk is no reason to install anything'
    (tree.parent / 'full').unlink()
    (tree.parent / 'no_ensurepip').touch()
    done = prepare(tree)
    version = f'python3.{sys.version_info.minor}-venv'
    assert f'has no ensurepip: installing the system package {version}' in done.stderr
    assert log.read_text().splitlines()[-1].endswith(version)
