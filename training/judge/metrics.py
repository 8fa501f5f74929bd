# SPDX-License-Identifier: Apache-2.0
"""The usual measures of stochastic motion prediction, as pure functions on tensors.

Distances are the L2 norm of a frame's flattened pose in metres: of all joints together, not the
mean over joints. Samples are ``(N, S, T, D)``: windows, samples, future frames, coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from motion_predictor.common.shapes import require_shape

MULTIMODAL_THRESHOLD_M = 0.5
"""Largest distance in metres of two last observed poses whose futures count as alternatives."""


def root_relative(poses: Tensor) -> Tensor:
    """
    Return every joint relative to the root, without the root.

    :param poses: positions in metres, root first, shape ``(..., J, 3)``.
    :returns: shape ``(..., J - 1, 3)``.
    """
    return poses[..., 1:, :] - poses[..., :1, :]


def frame_errors(samples: Tensor, future: Tensor) -> Tensor:
    """
    Return the distance of every sample from the real future at every frame.

    :param samples: shape ``(N, S, T, D)``.
    :param future: shape ``(N, T, D)``.
    :returns: metres, shape ``(N, S, T)``.
    """
    _check(samples, future)
    return (samples - future[:, None]).norm(dim=-1)


def ade_of_samples(errors: Tensor) -> Tensor:
    """
    Return each sample's displacement error averaged over the frames.

    :param errors: from :func:`frame_errors`, shape ``(N, S, T)``.
    :returns: shape ``(N, S)``.
    """
    return errors.mean(dim=-1)


def fde_of_samples(errors: Tensor) -> Tensor:
    """
    Return each sample's displacement error at the last frame.

    :param errors: from :func:`frame_errors`, shape ``(N, S, T)``.
    :returns: shape ``(N, S)``.
    """
    return errors[..., -1]


def best_median_worst(of_samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return the best, the median and the worst sample's error; the best is the field's ADE or FDE.

    :param of_samples: shape ``(N, S)``; for an even S, the median is the mean of the middle two.
    :returns: three tensors of shape ``(N,)``.
    """
    ordered = of_samples.sort(dim=-1).values
    count = ordered.shape[-1]
    low, high = (count - 1) // 2, count // 2
    return ordered[..., 0], 0.5 * (ordered[..., low] + ordered[..., high]), ordered[..., -1]


def apd(samples: Tensor) -> Tensor:
    """
    Return the average pairwise distance of the samples of each window.

    It is the mean over the S (S - 1) / 2 pairs of the L2 distance of whole flattened futures.

    :param samples: shape ``(N, S, T, D)``.
    :returns: metres, shape ``(N,)``; 0 if there is only one sample.
    """
    require_shape('samples', samples, ('N', 'S', 'T', 'D'))
    if samples.shape[1] < 2:
        return samples.new_zeros(len(samples))
    flat = samples.flatten(2)
    return torch.stack([torch.pdist(of_window).mean() for of_window in flat])


def multimodal_neighbours(
    last_poses: Tensor, threshold: float = MULTIMODAL_THRESHOLD_M
) -> list[Tensor]:
    """
    Return for every window the windows that are similar at the last observed frame.

    :param last_poses: flattened last observed poses relative to the root, metres, ``(N, D)``.
    :param threshold: metres; poses at a smaller distance are similar.
    :returns: for every window the indices of its neighbours, increasing, with its own index.
    """
    require_shape('last_poses', last_poses, ('N', 'D'))
    exact = last_poses.double()
    near = torch.cdist(exact, exact, compute_mode='donot_use_mm_for_euclid_dist') < threshold
    near.fill_diagonal_(True)
    return [row.nonzero().squeeze(-1) for row in near]


