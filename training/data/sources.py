"""Data sets and recordings as they are passed on, each turned into clips that a store takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
import itertools
from pathlib import Path
import re
import types
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.layout import Layout
from motion_predictor.body.layout_file import layout as layout_of
from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh import MAX_JOINT_SPEED_M_S, read_bvh, read_bvh_joints
from motion_predictor.recordings.npz import Npz
from motion_predictor.recordings.recording import Overrides, upright
from training.data.archives import read_object_archive
from training.data.store import check_positions

Positions = tuple[NDArray[np.float32], float]
"""Metres, z up, ``(T, J, 3)``, and frames per second."""

MAX_SPEED_M_S = 40.0
"""A joint faster than this is a wrong frame rate, a wrong unit or a jump."""


@dataclass(frozen=True)
class SourceClip:
    """A clip to be stored; ``load`` reads its positions when its turn comes."""

    name: str
    subject: str
    action: str
    split: str
    load: Callable[[], Positions]


@dataclass(frozen=True)
class Source:
    """What a reader found: its clips in order, and what the store says about them."""

    kind: str
    skeleton: Skeleton
    files: tuple[Path, ...]
    root: Path
    clips: tuple[SourceClip, ...]
    stride_s: float | None = 0.5
    start_s: float = 0.0
    remarks: tuple[str, ...] = ()
    judged: Counter[str] = field(default_factory=Counter)
    """How many of the clips loaded so far were read in which unit and with which axis up."""

    def judgements(self) -> list[str]:
        """Say in which units and with which axis up the clips loaded so far were read."""
        return [f'{count} files: {words}' for words, count in self.judged.most_common()]


# --- Human3.6M and HumanEva, as VideoPose3D passes them on ---------------------------------------

H36M_JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Of Human3.6M's 32 joints the 17 that move on their own, in the order of ``H36M17``."""
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
"""Damaged chunks that the published protocol leaves out (DLow and all that follow it)."""


def read_h36m(path: Path, val: Sequence[str] = ()) -> Source:
    """
    Read Human3.6M's ``data_3d_h36m.npz``: ``{subject: {action: (T, 32, 3)}}``, metres, 50 Hz.

    Windows every 25 frames, subjects 1, 5, 6, 7, 8 to train on, 9 and 11 to test: the protocol
    of stochastic motion prediction.

    :param val: subjects (of those to train on) that are kept for validation; the protocol has
        none.
    :raises RecordingError: naming what is missing or wrong.
    """
    content = read_object_archive(path)
    clips = _archive_clips(path, content, H36M_SPLITS, 32, H36M_JOINTS, H36M_RATE_HZ, val)
    return Source('h36m', H36M17, (path,), path.parent, clips, stride_s=25 / H36M_RATE_HZ)


def read_humaneva(path: Path, val: Sequence[str] = (), *, keep_all: bool = False) -> Source:
    """
    Read HumanEva-I's ``data_3d_humaneva15.npz``: ``{subject: {action: (T, 15, 3)}}``, 60 Hz.

    :param val: subjects kept for validation.
    :param keep_all: keep the chunks that the protocol leaves out.
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


def given(positions: NDArray[np.float32], rate_hz: float) -> Callable[[], Positions]:
    """Make the ``load`` of a clip that is in memory."""
    return lambda: (positions, rate_hz)


# --- AMASS ---------------------------------------------------------------------------------------

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
"""Folders of the older downloads."""
AMASS_ARRAYS = ('poses', 'trans', 'betas', 'gender', 'mocap_framerate')
AMASS_START_S = 3.0
"""Evaluation begins at frame 180 of 60 Hz."""

SMPL22 = Skeleton(
    name='smpl22',
    joints=(
        'pelvis', 'hip_l', 'hip_r', 'spine1', 'knee_l', 'knee_r', 'spine2',
        'ankle_l', 'ankle_r', 'spine3', 'foot_l', 'foot_r', 'neck', 'collar_l', 'collar_r',
        'head', 'shoulder_l', 'shoulder_r', 'elbow_l', 'elbow_r', 'wrist_l', 'wrist_r',
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    mirror=(0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20),
    hips=(2, 1),
    shoulders=(17, 16),
)  # fmt: skip
"""SMPL's 22 joints of the body."""

