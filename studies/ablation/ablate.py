# SPDX-License-Identifier: Apache-2.0
"""Measure the effect of each part of the recipe: python -m studies ablate.

Every row is one student, trained with the base settings except for what the row changes, with the
same budget and several seeds, and scored on val and test of every set. Finished rows are read
again, and a killed one continues where it stopped. Test is reported and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
import sys
from typing import Any

import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from studies.ablation.options import SwiftDiffOptions
from studies.ablation.swiftdiff_bench import latencies, SwiftDiffBench
from studies.ablation.swiftdiff_rows import Budget, budget, question, Row, rows_for, settings_of
from studies.common.inputs import beside, found_recordings, require_files, require_positive, within
from studies.common.material import gather
from studies.common.scorer import Scorer
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import run_verb
from training.engine.config import as_plain
from training.engine.presets import preset

FORMAT = 'motion_predictor ablations'
VERSION = 2

EXAMPLE = """\
worked example, from the root of the source tree; it can be killed and given again:
  python -m studies ablate --dry-run
  python -m studies ablate --seeds 2 --json docs/results/data/ablations.json
  python -m studies report recipe --json docs/results/data/ablations.json \\
      --out docs/results/ablations.md
"""


def limits_of(options: SwiftDiffOptions) -> Budget:
    """Return the preset's budget with the changes of the command line."""
    return within(budget(options.preset), options)


def resolved(options: SwiftDiffOptions) -> SwiftDiffOptions:
    """
    Check the options, and return them with recordings, which are searched if none are named.

    :raises ConfigError: if options cannot be used.
    """
    require_positive(options, ('seeds', 'windows', 'pool', 'pairs', 'limit', 'repetitions'))
    data = found_recordings(options.data)
    scored = options.scored or beside(data, 'val', 'test')
    require_files('scored', scored)
    if options.shipped:
        require_files('shipped', [options.shipped])
    return replace(options, data=data, scored=scored)


def describe(options: SwiftDiffOptions, rows: Sequence[Row]) -> str:
    """Return budget and rows as text."""
    limits = limits_of(options)
    base = preset(options.preset)
    lines = [f'{name}: {value}' for name, value in asdict(limits).items()]
    for row in rows:
        steps = settings_of(row, base, limits, 0).swiftdiff.optim.steps
        changes = ' '.join(f'swiftdiff.{name}={value}' for name, value in row.changes.items())
        lines.append(
            f'{row.name}: {row.what}; {options.seeds} x {steps} steps; {changes or "-"}; '
            f'{row.match} to {row.target}'
        )
    return '\n'.join(lines)


def ablate(options: SwiftDiffOptions, rows: Sequence[Row], words: Sequence[str]) -> dict[str, Any]:
    """
    Run the rows one after another, each with all its seeds.

    :param options: the options.
    :param rows: the rows.
    :param words: words of the command line, to be recorded.
    :returns: JSON-able results.
    """
    limits = limits_of(options)
    base = preset(options.preset)
    if options.device == 'cpu':
        torch.set_num_threads(1)
    material = gather(
        options.data, replace(base, pool=limits.pool), options.one_step, options.device
    )
    window = base.encoding.window
    splits: dict[str, list[Path]] = {}
    for path in sorted(options.scored, key=lambda path: path.stem != 'val'):
        splits.setdefault(path.stem, []).append(path)
    scorers = {
        split: Scorer(
            paths, window, limit=limits.limit, samples=limits.samples, device=options.device
        )
        for split, paths in splits.items()
    }
    bench = SwiftDiffBench(
        material, scorers, base, limits, options.teacher, options.run, as_varied=options.as_varied
    )
    results: list[dict[str, Any]] = []
    todo = [(row, seed) for row in rows for seed in range(options.seeds)]
    for row, seed in tqdm(todo, desc='rows', disable=options.quiet):
        if options.finished and not list((options.run / 'rows').glob(f'{row.name}_{seed}_*/r*')):
            continue
        found = bench.row(row, seed)
        results.append(found)
        errors = ', '.join(f'{split} {error:.4f}' for split, error in found['error'].items())
        tqdm.write(f'{row.name}, seed {seed}: error {errors}')
    return {
        **provenance.origin(FORMAT, VERSION, 'studies ablate', words),
        'preset': options.preset,
        'budget': asdict(limits),
        'data': [provenance.shown_path(path) for path in options.data],
        'scored': [provenance.shown_path(path) for path in options.scored],
        'teacher': provenance.shown_path(options.teacher),
        'one_step': provenance.shown_path(options.one_step),
        'base': as_plain(settings_of(Row(name='base', what=''), base, limits, 0))['swiftdiff'],
        'rows': [
            {'row': row.name, 'what': row.what, 'question': question(row),
             'changes': dict(row.changes), 'match': row.match, 'target': row.target}
            for row in rows
        ],
        'reference': bench.reference,
        'apd': bench.apd,
        'shipped': bench.shipped(options.shipped) if options.shipped else None,
        'results': results,
        'latency': [] if options.no_times else latencies(bench, rows),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(SwiftDiffOptions, 'studies ablate', about(__doc__), EXAMPLE, words)
    return run_verb(lambda: carry_out(options, words))


def carry_out(options: SwiftDiffOptions, words: Sequence[str]) -> int:
    """Describe or run the rows, and write the results; return the exit code."""
    rows = rows_for(options.rows, options.preset)
    if options.dry_run:
        print(describe(options, rows))
        return 0
    options = resolved(options)
    if options.json:
        require_writable(options.json)
    result = ablate(options, rows, words)
    if options.json:
        provenance.write_json(options.json, result)
        print(f'written: {options.json}')
    return 0
