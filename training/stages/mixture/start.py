# SPDX-License-Identifier: Apache-2.0
"""The start of a mixture's training: fresh experts, or those of a weights file."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.weights import load_weights
from training.data.pool import EncodedPool
from training.stages.mixture.teacher_score import FITTED, ridge

LOW_RANK = 'network.loading'
"""Text in the names of the low-rank part's parameters, and in no others."""
POINTS = 'network.points'
"""Text in the names of the parameters of the experts' points."""


@torch.no_grad()
def start_from_the_data(experts: MotionExperts, pool: EncodedPool, complete: Tensor) -> None:
    """
    Set fresh experts' directions and units by linear fits to the windows.

    The directions are principal components of the joined futures in metres; the root's path counts
    four times (in square), because it moves all joints. The way back is the regression of states
    on coordinates.

    :param experts: the experts; they are changed.
    :param pool: the windows.
    :param complete: matrix from coefficients to the joined future, ``(T_fut, K)``.
    """
    network = experts.network
    size, channels = pool.state.shape[1:]
    scale = pool.state_whitening.scale * torch.tensor([2.0] * 3 + [1.0] * (channels - 3))
    values, vectors = torch.linalg.eigh((complete.T @ complete).double())
    root = (vectors * values.clamp_min(0.0).sqrt()).float()  # K x K: |root.T x| = |complete x|
    to_future = (root.T @ (torch.eye(size * channels).unflatten(-1, (size, -1)) * scale)).flatten(
        1
    )
    states = pool.state[:FITTED].flatten(1)
    futures = states @ to_future
    main = torch.linalg.eigh((futures.T @ futures).double())[1].flip(1)[:, : network.values]
    encoder = torch.linalg.qr(to_future @ main.float())[0]
    experts.set_directions(encoder, ridge(states @ encoder, states, 1e-6))
    network.unit.copy_((states @ encoder).std(dim=0).clamp_min(1e-3))


def begin_from(experts: MotionExperts, size: DenoiserConfig, file: str) -> None:
    """
    Set experts to those of a weights file, whatever its covariances and points.

    :param experts: the experts; they are changed.
    :param size: their size.
    :param file: weights file of a mixture of the same size, except for rank, loading_width,
        points_width and dropout.
    :raises ConfigError: if it has another size.
    """
    begin = load_weights(file).model
    have = begin.config.denoiser
    wanted = replace(
        size,
        rank=have.rank,
        loading_width=have.loading_width,
        points_width=have.points_width,
        dropout=have.dropout,
    )
    if have != wanted:
        raise ConfigError(
            f'moe.start={file}: its network is {have}, must be {size} but for rank, '
            'loading_width, points_width and dropout'
        )
    if have.points_width != size.points_width:
        have = replace(have, points_width=size.points_width)
        begin = with_fresh(POINTS, begin, have)
    if (have.rank, have.loading_width) != (size.rank, size.loading_width):
        begin = with_fresh(LOW_RANK, begin, size)
    experts.load_state_dict(begin.denoiser.state_dict())


def with_fresh(part: str, model: MotionModel, denoiser: DenoiserConfig) -> MotionModel:
    """
    Return a mixture in which one part is fresh and of another size; the rest is unchanged.

    :param part: text in the names of its parameters: LOW_RANK or POINTS.
    :param model: a model of role 'moe'.
    :param denoiser: size that differs only in that part: ``rank`` and ``loading_width``, or
        ``points_width``.
    """
    made = MotionModel(replace(model.config, denoiser=denoiser), model.skeleton)
    kept = {name: value for name, value in model.state_dict().items() if part not in name}
    made.load_state_dict(kept, strict=False)
    return made.to(model.state_mean.device)


def experts_of(model: MotionModel) -> MotionExperts:
    """Return the experts of a model of role 'moe'."""
    assert isinstance(model.denoiser, MotionExperts)
    return model.denoiser
