"""
Tune SwiftDiff by Bayesian optimisation: python -m studies tune.

Optuna's Gaussian-process sampler looks for settings of stage 2 with a small error on val AND a
short Predictor call on this device: the expected gain in hypervolume says what is tried next.
Every student is scored at the temperature at which its samples differ as much as the diffusion
teacher's, as training choose-temperature leaves what is shipped: the best of 50 gains from
variety.
``--sampler random`` is the control, with the same space, budget and pruning. Several processes and
machines may work on one study: call the same command again, with the same ``--storage``.

The test recordings are never looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
import sys
from typing import TYPE_CHECKING

import torch

from motion_predictor.errors import ConfigError, MotionPredictorError
from studies.common.inputs import beside, found_recordings, require_files, require_positive
from studies.common.material import gather, with_ddim
from studies.common.scorer import Scorer
from studies.tune.bench import Bench
from studies.tune.outcome import confirm, export, report
from studies.tune.search import search
from studies.tune.search_space import (
    default_of,
    limits_of,
    space,
)
from studies.tune.studies import (
    SAMPLERS,
)
from training.common import provenance
from training.engine.config import ChainConfig, preset, PRESETS

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


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m studies tune',
        description=(__doc__ or '').split('\n\n', 1)[1],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add('--preset', choices=PRESETS, default='small', help='base settings, space and budget')
    add(
        '--sampler',
        nargs='+',
        choices=SAMPLERS,
        default=['gp'],
        help='a study each; random is the control (default %(default)s)',
    )
    add('--trials', type=int, default=20,
        help='that the study ends with, pruned ones among them (default %(default)s)')  # fmt: skip
    add('--data', type=Path, nargs='+', metavar='FILE',
        help='to train on (default: train.npz of every set, as train swiftdiff)')  # fmt: skip
    add('--val', type=Path, nargs='+', metavar='FILE',
        help='to choose by (default: val.npz beside each of --data)')  # fmt: skip
    add('--teacher', type=Path, default=Path('resource/weights/teacher.safetensors'),
        metavar='FILE', help='the diffusion teacher (default %(default)s)')  # fmt: skip
    add('--one-step', type=Path, default=Path('resource/weights/one_step.safetensors'),
        metavar='FILE', help='the one-step teacher (default %(default)s)')  # fmt: skip
    add('--run', type=Path, default=Path('runs/tune'), metavar='DIR',
        help='journal, trials and their weights (default %(default)s)')  # fmt: skip
    add('--storage', metavar='PATH|URL', help='of the studies; default RUN/journal.log')
    add('--seed', type=int, default=0, help='of the samplers and trainings')
    add('--device', default='cpu', choices=('cpu', 'cuda'), help='to train and to time on')
    for name, what in (
        ('windows', 'that a trial looks at'),
        ('pool', 'windows drawn'),
        ('pairs', "noises with the diffusion teacher's end points"),
        ('limit', 'windows of each file scored in a trial'),
        ('startup', 'trials before the Gaussian process is asked'),
        ('repetitions', 'calls behind a latency'),
    ):
        add(f'--{name}', type=int, metavar='N', help=f'{what} (default: of the preset)')
    add('--balance', type=float, default=0.7, metavar='SHARE',
        help="share of swiftdiff's time for swiftdiff_balance (default %(default)s)")  # fmt: skip
    add('--confirm', type=int, metavar='SEEDS',
        help='train default and best again, with so many fresh seeds')  # fmt: skip
    add('--confirm-limit', type=int, metavar='N',
        help='windows of each file then scored (default: all)')  # fmt: skip
    add('--report', type=Path, metavar='JSON', help='write what was found, and its figures')
    add('--export', action='store_true', help='print the settings off the front')
    add('--dry-run', action='store_true', help='print space and budget, and stop')
    add('--quiet', action='store_true', help='no progress bars')
    return made


def resolve(options: argparse.Namespace) -> None:
    """
    Find the recordings where they were not named, and check what was.

    :raises ConfigError: on options that cannot be used.
    """
    counts = ('trials', 'confirm', 'confirm_limit', 'windows', 'pool', 'pairs', 'limit')
    require_positive(options, (*counts, 'startup', 'repetitions'))
    if not 0.0 < options.balance <= 1.0:
        raise ConfigError(f'--balance {options.balance}: must lie in 0..1')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    options.data = found_recordings(options.data)
    options.val = options.val or beside(options.data, 'val')
    require_files('val', options.val)
    if any(path.stem == 'test' for path in options.val):
        raise ConfigError(f'--val {options.val}: test recordings choose nothing')


def describe(options: argparse.Namespace, base: ChainConfig) -> str:
    """Write space and budget as text."""
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

    :returns: the exit code: 0, 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        base = preset(options.preset)
        if options.dry_run:
            print(describe(options, base))
            return 0
        resolve(options)
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
        window = base.swiftdiff.model.window
        common = {'samples': limits.samples, 'device': options.device}
        scorer = Scorer(options.val, window, limit=limits.limit, **common)
        bench = Bench(material, scorer, base, limits, options.run, options.teacher)
        if options.confirm:
            whole = Scorer(options.val, window, limit=options.confirm_limit, **common)
            confirm(options, base, bench, whole)
        else:
            for sampler in options.sampler:
                search(options, sampler, base, bench)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or 'stopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0