ForwardKinematics = Callable[[str, NDArray[np.floating], NDArray[np.floating]], NDArray]
"""(gender, betas (B,), poses (T, 66) axis-angle) -> joints about the origin, (T, 22, 3) metres."""


def read_amass(
    folder: Path,
    kinematics: ForwardKinematics,
    *,
    joints: str = 'smpl22',
) -> Source:
    """
    Read AMASS's own archives, ``FOLDER/DATASET/SUBJECT/NAME_poses.npz``.

    :param folder: holds one folder a data set, or is one of them.
    :param kinematics: turns poses into joints, see :func:`smplh_kinematics`.
    :param joints: 'smpl22' (the published protocol), or 'h36m17' by the node's own mapping.
    :raises RecordingError: if a data set is unknown, or there is no archive.
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
                continue  # a subject's shape, no motion
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
        arrays = _plain_arrays(path)
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


def to_target(name: str, source: Layout, positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """
    Turn another layout's joints into the target's, all of which must come out.

    :raises RecordingError: naming the joint that does not.
    """
    turned, known = source.to_model(positions)
    if not known.all():
        frame, joint = np.argwhere(~known)[0]
        raise RecordingError(
            f'{name}: frame {frame}: {source.target.joints[joint]} cannot be made from its joints'
        )
    return turned.astype(np.float32)


def smplh_kinematics(body_model: Path) -> ForwardKinematics:
    """
    Give the joints of SMPL+H bodies by the ``smplx`` library, from the user's own body model.

    Joints need the shape and the kinematic chain alone, no skinned vertices.

    :param body_model: AMASS's SMPL+H download, a folder with ``male/model.npz`` and so on (or
        ``SMPLH_MALE.npz``), or one .npz file for everybody.
    :raises RecordingError: if smplx is not installed, or there is no such model.
    """
    try:
        from smplx import lbs
    except ImportError:
        raise RecordingError(
            "the joints of AMASS need the Python package smplx: pip install '.[amass]'"
        ) from None
    if not body_model.exists():
        raise RecordingError(f'--body-model {body_model}: no such file or folder')
    models: dict[str, _BodyModel] = {}

    def joints(gender: str, betas: NDArray, poses: NDArray) -> NDArray:
        if gender not in models:
            models[gender] = _load_body_model(body_model, gender)
        return models[gender].joints(lbs, betas, poses)

    return joints


@dataclass(frozen=True)
class _BodyModel:
    template: torch.Tensor  # (22, 3): joints of the mean shape
    shapes: torch.Tensor  # (22, 3, B): how each shape coefficient moves them
    parents: torch.Tensor  # (22,)

    def joints(self, lbs: types.ModuleType, betas: NDArray, poses: NDArray) -> NDArray:
        count = min(len(betas), self.shapes.shape[-1])
        shape = torch.from_numpy(betas[None, :count].astype(np.float32))
        rest = self.template + lbs.blend_shapes(shape, self.shapes[..., :count])[0]  # (22, 3)
        out = []
        for begin in range(0, len(poses), 4096):
            end = begin + 4096
            part = torch.from_numpy(poses[begin:end].astype(np.float32)).reshape(-1, 3)
            turns = lbs.batch_rodrigues(part).view(-1, 22, 3, 3)
            posed, _ = lbs.batch_rigid_transform(
                turns, rest.expand(len(turns), -1, -1), self.parents
            )
            out.append(posed.numpy())
        return np.concatenate(out)


def _load_body_model(where: Path, gender: str) -> _BodyModel:
    tried = [where]
    if where.is_dir():
        tried = [where / gender / 'model.npz', where / f'SMPLH_{gender.upper()}.npz']
    path = next((candidate for candidate in tried if candidate.is_file()), None)
    if path is None:
        raise RecordingError(
            f'--body-model {where}: no model of gender {gender}: tried '
            f'{", ".join(str(candidate) for candidate in tried)}'
        )
    arrays = _plain_arrays(path)
    wanted = ('v_template', 'shapedirs', 'J_regressor', 'kintree_table')
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise RecordingError(
            f'{path}: lacks {", ".join(missing)}; expected the npz of SMPL+H that AMASS offers'
        )
    regressor = arrays['J_regressor'].astype(np.float32)
    vertices = arrays['v_template'].astype(np.float32)
    shapes = arrays['shapedirs'].astype(np.float32)
    tree = arrays['kintree_table'].astype(np.int64)
    fits = (
        regressor.ndim == 2
        and len(regressor) >= 22
        and vertices.shape == (regressor.shape[1], 3)
        and shapes.shape[:2] == vertices.shape
        and tree.ndim == 2
        and tree.shape[1] >= 22
    )
    if not fits:
        raise RecordingError(
            f'{path}: J_regressor {regressor.shape}, v_template {vertices.shape}, shapedirs '
            f'{shapes.shape} and kintree_table {tree.shape} do not make a body of 22 joints'
        )
    parents = tree[0, :22].copy()
    parents[0] = -1
    if tuple(parents.tolist()) != SMPL22.parents:
        raise RecordingError(f'{path}: its first 22 joints are not those of SMPL: {parents}')
    regressor = regressor[:22]
    return _BodyModel(
        torch.from_numpy(regressor @ vertices),
        torch.from_numpy(np.einsum('jv,vcb->jcb', regressor, shapes)),
        torch.from_numpy(parents),
    )


def _plain_arrays(path: Path) -> dict[str, NDArray]:
    """Read an npz without ever unpickling; entries that are pickled are passed over."""
    arrays: dict[str, NDArray] = {}
    with Npz(path) as archive:
        for name in archive.names:
            if archive.header(name).dtype.kind in 'biufSU':
                arrays[name] = archive.read(name)
    return arrays


# --- BVH -----------------------------------------------------------------------------------------


def read_bvh_folder(
    folder: Path,
    *,
    mapping: Path | None = None,
    skeleton: Skeleton = H36M17,
    units_scale: float = 0.0,
    up: str = '',
    rate_hz: float = 0.0,
    subject_pattern: str = '',
    val: Sequence[str] = (),
    test: Sequence[str] = (),
) -> Source:
    """
    Read every BVH file below a folder (or one file).

    :param mapping: a mapping file as the node's ``input.skeleton`` takes it, its ``joints`` being
        joints of the BVH files; without one the usual names of people's joints are looked for.
    :param skeleton: what the mapping leads to.
    :param units_scale: metres in a unit of the files; 0 judges by people's legs.
    :param up: the files' vertical axis, such as 'y' or '-z'; empty judges by people's motion, and
        is y for other skeletons.
    :param rate_hz: frames per second in place of the files' own; 0 takes what they say.
    :param subject_pattern: regular expression whose first group, searched in the path below the
        folder, is the subject; without one it is the sub-folder, or else what stands in the
        file's name before the first underscore.
    :param val: patterns of subjects for validation.
    :param test: patterns of subjects for the test.
    :raises RecordingError: if there is no file, or an option cannot be used.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob('*.[bB][vV][hH]'))
    root = folder.parent if folder.is_file() else folder
    if not files:
        raise RecordingError(f'{folder}: no .bvh file in it')
    given = Overrides(units_scale, up, '' if mapping is None else str(mapping), rate_hz)
    people = skeleton.joints == H36M17.joints
    source = None if mapping is None else layout_of(mapping, skeleton)
    if source is None and not people:
        raise RecordingError(f'joints of {skeleton.name} need a --mapping from those of the BVH')
    if not people and not units_scale > 0.0:
        raise RecordingError('--units-scale: say how many metres a unit of the files is')
    try:
        pattern = re.compile(subject_pattern)
    except re.error as error:
        raise RecordingError(f'--subject {subject_pattern!r}: {error}') from None
    if subject_pattern and pattern.groups < 1:
        raise RecordingError(f'--subject {subject_pattern!r}: must have a (group)')
    judged: Counter[str] = Counter()
    clips = []
    for path in files:
        below = path.relative_to(root)
        if subject_pattern:
            match = pattern.search(below.as_posix())
            if match is None:
                raise RecordingError(f'{path}: --subject {subject_pattern!r} is not found in it')
            subject = match.group(1)
        else:
            subject = below.parts[0] if len(below.parts) > 1 else path.stem.split('_')[0]
        load = _person_loader(path, given, judged)
        if source is not None and not people:
            load = _bvh_loader(path, source, given, judged)
        split = split_of(subject, val, test)
        clips.append(SourceClip(below.with_suffix('').as_posix(), subject, path.stem, split, load))
    return Source('bvh', skeleton, tuple(files), root, tuple(clips), judged=judged)


