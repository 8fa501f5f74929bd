# SPDX-License-Identifier: Apache-2.0
"""A PoseArray read from the bytes that DDS brought: its positions as one array, no object each."""

from __future__ import annotations

import struct

import numpy as np
from std_msgs.msg import Header

from motion_predictor.sources.standard import Positions

_LITTLE_ENDIAN = b'\x00\x01'  # what CDR begins with; alignment counts from after the first four
_HEAD = 4
_POSE = 7  # numbers: position and orientation
_ROOM = struct.Struct('<iII')


def read_pose_array(data: bytes) -> Positions | None:
    """
    Return the positions of a serialized ``geometry_msgs/msg/PoseArray``.

    :returns: None where the bytes are not laid out as expected: whoever reads all messages is to
        read it, or to say what is wrong with it.
    """
    body = memoryview(data)[_HEAD:]
    if data[:2] != _LITTLE_ENDIAN or len(body) < _ROOM.size:
        return None
    sec, nanosec, length = _ROOM.unpack_from(body)
    at = _ROOM.size + length
    end = at + -at % 4 + 4
    if not length or end > len(body):
        return None
    try:
        frame_id = str(body[_ROOM.size : at - 1], 'utf-8')
    except UnicodeDecodeError:
        return None
    (count,) = struct.unpack_from('<I', body, end - 4)
    begin = end + -end % 8 if count else end
    if begin + 8 * _POSE * count > len(body):
        return None
    numbers = np.frombuffer(body, '<f8', _POSE * count, begin).reshape(count, _POSE)
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    return Positions(header, numbers[:, :3].astype(np.float64))
