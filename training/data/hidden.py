# SPDX-License-Identifier: Apache-2.0
"""Joints that no camera sees: which ones training windows hide, and how they are completed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from motion_predictor.body.completion import can_complete, complete, shows_torso
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError

LEGS = ('RKnee', 'RAnkle', 'LKnee', 'LAnkle')
HIPS = ('Hip', 'RHip', 'LHip')
PARTS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.20, LEGS),
    (0.15, (*HIPS, *LEGS)),
    (0.10, (*HIPS, *LEGS, 'Spine')),
    (0.05, ('RAnkle', 'LAnkle')),
    (0.025, ('RKnee', 'RAnkle')),
    (0.025, ('LKnee', 'LAnkle')),
    (0.05, ('RElbow', 'RWrist')),
    (0.05, ('LElbow', 'LWrist')),
    (0.025, ('RShoulder', 'RElbow', 'RWrist')),
    (0.025, ('LShoulder', 'LElbow', 'LWrist')),
    (0.05, ('RElbow', 'RWrist', 'LElbow', 'LWrist')),
    (0.10, ('Nose', 'Head')),
)
"""Parts of a body that are hidden together, each with its share of the cases; in the other cases
joints are hidden one by one."""
ONE_BY_ONE = 0.3
"""Share of the joints that are hidden if they are hidden one by one."""
ANOTHER = 0.25
"""Share of the windows with hidden joints in which a second part is hidden too."""


def hide_joints(
    count: int, share: float, skeleton: Skeleton, generator: torch.Generator
) -> Tensor:
    """
    Draw the joints of each window that are never seen.

    :param count: number of windows, B.
    :param share: share of windows with hidden joints.
    :param skeleton: skeleton of the windows.
    :param generator: source of all randomness.
    :returns: which joints are seen, bool ``(B, J)``; every window shows its torso.
    :raises ConfigError: if joints are to be hidden and the skeleton is not that of a person.
    """
    seen = torch.ones(count, skeleton.num_joints, dtype=torch.bool)
    if share == 0.0:
        return seen
    if not can_complete(skeleton):
        raise ConfigError(f'hidden={share}: must be 0 for {skeleton.name}, which is not a person')
    table = torch.ones(len(PARTS) + 1, skeleton.num_joints, dtype=torch.bool)
    for row, (_, joints) in enumerate(PARTS):
        table[row, [skeleton.index(joint) for joint in joints]] = False
    ends = torch.tensor([often for often, _ in PARTS], dtype=torch.float64).cumsum(0)

    def drawn() -> Tensor:
        part = torch.searchsorted(ends, torch.rand(count, generator=generator).double())
        single = torch.rand(seen.shape, generator=generator) >= ONE_BY_ONE
        return torch.where((part == len(PARTS))[:, None], single, table[part])

    first, second = drawn(), drawn()
    another = torch.rand(count, generator=generator) < ANOTHER
    hidden = torch.rand(count, generator=generator) < share
    seen = first & (second | ~another[:, None]) | ~hidden[:, None]
    lost = ~torch.from_numpy(shows_torso(seen.numpy(), skeleton))
    seen[lost[:, None] & _torso(skeleton)] = True
    return seen


def complete_windows(windows: Tensor, seen: Tensor, skeleton: Skeleton) -> Tensor:
    """
    Put hidden joints at their usual positions, in the past and in the future alike.

    A robot could not check the true positions of hidden joints. The network learns to continue
    with the completed joints and with those that are seen.

    :param windows: metres, ``(B, T, J, 3)``.
    :param seen: from :func:`hide_joints`, bool ``(B, J)``.
    :param skeleton: skeleton of the windows.
    """
    return torch.from_numpy(complete(windows.numpy(), np.asarray(seen), skeleton))


def _torso(skeleton: Skeleton) -> Tensor:
    shown = torch.zeros(skeleton.num_joints, dtype=torch.bool)
    shown[list(skeleton.shoulders or ())] = True
    return shown
