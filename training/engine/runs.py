"""What the training verbs share: their options, run folder, data and model card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
import torch

from motion_predictor.body.skeleton import H36M17, read_skeleton, Skeleton
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.normalization import Whitening
from motion_predictor.model.weights import default_weights, file_digest
from training.common.parallel import current
from training.data.pool import encode_pool, EncodedPool
from training.data.random_windows import Augmentation, synthetic_walk, TrainingWindows
from training.data.store import data_digest, is_store
from training.data.windows import recordings_folder, skeleton_of
from training.engine.checkpoints import begun_at, open_run
from training.engine.config import as_plain, ChainConfig, override, preset, PRESETS

STAGES = ('teacher', 'one_step', 'swiftdiff', 'moe')


@dataclass(frozen=True)
class Run:
    """Where a verb works and on what."""

    folder: Path
    data: tuple[Path, ...]
    """Stores, and recordings in the cmu17 format; none means synthetic walks."""
    device: str
    stages: tuple[str, ...]
    """What this call of a verb trains."""
    skeleton: Skeleton | None = None
    """Whose joints the recordings hold, where they do not say so themselves; None: a person's."""


def parse_run(
    program: str,
    purpose: str | None,
    example: str,
    arguments: Sequence[str] | None,
    stages: tuple[str, ...],
) -> tuple[Run, ChainConfig]:
    """
    Read a verb's options; print the settings and exit on ``--dry-run``.

    :param program: as the user calls it.
    :param purpose: one line.
    :param example: worked examples for ``--help``.
    :param arguments: of the command line, None for the process's own.
    :param stages: what the verb trains; where it is more than one, ``--stages`` chooses.
    :raises SystemExit: on unusable options, with a message that says what would do.
    """
    parser = argparse.ArgumentParser(
        prog=f'python -m {program}',
        description=purpose,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--preset', choices=PRESETS, default='small', help='sizes and budgets')
    parser.add_argument(
        '--data',
        nargs='+',
        type=Path,
        help='stores (python -m training data), or recordings in the cmu17 format; the default '
        'is train.npz of every set in MOTION_PREDICTOR_DATA or ../shared/data, and synthetic '
        'walks for the debug preset',
    )
    parser.add_argument(
        '--run', '--run-folder', type=Path, help='run folder; the default is runs/PRESET'
    )
    parser.add_argument(
        '--skeleton',
        type=Path,
        help='skeleton file (JSON) of recordings in the cmu17 format that are no person; '
        'stores know their own',
    )
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='NAME=VALUE',
        help='change single settings, as teacher.optim.steps=500',
    )
    parser.add_argument('--dry-run', action='store_true', help='print the settings and stop')
    parser.set_defaults(stages=stages)
    if len(stages) > 1:
        parser.add_argument('--stages', nargs='+', choices=stages, help='these alone')
    options = parser.parse_args(arguments)
    try:
        changes = dict(_split(text) for text in options.set)
        changes['seed'] = str(options.seed)
        chain = override(preset(options.preset), changes)
        data = _data(options)
        skeleton = read_skeleton(options.skeleton) if options.skeleton else None
        found = skeleton_of(data[0], skeleton) if data else skeleton or H36M17
        if not data and found.joints != H36M17.joints:
            raise ConfigError(f'--skeleton {options.skeleton}: needs recordings (--data)')
        chain = for_skeleton(chain, found)
        if options.dry_run:
            print(json.dumps({'data': [str(p) for p in data], **as_plain(chain)}, indent=2))
            raise SystemExit(0)
        device = options.device
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        folder = options.run or Path('runs') / options.preset
        run = Run(folder, data, device, tuple(options.stages), skeleton)
    except MotionPredictorError as error:
        sys.exit(f'{program}: {error}')
    return run, chain


def for_skeleton(chain: ChainConfig, skeleton: Skeleton) -> ChainConfig:
    """Name the skeleton in the settings of every stage's model."""
    changes = {
        stage: replace(
            getattr(chain, stage),
            model=replace(getattr(chain, stage).model, skeleton=skeleton.name),
        )
        for stage in STAGES
    }
    return replace(chain, **changes)


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition('=')
    if not equals:
        raise ConfigError(f'--set {text}: expected NAME=VALUE')
    return name, value


