# SPDX-License-Identifier: Apache-2.0
"""Figures in the sentences of the mixture's page, computed from the results that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any

from training.judge.accuracy import evaluate, evaluate_moe


def mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the average over windows."""
    total = sum(row['windows'] for row in rows)
    return float(sum(row['windows'] * row[name] for row in rows) / total)


def splits_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the splits, test first."""
    return sorted({row['split'] for row in rows}, key=lambda split: (split != 'test', split))


def training_parts(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """
    Return the duration of each part of the training, from the cards of the weights.

    :param results: results on the page.
    :returns: by part: words to put behind its name; empty if no card states it.
    """
    cards = {
        model['model']: model.get('card', {}).get('settings', {})
        for result in results
        if result.get('format') == evaluate.FORMAT
        for model in result['models']
    }
    names = ('likelihood_first', 'covariance_last', 'together_last', 'points_last')
    words = dict.fromkeys((*names, 'steps_of', 'em_data', 'consistency'), '')
    mixture = cards.get('moe', {}).get('moe')
    if mixture:
        words |= {name: f', {_counted(mixture[name])}' for name in names}
        words['steps_of'] = f'steps of {mixture["batch"]}'
    control = cards.get('em_data', {}).get('moe')
    if control:
        steps = (control['vdd']['steps'], control['covariance_last'], control['together_last'])
        words['em_data'] = f' ({", ".join(map(_counted, steps))})'
    one_step = cards.get('consistency', {}).get('one_step')
    if one_step:
        optim = one_step['optim']
        words['consistency'] = f' ({_counted(optim["steps"])} steps of {optim["batch"]})'
    return words


def comparison(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """
    Return by how much VDD is ahead of maximum likelihood, and behind SwiftDiff.

    :param results: results on the page.
    :returns: figures as the page states them; None if the page's sentences are not true, or if the
        shipped mixture, ``em_data`` and SwiftDiff were not all scored.
    """
    errors: dict[tuple[str, str], Mapping[str, Any]] = {}
    likelihoods: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        if result.get('format') == evaluate.FORMAT:
            errors |= {
                (row['model'], row['split']): row
                for row in result['rows']
                if row['set'] in ('both', 'all')
            }
        elif result.get('format') == evaluate_moe.FORMAT and not result['settings']['held_out']:
            for row in result['rows']:
                name = row['model'].rpartition('/')[2]
                likelihoods.setdefault((name, row['split']), []).append(row)
    splits = ('test', 'val')
    if (
        not {('moe', 'test'), ('swiftdiff', 'test')} <= errors.keys()
        or not {(name, split) for name in ('moe', 'em_data') for split in splits}
        <= likelihoods.keys()
    ):
        return None
    scored = {
        at: [row for row in rows if row['set'] != 'surprise'] for at, rows in likelihoods.items()
    }

    def gap(name: str, split: str) -> float:
        return mean_of(scored['moe', split], name) - mean_of(scored['em_data', split], name)

    def behind(part: str, name: str) -> float:
        mine, theirs = errors['moe', 'test'][part][name], errors['swiftdiff', 'test'][part][name]
        return 100.0 * float(mine / theirs - 1.0)

    ahead = max(gap('nll_per_coordinate', split) for split in splits) < 0.0
    apart = min(gap('position_nll', split) for split in splits) > 0.0
    behind_in_the_world = min(behind('world', name) for name in ('ade', 'fde')) > 0.0
    if not (ahead and apart and behind('pose', 'ade') < 0.0 and behind_in_the_world):
        return None
    return {
        'nll': {split: _nats(gap('nll_per_coordinate', split)) for split in splits},
        'positions': {split: _nats(gap('position_nll', split)) for split in splits},
        'within': math.ceil(max(abs(behind('pose', name)) for name in ('fde', 'mmade'))),
        'mmfde': math.ceil(abs(behind('pose', 'mmfde'))),
        'world_ade': round(behind('world', 'ade')),
        'world_fde': round(behind('world', 'fde')),
    }


def _nats(gap: float) -> str:
    return f'{abs(gap):.3f}'.lstrip('0')


def _counted(number: int) -> str:
    return f'{number:,}'.replace(',', ' ') if number >= 10_000 else str(number)
