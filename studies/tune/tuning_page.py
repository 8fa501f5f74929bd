"""The page of ``studies tune``, written from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.common.verdicts import (
    AT_EQUAL_VARIETY,
    ERROR,
    gain,
    MEASURES,
    origin,
    shown,
    verdict,
    with_spread,
)
from studies.tune.studies import completed, hypervolume
from training.report.page import markdown_table


def tuning_page(result: Mapping[str, Any], command: str) -> str:
    """Return the page of ``studies tune``, in Markdown."""
    asked = [row for row in result['gp'] if row['state'] in ('complete', 'pruned')]
    chosen_by_gp = max(0, len(completed(asked)) - result['budget']['startup'])
    titles = {
        'tuning_front_gp.svg': 'Pareto front, Gaussian process',
        'tuning_front_random.svg': 'Pareto front, random',
        'tuning_hypervolume_gp.svg': 'Hypervolume by trial, Gaussian process',
        'tuning_hypervolume_random.svg': 'Hypervolume by trial, random',
        'tuning_importance.svg': 'Importance for the error',
        'tuning_history.svg': 'Error by trial, both studies',
    }
    parts = [
        *search_section(result, command),
        *found_section(result, chosen_by_gp),
        *confirmation(result, chosen_by_gp),
        *deployed_section(result),
        *importance_section(result),
        *(f'![{titles[name]}](images/{name})' for name in result['figures']),
    ]
    return '\n\n'.join(parts) + '\n'


def search_section(result: Mapping[str, Any], command: str) -> list[str]:
    """Return how settings were searched: objectives, budget, pruning and space."""
    limits = result['budget']
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
    return [
        '# Bayesian optimisation of stage 2',
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        'The Gaussian-process sampler of Optuna (expected hypervolume improvement) with two '
        f'objectives, both to be small: the error on val ({", ".join(result["val"])}), and the '
        'time of one `Predictor` call, one person, one thread, on this device. ' + ERROR,
        AT_EQUAL_VARIETY,
        f'A time is the median of {limits["repetitions"]} calls, in processor time, taking turns '
        "with the default's network; the ratio to it counts, so that a busy hour is no slow "
        'network.' + quick_enough(limits),
        f'**Budget.** {limits["windows"]} windows a trial, so a larger batch means fewer steps, '
        f'from a pool of {limits["pool"]}; {limits["samples"]} samples for at most '
        f'{limits["limit"]} windows of each file. The default settings come first, then random '
        f'ones until {limits["startup"]} trials are complete, then the Gaussian process is asked; '
        'the control draws the same random ones and goes on drawing. **This is far less than '
        'a full training**: what is best after so few steps (a high learning rate, a small '
        'network) need not be best in the end.',
        f'**Pruning.** Optuna prunes by one objective alone (`should_prune` refuses two), so it '
        f'is done here: after {" and ".join(f"{one:.0%}" for one in limits["rungs"])} of a trial '
        f'it is given up unless its error is among the best {limits["keep"]:.0%} of the trials '
        f'that are no slower, once there are {limits["fewest"]}. The Gaussian process is told of '
        'such a trial what it would have ended with, by the median of how the complete ones went '
        'on: of what it is not told it asks again.',
        markdown_table(['setting', 'range', 'kind', 'default', 'why'], space),
        'Fixed: `real` = 1, to which the other weights are relative; the samples S; t* and what '
        'the network gives (see [ablations](ablations.md)); augmentation; dropout and weight '
        'decay, as what is trained for so short does not overfit. The architecture is the '
        "preset's.",
    ]


def found_section(result: Mapping[str, Any], chosen_by_gp: int) -> list[str]:
    """Return the results of both studies, and the front of the Gaussian process."""
    summary = result['summary']
    trials = {row['number']: row for row in result['gp']}
    random = {row['number']: row for row in result['random']}
    default = trials[result['default']]
    head = ['trial', 'error', 'ms', *(f'`{one["name"]}`' for one in result['space'])]
    return [
        '## What was found',
        markdown_table(
            ['study', 'trials', 'pruned', 'failed', 'lowest error', 'its ms', 'hypervolume'],
            [
                study_cells('Gaussian process', summary['gp'], trials),
                study_cells('random', summary['random'], random),
                [
                    'default, untuned', '1', '0', '0',
                    f'{default["error"]:.4f}',
                    f'{default["latency_ms"]:.2f}',
                    f'{hypervolume([default], result["worst"]):.4f}',
                ],
            ],
        ),
        f'Hypervolume below error {result["worst"][0]:.3f} and {result["worst"][1]:.2f} ms; more '
        f'is better. The Gaussian process chose {chosen_by_gp} of the completed trials itself.',
        'The front of the Gaussian process, from fast to slow:',
        markdown_table(
            head,
            [
                [
                    str(number), f'{trials[number]["error"]:.4f}',
                    f'{trials[number]["latency_ms"]:.2f}',
                    *(shown(value) for value in trials[number]['params'].values()),
                ]
                for number in summary['gp']['front']
            ],
        ),
    ]  # fmt: skip


def deployed_section(result: Mapping[str, Any]) -> list[str]:
    """Return the settings to be trained in full, and the commands for it."""
    named = {'gp': 'Gaussian process', 'random': 'random'}
    return [
        '## The two off the front of both studies\n\n`swiftdiff` is the lowest error of all that '
        'was tried, `swiftdiff_balance` the lowest error within '
        f'{result["balance"]:.0%} of its time. '
        '[training.md](../guide/training.md) says what they gave at '
        'full length.',
        markdown_table(
            ['', 'study', 'trial', 'error', 'ms'],
            [
                [
                    f'`{role}`', named[row['study']], str(row['number']), f'{row["error"]:.4f}',
                    f'{row["latency_ms"]:.2f}',
                ]
                for role, row in result['deployed'].items()
            ],
        ),
        '`python -m studies tune --export` prints the commands that train both at the full '
        'budget of the preset, from a run folder with the one-step teacher, and leaves their '
        'settings in the run folder; `python -m training export --only swiftdiff` then writes '
        'the weights file.',
    ]  # fmt: skip


def importance_section(result: Mapping[str, Any]) -> list[str]:
    """Return how much each setting matters for the error, where Optuna could tell."""
    scores = result['importance'][0]
    if not scores:
        return []
    ordered = sorted(scores, key=lambda name: -scores[name])
    return [
        '## Importance\n\nOptuna (PED-ANOVA), for a low error: '
        + ', '.join(f'`{name}` {scores[name]:.2f}' for name in ordered)
        + f'. Of {len(completed(result["gp"]))} completed trials, so roughly.'
    ]


def quick_enough(limits: Mapping[str, Any]) -> str:
    """Say from where on the sampler is told that faster is no better, where it is."""
    share = limits.get('enough', 0.0)
    if not share:
        return ''
    return (
        f" A network faster than {share:.0%} of the default's time is told to the sampler as one "
        'that takes that, in the hypervolume too: the times differ little, and a search for the '
        'fastest is no search for the best.'
    )


def study_cells(
    label: str, summary: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Write a study's line."""
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


