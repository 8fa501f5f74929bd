# SPDX-License-Identifier: Apache-2.0
"""One command with its verbs; each verb is the ``main`` of a module that is imported on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import importlib
from pathlib import Path
import sys
from typing import NamedTuple

from training.common.stopping import GOES_ON, NOTHING, run_verb

INSTALLED = 'motion-predictor'
"""The command that a wheel installs; it runs the verbs of training as its own."""


class Verb(NamedTuple):
    """The module of a verb, its purpose in one line, and whether it continues after a stop."""

    module: str
    purpose: str
    goes_on: bool = False


def called(program: str) -> str:
    """
    Return how a verb is typed: by the installed command where it was begun by that.

    :param program: as after ``python -m``, such as ``training evaluate``.
    """
    if Path(sys.argv[0]).name == INSTALLED:
        return program.replace('training', INSTALLED, 1)
    return f'python -m {program}'


def usage(program: str, purposes: Mapping[str, str], about: str) -> str:
    """Return the text of ``--help``: every verb and its purpose."""
    width = max(len(name) for name in purposes)
    lines = [f'  {name:<{width}}  {purpose}' for name, purpose in purposes.items()]
    return '\n'.join([f'usage: {called(program)} VERB ...', '', about, '', *lines, ''])


def choose(
    program: str, purposes: Mapping[str, str], about: str, words: Sequence[str]
) -> tuple[str, list[str]]:
    """
    Return the verb that the words begin with.

    :param program: the words after ``python -m``.
    :param purposes: purposes of the verbs by name; a name is one word or two.
    :param about: a sentence, or examples, for ``--help``.
    :param words: the verb, then its own arguments.
    :returns: name of the verb, and its arguments.
    :raises SystemExit: with code 0 after ``--help``; with code 2 if there is no such verb, with
        the reason on standard error.
    """
    for count in (2, 1):
        name = ' '.join(words[:count])
        if len(words) >= count and name in purposes:
            return name, list(words[count:])
    text = usage(program, purposes, about)
    if not words or set(words) & {'-h', '--help'}:
        print(text)
        raise SystemExit(0 if words else 2)
    longer = [name for name in purposes if name.split()[0] == words[0]]
    known = f'expected one of: {", ".join(longer or purposes)}'
    print(f'{called(program)} {words[0]}: {known}', file=sys.stderr)
    raise SystemExit(2)


def run(program: str, verbs: Mapping[str, Verb], about: str, words: Sequence[str]) -> int:
    """
    Run the verb that the words begin with.

    :param program: the words after ``python -m``.
    :param verbs: the verbs by name.
    :param about: a sentence, or examples, for ``--help``.
    :param words: the verb, then its own arguments.
    :returns: the exit code of the verb.
    :raises SystemExit: as :func:`choose` does.
    """
    purposes = {name: verb.purpose for name, verb in verbs.items()}
    name, rest = choose(program, purposes, about, words)
    verb = verbs[name]
    return run_verb(
        lambda: importlib.import_module(verb.module).main(rest),
        GOES_ON if verb.goes_on else NOTHING,
    )
