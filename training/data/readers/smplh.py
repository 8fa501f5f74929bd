# SPDX-License-Identifier: Apache-2.0
"""Compute the joints of SMPL+H bodies from the user's body model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import types

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.npz import Npz

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


def smplh_kinematics(body_model: Path) -> ForwardKinematics:
    """
    Return a function that computes joints of SMPL+H bodies by the ``smplx`` library.

    Joints need only the shape and the kinematic chain, no skinned vertices.

    :param body_model: the user's own body model: AMASS's SMPL+H download, a folder with
        ``male/model.npz`` and so on (or ``SMPLH_MALE.npz``), or one .npz file for everybody.
    :raises RecordingError: if smplx is not installed, or if there is no such model.
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
    shapes: torch.Tensor  # (22, 3, B): displacement of the joints by each shape coefficient
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
    arrays = plain_arrays(path)
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


def plain_arrays(path: Path) -> dict[str, NDArray]:
    """Read an npz without unpickling; pickled entries are ignored."""
    arrays: dict[str, NDArray] = {}
    with Npz(path) as archive:
        for name in archive.names:
            if archive.header(name).dtype.kind in 'biufSU':
                arrays[name] = archive.read(name)
    return arrays
