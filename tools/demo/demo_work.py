# SPDX-License-Identifier: Apache-2.0
"""Synthetic repeated work at a bench: the demo plays it if no recording is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.walker import ADULT_LENGTHS_M

SOURCE = (
    'synthetic work of our own making (not motion capture): a made-up person takes parts from a '
    'bin, puts them together and lays them into a box, again and again, never twice alike'
)
PACE = 0.12
"""Relative standard deviation of the duration of each movement."""
REACH_M = 0.025
"""Standard deviation of the hands' targets along each axis, in metres."""
TURN_RAD = 0.04
PAUSE_EVERY = 6
"""One of about this number of rounds is followed by a pause."""
_LENGTHS = dict(zip((H36M17.joints[child] for child, _ in H36M17.bones), ADULT_LENGTHS_M))
_FLOOR_M = 0.08  # height of the ankles
_STANCE_M = 0.11  # from the middle to each foot


@dataclass(frozen=True)
class Posture:
    """Position of the hands and the trunk of a person at the bench; +x ahead, metres, radians."""

    right: tuple[float, float, float]
    left: tuple[float, float, float]
    turn: float
    lean: float
    drop: float
    move_s: float
    stay_s: float
    fiddle_m: float = 0.0
    """Distance in metres over which the hands move to and fro while they stay."""


ROUND = (
    Posture((0.42, -0.52, 0.92), (0.25, 0.24, 0.98), -0.55, 0.30, 0.02, 0.9, 0.2),  # a part
    Posture((0.42, -0.08, 1.05), (0.40, 0.12, 1.04), 0.0, 0.15, 0.0, 0.8, 1.3, 0.03),  # fit it
    Posture((0.40, -0.10, 1.04), (0.45, 0.50, 0.95), 0.45, 0.25, 0.02, 0.8, 0.2),  # screws
    Posture((0.41, -0.06, 1.08), (0.40, 0.10, 1.03), 0.0, 0.18, 0.0, 0.7, 1.6, 0.02),  # fasten
    Posture((0.38, 0.42, 0.68), (0.38, 0.62, 0.68), 0.75, 0.55, 0.10, 1.1, 0.3),  # into the box
    Posture((0.18, -0.28, 0.95), (0.18, 0.28, 0.95), 0.0, 0.05, 0.0, 1.0, 0.4),  # upright
)
PAUSE = Posture((0.05, -0.27, 0.80), (0.05, 0.27, 0.80), 0.0, 0.02, 0.0, 1.2, 4.0)


def synthetic_work(duration_s: float, rate_hz: float, seed: int = 0) -> Recording:
    """
    Return a synthetic person who repeats the same work; it is computed, not captured.

    No two rounds are the same: the duration of every movement, the targets of the hands and the
    turn of the trunk differ each time, and sometimes there is a pause. Bones keep their lengths.

    :param duration_s: duration in seconds.
    :param rate_hz: frames per second.
    :param seed: seed of all variation.
    """
    generator = np.random.default_rng(seed)
    time = np.arange(int(duration_s * rate_hz) + 1) / rate_hz
    states = _states(time, _plan(duration_s, generator))
    return Recording(
        name='synthetic work at a bench',
        layout=H36M17.name,
        rate_hz=rate_hz,
        persons={'0': _bodies(time, states, generator).astype(np.float32)},
        source=SOURCE,
    )


def _plan(duration_s: float, generator: np.random.Generator) -> list[Posture]:
    plan: list[Posture] = []
    passed_s = 0.0
    while passed_s < duration_s + 1.0:
        pause = [PAUSE] if generator.random() < 1.0 / PAUSE_EVERY else []
        for posture in (*ROUND, *pause):
            varied = _varied(posture, generator)
            plan.append(varied)
            passed_s += varied.move_s + varied.stay_s
    return plan


def _varied(posture: Posture, generator: np.random.Generator) -> Posture:
    def near(point: Sequence[float]) -> tuple[float, float, float]:
        x, y, z = np.asarray(point) + generator.normal(0.0, REACH_M, 3)
        return float(x), float(y), float(z)

    move, stay = np.exp(generator.normal(0.0, PACE, 2))
    return Posture(
        near(posture.right),
        near(posture.left),
        posture.turn + float(generator.normal(0.0, TURN_RAD)),
        posture.lean + float(generator.normal(0.0, TURN_RAD)),
        posture.drop,
        posture.move_s * float(move),
        posture.stay_s * float(stay),
        posture.fiddle_m,
    )


