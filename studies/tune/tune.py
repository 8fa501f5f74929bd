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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
import platform
import sys
from typing import Any, TYPE_CHECKING

import torch
from torch import nn
from tqdm import tqdm

from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest
from studies.tune.search_space import (
    at_point,
    Budget,
    budget,
    default_of,
    extrapolated,
    falls_behind,
    setting_of,
    space,
    suggest,
)
from studies.tune.studies import (
    completed,
    draw,
    front_of,
    hypervolume,
    importance,
    open_study,
    pick,
    revive,
    rows_of,
    sampler_of,
    SAMPLERS,
)
from studies.tune.trials import (
    beside,
    digest,
    found_recordings,
    fresh_model,
    gather,
    Lock,
    Material,
    read_json,
    relative_error,
    require_files,
    require_positive,
    Scorer,
    Scores,
    Stopwatch,
    times_ms,
    train_student,
    variety_of,
    with_ddim,
)
from training.common import provenance
from training.engine.config import as_plain, ChainConfig, preset, PRESETS

if TYPE_CHECKING:
    from optuna import Study

FORMAT = 'motion_predictor tuning'
VERSION = 2

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


def study_of(options: argparse.Namespace, sampler: str) -> Study:
    """Open the study of a sampler."""
    where = options.storage or str(options.run / 'journal.log')
    return open_study(where, f'{sampler}-{options.seed}')


@dataclass(frozen=True)
class Judge:
    """Scores students where their samples differ as much as the diffusion teacher's do."""

    scorer: Scorer
    reference: Scores
    """Of the one-step teacher as it is."""
    apd: float
    """Of the diffusion teacher's samples (DDIM, 100 steps), metres."""

    def __call__(self, student: MotionModel) -> dict[str, Any]:
        """Give ``error``, ``scores`` and the ``temperature`` that they were had with."""
        scores, temperature = self.scorer.as_varied(student, self.apd)
        error = round(relative_error(scores, self.reference), 6)
        return {'error': error, 'scores': scores, 'temperature': temperature}


