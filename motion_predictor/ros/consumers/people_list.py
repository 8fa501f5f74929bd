# SPDX-License-Identifier: Apache-2.0
"""The people of ~/trajectory as ``people_msgs/People``, for social layers of a costmap."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from rclpy.node import Node
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.ros.consumers.heard import Heard
from motion_predictor.ros.consumers.packages import message_class
from motion_predictor.ros.consumers.running import declared, run
from motion_predictor.ros.consumers.settings import PeopleParameters
from motion_predictor.signals import leave_at_once_when_asked

NAME = 'people_list'
LONGEST_S = 2.0
"""Time in seconds without a message after which the predictor is silent; nothing is done about it
here."""


def keyframes_of(message: MultiDOFJointTrajectory) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the content of ~/trajectory as arrays.

    :returns: seconds after the stamp, (K,), and metres, (K, named joints, 3).
    """
    times_s = [
        point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        for point in message.points
    ]
    places = [
        [(t.translation.x, t.translation.y, t.translation.z) for t in point.transforms]
        for point in message.points
    ]
    return np.array(times_s), np.reshape(places, (len(times_s), len(message.joint_names), 3))


class PeopleList(Node):
    """Publishes the position and the first velocity of everybody who is predicted."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if people_msgs is missing.
        """
        super().__init__(NAME, **node_arguments)
        self._joint = declared(self, PeopleParameters()).joint
        self._list_type: Any = message_class('people_msgs/msg/People', NAME)
        self._person_type: Any = message_class('people_msgs/msg/Person', NAME)
        self._people = self.create_publisher(self._list_type, 'people', 1)
        self._heard = Heard(
            self,
            MultiDOFJointTrajectory,
            'trajectory',
            longest_s=LONGEST_S,
            taken=self._on_trajectory,
        )

    def _on_trajectory(self, message: MultiDOFJointTrajectory) -> None:
        made = self._list_type(header=message.header)
        named = [
            (index, name.split('/')[0])
            for index, name in enumerate(message.joint_names)
            if name.partition('/')[2] == self._joint
        ]
        if message.joint_names and not named:
            self.get_logger().warning(
                f'{self._heard.topic} has no joint {self._joint!r}; it has '
                f'{", ".join(sorted({n.partition("/")[2] for n in message.joint_names}))}',
                throttle_duration_sec=5.0,
            )
            return
        if named:
            times_s, places = keyframes_of(message)
            if len(times_s) < 2:
                self.get_logger().warning(
                    'a velocity needs two keyframes: set trajectory.horizons_s of the predictor',
                    throttle_duration_sec=5.0,
                )
                return
            velocity = (places[1] - places[0]) / (times_s[1] - times_s[0])  # m/s
            now = places[0] - times_s[0] * velocity  # their position at the stamp
            for index, number in named:
                person = self._person_type(name=number, reliability=1.0)
                x, y, z = now[index].tolist()
                person.position.x, person.position.y, person.position.z = x, y, z
                x, y, z = velocity[index].tolist()
                person.velocity.x, person.velocity.y, person.velocity.z = x, y, z
                made.people.append(person)
        self._people.publish(made)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, PeopleList, args)


if __name__ == '__main__':
    sys.exit(main())
