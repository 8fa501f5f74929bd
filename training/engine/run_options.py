# SPDX-License-Identifier: Apache-2.0
"""The options of the training verbs, and the run that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
import json
from pathlib import Path
import sys
from typing import Annotated, Literal

import torch
import tyro

from motion_predictor.body.skeleton import H36M17
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import ConfigError, MotionPredictorError
from training.common.logs import choose_service
from training.common.options import read_options
from training.common.verbs import called
from training.data.store import is_store
from training.data.windows import recordings_folder, skeleton_of
from training.engine.config import as_plain, ChainConfig
from training.engine.overrides import override
from training.engine.presets import preset
from training.engine.run_config import read_config
from training.engine.runs import for_skeleton, Run


@dataclass(frozen=True, kw_only=True)
class Base:
    """The source of a run's settings, before single ones are changed."""

    preset: Literal['debug', 'small', 'balance', 'full'] | None = None
    """Sizes and budgets."""
    config: Path | None = None
    """The config.yaml of a run, instead of a preset."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a training verb."""

    data: tuple[Path, ...] = ()
    """Stores (python -m training data), or recordings in the cmu17 format; the default is
    train.npz of every set in MOTION_PREDICTOR_DATA or ../shared/data, and synthetic walks for the
    debug preset."""
    run: Annotated[Path | None, tyro.conf.arg(aliases=['--run-folder'])] = None
    """Run folder; the default is runs/PRESET."""
    skeleton: Path | None = None
    """Skeleton file (JSON), for recordings in the cmu17 format of bodies that are not people;
    stores state their own."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device; the default takes CUDA if there is one."""
    stages: tuple[str, ...]
    """Train only these stages."""
    val: tuple[Path, ...] = ()
    """Recordings to score one-step students on while they learn: curves and a drawn future in
    TensorBoard."""
    val_every: int = 500
    """Number of steps from one score to the next."""
    logger: Literal['none', 'trackio', 'wandb'] = 'none'
    """Log to Trackio or Weights & Biases, too; the package must be installed."""
    set: tuple[str, ...] = ()
    """Change single settings: teacher.optim.steps=500 is --teacher.optim.steps 500."""
    dry_run: bool = False
    """Print the settings and stop; --config accepts the printed text."""
    config: Path | None = None
    """The config.yaml of a run, instead of --preset: the same run again, with the changes named
    beside it."""
    chain: Annotated[ChainConfig, tyro.conf.arg(name='')]


def parse_run(
    program: str,
    purpose: str | None,
    example: str,
    arguments: Sequence[str] | None,
    stages: tuple[str, ...],
) -> tuple[Run, ChainConfig]:
    """
    Read a verb's options; print the settings and exit on ``--dry-run``.

    :param program: name of the verb as the user calls it.
    :param purpose: one line.
    :param example: worked examples for ``--help``.
    :param arguments: words of the command line; None for the process's own.
    :param stages: stages that the verb trains; if there are several, ``--stages`` chooses.
    :raises SystemExit: if options cannot be used, with a message that says what would help.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    begin, rest = tyro.cli(
        Base, args=words, prog=called(program), add_help=False, return_unknown_args=True
    )
    try:
        default = _defaults(begin, stages)
        options = read_options(RunOptions, program, purpose, example, rest, default)
        return _run_of(options, stages)
    except MotionPredictorError as error:
        sys.exit(f'{program}: {error}')


def _defaults(begin: Base, stages: tuple[str, ...]) -> RunOptions:
    if begin.config is None:
        return RunOptions(stages=stages, chain=preset(begin.preset or 'small'))
    if begin.preset is not None:
        raise ConfigError(f'--config {begin.config}: holds a preset; leave --preset out')
    place, chain = read_config(begin.config)
    return RunOptions(
        data=tuple(Path(path) for path in place.get('data') or ()),
        run=Path(place['run']) if place.get('run') else None,
        skeleton=Path(place['skeleton_file']) if place.get('skeleton_file') else None,
        device=place.get('device', 'auto'),
        stages=stages,
        config=begin.config,
        chain=chain,
    )


def _run_of(options: RunOptions, stages: tuple[str, ...]) -> tuple[Run, ChainConfig]:
    unknown = [stage for stage in options.stages if stage not in stages]
    if unknown:
        raise ConfigError(f'--stages {" ".join(unknown)}: must be of {", ".join(stages)}')
    if options.val_every < 1:
        raise ConfigError(f'--val-every {options.val_every}: must be at least 1')
    if options.val and not {*stages} & {'one_step', 'swiftdiff'}:
        raise ConfigError(
            f'--val: the {stages[0]} is not scored while it learns, one-step students alone are'
        )
    choose_service(options.logger)
    chain = override(options.chain, dict(_split(text) for text in options.set))
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
    folder = options.run or Path('runs') / chain.preset
    run = Run(folder, data, device, options.stages, skeleton, options.skeleton)
    return replace(run, val=options.val, val_every=options.val_every), chain


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition('=')
    if not equals:
        raise ConfigError(f'--set {text}: expected NAME=VALUE')
    return name, value


def _data(options: RunOptions) -> tuple[Path, ...]:
    if options.data:
        missing = [str(p) for p in options.data if not (p.is_file() or is_store(p))]
        if missing:
            raise ConfigError(f'--data: no such file or store: {", ".join(missing)}')
        return options.data
    if options.chain.preset == 'debug':
        return ()
    folder = recordings_folder()
    found = sorted(folder.glob('*/train.npz')) if folder else []
    if not found:
        raise ConfigError(
            '--data: no recordings found; name train.npz files, or their folder in '
            'MOTION_PREDICTOR_DATA'
        )
    return tuple(found)
