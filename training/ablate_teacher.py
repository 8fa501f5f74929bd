"""
Measure what each switch of the teacher is worth: python -m training.ablate_teacher.

Every row is one diffusion teacher trained with the base settings but for what the row changes,
with the same budget and several seeds, and scored on val of every set. Rows that are finished are
recalled, a killed one goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
import sys
from typing import Any

import torch
from tqdm import tqdm

from motion_predictor.errors import ConfigError, MotionPredictorError
from training import provenance
from training.config import as_plain, ChainConfig, ENCODING, override, preset, PRESETS
from training.pool import EncodedPool
from training.runs import pool_of, Run
from training.store import data_digest
from training.train_teacher import train_teacher
from training.trials import digest, read_json, relative_error, Scorer, Scores, Stopwatch
from training.windows import recordings_folder

FORMAT = 'motion_predictor teacher ablations'
VERSION = 1
EXAMPLE = """\
worked example, from the root of the source tree; it can be killed and given again:
  python -m training.ablate_teacher --dry-run
  python -m training.ablate_teacher --seeds 2 --json docs/teacher_ablations.json
  python -m training.recipe_results --json docs/teacher_ablations.json \\
      --out docs/teacher_ablations.md
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    """In words."""
    changes: Mapping[str, str] = field(default_factory=dict)
    """Settings of the chain, as ``--set`` takes them."""


PAPER = {
    'teacher.model.prediction': 'eps',
    'teacher.model.condition': 'padded',
    'teacher.model.residual': 'false',
    'teacher.metric_weight': '0',
    'teacher.unconditional': '0.2',
    'teacher.completion': 'noised',
    'whiten': 'false',
}

