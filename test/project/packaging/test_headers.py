# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence, as REUSE and SPDX ask."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEADER = '# SPDX-License-Identifier: Apache-2.0'
ROOMS = ('docs', 'launch', 'motion_predictor', 'scripts', 'studies', 'test', 'tools', 'training')


@pytest.mark.parametrize('room', ROOMS)
def test_every_program_names_its_licence(room: str) -> None:
    found = {}
    for path in sorted((ROOT / room).rglob('*')):
        if not path.is_file() or '_build' in path.parts or '__pycache__' in path.parts:
            continue
        start = path.read_bytes()[:200].decode('utf-8', 'replace')
        first, *rest = start.splitlines() or ['']
        if first.startswith('#!'):
            first = rest[0] if rest else ''
        elif path.suffix != '.py':
            continue
        found[path.relative_to(ROOT).as_posix()] = first == HEADER
    assert found, f'no program in {room}'
    without = [path for path, named in found.items() if not named]
    assert not without, f'begin with {HEADER}: {without}'
