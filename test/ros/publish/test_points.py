# SPDX-License-Identifier: Apache-2.0
"""Bytes of a PoseArray made without its objects are those that rclpy makes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion, Transform, Vector3
from rclpy.serialization import deserialize_message, serialize_message
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from motion_predictor.ros.messages import ns_to_stamp
from motion_predictor.ros.publish.points import pose_array_bytes, trajectory_bytes

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


@pytest.mark.parametrize('frame_id', ['', 'a', 'map', 'hall', 'camera', 'odom/ä'])
@pytest.mark.parametrize('names', [(), ('7/RHip',), ('7/Hip', '12/RHip', '12/Spine1')])
@pytest.mark.parametrize('times_s', [[], [0.5], [0.0, 0.26, 2.0]])
def test_a_trajectory_is_the_one_that_rclpy_makes(
    frame_id: str, names: tuple[str, ...], times_s: list[float]
) -> None:
    points = np.random.default_rng(1).standard_normal((len(times_s), len(names), 3))
    message = MultiDOFJointTrajectory(joint_names=list(names))
    message.header.stamp, message.header.frame_id = ns_to_stamp(STAMP_NS), frame_id
    for time_s, each in zip(times_s, points):
        whole, part = divmod(round(1e9 * time_s), 1_000_000_000)
        message.points.append(
            MultiDOFJointTrajectoryPoint(
                transforms=[
                    Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(w=1.0))
                    for x, y, z in each.tolist()
                ],
                time_from_start=Duration(sec=whole, nanosec=part),
            )
        )
    made = trajectory_bytes(STAMP_NS, frame_id, names, times_s, points)
    assert deserialize_message(made, MultiDOFJointTrajectory) == message
    assert len(made) == len(serialize_message(message))
