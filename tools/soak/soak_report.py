# SPDX-License-Identifier: Apache-2.0
"""Page and plot of a soak, made from its JSON."""

from __future__ import annotations

from collections import Counter
import json
from pathlib import Path
from typing import Any

from tools.soak.soak_faults import FAULTS
from tools.soak.soak_hostile import HOSTILE


def write_report(path: Path) -> Path:
    """
    Write the plot (.svg) and the page (.md) beside a soak's JSON, or beside its folder ``data``.

    :param path: the JSON.
    :returns: path of the page.
    """
    result: dict[str, Any] = json.loads(path.read_text())
    beside = path.parent.parent if path.parent.name == 'data' else path.parent
    page = beside / f'{path.stem}.md'
    _plot(result, page.with_suffix('.svg'))
    page.write_text(_page(result, path))
    return page


def _plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use('Agg')
    mpl.rcParams['svg.hashsalt'] = 'motion_predictor'
    import matplotlib.pyplot as plt

    series = result['series']
    at_min = [at_s / 60.0 for at_s in series['at_s']]
    figure, (memory, latency) = plt.subplots(2, 1, figsize=(8.0, 5.0), sharex=True)
    memory.plot(at_min, series['rss_mb'], color='#1f77b4', linewidth=1.0)
    memory.set_ylim(0.0, 1.25 * max(series['rss_mb'], default=1.0))
    memory.set_ylabel('resident memory, MiB')
    memory.set_title(
        f'{result["faults"]} faults in {result["minutes"]:.0f} minutes: '
        f'memory {100 * result["growth"]:+.2f}%',
        fontsize=10,
    )
    for name, colour in (('p99_ms', '#d55e00'), ('p50_ms', '#1f77b4')):
        latency.plot(at_min, series[name], color=colour, linewidth=1.0, label=name.split('_')[0])
    latency.set_ylabel('latency of good frames, ms')
    latency.set_xlabel('minutes')
    latency.set_ylim(bottom=0.0)
    latency.legend(frameon=False, fontsize=8)
    for axes in (memory, latency):
        axes.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def _page(result: dict[str, Any], path: Path) -> str:
    about = {fault.name: fault.about for fault in (*FAULTS, *HOSTILE)}
    held = all(result['checks'].values())
    good, answered = result['good_frames'], result['good_answered']
    late, covered = result['latency_ms'], result['good_covered_ms']
    lines = [
        '# Soak',
        '',
        'The real node, a process with the shipped weights, heard a tracker at 30 Hz over DDS '
        '(with the shipped profile for large messages) while a fault was injected every few '
        'seconds. This page and its plot are written by the '
        f'command, from `{path.name}`:',
        '',
        '```sh',
        result['command'],
        '```',
        '',
        f'Commit `{result["commit"]}`, {result["begun"]}; {result["machine"]}. '
        f'Motion: {result["motion"]}.',
        '',
        f'**{"Everything below held." if held else "NOT everything held: see the table."}** '
        f'{result["faults"]} faults of {len(result["kinds"])} kinds in '
        f'{result["minutes"]:.1f} minutes. Of {good} good frames (sent at least 1.5 s after '
        f'the last fault) {answered} ({100.0 * answered / max(good, 1):.2f}%) got a prediction '
        f'with their own stamp{_places(result["good_unanswered"])}; for every one a prediction as '
        f'new or newer came within {covered.get("p50")} ms (median; p99 {covered.get("p99")} ms, '
        f'longest, into a fault that followed, {covered.get("max")} ms). Latency from stamp '
        f'to reception in another process: median {late.get("p50")} ms, p99 {late.get("p99")} ms, '
        f'longest {late.get("max")} ms. The processors were shared with other work: the mean load '
        f'was {_mean(result, "load"):.1f} on {result["machine"].split(",")[1].strip()}; the node '
        f'used {100.0 * _mean(result, "cpu"):.0f}% of one.',
        '',
        f'![memory and latency over time]({path.with_suffix(".svg").name})',
        '',
        '| must hold | |',
        '|---|---|',
        *(f'| {text} | {"yes" if holds else "**NO**"} |'
          for text, holds in result['checks'].items()),
        '',
        '| account | messages |',
        '|---|---:|',
        *(f'| {name} | {value} |' for name, value in result['accounts'].items()),
        '',
        '| fault | what is done | times | named in diagnostics as (how often in all) |',
        '|---|---|---:|---|',
    ]  # fmt: skip
    for name in sorted(result['kinds'], key=list(about).index):
        tally = result['kinds'][name]
        counters = ', '.join(f'`{key}` {count}' for key, count in tally['counters'].items())
        lines.append(
            f'| {name} | {about[name]} | {tally["injected"]} | {counters or "drops nothing"} |'
        )
    if result['problems']:
        lines += ['', 'What did not hold:', '', *_counted(result['problems'])]
    return '\n'.join(lines) + '\n'


def _counted(problems: list[str]) -> list[str]:
    return [f'- {text} ({count} times)' for text, count in Counter(problems).items()]


def _places(unanswered: list[dict[str, Any]]) -> str:
    if not unanswered:
        return ''
    most = max(each['frames'] for each in unanswered)
    return (
        ' (the others, for which a newer one was there, lay between '
        f'{len(unanswered)} pairs of faults, {most} at most between one)'
    )


def _mean(result: dict[str, Any], name: str) -> float:
    values = result['series'].get(name) or [float('nan')]
    return sum(values) / len(values)
