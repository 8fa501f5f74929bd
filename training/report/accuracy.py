# SPDX-License-Identifier: Apache-2.0
"""The sections of ``training evaluate``: accuracy, also behind a noisy tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from training.judge import plots
from training.judge.accuracy.predicting import NEIGHBOURS_NAME
from training.judge.scoring import COMPARED
from training.report.page import markdown_table, render

SPREAD = ('ade_median', 'ade_worst', 'fde_median', 'fde_worst')
BEHIND_NOISE = (
    'pose.apd', 'pose.ade', 'pose.fde', 'pose.mmade', 'pose.mmfde', 'world.ade', 'world.fde',
)  # fmt: skip

AGAINST_NEIGHBOURS = (
    ('pose', 'ade'), ('pose', 'fde'), ('pose', 'mmade'), ('pose', 'mmfde'), ('world', 'ade'),
    ('world', 'fde'), ('world', 'energy'),
)  # fmt: skip
"""Measures by which a model is compared with the nearest neighbours; less is better in all."""


def evaluation_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Return the section of one evaluation.

    :param result: result of ``training evaluate``.
    :param images: folder of the plots, which are already drawn.
    :param page: path of the page, from which the plots are linked.
    """
    groups = []
    for set_name, split in _ordered(result['rows']):
        rows = [r for r in result['rows'] if (r['set'], r['split']) == (set_name, split)]
        image = images / f'horizon_{set_name}_{split}.svg'
        groups.append(
            {
                'set': set_name,
                'split': split,
                'windows': rows[0]['windows'],
                'clips': rows[0]['clips'],
                'pose': _pose_table(rows),
                'world': _world_table(rows),
                'ratios': _ratio_table(rows) if any('against' in row for row in rows) else '',
                'image': Path(os.path.relpath(image, page.parent)).as_posix(),
            }
        )
    older = {r['model']: r['taken_over_from'] for r in result['rows'] if 'taken_over_from' in r}
    return render(
        'accuracy.md',
        result=result,
        data=_data_table(result),
        models=_models_table(result),
        taken_over=[{'model': name, 'commit': str(commit)} for name, commit in older.items()],
        groups=groups,
    )


def noise_section(results: Sequence[Mapping[str, Any]]) -> str:
    """
    Return the section of evaluations behind a noisy tracker.

    :param results: results of ``training evaluate --tracker-noise``.
    """
    return render('noise.md', found=[(result, _noise_table(result)) for result in results])


def knows_neighbours(result: Mapping[str, Any]) -> bool:
    """Return whether an evaluation scores the nearest neighbours beside the models."""
    return any(row['model'] == NEIGHBOURS_NAME for row in result['rows'])


def neighbours_section(result: Mapping[str, Any]) -> str:
    """
    Return the section that compares each model with the nearest neighbours.

    :param result: result of ``training evaluate --neighbours``.
    """
    head = ['error over that of the neighbours', 'set']
    names = ['world ' * (part == 'world') + name.upper() for part, name in AGAINST_NEIGHBOURS]
    head += names
    body: list[list[str]] = []
    behind: list[str] = []
    for set_name, split in _ordered(result['rows']):
        rows = [r for r in result['rows'] if (r['set'], r['split']) == (set_name, split)]
        (theirs,) = (row for row in rows if row['model'] == NEIGHBOURS_NAME)
        for row in rows:
            if row['role'] == 'baseline':
                continue
            ratios = [row[part][name] / theirs[part][name] for part, name in AGAINST_NEIGHBOURS]
            shown = plots.shown_name(row)
            body.append([shown, f'{set_name}, {split}', *(f'{ratio:.3f}' for ratio in ratios)])
            worse = [name for name, ratio in zip(names, ratios) if ratio >= 1.0]
            if worse and row['role'] == 'teacher':
                behind.append(f'{set_name}: {", ".join(worse)}')
    return render(
        'neighbours.md', result=result, table=markdown_table(head, body), behind='; '.join(behind)
    )


