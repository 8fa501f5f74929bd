"""The pages of the ablations, written from their JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, MISSING, replace
from typing import Any

import numpy as np

from studies.ablation import ablate_moe, ablate_teacher
from studies.ablation.claims import claims
from studies.ablation.rows import Study
from studies.common.verdicts import (
    AT_EQUAL_VARIETY,
    ERROR,
    gain,
    MEASURES,
    origin,
    verdict,
    with_spread,
)
from training.engine.config import as_plain, ChainConfig
from training.engine.overrides import value_now
from training.engine.presets import preset
from training.report.page import markdown_table


def shipped_sentence(
    result: Mapping[str, Any], by_row: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Say where a student of full length is, scored on the rows' windows, if there is one."""
    shipped = result.get('shipped')  # pages of before it was scored have none
    if not shipped:
        return ''
    parts = []
    for split, error in shipped['error'].items():
        means = [np.mean([found['error'][split] for found in of]) for of in by_row.values()]
        above = sum(mean > error for mean in means)
        parts.append(f'{error:.3f} on {split} (below {above} of the {len(means)} rows)')
    return (
        f' `{shipped["weights"]}`, trained in full, on the same windows: {", ".join(parts)}; '
        'that says more of the length of its training than of its recipe.'
    )


def ablations_page(result: Mapping[str, Any], command: str) -> str:
    """Write the page of ``studies ablate``."""
    limits = result['budget']
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for found in result['results']:
        by_row.setdefault(found['row'], []).append(found)
    files = list(result['reference'])
    seeds = sorted({found['seed'] for found in result['results']})
    base = result['base']
    beaten = sum(
        np.mean([found['error'].get('val', np.inf) for found in of_row]) < 1.0
        for of_row in by_row.values()
    )
    parts = [
        "# What the recipe's parts are worth",
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        f'Every row is a SwiftDiff trained on {" and ".join(result["data"])} with the settings of '
        f'preset `{result["preset"]}` but for what the row says, with {limits["windows"]} windows '
        f'({limits["windows"] // base["optim"]["batch"]} steps of '
        f'{base["optim"]["batch"]}), a pool of {limits["pool"]}, seeds '
        f'{", ".join(str(seed) for seed in seeds)}; scored with {limits["samples"]} samples on at '
        f'most {limits["limit"]} windows of each file, spread evenly. **This is a small part of a '
        'full training**: a row that learns slowly looks worse than it would end. ' + ERROR,
        AT_EQUAL_VARIETY + f' Here: {result["apd"]:.3f} m.'
        if result['apd'] is not None
        else 'Students are scored at the temperature that they were trained with, 1 (what is '
        'shipped: its own). Read with care: the error rewards the best of many samples, students '
        'of so few steps give too little variety to be brought to that of the teacher, and one '
        'whose samples all lie together can look good; APD says how varied they are.',
        f'{beaten} of the {len(by_row)} rows are below 1 on val after this budget.'
        + shipped_sentence(result, by_row),
        'In the table: mean over the seeds ± half of their range. Test is reported as it was used '
        'for nothing.',
        error_table(result, by_row),
        '## In words',
        f'*Holds*: every seed of the one row is below every seed of the other on val; with '
        f'{len(seeds)} seeds and so short a training that is a hint and no proof.',
        claims(by_row),
        'KL is not defined in what could be read of the paper: `kl_softmax` and `kl_gaussian` are '
        'two readings of it.',
    ]
    for label in files:
        parts += [f'### {label.replace("/", ", ")}', measures_table(result, by_row, label)]
    parts += [
        '## Time',
        'One `Predictor` call, one thread, processor time, medians, the networks taking turns; '
        'the teacher once.'
        if result['latency']
        else 'Nothing was timed in this run (`--no-times`).',
    ]
    if result['latency']:
        parts.append(latency_table(result))
    missing = [row['row'] for row in result['rows'] if row['row'] not in by_row]
    if missing:
        parts.append('Rows that were not run: ' + ', '.join(f'`{name}`' for name in missing) + '.')
    return '\n\n'.join(parts) + '\n'


