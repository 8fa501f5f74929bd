# SPDX-License-Identifier: Apache-2.0
"""Studies with two objectives, error and time: storage, abandoned trials, front and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import platform
import sys
from typing import Any, TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError
from studies.tune.search_space import Budget, Dimension
from training.common.locks import Lock
from training.judge import plots

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

SAMPLERS = ('gp', 'random')


def open_study(where: str, name: str) -> Study:
    """
    Open a study, or make it.

    :param where: path of a journal, or URL of a database.
    :param name: name of the study.
    :raises ConfigError: if Optuna is not installed, or if the storage cannot be used.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise ConfigError('optuna is not installed: pip install optuna') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: Any
    try:
        if '://' in where:
            storage = optuna.storages.RDBStorage(where)
        else:
            Path(where).parent.mkdir(parents=True, exist_ok=True)
            mend_journal(Path(where))
            storage = optuna.storages.JournalStorage(JournalFileBackend(where))
        return optuna.create_study(
            storage=storage,
            study_name=name,
            directions=['minimize', 'minimize'],
            load_if_exists=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f'--storage {where}: {error}') from None
    except Exception as error:  # an error of any database
        raise ConfigError(f'--storage {where}: {type(error).__name__}: {error}') from None


def mend_journal(path: Path) -> None:
    """
    Repair torn lines that a killed process left in a journal.

    An incomplete line makes every later one unreadable. The complete part of the line stays. The
    original journal is kept beside it as ``NAME.torn``.

    :param path: the journal; nothing is done if there is none.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.is_file() or not _torn(path.read_bytes()):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # nobody is writing a line now
    try:
        content = path.read_bytes()
        if not _torn(content):
            return
        write_whole(path.with_name(f'{path.name}.torn'), content)
        whole = [_whole_record(line) for line in content.splitlines()]
        write_whole(path, b''.join(line + b'\n' for line in whole if line))
        print(
            f'{path}: {sum(not line for line in whole) or 1} torn line(s) mended', file=sys.stderr
        )
    finally:
        lock.release()


def _torn(content: bytes) -> bool:
    lines = content.splitlines()
    return bool(content) and (
        not content.endswith(b'\n') or any(_whole_record(line) != line for line in lines)
    )


def _whole_record(line: bytes) -> bytes:
    # Return the record at the end of a line, behind a torn one; '' if no record is complete.
    begin = 0
    while begin >= 0:
        try:
            if isinstance(json.loads(line[begin:]), dict):
                return line[begin:]
        except ValueError:
            pass
        begin = line.find(b'{"op_code"', begin + 1)
    return b''


def sampler_of(name: str, seed: int, limits: Budget) -> Any:
    """
    Return Optuna's sampler.

    :param name: 'gp' or 'random'.
    :param seed: seed of the sampler.
    :param limits: the budget.
    :raises ConfigError: if the name is another.
    """
    import optuna

    if name not in SAMPLERS:
        raise ConfigError(f'sampler={name!r}: must be one of {SAMPLERS}')

    if name == 'random':
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.GPSampler(
        seed=seed,
        n_startup_trials=limits.startup,
        independent_sampler=optuna.samplers.RandomSampler(seed=seed),
        warn_independent_sampling=False,
    )


def revive(study: Study, folder: Path) -> list[int]:
    """
    Queue the trials of ended processes again; their training continues from its checkpoint.

    A running trial holds a lock in the run folder, which ends with its process. (Optuna's own
    heartbeat works only for databases, and not with ask and tell.) Trials of other machines are
    left alone.

    :returns: numbers of the trials that were abandoned and queued again.
    """
    from optuna.trial import TrialState

    gone: list[int] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get('host', platform.node()) != platform.node():
            continue
        lock = Lock(folder / 'running' / f'{study.study_name}_{trial.number}')
        if lock.try_now():
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params, user_attrs={'again': trial.number})
            gone.append(trial.number)
            lock.release()
    return gone


def rows_of(study: Study, dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Return a study's trials as plain rows, the completed ones with their values."""
    rows: list[dict[str, Any]] = []
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
    for trial in trials:
        row: dict[str, Any] = {
            'number': trial.number,
            'state': 'pruned' if trial.user_attrs.get('pruned') else trial.state.name.lower(),
            'default': bool(trial.user_attrs.get('default', False)),
            'params': {one.name: trial.params.get(one.name) for one in dimensions},
            'latency_ms': trial.user_attrs.get('latency_ms'),
            'rungs': [
                value for name, value in sorted(trial.user_attrs.items())
                if name.startswith('rung_')
            ],
        }  # fmt: skip
        if row['state'] == 'complete':
            row['error'] = trial.values[0]
            row['scores'] = trial.user_attrs['scores']
            row['temperature'] = trial.user_attrs['temperature']
            row['cpu_s'] = trial.user_attrs['cpu_s']
        rows.append(row)
    return rows


