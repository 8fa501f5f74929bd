# SPDX-License-Identifier: Apache-2.0
"""Recordings of bodies that are not people: an arm and a quadruped."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import numpy as np

ARM: dict[str, Any] = {
    'name': 'arm6',
    'joints': ['base', 'shoulder', 'elbow', 'forearm', 'wrist', 'tool'],
    'root': 'base',
    'parents': {
        'shoulder': 'base', 'elbow': 'shoulder', 'forearm': 'elbow', 'wrist': 'forearm',
        'tool': 'wrist',
    },
    'zero_is_missing': False,
    'bones_m': {'shoulder': 0.3, 'elbow': 0.4, 'forearm': 0.2, 'wrist': 0.2, 'tool': 0.1},
}  # fmt: skip


LEGS = ('FL', 'FR', 'HL', 'HR')


QUADRUPED: dict[str, Any] = {
    'name': 'quadruped',
    'joints': [
        'pelvis', 'withers', 'head', *(f'{leg}_{j}' for leg in LEGS for j in ('knee', 'foot')),
    ],
    'parents': {
        'withers': 'pelvis', 'head': 'withers',
        **{f'{leg}_knee': 'withers' if leg[0] == 'F' else 'pelvis' for leg in LEGS},
        **{f'{leg}_foot': f'{leg}_knee' for leg in LEGS},
    },
    'mirror': [[f'{a}R_{j}', f'{a}L_{j}'] for a in 'FH' for j in ('knee', 'foot')],
    'heading': {'ahead': ['pelvis', 'withers']},
}  # fmt: skip


def move_arm(frames: int, rate_hz: float, seed: int) -> np.ndarray:
    """Return a serial arm on a fixed base that swings about every axis; (T, 6, 3) metres."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(frames) / rate_hz
    waves = generator.uniform(0.3, 1.2, 6)[:, None] * time_s + generator.uniform(0, 6, 6)[:, None]
    turn, *pitches = np.sin(2 * np.pi * 0.4 * waves)
    poses = np.zeros((frames, 6, 3))
    pitch = np.zeros(frames)
    for joint, length in enumerate(ARM['bones_m'].values(), start=1):
        if joint > 1:
            pitch = pitch + 0.7 * pitches[joint - 2]
        reach, up = length * np.sin(pitch), length * np.cos(pitch)
        bone = np.stack([reach * np.cos(turn), reach * np.sin(turn), up], axis=1)
        poses[:, joint] = poses[:, joint - 1] + bone
    return poses.astype(np.float32)


def move_quadruped(frames: int, rate_hz: float, seed: int) -> np.ndarray:
    """Return a quadruped that trots along a curve; (T, 11, 3) metres."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(frames) / rate_hz
    yaw = generator.uniform(-3, 3) + generator.uniform(-0.4, 0.4) * time_s
    speed = generator.uniform(0.4, 1.0)
    path = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0) * speed / rate_hz
    phase = 2 * np.pi * generator.uniform(1.0, 1.6) * time_s
    body = np.zeros((frames, 11, 3))
    body[:, 1, 0], body[:, 2, 0], body[:, 2, 2] = 0.5, 0.75, 0.15
    for number, leg in enumerate(LEGS):
        swing = np.sin(phase + (np.pi if leg in ('FR', 'HL') else 0.0))
        knee, foot = 3 + 2 * number, 4 + 2 * number
        ahead, side = (0.5 if leg[0] == 'F' else 0.0), (0.12 if leg[1] == 'L' else -0.12)
        body[:, knee] = np.stack([ahead + 0.08 * swing, side + 0 * swing, -0.22 + 0 * swing], 1)
        body[:, foot] = np.stack(
            [ahead + 0.16 * swing, side + 0 * swing, -0.45 + 0.04 * np.cos(phase)], axis=1
        )
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    world = np.stack(
        [
            cos * body[..., 0] - sin * body[..., 1] + path[:, :1],
            sin * body[..., 0] + cos * body[..., 1] + path[:, 1:],
            body[..., 2] + 0.5,
        ],
        axis=-1,
    )
    return world.astype(np.float32)


BODIES: dict[str, tuple[dict[str, Any], Callable[[int, float, int], np.ndarray]]] = {
    'arm': (ARM, move_arm),
    'quadruped': (QUADRUPED, move_quadruped),
}


def skeleton_file(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / 'skeleton.json'
    path.write_text(json.dumps(content))
    return path


def record(path: Path, move: Callable[[int, float, int], np.ndarray], clips: int = 5) -> Path:
    """Write clips at 25 Hz in the format of the cmu17 files, with the body's own joints."""
    motions = [move(90, 25.0, seed) for seed in range(clips)]
    names = np.array([f'clip_{number}' for number in range(clips)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        positions=np.rint(1000.0 * np.concatenate(motions)).astype(np.int16),
        offsets=90 * np.arange(clips + 1),
        names=names,
        subjects=np.array(['robot'] * clips),
        actions=np.array(['move'] * clips),
        fps=np.int16(25),
    )
    return path
