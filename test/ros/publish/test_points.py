"""Bytes of a PoseArray made without its objects are those that rclpy makes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from rclpy.serialization import deserialize_message, serialize_message

from motion_predictor.ros.messages import ns_to_stamp
from motion_predictor.ros.publish.points import pose_array_bytes

STAMP_NS = 12_345_678_901


@pytest.mark.parametrize('frame_id', ['', 'a', 'map', 'hall', 'camera', 'odom/ä'])
@pytest.mark.parametrize('count', [0, 1, 5])
def test_bytes_are_those_of_rclpy(frame_id: str, count: int) -> None:
    points = np.random.default_rng(count).standard_normal((count, 3))
    message = PoseArray()
    message.header.stamp, message.header.frame_id = ns_to_stamp(STAMP_NS), frame_id
    message.poses = [
        Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))
        for x, y, z in points.tolist()
    ]
    made = pose_array_bytes(STAMP_NS, frame_id, points)
    assert deserialize_message(made, PoseArray) == message
    assert len(made) == len(serialize_message(message))  # what lies between is anything there
