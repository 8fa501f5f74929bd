# SPDX-License-Identifier: Apache-2.0
"""Write docs/results/behaviour.md from its JSON: python -m studies report behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.errors import ConfigError
from studies.behaviour import behaviour
from studies.behaviour.tasks import task_of
from studies.claims import interval
from studies.common.verdicts import TEMPLATES
from training.report.page import markdown_table, render, write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report behaviour --json docs/results/data/avoiding.json \\
      --out docs/results/behaviour.md
"""
COMPARED = (
    ('vdd_paper', 'teacher'),
    ('vdd', 'teacher'),
    ('vdd', 'vdd_paper'),
    ('vdd', 'vdd_bound'),
    ('vdd', 'teacher_one'),
    ('vdd', 'consistency'),
    ('vdd', 'ctm'),
    ('vdd', 'em_teacher'),
    ('vdd', 'em'),
    ('vdd', 'imc'),
)
"""Pairs of methods that the page compares, seed by seed."""


def table(result: Mapping[str, Any]) -> str:
    """Return the table of methods."""
    head = ['method', 'success: mean ± deviation', 'least', 'entropy: mean ± deviation', 'least']
    head += ['training: processor s', 'a choice: median ms', 'p99 ms', 'times as fast']
    body = []
    for row in result['summary']:
        trained = row['trained_cpu_s']
        body.append(
            [
                behaviour.METHODS[row['method']],
                f'{row["success_rate_mean"]:.3f} ± {row["success_rate_spread"]:.3f}',
                f'{row["success_rate_least"]:.3f}',
                f'{row["entropy_mean"]:.3f} ± {row["entropy_spread"]:.3f}',
                f'{row["entropy_least"]:.3f}',
                '' if trained is None else f'{trained:.0f}',
                f'{row["call_median_ms"]:.2f}',
                f'{row["call_p99_ms"]:.2f}',
                f'{row["times_as_fast_as_teacher"]:.1f}',
            ]
        )
    return markdown_table(head, body)


def comparison(rows: Sequence[Mapping[str, Any]], method: str, other: str, name: str) -> str:
    """
    Return how much a method is ahead of another in a measure, by the interval over the seeds.

    :param rows: figures of each method and seed.
    :param name: ``success_rate`` or ``entropy``.
    :returns: for example ``+0.050 (+0.020 to +0.080), ahead``.
    """
    of = {
        who: {row['seed']: row[name] for row in rows if row['method'] == who}
        for who in (method, other)
    }
    apart = [of[method][seed] - of[other][seed] for seed in sorted(of[method])]
    low, high = interval(apart)
    if not np.isfinite(low):
        return f'{np.mean(apart):+.3f}, too few seeds'
    word = 'ahead' if low > 0.0 else 'behind' if high < 0.0 else 'undecided'
    return f'{np.mean(apart):+.3f} ({low:+.3f} to {high:+.3f}), **{word}**'


def comparisons(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of compared pairs."""
    body = [
        [
            f'{behaviour.METHODS[method]} against {behaviour.METHODS[other]}',
            comparison(rows, method, other, 'success_rate'),
            comparison(rows, method, other, 'entropy'),
        ]
        for method, other in COMPARED
    ]
    return markdown_table(['pair', 'success', 'entropy'], body).replace('---:', '---')


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :raises ConfigError: if a result is of another command.
    """
    names = {kind: name for name, kind in behaviour.FORMATS.items()}
    sections = []
    for result in results:
        found = (result.get('format'), result.get('version'))
        if found[0] not in names or found[1] != behaviour.VERSION:
            raise ConfigError(
                f'format {found[0]!r}, version {found[1]}: must be of studies behaviour, '
                f'version {behaviour.VERSION}'
            )
        name = names[result['format']]
        sections.append(
            {
                'name': name,
                'about': task_of(name).about,
                'result': result,
                'methods': table(result),
                'pairs': comparisons(result['rows']),
                'image': Path(os.path.relpath(images / f'{name}.svg', page.parent)).as_posix(),
            }
        )
    return render('behaviour.md', TEMPLATES, command=command, sections=sections) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return write_page('studies report behaviour', __doc__ or '', EXAMPLE, page_text, arguments)
