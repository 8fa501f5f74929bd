"""Trackers' joint orders, and how each becomes the model's 17 joints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
import difflib
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.files import brief, read_file, refused
from motion_predictor.errors import ShapeError, SkeletonError

Source = str | Mapping[str, float]
"""A source joint's name, or source joints with weights that sum to one."""

SPINE_FRACTION = 0.47
"""Where the spine joint lies on the way from Hip to Thorax."""
TORSO_M = 0.478
"""Hip to Thorax of the person that the lengths below were measured on."""
NOSE_UP_M = 0.18
NOSE_AHEAD_M = 0.02
"""The nose joint seen from Thorax: along the neck, and ahead of it (see HEAD_TOP_M)."""
HEAD_TOP_M = 0.27
"""Thorax to the top of the head. These three are the medians of the recordings that the models
are trained on (0.24 to 0.30 m for such a torso), not of Human3.6M itself, where it is 0.19 m."""
SKULL_TO_NOSE_M = 0.075
"""From the joint at the skull's base ahead to the nose."""
MAX_PAIR_M = 0.8
"""Joints further apart than this have no meaningful middle: one of them is wrong."""
MAX_HEAD_M = 0.6
"""A head joint further from Thorax than this does not say where the head is."""
MIN_LENGTH_M = 1e-3
"""Shorter vectors have no direction."""

DERIVED = ('Hip', 'Spine', 'Nose', 'Head')
"""Joints that a mapping may leave out: they follow from the others."""
IDENTITY = 'identity'
"""Name of the layout that is the model's own skeleton, whatever that is."""


