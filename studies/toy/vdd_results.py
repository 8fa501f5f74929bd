# SPDX-License-Identifier: Apache-2.0
"""Write docs/results/vdd.md from the JSON of its commands: python -m studies report toy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from studies.common.verdicts import TEMPLATES
from studies.toy import toy_vdd
from studies.toy.fitting import METHODS
from training.report.page import markdown_table, render, write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report toy --json docs/results/data/toy_vdd*.json --out docs/results/vdd.md
"""


def toy_section(result: Mapping[str, Any], page: Path, image: Path | None) -> str:
    """
    Return a section on the toy densities.

    :param result: result of ``studies toy``.
    :param page: path of the page, from which the plot is linked.
    :param image: the plot, already drawn; None for none.
    """
    known = {row['method'] for row in result['summary']}
    wanted = []
    for method in ('vdd', 'vdd_exact'):
        own = [row for row in result['summary'] if row['method'] == method]
        found = [row['density'] for row in own if 10 * row['all_modes_found'] >= 9 * row['seeds']]
        closer = [row['density'] for row in own if 2 * row['closer_than_em_data'] > row['seeds']]
        if method in known:
            wanted.append({'method': METHODS[method], 'found': found, 'closer': closer})
    told = any('kl_teacher_p' in own for own in result['teachers'])
    return render(
        'density.md',
        TEMPLATES,
        result=result,
        fits=fits_table(result['summary']),
        wanted_of=wanted,
        teachers=teacher_table(result) if told else '',
        image='' if image is None else Path(os.path.relpath(image, page.parent)).as_posix(),
    )


def fits_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of each method's fit to each density."""
    head = ['density', 'method', 'experts', 'seeds', 'all modes found', 'KL(q, p) median']
    head += ['worst', 'KL(p, q) median', 'worst', 'KL(q, p) below EM on data']
    lines = [f'| {" | ".join(head)} |', '|---|---|' + '---:|' * (len(head) - 2)]
    for row in summary:
        lines.append(
            f'| {row["density"]} | {METHODS[row["method"]]} | {row["experts"]} '
            f'| {row["seeds"]} | {row["all_modes_found"]} | {row["kl_q_p_median"]:.3f} '
            f'| {row["kl_q_p_worst"]:.3f} | {row["kl_p_q_median"]:.3f} '
            f'| {row["kl_p_q_worst"]:.3f} | {row["closer_than_em_data"]} |'
        )
    return '\n'.join(lines)


def teacher_table(result: Mapping[str, Any]) -> str:
    """Return the table of the teachers' distances from the densities, beside EM on the data."""
    body = []
    for own in result['teachers']:
        of = {
            row['method']: row['kl_q_p_median']
            for row in result['summary']
            if row['density'] == own['density']
        }
        values = [own['kl_teacher_p'], own['kl_p_teacher']]
        values += [of[method] for method in ('vdd', 'vdd_exact', 'em_data')]
        body.append([own['density'], *(f'{value:.3f}' for value in values)])
    head = ['density', 'KL(teacher, p)', 'KL(p, teacher)', 'KL(q, p) of VDD']
    return markdown_table([*head, 'of VDD, exact score', 'of EM on the data'], body)


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :raises ConfigError: if a result is of another command.
    """
    sections = []
    for number, result in enumerate(results):
        found = (result.get('format'), result.get('version'))
        if found != (toy_vdd.FORMAT, toy_vdd.VERSION):
            raise ConfigError(
                f'format {found[0]!r}, version {found[1]}: must be {toy_vdd.FORMAT!r}, '
                f'{toy_vdd.VERSION}'
            )
        sections.append(toy_section(result, page, None if number else images / 'toy_vdd.svg'))
    return render('vdd.md', TEMPLATES, command=command, sections=sections) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return write_page('studies report toy', __doc__ or '', EXAMPLE, page_text, arguments)