def _noise_table(result: Mapping[str, Any]) -> str:
    head = ['test', 'set', *(name.split('.')[1].upper() for name in BEHIND_NOISE[:5])]
    body = []
    for set_name, split in _ordered(result['rows']):
        if split != 'test':
            continue
        for row in result['rows']:
            if (row['set'], row['split']) == (set_name, split):
                values = [row[part][name] for part, name in (n.split('.') for n in BEHIND_NOISE)]
                body.append(
                    [plots.shown_name(row), set_name, *(f'{value:.3f}' for value in values)]
                )
    return markdown_table([*head, 'world ADE', 'world FDE'], body)


def _data_table(result: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    for data in result['data']:
        label = f'{data["set"]}/{data["split"]}'
        sets = result['neighbours'][label]
        rows.append([
            f'`{data["file"]}`', data['set'], data['split'], str(data['scored']),
            str(data['clips']), str(len(data['subjects'])), f'{sets["mean"]:.1f}',
            f'{100.0 * sets["alone"]:.0f} %', f'`{data["sha256"][:12]}`',
        ])  # fmt: skip
    head = ['data', 'set', 'split', 'windows', 'clips', 'subjects', 'multimodal set, mean']
    return markdown_table([*head, 'alone in it', 'SHA-256'], rows)


def _models_table(result: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    for model in result['models']:
        if model['role'] == 'baseline':
            continue
        commits = list(dict.fromkeys(c for p in model['predictions'] for c in p['commits']))
        rows.append([
            plots.shown_name(model), f'`{model["file"]}`', f'`{model["sha256"][:12]}`',
            f'{model["parameters"] / 1e6:.2f} M', f'{model["engine"]}, {model["device"]}',
            ', '.join(f'`{str(commit)[:12]}`' for commit in commits),
            f'{sum(p["wall_s"] for p in model["predictions"]):.0f} s',
        ])  # fmt: skip
    if not rows:
        return 'Baselines alone: no weights were given.'
    head = ['model', 'weights', 'SHA-256', 'parameters', 'engine', 'predicted at commit']
    return markdown_table([*head, 'prediction took'], rows)


def _pose_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['pose, m', 'APD', 'ADE', 'FDE', 'MMADE', 'MMFDE', 'ADE median', 'ADE worst']
    body = [
        [
            plots.shown_name(row),
            f'{row["pose"]["apd"]:.3f}',
            _with_interval(row, 'pose', 'ade'),
            _with_interval(row, 'pose', 'fde'),
            *(
                f'{row["pose"][name]:.3f}'
                for name in (
                    'mmade',
                    'mmfde',
                    'ade_median',
                    'ade_worst',
                    'fde_median',
                    'fde_worst',
                )
            ),
        ]
        for row in rows
    ]
    return markdown_table([*head, 'FDE median', 'FDE worst'], body)


def _world_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['world, m', 'ADE', 'FDE', 'ADE median', 'ADE worst', 'FDE median', 'FDE worst']
    scored = all('energy' in row['world'] for row in rows)  # of former evaluations not
    body = [
        [
            plots.shown_name(row),
            _with_interval(row, 'world', 'ade'),
            _with_interval(row, 'world', 'fde'),
            *(f'{row["world"][name]:.3f}' for name in SPREAD),
            *([_with_interval(row, 'world', 'energy')] if scored else []),
        ]
        for row in rows
    ]
    return markdown_table([*head, 'energy score'] if scored else head, body)


def _with_interval(row: Mapping[str, Any], part: str, name: str) -> str:
    low, high = row['interval95'][f'{part}.{name}']
    return f'{row[part][name]:.3f} ({low:.3f} to {high:.3f})'


def _ratio_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = COMPARED
    head = ['error over that of the teacher']
    head += [f'{part} {measure.upper()}' for part, measure in (n.split('.') for n in names)]
    body: list[list[str]] = []
    for row in rows:
        if 'against' not in row:
            continue
        cells = [f'{plots.shown_name(row)} / {row["against"]["model"]}']
        for name in names:
            found = row['against'][name]
            text = f'{found["ratio"]:.3f}'
            if found['interval95'] is not None:
                low, high = found['interval95']
                text += f' ({low:.3f} to {high:.3f})'
            cells.append(text)
        body.append(cells)
    return markdown_table(head, body)


def _ordered(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return test before the other splits, and all sets together before each alone."""
    return sorted(
        plots.sets_and_splits(rows),
        key=lambda pair: (pair[1] != 'test', pair[1], pair[0] not in ('both', 'all'), pair[0]),
    )
