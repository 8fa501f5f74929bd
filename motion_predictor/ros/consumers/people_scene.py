# SPDX-License-Identifier: Apache-2.0
"""The people of ~/trajectory as collision objects in the planning scene of MoveIt 2."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from geometry_msgs.msg import Pose
from rclpy.node import Node
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.ros.consumers.heard import Heard
from motion_predictor.ros.consumers.packages import message_class
from motion_predictor.ros.consumers.running import declared, every, run
from motion_predictor.ros.consumers.settings import SceneParameters
from motion_predictor.signals import leave_at_once_when_asked

NAME = 'people_scene'
LOOK_S = 0.1
"""Period in seconds with which the node checks whether the predictor has fallen silent."""


class PeopleScene(Node):
    """Publishes changes of the planning scene: one object for each person who is predicted."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if a parameter cannot work, or MoveIt's messages are missing.
        """
        super().__init__(NAME, **node_arguments)
        self._settings = declared(self, SceneParameters())
        self._scene_type: Any = message_class('moveit_msgs/msg/PlanningScene', NAME)
        self._object_type: Any = message_class('moveit_msgs/msg/CollisionObject', NAME)
        self._sphere_type: Any = message_class('shape_msgs/msg/SolidPrimitive', NAME)
        self._shown: set[str] = set()
        self._header: Any = None
        self._published_s = 0.0
        self._scene = self.create_publisher(self._scene_type, 'planning_scene', 1)
        self._heard = Heard(
            self,
            MultiDOFJointTrajectory,
            'trajectory',
            longest_s=self._settings.keep_s,
            taken=self._on_trajectory,
        )
        every(self, LOOK_S, self._on_timer)

    def _on_trajectory(self, message: MultiDOFJointTrajectory) -> None:
        now_s = perf_counter()
        if message.joint_names and now_s - self._published_s < self._settings.period_s:
            return
        self._published_s = now_s
        self._header = message.header
        people: dict[str, Any] = {}
        for index, name in enumerate(message.joint_names):
            person = 'person_' + name.split('/')[0]
            if person not in people:
                people[person] = self._object_of(person)
            body = people[person]
            for point in message.points:
                place = point.transforms[index].translation
                pose = Pose()
                pose.position.x, pose.position.y, pose.position.z = place.x, place.y, place.z
                pose.orientation.w = 1.0
                body.primitives.append(
                    self._sphere_type(
                        type=self._sphere_type.SPHERE, dimensions=[self._settings.radius_m]
                    )
                )
                body.primitive_poses.append(pose)
        self._publish(people)

    def _on_timer(self) -> None:
        if self._heard.current() is None and self._shown:
            self.get_logger().warning(
                f'no message on {self._heard.topic} for {self._settings.keep_s:g} s: people are '
                'removed from the planning scene'
            )
            self._publish({})

    def _object_of(self, person: str) -> Any:
        made = self._object_type(id=person, header=self._header)
        made.pose.orientation.w = 1.0
        made.operation = self._object_type.ADD
        return made

    def _publish(self, people: dict[str, Any]) -> None:
        scene = self._scene_type(is_diff=True)
        scene.robot_state.is_diff = True
        scene.world.collision_objects = list(people.values())
        for person in sorted(self._shown - people.keys()):
            gone = self._object_type(id=person, header=self._header)
            gone.operation = self._object_type.REMOVE
            scene.world.collision_objects.append(gone)
        if not scene.world.collision_objects:
            return
        self._shown = set(people)
        self._scene.publish(scene)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, PeopleScene, args)


if __name__ == '__main__':
    sys.exit(main())
