# SPDX-License-Identifier: Apache-2.0
"""Clips of one person, and files with clips in the cmu17 format."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.npz import check_offsets, read_arrays

MILLIMETRES_PER_METRE = 1000.0
REQUIRED_ARRAYS = ('positions', 'offsets', 'names', 'subjects', 'actions', 'fps')


@dataclass(frozen=True)
class Clip:
    """
    One uninterrupted recording of one person.

    ``positions`` are world positions in metres, z up, float32 ``(T, J, 3)``, at ``rate_hz``.
    """

    name: str
    subject: str
    action: str
    positions: NDArray[np.float32]
    rate_hz: float


def read_clips(path: Path, skeleton: Skeleton) -> tuple[Clip, ...]:
    """
    Read all clips of a file in the cmu17 format.

    The format is an npz without pickled objects. ``positions`` (frames, 17, 3) are whole
    millimetres, all clips one after another. ``offsets`` is (clips + 1): clip i is
    ``positions[offsets[i]:offsets[i + 1]]``. ``names``, ``subjects`` and ``actions`` are (clips,).
    ``fps`` is a number.

    :param path: the npz file.
    :param skeleton: the skeleton of its joints.
    :returns: the clips at the file's own rate, world positions in metres.
    :raises RecordingError: if the file is missing, damaged or not of this format.
    """
    arrays = read_arrays(path, REQUIRED_ARRAYS, 'in the cmu17 format')
    positions, offsets, fps = arrays['positions'], arrays['offsets'], arrays['fps']
    joints = skeleton.num_joints
    if positions.ndim != 3 or positions.shape[1:] != (joints, 3):
        raise RecordingError(
            f'{path}: positions: expected (frames, {joints}, 3), got {positions.shape}'
        )
    if positions.dtype.kind not in 'iu':
        raise RecordingError(
            f'{path}: positions: expected whole millimetres (int16), got {positions.dtype}; '
            'convert with np.rint(1000 * metres).astype(np.int16)'
        )
    if fps.ndim != 0 or fps.dtype.kind not in 'iuf' or not np.isfinite(fps) or fps <= 0:
        raise RecordingError(f'{path}: fps: expected one positive number, got {fps!r}')
    check_offsets(path, offsets, len(positions))
    count = len(offsets) - 1
    for name in ('names', 'subjects', 'actions'):
        if arrays[name].shape != (count,):
            raise RecordingError(
                f'{path}: {name}: expected one for each of {count} clips, '
                f'got shape {arrays[name].shape}'
            )
    metres = positions.astype(np.float32) / np.float32(MILLIMETRES_PER_METRE)
    return tuple(
        Clip(
            name=str(arrays['names'][i]),
            subject=str(arrays['subjects'][i]),
            action=str(arrays['actions'][i]),
            positions=metres[begin:end],
            rate_hz=float(fps),
        )
        for i, (begin, end) in enumerate(itertools.pairwise(offsets))
    )
