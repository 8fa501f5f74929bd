# SPDX-License-Identifier: Apache-2.0
"""A PoseArray read from its bytes is the one that rclpy reads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray
from rclpy.serialization import serialize_message

from motion_predictor.ros.intake.pose_bytes import read_pose_array
from motion_predictor.sources.observation import InputFormat
from motion_predictor.sources.standard import decode_pose_array

FRAMES = ['', 'a', 'map', 'hall', 'camera', 'odom/ä']


def message_of(frame_id: str, count: int) -> PoseArray:
    """Return a message with poses at random."""
    message = PoseArray()
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    xyz = np.random.default_rng(count).standard_normal((count, 3))
    message.poses = [Pose(position=Point(x=x, y=y, z=z)) for x, y, z in xyz.tolist()]
    return message


@pytest.mark.parametrize('frame_id', FRAMES)
@pytest.mark.parametrize('persons', [0, 1, 3])
def test_people_are_those_of_the_message(frame_id: str, persons: int) -> None:
    message = message_of(frame_id, 17 * persons)
    read = read_pose_array(bytes(serialize_message(message)))
    assert read is not None
    assert read.header == message.header
    one, other = (decode_pose_array(each, InputFormat(joints=17)) for each in (read, message))
    assert len(one) == len(other) == persons
    for a, b in zip(one, other):
        assert (a.stamp_ns, a.frame_id, a.person) == (b.stamp_ns, b.frame_id, b.person)
        np.testing.assert_array_equal(a.xyz, b.xyz)


@pytest.mark.parametrize('cut', [0, 1, 4, 11, 16, 21, 24, 30, 60, 200])
def test_bytes_that_end_too_early_are_left_to_rclpy(cut: int) -> None:
    data = bytes(serialize_message(message_of('hall', 17)))
    assert read_pose_array(data[:cut]) is None


def test_other_encodings_and_names_that_are_no_text_are_left_to_rclpy() -> None:
    data = bytearray(serialize_message(message_of('hall', 17)))
    assert read_pose_array(b'\x00\x00' + data[2:]) is None, 'big endian'
    broken = data.copy()
    broken[16] = 0xFF
    assert read_pose_array(bytes(broken)) is None
    endless = data.copy()
    endless[12:16] = (2**32 - 1).to_bytes(4, 'little')
    assert read_pose_array(bytes(endless)) is None
