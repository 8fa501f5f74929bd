# SPDX-License-Identifier: Apache-2.0
"""Print the speed that the monitor permits the robot, twice a second."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import Bool, Float64


class WatchSpeed(Node):
    """Listens to the limit, and to whether it is known."""

    def __init__(self) -> None:
        """Subscribe."""
        super().__init__('watch_speed')
        self.limit_m_s, self.known = 0.0, False
        self.create_subscription(Float64, 'speed_limit_predicted', self.on_limit, 1)
        self.create_subscription(Bool, 'speed_limit_predicted_valid', self.on_known, 1)
        self.create_timer(0.5, self.on_timer)

    def on_limit(self, message: Float64) -> None:
        """Keep it."""
        self.limit_m_s = message.data

    def on_known(self, message: Bool) -> None:
        """Keep it."""
        self.known = message.data

    def on_timer(self) -> None:
        """Print both, and the speed as a bar."""
        bar = '#' * round(40 * self.limit_m_s)
        print(f'{self.limit_m_s:4.2f} m/s {"" if self.known else "(not known)"}{bar}', flush=True)


def main() -> None:
    """Listen until Ctrl-C."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(WatchSpeed())


if __name__ == '__main__':
    main()
