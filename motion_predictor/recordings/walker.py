# SPDX-License-Identifier: Apache-2.0
"""A synthetic walker; it is computed, not captured."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.scenes import side_by_side

ADULT_LENGTHS_M = np.array(
    [0.10, 0.43, 0.42, 0.10, 0.43, 0.42]  # legs
    + [0.23, 0.23, 0.17, 0.11]  # trunk
    + [0.19, 0.29, 0.25, 0.19, 0.29, 0.25]  # arms
)
"""Lengths in metres of ``H36M17.bones``, not those of a particular person."""


def walk(duration_s: float, rate_hz: float, generator: np.random.Generator) -> np.ndarray:
    """Return the motion of one synthetic walker, ``(T, 17, 3)`` metres, z up."""
    time = np.arange(max(round(duration_s * rate_hz), 2)) / rate_hz

    def wander(slowest_s: float) -> np.ndarray:
        """Return a smooth curve within -1..1."""
        periods = slowest_s * np.array([1.0, 0.61, 0.37])
        phases = generator.uniform(0, 2 * np.pi, 3)
        return np.sin(2 * np.pi * time[:, None] / periods + phases) @ np.array([0.5, 0.3, 0.2])

    vigour = 0.75 + 0.25 * wander(11.0)  # 0.5..1
    cadence_hz = 0.65 + 0.3 * vigour  # strides of two steps each
    phase = 2 * np.pi * np.cumsum(cadence_hz) / rate_hz + generator.uniform(0, 2 * np.pi)
    heading = generator.uniform(-np.pi, np.pi) + 1.6 * wander(17.0)
    raised = np.clip(3.0 * wander(9.0) - 1.2, 0.0, 1.0)  # the waving arm
    raised = raised * raised * (3 - 2 * raised)

    def along(pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
        """Return a downward bone swung forward by pitch and to the left by roll, facing +x."""
        cos = np.cos(roll)
        return np.stack([np.sin(pitch) * cos, np.sin(roll), -np.cos(pitch) * cos], axis=-1)

    still = np.zeros_like(time)
    lean = 0.05 * vigour
    trunk = -along(-lean, 0.03 * np.sin(phase))  # upward
    bones: dict[str, np.ndarray] = {}
    for side, sign, beat in (('R', -1.0, phase), ('L', 1.0, phase + np.pi)):
        sway = 0.12 * np.sin(beat)
        bones[f'{side}Hip'] = np.stack([sway, sign * np.cos(sway), still], axis=-1)
        thigh = 0.08 + 0.42 * vigour * np.sin(beat)
        knee = 0.12 + 0.95 * vigour * np.clip(np.cos(beat), 0.0, None) ** 2  # while it swings
        bones[f'{side}Knee'] = along(thigh, still)
        bones[f'{side}Ankle'] = along(thigh - knee, still)
        bones[f'{side}Shoulder'] = np.stack([-sway, sign * np.cos(sway), -0.3 + still], axis=-1)
        swing = -0.45 * vigour * np.sin(beat)
        up = raised if side == 'R' else 0.0 * raised
        wave = 0.5 * np.sin(2 * np.pi * 1.6 * time)
        bones[f'{side}Elbow'] = along((1 - up) * swing + up * 0.5, sign * (0.12 + up * 1.5))
        bones[f'{side}Wrist'] = along(
            (1 - up) * (swing + 0.35) + up * 0.4, sign * (0.08 + up * (2.6 + wave))
        )
    bones['Spine'] = bones['Thorax'] = trunk
    bones['Nose'] = trunk + np.array([0.35, 0.0, 0.0])
    bones['Head'] = trunk - np.array([0.12, 0.0, 0.0])

    poses = np.zeros((len(time), H36M17.num_joints, 3))
    cos, sin = np.cos(heading), np.sin(heading)
    for (child, parent), length in zip(H36M17.bones, ADULT_LENGTHS_M):
        bone = bones[H36M17.joints[child]]
        bone = bone / np.linalg.norm(bone, axis=-1, keepdims=True) * length
        x, y, z = bone.T
        poses[:, child] = poses[:, parent] + np.stack(
            [cos * x - sin * y, sin * x + cos * y, z], -1
        )
    return _on_its_feet(poses, np.cos(phase) < 0.0).astype(np.float32)


def _on_its_feet(poses: np.ndarray, right_stands: np.ndarray) -> np.ndarray:
    # Move poses about a fixed hip so that the standing foot stays in its place.
    ankles = poses[:, [H36M17.index('RAnkle'), H36M17.index('LAnkle')]]
    rows = np.arange(len(poses) - 1)
    stance = np.where(right_stands, 0, 1)[:-1]
    step = ankles[rows, stance, :2] - ankles[rows + 1, stance, :2]  # the standing foot stays
    root = np.zeros((len(poses), 3))
    root[1:, :2] = np.cumsum(step, axis=0)
    root[:, 2] = 0.08 - ankles[..., 2].min(axis=1)
    return poses + root[:, None]


def synthetic_walkers(
    people: int = 1, duration_s: float = 60.0, rate_hz: float = 50.0, seed: int = 0
) -> Recording:
    """
    Return synthetic people who walk, turn, slow down and sometimes wave; they are not captured.

    Bones keep their lengths, and the standing foot keeps its place.
    """
    walkers = [
        Recording(
            name='synthetic walker',
            layout=H36M17.name,
            rate_hz=rate_hz,
            persons={'0': walk(duration_s, rate_hz, np.random.default_rng([seed, index]))},
            source='synthetic walking of our own making (not motion capture)',
        )
        for index in range(people)
    ]
    return side_by_side(walkers)
