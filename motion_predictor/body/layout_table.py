# SPDX-License-Identifier: Apache-2.0
"""The layouts of known trackers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from motion_predictor.body.layout import Layout, SKULL_TO_NOSE_M, Source
from motion_predictor.body.skeleton import H36M17


def _middle(first: str, second: str) -> dict[str, float]:
    return {first: 0.5, second: 0.5}


def _limbs(left: Iterable[str], right: Iterable[str]) -> dict[str, Source]:
    # Joints of each side, in the order hip, knee, ankle, shoulder, elbow, wrist.
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
"""All known layouts, by name."""
