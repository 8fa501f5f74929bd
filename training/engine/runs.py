# SPDX-License-Identifier: Apache-2.0
"""Parts that all training verbs use: their run folder, data and model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
import sys
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.codec import Codec
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import default_weights, file_digest
from motion_predictor.recordings.walker import walk
from training.common.parallel import current
from training.data.pool import encode_pool, EncodedPool
from training.data.random_windows import Augmentation, TrainingWindows
from training.data.store import data_digest
from training.engine.checkpoints import begun_at, open_run
from training.engine.config import as_plain, ChainConfig, STAGES
from training.engine.overrides import renewed
from training.engine.run_config import NAME as CONFIG
from training.engine.run_config import write_config

MAY_GROW = {
    **{stage: {f'{stage}.optim.steps'} for stage in STAGES if stage != 'moe'},
    'moe': {
        'moe.vdd.steps',
        *(f'moe.{part}' for part in (
            'likelihood_first', 'covariance_last', 'together_last', 'points_last'
        )),
    },
}  # fmt: skip
"""For each stage, the settings that may grow: its own steps."""


@dataclass(frozen=True)
class Run:
    """The folder, device and data of a verb."""

    folder: Path
    data: tuple[Path, ...]
    """Stores, and recordings in the cmu17 format; none means synthetic walks."""
    device: str
    stages: tuple[str, ...]
    """Stages that this call of a verb trains."""
    skeleton: Skeleton | None = None
    """Skeleton of recordings that do not state it; None: a person's."""
    skeleton_file: Path | None = None
    """File that it was read from."""
    val: tuple[Path, ...] = ()
    """Recordings to score one-step students on while they learn."""
    val_every: int = 500
    """Number of steps from one such score to the next."""


def for_skeleton(chain: ChainConfig, skeleton: Skeleton) -> ChainConfig:
    """Return the settings with the skeleton's name in the encoding."""
    return replace(chain, encoding=replace(chain.encoding, skeleton=skeleton.name))


def open_stage(run: Run, chain: ChainConfig, stage: str) -> Path:
    """
    Make a stage's folder, or check that its content was made with the same settings.

    A stage depends on the data, on what all stages share, and on the stages before it. So a later
    stage can be tried again with other settings without training the earlier ones again. Its own
    steps may be more than before: it continues from its last checkpoint.

    :param run: the run.
    :param chain: settings of the chain.
    :param stage: one of STAGES.
    :returns: the stage's folder.
    :raises ConfigError: if it holds a run with other settings; the error names them with both
        values.
    """
    with current().main_first():
        open_run(
            run.folder / stage,
            settings_up_to(run, chain, stage),
            may_grow=MAY_GROW[stage],
            read=lambda found: _renewed(found, chain),
        )
        if current().is_main:
            write_config(run.folder / CONFIG, place_of(run), chain)
    return run.folder / stage


def _renewed(found: Mapping[str, Any], chain: ChainConfig) -> dict[str, Any]:
    """Return the settings in a run folder, made by this or a former release."""
    data = {name: value for name, value in found.items() if name == 'data'}
    settings = {name: value for name, value in found.items() if name != 'data'}
    return {**data, **renewed(settings, chain)}


def settings_up_to(run: Run, chain: ChainConfig, stage: str) -> dict[str, Any]:
    """Return what a stage depends on as plain values: its data, itself and earlier stages."""
    later = STAGES[STAGES.index(stage) + 1 :]
    settings = {name: value for name, value in as_plain(chain).items() if name not in later}
    digests = {f'{path.parent.name}/{path.name}': data_digest(path) for path in run.data}
    return {'data': digests, **settings}


def place_of(run: Run) -> dict[str, Any]:
    """Return the entries of ``config.yaml`` on where a run works."""
    return {
        'run': str(run.folder),
        'data': [str(path) for path in run.data],
        'skeleton_file': None if run.skeleton_file is None else str(run.skeleton_file),
        'device': run.device,
    }


def training_windows(run: Run, chain: ChainConfig, without: str = '') -> TrainingWindows:
    """
    Load the run's recordings, or make synthetic walks if it has none.

    :param run: the run.
    :param chain: settings of the chain.
    :param without: leave out recordings whose action contains this text; '' leaves out none.
    :raises RecordingError: if a recording cannot be used.
    """
    window = chain.encoding.window
    if run.data:
        windows = TrainingWindows.load(run.data, window, run.skeleton, without)
        if windows.short and current().is_main:
            print(windows.short, file=sys.stderr)
        return windows
    generator = np.random.default_rng(chain.seed)
    clips = [walk(4.0, window.rate_hz, generator) for _ in range(12)]
    return TrainingWindows(clips, window)


def pool_of(
    run: Run,
    chain: ChainConfig,
    augmentation: Augmentation | None = None,
    *,
    like: MotionModel | None = None,
    without: str = '',
) -> EncodedPool:
    """
    Draw and encode the run's training windows; the same settings always give the same pool.

    :param run: the run.
    :param chain: settings of the chain.
    :param augmentation: variation of the windows; the default is the teachers'.
    :param like: a trained model whose encoding and whitening are used; None: the encoding of the
        chain's teacher, whitened by the windows' own statistics if the chain says so.
    :param without: leave out recordings whose action contains this text; '' leaves out none.
    :raises RecordingError: if a recording cannot be used.
    """
    windows = training_windows(run, chain, without)
    augmentation = augmentation or chain.augmentation_of('teacher')
    plain = replace(chain.model_of('teacher'), mask=augmentation.hidden > 0.0)
    return encode_pool(
        windows,
        like or Codec(plain, windows.skeleton),
        augmentation,
        chain.pool,
        chain.seed,
        fit=chain.whiten and like is None,
        device=run.device,
    )


def stage_or_shipped(run: Run, name: str) -> Path:
    """
    Return the path of a teacher: the run folder's own, or the shipped one.

    :raises WeightsError: if there is neither.
    """
    own = Path(run.folder) / f'{name}.safetensors'
    return own if own.is_file() else default_weights(name)


def card_of(run: Run, chain: ChainConfig, what: str, folder: Path) -> dict[str, Any]:
    """
    Begin a model card: its title, data, settings, seed, and the commit at the training's start.

    :param run: the run.
    :param chain: settings of the chain.
    :param what: title in one line.
    :param folder: folder of the stage, see :func:`open_stage`.
    """
    settings = as_plain(chain)
    for stage in ('swiftdiff', 'moe'):
        start = getattr(chain, stage).start
        if start:  # the path means nothing to others; the name does
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
