# SPDX-License-Identifier: Apache-2.0
"""Divide a recording into parts: to learn from, to stop by, and to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools

import numpy as np
from numpy.typing import NDArray

from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from training.stages.adapt.settings import FinetuneConfig

BLOCK_S = 10.0
"""Length in seconds of a block of time; the windows of one clip in a block count as one in
intervals."""


@dataclass(frozen=True)
class Parts:
    """
    The parts of a recording; no window lies in two parts.

    Each part is a list of clips of world positions in metres, ``(T, J, 3)``, at the model's rate.
    """

    adapt: tuple[NDArray[np.float32], ...]
    val: tuple[NDArray[np.float32], ...]
    held: tuple[NDArray[np.float32], ...]


def take_apart(
    clips: Sequence[NDArray[np.float32]], window: WindowConfig, config: FinetuneConfig
) -> Parts:
    """
    Hold back a part for the test and one for stopping, in whole blocks of time.

    With 'end', every clip that is long enough for a window in each part gives its end to the test
    and the stretch before that to validation. Shorter clips, and with 'clips' all of them, go as a
    whole to one part in turn.

    :raises RecordingError: if a part would hold no window.
    """
    total = window.total_frames
    adapt: list[NDArray[np.float32]] = []
    val: list[NDArray[np.float32]] = []
    held: list[NDArray[np.float32]] = []
    turns = itertools.cycle((adapt, held, adapt, val))
    for clip in clips:
        if len(clip) < total:
            continue
        last = max(total, round(config.test_share * len(clip)))
        middle = max(total, round(config.val_share * len(clip)))
        first = len(clip) - last - middle
        if config.hold_back == 'clips' or first < total:
            next(turns).append(clip)
            continue
        adapt.append(clip[:first])
        val.append(clip[first : first + middle])
        held.append(clip[first + middle :])
    if not (adapt and val and held):
        longest = max((len(clip) for clip in clips), default=0) / window.rate_hz
        raise RecordingError(
            f'too little to hold a part back: {len(clips)} clips, the longest of {longest:.1f} s; '
            f'a window lasts {total / window.rate_hz:.1f} s: record at least three times that '
            'without a break, or four such clips'
        )
    return Parts(tuple(adapt), tuple(val), tuple(held))


def cut_windows(
    clips: Sequence[NDArray[np.float32]], window: WindowConfig, stride_s: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """
    Cut clips into windows as the evaluation does.

    :returns: world metres ``(N, T, J, 3)``, and for each window the number of its block of time.
    """
    stride, total = max(1, round(stride_s * window.rate_hz)), window.total_frames
    block = round(BLOCK_S * window.rate_hz)
    poses, blocks, seen = [], [], 0
    for clip in clips:
        for start in range(0, len(clip) - total + 1, stride):
            poses.append(clip[start : start + total])
            blocks.append(seen + start // block)
        seen += len(clip) // block + 1
    return np.stack(poses), np.array(blocks, dtype=np.int64)
