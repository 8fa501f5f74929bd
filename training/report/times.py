# SPDX-License-Identifier: Apache-2.0
"""The section of ``training benchmark``: times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from training.judge import plots
from training.report.page import markdown_table, render


def benchmark_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Return the section of one benchmark.

    :param result: result of ``training benchmark``.
    :param images: folder of the plots, which are already drawn.
    :param page: path of the page, from which the plots are linked.
    """
    return render(
        'time.md',
        result=result,
        load=result['machine'].get('load_before'),
        calls=_calls_table(result['rows']),
        weighing=_weighing_table(result['weighing']) if result.get('weighing') else '',
        node=_node_table(result['node']) if result.get('node') else '',
        image=Path(os.path.relpath(images / 'latency.svg', page.parent)).as_posix(),
    )


def _calls_table(rows: Sequence[Mapping[str, Any]]) -> str:
    references = list(dict.fromkeys(name for row in rows for name in row['times_faster_than']))
    head = ['model', 'weights', 'parameters', 'engine', 'device', 'threads', 'people', 'calls']
    head += ['median ms', 'p99 ms', *(f'times faster than {name}' for name in references)]
    body: list[list[str]] = []
    for row in rows:
        p99 = (
            f'{row["p99_ms"]:.1f}'
            if row['repetitions'] >= 100
            else (f'slowest {row["slowest_ms"]:.1f}')
        )
        cells = [
            plots.shown_name(row), row['weights'], f'{row["parameters"] / 1e6:.2f} M',
            row['engine'], row['device'], str(row['threads']), str(row['persons']),
            str(row['repetitions']), f'{row["median_ms"]:.1f}', p99,
        ]  # fmt: skip
        for name in references:
            ratio = row['times_faster_than'].get(name)
            cells.append('' if ratio is None else f'{ratio:.3g}')
        body.append(cells)
    return markdown_table(head, body)


def _node_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['model', 'Hz in', 'Hz out', 'frames in', 'predictions out', 'median ms', 'p99 ms']
    head += ['one frame ms', 'drift ms']
    body = [
        [
            row['model'], f'{row["rate_in_hz"]:.1f}', f'{row["rate_out_hz"]:.1f}',
            str(row['frames_in']), str(row['predictions_out']), f'{row["median_ms"]:.1f}',
            f'{row["p99_ms"]:.1f}', f'{row["frame_period_ms"]:.1f}',
            f'{row["drift_ms"]:+.1f}',
        ]
        for row in rows
    ]  # fmt: skip
    return markdown_table(head, body)


def _weighing_table(rows: Sequence[Mapping[str, Any]]) -> str:
    calls = {
        'model': 'the model alone',
        'weigh': 'weighing, all of it',
        'search': 'of it, finding the like and what followed',
    }
    head = ['model', 'call', 'people', 'minutes remembered', 'median ms', 'p99 ms', 'of the model']
    body = [
        [
            row['model'], calls[row['call']], str(row['persons']), f'{row["remembered_min"]:g}',
            f'{row["median_ms"]:.2f}', f'{row["p99_ms"]:.2f}', f'{row["of_model"]:.2f}',
        ]
        for row in rows
    ]  # fmt: skip
    return markdown_table(head, body)
