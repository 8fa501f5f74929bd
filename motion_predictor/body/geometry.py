"""Rotations of points in space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motion_predictor.errors import MessageError


def rotation_matrix(rotation: Sequence[float] | np.ndarray) -> np.ndarray:
    """
    Make the matrix of a rotation.

    :param rotation: quaternion ``x, y, z, w`` (of any positive length), or fixed-axis
        ``roll, pitch, yaw`` in radians.
    :returns: float64 (3, 3); ``R @ p`` turns the point p.
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
    x, y, z, w = values / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
