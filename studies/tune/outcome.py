# SPDX-License-Identifier: Apache-2.0
"""The result of the studies: candidates, their confirmation, the report and the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TYPE_CHECKING

from tqdm import tqdm

from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError
from studies.common.kept import digest, read_json, Stopwatch
from studies.common.scorer import Scorer
from studies.common.students import train_student
from studies.tune.bench import Bench
from studies.tune.options import TuneOptions
from studies.tune.search import study_of
from studies.tune.search_space import (
    at_point,
    default_of,
    limits_of,
    setting_of,
    space,
)
from studies.tune.studies import (
    completed,
    draw,
    front_of,
    hypervolume,
    importance,
    pick,
    rows_of,
    SAMPLERS,
)
from training.common import provenance
from training.engine.config import ChainConfig

if TYPE_CHECKING:
    pass


FORMAT = 'motion_predictor tuning'
VERSION = 2


def candidates(options: TuneOptions, base: ChainConfig) -> dict[str, dict[str, Any]]:
    """
    Return the candidates that are trained again: the default, and the best of each study.

    :returns: points of the space by name.
    :raises ConfigError: if a study has no completed trial.
    """
    dimensions = space(options.preset)
    found = {'default': default_of(base, dimensions)}
    for sampler in SAMPLERS:
        rows = completed(rows_of(study_of(options, sampler), dimensions))
        if not rows:
            raise ConfigError(f'--run {options.run}: no completed trial of --sampler {sampler}')
        found[sampler] = pick(rows, options.balance)['swiftdiff']['params']
    found['balance'] = deployed(options)['swiftdiff_balance']['params']
    return found


def deployed(options: TuneOptions) -> dict[str, dict[str, Any]]:
    """
    Return the trials to train in full, from the common front of both samplers.

    :returns: ``swiftdiff`` and ``swiftdiff_balance``: a row each, with its ``study``.
    :raises ConfigError: if no trial is complete.
    """
    dimensions = space(options.preset)
    rows = [
        {**row, 'study': sampler}
        for sampler in SAMPLERS
        for row in completed(rows_of(study_of(options, sampler), dimensions))
    ]
    if not rows:
        raise ConfigError(f'--run {options.run}: no completed trial')
    return {role: dict(row) for role, row in pick(rows, options.balance).items()}


def confirm(
    options: TuneOptions, base: ChainConfig, bench: Bench, whole: Scorer
) -> list[dict[str, Any]]:
    """
    Train the candidates again with seeds that chose nothing, and score more of val.

    The lowest of many noisy errors is too low; these errors are not.

    :param options: the options.
    :param base: settings of the preset.
    :param bench: the bench.
    :param whole: scores more of val than the trials, or all of it.
    :returns: a row for each candidate and seed.
    """
    scored = [len(file.chosen) for file in whole.files]
    judge = bench.judge_of(whole)
    key = digest([bench.material.digest, scored, whole.samples, judge.apd])
    rows: list[dict[str, Any]] = []
    for seed in range(1, (options.confirm or 0) + 1):
        for name, point in candidates(options, base).items():
            chain = replace(at_point(base, point, bench.limits), seed=options.seed + 100 * seed)
            path = options.run / 'confirmed' / f'{digest([point, seed, key])}.json'
            found = read_json(path)
            if found is None:
                watches = Stopwatch()
                folder = options.run / 'confirmed' / digest([point, seed])
                found = {
                    'params': point,
                    'seed': chain.seed,
                    **judge(train_student(bench.material, chain, folder)),
                    'latency_ms': bench.latency_ms(chain),
                    'cpu_s': round(watches.seconds(), 2),
                }
                (folder / 'swiftdiff' / 'checkpoint.pt').unlink(missing_ok=True)
                provenance.write_json(path, found)
            rows.append({'candidate': name, **found})
            tqdm.write(f'{name}, seed {found["seed"]}: error {found["error"]:.4f}')
    provenance.write_json(
        options.run / 'confirm.json',
        {'rows': rows, 'reference': judge.reference, 'apd': judge.apd, 'windows': sum(scored)},
    )
    return rows


def report(options: TuneOptions, base: ChainConfig, words: Sequence[str]) -> dict[str, Any]:
    """
    Collect and plot the results of the studies and of the confirmation.

    :param options: the options.
    :param base: settings of the preset.
    :param words: words of the command line, to be recorded.
    :returns: JSON-able; plots go to ``images`` beside the JSON.
    """
    assert options.report is not None
    dimensions = space(options.preset)
    limits = limits_of(options)
    studies = {name: study_of(options, name) for name in SAMPLERS}
    rows = {name: rows_of(study, dimensions) for name, study in studies.items()}
    for name, of_study in rows.items():
        if not completed(of_study):
            raise ConfigError(f'--run {options.run}: no completed trial of --sampler {name}')
    default = next(
        (row for row in completed(rows['gp']) if row['default']), completed(rows['gp'])[0]
    )
    worst = (1.5 * default['error'], 2.0 * default['latency_ms'])
    enough_ms = limits.enough * default['latency_ms']
    drawn = draw(studies, worst, options.report.parent / 'images')
    confirmed = read_json(options.run / 'confirm.json') or {
        'rows': [], 'reference': None, 'apd': None, 'windows': 0}  # fmt: skip
    summary = {
        name: summary_of(of_study, options.balance, enough_ms, worst)
        for name, of_study in rows.items()
    }
    return {
        **provenance.origin(FORMAT, VERSION, 'studies tune', words),
        'preset': options.preset,
        'seed': options.seed,
        'budget': asdict(limits),
        'balance': options.balance,
        'worst': worst,
        'space': [asdict(one) for one in dimensions],
        'data': [provenance.shown_path(path) for path in options.data],
        'val': [provenance.shown_path(path) for path in options.val],
        'one_step': provenance.shown_path(options.one_step),
        'figures': drawn,
        'importance': importance(studies['gp']),
        'summary': summary,
        'default': default['number'],
        'deployed': {
            role: {name: row[name] for name in ('study', 'number', 'error', 'latency_ms')}
            for role, row in deployed(options).items()
        },
        'gp': rows['gp'],
        'random': rows['random'],
        'confirmed': confirmed['rows'],
        'reference': confirmed['reference'],
        'confirmed_apd': confirmed['apd'],
        'confirmed_windows': confirmed['windows'],
    }


def summary_of(
    rows: Sequence[dict[str, Any]], balance: float, enough_ms: float, worst: tuple[float, float]
) -> dict[str, Any]:
    """
    Return the summary of a study: its counts of trials, its front, and the picks from it.

    :param rows: the trials.
    :param balance: share of ``swiftdiff``'s time that ``swiftdiff_balance`` may take.
    :param enough_ms: time in milliseconds below which speed has no further value.
    :param worst: error and milliseconds from which the hypervolume is measured.
    """
    done = completed(rows)
    picked = pick(done, balance)
    return {
        'trials': sum(row['state'] in ('complete', 'pruned') for row in rows),
        'pruned': sum(row['state'] == 'pruned' for row in rows),
        'failed': sum(row['state'] == 'fail' for row in rows),
        'hypervolume': round(hypervolume(told(done, enough_ms), worst), 6),
        'front': front_of(done),
        'picked': {role: row['number'] for role, row in picked.items()},
    }


def told(rows: Sequence[dict[str, Any]], enough_ms: float) -> list[dict[str, Any]]:
    """Return completed trials with the times that their sampler received."""
    return [{**row, 'latency_ms': max(row['latency_ms'], enough_ms)} for row in rows]


def export(options: TuneOptions, base: ChainConfig) -> None:
    """Print and write the settings with which ``train swiftdiff`` trains both picks in full."""
    for role, row in deployed(options).items():
        chain = at_point(base, row['params'], None)
        changes = [
            f'swiftdiff.{name}={setting_of(chain.swiftdiff, name)}'
            for name in ('optim.steps', *row['params'])
        ]
        path = options.run / f'{role}.settings'
        write_whole(path, '\n'.join(changes) + '\n')
        print(f'# {role}: {row["study"]}, trial {row["number"]}, error {row["error"]:.4f}, '
              f'{row["latency_ms"]:.2f} ms; also in {path}')  # fmt: skip
        print(f'python -m training train swiftdiff --preset {options.preset} --stages swiftdiff '
              f'--run RUN_WITH_ONE_STEP --set {" ".join(changes)}')  # fmt: skip
