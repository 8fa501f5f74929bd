# SPDX-License-Identifier: Apache-2.0
"""Write the page of the mixture of experts from its JSON: python -m training report mixture.

Every number on the page comes from ``training evaluate``, ``training evaluate-mixture`` and
``training benchmark``, each with its command and commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from training.judge import calibrate, choose_temperature, plots
from training.judge.accuracy import evaluate, evaluate_moe
from training.judge.accuracy.evaluate_moe import QUANTILE, RANKS
from training.judge.speed import benchmark
from training.report.moe_facts import comparison, mean_of, splits_of, training_parts
from training.report.moe_plots import draw_reliability, draw_roc
from training.report.page import markdown_table, render, write_page
from training.report.radii import calibration_section
from training.report.temperatures import temperature_section

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report mixture --json docs/results/data/moe_*.json --out docs/results/moe.md
"""


def accuracy_section(result: Mapping[str, Any]) -> str:
    """
    Return the section on the samples.

    :param result: result of ``training evaluate``.
    """
    head = ['pose, m', 'APD', 'ADE', 'FDE', 'MMADE', 'MMFDE', 'world ADE', 'world FDE']
    groups = []
    for split in splits_of(result['rows']):
        rows = [r for r in result['rows'] if r['split'] == split and r['set'] in ('both', 'all')]
        body = [
            [
                row['model'] if row['role'] == 'moe' else plots.shown_name(row),
                *(f'{row["pose"][n]:.3f}' for n in ('apd', 'ade', 'fde', 'mmade', 'mmfde')),
                *(f'{row["world"][n]:.3f}' for n in ('ade', 'fde')),
            ]
            for row in rows
            if row['role'] != 'baseline' or row['model'] == 'zero_velocity'
        ]
        if body:
            errors = markdown_table(head, body)
            groups.append({'split': split, 'windows': rows[0]['windows'], 'errors': errors})
    return render('moe_accuracy.md', result=result, groups=groups)


def mixture_section(result: Mapping[str, Any], page: Path, images: Path) -> str:
    """
    Return the section on the mixtures beyond their samples.

    :param result: result of ``training evaluate-mixture``.
    :param page: path of the page, from which the plots are linked.
    :param images: folder for the plots.
    """
    scored = [row for row in result['rows'] if row['set'] != 'surprise']
    first = next((row['model'] for row in scored if row['role'] == 'moe'), None)
    drawn = draw_reliability(
        [row for row in scored if row['model'] == first],
        images / f'reliability_{Path(str(first)).name}.svg',
    )
    surprises = [row for row in result['rows'] if row['set'] == 'surprise']
    return render(
        'moe_likelihood.md',
        result=result,
        quantile=QUANTILE,
        groups=[
            {'split': split, 'scores': _scores_table(result['models'], scored, split)}
            for split in splits_of(scored)
        ],
        image=_link(drawn, page),
        surprises=_surprise_table(surprises) if surprises else '',
    )


def _scores_table(
    models: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]], split: str
) -> str:
    head = ['model', 'nats a coordinate', 'of a joint', *(f'top {k}' for k in RANKS)]
    head += [*(f'few {k}' for k in RANKS), 'experts', 'nearest', 'used', 'ECE', 'jitter']
    head.insert(1, 'temperature, spread, apart')
    tempered = {
        entry['model']: ', '.join(
            f'{entry.get(name, 1.0):g}' for name in ('temperature', 'spread', 'apart')
        )
        for entry in models
    }
    body: list[list[str]] = []
    for model in dict.fromkeys(row['model'] for row in scored):
        rows = [
            {**r, 'ece': r.get('reliability', {}).get('ece')}
            for r in scored
            if r['split'] == split and r['model'] == model
        ]
        if not rows:
            continue
        mixture = rows[0]['role'] == 'moe'
        body.append(
            [
                model,
                tempered[model] if mixture else '',
                f'{mean_of(rows, "nll_per_coordinate"):.3f}' if mixture else '',
                f'{mean_of(rows, "position_nll"):.3f}' if mixture else '',
                *(f'{mean_of(rows, f"pose.top{k}"):.3f}' for k in RANKS),
                *(f'{mean_of(rows, f"pose.few{k}"):.3f}' for k in RANKS),
                str(rows[0]['experts']) if mixture else '',
                f'{mean_of(rows, "experts_that_were_nearest"):.0f}' if mixture else '',
                f'{mean_of(rows, "experts_used"):.1f}' if mixture else '',
                f'{mean_of(rows, "ece"):.3f}' if mixture else '',
                f'{1000.0 * mean_of(rows, "jitter"):.3f}',
            ]
        )
    return markdown_table(head, body)


