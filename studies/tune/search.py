# SPDX-License-Identifier: Apache-2.0
"""The search: a study with one sampler, trial by trial."""

from __future__ import annotations

import platform
from typing import Any, TYPE_CHECKING

from tqdm import tqdm

from studies.tune.bench import Bench
from studies.tune.options import TuneOptions
from studies.tune.search_space import (
    default_of,
    extrapolated,
    falls_behind,
    space,
    suggest,
)
from studies.tune.studies import (
    open_study,
    revive,
    sampler_of,
)
from training.common.locks import Lock
from training.engine.config import ChainConfig

if TYPE_CHECKING:
    from optuna import Study


def study_of(options: TuneOptions, sampler: str) -> Study:
    """Open the study of a sampler."""
    where = options.storage or str(options.run / 'journal.log')
    return open_study(where, f'{sampler}-{options.seed}')


def search(options: TuneOptions, sampler: str, base: ChainConfig, bench: Bench) -> None:
    """Run trials until the study has the requested number."""
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
            # one sampler per trial, so that what is drawn depends only on the trial's number
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

    :raises optuna.TrialPruned: if it falls behind at a rung.
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
    Report the estimated final error of a pruned trial to the study, and mark the trial.

    With two objectives, a sampler learns nothing from Optuna's own state for pruned trials, and
    suggests the same settings again.
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