class Bench:
    """Trains and scores settings, and remembers what it found in the run folder."""

    def __init__(
        self,
        material: Material,
        scorer: Scorer,
        base: ChainConfig,
        limits: Budget,
        folder: Path,
        teacher: Path,
    ) -> None:
        """
        Score what the students are compared with.

        :param teacher: weights file of the diffusion teacher, whose variety they are brought to.
        :raises WeightsError: if it cannot be read.
        :raises ConfigError: if it is no diffusion teacher of this window.
        """
        self.material = material
        self.base = base
        self.limits = limits
        self.folder = folder
        self.teacher = teacher
        self.judge = self.judge_of(scorer)

    def judge_of(self, scorer: Scorer) -> Judge:
        """Score the teachers on what a scorer scores, or recall what that gave."""
        files = [(file.sha256, len(file.chosen)) for file in scorer.files]
        key = [self.material.digest, file_digest(self.teacher), scorer.samples, files]
        path = self.folder / f'reference_{digest(key)}.json'
        with Lock(path.with_suffix('.lock')):
            found = read_json(path)
            if found is None:
                found = {
                    'scores': scorer(self.material.one_step),
                    'apd': variety_of(self.teacher, self.base, scorer),
                }
                provenance.write_json(path, found)
        return Judge(scorer, found['scores'], found['apd'])

    def latency_ms(self, chain: ChainConfig) -> float:
        """
        Time a Predictor call of a network of this size, one person, one thread.

        It takes turns with the preset's network; the ratio of the medians times that network's
        median on its first measurement here is given, so that a busier hour does not look like a
        slower network.
        """
        size = chain.swiftdiff.model.denoiser
        path = self.folder / 'latency' / f'{digest(asdict(replace(size, dropout=0.0)))}.json'
        found = read_json(path)
        if found is None:
            base = fresh_model(self.base.swiftdiff.model, self.material.pool)
            mine = fresh_model(chain.swiftdiff.model, self.material.pool)
            base_ms, mine_ms = times_ms(
                [base, mine],
                repetitions=self.limits.repetitions,
                samples=self.limits.samples,
                device=self.material.device,
            )
            unit_path = self.folder / 'latency' / 'unit.json'
            unit = read_json(unit_path)
            if unit is None:
                unit = {'base_ms': base_ms}
                provenance.write_json(unit_path, unit)
            found = {
                'ms': round(unit['base_ms'] * mine_ms / base_ms, 3),
                'mine_ms': mine_ms,
                'base_ms': base_ms,
                'size': asdict(size),
            }
            provenance.write_json(path, found)
        return float(found['ms'])

    def enough_ms(self) -> float:
        """Give the time that no network needs to be faster than."""
        return self.limits.enough * self.latency_ms(self.base)

    def train(self, chain: ChainConfig, at_rung: Any = None) -> dict[str, Any]:
        """
        Train and score a student, or recall what that gave.

        :param chain: settings with a trial's budget.
        :param at_rung: called with the rung's number and the error there; may raise to stop.
        :returns: as :class:`Judge`, with ``rungs`` (errors) and ``cpu_s``.
        """
        settings = as_plain(chain)['swiftdiff']
        names = ('windows', 'pool', 'pairs', 'rungs', 'limit', 'samples')  # not how one searches
        limits = {name: getattr(self.limits, name) for name in names}
        key = digest([settings, chain.seed, limits, self.material.digest, self.judge.apd])
        folder = self.folder / 'trials' / key
        with Lock(folder / 'lock'):  # two studies may begin with the same settings
            return self._train(chain, folder, at_rung)

    def _train(self, chain: ChainConfig, folder: Path, at_rung: Any) -> dict[str, Any]:
        path = folder / 'result.json'
        settings = as_plain(chain)['swiftdiff']
        found = read_json(path) or {'rungs': [], 'cpu_s': 0.0, 'settings': settings}
        watches = Stopwatch()
        spent = found['cpu_s']
        steps = chain.swiftdiff.optim.steps
        rungs = [max(1, round(share * steps)) for share in self.limits.rungs]

        def note() -> None:
            found['cpu_s'] = round(spent + watches.seconds(), 2)
            provenance.write_json(path, found)

        def visit(number: int) -> None:
            if at_rung is not None:
                at_rung(number, found['rungs'][number])

        for number in range(len(found['rungs'])):
            visit(number)
        if 'error' not in found:

            def watch(step: int, averaged: nn.Module) -> None:
                if step in rungs and len(found['rungs']) <= rungs.index(step):
                    student = fresh_model(chain.swiftdiff.model, self.material.pool)
                    student.denoiser.load_state_dict(averaged.state_dict())
                    found['rungs'].append(self.judge(student)['error'])
                    note()
                    visit(rungs.index(step))

            # a checkpoint at every rung: one that another study gives up may be gone on with
            optim = replace(chain.swiftdiff.optim, save_every=rungs[0] if rungs else steps)
            whole = replace(chain, swiftdiff=replace(chain.swiftdiff, optim=optim))
            student = train_student(self.material, whole, folder, watch=watch)
            found |= self.judge(student)
            note()
            (folder / 'swiftdiff' / 'checkpoint.pt').unlink(missing_ok=True)
        return found


def search(options: argparse.Namespace, sampler: str, base: ChainConfig, bench: Bench) -> None:
    """Run trials until the study has as many as asked for."""
    import optuna
    from optuna.trial import TrialState

    dimensions = space(options.preset)
    study = study_of(options, sampler)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    bar = tqdm(total=options.trials, desc=f'trials, {sampler}', disable=options.quiet)
    while True:
        with Lock(options.run / 'study.lock'):
            revive(study, options.run)
            trials = study.get_trials(deepcopy=False)
            if not trials:
                study.enqueue_trial(default_of(base, dimensions), user_attrs={'default': True})
            done = sum(trial.state in ended for trial in trials)
            bar.update(done - bar.n)
            if done + sum(t.state == TrialState.RUNNING for t in trials) >= options.trials:
                break
            # a sampler a trial, so that what is drawn depends on the trial's number alone
            asked = sum(trial.state != TrialState.WAITING for trial in trials)
            study.sampler = sampler_of(sampler, 10_007 * options.seed + asked, bench.limits)
            trial = study.ask()
            held = Lock(options.run / 'running' / f'{study.study_name}_{trial.number}')
            held.try_now()
            trial.set_user_attr('host', platform.node())
            chain = suggest(trial, base, dimensions, bench.limits)
        try:
            run_trial(study, trial, chain, bench)
        except optuna.TrialPruned:
            tell_pruned(study, trial, bench)
        finally:
            held.release()
    bar.close()