def _person_loader(path: Path, given: Overrides, judged: Counter[str]) -> Callable[[], Positions]:
    def load() -> Positions:
        recording = read_bvh(path, given)
        judged[recording.reading] += 1
        return next(iter(recording.persons.values())).astype(np.float32), recording.rate_hz

    return load


def _bvh_loader(
    path: Path, source: Layout, given: Overrides, judged: Counter[str]
) -> Callable[[], Positions]:
    def load() -> Positions:
        names, places, rate_hz = read_bvh_joints(path, given.rate_hz)
        missing = [joint for joint in source.joints if joint not in names]
        if missing:
            raise RecordingError(
                f'{path}: has no joint {", ".join(missing)}; it has {", ".join(names)}'
            )
        up = given.up or 'y'
        judged[f'unit {given.units_scale:g} m, {up} up' + ('' if given.up else ' by default')] += 1
        chosen = places[:, [names.index(joint) for joint in source.joints]]
        positions = to_target(str(path), source, upright(chosen, up) * given.units_scale)
        if len(positions) > 2:  # a T-pose put first
            leap_m = float(np.linalg.norm(positions[1] - positions[0], axis=-1).max())
            if leap_m > MAX_JOINT_SPEED_M_S / rate_hz:
                positions = positions[1:]
        return positions, rate_hz

    return load