def rows_page(result: Mapping[str, Any], command: str) -> str:
    """Write the page of ``studies ablate-teacher`` or ``studies ablate-mixture``."""
    limits = result['budget']
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for found in result['results']:
        by_row.setdefault(found['row'], []).append(found)
    seeds = sorted({found['seed'] for found in result['results']})
    title, what, how = {
        ablate_teacher.FORMAT: (
            "What the teacher's switches are worth",
            'diffusion teacher',
            f' of {limits.get("ddim_steps")} DDIM steps',
        ),
        ablate_moe.FORMAT: (
            "What the parts of the mixture's training are worth", 'mixture of experts', ''
        ),
    }[result['format']]  # fmt: skip
    parts = [
        f'# {title}',
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        f'Every row is a {what} trained on {" and ".join(result["data"])} with the '
        f'settings of preset `{result["preset"]}` but for what the row says, {limits["steps"]} '
        f'steps of {limits["batch"]}, a pool of {limits["pool"]}, seeds '
        f'{", ".join(str(seed) for seed in seeds)}; scored with {limits["samples"]} samples'
        f'{how} on at most {limits["limit"]} windows of each file, '
        'spread evenly. **This is a small part of a full training**: a row that learns slowly '
        'looks worse than it would end. The *error* is the mean, over ADE, FDE, MMADE and MMFDE '
        "of the root-relative pose and over the sets, of the ratio to the base's mean over seeds: "
        'below 1 is better than the base. Mean over the seeds ± half of their range.',
        error_table(result, by_row, what),
        *changes_since(result),
        '## In words',
        '*Holds*: every seed of the one is below every seed of the other. With few seeds and so '
        'short a training that is a hint and no proof.',
        '\n'.join(
            f'- {row["what"]} (`{row["row"]}`): better than the base **'
            f'{_split_verdict(by_row[row["row"]], by_row["base"])}**.'
            for row in result['rows']
            if row['row'] != 'base' and {'base', row['row']} <= set(by_row)
        ),
    ]
    if result['format'] == ablate_moe.FORMAT:
        parts.append(
            '*NLL*: mean negative log density of what really happened, nats a coordinate of the '
            'mixture. *USED*: the exponential of the entropy of how often each expert was the '
            'nearest.'
        )
    for label in result['reference']:
        parts += [
            f'### {label.replace("/", ", ")}',
            measures_table(result, by_row, label, 'base, mean over seeds'),
        ]
    return '\n\n'.join(parts) + '\n'


def _split_verdict(mine: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> str:
    split = 'val' if 'val' in mine[0]['error'] else next(iter(mine[0]['error']))
    first, second = ([found['error'][split] for found in of] for of in (mine, others))
    return f'{verdict(first, second)}, {gain(first, second)}'


def error_table(
    result: Mapping[str, Any],
    by_row: Mapping[str, Sequence[Mapping[str, Any]]],
    what: str = 'student',
) -> str:
    """Write the rows with their changes and errors."""
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
    Write the field's measures on one file.

    :param first: what the reference is.
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
    """Write the times, models by people."""
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
    Say which of the base's settings are no longer the preset's.

    :param result: JSON of an ablation by rows.
    :returns: one paragraph, or none where all are as they were.
    """
    study: Study = {s.form[0]: s for s in (ablate_teacher.STUDY, ablate_moe.STUDY)}[
        result['format']
    ]
    limits = replace(study.budget(result['preset']), **result['budget'])
    made = study.settings_of(study.rows[0], preset(result['preset']), limits, 0)
    changes = list(_changes(getattr(made, study.stage), result['base'], made, study.stage))
    if not changes:
        return []
    return [
        '**These rows are of a former preset.** What it has changed in since, scaled to these '
        f'steps: {", ".join(changes)}.'
    ]


def _changes(
    config: Any, then: Mapping[str, Any], chain: ChainConfig, stage: str, before: str = ''
) -> Iterator[str]:
    """Compare settings with the written ones; a setting that was not written had its default."""
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
    """Say what became of a setting that there no longer is: nothing, where it means the same."""
    if isinstance(was, Mapping):
        for part in sorted(was):
            yield from _of_former(chain, stage, f'{name}.{part}', was[part])
        return
    known, now = value_now(chain, f'{stage}.{name}')
    if not known:
        yield f'`{name}` {was!r} -> no such setting'
    elif was != now:
        yield f'`{name}` {was!r} -> {now!r}'
