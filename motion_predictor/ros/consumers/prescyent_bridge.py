# SPDX-License-Identifier: Apache-2.0
"""A bridge between the topics of ros2_prescyent and the predictor.

Its publishers put the number of a frame into ``frame_id``, and a predictor would begin again with
each number. This node gives positions a frame, and gives predictions the number and the stamp that
they are for.
"""

from __future__ import annotations

from collections import deque
import sys

from geometry_msgs.msg import PoseArray
from rclpy.node import Node

from motion_predictor.ros.consumers.heard import Heard
from motion_predictor.ros.consumers.running import declared, run
from motion_predictor.ros.consumers.settings import PrescyentParameters
from motion_predictor.ros.messages import ns_to_stamp
from motion_predictor.signals import leave_at_once_when_asked
from motion_predictor.sources.observation import stamp_to_ns

NAME = 'prescyent_bridge'
POSITION, PREDICTION = '/prescyent/position', '/prescyent/prediction'
DEPTH = 10
KEPT = 300
"""Number of frame numbers that are remembered by stamp: ten seconds at 30 Hz."""


class PrescyentBridge(Node):
    """Passes positions on to the predictor, and its points back."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if a parameter cannot work.
        """
        super().__init__(NAME, **node_arguments)
        self._settings = declared(self, PrescyentParameters())
        self._numbers: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._skeleton = self.create_publisher(PoseArray, 'skeleton', DEPTH)
        self._prediction = self.create_publisher(PoseArray, PREDICTION, DEPTH)
        self.create_subscription(PoseArray, POSITION, self._on_position, DEPTH)
        self._heard = Heard(
            self,
            PoseArray,
            'poses',
            longest_s=self._settings.horizon_s,
            taken=self._on_poses,
        )

    def _on_position(self, message: PoseArray) -> None:
        if not stamp_to_ns(message.header.stamp):
            message.header.stamp = self.get_clock().now().to_msg()
        self._numbers.append((stamp_to_ns(message.header.stamp), message.header.frame_id))
        message.header.frame_id = self._settings.frame
        self._skeleton.publish(message)

    def _on_poses(self, message: PoseArray) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        number = next((n for at_ns, n in reversed(self._numbers) if at_ns == stamp_ns), None)
        if number is None or not message.poses:
            return
        horizon_s = self._settings.horizon_s
        message.header.stamp = ns_to_stamp(stamp_ns + round(horizon_s * 1e9))
        if number.isdigit():
            message.header.frame_id = str(int(number) + round(horizon_s * self._settings.rate_hz))
        self._prediction.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, PrescyentBridge, args)


if __name__ == '__main__':
    sys.exit(main())
