# SPDX-License-Identifier: Apache-2.0
"""Read Human3.6M and HumanEva-I in the form in which VideoPose3D distributes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import re
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import RecordingError
from training.data.archives import read_object_archive
from training.data.readers.source import given, Source, SourceClip

H36M_JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""The 17 of Human3.6M's 32 joints that move on their own, in the order of ``H36M17``."""


H36M_SPLITS = {
    'train': ('S1', 'S5', 'S6', 'S7', 'S8'),
    'test': ('S9', 'S11'),
}


H36M_RATE_HZ = 50.0


HUMANEVA15 = Skeleton(
    name='humaneva15',
    joints=(
        'Pelvis', 'Thorax', 'LShoulder', 'LElbow', 'LWrist', 'RShoulder', 'RElbow', 'RWrist',
        'LHip', 'LKnee', 'LAnkle', 'RHip', 'RKnee', 'RAnkle', 'Head',
    ),
    parents=(-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1),
    mirror=(0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 14),
    hips=(11, 8),
    shoulders=(5, 2),
)  # fmt: skip
"""HumanEva's 15 joints."""


HUMANEVA_SPLITS = {
    'train': ('Train/S1', 'Train/S2', 'Train/S3'),
    'test': ('Validate/S1', 'Validate/S2', 'Validate/S3'),
}


HUMANEVA_RATE_HZ = 60.0


HUMANEVA_LEFT_OUT = (
    ('Train/S3', 'Walking 1 chunk0'),
    ('Train/S3', 'Walking 1 chunk2'),
    ('Validate/S3', 'Walking 1 chunk4'),
)
"""Damaged chunks that the published protocol leaves out (DLow and all later papers)."""


def read_h36m(path: Path, val: Sequence[str] = ()) -> Source:
    """
    Read Human3.6M's ``data_3d_h36m.npz``: ``{subject: {action: (T, 32, 3)}}``, metres, 50 Hz.

    The protocol of stochastic motion prediction takes windows every 25 frames, subjects 1, 5, 6,
    7, 8 for training, and 9 and 11 for the test.

    :param path: the file.
    :param val: training subjects to keep for validation; the protocol has none.
    :raises RecordingError: naming what is missing or wrong.
    """
    content = read_object_archive(path)
    clips = _archive_clips(path, content, H36M_SPLITS, 32, H36M_JOINTS, H36M_RATE_HZ, val)
    return Source('h36m', H36M17, (path,), path.parent, clips, stride_s=25 / H36M_RATE_HZ)


def read_humaneva(path: Path, val: Sequence[str] = (), *, keep_all: bool = False) -> Source:
    """
    Read HumanEva-I's ``data_3d_humaneva15.npz``: ``{subject: {action: (T, 15, 3)}}``, 60 Hz.

    :param val: subjects to keep for validation.
    :param keep_all: keep the chunks that the protocol leaves out.
    :param path: the file.
    :raises RecordingError: naming what is missing or wrong.
    """
    content = read_object_archive(path)
    keep = tuple(range(15))
    clips = _archive_clips(path, content, HUMANEVA_SPLITS, 15, keep, HUMANEVA_RATE_HZ, val)
    remarks: tuple[str, ...] = ()
    if not keep_all:
        left = {f'{subject} {action}' for subject, action in HUMANEVA_LEFT_OUT}
        found = [clip.name for clip in clips if clip.name in left]
        clips = tuple(clip for clip in clips if clip.name not in left)
        remarks = tuple(f'{name}: left out, as the protocol does' for name in found)
    return Source('humaneva', HUMANEVA15, (path,), path.parent, clips, remarks=remarks)


def _archive_clips(
    path: Path,
    content: Mapping[str, Any],
    splits: Mapping[str, Sequence[str]],
    joints: int,
    keep: tuple[int, ...],
    rate_hz: float,
    val: Sequence[str],
) -> tuple[SourceClip, ...]:
    expected = [subject for subjects in splits.values() for subject in subjects]
    missing = [subject for subject in expected if subject not in content]
    if missing:
        raise RecordingError(
            f'{path}: lacks subjects {", ".join(missing)}; it has '
            f'{", ".join(str(name) for name in content) or "none"}'
        )
    unknown = [name for name in val if name not in splits['train']]
    if unknown:
        raise RecordingError(f'--val {unknown[0]}: must be one of {", ".join(splits["train"])}')
    clips = []
    for split, subjects in splits.items():
        for subject in subjects:
            actions = content[subject]
            if not isinstance(actions, dict) or not actions:
                raise RecordingError(f'{path}: {subject}: expected actions, got {actions!r:.60}')
            for action, values in actions.items():
                name = f'{subject} {action}'
                array = values if isinstance(values, np.ndarray) else np.empty(())
                if array.ndim != 3 or array.shape[1:] != (joints, 3) or not len(array):
                    found = array.shape if array is values else f'a {type(values).__name__}'
                    raise RecordingError(
                        f'{path}: {name}: expected (frames, {joints}, 3), got {found}'
                    )
                if array.dtype.kind != 'f':
                    raise RecordingError(
                        f'{path}: {name}: expected metres as floats, got {array.dtype}'
                    )
                clips.append(
                    SourceClip(
                        name,
                        subject,
                        # 'Walking 1 chunk0' and 'Walking 2' are both walking
                        re.sub(r'( \d+)?( chunk\d+)?$', '', str(action)),
                        'val' if subject in val else split,
                        given(array[:, keep].astype(np.float32), rate_hz),
                    )
                )
    return tuple(clips)
