# SPDX-License-Identifier: Apache-2.0
"""A speed limit from the separation of robot and people, measured and predicted.

It permits full speed only if a fresh message of the predictor shows that everybody is far away, or
that the tracker itself says that nobody is present. Without such a message it permits nothing and
says that it does not know.
"""

from __future__ import annotations

import sys

from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.node import Node
from std_msgs.msg import Bool, Float64

from motion_predictor.ros.consumers.heard import Heard
from motion_predictor.ros.consumers.place import RobotPlace
from motion_predictor.ros.consumers.running import declared, every, run
from motion_predictor.ros.consumers.separation import (
    permitted_speed_m_s,
    separation_m,
    SeparationSettings,
)
from motion_predictor.ros.consumers.settings import SeparationParameters
from motion_predictor.signals import leave_at_once_when_asked
from motion_predictor.sources.observation import stamp_to_ns

NAME = 'speed_and_separation'


class UnknownError(Exception):
    """The separation is not known; the message says why."""


class SpeedAndSeparation(Node):
    """Publishes the permitted speed, 0 if it is not known, and whether it is known."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen and to publish.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if a parameter cannot work, or if tf2_msgs is missing.
        """
        super().__init__(NAME, **node_arguments)
        settings = self._settings = declared(self, SeparationParameters())
        self._terms = SeparationSettings(
            full_speed_m_s=settings.full_speed_m_s,
            human_speed_m_s=settings.human_speed_m_s,
            reaction_s=settings.reaction_s,
            deceleration_m_s2=settings.deceleration_m_s2,
            intrusion_m=settings.intrusion_m,
        )
        self._robot = RobotPlace(self, settings.robot_frame, settings.robot_m)
        self._frame, self._told = settings.frame, ''
        self._points = np.zeros((0, 3))
        self._limit = self.create_publisher(Float64, 'speed_limit_predicted', 1)
        self._valid = self.create_publisher(Bool, 'speed_limit_predicted_valid', 1)
        self._poses = Heard(
            self,
            PoseArray,
            'poses',
            longest_s=settings.stale_s,
            missed_periods=settings.missed_periods,
            watched=True,
            taken=self._take,
        )
        every(self, settings.period_s, self._on_timer)

    def _take(self, message: PoseArray) -> None:
        points = [(p.position.x, p.position.y, p.position.z) for p in message.poses]
        self._points = np.reshape(np.array(points, dtype=float), (-1, 3))

    def _on_timer(self) -> None:
        speed_m_s, reason = 0.0, ''
        try:
            speed_m_s = self._known_speed_m_s()
        except UnknownError as error:
            reason = str(error)
        self._limit.publish(Float64(data=speed_m_s))
        self._valid.publish(Bool(data=not reason))
        if reason != self._told:
            self._told = reason
            if reason:
                self.get_logger().warning(f'no speed is permitted: {reason}')
            else:
                self.get_logger().info('the separation is known')

    def _known_speed_m_s(self) -> float:
        """
        Return the speed that the newest message permits, m/s.

        :raises UnknownError: if the message says nothing about now.
        """
        message, settings = self._poses.current(), self._settings
        if message is None:
            raise UnknownError(f'no fresh message on {self._poses.topic}')
        frame_id, now_ns = message.header.frame_id, self.get_clock().now().nanoseconds
        if not self._frame and not settings.robot_frame:
            self._frame = frame_id
        if self._frame and frame_id != self._frame:
            raise UnknownError(f'{self._poses.topic} is in {frame_id!r}, not in {self._frame!r}')
        age_s = (now_ns - stamp_to_ns(message.header.stamp)) * 1e-9
        if age_s > settings.stale_s:
            raise UnknownError(f'{self._poses.topic} is older than stale_s={settings.stale_s:g}')
        if age_s < -settings.future_s:
            raise UnknownError(f'{self._poses.topic} is stamped ahead of this clock')
        if not message.poses:  # nobody is present, says the tracker itself
            return settings.full_speed_m_s
        robot = self._robot.in_frame(frame_id, now_ns)
        if robot is None:
            raise UnknownError(f'TF has no {settings.robot_frame!r} in {frame_id!r} of now')
        apart_m = separation_m(self._points, robot, 2 if settings.horizontal else 3)
        return permitted_speed_m_s(apart_m - settings.robot_radius_m, self._terms)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, SpeedAndSeparation, args)


if __name__ == '__main__':
    sys.exit(main())
