"""Clips of one person: a file of them in the cmu17 format, and another frame rate for them."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.recordings.npz import check_offsets, read_arrays

MILLIMETRES_PER_METRE = 1000.0
HALF_WIDTH = 16
"""Frames of the recording on each side of an instant that its interpolation looks at."""
KAISER_BETA = 8.0

REQUIRED_ARRAYS = ('positions', 'offsets', 'names', 'subjects', 'actions', 'fps')


@dataclass(frozen=True)
class Clip:
    """
    One uninterrupted recording of one person.

    ``positions`` are world positions in metres, z up, shape ``(T, J, 3)`` float32, at ``rate_hz``.
    """

    name: str
    subject: str
    action: str
    positions: NDArray[np.float32]
    rate_hz: float


def read_clips(path: Path, skeleton: Skeleton) -> tuple[Clip, ...]:
    """
    Read every clip of a file in the cmu17 format.

    The format is an npz without pickled objects: ``positions`` (frames, 17, 3) in whole
    millimetres, all clips one after another; ``offsets`` (clips + 1), clip i being
    ``positions[offsets[i]:offsets[i + 1]]``; ``names``, ``subjects`` and ``actions`` (clips);
    ``fps``, a number.

    :param path: the npz file.
    :param skeleton: whose joints it holds.
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


def resample(poses: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """
    Change the frame rate of a recording by band-limited interpolation.

    A Kaiser-windowed sinc, the recording continued past its ends by point reflection. Going up,
    given frames that fall on an instant of the result are kept; going down, the band is narrowed
    to the new rate first.

    :param poses: any positions over time, shape ``(T, ...)``.
    :param from_hz: frames per second of ``poses``.
    :param to_hz: frames per second wanted.
    :returns: shape ``(T', ...)``, frame i at the instant ``i / to_hz``, none past the last given.
    :raises ConfigError: if a rate is not positive.
    """
    if not (from_hz > 0 and to_hz > 0):
        raise ConfigError(f'resample: rates must be positive, got {from_hz} to {to_hz} Hz')
    frames = len(poses)
    if from_hz == to_hz or frames < 2:
        return np.array(poses, dtype=np.float32)
    band = min(1.0, to_hz / from_hz)
    reach = min(round(HALF_WIDTH / band), frames - 1)
    padded = np.concatenate(
        [
            2 * poses[:1] - poses[reach:0:-1],
            poses,
            2 * poses[-1:] - poses[-2 : -reach - 2 : -1],
        ]
    )
    ratio = from_hz / to_hz
    instants = np.arange(int((frames - 1) / ratio + 1e-9) + 1) * ratio  # in given frames
    before = np.minimum(np.floor(instants + 1e-9).astype(np.int64), frames - 1)
    taps = np.arange(1 - reach, reach + 1)
    distance = (instants - before)[:, None] - taps  # (T', 2 reach)
    if reach == 1:  # two frames: a straight line between them
        weights = np.clip(1.0 - np.abs(distance), 0.0, None)
    else:
        inside = 1.0 - (distance / (reach - 0.5)) ** 2
        kaiser = np.i0(KAISER_BETA * np.sqrt(np.clip(inside, 0.0, None)))
        weights = np.sinc(band * distance) * np.where(inside > -1e-9, kaiser, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    result = np.zeros((len(instants), *poses.shape[1:]), dtype=np.float64)
    trailing = (1,) * (poses.ndim - 1)
    last = len(padded) - 1
    for column, tap in enumerate(taps):
        rows = np.minimum(before + reach + tap, last)
        result += weights[:, column].reshape(-1, *trailing) * padded[rows]
    return result.astype(np.float32)
