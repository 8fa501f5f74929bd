# SPDX-License-Identifier: Apache-2.0
"""
Weights go to a repository of the Hub and come back.

The Hub is a stand-in on this machine that knows the requests of these tests; the library that
talks to it is the real one. It takes every file as a regular one: large files' own way (LFS, Xet)
is not tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys

from hub_server import hub_server
import pytest
from random_models import save_random

pytest.importorskip('huggingface_hub')

pytestmark = pytest.mark.slow  # each run of the verb is a process that imports torch

HUB = 'import sys; from motion_predictor.model.hub import main; sys.exit(main(sys.argv[1:]))'
Files = dict[str, dict[str, bytes]]


class Hub:
    """Runs the verb against an address, in a process, since the library reads it once."""

    def __init__(self, address: str, files: Files, home: Path) -> None:
        self.address, self.files, self.home = address, files, home

    def run(self, *words: str, program: str = HUB) -> subprocess.CompletedProcess[str]:
        kept = {'PATH': '/usr/bin:/bin', 'HOME': str(self.home), 'HF_HOME': str(self.home / 'hf')}
        kept |= {'HF_ENDPOINT': self.address, 'HF_TOKEN': 'hf_none', 'OMP_NUM_THREADS': '1'}
        kept |= {'NO_PROXY': '*', 'HF_HUB_DISABLE_TELEMETRY': '1'}
        return subprocess.run(
            [sys.executable, '-c', program, *words],
            cwd=Path(__file__).parents[2], env=kept, capture_output=True, text=True,
        )  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server() as (address, files):
        yield Hub(address, files, tmp_path / 'home')


def test_weights_and_card_are_pushed_and_come_back_the_same(hub: Hub, tmp_path: Path) -> None:
    weights = save_random(tmp_path / 'mine.safetensors')
    weights.with_suffix('.md').write_text('# mine\n')
    pushed = hub.run('push', str(weights), 'lab/people')
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.strip().startswith(f'{hub.address}/lab/people/commit/')
    assert hub.files['lab/people'] == {
        'mine.safetensors': weights.read_bytes(), 'README.md': b'# mine\n'
    }  # fmt: skip
    pulled = hub.run('pull', 'lab/people', '--to', str(tmp_path / 'got'))
    assert pulled.returncode == 0, pulled.stderr
    path = Path(pulled.stdout.strip())
    assert path == tmp_path / 'got' / 'mine.safetensors'
    assert path.read_bytes() == weights.read_bytes()


def test_what_cannot_be_pulled_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.files['lab/two'] = {'a.safetensors': b'x', 'b.safetensors': b'x'}
    hub.files['lab/none'] = {'README.md': b''}
    to = ['--to', str(tmp_path / 'got')]
    for words, told in (
        (['lab/two'], 'name one of its .safetensors files with --file; it has a.safetensors, b'),
        (['lab/none'], '--file; it has none'),
        (['lab/two', '--file', 'a.safetensors'], 'a.safetensors'),  # which is no weights file
        (['lab/two', '--file', 'c.safetensors'], 'lab/two: cannot be pulled: EntryNotFound'),
        (['lab/absent'], 'lab/absent: cannot be pulled: RepositoryNotFound'),
        (['no name at all'], 'no name at all: cannot be pulled: HFValidationError'),
    ):
        done = hub.run('pull', *words, *to)
        assert done.returncode == 2, done
        assert done.stderr.startswith('error: ')
        assert told in done.stderr
        assert 'Traceback' not in done.stderr


def test_no_network_and_no_package_say_so(hub: Hub, tmp_path: Path) -> None:
    weights = save_random(tmp_path / 'mine.safetensors')
    hub.address = 'http://127.0.0.1:9'  # where nobody listens
    for words, told in (
        (['pull', 'lab/people'], 'lab/people: cannot be pulled: ConnectionError'),
        (['push', str(weights), 'lab/people'], 'cannot be pushed to lab/people: ConnectionError'),
    ):
        done = hub.run(*words)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    without = f"import sys; sys.modules['huggingface_hub'] = None\n{HUB}"
    done = hub.run('pull', 'lab/people', program=without)
    assert done.returncode == 2
    assert "pip install 'motion-predictor[hub]'" in done.stderr


def test_a_file_that_is_no_weights_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / 'mine.safetensors'
    path.write_bytes(b'\x08\x00')
    done = hub.run('push', str(path), 'lab/people')
    assert done.returncode == 2
    assert 'mine.safetensors' in done.stderr
    assert hub.files == {}
