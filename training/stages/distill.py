# SPDX-License-Identifier: Apache-2.0
"""Distil the teacher into one step, then SwiftDiff: python -m training train swiftdiff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import sys

from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import load_weights
from training.common.parallel import join
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig
from training.engine.loop import Watch
from training.engine.run_options import parse_run
from training.engine.runs import open_stage, pool_of, Run
from training.judge.watching import Watching
from training.stages.one_step import distil_one_step
from training.stages.pairs import make_pairs
from training.stages.swiftdiff import distil_swiftdiff

EXAMPLE = """
example, after training train teacher with the same preset and run folder:
  python -m training train swiftdiff --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
example, with curves of other recordings and a drawn future in TensorBoard (and in Trackio):
  python -m training train swiftdiff --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz --val ../shared/data/cmu17/val.npz --logger trackio
"""


def load_stage(run: Run, name: str, before: str) -> MotionModel:
    """
    Return an earlier stage's weights from the run folder.

    :raises ConfigError: if they are missing; the error names the verb that makes them.
    """
    path = Path(run.folder) / f'{name}.safetensors'
    if not path.is_file():
        raise ConfigError(f'{path}: not there; run {before} with the same --run first')
    return load_weights(path).model.to(run.device)


def watch_of(run: Run, chain: ChainConfig, pool: EncodedPool, stage: str) -> Watch | None:
    """
    Return what scores a stage's student while it learns; None without ``--val``.

    :raises MotionPredictorError: if a recording cannot be used.
    """
    if not run.val:
        return None
    whitening = pool.state_whitening, pool.condition_whitening
    model = MotionModel(chain.model_of(stage), pool.skeleton, *whitening)
    return Watching(model, run.val, run.val_every, run.folder / stage, run.skeleton)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb: both stages, each continued where it stopped."""
    stages = ('one_step', 'swiftdiff')
    train_students('training train swiftdiff', __doc__, EXAMPLE, arguments, stages)


def train_students(
    program: str,
    purpose: str | None,
    example: str,
    arguments: Sequence[str] | None,
    stages: tuple[str, ...],
) -> None:
    """
    Run a verb that trains one student or both.

    :param program: name of the verb as the user calls it.
    :param purpose: one line.
    :param example: worked examples for ``--help``.
    :param arguments: words of the command line; None for the process's own.
    :param stages: stages that the verb trains.
    :raises SystemExit: if it cannot be done, with a message that says what would help.
    """
    run, chain = parse_run(program, purpose, example, arguments, stages)
    try:
        with join(run.device) as processes:
            _distil(run, chain)
    except MotionPredictorError as error:
        sys.exit(f'{program}: {error}')
    if processes.is_main:
        print('wrote ' + ' and '.join(str(run.folder / f'{s}.safetensors') for s in run.stages))


def _distil(run: Run, chain: ChainConfig) -> None:
    one_step: MotionModel | None = None
    if 'one_step' in run.stages:
        teacher = load_stage(run, 'teacher', 'python -m training train teacher')
        open_stage(run, chain, 'one_step')
        pool = pool_of(run, chain)
        watch = watch_of(run, chain, pool, 'one_step')
        one_step = distil_one_step(run, chain, pool, teacher, watch=watch)
    elif chain.swiftdiff.match > 0.0:
        one_step = load_stage(run, 'one_step', 'python -m training train one-step')
    if 'swiftdiff' in run.stages:
        pool = pool_of(run, chain, chain.augmentation_of('swiftdiff'))
        pairs = None
        if chain.swiftdiff.match_ddim > 0.0:
            teacher = load_stage(run, 'teacher', 'python -m training train teacher')
            folder = open_stage(run, chain, 'swiftdiff') / 'pairs'
            clean = pool.clean.nonzero().squeeze(-1)
            count = chain.swiftdiff.pairs
            pairs = make_pairs(run, chain, pool, teacher, folder, count, among=clean)
        watch = watch_of(run, chain, pool, 'swiftdiff')
        distil_swiftdiff(run, chain, pool, one_step, pairs=pairs, watch=watch)
