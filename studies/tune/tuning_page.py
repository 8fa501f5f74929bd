# SPDX-License-Identifier: Apache-2.0
"""The page of ``studies tune``, written from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.common.verdicts import gain, MEASURES, shown, TEMPLATES, verdict, with_spread
from studies.tune.studies import completed, hypervolume
from training.report.page import markdown_table, render

FIGURES = {
    'tuning_front_gp.svg': 'Pareto front, Gaussian process',
    'tuning_front_random.svg': 'Pareto front, random',
    'tuning_hypervolume_gp.svg': 'Hypervolume by trial, Gaussian process',
    'tuning_hypervolume_random.svg': 'Hypervolume by trial, random',
    'tuning_importance.svg': 'Importance for the error',
    'tuning_history.svg': 'Error by trial, both studies',
}


def tuning_page(result: Mapping[str, Any], command: str) -> str:
    """Return the page of ``studies tune``, in Markdown."""
    asked = [row for row in result['gp'] if row['state'] in ('complete', 'pruned')]
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in result['confirmed']:
        by_name.setdefault(row['candidate'], []).append(row)
    confirmed = {'default', 'gp', 'random'} <= set(by_name)
    scores = result['importance'][0] or {}
    text = render(
        'tuning.md',
        TEMPLATES,
        command=command,
        result=result,
        rungs=[f'{one:.0%}' for one in result['budget']['rungs']],
        space=space_table(result),
        chosen_by_gp=max(0, len(completed(asked)) - result['budget']['startup']),
        found=found_table(result),
        front=front_table(result),
        confirmed=confirmed_table(by_name) if confirmed else '',
        against=comparison(by_name) if confirmed else {},
        deployed=deployed_table(result),
        importance=[
            f'`{name}` {scores[name]:.2f}' for name in sorted(scores, key=lambda n: -scores[n])
        ],
        completed=len(completed(result['gp'])),
        figures=[(name, FIGURES[name]) for name in result['figures']],
    )
    return text + '\n'


def space_table(result: Mapping[str, Any]) -> str:
    """Return the settings that are searched, with their ranges."""
    default = next(row for row in result['gp'] if row['number'] == result['default'])
    space = [
        [
            f'`swiftdiff.{one["name"]}`',
            f'{one["low"]:g} to {one["high"]:g}',
            f'steps of {one["step"]}' if one['step'] else 'log' if one['log'] else 'linear',
            shown(default['params'][one['name']]),
            one['why'],
        ]
        for one in result['space']
    ]
    return markdown_table(['setting', 'range', 'kind', 'default', 'why'], space)


def found_table(result: Mapping[str, Any]) -> str:
    """Return the table of what both studies found, beside the default."""
    trials = {row['number']: row for row in result['gp']}
    random = {row['number']: row for row in result['random']}
    default = trials[result['default']]
    untuned = [f'{default["error"]:.4f}', f'{default["latency_ms"]:.2f}']
    untuned.append(f'{hypervolume([default], result["worst"]):.4f}')
    return markdown_table(
        ['study', 'trials', 'pruned', 'failed', 'lowest error', 'its ms', 'hypervolume'],
        [
            study_cells('Gaussian process', result['summary']['gp'], trials),
            study_cells('random', result['summary']['random'], random),
            ['default, untuned', '1', '0', '0', *untuned],
        ],
    )


def front_table(result: Mapping[str, Any]) -> str:
    """Return the table of the Gaussian process's front."""
    trials = {row['number']: row for row in result['gp']}
    body = [
        [
            str(number), f'{trials[number]["error"]:.4f}',
            f'{trials[number]["latency_ms"]:.2f}',
            *(shown(value) for value in trials[number]['params'].values()),
        ]
        for number in result['summary']['gp']['front']
    ]  # fmt: skip
    return markdown_table(
        ['trial', 'error', 'ms', *(f'`{one["name"]}`' for one in result['space'])], body
    )


def deployed_table(result: Mapping[str, Any]) -> str:
    """Return the table of the settings to train in full."""
    named = {'gp': 'Gaussian process', 'random': 'random'}
    body = [
        [
            f'`{role}`', named[row['study']], str(row['number']), f'{row["error"]:.4f}',
            f'{row["latency_ms"]:.2f}',
        ]
        for role, row in result['deployed'].items()
    ]  # fmt: skip
    return markdown_table(['', 'study', 'trial', 'error', 'ms'], body)


def comparison(by_name: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the comparison of the candidates by their fresh seeds."""
    errors = {name: [row['error'] for row in rows] for name, rows in by_name.items()}
    judged = {other: verdict(errors['gp'], errors[other]) for other in ('default', 'random')}
    return {
        **judged,
        **{f'{other}_gain': gain(errors['gp'], errors[other]) for other in judged},
        'same': by_name['gp'][0]['params'] == by_name['random'][0]['params'],
        'settled': set(judged.values()) == {'holds'},
        'by_seeds': f'{max(max(of) - min(of) for of in errors.values()):.4f}',
    }


def study_cells(
    label: str, summary: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Return the cells of a study's row."""
    best = rows[summary['picked']['swiftdiff']]
    return [
        label,
        str(summary['trials']),
        str(summary['pruned']),
        str(summary['failed']),
        f'{best["error"]:.4f}',
        f'{best["latency_ms"]:.2f}',
        f'{summary["hypervolume"]:.4f}',
    ]


def confirmed_table(by_name: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a table with a row for every candidate: means over its seeds."""
    labels = {
        'default': 'default, untuned',
        'gp': 'best of the Gaussian process',
        'random': 'best of random search',
        'balance': 'balance, of both studies',
    }
    files = list(by_name['default'][0]['scores'])
    body = [
        [
            labels[name], str(len(rows)), with_spread([row['error'] for row in rows], 4),
            f'{rows[0]["latency_ms"]:.2f}',
            with_spread([row['temperature'] for row in rows], 2),
            *(
                ' / '.join(
                    f'{np.mean([row["scores"][label][measure] for row in rows]):.3f}'
                    for measure in MEASURES
                )
                for label in files
            ),
        ]
        for name, rows in by_name.items()
    ]  # fmt: skip
    head = ['settings', 'seeds', 'error', 'ms', 'temperature']
    head += [f'{label}: ADE / FDE / MMADE / MMFDE / APD' for label in files]
    return markdown_table(head, body)
