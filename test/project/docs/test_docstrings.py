# SPDX-License-Identifier: Apache-2.0
"""The first line of a docstring says what a function does or returns: "Return ...", imperative."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ('motion_predictor', 'training', 'studies', 'tools', 'test/support')
RIDDLES = frozenset(
    ('what', 'how', 'why', 'who', 'whom', 'whose', 'which', 'where', 'when', 'whether', 'that')
    + ('of', 'so', 'give', 'gives', 'tell', 'tells')
)
"""First words of a clause without its verb, or of "Give ..." and "Tell ...", for "Return ..."."""


def first_word(docstring: str) -> str:
    return docstring.split()[0].strip('.,:;').lower()


@pytest.mark.parametrize('folder', FOLDERS)
def test_docstrings_of_functions_begin_with_a_verb(folder: str) -> None:
    riddles = []
    for path in sorted((ROOT / folder).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node)
                if docstring and first_word(docstring) in RIDDLES:
                    line = docstring.split('\n')[0]
                    riddles.append(f'{path.relative_to(ROOT)}:{node.lineno} {node.name}: {line}')
    assert not riddles, '\n'.join(riddles)


@pytest.mark.parametrize(
    'line', ['Whether it runs.', 'How many frames, T.', 'Give the mean.', 'What is kept.']
)
def test_a_riddle_is_found(line: str) -> None:
    assert first_word(line) in RIDDLES


def test_a_sentence_is_not_a_riddle() -> None:
    assert first_word('Return whether it runs.') not in RIDDLES
