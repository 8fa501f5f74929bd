# SPDX-License-Identifier: Apache-2.0
"""The section of ``training choose-temperature``: the values tried and the one chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.judge.choose_temperature import MEASURES
from training.report.page import markdown_table, render


def temperature_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Return the section of the choice of a temperature.

    :param result: result of ``training choose-temperature``.
    :param images: not used: there is only a table.
    :param page: not used.
    """
    fitted = ', '.join(f'`{name}`' for name in result['settings']['fitted_on'])
    if 'nll' in result['rows'][0]:
        return render(
            'temperature_and_spread.md',
            result=result,
            fitted=fitted,
            tried=_spreads_table(result),
            apart=_apart_table(result) if result.get('apart_rows') else '',
        )
    head = [*(name.split('.')[1].upper() for name in MEASURES[:5]), 'world ADE']
    head = ['temperature', *head, 'world FDE', 'taken']
    body = [
        [
            f'{row["temperature"]:g}',
            *(f'{row[name]:.3f}' for name in MEASURES),
            'yes' if row['temperature'] == result['chosen'] else '',
        ]
        for row in result['rows']
    ]
    return render('temperature.md', result=result, fitted=fitted, tried=markdown_table(head, body))


def _spreads_table(result: Mapping[str, Any]) -> str:
    rows = {(row['temperature'], row['spread']): row['nll'] for row in result['rows']}
    temperatures = sorted({temperature for temperature, _ in rows})
    spreads = sorted({spread for _, spread in rows})
    taken = (result['chosen'], result['spread'])
    body = [
        [
            f'{t:g}',
            *(f'{rows[t, s]:.4f}' + (' (taken)' if (t, s) == taken else '') for s in spreads),
        ]
        for t in temperatures
    ]
    return markdown_table(['temperature', *(f'spread {s:g}' for s in spreads)], body)


def _apart_table(result: Mapping[str, Any]) -> str:
    rows = result['apart_rows']
    measures = [name for name in rows[0] if '.' in name]
    body = [
        [
            f'{row["apart"]:g}' + (' (taken)' if row['apart'] == result['apart'] else ''),
            *(f'{row[name]:.3f}' for name in measures),
        ]
        for row in rows
    ]
    return markdown_table(['apart', *measures], body)
