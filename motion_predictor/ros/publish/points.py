"""Points as the serialized bytes of a PoseArray, without a Python object for each point."""

from __future__ import annotations

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
    stamp, name = ns_to_stamp(stamp_ns), frame_id.encode() + b'\0'
    head = struct.pack('<iII', stamp.sec, stamp.nanosec, len(name)) + name
    head += bytes(-len(head) % 4) + struct.pack('<I', len(points))
    if len(points):
        head += bytes(-len(head) % 8)
    poses = np.zeros((len(points), _POSE), dtype='<f8')
    poses[:, :3] = points
    poses[:, -1] = 1.0
    return _LITTLE_ENDIAN + head + poses.tobytes()
