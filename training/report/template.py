"""Pages by Jinja2: a template says the sentences, what fills it comes out of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / 'templates'


def render(name: str, folder: Path = TEMPLATES, **values: Any) -> str:
    """
    Fill a template.

    :param name: of the template's file.
    :param folder: that holds it; templates of the reports can be included from any.
    :param values: by the names of the placeholders.
    :returns: Markdown, without empty lines at its ends.
    :raises jinja2.UndefinedError: where a placeholder has no value.
    """
    return _environment(folder).get_template(name).render(**values).strip('\n')


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column to the left, numbers to the right."""
    lines = [f'| {" | ".join(head)} |', '|---' + '|---:' * (len(head) - 1) + '|']
    lines += [f'| {" | ".join(cell.replace("|", "/") for cell in row)} |' for row in rows]
    return '\n'.join(lines)


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
