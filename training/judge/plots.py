# SPDX-License-Identifier: Apache-2.0
"""Plots of results, drawn from their JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = {'teacher': '#7b3294', 'one_step': '#c2581a', 'swiftdiff': '#0571b0', 'moe': '#d7301f'}
BASELINE_COLOURS = {
    'zero_velocity': '#555555',
    'constant_velocity': '#aaaaaa',
    'constant_root_velocity': '#2ca25f',
    'damped_velocity': '#8c6d31',
    'neighbours': '#f768a1',
}
SPARE_COLOURS = ('#1b9e77', '#e7298a', '#66a61e', '#e6ab02')


def draw_horizons(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """
    Draw the error over the horizon, one plot for each set and split.

    On the left is the pose relative to the root, on the right the world including the root's
    motion. Solid lines show the best of a window's samples by ADE, broken lines its median sample.
    All values are means over the windows.

    :param result: result of ``training evaluate``.
    :param folder: folder for ``horizon_<set>_<split>.svg``; a missing folder is made.
    :returns: the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for set_name, split in sets_and_splits(result['rows']):
        rows = [r for r in result['rows'] if (r['set'], r['split']) == (set_name, split)]
        figure = Figure(figsize=(10, 5), layout='constrained')
        left, right = figure.subplots(1, 2)
        _draw_part(left, rows, 'pose', 'root-relative pose, 16 joints')
        _draw_part(right, rows, 'world', 'world, 17 joints with the root')
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc='outside lower center', ncols=3, fontsize=8)
        figure.suptitle(f'{set_name}, {split}: {rows[0]["windows"]} windows')
        path = folder / f'horizon_{set_name}_{split}.svg'
        save(figure, path)
        written.append(path)
    return written


def draw_latencies(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """
    Draw the duration of one prediction, for every model and number of people.

    :param result: result of ``training benchmark``.
    :param folder: folder for ``latency.svg``; a missing folder is made.
    :returns: the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4), layout='constrained')
    axes = figure.subplots()
    lines: dict[tuple[str, str, int], list[tuple[int, float, float]]] = {}
    for row in result['rows']:
        key = (row['model'], row['engine'], row['threads'])
        lines.setdefault(key, []).append((row['persons'], row['median_ms'], row['p99_ms']))
    for (model, engine, threads), points in lines.items():
        persons, medians, slow = zip(*sorted(points), strict=True)
        label = f'{model}, {engine}, {threads} thread{"s" if threads > 1 else ""}'
        (line,) = axes.plot(persons, medians, marker='o', markersize=3, label=label)
        axes.fill_between(persons, medians, slow, color=line.get_color(), alpha=0.15, lw=0)
    axes.axhline(1000.0 / 30.0, color='black', lw=0.8, ls=':')
    axes.annotate('one frame at 30 Hz', (1, 1000.0 / 30.0), fontsize=7, va='bottom')
    axes.set(yscale='log', xlabel='people', ylabel='ms, median to p99')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, loc='center left', bbox_to_anchor=(1.0, 0.5))
    path = folder / 'latency.svg'
    save(figure, path)
    return [path]


def sets_and_splits(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return every (set, split) of some rows once, in order of appearance."""
    return list(dict.fromkeys((row['set'], row['split']) for row in rows))


def shown_name(row: Mapping[str, Any]) -> str:
    """Return a model's name in tables and legends: its kind, and its file if that says more."""
    model, label = str(row['model']), str(row['label'])
    plain = label.lower().replace('-', '').replace(' ', '')
    if row['role'] == 'baseline' or plain.startswith(model.lower().replace('_', '')):
        return label
    return f'{label} ({model})'


def save(figure: Figure, path: Path) -> None:
    """Write an SVG whose bytes depend only on what it shows."""
    with matplotlib.rc_context({'svg.hashsalt': 'motion_predictor', 'svg.fonttype': 'none'}):
        FigureCanvasSVG(figure).print_svg(str(path), metadata={'Date': None})


def _draw_part(axes: Axes, rows: Sequence[Mapping[str, Any]], part: str, title: str) -> None:
    spare = iter(SPARE_COLOURS * len(rows))
    used: set[str] = set()
    highest = 0.0
    for row in rows:
        times_s, best = row['horizon']['times_s'], row['horizon'][f'{part}.best']
        if row['role'] == 'baseline':
            if row['model'] == 'constant_root_velocity' and part == 'pose':
                continue  # at that point it is zero velocity
            axes.plot(times_s, best, color=BASELINE_COLOURS[row['model']], label=row['label'])
        else:
            colour = COLOURS[row['role']]
            if colour in used:
                colour = next(spare)
            used.add(colour)
            name = shown_name(row)
            median = row['horizon'][f'{part}.median']
            axes.plot(times_s, best, color=colour, label=f'{name}, best sample')
            axes.plot(times_s, median, color=colour, ls='--', label=f'{name}, median sample')
            highest = max(highest, *median)
        if row['model'] == 'zero_velocity':
            highest = max(highest, *best)
    axes.set(title=title, xlabel='s after the last observed frame', ylabel='error, m')
    axes.set_ylim(0.0, 1.25 * highest if highest > 0.0 else None)
    axes.set_xlim(0.0, rows[0]['horizon']['times_s'][-1])
    axes.grid(alpha=0.3)