# --- all of them ---------------------------------------------------------------------------------


def load_at(
    clip: SourceClip,
    rate_hz: float,
    max_speed_m_s: float = MAX_SPEED_M_S,
    least_hz: float | None = None,
) -> tuple[NDArray[np.float32], float]:
    """
    Load a clip, check it, and bring it to a store's rate.

    :param rate_hz: of the store.
    :param max_speed_m_s: nothing of it may be faster.
    :param least_hz: slower recordings are refused; None: half of the rate.
    :returns: metres ``(T, J, 3)`` at ``rate_hz``, and the rate it was recorded at.
    :raises RecordingError: naming the clip and what is wrong with it.
    """
    positions, found_hz = clip.load()
    least = rate_hz / 2.0 if least_hz is None else least_hz
    if not found_hz >= least - 1e-6:
        what = f'half of {rate_hz:g} Hz' if least_hz is None else f'{least_hz:g} Hz'
        advice = f'give --rate {found_hz:g} or ' if least_hz is None else ''
        raise RecordingError(
            f'{clip.name}: recorded at {found_hz:g} Hz, less than {what}; {advice}record faster'
        )
    check_positions(clip.name, positions)
    if len(positions) > 1:
        speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * found_hz  # (T - 1, J)
        frame, joint = np.unravel_index(int(speed.argmax()), speed.shape)
        if speed[frame, joint] > max_speed_m_s:
            raise RecordingError(
                f'{clip.name}: joint {joint} moves at {speed[frame, joint]:.0f} m/s after frame '
                f'{frame} (allowed: {max_speed_m_s:g}): a wrong frame rate or unit, or a jump'
            )
    return resample(positions, found_hz, rate_hz), found_hz


def split_of(subject: str, val: Sequence[str], test: Sequence[str]) -> str:
    """Give the split of a subject: that whose patterns name it, else 'train'."""
    for split, patterns in (('test', test), ('val', val)):
        if any(fnmatchcase(subject, pattern) for pattern in patterns):
            return split
    return 'train'


def in_splits(source: Source) -> Iterator[tuple[str, list[SourceClip]]]:
    """Give the splits that a source has clips of, with these."""
    for split, clips in itertools.groupby(
        sorted(source.clips, key=lambda clip: ('train', 'val', 'test').index(clip.split)),
        key=lambda clip: clip.split,
    ):
        yield split, list(clips)


def renamed(source: Source, split: str) -> Source:
    """Put all clips of a source into one split."""
    return replace(source, clips=tuple(replace(clip, split=split) for clip in source.clips))