def confirmation(result: Mapping[str, Any], chosen_by_gp: int) -> list[str]:
    """Return the errors of the candidates with fresh seeds, and the verdict."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in result['confirmed']:
        by_name.setdefault(row['candidate'], []).append(row)
    if not {'default', 'gp', 'random'} <= set(by_name):
        return [
            '## Verdict',
            'The candidates were not trained again (`--confirm`): the lowest of many noisy errors '
            'is too low to be believed, so nothing is claimed.',
        ]
    errors = {name: [row['error'] for row in rows] for name, rows in by_name.items()}
    against_default = verdict(errors['gp'], errors['default'])
    against_random = verdict(errors['gp'], errors['random'])
    same = by_name['gp'][0]['params'] == by_name['random'][0]['params']
    lines = [
        f'Tuned below untuned: **{against_default}** '
        f'({gain(errors["gp"], errors["default"])} in the mean). '
        f'Tuned below the random control: **{against_random}** '
        f'({gain(errors["gp"], errors["random"])} in the mean).'
    ]
    if same:
        lines.append('Both studies ended with the same trial: one of their common first draws.')
    if against_default != 'holds' or against_random != 'holds':
        lines.append(
            f'Why not more can be said: the Gaussian process chose {chosen_by_gp} of its trials '
            f'in {len(result["space"])} dimensions, and seeds alone move the error by '
            f'{max(max(of) - min(of) for of in errors.values()):.4f}. More trials and longer ones '
            'are needed; the study goes on where it stopped.'
        )
    return [
        '## Verdict',
        'The lowest of many noisy errors is too low. So the candidates were trained again with '
        'seeds that chose nothing, at the same budget, and scored on '
        f'{result["confirmed_windows"]} windows of val, their samples brought to the APD of the '
        f"diffusion teacher's there, {result['confirmed_apd']:.3f} m:",
        confirmed_table(by_name),
        ' '.join(lines),
    ]


def confirmed_table(by_name: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a row for every candidate: means over its seeds."""
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
