# SPDX-License-Identifier: Apache-2.0
"""Points as bytes that DDS carries, without a Python object for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
import struct

import numpy as np

from motion_predictor.ros.messages import ns_to_stamp

_LITTLE_ENDIAN = b'\x00\x01\x00\x00'  # header of CDR; alignment counts from its end
_POSE = 7  # numbers per pose: position, and the orientation x, y, z, w


def pose_array_bytes(stamp_ns: int, frame_id: str, points: np.ndarray) -> bytes:
    """
    Return a serialized ``geometry_msgs/msg/PoseArray`` with identity orientations.

    A publisher accepts it instead of the message.

    :param points: positions in metres, ``(N, 3)``.
    """
    head = _head(stamp_ns, frame_id) + struct.pack('<I', len(points))
    if len(points):
        head += bytes(-len(head) % 8)
    return _LITTLE_ENDIAN + head + _level(points).tobytes()


def trajectory_bytes(
    stamp_ns: int,
    frame_id: str,
    names: tuple[str, ...],
    times_s: Sequence[float],
    points: np.ndarray,
) -> bytes:
    """
    Return a serialized ``trajectory_msgs/msg/MultiDOFJointTrajectory`` without velocities.

    :param stamp_ns: stamp, nanoseconds, not negative.
    :param frame_id: frame of the points.
    :param names: names of the N joints.
    :param times_s: seconds after the stamp, not negative, K of them.
    :param points: positions in metres, ``(K, N, 3)``; orientations are the identity.
    """
    parts = [_LITTLE_ENDIAN, _head(stamp_ns, frame_id), _strings(names)]
    parts.append(struct.pack('<I', len(points)))
    at = sum(map(len, parts)) - len(_LITTLE_ENDIAN)
    for time_s, transforms in zip(times_s, points, strict=True):
        parts.append(struct.pack('<I', len(transforms)))
        at += 4
        if len(transforms):
            parts.append(bytes(-at % 8))
            at += -at % 8
        whole, part = divmod(round(time_s * 1e9), 1_000_000_000)
        parts += [_level(transforms).tobytes(), struct.pack('<IIiI', 0, 0, whole, part)]
        at += 8 * _POSE * len(transforms) + 16
    return b''.join(parts)


def _head(stamp_ns: int, frame_id: str) -> bytes:
    # A header, up to where a number of four bytes may follow.
    stamp, name = ns_to_stamp(stamp_ns), frame_id.encode() + b'\0'
    head = struct.pack('<iII', stamp.sec, stamp.nanosec, len(name)) + name
    return head + bytes(-len(head) % 4)


@lru_cache(maxsize=8)
def _strings(texts: tuple[str, ...]) -> bytes:
    # A sequence of strings that begins, and ends, where a number of four bytes may lie.
    parts = [struct.pack('<I', len(texts))]
    for text in texts:
        name = text.encode() + b'\0'
        parts += [struct.pack('<I', len(name)), name, bytes(-len(name) % 4)]
    return b''.join(parts)


def _level(points: np.ndarray) -> np.ndarray:
    # Positions (N, 3) with identity orientations, (N, 7).
    poses = np.zeros((len(points), _POSE), dtype='<f8')
    poses[:, :3] = points
    poses[:, -1] = 1.0
    return poses
