# SPDX-License-Identifier: Apache-2.0
"""Read motion files of the DeepMimic project: joint rotations of a humanoid become positions."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import numpy as np

from motion_predictor.body.geometry import quaternion_matrices
from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.files import read_file, refused
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recording import in_single, Recording

# Joint offsets of that project's humanoid in metres, in its own axes: x forward, y up, z right.
# Its motion files state no bone lengths; these are the lengths of its published character.
_HUMANOID_OFFSETS = {
    'chest': ('root', (0.0, 0.236151, 0.0)),
    'neck': ('chest', (0.0, 0.223894, 0.0)),
    'right_hip': ('root', (0.0, 0.0, 0.084887)),
    'right_knee': ('right_hip', (0.0, -0.421546, 0.0)),
    'right_ankle': ('right_knee', (0.0, -0.40987, 0.0)),
    'right_shoulder': ('chest', (-0.02405, 0.2435, 0.18311)),
    'right_elbow': ('right_shoulder', (0.0, -0.274788, 0.0)),
    'right_wrist': ('right_elbow', (0.0, -0.258947, 0.0)),
    'left_hip': ('root', (0.0, 0.0, -0.084887)),
    'left_knee': ('left_hip', (0.0, -0.421546, 0.0)),
    'left_ankle': ('left_knee', (0.0, -0.40987, 0.0)),
    'left_shoulder': ('chest', (-0.02405, 0.2435, -0.18311)),
    'left_elbow': ('left_shoulder', (0.0, -0.274788, 0.0)),
    'left_wrist': ('left_elbow', (0.0, -0.258947, 0.0)),
    'face': ('neck', (0.06, 0.165, 0.0)),
    'head_top': ('neck', (0.0, 0.2775, 0.0)),
}
# After duration and root position: rotations in file order, 4 numbers (w x y z) or 1 (about z).
_HUMANOID_ROTATIONS = (
    ('root', 4), ('chest', 4), ('neck', 4),
    ('right_hip', 4), ('right_knee', 1), ('right_ankle', 4), ('right_shoulder', 4),
    ('right_elbow', 1),
    ('left_hip', 4), ('left_knee', 1), ('left_ankle', 4), ('left_shoulder', 4), ('left_elbow', 1),
)  # fmt: skip
_HUMANOID_JOINTS = {
    'Hip': 'root', 'RHip': 'right_hip', 'RKnee': 'right_knee', 'RAnkle': 'right_ankle',
    'LHip': 'left_hip', 'LKnee': 'left_knee', 'LAnkle': 'left_ankle', 'Spine': 'chest',
    'Thorax': 'neck', 'Nose': 'face', 'Head': 'head_top', 'LShoulder': 'left_shoulder',
    'LElbow': 'left_elbow', 'LWrist': 'left_wrist', 'RShoulder': 'right_shoulder',
    'RElbow': 'right_elbow', 'RWrist': 'right_wrist',
}  # fmt: skip


MAX_DEEPMIMIC_BYTES = 64 * 2**20
MAX_DEEPMIMIC_S = 3600.0


def read_deepmimic(path: Path, rate_hz: float = 60.0) -> Recording:
    """
    Read a DeepMimic humanoid motion: motion capture retargeted to one humanoid of 15 joints.

    Forward kinematics turns the joint rotations into positions, at the file's own speed.

    :param path: JSON with ``Frames`` of 44 numbers: duration, root position, rotations.
    :param rate_hz: rate of the result; the files' keyframes are 1/60 to 1/16 s apart.
    :raises RecordingError: if it is not such a file.
    """
    raw = read_file(path, max_bytes=MAX_DEEPMIMIC_BYTES)
    with refused(path, 'not a DeepMimic motion file'):
        frames = np.array(json.loads(raw.decode())['Frames'], np.float64)
    if frames.ndim != 2 or frames.shape[1] != 44 or len(frames) < 2:
        raise RecordingError(f'{path}: expected frames of 44 numbers, got {frames.shape}')
    if not np.isfinite(frames).all():
        raise RecordingError(f'{path}: frames hold NaN or infinity')
    durations = frames[:-1, 0]
    if durations.min() <= 0 or durations.sum() > MAX_DEEPMIMIC_S:
        raise RecordingError(
            f'{path}: a frame other than the last lasts {durations.min():g} s, all of them '
            f'{durations.sum():g} s; they must last, together at most {MAX_DEEPMIMIC_S:g} s'
        )
    place = {'root': frames[:, 1:4]}
    turn: dict[str, np.ndarray] = {}
    column = 4
    own: dict[str, np.ndarray] = {}
    for joint, width in _HUMANOID_ROTATIONS:
        values = frames[:, column : column + width]
        column += width
        if width == 1:
            half = values[:, 0] / 2
            zero = np.zeros_like(half)
            values = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1)
        if not (np.linalg.norm(values, axis=-1) > 1e-6).all():
            raise RecordingError(f'{path}: a rotation of {joint} holds four zeros')
        values = values / np.linalg.norm(values, axis=-1, keepdims=True)
        own[joint] = quaternion_matrices(values[:, [1, 2, 3, 0]])  # w x y z in the file
    turn['root'] = own['root']
    for joint, (parent, offset) in _HUMANOID_OFFSETS.items():
        place[joint] = place[parent] + turn[parent] @ np.array(offset)
        turn[joint] = turn[parent] @ own[joint] if joint in own else turn[parent]
    poses = np.stack([place[_HUMANOID_JOINTS[joint]] for joint in H36M17.joints], axis=1)
    poses = poses[..., [0, 2, 1]] * np.array([1.0, -1.0, 1.0])  # x forward, y left, z up
    name = path.stem.removeprefix('humanoid3d_')
    keyframes = Recording(
        name=name,
        layout=H36M17.name,
        rate_hz=1.0 / float(np.mean(durations)),
        persons={'0': in_single(poses, str(path))},
        source=f'motion capture on the DeepMimic humanoid, {path.name}',
    )
    if np.ptp(durations) > 0.2 * durations.mean():
        keyframes = replace(keyframes, times_s=np.concatenate([[0.0], np.cumsum(durations)]))
    return keyframes.resample(rate_hz)