ROWS = (
    Row(
        name='base',
        what='the default: v, whitened residual of the padded window, condition of the observed '
        "frames, loss weighed by the coefficients' size, heading turned to +x",
    ),
    Row(
        name='paper',
        what="TransFusion's: eps, the whole window unwhitened, condition of the padded window, "
        'a fifth of the batches without condition, history noised in at every step',
        changes=PAPER,
    ),
    Row(name='eps', what='the network gives eps', changes={'teacher.model.prediction': 'eps'}),
    Row(name='x0', what='the network gives x0', changes={'teacher.model.prediction': 'x0'}),
    Row(
        name='whole_window',
        what='the whole window is diffused, not its difference from the padded one',
        changes={'teacher.model.residual': 'false'},
    ),
    Row(
        name='padded_condition',
        what="the condition is the padded window's DCT",
        changes={'teacher.model.condition': 'padded'},
    ),
    Row(name='unwhitened', what='coefficients in metres', changes={'whiten': 'false'}),
    Row(
        name='weights_alike',
        what='all whitened coefficients weigh alike',
        changes={'teacher.metric_weight': '0'},
    ),
    Row(
        name='weights_metres',
        what='coefficients weigh as in metres',
        changes={'teacher.metric_weight': '2'},
    ),
    Row(name='min_snr', what='Min-SNR weighting, gamma 5', changes={'teacher.min_snr': '5'}),
    Row(
        name='velocity',
        what='a velocity term of weight 0.1',
        changes={'teacher.velocity': '0.1'},
    ),
    Row(
        name='unconditional',
        what='a fifth of the batches without condition',
        changes={'teacher.unconditional': '0.2'},
    ),
    Row(
        name='completion_noised',
        what='sampling puts the history in noised, at every step',
        changes={'teacher.completion': 'noised'},
    ),
    Row(
        name='completion_none',
        what='sampling does not put the history in',
        changes={'teacher.completion': 'none'},
    ),
    Row(
        name='input_heading',
        what="the input's axes, trained at every heading",
        changes={'teacher.model.heading': 'input', 'augmentation.turn': '1'},
    ),
    Row(
        name='input_heading_unturned',
        what="the input's axes, headings as recorded",
        changes={'teacher.model.heading': 'input'},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a row may cost."""

    steps: int
    batch: int
    pool: int
    """Windows drawn."""
    limit: int
    """Windows of each file that are scored, spread evenly."""
    samples: int = 50
    ddim_steps: int = 10


def budget(name: str) -> Budget:
    """Give the budget of a preset."""
    if name == 'debug':
        return Budget(steps=4, batch=8, pool=32, limit=2, samples=3, ddim_steps=2)
    if name == 'full':
        return Budget(steps=20_000, batch=512, pool=1 << 18, limit=500, ddim_steps=100)
    return Budget(steps=600, batch=64, pool=1 << 15, limit=40)


def settings_of(row: Row, base: ChainConfig, limits: Budget, seed: int) -> ChainConfig:
    """
    Give the settings of a row.

    :raises ConfigError: if a change does not fit the preset.
    """
    chain = override(base, row.changes)
    optim = chain.teacher.optim
    short = replace(
        optim,
        steps=limits.steps,
        batch=limits.batch,
        compile=False,
        warmup_steps=min(optim.warmup_steps, max(1, limits.steps // 10)),
        ema=min(optim.ema, 1.0 - 20.0 / (20.0 + limits.steps)),
    )
    return replace(chain, pool=limits.pool, seed=seed, teacher=replace(chain.teacher, optim=short))


def rows_for(names: Sequence[str] | None) -> list[Row]:
    """
    Give the rows asked for, in that order.

    :param names: None for all.
    :raises ConfigError: on an unknown name.
    """
    known = {row.name: row for row in ROWS}
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ConfigError(f'--rows: no row {", ".join(unknown)}; there are {", ".join(known)}')
    return [known[name] for name in names or known]


class Bench:
    """Trains and scores rows, and remembers what it found in the run folder."""

    def __init__(self, options: argparse.Namespace, base: ChainConfig, limits: Budget) -> None:
        """
        Load what is scored.

        :param base: settings that rows change.
        """
        self.data: tuple[Path, ...] = tuple(options.data)
        self.device: str = options.device
        self.run: Path = options.run
        self.base = base
        self.limits = limits
        self.scorer = Scorer(
            options.scored,
            base.teacher.model.window,
            limit=limits.limit,
            samples=limits.samples,
            device=options.device,
        )
        files = [file.sha256 for file in self.scorer.files]
        self.key = [[data_digest(path) for path in self.data], asdict(limits), files]
        self._pools: dict[str, EncodedPool] = {}

    def row(self, row: Row, seed: int) -> dict[str, Any]:
        """Train and score a row with a seed, or recall what that gave."""
        chain = settings_of(row, self.base, self.limits, seed)
        plain = as_plain(chain)
        facts = [plain[name] for name in ('teacher', 'augmentation', 'whiten', 'pool', 'seed')]
        folder = self.run / 'rows' / f'{row.name}_{seed}_{digest([self.key, facts])}'
        found = read_json(folder / 'result.json')
        if found is not None:
            return found
        # what only sampling is concerned with needs no training of its own
        trained_as = replace(chain, teacher=replace(chain.teacher, completion='clean'))
        teacher_facts = [as_plain(trained_as)['teacher'], *facts[1:]]
        run = Run(
            self.run / 'teachers' / digest([self.key, teacher_facts]),
            self.data,
            self.device,
            ('teacher',),
        )
        watch = Stopwatch()
        teacher = train_teacher(run, trained_as, self._pool(run, trained_as)).eval()
        trained_s = watch.seconds()
        scores = self.scorer(
            teacher,
            ddim_steps=self.limits.ddim_steps,
            completion=chain.teacher.completion,
        )
        found = {'row': row.name, 'seed': seed, 'scores': scores, 'cpu_s': round(trained_s, 2)}
        provenance.write_json(folder / 'result.json', found)
        return found

    def _pool(self, run: Run, chain: ChainConfig) -> EncodedPool:
        # Rows that see motion alike share a pool; one seed's at a time.
        encoding = [getattr(chain.teacher.model, name) for name in ENCODING if name != 'window']
        seen = [*encoding, as_plain(chain.augmentation), chain.whiten, chain.pool, chain.seed]
        key = digest(seen)
        if key not in self._pools:
            self._pools = {key: pool_of(run, chain)}
        return self._pools[key]


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m training.ablate_teacher',
        description=(__doc__ or '').split('\n\n', 1)[1],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add('--preset', choices=PRESETS, default='small', help='base settings and budget')
    add('--rows', nargs='+', metavar='ROW', help='these alone (default: all, see --dry-run)')
    add('--seeds', type=int, default=2, help='trainings a row (default %(default)s)')
    add('--data', type=Path, nargs='+', metavar='FILE',
        help='to train on (default: train.npz of every set)')  # fmt: skip
    add('--scored', type=Path, nargs='+', metavar='FILE',
        help='default: val.npz beside each of --data')  # fmt: skip
    add('--run', type=Path, default=Path('runs/ablate_teacher'), metavar='DIR',
        help='rows and their weights (default %(default)s)')  # fmt: skip
    add('--device', default='cpu', choices=('cpu', 'cuda'), help='to train and to score on')
    for name, what in (
        ('steps', 'of a training'),
        ('batch', 'windows a step'),
        ('pool', 'windows drawn'),
        ('limit', 'windows of each file scored'),
        ('samples', 'futures a window'),
        ('ddim-steps', 'of sampling'),
    ):
        add(f'--{name}', type=int, metavar='N', help=f'{what} (default: of the preset)')
    add('--json', type=Path, metavar='OUT', help='write the results')
    add('--dry-run', action='store_true', help='print the rows and the budget, and stop')
    add('--quiet', action='store_true', help='no progress bars')
    return made


def limits_of(options: argparse.Namespace) -> Budget:
    """
    Give the preset's budget with what the command line changes.

    :raises ConfigError: on a number below 1.
    """
    limits = asdict(budget(options.preset))
    for name in limits:
        given = getattr(options, name)
        if given is not None and given < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {given}: must be at least 1')
        limits[name] = limits[name] if given is None else given
    return Budget(**limits)


def resolve(options: argparse.Namespace) -> None:
    """
    Find the recordings where they were not named, and check what was.

    :raises ConfigError: on options that cannot be used.
    """
    if options.seeds < 1:
        raise ConfigError(f'--seeds {options.seeds}: must be at least 1')
    if options.data is None:
        folder = recordings_folder()
        options.data = sorted(folder.glob('*/train.npz')) if folder else []
    if not options.data:
        raise ConfigError('--data: no recordings found; name train.npz files')
    if options.scored is None:
        options.scored = [path.with_name('val.npz') for path in options.data]
    for name in ('data', 'scored'):
        missing = [str(path) for path in getattr(options, name) if not path.exists()]
        if missing:
            raise ConfigError(f'--{name}: no such file: {", ".join(missing)}')


def describe(options: argparse.Namespace, rows: Sequence[Row], limits: Budget) -> str:
    """Write budget and rows as text."""
    lines = [f'{name}: {value}' for name, value in asdict(limits).items()]
    for row in rows:
        changes = ' '.join(f'{name}={value}' for name, value in row.changes.items())
        lines.append(f'{row.name}: {row.what}; {options.seeds} seeds; {changes or "-"}')
    return '\n'.join(lines)


def of_split(scores: Scores, split: str) -> Scores:
    """Keep the scores of one split."""
    return {label: of for label, of in scores.items() if label.endswith(f'/{split}')}


def ablate(
    options: argparse.Namespace, rows: Sequence[Row], limits: Budget, words: Sequence[str]
) -> dict[str, Any]:
    """
    Run the rows one after another for each seed; errors are against the base's mean over seeds.

    :param words: of the command line, to be recorded.
    :returns: JSON-able.
    """
    if options.device == 'cpu':
        torch.set_num_threads(1)
    base = preset(options.preset)
    bench = Bench(options, base, limits)
    todo = [(row, seed) for seed in range(options.seeds) for row in rows]
    results = []
    for row, seed in tqdm(todo, desc='rows', disable=options.quiet):
        results.append(bench.row(row, seed))
        tqdm.write(f'{row.name}, seed {seed}: {results[-1]["scores"]}')
    of_base = [bench.row(ROWS[0], seed)['scores'] for seed in range(options.seeds)]
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
    return {
        **provenance.origin(FORMAT, VERSION, 'training.ablate_teacher', words),
        'preset': options.preset,
        'budget': asdict(limits),
        'data': [provenance.shown_path(path) for path in options.data],
        'scored': [provenance.shown_path(path) for path in options.scored],
        'base': as_plain(settings_of(ROWS[0], base, limits, 0).teacher),
        'rows': [
            {'row': row.name, 'what': row.what, 'changes': dict(row.changes)} for row in rows
        ],
        'reference': reference,
        'results': results,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        rows, limits = rows_for(options.rows), limits_of(options)
        if options.dry_run:
            print(describe(options, rows, limits))
            return 0
        resolve(options)
        result = ablate(options, rows, limits, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        return 130
    if options.json:
        provenance.write_json(options.json, result)
        print(f'written: {options.json}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
