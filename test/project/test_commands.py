# SPDX-License-Identifier: Apache-2.0
"""Commands that the pages and results record go on working: their words are read."""

from collections.abc import Iterator
import importlib
import json
from pathlib import Path
import re
import shlex
from typing import Any

import pytest

from studies.__main__ import VERBS as STUDIES
from training.__main__ import VERBS as TRAINING
from training.common.options import read_options
from training.common.verbs import choose
from training.data import prepare
from training.engine import run_options
from training.report import page

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {'training': TRAINING, 'studies': STUDIES}
ELSEWHERE = (prepare, run_options, page)
"""Modules that read the options of several verbs."""


class Understood(Exception):  # noqa: N818
    """The words of a command were read; nothing was done."""


def recorded() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob('docs/results/data/*.json')):
        found = json.loads(path.read_text())
        if isinstance(found, dict) and 'command' in found:
            yield path.name, found['command']
    for path in [ROOT / 'README.md', *sorted(ROOT.glob('docs/**/*.md'))]:
        text = path.read_text().replace('\\\n', ' ')
        for block in re.findall(r'^```(?:sh)?\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                if line.startswith('python -m ') and '...' not in line:
                    yield f'{path.name}', line


COMMANDS = sorted(
    {
        (command, where)
        for where, command in recorded()
        if command.split()[2:3] and command.split()[2] in PROGRAMS
    }
)


@pytest.mark.parametrize('command, where', COMMANDS)
def test_a_recorded_command_is_understood(
    command: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_read(*given: Any, **named: Any) -> None:
        read_options(*given, **named)
        raise Understood

    _, _, program, *words = shlex.split(command, comments=True)
    verbs = PROGRAMS[program]
    purposes = {name: verb.purpose for name, verb in verbs.items()}
    name, rest = choose(program, purposes, '', words)
    module = importlib.import_module(verbs[name].module)
    monkeypatch.setenv('MOTION_PREDICTOR_DATA', str(ROOT))
    for reads in (module, *ELSEWHERE):
        if hasattr(reads, 'read_options'):
            monkeypatch.setattr(reads, 'read_options', only_read)
    monkeypatch.setattr('studies.ablation.rows.read_options', only_read)
    with pytest.raises(Understood):
        module.main(rest)
