# SPDX-License-Identifier: Apache-2.0
"""The result of fine-tuning, as a page and on the card of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.stages.adapt.comparison import table
from training.stages.adapt.recordings import digest_of
from training.stages.adapt.settings import FinetuneOptions


def finetuned_card(
    card: Mapping[str, Any], options: FinetuneOptions, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the original's card with the recordings of the fine-tuning and its result."""
    recordings = {
        f'{path.resolve().parent.name}/{path.name}': digest_of(path) for path in options.recording
    }
    data = card.get('data')
    means = {
        when: {name: row[when] for name, row in result['held_back'].items()}
        for when in ('before', 'after')
    }
    return {
        **{name: value for name, value in card.items() if name != 'scores'},
        'what': f'{card.get("what", "A student")}; fine-tuned on a user\'s recording',
        'data': {**(data if isinstance(data, dict) else {}), **recordings},
        'scores': {f'held-back part of the recording, {w}': means[w] for w in means},
        'finetuned': {
            'recordings': recordings,
            **{
                name: result[name]
                for name in ('command', 'commit', 'settings', 'weights', 'seconds', 'best_step',
                             'held_back')
            },
        },
    }  # fmt: skip


def report_text(result: Mapping[str, Any], recordings: Sequence[Path]) -> str:
    """Return the report as a page."""
    seconds, settings, machine = result['seconds'], result['settings'], result['machine']
    names = ', '.join(f'`{p.resolve().parent.name}/{p.name}`' for p in recordings)
    lines = [
        '# Fine-tuning on a recording of your own',
        '',
        'Written by the command below, every figure measured by it; the training page says how '
        'fine-tuning works.',
        '',
        '```sh',
        result['command'],
        '```',
        '',
        f'- Commit {result["commit"]}{" (changed)" if result["modified"] else ""}, '
        f'{result["date"]}; {machine["processor"]}, {machine["cores"]} cores, '
        f'{machine["threads"]} thread(s), torch {machine["torch"]}.',
        f'- Recording: {names}: {seconds["adapt"]:.0f} s to learn from, {seconds["val"]:.0f} s to '
        f'stop by, {seconds["held"]:.0f} s ({result["windows_held_back"]} windows) held back '
        f'(hold_back={settings["hold_back"]}).',
        f'- Adapted in {result["wall_s"]:.0f} s of wall time, '
        f'{result["cpu_s"]:.0f} s of processor time; best on validation after '
        f'{result["best_step"]:.0f} steps.',
        '',
        f'## Held-back part, {settings["scored_samples"]} samples',
        '',
        table(result['held_back']),
        '',
        'Intervals: blocks of 10 s drawn with replacement.',
        '',
    ]
    for name, rows in result['also'].items():
        lines += [f'## {name}, which is not in the recording', '', table(rows), '']
    lines += ['## Validation', '', '| step | error (m) |', '|---|---|']
    lines += [f'| {entry["step"]:.0f} | {entry["val"]:.4f} |' for entry in result['validation']]
    return '\n'.join(lines) + '\n'
