# SPDX-License-Identifier: Apache-2.0
"""The geometry of bodies in NumPy: rotations, headings, the frame of the torso, bones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import MessageError

MIN_LINE_M = 0.02
"""Least horizontal length, in metres, of a line between joints that gives a heading."""
TORSO_M = 0.478
"""Distance from Hip to Thorax, in metres, of the person that the layouts' lengths were measured
on."""
MIN_LENGTH_M = 1e-3
"""Least length, in metres, of a vector that has a direction."""
_HIP, _THORAX, _RIGHT_HIP, _LEFT_HIP = (
    H36M17.index(joint) for joint in ('Hip', 'Thorax', 'RHip', 'LHip')
)
TORSO = _HIP, _THORAX, _RIGHT_HIP, _LEFT_HIP
"""Joints of the model's skeleton that :func:`torso_frame` needs."""


def rotation_matrix(rotation: Sequence[float] | np.ndarray) -> np.ndarray:
    """
    Return the matrix of a rotation.

    :param rotation: quaternion ``x, y, z, w`` (of any positive length), or fixed-axis
        ``roll, pitch, yaw`` in radians.
    :returns: float64 (3, 3); ``R @ p`` rotates the point p.
    :raises MessageError: if it has neither 3 nor 4 numbers or a quaternion of length zero.
    """
    values = np.asarray(rotation, dtype=np.float64)
    if values.shape == (3,):
        (cr, cp, cy), (sr, sp, sy) = np.cos(values), np.sin(values)
        return np.array(
            [
                [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
                [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
                [-sp, cp * sr, cp * cr],
            ]
        )
    length = float(np.linalg.norm(values))
    if values.shape != (4,) or not 0 < length < np.inf:
        raise MessageError(
            f'rotation {values.tolist()}: expected a quaternion or roll, pitch, yaw'
        )
    return quaternion_matrices(values / length)


def quaternion_matrices(unit: np.ndarray) -> np.ndarray:
    """
    Return the matrices of rotations.

    :param unit: quaternions ``x, y, z, w`` of length one, ``(..., 4)``.
    :returns: ``(..., 3, 3)``; ``R @ p`` rotates the point p.
    """
    x, y, z, w = unit[..., 0], unit[..., 1], unit[..., 2], unit[..., 3]
    matrix = np.empty((*unit.shape[:-1], 3, 3), dtype=unit.dtype)
    matrix[..., 0, 0] = 1 - 2 * (y * y + z * z)
    matrix[..., 0, 1] = 2 * (x * y - z * w)
    matrix[..., 0, 2] = 2 * (x * z + y * w)
    matrix[..., 1, 0] = 2 * (x * y + z * w)
    matrix[..., 1, 1] = 1 - 2 * (x * x + z * z)
    matrix[..., 1, 2] = 2 * (y * z - x * w)
    matrix[..., 2, 0] = 2 * (x * z - y * w)
    matrix[..., 2, 1] = 2 * (y * z + x * w)
    matrix[..., 2, 2] = 1 - 2 * (x * x + y * y)
    return matrix


def heading(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return the direction that each body faces.

    The rule is that of :class:`motion_predictor.model.person_frame.PersonFrame`. The hips and the
    shoulders show where left is. A skeleton without them uses its ``ahead`` line, and without that
    the line from the root to the middle of the shoulders. If no line works, the body faces the +x
    axis of the input.

    :param poses: joint positions, z up, metres, ``(..., J, 3)``.
    :param skeleton: names the joints that the lines connect.
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


def heading_rad(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return the direction that each body faces as an angle about z; see :func:`heading`.

    :param poses: z up, metres, ``(..., J, 3)``.
    :returns: radians, ``(...)``; 0 is the direction of +x.
    """
    ahead = heading(poses, skeleton)
    return np.arctan2(ahead[..., 1], ahead[..., 0])


def turn(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """
    Rotate points about the z axis.

    :param points: ``(..., 3)``.
    :param angle: cosine and sine of the angle, broadcastable to ``(..., 2)``.
    :returns: the rotated points, ``(..., 3)``.
    """
    shape = np.broadcast_shapes(points.shape[:-1], angle.shape[:-1])
    turned = np.empty((*shape, 3), dtype=points.dtype)
    cos, sin = angle[..., 0], angle[..., 1]
    turned[..., 0] = cos * points[..., 0] - sin * points[..., 1]
    turned[..., 1] = sin * points[..., 0] + cos * points[..., 1]
    turned[..., 2] = points[..., 2]
    return turned


def back(angle: np.ndarray) -> np.ndarray:
    """Return the opposite angle, which undoes :func:`turn`: cosine, sine, ``(..., 2)``."""
    return angle * np.array([1.0, -1.0], dtype=angle.dtype)


def torso_frame(
    joints: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return the axes of the torso: x points ahead, y left and z up the spine.

    The x axis is the cross product of the line from the right hip to the left hip and the line
    from Hip to Thorax. For a person who faces +x, with +y to the left and +z up, this is y cross
    z, which is +x.

    :param joints: the model's joints, metres, ``(..., 17, 3)``.
    :param known: True for each joint that may be used, bool ``(..., 17)``.
    :returns: the axes as the columns of ``(..., 3, 3)``; the body scale ``(...)``, which is the
        length of the torso over 0.478 m, kept within 0.5..1.5; and bool ``(...)``, True where the
        torso has these axes.
    """
    spine = joints[..., _THORAX, :] - joints[..., _HIP, :]
    up, tall = unit(spine)
    ahead, wide = unit(_cross(joints[..., _LEFT_HIP, :] - joints[..., _RIGHT_HIP, :], up))
    axes = np.stack((ahead, _cross(up, ahead), up), axis=-1)
    scale = np.clip(lengths(spine) / TORSO_M, 0.5, 1.5)
    needed = known[..., TORSO].all(axis=-1)
    return axes, scale, needed & tall & wide


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # This equals np.cross to the bit, at a quarter of its cost for one pair of vectors.
    ax, ay, az = first[..., 0], first[..., 1], first[..., 2]
    bx, by, bz = second[..., 0], second[..., 1], second[..., 2]
    return np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), axis=-1)


def unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors scaled to length one, ``(..., 3)``, and which have one, ``(...)``."""
    length = lengths(vectors)[..., None]
    return vectors / np.maximum(length, MIN_LENGTH_M), length[..., 0] > MIN_LENGTH_M


def bone_lengths(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return the length of every bone in a window: the median over its frames.

    The median does not change when a joint slips in a few frames.

    :param poses: metres, ``(..., T, J, 3)``.
    :param skeleton: gives the parent of each joint.
    :returns: metres, ``(..., J)``; 0 for the root.
    """
    child, parent = _bones(skeleton)
    found = np.zeros((*poses.shape[:-3], skeleton.num_joints), dtype=poses.dtype)
    apart = poses[..., child, :] - poses[..., parent, :]
    found[..., child] = median(lengths(apart), -2)
    return found


def lengths(vectors: np.ndarray) -> np.ndarray:
    """
    Return the lengths of vectors; several times faster than NumPy's own sums.

    :param vectors: ``(..., 3)``.
    :returns: ``(...)``.
    """
    return np.sqrt(squares(vectors))


def squares(vectors: np.ndarray) -> np.ndarray:
    """Return the squared lengths of vectors ``(..., 3)``, as fast as :func:`lengths`."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    found = x * x
    found += y * y
    found += z * z
    return found


def median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median along an axis; for few numbers several times faster than NumPy's."""
    count = values.shape[axis]
    ordered = np.sort(values, axis=axis)
    upper = ordered.take(count // 2, axis=axis)
    return upper if count % 2 else 0.5 * (upper + ordered.take(count // 2 - 1, axis=axis))


def with_bones(poses: np.ndarray, lengths: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return the same bodies with bones of the given lengths.

    The root and the direction of every bone stay. This corrects a mean of several bodies, whose
    bones are too short. A bone of length zero has no direction and stays as it is.

    :param poses: metres, ``(..., J, 3)``.
    :param lengths: metres, broadcastable to ``(..., J)``.
    :param skeleton: gives the parent of each joint.
    :returns: metres, ``(..., J, 3)``.
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
