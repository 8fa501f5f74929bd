"""One command and its verbs: each is the ``main`` of a module, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import importlib
import sys
from typing import NamedTuple

from training.common.stopping import GOES_ON, NOTHING, run_verb


class Verb(NamedTuple):
    """Where a verb is, what it does in one line, and whether it goes on where it was stopped."""

    module: str
    purpose: str
    goes_on: bool = False


def usage(program: str, verbs: Mapping[str, Verb], about: str) -> str:
    """Return what ``--help`` prints: every verb and its purpose."""
    width = max(len(name) for name in verbs)
    lines = [f'  {name:<{width}}  {verb.purpose}' for name, verb in verbs.items()]
    return '\n'.join([f'usage: python -m {program} VERB ...', '', about, '', *lines, ''])


def run(program: str, verbs: Mapping[str, Verb], about: str, words: Sequence[str]) -> int:
    """
    Run the verb that the words begin with.

    :param program: as after ``python -m``.
    :param verbs: by name; a name is one word or two.
    :param about: a sentence for ``--help``.
    :param words: the verb, then its own arguments.
    :returns: the exit code of the verb; 2 if there is no such verb, which standard error tells.
    """
    for count in (2, 1):
        name = ' '.join(words[:count])
        if len(words) >= count and name in verbs:
            return _run(verbs[name], list(words[count:]))
    text = usage(program, verbs, about)
    if not words or set(words) & {'-h', '--help'}:
        print(text)
        return 0 if words else 2
    longer = [name for name in verbs if name.split()[0] == words[0]]
    known = f'expected one of: {", ".join(longer or verbs)}'
    print(f'python -m {program} {words[0]}: {known}', file=sys.stderr)
    return 2


def _run(verb: Verb, words: list[str]) -> int:
    return run_verb(
        lambda: importlib.import_module(verb.module).main(words),
        GOES_ON if verb.goes_on else NOTHING,
    )
