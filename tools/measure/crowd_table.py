# SPDX-License-Identifier: Apache-2.0
"""The figures of tools.measure.crowd as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FIGURES = {
    'out_hz': 'predictions heard a second',
    'late_ms': 'stamp to reception, median ms',
    'late_p99_ms': 'p99, ms',
    'frame_ms': "the worker's frame, median ms",
    'frame_p99_ms': 'p99, ms',
    'frame_cpu_ms': 'its processor ms a frame',
    'process_cpu_ms': "the process's processor ms a frame",
}


def middle(rows: Sequence[Mapping[str, Any]], *path: str) -> float:
    """Return the median of a figure over several runs."""
    values = []
    for row in rows:
        value: Any = row
        for name in path:
            value = value[name]
        values.append(value)
    return float(np.median(values))


def section(found: Mapping[str, Any]) -> str:
    """
    Return a section of a page about a run of ``tools.measure.crowd``.

    :param found: content of the JSON that it wrote.
    """
    settings, machine = found['settings'], found['machine']
    both = len(found['commits']) > 1
    ratios = (
        ' Where two figures stand, they are of this commit and of the other, measured in turns, '
        'and in brackets is their ratio.'
    )
    loads = [row['load'] for row in found['rows']]
    lines = [
        '## A frame, stage by stage',
        '',
        'Written by the command, from `crowd.json`:',
        '',
        '```sh',
        found['command'],
        '```',
        '',
        f'{found["date"]}; {machine["processor"]}, {machine["cores"]} cores, which other programs '
        f'shared (load {min(loads):g} to {max(loads):g}). Walkers at {settings["rate"]:g} Hz, '
        f'{settings["samples"]} futures a person, a listener to `~/predictions`'
        f'{"".join(f", `~/{name}`" for name in settings["outputs"])}, {settings["rounds"]} times '
        f'{settings["seconds"]:g} s each. A stage has its median on the wall and its mean on the '
        'processor, over the frames that were predicted; what was decoded and stored for frames '
        'that were skipped counts with the next. The p99 of a few predictions is the slowest of '
        f'them.{ratios if both else ""}',
        '',
        table(found),
    ]
    if 'profile' in found:
        lines += ['', *profile(found['profile'])]
    return '\n'.join(lines) + '\n'


def profile(found: Mapping[str, Any]) -> list[str]:
    """
    Return the lines of a table of the functions that take most of a frame.

    :param found: ``command`` that sampled them, ``commit``, ``persons``, ``samples`` of the
        worker's cycle, and ``frames``: percent of the cycle with all that they call, by name.
    """
    return [
        f"Of the worker's cycle with {found['persons']} people ({found['samples']} samples by "
        f'`{found["command"]}`, commit {found["commit"][:12]}), with all that they call:',
        '',
        '| function | % of the cycle |',
        '|---|---:|',
        *(f'| `{name}` | {share:.1f} |' for name, share in found['frames'].items()),
    ]


def table(found: Mapping[str, Any]) -> str:
    """Return the stages of each number of people, and the ratios of two checkouts."""
    rows = found['rows']
    names = list(dict.fromkeys(row['checkout'] for row in rows))
    persons = list(dict.fromkeys(row['persons'] for row in rows))

    def of(name: str, count: int) -> list[Mapping[str, Any]]:
        return [row for row in rows if (row['checkout'], row['persons']) == (name, count)]

    lines = [f'Commits: {", ".join(f"{n} {c[:12]}" for n, c in found["commits"].items())}.', '']
    for name in names:
        head = ' | '.join(f'{count} people: wall, cpu' for count in persons)
        lines += [f'Stages, ms a frame, {name}:', '', f'| stage | {head} |']
        lines.append('|---|' + '---:|' * len(persons))
        for stage in rows[0]['stages']:
            cells = [
                f'{middle(of(name, count), "stages", stage, "wall_ms"):.2f}, '
                f'{middle(of(name, count), "stages", stage, "cpu_ms"):.2f}'
                for count in persons
            ]
            lines.append(f'| {stage} | {" | ".join(cells)} |')
        shares = [f'{100 * middle(of(name, count), "ros_share"):.0f} %' for count in persons]
        lines += [f'| rclpy and DDS, of the process | {" | ".join(shares)} |', '']
    head = ' | '.join(f'{count}' for count in persons)
    seconds = found['settings']['seconds']
    for figure, words in FIGURES.items():
        if figure == 'out_hz':
            lines += [f'| people | {head} |', '|---|' + '---:|' * len(persons)]
            counts = [
                ' / '.join(
                    str(round(sum(row['out_hz'] for row in of(name, count)) * seconds))
                    for name in names
                )
                for count in persons
            ]
            lines.append(f'| predictions measured | {" | ".join(counts)} |')
        cells = []
        for count in persons:
            values = [middle(of(name, count), figure) for name in names]
            cell = ' / '.join(f'{value:.1f}' for value in values)
            if len(values) == 2 and values[1]:
                cell += f' ({values[0] / values[1]:.2f})'
            cells.append(cell)
        lines.append(f'| {words} | {" | ".join(cells)} |')
    return '\n'.join(lines)
