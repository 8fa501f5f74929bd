# SPDX-License-Identifier: Apache-2.0
"""Pages: Jinja2 templates that verbs with one common command line fill from JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
import sys
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from training.common import provenance
from training.common.options import read_options

TEMPLATES = Path(__file__).parent / 'templates'


PageText = Callable[[Sequence[Mapping[str, Any]], Path, Path, str], str]
"""A function from results, the path of the page, the folder of its plots and the command to the
page in Markdown."""


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Options of such a verb."""

    json: tuple[Path, ...] = ()
    """Results to show."""
    images: Path = Path('docs/results/images')
    """Folder for the plots."""
    out: Path
    """File for the page."""


def write_page(
    module: str, purpose: str, example: str, text: PageText, arguments: Sequence[str] | None
) -> int:
    """
    Run such a verb.

    :param module: for example ``studies report toy``.
    :param purpose: text of its help.
    :param example: worked example below its help.
    :param text: returns the page.
    :param arguments: the words after the verb; the default is those of this process.
    :returns: the exit code: 0, or 2 if a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(PageOptions, module, purpose, example, words)
    try:
        results = [read_json(path, ConfigError) for path in options.json]
        command = provenance.command_line(module, words)
        write_whole(options.out, text(results, options.out, options.images, command))
    except (MotionPredictorError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'written: {options.out}')
    return 0


def render(name: str, folder: Path = TEMPLATES, **values: Any) -> str:
    """
    Fill a template.

    :param name: name of the template's file.
    :param folder: folder of the template; templates of the reports can be included from any
        folder.
    :param values: values by the names of the placeholders.
    :returns: Markdown, without empty lines at its ends.
    :raises jinja2.UndefinedError: if a placeholder has no value.
    """
    return _environment(folder).get_template(name).render(**values).strip('\n')


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with the first column aligned left and the numbers aligned right."""
    lines = [f'| {" | ".join(head)} |', '|---' + '|---:' * (len(head) - 1) + '|']
    lines += [f'| {" | ".join(cell.replace("|", "/") for cell in row)} |' for row in rows]
    return '\n'.join(lines)


@cache
def _environment(folder: Path) -> Environment:
    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals['taken_over'] = _taken_over
    return made


def _taken_over(result: Mapping[str, Any]) -> str:
    """Return a sentence on models whose rows come from an earlier evaluation, with its commit."""
    older = {
        row['model']: str(row['taken_over_from'])[:12]
        for row in result.get('rows', [])
        if 'taken_over_from' in row
    }
    return ', '.join(f'`{name}` (commit `{commit}`)' for name, commit in older.items())
