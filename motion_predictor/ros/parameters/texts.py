# SPDX-License-Identifier: Apache-2.0
"""Generated texts about the parameters: the table of the reference page, config/predictor.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
import textwrap
from typing import Any

from motion_predictor.ros.parameters.fields import descriptions
from motion_predictor.ros.parameters.parameter import (
    ALWAYS,
    AT_CONFIGURE,
    AT_START,
    Parameter,
    Value,
)
from motion_predictor.ros.parameters.settings import PARAMETERS, Settings

WIDTH = 99
"""Width of the parameter file in characters."""
HEADER = """\
# Parameters of the motion_predictor node: every one, with its default.
# `python3 -m motion_predictor.ros.parameters` prints what is allowed for each.
#
# "/**" applies this to the node whatever its name and namespace.
/**:
  ros__parameters:
"""
SECTIONS = (
    ('autostart',),
    ('model',),
    (
        'samples', 'horizon_s', 'seed', 'max_persons', 'reference_point_m', 'rate_limit_hz',
        'weighing', 'memory', 'catch_up_s', 'deadline_s',
    ),
    ('target_frame', 'tf_timeout_s'),
    ('input',),
    (
        'min_observed_s', 'max_joint_gap_s', 'stale_timeout_s', 'max_future_s', 'jump_back_s',
        'reassociate_within_m', 'reassociate_within_s',
    ),
    ('output',),
    ('publish',),
    ('moments',),
    ('trajectory',),
    ('poses',),
    ('occupancy',),
    ('markers',),
    ('diagnostics',),
)  # fmt: skip
"""Fields of :class:`Settings` in the order of the parameter file, with a blank line between
sections."""


def markdown_table(declared: Iterable[Parameter] = PARAMETERS) -> str:
    """
    Return a table of the reference page, one row per parameter.

    :param declared: parameters of the predictor, or of another node.
    """
    lines = [
        '| parameter | type | default | allowed | unit | change | meaning |',
        '|---|---|---|---|---|---|---|',
    ]
    change = {AT_START: 'read-only', AT_CONFIGURE: 'before configure', ALWAYS: 'any time'}
    for p in declared:
        default = _yaml(p.default, "'")
        lines.append(
            f'| `{p.name}` | {p.type_name} | `{default}` | {p.allowed} | {p.unit} '
            f'| {change[p.applies]} | {p.description} |'
        )
    return '\n'.join(lines)


def parameter_file() -> str:
    """Return the text of ``config/predictor.yaml``: all parameters with their defaults."""
    settings = Settings()
    sections = ['\n'.join(entries(settings, names, indent=4)) for names in SECTIONS]
    return HEADER + '\n\n'.join(sections) + '\n'


def entries(record: Any, names: Iterable[str], indent: int) -> list[str]:
    """
    Return the lines of a parameter file for some fields of a record, each below its comment.

    :param names: of the fields; groups among them are written as a whole.
    :param indent: spaces before each line.
    """
    lines: list[str] = []
    known, words = {item.name: item for item in fields(record)}, descriptions(record.__class__)
    before = ' ' * indent
    for name in names:
        value = getattr(record, name)
        if is_dataclass(value):
            inner = [item.name for item in fields(value)]
            lines += [f'{before}{name}:', *entries(value, inner, indent + 2)]
            continue
        text = _comment(name, words[name], known[name].metadata['parameter'])
        comment = textwrap.wrap(text, WIDTH - indent - 2, break_on_hyphens=False)
        lines += [*(f'{before}# {line}' for line in comment), f'{before}{name}: {_yaml(value)}']
    return lines


def _comment(name: str, description: str, declared: Parameter) -> str:
    # Most names end with their unit.
    named = name.endswith(f'_{declared.unit.lower()}') or name == declared.unit
    unit = f' ({declared.unit})' if declared.unit and not named else ''
    choices = f' One of {", ".join(declared.choices)}.' if declared.choices else ''
    return f'{description}{choices}{unit}'


def _yaml(value: Value, quotes: str = '"') -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return '[' + ', '.join(_yaml(item, quotes) for item in value) + ']'
    return f'{quotes}{value}{quotes}' if isinstance(value, str) else str(value)