def run_trial(study: Study, trial: Any, chain: ChainConfig, bench: Bench) -> None:
    """
    Time, train and score one trial.

    :raises optuna.TrialPruned: where it falls behind at a rung.
    """
    import optuna

    latency_ms = bench.latency_ms(chain)
    trial.set_user_attr('latency_ms', latency_ms)

    def at_rung(number: int, error: float) -> None:
        trial.set_user_attr(f'rung_{number}', error)
        others = [
            (other.user_attrs[f'rung_{number}'], other.user_attrs['latency_ms'])
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and f'rung_{number}' in other.user_attrs
        ]
        if falls_behind(error, latency_ms, others, bench.limits):
            raise optuna.TrialPruned(f'rung {number}: error {error:.4f}')

    found = bench.train(chain, at_rung)
    trial.set_user_attr('scores', found['scores'])
    trial.set_user_attr('temperature', found['temperature'])
    trial.set_user_attr('cpu_s', found['cpu_s'])
    study.tell(trial, [found['error'], max(latency_ms, bench.enough_ms())])


def tell_pruned(study: Study, trial: Any, bench: Bench) -> None:
    """
    Tell what a trial that was given up would have ended with, and mark it as given up.

    A sampler of two objectives learns nothing from Optuna's own state for that, and asks for the
    same settings again.
    """
    rungs = [name for name in sorted(trial.user_attrs) if name.startswith('rung_')]
    finished = [
        [*(other.user_attrs[name] for name in rungs), other.values[0]]
        for other in study.get_trials(deepcopy=False)
        if other.state.name == 'COMPLETE' and not other.user_attrs.get('pruned')
        if all(name in other.user_attrs for name in rungs)
    ]
    error = extrapolated(trial.user_attrs[rungs[-1]], len(rungs) - 1, finished)
    trial.set_user_attr('pruned', True)
    study.tell(trial, [error, max(trial.user_attrs['latency_ms'], bench.enough_ms())])


def candidates(options: argparse.Namespace, base: ChainConfig) -> dict[str, dict[str, Any]]:
    """
    Give what is trained again to be believed: the default, and the best of each study.

    :returns: name -> point of the space.
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


def deployed(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """
    Pick what is to be trained in full off the front of all that was tried by both samplers.

    :returns: ``swiftdiff`` and ``swiftdiff_balance``: a row each, with its ``study``.
    :raises ConfigError: if nothing is complete.
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
    options: argparse.Namespace, base: ChainConfig, bench: Bench, whole: Scorer
) -> list[dict[str, Any]]:
    """
    Train the candidates again, with seeds that chose nothing, and score more of val.

    The lowest of many noisy errors is too low; these are not.

    :param whole: scores more of val than the trials, or all of it.
    :returns: a row for each candidate and seed.
    """
    scored = [len(file.chosen) for file in whole.files]
    judge = bench.judge_of(whole)
    key = digest([bench.material.digest, scored, whole.samples, judge.apd])
    rows: list[dict[str, Any]] = []
    for seed in range(1, options.confirm + 1):
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


def report(options: argparse.Namespace, base: ChainConfig, words: Sequence[str]) -> dict[str, Any]:
    """
    Gather what the studies and the confirmation found, and draw it.

    :param words: of the command line, to be recorded.
    :returns: JSON-able; figures go to ``images`` beside the JSON.
    """
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
    summary = {}
    for name, of_study in rows.items():
        done = completed(of_study)
        picked = pick(done, options.balance)
        summary[name] = {
            'trials': sum(row['state'] in ('complete', 'pruned') for row in of_study),
            'pruned': sum(row['state'] == 'pruned' for row in of_study),
            'failed': sum(row['state'] == 'fail' for row in of_study),
            'hypervolume': round(hypervolume(told(done, enough_ms), worst), 6),
            'front': front_of(done),
            'picked': {role: row['number'] for role, row in picked.items()},
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


def told(rows: Sequence[dict[str, Any]], enough_ms: float) -> list[dict[str, Any]]:
    """Give completed trials with the times that their sampler was told."""
    return [{**row, 'latency_ms': max(row['latency_ms'], enough_ms)} for row in rows]


def export(options: argparse.Namespace, base: ChainConfig) -> None:
    """Print and write what ``train swiftdiff`` takes to train both picks at full budget."""
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


def limits_of(options: argparse.Namespace) -> Budget:
    """Give the preset's budget with what the command line changes."""
    limits = budget(options.preset)
    changes = {
        name: getattr(options, name)
        for name in ('windows', 'pool', 'pairs', 'limit', 'startup', 'repetitions')
        if getattr(options, name) is not None
    }
    return replace(limits, **changes)


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
