# SPDX-License-Identifier: Apache-2.0
"""Distil the teacher into a mixture of experts (VDD): python -m training train mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
import sys
from typing import Any

import torch

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights, save_weights
from training.engine.config import ChainConfig
from training.engine.run_options import parse_run
from training.engine.runs import card_of, open_stage, Run
from training.stages.mixture.material import (
    draw_futures,
    is_crossed,
    moe_pool,
    require_same_body,
    Teachers,
    Windows,
)
from training.stages.mixture.parts import fit_part, parts_of
from training.stages.mixture.start import begin_from, experts_of, start_from_the_data
from training.stages.mixture.teacher_score import MotionTeacher
from training.stages.mixture.terms import vdd_config

EXAMPLE = """
example, from a run that training train teacher and training train swiftdiff have been through, or,
where the run folder holds no teacher, from the shipped one:
  python -m training train mixture --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
example, the same network by maximum likelihood on the recordings:
  python -m training train mixture --preset small --run runs/em_data --set moe.method=em_data
"""
WHAT = {
    'vdd': 'mixture of experts, distilled from the teacher by VDD',
    'em_data': 'mixture of experts, maximum likelihood on recordings (control)',
    'em_teacher': "mixture of experts, maximum likelihood on the teacher's samples (control)",
    'winner': 'mixture of experts, winner-takes-all on recordings (control)',
}
"""Title of each method's mixture, for its card."""


def distil_moe(
    run: Run,
    chain: ChainConfig,
    kept: Path | None = None,
    switches: Mapping[str, Any] | None = None,
) -> MotionModel:
    """
    Train the mixture and write ``moe.safetensors`` to the run folder.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param kept: folder for windows and samples of the teacher, which are made once; the default is
        ``moe_samples`` in the run folder.
    :param switches: settings of :class:`training.stages.mixture.vdd.VddConfig` by name, if those
        of a study differ from the mixture's.
    :returns: the averaged model.
    """
    config = chain.moe
    teachers = Teachers.find(run, chain)
    digests = teachers.digests
    if config.start:
        start = load_weights(config.start).model
        require_same_body(run, chain, start, Path(config.start))
        digests['start'] = file_digest(config.start)
    folder = open_stage(run, chain, 'moe')
    kept = kept or run.folder / 'moe_samples'
    pool = moe_pool(run, chain, teachers.model, kept)
    whole = chain.model_of('moe')
    parts = parts_of(config, whole.denoiser, switches)
    torch.manual_seed(chain.seed + 3)
    student = MotionModel(
        replace(whole, denoiser=parts[0].size if parts else whole.denoiser),
        pool.skeleton,
        pool.state_whitening,
        pool.condition_whitening,
    ).to(run.device)
    experts = experts_of(student)
    if config.start:
        begin_from(experts, student.config.denoiser, config.start)
    else:
        start_from_the_data(experts, pool, student.map_complete)
    terms = vdd_config(config, switches)
    sampled = terms.warm > 0.0 or terms.forward > 0.0 or terms.reverse > 0.0
    windows = Windows(
        pool,
        experts.encode(pool.state),
        draw_futures(run, chain, teachers, pool, experts, kept) if sampled else None,
        not is_crossed(config),
        config.batch,
    )
    score = MotionTeacher(teachers.model, experts, pool) if terms.reverse > 0.0 else None
    for number, part in enumerate(parts):
        before = parts[:number]
        student = fit_part(part, student, score, windows.batches, folder, chain.seed, before)
    card = card_of(run, chain, WHAT[config.method], folder)
    card['teachers'] = digests
    save_weights(run.folder / 'moe.safetensors', student, card, dtype=torch.float16)
    return student


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb; it continues where it stopped."""
    run, chain = parse_run('training train mixture', __doc__, EXAMPLE, arguments, ('moe',))
    try:
        distil_moe(run, chain)
    except MotionPredictorError as error:
        sys.exit(f'training train mixture: {error}')
    print(f'wrote {run.folder / "moe.safetensors"}')
