# SPDX-License-Identifier: Apache-2.0
"""The pages of the ablations, written from their JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, MISSING, replace
from typing import Any

import numpy as np

from studies.ablation import ablate_moe, ablate_teacher
from studies.ablation.claims import claims
from studies.ablation.rows import Study
from studies.common.verdicts import gain, MEASURES, TEMPLATES, verdict, with_spread
from training.engine.config import as_plain, ChainConfig
from training.engine.overrides import value_now
from training.engine.presets import preset
from training.report.page import markdown_table, render


def shipped_errors(
    result: Mapping[str, Any], by_row: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Return the errors of a student of full length on the rows' windows, if there is one."""
    parts = []
    for split, error in (result.get('shipped') or {'error': {}})['error'].items():
        means = [np.mean([found['error'][split] for found in of]) for of in by_row.values()]
        above = sum(mean > error for mean in means)
        parts.append(f'{error:.3f} on {split} (below {above} of the {len(means)} rows)')
    return parts


def by_row_of(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the results by row."""
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for found in result['results']:
        by_row.setdefault(found['row'], []).append(found)
    return by_row


def ablations_page(result: Mapping[str, Any], command: str) -> str:
    """Return the page of ``studies ablate``."""
    by_row = by_row_of(result)
    text = render(
        'ablations.md',
        TEMPLATES,
        command=command,
        result=result,
        seeds=sorted({found['seed'] for found in result['results']}),
        rows=len(by_row),
        beaten=sum(
            np.mean([found['error'].get('val', np.inf) for found in of_row]) < 1.0
            for of_row in by_row.values()
        ),
        shipped=shipped_errors(result, by_row),
        errors=error_table(result, by_row),
        claims=claims(by_row),
        files=[
            (label.replace('/', ', '), measures_table(result, by_row, label))
            for label in result['reference']
        ],
        latency=latency_table(result) if result['latency'] else '',
        missing=[f'`{row["row"]}`' for row in result['rows'] if row['row'] not in by_row],
    )
    return text + '\n'


def rows_page(result: Mapping[str, Any], command: str) -> str:
    """Return the page of ``studies ablate-teacher`` or ``studies ablate-mixture``."""
    by_row = by_row_of(result)
    of_teacher = result['format'] == ablate_teacher.FORMAT
    title, what = (
        ("What the teacher's switches are worth", 'diffusion teacher')
        if of_teacher
        else ("What the parts of the mixture's training are worth", 'mixture of experts')
    )
    judged = [
        {**row, 'verdict': _split_verdict(by_row[row['row']], by_row['base'])}
        for row in result['rows']
        if row['row'] != 'base' and {'base', row['row']} <= set(by_row)
    ]
    text = render(
        'rows.md',
        TEMPLATES,
        command=command,
        result=result,
        title=title,
        what=what,
        of_teacher=of_teacher,
        seeds=sorted({found['seed'] for found in result['results']}),
        errors=error_table(result, by_row, what),
        changes=changes_since(result),
        judged=judged,
        files=[
            (
                label.replace('/', ', '),
                measures_table(result, by_row, label, 'base, mean over seeds'),
            )
            for label in result['reference']
        ],
    )
    return text + '\n'


def _split_verdict(mine: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> str:
    split = 'val' if 'val' in mine[0]['error'] else next(iter(mine[0]['error']))
    first, second = ([found['error'][split] for found in of] for of in (mine, others))
    return f'{verdict(first, second)}, {gain(first, second)}'


def error_table(
    result: Mapping[str, Any],
    by_row: Mapping[str, Sequence[Mapping[str, Any]]],
    what: str = 'student',
) -> str:
    """Return the table of rows with their changes and errors."""
    splits = list(result['results'][0]['error'])
    tempered = 'temperature' in result['results'][0]
    body: list[list[str]] = []
    for row in result['rows']:
        found = by_row.get(row['row'])
        if not found:
            continue
        changes = ' '.join(f'`{name}={value}`' for name, value in row['changes'].items())
        body.append([
            row['what'], f'`{row["row"]}`', changes or '-',
            *(with_spread([one['error'][split] for one in found]) for split in splits),
            *([with_spread([one['temperature'] for one in found], 2)] if tempered else []),
            f'{np.mean([one["cpu_s"] for one in found]):.0f}', str(len(found)),
        ])  # fmt: skip
    head = [what, 'row', 'changed', *(f'error, {split}' for split in splits)]
    head += ['temperature'] if tempered else []
    return markdown_table([*head, 'processor s', 'seeds'], body)


def measures_table(
    result: Mapping[str, Any],
    by_row: Mapping[str, Sequence[Mapping[str, Any]]],
    label: str,
    first: str = 'one-step teacher',
) -> str:
    """
    Return the table of the usual measures on one file.

    :param first: name of the reference.
    """
    reference = result['reference'][label]
    names = [*MEASURES, *(name for name in reference if name not in MEASURES)]
    body = [[first, *(f'{reference[name]:.3f}' for name in names)]]
    for name, found in by_row.items():
        body.append([
            f'`{name}`',
            *(
                with_spread([one['scores'][label][measure] for one in found])
                for measure in names
            ),
        ])  # fmt: skip
    return markdown_table(['row', *(name.upper() for name in names)], body)


def latency_table(result: Mapping[str, Any]) -> str:
    """Return the table of times, models by people."""
    people = sorted({row['persons'] for row in result['latency']})
    models: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in result['latency']:
        models.setdefault(row['model'], {})[row['persons']] = row
    body = [
        [
            name, f'{next(iter(of.values()))["parameters"] / 1e6:.2f} M',
            *(f'{of[count]["ms"]:.1f}' if count in of else 'not timed' for count in people),
        ]
        for name, of in models.items()
    ]  # fmt: skip
    return markdown_table(
        ['model', 'parameters', *(f'ms, batch {count}' for count in people)], body
    )


def changes_since(result: Mapping[str, Any]) -> list[str]:
    """
    Return which of the base's settings differ from the preset's of today.

    :param result: JSON of an ablation by rows.
    :returns: each with its former and its present value, scaled to the steps of the rows.
    """
    study: Study = {s.form[0]: s for s in (ablate_teacher.STUDY, ablate_moe.STUDY)}[
        result['format']
    ]
    limits = replace(study.budget(result['preset']), **result['budget'])
    made = study.settings_of(study.rows[0], preset(result['preset']), limits, 0)
    return list(_changes(getattr(made, study.stage), result['base'], made, study.stage))


def _changes(
    config: Any, then: Mapping[str, Any], chain: ChainConfig, stage: str, before: str = ''
) -> Iterator[str]:
    """Compare settings with the recorded ones; a setting that was not recorded had its default."""
    for name in sorted(then.keys() - {field.name for field in fields(config)}):
        yield from _of_former(chain, stage, before + name, then[name])
    for field in fields(config):
        now, name = getattr(config, field.name), before + field.name
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(now):
            missing = as_plain(default) if is_dataclass(default) else {}
            written = missing | then.get(field.name, {})
            yield from _changes(now, written, chain, stage, f'{name}.')
            continue
        was = then.get(field.name, None if default is MISSING else default)
        if was != now:
            yield f'`{name}` {was!r} -> {now!r}'


def _of_former(chain: ChainConfig, stage: str, name: str, was: Any) -> Iterator[str]:
    """Yield the fate of a setting that no longer exists; nothing if its value means the same."""
    if isinstance(was, Mapping):
        for part in sorted(was):
            yield from _of_former(chain, stage, f'{name}.{part}', was[part])
        return
    known, now = value_now(chain, f'{stage}.{name}')
    if not known:
        yield f'`{name}` {was!r} -> no such setting'
    elif was != now:
        yield f'`{name}` {was!r} -> {now!r}'
