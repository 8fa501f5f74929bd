# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost: full disks, places that cannot be written, torn files, signals, two at once."""

from __future__ import annotations

import os
from pathlib import Path
import resource
import signal
import subprocess
import sys
from typing import Any

from finetune_runs import WINDOW
import numpy as np
import pytest
from random_models import random_model
from safetensors.torch import load_file
import torch
from verb_processes import ENVIRONMENT, LONG_S, options, ROOT

from motion_predictor.common.whole_files import require_writable, write_whole, written_whole
from motion_predictor.errors import ConfigError, StorageError
from motion_predictor.model.weights import load_weights, save_weights
from studies import __main__ as studies_program
from training import __main__ as training_program
from training.common.locks import let_go
from training.common.verbs import run
from training.data.clips import Clip
from training.data.store import MotionStore, open_store, StoreFacts, StoreWriter
from training.engine.checkpoints import load_checkpoint, open_run, save_checkpoint
from training.engine.curve import CURVE, read_curve
from training.judge.futures import PredictionStore
from training.stages import train_teacher

NOWHERE = Path('/proc/version/runs')  # below a file: nobody can write there, root neither
LONGER = ('teacher.optim.steps=200', 'teacher.optim.log_every=1', 'teacher.optim.save_every=20')


def with_little_room(bytes_free: int) -> Any:
    """Let a process write no file of more bytes, as on a full disk or beyond a quota."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_free, bytes_free))

    return limit


def verb(name: str, words: list[str], **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', *name.split(), *words],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **more,
    )  # fmt: skip


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1].rsplit('\r', 1)[-1]


def half_written(path: Path, error: type[BaseException]) -> None:
    with written_whole(path) as partial:
        partial.write_text('aft')
        raise error


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / 'made' / 'result.json'
    write_whole(path, 'before')
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            half_written(path, error)
    assert path.read_text() == 'before'
    assert os.listdir(path.parent) == ['result.json']
    write_whole(path, b'after')
    assert path.read_text() == 'after'


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for place in (NOWHERE / 'x.json', tmp_path):
        with pytest.raises(StorageError, match=f'{place}.*cannot be written') as error:
            require_writable(place)
        assert '\n' not in str(error.value)
    require_writable(tmp_path / 'a' / 'b.json')
    assert os.listdir(tmp_path / 'a') == []
    with pytest.raises(StorageError, match='cannot be written'):
        write_whole(NOWHERE / 'x.json', 'text')
    with pytest.raises(StorageError, match='cannot be written'):
        save_checkpoint(NOWHERE / 'checkpoint.pt', {'step': 1})
    with pytest.raises(StorageError, match='cannot be written'):
        open_run(NOWHERE, {})
    with pytest.raises(StorageError, match='cannot be written'):
        PredictionStore(NOWHERE, {}, 1, 1, WINDOW, 17)


FULL = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from motion_predictor.errors import MotionPredictorError
from motion_predictor.common.whole_files import written_whole
from random_models import random_model
from motion_predictor.model.weights import save_weights
from training.engine.checkpoints import save_checkpoint
folder = Path(sys.argv[1])
large = {'x': torch.zeros(100_000)}
def by_safetensors():
    with written_whole(folder / 'pool.safetensors') as partial:
        save_file(large, partial)
for act in (
    lambda: save_checkpoint(folder / 'checkpoint.pt', large),
    lambda: save_weights(folder / 'w.safetensors', random_model(), {}),
    by_safetensors,
):
    try:
        act()
        print('written?')
    except MotionPredictorError as error:
        print(str(error).replace('\\n', ' / '))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'checkpoint.pt', {'step': 7})
    save_weights(tmp_path / 'w.safetensors', random_model(), {'what': 'before'})
    write_whole(tmp_path / 'pool.safetensors', 'before')
    script = tmp_path / 'full.py'
    script.write_text(FULL)
    helpers = ROOT / 'test' / 'support' / 'models'
    environment = {**ENVIRONMENT, 'PYTHONPATH': f'{ROOT}:{helpers}'}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True,
        text=True, timeout=LONG_S, check=True, preexec_fn=with_little_room(50_000),
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all('cannot be written' in line and 'make room' in line for line in lines), lines
    saved = load_checkpoint(tmp_path / 'checkpoint.pt')
    assert saved == {'step': 7}
    assert load_weights(tmp_path / 'w.safetensors').card == {'what': 'before'}
    assert not list(tmp_path.glob('*.partial'))


NO_ROOM = """
import sys
from pathlib import Path
import numpy as np
from motion_predictor.model.config import WindowConfig
from motion_predictor.errors import StorageError
from motion_predictor.body.skeleton import H36M17
from training.judge.futures import PredictionStore
from training.data.clips import Clip
from training.data.store import StoreFacts, StoreWriter
folder = Path(sys.argv[1])
facts = StoreFacts(
    kind='npz', sources=(), skeleton=H36M17, rate_hz=50.0, source_rate_hz=(50.0,), split='train',
    stride_s=0.5, start_s=0.0, command='', commit=None,
)
def store():
    with StoreWriter(folder / 'train', facts) as writer:
        for number in range(40):
            ones = np.ones((50, 17, 3), np.float32)
            writer.add(Clip(str(number), 's', 'a', ones, 50.0))
