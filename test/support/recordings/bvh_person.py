# SPDX-License-Identifier: Apache-2.0
"""A synthetic walking person, written as exporters of BVH files write people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

# name, parent, offset in metres: y up, facing z, the left at +x
BONES = (
    ('Hips', '', (0.0, 0.0, 0.0)),
    ('LeftUpLeg', 'Hips', (0.09, -0.05, 0.0)),
    ('LeftLeg', 'LeftUpLeg', (0.0, -0.42, 0.0)),
    ('LeftFoot', 'LeftLeg', (0.0, -0.41, 0.0)),
    ('RightUpLeg', 'Hips', (-0.09, -0.05, 0.0)),
    ('RightLeg', 'RightUpLeg', (0.0, -0.42, 0.0)),
    ('RightFoot', 'RightLeg', (0.0, -0.41, 0.0)),
    ('Spine', 'Hips', (0.0, 0.24, 0.0)),
    ('Neck', 'Spine', (0.0, 0.25, 0.0)),
    ('Head', 'Neck', (0.0, 0.12, 0.02)),
    ('LeftShoulder', 'Spine', (0.04, 0.18, 0.0)),
    ('LeftArm', 'LeftShoulder', (0.13, 0.0, 0.0)),
    ('LeftForeArm', 'LeftArm', (0.0, -0.28, 0.0)),
    ('LeftHand', 'LeftForeArm', (0.0, -0.25, 0.0)),
    ('RightShoulder', 'Spine', (-0.04, 0.18, 0.0)),
    ('RightArm', 'RightShoulder', (-0.13, 0.0, 0.0)),
    ('RightForeArm', 'RightArm', (0.0, -0.28, 0.0)),
    ('RightHand', 'RightForeArm', (0.0, -0.25, 0.0)),
)
NAMES = tuple(name for name, _, _ in BONES)
PARENTS = tuple(NAMES.index(parent) if parent else -1 for _, parent, _ in BONES)
HEAD_TOP = (0.0, 0.11, 0.0)
JOINTS = {
    'Hip': None, 'RHip': 'RightUpLeg', 'RKnee': 'RightLeg', 'RAnkle': 'RightFoot',
    'LHip': 'LeftUpLeg', 'LKnee': 'LeftLeg', 'LAnkle': 'LeftFoot', 'Spine': 'Spine',
    'Thorax': 'Neck', 'Nose': 'Head', 'Head': None, 'LShoulder': 'LeftArm',
    'LElbow': 'LeftForeArm', 'LWrist': 'LeftHand', 'RShoulder': 'RightArm',
    'RElbow': 'RightForeArm', 'RWrist': 'RightHand',
}  # fmt: skip
MAPPING = {
    'joints': [name for name in NAMES if name not in ('Hips', 'Spine')],
    'mapping': {
        'RHip': 'RightUpLeg', 'RKnee': 'RightLeg', 'RAnkle': 'RightFoot', 'LHip': 'LeftUpLeg',
        'LKnee': 'LeftLeg', 'LAnkle': 'LeftFoot', 'Thorax': 'Neck', 'Nose': 'Head',
        'LShoulder': 'LeftArm', 'LElbow': 'LeftForeArm', 'LWrist': 'LeftHand',
        'RShoulder': 'RightArm', 'RElbow': 'RightForeArm', 'RWrist': {'RightHand': 1.0},
    },
}  # fmt: skip
"""Joints of a walking person for those of h36m17, as a mapping file has them."""


@dataclass(frozen=True)
class Person:
    """Offsets of bones and rotations of joints over time, metres, y up."""

    offsets: NDArray  # (N, 3)
    root: NDArray  # (T, 3)
    turns: NDArray  # (T, N, 3, 3)
    rate_hz: float = 30.0
    head_top: tuple[float, ...] = HEAD_TOP

    def places(self) -> tuple[NDArray, NDArray]:
        """Return joints ``(T, N, 3)`` and the top of the head ``(T, 3)``, by plain kinematics."""
        places = np.zeros((*self.turns.shape[:2], 3))
        whole = np.zeros_like(self.turns)
        for joint, parent in enumerate(PARENTS):
            if parent < 0:
                places[:, joint], whole[:, joint] = self.root, self.turns[:, joint]
                continue
            places[:, joint] = places[:, parent] + whole[:, parent] @ self.offsets[joint]
            whole[:, joint] = whole[:, parent] @ self.turns[:, joint]
        head = NAMES.index('Head')
        return places, places[:, head] + whole[:, head] @ np.array(self.head_top)

    def truth(self) -> NDArray:
        """Return the 17 joints, z up, ``(T, 17, 3)``."""
        places, top = self.places()
        joints = {name: places[:, NAMES.index(own)] for name, own in JOINTS.items() if own}
        joints['Hip'] = (joints['RHip'] + joints['LHip']) / 2
        joints['Head'] = top
        return np.stack([joints[name] for name in JOINTS], axis=1)[..., [2, 0, 1]]

    def scaled(self, scale: float) -> Person:
        """Return the same person in another size."""
        top = tuple(scale * value for value in self.head_top)
        return replace(self, offsets=scale * self.offsets, root=scale * self.root, head_top=top)

    def turned(self, turn: NDArray) -> Person:
        """Return the same motion in other axes; the rest pose stays."""
        turns = self.turns.copy()
        turns[:, 0] = turn @ turns[:, 0]
        return replace(self, root=self.root @ turn.T, turns=turns)

    def at(self, rows: slice | Sequence[int]) -> Person:
        """Return some of the frames."""
        return replace(self, root=self.root[rows], turns=self.turns[rows])


def walking(frames: int = 12, rate_hz: float = 30.0) -> Person:
    """Return a person who walks at 1.2 m/s towards +z with swinging arms."""
    time = np.arange(frames) / rate_hz
    phase = 2 * np.pi * 0.9 * time
    turns = np.tile(np.eye(3), (frames, len(NAMES), 1, 1))

    def bend(joint: str, angles: NDArray) -> None:
        turns[:, NAMES.index(joint)] = Rotation.from_euler('x', angles[:, None]).as_matrix()

    for side, sign in (('Left', 1.0), ('Right', -1.0)):
        bend(f'{side}UpLeg', -0.45 * sign * np.sin(phase))
        bend(f'{side}Leg', 0.3 + 0.3 * sign * np.cos(phase))
        bend(f'{side}Arm', 0.4 * sign * np.sin(phase))
        bend(f'{side}ForeArm', np.full(frames, -0.3))
    root = np.stack([0 * time, 0.9 + 0.02 * np.cos(2 * phase), 1.2 * time], axis=-1)
    return Person(np.array([offset for _, _, offset in BONES]), root, turns, rate_hz)


def along_x(person: Person) -> Person:
    """Return the same motion of a body whose bones lie along their own +x at rest (LaFAN1)."""
    main = {parent: name for name, parent, _ in reversed(BONES) if parent}
    main |= {'Hips': 'Spine', 'Spine': 'Neck'}
    frames = [np.eye(3)] * len(NAMES)
    for joint, name in enumerate(NAMES):
        if name not in main:
            frames[joint] = frames[PARENTS[joint]]
            continue
        bone = person.offsets[NAMES.index(main[name])]
        x = bone / np.linalg.norm(bone)
        aside = np.array([0.0, 0.0, 1.0]) if abs(x[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        y = np.cross(aside, x) / np.linalg.norm(np.cross(aside, x))
        frames[joint] = np.stack([x, y, np.cross(x, y)], axis=1)
    offsets, turns = person.offsets.copy(), person.turns.copy()
    for joint, parent in enumerate(PARENTS):
        before = np.eye(3) if parent < 0 else frames[parent].T
        offsets[joint] = before @ offsets[joint]
        turns[:, joint] = before @ turns[:, joint] @ frames[joint]
    top = frames[NAMES.index('Head')].T @ np.array(person.head_top)
    return replace(person, offsets=offsets, turns=turns, head_top=tuple(top))


def bvh_text(
    person: Person,
    unit: float = 100.0,
    *,
    names: Sequence[str] = NAMES,
    positions: Callable[[int], NDArray] | None = None,
    root_axes: str = 'XYZ',
    root_offset: Sequence[float] = (0.0, 0.0, 0.0),
    declared: int | None = None,
) -> str:
    """
    Return the text of a BVH file.

    :param unit: units per metre.
    :param names: names instead of :data:`NAMES`.
    :param positions: values of the position channels of each joint below the root, metres; None
        writes no such channels.
    :param root_axes: axes for which the root has a position channel.
    :param root_offset: OFFSET of the root, metres.
    :param declared: number of frames that the file states.
    """
    lines = ['HIERARCHY']
    order: list[int] = []

    def write(joint: int, depth: int) -> None:
        indent = '\t' * depth
        offset = unit * (person.offsets[joint] if joint else np.array(root_offset))
        axes = root_axes if joint == 0 else 'XYZ' if positions else ''
        channels = [f'{axis}position' for axis in axes]
        channels += ['Zrotation', 'Yrotation', 'Xrotation']
        lines.append(f'{indent}{"JOINT" if joint else "ROOT"} {names[joint]}')
        lines.append(indent + '{')
        lines.append(f'{indent}\tOFFSET ' + ' '.join(f'{value:.6f}' for value in offset))
        lines.append(f'{indent}\tCHANNELS {len(channels)} ' + ' '.join(channels))
        order.append(joint)
        children = [child for child, parent in enumerate(PARENTS) if parent == joint]
        for child in children:
            write(child, depth + 1)
        if not children:
            end = unit * np.array(person.head_top if NAMES[joint] == 'Head' else (0, 0, 0))
            words = ' '.join(f'{value:.6f}' for value in end)
            lines.extend([f'{indent}\tEnd Site', indent + '\t{', f'{indent}\t\tOFFSET {words}'])
            lines.append(indent + '\t}')
        lines.append(indent + '}')

    write(0, 0)
    angles = Rotation.from_matrix(person.turns.reshape(-1, 3, 3)).as_euler('ZYX', degrees=True)
    angles = angles.reshape(*person.turns.shape[:2], 3)
    lines += ['MOTION', f'Frames: {declared or len(person.root)}']
    lines.append(f'Frame Time: {1 / person.rate_hz:.6f}')
    for frame, root in enumerate(person.root):
        row: list[float] = []
        for joint in order:
            if joint == 0:
                row += [unit * root['XYZ'.index(axis)] for axis in root_axes]
            elif positions:
                row += list(unit * positions(joint))
            row += list(angles[frame, joint])
        lines.append(' '.join(f'{value:.6f}' for value in row))
    return '\n'.join(lines) + '\n'