def completed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the completed trials."""
    return [row for row in rows if row['state'] == 'complete']


def front_of(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """
    Return the Pareto front.

    :param rows: rows with ``number``, ``error`` and ``latency_ms``.
    :returns: numbers of the rows that no other beats in both, from fast to slow.
    """
    front: list[int] = []
    lowest = np.inf
    for row in sorted(rows, key=lambda row: (row['latency_ms'], row['error'])):
        if row['error'] < lowest:
            lowest = row['error']
            front.append(int(row['number']))
    return front


def hypervolume(rows: Sequence[Mapping[str, Any]], reference: tuple[float, float]) -> float:
    """
    Return the area that some rows dominate below a reference point.

    :param rows: rows with ``error`` and ``latency_ms``.
    :param reference: error and milliseconds that count as worst.
    """
    area, height = 0.0, reference[0]
    for row in sorted(rows, key=lambda row: (row['latency_ms'], row['error'])):
        if row['error'] < height and row['latency_ms'] < reference[1]:
            area += (height - row['error']) * (reference[1] - row['latency_ms'])
            height = row['error']
    return area


def pick(rows: Sequence[Mapping[str, Any]], share: float) -> dict[str, Mapping[str, Any]]:
    """
    Return the two candidates for shipping, from the front.

    :param rows: completed trials.
    :param share: part of ``swiftdiff``'s time that ``swiftdiff_balance`` may take.
    :returns: ``swiftdiff``: the lowest error; ``swiftdiff_balance``: the lowest error within that
        time, or the fastest if there is none.
    """
    best = min(rows, key=lambda row: row['error'])
    quick = [row for row in rows if row['latency_ms'] <= share * best['latency_ms']]
    fastest = min(rows, key=lambda row: (row['latency_ms'], row['error']))
    balance = min(quick, key=lambda row: row['error']) if quick else fastest
    return {'swiftdiff': best, 'swiftdiff_balance': balance}


def importance(study: Study) -> list[dict[str, float]]:
    """Return how much each setting matters for the error and the time, by Optuna (PED-ANOVA)."""
    import optuna

    found: list[dict[str, float]] = []
    for number in range(2):
        try:
            found.append(
                {
                    name: round(float(value), 4)
                    for name, value in optuna.importance.get_param_importances(
                        study, target=lambda trial, number=number: trial.values[number]
                    ).items()
                }
            )
        except (ValueError, RuntimeError) as error:  # too few trials
            tqdm.write(f'importance: {error}')
            found.append({})
    return found


def draw(studies: Mapping[str, Study], worst: tuple[float, float], folder: Path) -> list[str]:
    """
    Draw Optuna's own plots.

    :param studies: 'gp' and 'random'.
    :param worst: reference point of the hypervolume.
    :param folder: folder for the plots; a missing folder is made.
    :returns: the names of the files.
    """
    import warnings

    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot
    import optuna
    from optuna.visualization import matplotlib as figures

    warnings.filterwarnings('ignore', category=optuna.exceptions.ExperimentalWarning)
    folder.mkdir(parents=True, exist_ok=True)
    names = ['error over that of the one-step teacher', 'ms a call']
    wanted: list[tuple[str, Any]] = []
    for name, study in studies.items():
        wanted += [
            (f'front_{name}', lambda s=study: figures.plot_pareto_front(s, target_names=names)),
            (f'hypervolume_{name}', lambda s=study: figures.plot_hypervolume_history(s, worst)),
        ]
    own = studies['gp']
    wanted += [
        (
            'importance',
            lambda: figures.plot_param_importances(
                own, target=lambda trial: trial.values[0], target_name='error'
            ),
        ),
        (
            'history',
            lambda: figures.plot_optimization_history(
                list(studies.values()), target=lambda trial: trial.values[0], target_name='error'
            ),
        ),
    ]
    drawn: list[str] = []
    for name, make in wanted:
        with mpl.rc_context():
            try:
                axes = make()
            except (ValueError, RuntimeError) as error:  # too few trials
                tqdm.write(f'{name}: {error}')
                continue
            figure = np.ravel(axes)[0].figure
            figure.set_size_inches(7.0, 4.5)
            plots.save(figure, folder / f'tuning_{name}.svg')
            pyplot.close(figure)
            drawn.append(f'tuning_{name}.svg')
    return drawn
