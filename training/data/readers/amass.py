# SPDX-License-Identifier: Apache-2.0
"""Read AMASS: its archives of SMPL+H bodies, split by data set as in the published protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from motion_predictor.body.layout_file import layout as layout_of
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from training.data.readers.smplh import ForwardKinematics, plain_arrays, SMPL22
from training.data.readers.source import Positions, Source, SourceClip, to_target

AMASS_SPLITS = {
    'train': (
        'ACCAD', 'BMLhandball', 'BMLmovi', 'BMLrub', 'CMU', 'EKUT', 'EyesJapanDataset', 'KIT',
        'PosePrior', 'TCDHands', 'TotalCapture',
    ),
    'val': ('HumanEva', 'HDM05', 'SFU', 'MoSh'),
    'test': ('DFaust', 'DanceDB', 'GRAB', 'HUMAN4D', 'SOMA', 'SSM', 'Transitions'),
}  # fmt: skip
"""The split of stochastic motion prediction, by data sets of AMASS (BeLFusion)."""


AMASS_OTHER_NAMES = {
    'BioMotionLab_NTroje': 'BMLrub', 'Eyes_Japan_Dataset': 'EyesJapanDataset',
    'MPI_Limits': 'PosePrior', 'TCD_handMocap': 'TCDHands', 'MPI_HDM05': 'HDM05',
    'MPI_mosh': 'MoSh', 'DFaust_67': 'DFaust', 'SSM_synced': 'SSM',
    'Transitions_mocap': 'Transitions',
}  # fmt: skip
"""Names of folders in older downloads."""


AMASS_ARRAYS = ('poses', 'trans', 'betas', 'gender', 'mocap_framerate')


AMASS_START_S = 3.0
"""Start of the evaluation in seconds: frame 180 at 60 Hz."""


def read_amass(
    folder: Path,
    kinematics: ForwardKinematics,
    *,
    joints: str = 'smpl22',
) -> Source:
    """
    Read AMASS's own archives, ``FOLDER/DATASET/SUBJECT/NAME_poses.npz``.

    :param folder: folder with one folder per data set, or one of these.
    :param kinematics: turns poses into joints, see :func:`smplh_kinematics`.
    :param joints: 'smpl22' (the published protocol), or 'h36m17' by the node's own mapping.
    :raises RecordingError: if a data set is unknown, or if there is no archive.
    """
    if not folder.is_dir():
        raise RecordingError(f'{folder}: no such folder; expected AMASS data sets in it')
    if joints not in ('smpl22', 'h36m17'):
        raise RecordingError(f'joints {joints!r}: must be smpl22 or h36m17')
    known = {name: split for split, names in AMASS_SPLITS.items() for name in names}
    if AMASS_OTHER_NAMES.get(folder.name, folder.name) in known:
        data_sets, root = [folder], folder.parent
    else:
        data_sets, root = sorted(entry for entry in folder.iterdir() if entry.is_dir()), folder
    clips, files = [], []
    for data_set in data_sets:
        name = AMASS_OTHER_NAMES.get(data_set.name, data_set.name)
        if name not in known:
            raise RecordingError(
                f'{data_set}: {data_set.name} is none of the data sets of AMASS that the split '
                f'names: {", ".join(sorted(known))}'
            )
        for path in sorted(data_set.rglob('*.npz')):
            if path.name == 'shape.npz' or path.name.endswith(('_stagei.npz', 'neutral_stagei')):
                continue  # the shape of a subject, not a motion
            files.append(path)
            subject = path.relative_to(data_set).parts[0] if path.parent != data_set else name
            clips.append(
                SourceClip(
                    path.relative_to(root).with_suffix('').as_posix(),
                    f'{name}/{subject}',
                    path.stem.removesuffix('_poses').removesuffix('_stageii'),
                    known[name],
                    _amass_loader(path, kinematics, joints),
                )
            )
    if not clips:
        raise RecordingError(f'{folder}: no .npz archive in any data set of it')
    return Source(
        'amass',
        SMPL22 if joints == 'smpl22' else H36M17,
        tuple(files),
        root,
        tuple(clips),
        stride_s=None,
        start_s=AMASS_START_S,
    )


def _amass_loader(
    path: Path, kinematics: ForwardKinematics, joints: str
) -> Callable[[], Positions]:
    def load() -> Positions:
        arrays = plain_arrays(path)
        rate = arrays.get('mocap_framerate', arrays.get('mocap_frame_rate'))
        missing = [name for name in AMASS_ARRAYS[:4] if name not in arrays]
        if missing or rate is None:
            missing += [] if rate is not None else ['mocap_framerate']
            raise RecordingError(
                f'{path}: lacks {", ".join(missing)}; it has {", ".join(arrays) or "nothing"}'
            )
        rate_hz = float(rate) if rate.ndim == 0 and rate.dtype.kind in 'iuf' else float('nan')
        if not 1.0 <= rate_hz <= 1000.0:
            raise RecordingError(f'{path}: mocap_framerate={rate!r}: must lie in 1..1000')
        poses, trans, betas = arrays['poses'], arrays['trans'], arrays['betas']
        if poses.ndim != 2 or poses.shape[1] < 66:
            raise RecordingError(
                f'{path}: poses: expected (frames, 66 or more), axis-angles of 22 joints and '
                f'more, got {poses.shape}'
            )
        if trans.shape != (len(poses), 3):
            raise RecordingError(f'{path}: trans: expected {(len(poses), 3)}, got {trans.shape}')
        for name, array in (('poses', poses[:, :66]), ('trans', trans), ('betas', betas)):
            if array.dtype.kind != 'f' or not np.isfinite(array).all():
                raise RecordingError(f'{path}: {name}: holds NaN, infinity or no floats')
        gender = arrays['gender']
        text = gender.item() if gender.ndim == 0 else gender.tobytes()
        text = text.decode(errors='replace') if isinstance(text, bytes) else str(text)
        if text not in ('female', 'male', 'neutral'):
            raise RecordingError(f'{path}: gender={text!r}: must be female, male or neutral')
        body = kinematics(text, betas.reshape(-1), poses[:, :66])
        body = (body + trans[:, None]).astype(np.float32)  # (T, 22, 3)
        if joints == 'h36m17':
            body = to_target(str(path), layout_of('smpl22'), body)
        return body, rate_hz

    return load
