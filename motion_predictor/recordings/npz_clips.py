# SPDX-License-Identifier: Apache-2.0
"""Read clips of 17 joints from an npz archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import re

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.npz import check_offsets, read_arrays
from motion_predictor.recordings.recording import in_single, Recording
from motion_predictor.recordings.scenes import side_by_side

CLIP_ARRAYS = ('positions', 'offsets', 'names', 'fps')


def read_npz(path: Path, clip: str = '') -> Recording:
    """
    Read clips from an archive of joint positions.

    The archive holds ``positions`` (``(frames, 17, 3)``, z up; integers are millimetres, floats
    metres), ``offsets`` (clip i is ``positions[offsets[i]:offsets[i + 1]]``), ``names``, ``fps``.

    :param clip: name or number of a clip; several joined by ``+`` become people side by side, cut
        to the shortest; empty takes the first.
    :param path: the archive.
    :raises RecordingError: if the file or the clip does not exist.
    """
    arrays = read_arrays(path, CLIP_ARRAYS, 'an archive of clips')
    names = _checked(path, arrays)
    positions, offsets = arrays['positions'], arrays['offsets']
    rates = np.broadcast_to(arrays['fps'], (len(names),))
    found = []
    for wanted in clip.split('+') if clip else [names[0]]:
        index = _index_of(path, wanted, names)
        clip_of = f'{path}: clip {names[index]!r}'
        poses = in_single(positions[offsets[index] : offsets[index + 1]], clip_of)
        if positions.dtype.kind in 'iu':
            poses /= 1000.0
        if np.isinf(poses).any():
            raise RecordingError(f'{path}: clip {names[index]!r} holds infinite coordinates')
        found.append(
            Recording(
                name=names[index],
                layout=H36M17.name,
                rate_hz=float(rates[index]),
                persons={'0': poses},
                source=f'clip {names[index]} of {path.name}',
                unit_m=0.001 if positions.dtype.kind in 'iu' else 1.0,
            )
        )
    return side_by_side(found)


def _checked(path: Path, arrays: Mapping[str, np.ndarray]) -> list[str]:
    # Return the names of the clips of an archive whose arrays fit together.
    positions, offsets, fps = arrays['positions'], arrays['offsets'], arrays['fps']
    if positions.ndim != 3 or positions.shape[1:] != (H36M17.num_joints, 3):
        raise RecordingError(f'{path}: positions: expected (frames, 17, 3), got {positions.shape}')
    if positions.dtype.kind not in 'iuf':
        raise RecordingError(
            f'{path}: positions: expected whole millimetres or metres, got {positions.dtype}'
        )
    check_offsets(path, offsets, len(positions))
    if arrays['names'].shape != (len(offsets) - 1,):
        raise RecordingError(
            f'{path}: names: expected one for each of {len(offsets) - 1} clips, got shape '
            f'{arrays["names"].shape}'
        )
    names = [str(name) for name in arrays['names']]
    if fps.dtype.kind not in 'iuf' or fps.shape not in ((), (1,), (len(names),)):
        raise RecordingError(
            f'{path}: fps: expected a number, or one for each clip, got shape {fps.shape} of '
            f'{fps.dtype}'
        )
    return names


def _index_of(path: Path, wanted: str, names: list[str]) -> int:
    # Return the index of a clip by its name or number.
    if wanted in names:
        return names.index(wanted)
    if re.fullmatch(r'[0-9]{1,9}', wanted) and int(wanted) < len(names):
        return int(wanted)
    close = [name for name in names if name.startswith(wanted.split('_')[0])][:8]
    raise RecordingError(
        f'{path}: no clip {brief(wanted)!r}; a number in 0..{len(names) - 1} or a name '
        f'such as {brief(", ".join(close or names[:8]))}'
    )