def multimodal_errors(samples: Tensor, alternatives: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the errors of the samples of one window against every possible future.

    :param samples: shape ``(S, T, D)``.
    :param alternatives: the window's multimodal set, with its own future, ``(M, T, D)``.
    :returns: MMADE and MMFDE, two numbers: the mean over the set of the nearest sample's error.
    """
    require_shape('samples', samples, ('S', 'T', 'D'))
    require_shape('alternatives', alternatives, ('M', *samples.shape[1:]))
    distance = torch.cdist(
        samples.transpose(0, 1),
        alternatives.transpose(0, 1),
        compute_mode='donot_use_mm_for_euclid_dist',
    )  # (T, S, M)
    mmade = distance.mean(dim=0).min(dim=0).values.mean()
    mmfde = distance[-1].min(dim=0).values.mean()
    return mmade, mmfde


def horizon_curves(errors: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the error over the horizon of each window's best and median sample by ADE.

    :param errors: from :func:`frame_errors`, shape ``(N, S, T)``.
    :returns: two tensors of shape ``(N, T)``; for an even S, the median is the lower of the middle
        two samples.
    """
    order = ade_of_samples(errors).argsort(dim=-1)
    windows = torch.arange(len(errors))
    middle = (errors.shape[1] - 1) // 2
    return errors[windows, order[:, 0]], errors[windows, order[:, middle]]


def world_metrics(samples: Tensor, future: Tensor) -> dict[str, Tensor]:
    """
    Return ADE, FDE and the energy score including the root's motion.

    The energy score is that of :func:`training.judge.stream.stream_scores.energy_score` with equal
    weights, as the mean over the frames; it is proper, so it rewards neither many different
    samples nor few (Gneiting and Raftery, JASA 2007, equation 21).

    :param samples: joint positions in world metres, shape ``(N, S, T, J, 3)``.
    :param future: the real future, shape ``(N, T, J, 3)``.
    :returns: the value of each measure for each window, shape ``(N,)``.
    """
    flat = samples.flatten(-2)
    errors = frame_errors(flat, future.flatten(-2))
    frames = flat.transpose(1, 2)
    between = torch.cdist(frames, frames, compute_mode='donot_use_mm_for_euclid_dist')
    energy = errors.mean(dim=(1, 2)) - 0.5 * between.mean(dim=(1, 2, 3))
    return {**_displacement_metrics(errors), 'energy': energy}


def pose_metrics(samples: Tensor, future: Tensor) -> dict[str, Tensor]:
    """
    Return APD, ADE and FDE of poses relative to the root, as the benchmarks define them.

    :param samples: positions relative to the root in metres, shape ``(N, S, T, J - 1, 3)``.
    :param future: the real future, shape ``(N, T, J - 1, 3)``.
    :returns: the value of each measure for each window, shape ``(N,)``.
    """
    flat = samples.flatten(-2)
    errors = frame_errors(flat, future.flatten(-2))
    return {'apd': apd(flat), **_displacement_metrics(errors)}


def multimodal_metrics(samples: Tensor, alternatives: Sequence[Tensor]) -> dict[str, Tensor]:
    """
    Return MMADE and MMFDE of poses relative to the root.

    :param samples: positions relative to the root in metres, shape ``(N, S, T, J - 1, 3)``.
    :param alternatives: for each window its multimodal set, ``(M, T, J - 1, 3)``.
    :returns: the value of each measure for each window, shape ``(N,)``.
    """
    pairs = [
        multimodal_errors(of_window.flatten(-2), others.flatten(-2))
        for of_window, others in zip(samples, alternatives, strict=True)
    ]
    mmade, mmfde = zip(*pairs, strict=True)
    return {'mmade': torch.stack(mmade), 'mmfde': torch.stack(mmfde)}


def _displacement_metrics(errors: Tensor) -> dict[str, Tensor]:
    ade, ade_median, ade_worst = best_median_worst(ade_of_samples(errors))
    fde, fde_median, fde_worst = best_median_worst(fde_of_samples(errors))
    return {
        'ade': ade,
        'fde': fde,
        'ade_median': ade_median,
        'fde_median': fde_median,
        'ade_worst': ade_worst,
        'fde_worst': fde_worst,
    }


def _check(samples: Tensor, future: Tensor) -> None:
    require_shape('samples', samples, ('N', 'S', 'T', 'D'))
    windows, _, frames, width = samples.shape
    require_shape('future', future, (windows, frames, width))
