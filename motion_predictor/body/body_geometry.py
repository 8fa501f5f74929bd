"""Headings and bones of bodies in NumPy: what everything beside the networks shares; no torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from motion_predictor.body.skeleton import Skeleton

MIN_LINE_M = 0.02
"""A horizontal line between joints that is shorter than this gives no heading."""


def heading(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Find which way each body faces.

    As :class:`motion_predictor.model.person_frame.PersonFrame` does: hips and shoulders give the
    left, a skeleton without them its ``ahead`` line, else the line from the root to the
    shoulders' middle, else the input's own +x.

    :param poses: z up, metres, ``(..., J, 3)``.
    :returns: cosine and sine of the angle about z, ``(..., 2)``.
    """
    lines = []
    pairs = [pair for pair in (skeleton.hips, skeleton.shoulders) if pair is not None]
    if pairs:
        left = sum(poses[..., to, :2] - poses[..., start, :2] for start, to in pairs)
        assert isinstance(left, np.ndarray)
        lines.append(np.stack((left[..., 1], -left[..., 0]), axis=-1))
    if skeleton.ahead is not None:
        start, to = skeleton.ahead
        lines.append(poses[..., to, :2] - poses[..., start, :2])
    elif skeleton.shoulders is not None:
        right, left_shoulder = skeleton.shoulders
        middle = 0.5 * (poses[..., right, :2] + poses[..., left_shoulder, :2])
        lines.append(middle - poses[..., 0, :2])
    ahead = np.zeros((*poses.shape[:-2], 2), dtype=poses.dtype)
    ahead[..., 0] = 1.0
    for line in reversed(lines):
        long = np.sqrt((line * line).sum(axis=-1, keepdims=True))
        ahead = np.where(long > MIN_LINE_M, line / np.maximum(long, MIN_LINE_M), ahead)
    return ahead


def turn(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """
    Turn points about z.

    :param points: ``(..., 3)``.
    :param angle: cosine and sine, broadcastable to ``(..., 2)``.
    """
    shape = np.broadcast_shapes(points.shape[:-1], angle.shape[:-1])
    turned = np.empty((*shape, 3), dtype=points.dtype)
    cos, sin = angle[..., 0], angle[..., 1]
    turned[..., 0] = cos * points[..., 0] - sin * points[..., 1]
    turned[..., 1] = sin * points[..., 0] + cos * points[..., 1]
    turned[..., 2] = points[..., 2]
    return turned


def back(angle: np.ndarray) -> np.ndarray:
    """Return the angle that undoes :func:`turn`."""
    return angle * np.array([1.0, -1.0], dtype=angle.dtype)


def bone_lengths(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Measure the bones of a window: the median over its frames, which a slip does not move.

    :param poses: metres, ``(..., T, J, 3)``.
    :returns: metres, ``(..., J)``; 0 for the root.
    """
    child, parent = _bones(skeleton)
    found = np.zeros((*poses.shape[:-3], skeleton.num_joints), dtype=poses.dtype)
    apart = poses[..., child, :] - poses[..., parent, :]
    found[..., child] = median(lengths(apart), -2)
    return found


def lengths(vectors: np.ndarray) -> np.ndarray:
    """
    Return the lengths of vectors, ``(..., 3)``; several times faster than by NumPy's own sums.

    :returns: ``(...)``.
    """
    return np.sqrt(squares(vectors))


def squares(vectors: np.ndarray) -> np.ndarray:
    """Return the squares of the lengths of vectors, as :func:`lengths`."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    found = x * x
    found += y * y
    found += z * z
    return found


def median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median; for few numbers several times faster than NumPy's."""
    count = values.shape[axis]
    ordered = np.sort(values, axis=axis)
    upper = ordered.take(count // 2, axis=axis)
    return upper if count % 2 else 0.5 * (upper + ordered.take(count // 2 - 1, axis=axis))


def with_bones(poses: np.ndarray, lengths: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Give bodies bones of given lengths; root and directions stay.

    A mean of bodies has bones that are too short. A bone without any length keeps it.

    :param poses: metres, ``(..., J, 3)``.
    :param lengths: metres, broadcastable to ``(..., J)``.
    """
    child, parent = _bones(skeleton)
    apart = poses[..., child, :] - poses[..., parent, :]
    short = np.sqrt(squares(apart))
    grown = lengths[..., child] / np.maximum(short, 1e-6)
    grown = np.where(short > 1e-6, grown, 1.0)
    steps = np.empty_like(poses)
    steps[..., 0, :] = poses[..., 0, :]
    steps[..., child, :] = apart * grown[..., None]
    for joint in range(1, skeleton.num_joints):
        steps[..., joint, :] += steps[..., skeleton.parents[joint], :]
    return steps


@lru_cache(maxsize=16)
def _bones(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    bones = np.array(skeleton.bones, dtype=np.int64).reshape(-1, 2)
    return bones[:, 0], bones[:, 1]
