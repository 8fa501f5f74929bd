# SPDX-License-Identifier: Apache-2.0
"""Convert a speed limit into a controller's factor: for ros2_control, or for Nav2.

The factor falls at once and rises slowly. It is 0 if the source of the limit has died.
"""

from __future__ import annotations

from collections.abc import Callable
import math
import sys
from time import perf_counter
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64

from motion_predictor.ros.consumers.packages import message_class
from motion_predictor.ros.consumers.running import declared, every, run
from motion_predictor.ros.consumers.settings import ROS2_CONTROL, ScalingParameters
from motion_predictor.signals import leave_at_once_when_asked

NAME = 'speed_scaling'
CONTROL_TOPIC = 'joint_trajectory_controller/speed_scaling_input'
NAV2_TOPIC = 'speed_limit'


class SpeedScaling(Node):
    """Publishes the factor for a speed limit, at its own rate."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen and to publish.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if a parameter cannot work, or the controller's messages are missing.
        """
        super().__init__(NAME, **node_arguments)
        self._settings = declared(self, ScalingParameters())
        self._limit_m_s, self._heard_s, self._factor = 0.0, -math.inf, 0.0
        self._encode, self._output = self._make_output()
        self.create_subscription(Float64, 'speed_limit_predicted', self._on_limit, 1)
        every(self, self._settings.period_s, self._on_timer)

    def _make_output(self) -> tuple[Callable[[float], Any], Any]:
        if self._settings.output == ROS2_CONTROL:
            message_type: Any = message_class('control_msgs/msg/SpeedScalingFactor', NAME)
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            publisher = self.create_publisher(message_type, CONTROL_TOPIC, latched)
            return lambda factor: message_type(factor=factor), publisher
        message_type = message_class('nav2_msgs/msg/SpeedLimit', f'{NAME} (output=nav2)')

        def limit(factor: float) -> Any:
            percent = max(100.0 * factor, self._settings.least_percent)
            message = message_type(percentage=True, speed_limit=percent)
            message.header.stamp = self.get_clock().now().to_msg()
            return message

        return limit, self.create_publisher(message_type, NAV2_TOPIC, 1)

    def _on_limit(self, message: Float64) -> None:
        self._limit_m_s, self._heard_s = message.data, perf_counter()

    def _on_timer(self) -> None:
        settings = self._settings
        wanted = self._limit_m_s / settings.full_speed_m_s
        if perf_counter() - self._heard_s > settings.stale_s or not wanted > 0.0:
            wanted = 0.0  # this also holds if it is not finite
        self._factor = min(1.0, wanted, self._factor + settings.rise_per_s * settings.period_s)
        self._output.publish(self._encode(self._factor))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, SpeedScaling, args)


if __name__ == '__main__':
    sys.exit(main())
