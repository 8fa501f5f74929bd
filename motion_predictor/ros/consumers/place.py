# SPDX-License-Identifier: Apache-2.0
"""The place of the robot, from TF or as it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node

from motion_predictor.ros.consumers.packages import message_class
from motion_predictor.ros.intake.inputs import profile_of, tf_subscriptions
from motion_predictor.sources.tf.people import TF_MESSAGE
from motion_predictor.sources.tf.tree import frame_name, MAX_AT_ONCE, TransformTree

BACK_NS = (0, 50_000_000, 150_000_000, 300_000_000)
"""How far back the robot is looked for: its transforms come late."""


class RobotPlace:
    """Where the robot is in any frame."""

    def __init__(self, node: Node, robot_frame: str, fixed_m: Sequence[float]) -> None:
        """
        Listen to TF if the robot has a frame.

        :param node: the consumer.
        :param robot_frame: of the robot in TF; '' if it stands at ``fixed_m``.
        :param fixed_m: its place in metres, (3,), if it has no frame.
        :raises ConfigError: if tf2_msgs is needed and not installed.
        """
        self.robot_frame = frame_name(robot_frame)
        self._fixed_m = np.asarray(fixed_m, dtype=float)
        self._tree = TransformTree()
        if not self.robot_frame:
            return
        tf_type = message_class(TF_MESSAGE, f'{node.get_name()}: robot_frame={robot_frame!r}')
        for wanted in tf_subscriptions(tf_type):
            node.create_subscription(
                wanted.message_type, wanted.topic, self._take_in(wanted.latched),
                profile_of(wanted),
            )  # fmt: skip

    def _take_in(self, static: bool) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            for transform in message.transforms[:MAX_AT_ONCE]:
                self._tree.add(transform, static)

        return callback

    def in_frame(self, frame_id: str, now_ns: int) -> np.ndarray | None:
        """
        Return the robot's position now, or up to a third of a second before.

        :param frame_id: frame of the result.
        :param now_ns: the node's clock, nanoseconds.
        :returns: metres, (3,); None if TF does not connect the two frames.
        """
        frame = frame_name(frame_id)
        if not self.robot_frame:
            return self._fixed_m
        if frame == self.robot_frame:
            return np.zeros(3)
        for back_ns in BACK_NS:
            placed = self._tree.place([self.robot_frame], now_ns - back_ns, frame)
            found = placed.get(self.robot_frame)
            if found is not None and not found.lacking:
                return found.translation
        return None
