# SPDX-License-Identifier: Apache-2.0
"""Training material that all students of a comparison share: windows, teachers and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights
from studies.common.kept import digest
from training.common.locks import Lock
from training.data.pool import encode_pool, EncodedPool
from training.data.store import data_digest
from training.engine.config import ChainConfig
from training.engine.runs import Run, training_windows
from training.stages.pairs import make_pairs, Pairs


@dataclass(frozen=True)
class Material:
    """The windows, the teacher and the pairs that all students of a comparison learn from."""

    data: tuple[Path, ...]
    pool: EncodedPool
    one_step: MotionModel
    digest: str
    """Digest of the data, the pool's size and the teachers: part of every result's key."""
    device: str
    pairs: Pairs | None = None
    """Pairs of the diffusion teacher, if ``swiftdiff.match_ddim`` needs them."""


def gather(
    data: Sequence[Path], chain: ChainConfig, one_step: Path, device: str = 'cpu'
) -> Material:
    """
    Draw the training windows and load the one-step teacher.

    The windows get that teacher's whitening, whatever its own pool contained, so that a
    coefficient means the same to it and to the diffusion teacher.

    :param data: recordings, as ``training train swiftdiff`` takes them.
    :param chain: settings; ``pool`` windows are drawn by seed 0, whatever the chain's seed, and
        varied like the student's.
    :param one_step: weights file of the one-step teacher.
    :param device: device of the windows.
    :raises WeightsError: if that file cannot be read.
    :raises ConfigError: if it is not a one-step teacher of this window.
    """
    teacher = load_teacher(one_step, 'one_step', chain)
    run = Run(Path(), tuple(data), device, ())
    windows = training_windows(run, replace(chain, seed=0))
    pool = encode_pool(
        windows, teacher, chain.augmentation_of('swiftdiff'), chain.pool, 0, device=device
    )
    key = [[data_digest(path) for path in data], chain.pool, file_digest(one_step)]
    return Material(tuple(data), pool, teacher.to(device).eval(), digest(key), device)


TEACHERS = {'one_step': 'one-step', 'teacher': 'diffusion'}


def load_teacher(path: Path, role: str, chain: ChainConfig) -> MotionModel:
    """
    Load a teacher of the students.

    :param role: 'one_step' or 'teacher'.
    :param chain: settings whose window it must have.
    :raises WeightsError: if the file cannot be read.
    :raises ConfigError: if it holds another role or window.
    """
    model = load_weights(path).model
    if model.config.role != role:
        raise ConfigError(
            f'{path}: role {model.config.role!r}; expected a {TEACHERS[role]} teacher'
        )
    window = chain.encoding.window
    if model.config.window != window:
        raise ConfigError(f'{path}: window {model.config.window}; the preset has {window}')
    return model


def with_ddim(
    material: Material, chain: ChainConfig, teacher: Path, run: Path, count: int
) -> Material:
    """
    Add pairs of the diffusion teacher's DDIM, the same for all seeds, made once per run folder.

    :param material: the material.
    :param chain: settings; ``one_step.teacher_steps`` is used.
    :param teacher: weights file of the diffusion teacher.
    :param run: run folder.
    :param count: number of pairs, N.
    :raises WeightsError: if that file cannot be read.
    :raises ConfigError: if it is not a diffusion teacher of this window.
    """
    model = load_teacher(teacher, 'teacher', chain).to(material.device)
    steps = chain.one_step.teacher_steps
    key = digest([material.digest, file_digest(teacher), count, steps, 'clean'])
    made = Run(run, material.data, material.device, ())
    clean = material.pool.clean.nonzero().squeeze(-1)
    with Lock(run / 'pairs.lock'):
        pairs = make_pairs(
            made, replace(chain, seed=0), material.pool, model, run / f'pairs_{key}', count,
            among=clean,
        )  # fmt: skip
    return replace(material, pairs=pairs, digest=key)
