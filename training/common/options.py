# SPDX-License-Identifier: Apache-2.0
"""The options of a verb: a frozen dataclass that tyro fills from the command line."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import sys
from typing import Any, NoReturn, TypeVar

import tyro

from training.common.verbs import called

Options = TypeVar('Options')


def read_options(
    kind: type[Options],
    program: str,
    purpose: str | None,
    example: str = '',
    words: Sequence[str] | None = None,
    default: Options | None = None,
) -> Options:
    """
    Read a verb's options from the words of the command line.

    Every field is an option of its name with dashes. The docstring below the field is the option's
    help.

    :param kind: a frozen dataclass. A list without a default must not be empty.
    :param program: the words after ``python -m``.
    :param purpose: first text of ``--help``.
    :param example: worked examples, the next text of ``--help``.
    :param words: words of the command line; the default is this process's own.
    :param default: source of the values of fields that the words do not name.
    :raises SystemExit: with code 2 if words cannot be used, with the reason on standard error;
        with code 0 after ``--help``.
    """
    given = list(sys.argv[1:] if words is None else words)
    options: Options = tyro.cli(
        kind,
        prog=called(program),
        description='\n\n'.join(part.strip('\n') for part in (purpose or '', example) if part),
        args=given,
        default=tyro.MISSING_NONPROP if default is None else default,
        config=(tyro.conf.DisallowNone,),
    )
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if is_required(field) and getattr(options, field.name) == ():
            flag = field.name.replace('_', '-')
            refuse(program, f'--{flag}: give one value or more')
    return options


def refuse(program: str, why: str) -> NoReturn:
    """
    End a verb whose options cannot be used together.

    :param program: the words after ``python -m``.
    :param why: a sentence that names the options and the remedy.
    :raises SystemExit: with code 2; standard error says why.
    """
    print(f'{called(program)}: {why}; see --help', file=sys.stderr)
    raise SystemExit(2)


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def about(doc: str | None) -> str:
    """Return the text of a verb's docstring after its first paragraph, for its help."""
    return (doc or '').split('\n\n', 1)[-1]