def surprise_section(result: Mapping[str, Any], page: Path, images: Path) -> str:
    """
    Return the section on motion that the model never saw; '' if nothing was measured.

    :param result: result of ``training evaluate-mixture``.
    :param page: path of the page.
    :param images: folder for the plots.
    """
    rows = [row for row in result['rows'] if row['set'] == 'surprise']
    if not rows:
        return ''
    curves = [row for row in rows if 'roc' in row and row['split'] == 'test'] or [
        row for row in rows if 'roc' in row
    ]
    image = _link(draw_roc(curves, images / 'moe_roc.svg'), page) if curves else ''
    return render(
        'moe_unseen.md',
        result=result,
        quantile=QUANTILE,
        surprises=_surprise_table(rows),
        image=image,
    )


def _surprise_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['model', 'split', 'threshold', 'false alarms', 'held out', 'its windows', 'detected']
    body = [
        [
            row['model'],
            row['split'],
            f'{row["threshold"]:.2f}',
            f'{100 * row["false_alarms"]:.1f} %',
            row.get('held_out', ''),
            str(row.get('held_out_windows', '')),
            f'{100 * row["detected"]:.1f} %' if 'detected' in row else '',
            f'{row["roc"]["auc"]:.3f}' if 'roc' in row else '',
        ]
        for row in rows
    ]
    return markdown_table([*head, 'AUC'], body)


def time_section(result: Mapping[str, Any]) -> str:
    """
    Return the section on times.

    :param result: result of ``training benchmark``.
    """
    head = ['model', 'what', 'engine', 'threads', 'people', 'median, ms', 'p99, ms']
    names = list(dict.fromkeys(n for row in result['rows'] for n in row['times_faster_than']))
    body = [
        [
            row['model'],
            row.get('part', 'call'),
            row['engine'],
            str(row['threads']),
            str(row['persons']),
            f'{row["median_ms"]:.2f}',
            f'{row["p99_ms"]:.2f}',
            *(
                f'{row["times_faster_than"][n]:.2f}' if n in row['times_faster_than'] else ''
                for n in names
            ),
        ]
        for row in [*result['rows'], *result.get('networks', [])]
    ]
    return render(
        'moe_time.md',
        result=result,
        times=markdown_table([*head, *(f'x {name}' for name in names)], body),
        outside=outside_of_the_network(result, names),
    )


def outside_of_the_network(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """
    Return how much of a model's call would remain if its network took no time.

    :param result: result of ``training benchmark --networks``.
    :param names: names of the models that others are compared with.
    :returns: a clause for each; empty if no network was timed.
    """
    key = ('model', 'engine', 'threads', 'persons')
    networks = {tuple(r[k] for k in key): r['median_ms'] for r in result.get('networks', [])}
    found = []
    for row in result['rows']:
        at = tuple(row[k] for k in key)
        if row['model'] in names and at in networks:
            rest = row['median_ms'] - networks[at]
            if rest > 0.05 * row['median_ms']:  # a smaller difference is noise
                found.append(
                    f'`{row["model"]}`, {row["threads"]} threads, {row["persons"]} people: '
                    f'{rest:.2f} of {row["median_ms"]:.2f} ms, {row["median_ms"] / rest:.1f} times'
                )
    return found


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :raises ConfigError: if a result comes from another command.
    """
    parts: list[str] = []
    for result in results:
        kind = result.get('format')
        if kind == evaluate.FORMAT:
            parts.append(accuracy_section(result))
        elif kind == evaluate_moe.FORMAT:
            if result['settings']['held_out']:
                parts.append(surprise_section(result, page, images))
            elif result['version'] == evaluate_moe.VERSION:
                parts.append(mixture_section(result, page, images))
            else:
                raise ConfigError(
                    f'{result["command"]}: version {result["version"]}, must be '
                    f'{evaluate_moe.VERSION}; run it again'
                )
        elif kind == choose_temperature.FORMAT:
            parts.append(temperature_section(result, images, page))
        elif kind == calibrate.FORMAT:
            parts.append(calibration_section(result, images, page))
        elif kind == benchmark.FORMAT:
            parts.append(time_section(result))
        else:
            raise ConfigError(f'format {kind!r}: not of a command of this page')
    text = render(
        'moe.md',
        command=command,
        parts=training_parts(results),
        ahead=comparison(results),
        sections=[part for part in parts if part],
    )
    return text + '\n'


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return write_page(
        'training report mixture',
        (__doc__ or '').split('\n\n', 1)[1],
        EXAMPLE,
        page_text,
        arguments,
    )
