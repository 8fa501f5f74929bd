# SPDX-License-Identifier: Apache-2.0
"""Print where each person is expected to be a second from now: once a second."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from trajectory_msgs.msg import MultiDOFJointTrajectory


class Watch(Node):
    """Listens to the expected future of everybody."""

    def __init__(self) -> None:
        """Subscribe."""
        super().__init__('watch')
        self.said_s = float('-inf')
        topic = '/motion_predictor/trajectory'
        self.create_subscription(MultiDOFJointTrajectory, topic, self.on_futures, 1)

    def on_futures(self, message: MultiDOFJointTrajectory) -> None:
        """Print the first keyframe and the one a second ahead of each right wrist."""
        stamp_s = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        if stamp_s - self.said_s < 1.0:
            return
        self.said_s = stamp_s
        ahead_s = [
            p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in message.points
        ]
        later = min(range(len(ahead_s)), key=lambda i: abs(ahead_s[i] - 1.0))
        for index, name in enumerate(message.joint_names):
            if name.endswith('/RWrist'):
                begin, end = (message.points[i].transforms[index].translation for i in (0, later))
                places = [
                    f'in {at_s:.1f} s at {place.x:5.2f} {place.y:5.2f} {place.z:5.2f}'
                    for at_s, place in ((ahead_s[0], begin), (ahead_s[later], end))
                ]
                print(f'{name}: {", ".join(places)} m ({message.header.frame_id})', flush=True)


def main() -> None:
    """Listen until Ctrl-C."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Watch())


if __name__ == '__main__':
    main()