def _states(time: np.ndarray, plan: Sequence[Posture]) -> np.ndarray:
    """Return right hand, left hand, turn, lean and drop at each instant, (T, 9)."""
    values = np.array([[*p.right, *p.left, p.turn, p.lean, p.drop] for p in plan])
    begin = np.cumsum([0.0, *(p.move_s + p.stay_s for p in plan[:-1])])
    at = np.searchsorted(begin, time, side='right') - 1
    moves = np.array([p.move_s for p in plan])[at]
    since = time - begin[at]
    share = np.clip(since / moves, 0.0, 1.0)
    share = share**3 * (10.0 + share * (6.0 * share - 15.0))  # least jerk
    before = values[np.maximum(at - 1, 0)]
    states = before + share[:, None] * (values[at] - before)
    stays = np.maximum(np.array([p.stay_s for p in plan])[at], 1e-3)
    within = np.clip((since - moves) / stays, 0.0, 1.0)
    size = np.array([p.fiddle_m for p in plan])[at] * np.sin(np.pi * within) ** 2
    states[:, 1] += size * np.sin(2.0 * np.pi * 1.1 * time)
    states[:, 2] += size * np.cos(2.0 * np.pi * 1.1 * time)
    states[:, 4] -= 0.5 * size * np.sin(2.0 * np.pi * 1.1 * time)
    return states


def _bodies(time: np.ndarray, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    phases = generator.uniform(0.0, 2.0 * np.pi, 2)
    sway = 0.006 * np.sin(2.0 * np.pi * time[:, None] / np.array([3.7, 5.3]) + phases)
    turn, lean, drop = states[:, 6], states[:, 7], states[:, 8]
    poses = np.zeros((len(time), H36M17.num_joints, 3))
    at = {name: poses[:, index] for index, name in enumerate(H36M17.joints)}
    hip = poses[:, 0]
    hip[:, :2] = sway
    hip[:, 0] -= 0.18 * np.sin(lean)  # leaning forward moves the hips back
    hip[:, 2] = _FLOOR_M + 0.98 * (_LENGTHS['RKnee'] + _LENGTHS['RAnkle']) - drop

    def along(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """Return a direction that points up if pitch is 0, and otherwise towards yaw."""
        return np.stack(
            [np.sin(pitch) * np.cos(yaw), np.sin(pitch) * np.sin(yaw), np.cos(pitch)], axis=-1
        )

    at['Spine'][:] = hip + _LENGTHS['Spine'] * along(0.6 * turn, 0.6 * lean)
    at['Thorax'][:] = at['Spine'] + _LENGTHS['Thorax'] * along(turn, lean)
    at['Nose'][:] = at['Thorax'] + _LENGTHS['Nose'] * along(1.2 * turn, lean + 0.5)
    at['Head'][:] = at['Nose'] + _LENGTHS['Head'] * along(1.2 * turn, lean - 0.2)
    for side, sign, hand in (('R', -1.0, states[:, :3]), ('L', 1.0, states[:, 3:6])):
        sideways = sign * np.stack([-np.sin(turn), np.cos(turn), 0.0 * turn], axis=-1)
        across = (sideways - [0.0, 0.0, 0.2]) / np.hypot(1.0, 0.2)
        shoulder = at['Thorax'] + _LENGTHS[f'{side}Shoulder'] * across
        at[f'{side}Shoulder'][:] = shoulder
        outward = 0.6 * across - [0.0, 0.0, 1.0]
        lengths = _LENGTHS[f'{side}Elbow'], _LENGTHS[f'{side}Wrist']
        at[f'{side}Elbow'][:], at[f'{side}Wrist'][:] = _bent(shoulder, hand, lengths, outward)
        level = sign * np.stack([-np.sin(0.3 * turn), np.cos(0.3 * turn), 0.0 * turn], axis=-1)
        at[f'{side}Hip'][:] = hip + _LENGTHS[f'{side}Hip'] * level
        foot = np.array([0.0, sign * _STANCE_M, _FLOOR_M]) + np.zeros_like(hip)
        lengths = _LENGTHS[f'{side}Knee'], _LENGTHS[f'{side}Ankle']
        ahead = np.array([1.0, 0.0, 0.0]) + np.zeros_like(hip)
        knee, ankle = _bent(at[f'{side}Hip'], foot, lengths, ahead)
        at[f'{side}Knee'][:], at[f'{side}Ankle'][:] = knee, ankle
    return poses


def _bent(
    start: np.ndarray, end: np.ndarray, lengths: tuple[float, float], towards: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the end of a limb of two bones that bends in a given direction."""
    first, second = lengths
    way = end - start
    far = np.linalg.norm(way, axis=-1, keepdims=True)
    reach = np.clip(far, abs(first - second) + 0.02, 0.995 * (first + second))
    unit = way / far
    along = (first**2 - second**2 + reach**2) / (2.0 * reach)
    aside = towards - (towards * unit).sum(axis=-1, keepdims=True) * unit
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    middle = start + along * unit + np.sqrt(np.maximum(first**2 - along**2, 0.0)) * aside
    return middle, start + reach * unit
