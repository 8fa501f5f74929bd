# SPDX-License-Identifier: Apache-2.0
"""Write the page of left-out laboratories: python -m training report weighing.

``python -m training weighing --leave-out --json OUT`` measured its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.model.candidates import KNOTS_S
from training.report.page import markdown_table, render, write_page
from training.stages.weigh.weighing import FORMAT

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report weighing --json docs/results/data/weighing.json \\
      --out docs/results/weighing.md
"""


def page(results: Sequence[Mapping[str, Any]], out: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :param results: one result, written by ``training weighing``.
    :raises ConfigError: if it is something else.
    """
    if len(results) != 1 or results[0].get('format') != FORMAT:
        raise ConfigError(f'--json: this page is made of one file with format {FORMAT!r}')
    result = results[0]
    head = ['laboratory', *(f'{knot:g} s' for knot in KNOTS_S), *(f'{k:g} s' for k in KNOTS_S)]
    plays = []
    for play in sorted({row['play'] for row in result['left_out']}):
        rows = [row for row in result['left_out'] if row['play'] == play]
        tracker = rows[0]['tracker']
        told = [f'{tracker["rate_hz"]:g} Hz']
        told += [f'{1000 * tracker[k]:g} mm of {k[:-2]}' for k in ('noise_m', 'wander_m')
                 if tracker[k]]  # fmt: skip
        told += [f'{100 * tracker["missing"]:g} % of joints missing'] * bool(tracker['missing'])
        told.append('tasks mixed' if rows[0]['order'] == 'random' else "the files' order")
        told.append(f'memory {"on" if rows[0]["memory"] else "off"}')
        numbers = [[*row['error'], *row['energy']] for row in rows]
        means = [sum(column) / len(column) for column in zip(*numbers, strict=True)]
        table = [
            [name, *(f'{value:.2f}' for value in values)]
            for name, values in zip([*(row['laboratory'] for row in rows), '**mean**'],
                                    [*numbers, means], strict=True)
        ]  # fmt: skip
        plays.append({'told': ', '.join(told), 'ratios': markdown_table(head, table)})
    return render('weighing.md', command=command, result=result, plays=plays) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training report weighing``.
    :returns: the exit code: 0, or 2 if a file cannot be used.
    """
    return write_page('training report weighing', __doc__ or '', EXAMPLE, page, arguments)