@dataclass(frozen=True)
class Layout:
    """
    One publisher's joints, in its order, and what the model's joints are made of.

    ``mapping`` gives for a joint of the model the source joint, or the weighted mean of source
    joints, that it is. Hip, Spine, Nose and Head may be left out: Hip is then the middle of the
    hips, Spine lies 47% of the way from Hip to Thorax, Nose is ahead of the neck, and Head, the
    TOP of the head, lies 0.27 m (for a torso of 0.478 m, else in proportion) from Thorax towards
    the mean of ``head_towards`` or, without those, up the spine.
    """

    name: str
    joints: tuple[str, ...]
    mapping: Mapping[str, Source]
    units: str = 'm'
    """What the publisher's lengths are in; :meth:`to_model` expects metres whatever it says."""
    thorax_rise_m: float = 0.0
    """Added to Thorax up the spine, for sources that only know the line of the shoulders."""
    nose_ahead_m: float = 0.0
    """Added to Nose ahead of the body (scaled with it), for sources that give a skull centre."""
    head_towards: tuple[str, ...] = ()
    """Source joints whose mean shows the direction of the head: both ears, or the skull."""
    target: Skeleton = H36M17
    """The model's joints. For another skeleton than a person's the mapping must name them all."""

    _weights: np.ndarray = field(init=False, repr=False, compare=False)  # (17, J)
    _uses: np.ndarray = field(init=False, repr=False, compare=False)  # (17, J) bool
    _made: np.ndarray = field(init=False, repr=False, compare=False)  # (17,) bool
    _pairs: np.ndarray = field(init=False, repr=False, compare=False)  # (pairs, 3)
    _towards: np.ndarray = field(init=False, repr=False, compare=False)  # (n,)
    _mapped: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise SkeletonError(f'{self.name}: joints must have names, all of them different')
        target = self.target
        unknown = sorted(set(self.mapping) - set(target.joints))
        if unknown:
            raise SkeletonError(
                f'{self.name}: mapping names {unknown}, which the model does not have; '
                f'it has {", ".join(target.joints)}'
            )
        derived = DERIVED if self._is_person else ()
        absent = [j for j in target.joints if j not in self.mapping and j not in derived]
        if absent:
            raise SkeletonError(
                f'{self.name}: mapping lacks {", ".join(absent)}; '
                f'only {", ".join(derived) or "none"} can be left out'
            )
        for name, value in (
            ('thorax_rise_m', self.thorax_rise_m),
            ('nose_ahead_m', self.nose_ahead_m),
        ):
            if not 0.0 <= value <= 0.3:
                raise SkeletonError(f'{self.name}: {name}={value}: must lie in 0..0.3')
        count = len(self.joints)
        weights = np.zeros((target.num_joints, count))
        pairs = []
        for joint, source in self.mapping.items():
            row = target.index(joint)
            parts = {source: 1.0} if isinstance(source, str) else dict(source)
            if not parts or not abs(sum(parts.values()) - 1.0) <= 1e-6:  # nor NaN
                raise SkeletonError(
                    f'{self.name}: the weights of {joint} are {brief(parts)}; they must sum to 1'
                )
            columns = [self._column(part, joint) for part in parts]
            weights[row, columns] = list(parts.values())
            if self._is_person:
                pairs += [(row, columns[0], other) for other in columns[1:]]
        if self._is_person and 'Hip' not in self.mapping:
            right, left = (H36M17.index(joint) for joint in ('RHip', 'LHip'))
            weights[0] = 0.5 * (weights[right] + weights[left])
            pairs.append((0, int(weights[right].argmax()), int(weights[left].argmax())))
        towards = [self._column(joint, 'head_towards') for joint in self.head_towards]
        freeze = object.__setattr__
        freeze(self, '_weights', weights)
        freeze(self, '_uses', weights != 0.0)
        freeze(self, '_made', self._uses.any(axis=1))
        freeze(self, '_pairs', np.array(pairs, dtype=np.int64).reshape(-1, 3))
        freeze(self, '_towards', np.array(towards, dtype=np.int64))
        freeze(self, '_mapped', frozenset(self.mapping))

    @property
    def num_joints(self) -> int:
        """How many joints the publisher sends, J_src."""
        return len(self.joints)

    @property
    def _is_person(self) -> bool:
        return self.target.joints == H36M17.joints

    @property
    def used(self) -> np.ndarray:
        """Give indices of the source joints that the model's joints are made of, int64 (n,)."""
        return np.union1d(np.flatnonzero(self._uses.any(axis=0)), self._towards)

    def index(self, joint: str) -> int:
        """
        Find a source joint by its name.

        :raises SkeletonError: if there is no such joint.
        """
        return self._column(joint, 'index')

    def _column(self, joint: str, wanted_by: str) -> int:
        try:
            return self.joints.index(joint)
        except ValueError:
            raise SkeletonError(
                f'{self.name}: {wanted_by} names {brief(repr(joint))}, which is not among its '
                f'joints{_suggest(str(joint)[:MAX_NAME], self.joints)}'
            ) from None

    def to_model(
        self, xyz: np.ndarray, seen: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Turn a publisher's joints into the model's.

        What is made of joints that were not seen is missing; missing results are zeros.

        :param xyz: metres, shape ``(..., J_src, 3)``, any origin and axes.
        :param seen: which joints are really shown, all of them finite, bool ``(..., J_src)``;
            by default those of :func:`joints_there`.
        :returns: float64 ``(..., J, 3)`` in metres and bool ``(..., J)``, J of the target.
        :raises ShapeError: if the number of joints is not this layout's.
        """
        xyz = np.asarray(xyz, dtype=np.float64)
        if xyz.ndim < 2 or xyz.shape[-2:] != (self.num_joints, 3):
            raise ShapeError(
                f'xyz: expected (..., {self.num_joints}, 3) for layout {self.name}, '
                f'got {xyz.shape}'
            )
        if seen is None:
            seen = joints_there(xyz, self.target)
        else:
            seen = np.asarray(seen, dtype=bool)
            if seen.shape != xyz.shape[:-1]:
                raise ShapeError(f'seen: expected {xyz.shape[:-1]}, got {seen.shape}')
        if seen.all():
            points = np.ascontiguousarray(xyz)
            known = np.broadcast_to(self._made, (*xyz.shape[:-2], len(self._made))).copy()
        else:
            points = np.where(seen[..., None], xyz, 0.0)
            known = self._made & ~(~seen[..., None, :] & self._uses).any(axis=-1)
        joints = self._weights @ points  # (..., 17, 3)
        for row, first, second in self._pairs:
            apart = _length(points[..., first, :] - points[..., second, :])[..., 0]
            known[..., row] &= apart <= MAX_PAIR_M
        self._derive(joints, known, points, seen)
        joints[~known] = 0.0
        return joints, known

    def _derive(
        self, joints: np.ndarray, known: np.ndarray, points: np.ndarray, seen: np.ndarray
    ) -> None:
        # Fills in Thorax' rise, Spine, Nose and Head, in place.
        if not self._is_person:
            return
        if self.thorax_rise_m:
            up, clear = _unit(joints[..., _THORAX, :] - joints[..., _HIP, :])
            joints[..., _THORAX, :] += self.thorax_rise_m * up
            known[..., _THORAX] &= known[..., _HIP] & clear
        if 'Spine' not in self._mapped:
            hip, thorax = joints[..., _HIP, :], joints[..., _THORAX, :]
            joints[..., _SPINE, :] = hip + SPINE_FRACTION * (thorax - hip)
            known[..., _SPINE] = known[..., _HIP] & known[..., _THORAX]
        needs_frame = self.nose_ahead_m or not {'Nose', 'Head'} <= self._mapped
        if not needs_frame:
            return
        axes, scale, framed = torso_frame(joints, known)
        ahead, up = axes[..., 0], axes[..., 2]
        if self.head_towards:
            target = points[..., self._towards, :].mean(axis=-2)
            neck, clear = _unit(target - joints[..., _THORAX, :])
            away = _length(target - joints[..., _THORAX, :])[..., 0]
            clear &= seen[..., self._towards].all(axis=-1) & (away <= MAX_HEAD_M)
        else:
            neck, clear = up, framed
        if 'Nose' not in self._mapped:
            offset = NOSE_UP_M * neck + NOSE_AHEAD_M * ahead
            joints[..., _NOSE, :] = joints[..., _THORAX, :] + scale[..., None] * offset
            known[..., _NOSE] = framed & clear
        elif self.nose_ahead_m:
            joints[..., _NOSE, :] += scale[..., None] * self.nose_ahead_m * ahead
            known[..., _NOSE] &= framed
        if 'Head' not in self._mapped:
            top = joints[..., _THORAX, :] + scale[..., None] * HEAD_TOP_M * neck
            joints[..., _HEAD, :] = top
            known[..., _HEAD] = known[..., _HIP] & known[..., _THORAX] & clear


_HIP, _SPINE, _THORAX, _NOSE, _HEAD = (
    H36M17.index(joint) for joint in ('Hip', 'Spine', 'Thorax', 'Nose', 'Head')
)
_RIGHT_HIP, _LEFT_HIP = (H36M17.index(joint) for joint in ('RHip', 'LHip'))


FLOAT32_MOST = float(np.finfo(np.float32).max)
"""Recordings and the outputs are float32: a coordinate beyond this is no place."""


def joints_there(xyz: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Tell which joints are really shown: no NaN, nothing that float32 cannot hold, no void.

    :param xyz: as they came, ``(..., J, 3)``, of whatever layout.
    :param skeleton: the model's; the base of an arm may lie at its own frame's origin.
    :returns: bool ``(..., J)``.
    """
    held: np.ndarray = (np.abs(xyz) <= FLOAT32_MOST).all(axis=-1)  # not NaN either
    return held & xyz.any(axis=-1) if skeleton.zero_is_missing else held


def torso_frame(
    joints: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Find the axes of the torso: x ahead, y left, z up the spine.

    Ahead is the cross product of (right hip to left hip) and (Hip to Thorax): for a person who
    faces +x with +y to the left and +z up that is y cross z, +x.

    :param joints: of the model, metres, shape ``(..., 17, 3)``.
    :param known: which of them may be used, bool ``(..., 17)``.
    :returns: axes as the columns of ``(..., 3, 3)``; body scale ``(...)``, the torso's length
        over 0.478 m, kept in 0.5..1.5; bool ``(...)``, whether there is such a frame.
    """
    spine = joints[..., _THORAX, :] - joints[..., _HIP, :]
    up, tall = _unit(spine)
    ahead, wide = _unit(_cross(joints[..., _LEFT_HIP, :] - joints[..., _RIGHT_HIP, :], up))
    axes = np.stack((ahead, _cross(up, ahead), up), axis=-1)
    scale = np.clip(_length(spine)[..., 0] / TORSO_M, 0.5, 1.5)
    needed = known[..., (_HIP, _THORAX, _RIGHT_HIP, _LEFT_HIP)].all(axis=-1)
    return axes, scale, needed & tall & wide


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # As np.cross, to the bit, at a quarter of its cost for one pair of vectors.
    ax, ay, az = first[..., 0], first[..., 1], first[..., 2]
    bx, by, bz = second[..., 0], second[..., 1], second[..., 2]
    return np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), axis=-1)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = _length(vectors)
    return vectors / np.maximum(length, MIN_LENGTH_M), length[..., 0] > MIN_LENGTH_M


def _middle(first: str, second: str) -> dict[str, float]:
    return {first: 0.5, second: 0.5}


def _limbs(left: Iterable[str], right: Iterable[str]) -> dict[str, Source]:
    # Joints of each side in the order hip, knee, ankle, shoulder, elbow, wrist.
    limbs = ('Hip', 'Knee', 'Ankle', 'Shoulder', 'Elbow', 'Wrist')
    mapping: dict[str, Source] = {}
    for side, names in (('L', left), ('R', right)):
        mapping.update({side + limb: name for limb, name in zip(limbs, names)})
    return mapping


_SUFFIXED = ('hip', 'knee', 'ankle', 'shoulder', 'elbow', 'wrist')
_LEFT_RIGHT = _limbs((f'{j}_l' for j in _SUFFIXED), (f'{j}_r' for j in _SUFFIXED))

_K4A_32 = (
    'pelvis', 'spine_navel', 'spine_chest', 'neck',
    'clavicle_l', 'shoulder_l', 'elbow_l', 'wrist_l', 'hand_l', 'handtip_l', 'thumb_l',
    'clavicle_r', 'shoulder_r', 'elbow_r', 'wrist_r', 'hand_r', 'handtip_r', 'thumb_r',
    'hip_l', 'knee_l', 'ankle_l', 'foot_l', 'hip_r', 'knee_r', 'ankle_r', 'foot_r',
    'head', 'nose', 'eye_l', 'ear_l', 'eye_r', 'ear_r',
)  # fmt: skip
_K4A_MAPPING: dict[str, Source] = {
    **_LEFT_RIGHT, 'Spine': 'spine_navel', 'Thorax': 'neck', 'Nose': 'nose',
}  # fmt: skip
_COCO_18 = (
    'nose', 'neck', 'shoulder_r', 'elbow_r', 'wrist_r', 'shoulder_l', 'elbow_l', 'wrist_l',
    'hip_r', 'knee_r', 'ankle_r', 'hip_l', 'knee_l', 'ankle_l', 'eye_r', 'eye_l', 'ear_r', 'ear_l',
)  # fmt: skip
_EARS = ('ear_l', 'ear_r')
_FACE_ONLY: dict[str, Source] = {
    **_LEFT_RIGHT, 'Thorax': _middle('shoulder_l', 'shoulder_r'), 'Nose': 'nose',
}  # fmt: skip
_SHOULDER_LINE_TO_NECK_M = 0.075

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout('h36m17', H36M17.joints, {joint: joint for joint in H36M17.joints}),
        Layout('k4a32', _K4A_32, _K4A_MAPPING, head_towards=_EARS),
        Layout('zed18', _COCO_18, {**_LEFT_RIGHT, 'Thorax': 'neck', 'Nose': 'nose'},
               head_towards=_EARS),
        Layout('zed34', (*_K4A_32, 'heel_l', 'heel_r'), _K4A_MAPPING, head_towards=_EARS),
        Layout(
            'zed38',
            (
                'pelvis', 'spine_1', 'spine_2', 'spine_3', 'neck', 'nose',
                'eye_l', 'eye_r', 'ear_l', 'ear_r', 'clavicle_l', 'clavicle_r',
                'shoulder_l', 'shoulder_r', 'elbow_l', 'elbow_r', 'wrist_l', 'wrist_r',
                'hip_l', 'hip_r', 'knee_l', 'knee_r', 'ankle_l', 'ankle_r',
                'big_toe_l', 'big_toe_r', 'small_toe_l', 'small_toe_r', 'heel_l', 'heel_r',
                'thumb_l', 'thumb_r', 'index_l', 'index_r', 'middle_l', 'middle_r',
                'pinky_l', 'pinky_r',
            ),
            {**_LEFT_RIGHT, 'Spine': 'spine_2', 'Thorax': 'neck', 'Nose': 'nose'},
            head_towards=_EARS,
        ),
        Layout(
            'coco17',
            (
                'nose', 'eye_l', 'eye_r', 'ear_l', 'ear_r', 'shoulder_l', 'shoulder_r',
                'elbow_l', 'elbow_r', 'wrist_l', 'wrist_r', 'hip_l', 'hip_r',
                'knee_l', 'knee_r', 'ankle_l', 'ankle_r',
            ),
            _FACE_ONLY,
            thorax_rise_m=_SHOULDER_LINE_TO_NECK_M,
            head_towards=_EARS,
        ),
        Layout('coco18', _COCO_18, {**_LEFT_RIGHT, 'Thorax': 'neck', 'Nose': 'nose'},
               head_towards=_EARS),
        Layout(
            'body25',
            (
                *_COCO_18[:8], 'mid_hip', *_COCO_18[8:],
                'big_toe_l', 'small_toe_l', 'heel_l', 'big_toe_r', 'small_toe_r', 'heel_r',
            ),
            {**_LEFT_RIGHT, 'Thorax': 'neck', 'Nose': 'nose'},
            head_towards=_EARS,
        ),
        Layout(
            'mediapipe33',
            (
                'nose', 'eye_inner_l', 'eye_l', 'eye_outer_l', 'eye_inner_r', 'eye_r',
                'eye_outer_r', 'ear_l', 'ear_r', 'mouth_l', 'mouth_r',
                'shoulder_l', 'shoulder_r', 'elbow_l', 'elbow_r', 'wrist_l', 'wrist_r',
                'pinky_l', 'pinky_r', 'index_l', 'index_r', 'thumb_l', 'thumb_r',
                'hip_l', 'hip_r', 'knee_l', 'knee_r', 'ankle_l', 'ankle_r',
                'heel_l', 'heel_r', 'foot_l', 'foot_r',
            ),
            _FACE_ONLY,
            thorax_rise_m=_SHOULDER_LINE_TO_NECK_M,
            head_towards=_EARS,
        ),
        Layout(
            'smpl22',
            (
                'pelvis', 'hip_l', 'hip_r', 'spine1', 'knee_l', 'knee_r', 'spine2',
                'ankle_l', 'ankle_r', 'spine3', 'foot_l', 'foot_r', 'neck', 'collar_l', 'collar_r',
                'head', 'shoulder_l', 'shoulder_r', 'elbow_l', 'elbow_r', 'wrist_l', 'wrist_r',
            ),
            {**_LEFT_RIGHT, 'Spine': 'spine2', 'Thorax': 'neck', 'Nose': 'head'},
            nose_ahead_m=SKULL_TO_NOSE_M,
            head_towards=('head',),
        ),
        Layout(
            'nuitrack',
            (
                'none', 'head', 'neck', 'torso', 'waist',
                'collar_l', 'shoulder_l', 'elbow_l', 'wrist_l', 'hand_l', 'fingertip_l',
                'collar_r', 'shoulder_r', 'elbow_r', 'wrist_r', 'hand_r', 'fingertip_r',
                'hip_l', 'knee_l', 'ankle_l', 'foot_l', 'hip_r', 'knee_r', 'ankle_r', 'foot_r',
            ),
            {
                **_LEFT_RIGHT, 'Spine': 'torso', 'Thorax': _middle('collar_l', 'collar_r'),
                'Nose': {'neck': 0.4, 'head': 0.6},
            },
            units='mm',
            head_towards=('head',),
        ),
        Layout(
            'openptrack15',
            ('head', 'neck', *_COCO_18[2:14], 'chest'),
            {**_LEFT_RIGHT, 'Thorax': 'neck', 'Nose': {'neck': 0.4, 'head': 0.6}},
            head_towards=('head',),
        ),
        Layout(
            'xsens23',
            (
                'pelvis', 'l5', 'l3', 't12', 't8', 'neck', 'head',
                'right_shoulder', 'right_upper_arm', 'right_forearm', 'right_hand',
                'left_shoulder', 'left_upper_arm', 'left_forearm', 'left_hand',
                'right_upper_leg', 'right_lower_leg', 'right_foot', 'right_toe',
                'left_upper_leg', 'left_lower_leg', 'left_foot', 'left_toe',
            ),
            {
                **_limbs(
                    *(
                        [
                            f'{side}_{segment}'
                            for segment in (
                                'upper_leg', 'lower_leg', 'foot', 'upper_arm', 'forearm', 'hand',
                            )
                        ]
                        for side in ('left', 'right')
                    )
                ),
                'Spine': 'l3', 'Thorax': 'neck', 'Nose': 'head',
            },
            head_towards=('head',),
        ),
        Layout(
            'hri',
            (
                'body', 'waist', 'torso', 'p_head', 'head',
                'l_shoulder', 'l_elbow', 'l_wrist', 'l_hip', 'l_knee', 'l_ankle',
                'r_shoulder', 'r_elbow', 'r_wrist', 'r_hip', 'r_knee', 'r_ankle',
            ),
            {
                **_limbs((f'l_{j}' for j in _SUFFIXED), (f'r_{j}' for j in _SUFFIXED)),
                'Thorax': 'torso', 'Nose': 'head',
            },
            thorax_rise_m=_SHOULDER_LINE_TO_NECK_M,
            head_towards=('p_head',),
        ),
    )
}  # fmt: skip
"""Every layout known by name."""


def layout(name_or_path: str | Path, target: Skeleton = H36M17) -> Layout:
    """
    Find a layout by its name, or read a mapping file.

    :param name_or_path: one of :data:`LAYOUTS`, :data:`IDENTITY` or the target's own name, or a
        file ending in .json, .yaml or .yml; see :func:`read_layout`.
    :param target: joints that the model has.
    :raises SkeletonError: if there is neither, naming the closest layout, or if the layout is of
        people and the model is not.
    """
    text = str(name_or_path)
    if text in (IDENTITY, target.name) and text not in LAYOUTS:
        return Layout(text, target.joints, {j: j for j in target.joints}, target=target)
    if text in LAYOUTS:
        if target.joints != H36M17.joints:
            raise SkeletonError(
                f'skeleton layout {text!r} is one of people; the model has the joints of '
                f'{target.name}: give {IDENTITY!r} where they come in its order '
                f'({", ".join(target.joints)}), or a mapping file (.json, .yaml)'
            )
        return LAYOUTS[text]
    if Path(text).suffix.lower() in ('.json', '.yaml', '.yml'):
        return read_layout(text, target)
    raise SkeletonError(
        f'skeleton layout {text!r} is not known{_suggest(text, LAYOUTS)}; there are '
        f'{", ".join(LAYOUTS)}, or give a mapping file (.json, .yaml)'
    )


MAX_FILE_BYTES = 256 * 1024
MAX_YAML_DEPTH = 16
MAX_NAME = 128
_FILE_KEYS = (
    'name', 'joints', 'mapping', 'units', 'thorax_rise_m', 'nose_ahead_m', 'head_towards',
)  # fmt: skip


def read_layout(path: str | Path, target: Skeleton = H36M17) -> Layout:
    """
    Read the mapping file of a custom skeleton.

    JSON, or YAML where PyYAML is installed, with these keys:

    - ``joints`` (needed): list of the publisher's joint names, in the order it sends them;
    - ``mapping`` (needed): for each joint of the model either a name from ``joints`` or
      ``{name: weight, ...}`` with weights that sum to 1; of a person Hip, Spine, Nose and Head
      may be left out and are then derived;
    - ``head_towards``: list of joints whose mean shows where the head is (both ears, or the
      skull), used when Head is left out;
    - ``thorax_rise_m``, ``nose_ahead_m``: as in :class:`Layout`; ``name``, ``units``: text.

    :param path: the file.
    :param target: joints that the model has.
    :raises SkeletonError: if it cannot be read or does not describe a skeleton.
    """
    path = Path(path)
    raw = read_file(path, SkeletonError, MAX_FILE_BYTES)
    with refused(path, 'is no mapping file that can be used', SkeletonError):
        return _layout_of(path, _parse(path, raw.decode('utf-8-sig')), target)


def _layout_of(path: Path, content: Any, target: Skeleton) -> Layout:
    if not isinstance(content, dict):
        raise SkeletonError(f'mapping file {path}: expected named values at the top, see README')
    unknown = sorted(str(key) for key in content if key not in _FILE_KEYS)
    if unknown:
        raise SkeletonError(
            f'mapping file {path}: unknown key {brief(unknown[0])!r}'
            f'{_suggest(unknown[0][:100], _FILE_KEYS)}; '
            f'known are {", ".join(_FILE_KEYS)}'
        )
    for key in ('joints', 'mapping'):
        if key not in content:
            raise SkeletonError(f'mapping file {path}: lacks {key!r}')
    names = {key: content.get(key, []) for key in ('joints', 'head_towards')}
    for key, value in names.items():
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise SkeletonError(f'mapping file {path}: {key} must be a list of names')
    numbers = {key: content.get(key, 0.0) for key in ('thorax_rise_m', 'nose_ahead_m')}
    for key, value in numbers.items():
        if not _is_number(value):
            raise SkeletonError(
                f'mapping file {path}: {key}={brief(repr(value))}: must be a number'
            )
    name = str(content.get('name', path.stem))
    if max(map(len, (name, *names['joints']))) > MAX_NAME:
        raise SkeletonError(f'mapping file {path}: a name of more than {MAX_NAME} characters')
    return Layout(
        name=name,
        joints=tuple(names['joints']),
        mapping=_read_mapping(path, content['mapping']),
        units=str(content.get('units', 'm')),
        head_towards=tuple(names['head_towards']),
        target=target,
        **{key: float(value) for key, value in numbers.items()},
    )


def _parse(path: Path, text: str) -> Any:
    if path.suffix.lower() == '.json':
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SkeletonError(f'mapping file {path}: not valid JSON ({brief(error)})') from None
    try:
        import yaml
    except ImportError:
        raise SkeletonError(
            f'mapping file {path}: reading YAML needs PyYAML (python3-yaml); '
            f'install it or write the file as JSON'
        ) from None
    try:
        _check_yaml(path, yaml, text)
        return yaml.safe_load(text)
    except SkeletonError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SkeletonError(f'mapping file {path}: not valid YAML ({brief(error)})') from None


def _check_yaml(path: Path, yaml: Any, text: str) -> None:
    """Refuse what swells when it is read: aliases, and nesting, whose cost grows by its square."""
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise SkeletonError(f'mapping file {path}: aliases (*name) are not read')
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise SkeletonError(
                    f'mapping file {path}: nested more than {MAX_YAML_DEPTH} deep; a mapping '
                    f'needs 3'
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _read_mapping(path: Path, mapping: Any) -> dict[str, Source]:
    if not isinstance(mapping, dict):
        raise SkeletonError(f'mapping file {path}: mapping must hold named values')
    for joint, source in mapping.items():
        weighted = isinstance(source, dict) and all(
            isinstance(name, str) and _is_number(weight) for name, weight in source.items()
        )
        if not isinstance(joint, str) or not (isinstance(source, str) or weighted):
            raise SkeletonError(
                f'mapping file {path}: mapping of {brief(repr(joint))} is {brief(repr(source))}; '
                f'it must be a joint name or {{name: weight, ...}}'
            )
    return mapping


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.4)
    return f'; did you mean {close[0]!r}?' if close else ''