for act in (lambda: PredictionStore(folder, {}, 100, 10, WindowConfig(), 17), store):
    try:
        act()
        print('written?')
    except StorageError as error:
        print(error)
"""


@pytest.mark.slow
def test_what_needs_room_for_much_says_so_and_leaves_nothing_half(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', NO_ROOM, str(tmp_path)], cwd=ROOT, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=LONG_S, preexec_fn=with_little_room(100_000),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # a file with holes in it would end by SIGBUS
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert 'root.npy: cannot be written' in lines[0]
    assert 'train: cannot be written' in lines[1]
    assert not (tmp_path / 'train').exists()
    assert not (tmp_path / '.train.partial').exists()


def test_a_torn_config_and_a_torn_progress_say_or_mend(tmp_path: Path) -> None:
    open_run(tmp_path / 'run', {'a': 1})
    for torn in ('{"settings": {"a"', '[]', ''):
        (tmp_path / 'run' / 'config.json').write_text(torn)
        with pytest.raises(ConfigError, match=r'config\.json: cannot be read'):
            open_run(tmp_path / 'run', {'a': 1})
    store = PredictionStore(tmp_path, {'k': 1}, 2, 1, WINDOW, 17)
    (store.folder / 'progress.json').write_text('{"done": 2, "wal')
    again = PredictionStore(tmp_path, {'k': 1}, 2, 1, WINDOW, 17)
    assert again.done == 0


def test_a_store_that_is_replaced_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    facts = StoreFacts(
        kind='npz', sources=(), skeleton=random_model().skeleton, rate_hz=50.0,
        source_rate_hz=(50.0,), split='train', stride_s=0.5, start_s=0.0, command='', commit=None,
    )  # fmt: skip

    def write(value: float, fail: bool) -> MotionStore:
        with StoreWriter(tmp_path / 'train', facts, overwrite=True) as writer:
            writer.add(Clip('c', 's', 'a', np.full((5, 17, 3), value, np.float32), 50.0))
            if fail:
                raise KeyboardInterrupt
        return open_store(tmp_path / 'train')

    write(1.0, fail=False)
    with pytest.raises(KeyboardInterrupt):
        write(2.0, fail=True)
    assert open_store(tmp_path / 'train').positions[0, 0, 0] == 1.0
    assert write(3.0, fail=False).positions[0, 0, 0] == 3.0
    assert os.listdir(tmp_path) == ['train']


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_stopped_saves_says_so_and_goes_on_to_the_bit(
    tmp_path: Path, number: signal.Signals
) -> None:
    words = options(tmp_path / 'stopped', *LONGER)
    curve = tmp_path / 'stopped' / 'teacher' / CURVE
    started = verb('training train teacher', words)
    assert started.stderr is not None
    said = ''
    while more := started.stderr.read(64):
        said += more
        if len(read_curve(curve)) >= 45:
            started.send_signal(number)
            break
    said += started.communicate(timeout=LONG_S)[1]
    assert started.returncode == 130
    assert 'Traceback' not in said
    done = len(read_curve(curve))
    assert f'stopped after step {done} of 200, saved; the same command goes on' in last_line(said)
    saved = load_checkpoint(tmp_path / 'stopped' / 'teacher' / 'checkpoint.pt')
    assert saved is not None
    assert saved['step'] == done
    # A disk that is full now costs nothing, and is one line.
    full = verb('training train teacher', words, preexec_fn=with_little_room(40_000))
    said = full.communicate(timeout=LONG_S)[1]
    assert full.returncode not in (0, None)
    assert 'Traceback' not in said
    assert 'cannot be written' in last_line(said)
    assert f'holds step {done}: the same command goes on from there' in last_line(said)
    again = load_checkpoint(tmp_path / 'stopped' / 'teacher' / 'checkpoint.pt')
    assert again is not None
    assert again['step'] == done
    train_teacher.main(words)
    train_teacher.main(options(tmp_path / 'unbroken', *LONGER))
    assert read_curve(curve) == read_curve(tmp_path / 'unbroken' / 'teacher' / CURVE)
    whole, stopped = (
        load_file(tmp_path / name / 'teacher.safetensors') for name in ('unbroken', 'stopped')
    )
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


HOLD = """
import sys, time
from pathlib import Path
from training.common.locks import hold_folder
hold_folder(Path(sys.argv[1]))
print('held', flush=True)
time.sleep(600)
"""


def test_a_run_folder_belongs_to_one_process_until_it_ends(tmp_path: Path) -> None:
    words = options(tmp_path, *LONGER)
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path / 'teacher')],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(SystemExit, match=f'process {holder.pid} on .* works in it; wait'):
            train_teacher.main(words)
    finally:
        holder.kill()
        holder.communicate()
    open_run(tmp_path / 'teacher', {})
    let_go(tmp_path / 'teacher')


@pytest.mark.parametrize('torn', ['{"op_code":5,"wor', '{"op_code":5,"wor{"op_code"', '\x00\x00'])
def test_a_torn_journal_opens_and_loses_no_whole_line(
    tmp_path: Path, torn: str, capsys: Any
) -> None:
    pytest.importorskip('optuna')
    from studies.tune.studies import mend_journal, open_study

    path = tmp_path / 'journal.log'
    study = open_study(str(path), 'gp-0')
    study.ask().suggest_float('match', 0.1, 1.0)
    whole = path.read_bytes()
    mend_journal(path)
    assert path.read_bytes() == whole
    assert not (tmp_path / 'journal.log.torn').exists()
    path.write_bytes(whole + torn.encode())  # killed in the midst of a line
    assert len(open_study(str(path), 'gp-0').get_trials()) == 1
    assert (tmp_path / 'journal.log.torn').read_bytes() == whole + torn.encode()
    assert 'torn line' in capsys.readouterr().err
    first, last = whole.splitlines(keepends=True)[0], whole.splitlines(keepends=True)[1:]
    path.write_bytes(first + torn.encode() + b''.join(last))  # and others went on after it
    again = open_study(str(path), 'gp-0')
    assert len(again.get_trials()) == 1
    again.ask()
    assert len(open_study(str(path), 'gp-0').get_trials()) == 2


@pytest.mark.slow
def test_every_verb_is_there_and_ends_in_one_line(capsys: Any) -> None:
    for program, verbs in (
        ('training', training_program.VERBS),
        ('studies', studies_program.VERBS),
    ):
        for name, verb in verbs.items():
            with pytest.raises(SystemExit, match='0'):
                run(program, verbs, '', [*name.split(), '--help'])
            assert f'python -m {program} {name}' in capsys.readouterr().out, verb.module
    with pytest.raises(SystemExit, match='2'):
        run('training', training_program.VERBS, '', ['evaluat'])
    assert 'expected one of' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        run('training', training_program.VERBS, '', ['train', 'swift'])
    assert 'train swiftdiff' in capsys.readouterr().err


def test_a_verb_ends_in_one_line_whatever_ends_it(capsys: Any) -> None:
    from training.common.stopping import NOTHING, run_verb

    def ended_by(error: BaseException) -> Any:
        def main() -> int:
            raise error

        return main

    def stopped() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    assert run_verb(lambda: None) == 0
    assert run_verb(lambda: 3) == 3
    for main, code, line in (
        (stopped, 130, 'stopped; the same command goes on from here'),
        (ended_by(KeyboardInterrupt('at step 7')), 130, 'at step 7'),
        (ended_by(StorageError('x: full')), 2, 'error: x: full'),
        (ended_by(OSError(28, 'No space left on device', 'x')), 2, 'x: cannot be written or read'),
    ):
        assert run_verb(main) == code
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert line in said[0]
    assert run_verb(stopped, NOTHING) == 130
    assert 'nothing was written' in capsys.readouterr().err
    with pytest.raises(OSError, match='odd'):
        run_verb(ended_by(OSError(5, 'odd')))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a command in the background
    try:
        assert run_verb(lambda: signal.raise_signal(signal.SIGINT)) == 0
    finally:
        signal.signal(signal.SIGINT, former)
