# SPDX-License-Identifier: Apache-2.0
"""Losses of the distillations, pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def coefficient_weights(scale: Tensor, power: float) -> Tensor:
    """
    Return weights of whitened coefficients by their size in metres.

    :param scale: scale of the whitening, metres, ``(K, D)``.
    :param power: 0 weighs all alike, 2 gives the mean square in metres up to a factor.
    :returns: ``(K, D)``, mean 1.
    """
    weights = scale**power
    return weights / weights.mean()


def best_of_samples(error: Tensor) -> Tensor:
    """
    Return the mean error of each window's best sample.

    This is the relaxed winner-takes-all loss of multiple-choice learning.

    :param error: ``(B, S)``.
    :returns: mean over windows of the smallest error, a scalar.
    """
    return error.min(dim=1).values.mean()


def displacement_errors(difference: Tensor, root_channels: int = 3) -> tuple[Tensor, Tensor]:
    """
    Return the errors of futures and of the root's path, measured like ADE and FDE.

    :param difference: predicted minus real features, metres, ``(..., T_fut, D)``.
    :returns: pose error and root error, metres, each ``(...)``: the mean over frames of the L2
        norm, averaged with the last frame's.
    """
    parts = difference[..., root_channels:], difference[..., :root_channels]
    errors = []
    for part in parts:
        norm = torch.sqrt(part.square().sum(dim=-1) + 1e-8)  # (..., T_fut)
        errors.append(0.7 * norm.mean(dim=-1) + 0.3 * norm[..., -1])
    return errors[0], errors[1]


def displacement_errors_in_room(difference: Tensor, root_channels: int = 3) -> Tensor:
    """
    Return distances between futures by all joints' positions in the room, in one norm.

    :param difference: difference of features, metres, ``(..., T, D)``: the root's position first,
        then each joint relative to the root.
    :returns: metres, ``(...)``: mean over frames of the L2 norm over all joints, averaged with
        the last frame's as in :func:`displacement_errors`.
    """
    root, pose = difference[..., :root_channels], difference[..., root_channels:]
    joints = pose.shape[-1] // root_channels
    about = pose.unflatten(-1, (joints, root_channels))
    # |root + relative|^2 summed over all joints, the root among them
    square = (joints + 1) * root.square().sum(dim=-1) + pose.square().sum(dim=-1)
    square = square + 2.0 * (root * about.sum(dim=-2)).sum(dim=-1)
    norm = torch.sqrt(square.clamp_min(0.0) + 1e-8)
    return 0.7 * norm.mean(dim=-1) + 0.3 * norm[..., -1]


def energy_score(to_real: Tensor, to_each_other: Tensor) -> Tensor:
    """
    Return the energy score: distance to the real future minus half of the mutual distance.

    This is the unbiased estimate of Gneiting and Raftery (JASA 2007, equation 22). Its expectation
    is least if samples have the distribution of the real futures.

    :param to_real: distance of every sample from the real future, ``(B, S)``.
    :param to_each_other: distances of the samples, zero on the diagonal, ``(B, S, S)``; S >= 2.
    :returns: mean over windows, a scalar.
    """
    samples = to_real.shape[1]
    pairs = to_each_other.sum(dim=(1, 2)) / (samples * (samples - 1))
    return (to_real.mean(dim=1) - 0.5 * pairs).mean()