def _data(options: argparse.Namespace) -> tuple[Path, ...]:
    if options.data:
        missing = [str(p) for p in options.data if not (p.is_file() or is_store(p))]
        if missing:
            raise ConfigError(f'--data: no such file or store: {", ".join(missing)}')
        return tuple(options.data)
    if options.preset == 'debug':
        return ()
    folder = recordings_folder()
    found = sorted(folder.glob('*/train.npz')) if folder else []
    if not found:
        raise ConfigError(
            '--data: no recordings found; name train.npz files, or their folder in '
            'MOTION_PREDICTOR_DATA'
        )
    return tuple(found)


def open_stage(run: Run, chain: ChainConfig, stage: str) -> Path:
    """
    Make a stage's folder, or check that what it holds was made with the same settings.

    A stage depends on the data, on what all stages share, and on the stages before it: a later
    one can be tried again with other settings without training the earlier ones anew.

    :param stage: 'teacher', 'one_step' or 'swiftdiff'.
    :returns: the stage's folder.
    :raises ConfigError: if it holds a run with other settings.
    """
    later = STAGES[STAGES.index(stage) + 1 :]
    settings = {name: value for name, value in as_plain(chain).items() if name not in later}
    digests = {f'{path.parent.name}/{path.name}': data_digest(path) for path in run.data}
    with current().main_first():
        open_run(run.folder / stage, {'data': digests, **settings})
    return run.folder / stage


def training_windows(run: Run, chain: ChainConfig, without: str = '') -> TrainingWindows:
    """
    Load the run's recordings, or make up synthetic walks where it has none.

    :param without: leave out recordings whose action contains this; '' leaves out none.
    :raises RecordingError: if a recording cannot be used.
    """
    window = chain.teacher.model.window
    if run.data:
        windows = TrainingWindows.load(run.data, window, run.skeleton, without)
        if windows.short and current().is_main:
            print(windows.short, file=sys.stderr)
        return windows
    generator = np.random.default_rng(chain.seed)
    clips = [synthetic_walk(4.0, window.rate_hz, generator) for _ in range(12)]
    return TrainingWindows(clips, window)


def pool_of(run: Run, chain: ChainConfig, augmentation: Augmentation | None = None) -> EncodedPool:
    """
    Draw and encode the run's training windows; the same every time for the same settings.

    :param augmentation: the chain's by default.
    :raises RecordingError: if a recording cannot be used.
    """
    return encode_pool(
        training_windows(run, chain),
        chain.teacher.model,
        augmentation or chain.augmentation,
        chain.pool,
        chain.seed,
        whiten=chain.whiten,
        device=run.device,
    )


def pool_like(
    run: Run,
    chain: ChainConfig,
    model: MotionModel,
    augmentation: Augmentation,
    without: str = '',
) -> EncodedPool:
    """
    Draw and encode the run's training windows as a trained model sees them, with its whitening.

    :param model: encodes and whitens.
    :param without: leave out recordings whose action contains this; '' leaves out none.
    :raises RecordingError: if a recording cannot be used.
    """
    raw = encode_pool(
        training_windows(run, chain, without),
        model.config,
        augmentation,
        chain.pool,
        chain.seed,
        whiten=False,
        device=run.device,
    )
    state = model.state
    condition = Whitening(model.condition_mean, model.condition_scale)
    return replace(
        raw,
        state=state.apply(raw.state),
        condition=condition.apply(raw.condition),
        padded=state.apply(raw.padded),
        state_whitening=state,
        condition_whitening=condition,
    )


def stage_or_shipped(run: Run, name: str) -> Path:
    """
    Find a teacher: the run folder's own, else the shipped one.

    :raises WeightsError: if there is neither.
    """
    own = Path(run.folder) / f'{name}.safetensors'
    return own if own.is_file() else default_weights(name)


def card_of(run: Run, chain: ChainConfig, what: str, folder: Path) -> dict[str, Any]:
    """
    Begin a model card: what it is, data, settings, seed, the commit that the training began at.

    :param what: one line.
    :param folder: of the stage, see :func:`open_stage`.
    """
    settings = as_plain(chain)
    for stage in ('swiftdiff', 'moe'):
        start = getattr(chain, stage).start
        if start:  # where the file lay says nothing to others; what it was does
            named = f'{Path(start).name} {file_digest(start)}' if Path(start).is_file() else ''
            settings[stage]['start'] = named or Path(start).name
    return {
        'what': what,
        'preset': chain.preset,
        'seed': chain.seed,
        'commit': begun_at(folder),
        'data': {f'{path.parent.name}/{path.name}': data_digest(path) for path in run.data}
        or {'synthetic walks': 'no recording was given'},
        'settings': settings,
    }
