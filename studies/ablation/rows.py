# SPDX-License-Identifier: Apache-2.0
"""Ablations of one stage: rows of settings, trained alike with several seeds, and scored.

``studies ablate-teacher`` and ``studies ablate-mixture`` define what is trained and scored. This
module has the rest: the command line, the reading of finished rows and the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
import sys
from typing import Any, Protocol, TypeVar

import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError
from studies.ablation.options import StageOptions
from studies.common.inputs import beside, found_recordings, require_files, require_positive, within
from studies.common.kept import digest, read_json, Stopwatch
from studies.common.scorer import of_split, relative_error, Scorer, Scores
from training.common import provenance
from training.common.options import read_options
from training.common.stopping import run_verb
from training.data.store import data_digest
from training.engine.config import as_plain, ChainConfig
from training.engine.presets import preset


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    """Description in words."""
    changes: Mapping[str, str] = field(default_factory=dict)
    """Changed settings of the chain, as ``--set`` takes them."""


SomeRow = TypeVar('SomeRow', bound=Row)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a row."""

    steps: int
    """Steps of a training."""
    batch: int
    """Windows per step."""
    pool: int
    """Number of windows drawn."""
    limit: int
    """Number of scored windows of each file, evenly spread."""
    samples: int = 50
    """Futures per window."""


class Bench(Protocol):
    """Trains and scores the rows of one call of a verb."""

    def __call__(self, folder: Path, chain: ChainConfig) -> dict[str, Any]:
        """
        Train with the settings, continuing from a checkpoint if there is one, and score the model.

        :param folder: folder of this row and seed alone.
        :param chain: the settings.
        :returns: 'scores', as :data:`studies.common.scorer.Scores`, and other figures to keep.
        """


@dataclass(frozen=True)
class Place:
    """The inputs of a bench: folders, device, scorer and key."""

    run: Path
    """Run folder of the verb, for what rows share."""
    data: tuple[Path, ...]
    device: str
    scorer: Scorer
    key: str
    """Key of data, budget and scored recordings."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One verb."""

    program: str
    options: type[StageOptions]
    stage: str
    """Stage of the chain whose settings the page shows."""
    purpose: str
    example: str
    form: tuple[str, int]
    """Format and version of the JSON."""
    rows: Sequence[Row]
    """The rows; the first one is the base."""
    budget: Callable[[str], Budget]
    """Function from a preset's name to its budget."""
    settings_of: Callable[[Row, ChainConfig, Any, int], ChainConfig]
    """Function from row, preset's settings, budget and seed to the row's settings."""
    bench: Callable[[Place, Any], Bench]
    """Function from place and budget to the bench."""


def rows_for(rows: Sequence[SomeRow], names: Sequence[str] | None) -> list[SomeRow]:
    """
    Return the requested rows in their order.

    :param rows: all rows.
    :param names: names of the requested rows; None for all.
    :raises ConfigError: if a name is unknown.
    """
    known = {row.name: row for row in rows}
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ConfigError(f'--rows: no row {", ".join(unknown)}; there are {", ".join(known)}')
    return [known[name] for name in names or known]


def limits_of(study: Study, options: StageOptions) -> Budget:
    """
    Return the preset's budget with the changes of the command line.

    :raises ConfigError: if a number is below 1.
    """
    budget = study.budget(options.preset)
    require_positive(options, [entry.name for entry in fields(budget)])
    return within(budget, options)


def resolved(options: StageOptions) -> StageOptions:
    """
    Check the options, and return them with recordings, which are searched if none are named.

    :raises ConfigError: if options cannot be used.
    """
    require_positive(options, ['seeds'])
    data = found_recordings(options.data)
    scored = options.scored or beside(data, 'val')
    require_files('scored', scored)
    return replace(options, data=data, scored=scored)


def describe(options: StageOptions, rows: Sequence[Row], limits: Budget) -> str:
    """Return budget and rows as text."""
    lines = [f'{name}: {value}' for name, value in asdict(limits).items()]
    for row in rows:
        changes = ' '.join(f'{name}={value}' for name, value in row.changes.items())
        lines.append(f'{row.name}: {row.what}; {options.seeds} seeds; {changes or "-"}')
    return '\n'.join(lines)


