# SPDX-License-Identifier: Apache-2.0
"""Tune SwiftDiff by Bayesian optimisation: python -m studies tune.

Optuna's Gaussian-process sampler searches settings of stage 2 with a small error on val AND a
short Predictor call on this device. The expected gain in hypervolume decides what is tried next.
Every student is scored at the temperature at which its samples differ as the diffusion teacher's,
as training choose-temperature does for shipped models, because the best of 50 gains from variety.
``--sampler random`` is the control, with the same space, budget and pruning. Several processes and
machines may work on one study: call the same command again, with the same ``--storage``.

The test recordings are never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
import sys
from typing import TYPE_CHECKING

import torch

from motion_predictor.errors import ConfigError
from studies.common.inputs import beside, found_recordings, require_files, require_positive
from studies.common.material import gather, with_ddim
from studies.common.scorer import Scorer
from studies.tune.bench import Bench
from studies.tune.options import TuneOptions
from studies.tune.outcome import confirm, export, report
from studies.tune.search import search
from studies.tune.search_space import (
    default_of,
    limits_of,
    space,
)
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import run_verb
from training.engine.config import ChainConfig
from training.engine.presets import preset

if TYPE_CHECKING:
    pass


EXAMPLE = """\
worked example, from the root of the source tree; every line can be killed and given again:
  python -m studies tune --dry-run
  python -m studies tune --sampler gp random --trials 20
  python -m studies tune --confirm 3
  python -m studies tune --report docs/results/data/tuning.json
  python -m studies report recipe --json docs/results/data/tuning.json --out docs/results/tuning.md
  python -m studies tune --export
A study on several machines: --storage postgresql://... or mysql://..., or a journal on a shared
disk, which is the default: RUN/journal.log. Trials of killed processes are queued again by the
next process on the same machine and run folder.
"""


def resolved(options: TuneOptions) -> TuneOptions:
    """
    Check the options, and return them with recordings, which are searched if none are named.

    :raises ConfigError: if options cannot be used.
    """
    counts = ('trials', 'confirm', 'confirm_limit', 'windows', 'pool', 'pairs', 'limit')
    require_positive(options, (*counts, 'startup', 'repetitions'))
    if not 0.0 < options.balance <= 1.0:
        raise ConfigError(f'--balance {options.balance}: must lie in 0..1')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    data = found_recordings(options.data)
    val = options.val or beside(data, 'val')
    require_files('val', val)
    if any(path.stem == 'test' for path in val):
        raise ConfigError(f'--val {list(map(str, val))}: test recordings choose nothing')
    return replace(options, data=data, val=val)


def describe(options: TuneOptions, base: ChainConfig) -> str:
    """Return space and budget as text."""
    limits = limits_of(options)
    lines = [f'preset {options.preset}, {options.trials} trials a study']
    lines += [f'{name}: {value}' for name, value in asdict(limits).items()]
    default = default_of(base, space(options.preset))
    for one in space(options.preset):
        kind = f'by {one.step}' if one.step else 'log' if one.log else 'linear'
        lines.append(
            f'swiftdiff.{one.name}: {one.low:g} .. {one.high:g}, {kind}; '
            f'default {default[one.name]:g}; {one.why}'
        )
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(TuneOptions, 'studies tune', about(__doc__), EXAMPLE, words)
    return run_verb(lambda: carry_out(options, words))


def carry_out(options: TuneOptions, words: Sequence[str]) -> int:
    """Describe, export, report, confirm or search, as requested; return the exit code."""
    base = preset(options.preset)
    if options.dry_run:
        print(describe(options, base))
        return 0
    options = resolved(options)
    if options.export:
        export(options, base)
    if options.report:
        result = report(options, base, words)
        provenance.write_json(options.report, result)
        print(f'written: {options.report}')
    if options.export or options.report:
        return 0
    limits = limits_of(options)
    torch.set_num_threads(1 if options.device == 'cpu' else torch.get_num_threads())
    material = gather(
        options.data, replace(base, pool=limits.pool), options.one_step, options.device
    )
    if base.swiftdiff.match_ddim > 0.0:
        material = with_ddim(material, base, options.teacher, options.run, limits.pairs)
    window = base.encoding.window
    scoring = partial(Scorer, options.val, window, samples=limits.samples, device=options.device)
    scorer = scoring(limit=limits.limit)
    bench = Bench(material, scorer, base, limits, options.run, options.teacher)
    if options.confirm:
        whole = scoring(limit=options.confirm_limit)
        confirm(options, base, bench, whole)
    else:
        for sampler in options.sampler:
            search(options, sampler, base, bench)
    return 0
