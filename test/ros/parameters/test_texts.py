# SPDX-License-Identifier: Apache-2.0
"""What is written about the parameters, and the files that must agree with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

from motion_predictor.ros.parameters import markdown_table, parameter_file, PARAMETERS, Settings
from motion_predictor.ros.parameters.texts import SECTIONS

ROOT = Path(__file__).resolve().parents[3]


def flattened(values: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value, f'{prefix}{key}.')
        else:
            yield prefix + key, value


def test_the_parameter_file_is_made_of_the_declarations() -> None:
    assert (ROOT / 'config' / 'predictor.yaml').read_text() == parameter_file()


def test_the_parameter_file_holds_every_default() -> None:
    yaml = pytest.importorskip('yaml')
    content = yaml.safe_load(parameter_file())
    values = dict(flattened(content['/**']['ros__parameters']))
    assert values.keys() == {parameter.name for parameter in PARAMETERS}
    for parameter in PARAMETERS:
        assert parameter.check(values[parameter.name]) == parameter.default, parameter.name


def test_the_sections_of_the_parameter_file_hold_every_field_once() -> None:
    names = [name for section in SECTIONS for name in section]
    assert sorted(names) == sorted(item.name for item in fields(Settings))


def test_the_table_has_a_row_for_every_parameter() -> None:
    rows = markdown_table().splitlines()
    assert len(rows) == len(PARAMETERS) + 2
    assert all(row.count('|') == 8 for row in rows)


def test_the_room_is_a_program_that_prints_the_table() -> None:
    printed = subprocess.run(
        [sys.executable, '-m', 'motion_predictor.ros.parameters'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert printed.stdout == markdown_table() + '\n'