def ablate(
    study: Study,
    options: StageOptions,
    rows: Sequence[Row],
    limits: Budget,
    words: Sequence[str],
) -> dict[str, Any]:
    """
    Run the rows one after another for each seed; errors are relative to the base's mean.

    :param study: the verb.
    :param options: the options.
    :param rows: the rows.
    :param limits: the budget.
    :param words: words of the command line, to be recorded.
    :returns: JSON-able results.
    """
    if options.device == 'cpu':
        torch.set_num_threads(1)
    base = preset(options.preset)
    scorer = Scorer(
        options.scored,
        base.encoding.window,
        limit=limits.limit,
        samples=limits.samples,
        device=options.device,
    )
    key = digest(
        [
            [data_digest(path) for path in options.data],
            asdict(limits),
            [file.sha256 for file in scorer.files],
        ]
    )
    place = Place(options.run, tuple(options.data), options.device, scorer, key)
    bench = study.bench(place, limits)

    def found(row: Row, seed: int) -> dict[str, Any]:
        return _trained(row, seed, study.settings_of(row, base, limits, seed), place, bench)

    todo = [(row, seed) for seed in range(options.seeds) for row in rows]
    results = []
    for row, seed in tqdm(todo, desc='rows', disable=options.quiet):
        results.append(found(row, seed))
        tqdm.write(f'{row.name}, seed {seed}: {results[-1]["scores"]}')
    of_base = [found(study.rows[0], seed)['scores'] for seed in range(options.seeds)]
    reference = _compared(results, of_base)
    return {
        **provenance.origin(*study.form, study.program, words),
        'preset': options.preset,
        'budget': asdict(limits),
        'data': [provenance.shown_path(path) for path in options.data],
        'scored': [provenance.shown_path(path) for path in options.scored],
        'base': as_plain(study.settings_of(study.rows[0], base, limits, 0))[study.stage],
        'rows': [
            {'row': row.name, 'what': row.what, 'changes': dict(row.changes)} for row in rows
        ],
        'reference': reference,
        'results': results,
    }


def _compared(
    results: Sequence[dict[str, Any]], of_base: Sequence[Scores]
) -> dict[str, dict[str, float]]:
    """Add each result's errors relative to the base's mean over seeds, which is returned."""
    reference = {
        label: {name: sum(of[label][name] for of in of_base) / len(of_base) for name in scores}
        for label, scores in of_base[0].items()
    }
    splits = list(dict.fromkeys(label.rpartition('/')[2] for label in reference))
    for result in results:
        result['error'] = {
            split: round(relative_error(result['scores'], of_split(reference, split)), 6)
            for split in splits
        }
    return reference


def _trained(
    row: Row, seed: int, chain: ChainConfig, place: Place, bench: Bench
) -> dict[str, Any]:
    """Train and score a row with a seed, or read the result of an earlier call."""
    name = f'{row.name}_{seed}_{digest([place.key, as_plain(chain)])}'
    folder = place.run / 'rows' / name
    known = read_json(folder / 'result.json')
    if known is None:
        watch = Stopwatch()
        known = {'row': row.name, 'seed': seed, **bench(folder, chain)}
        known.setdefault('cpu_s', round(watch.seconds(), 2))
        provenance.write_json(folder / 'result.json', known)
    return known


def run(study: Study, arguments: Sequence[str] | None = None) -> int:
    """
    Run a verb.

    :returns: the exit code: 0, 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(study.options, study.program, study.purpose, study.example, words)
    return run_verb(lambda: carry_out(study, options, words))


def carry_out(study: Study, options: StageOptions, words: Sequence[str]) -> int:
    """Describe or run the rows of a study, and write the results; return the exit code."""
    rows, limits = rows_for(study.rows, options.rows), limits_of(study, options)
    if options.dry_run:
        print(describe(options, rows, limits))
        return 0
    options = resolved(options)
    if options.json:
        require_writable(options.json)
    result = ablate(study, options, rows, limits, words)
    if options.json:
        provenance.write_json(options.json, result)
        print(f'written: {options.json}')
    return 0
