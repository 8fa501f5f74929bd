# SPDX-License-Identifier: Apache-2.0
"""A scene before a node: walking people, and everything that the node publishes about them."""

from __future__ import annotations

import json
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
import numpy as np
from ros_harness import Listener, Source, wait_until, walker_poses
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from motion_predictor.body.skeleton import H36M17
from motion_predictor.ros.replay import ENCODERS

SHOULDERS = [H36M17.index(joint) for joint in ('LShoulder', 'RShoulder')]


LEGS = [H36M17.index(joint) for joint in ('RKnee', 'RAnkle', 'LKnee', 'LAnkle')]


HORIZONS = 4


class Scene:
    """A tracker that sends people, and everything that the node publishes about them."""

    def __init__(self, listener: Listener, kind: str = 'pose_array', topic: str = '/skeleton'):
        base = '/motion_predictor'
        self.listener = listener
        self.poses = listener.collect(PoseArray, f'{base}/poses')
        self.clouds = listener.collect(PointCloud2, f'{base}/predictions')
        self.people = listener.collect(String, f'{base}/people', latched=True)
        self.diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
        self.encode = ENCODERS[kind][1]
        self.source = Source(listener.node, ENCODERS[kind][0], topic)
        listener.wait(self.source.publisher.get_subscription_count, 'the node to listen')
        self.walks = [np.tile(walk, (60, 1, 1)) for walk in walker_poses(3)]
        self.frame = 0

    def send(self, *changes: Any) -> None:
        """Send the next frame, with changes to the pose of each person."""
        people = []
        for walk, change in zip(self.walks, changes):
            pose = walk[self.frame].copy()
            if change is not None:
                pose[change] = np.nan
            people.append(pose)
        self.frame += 1
        self.source.send(self.encode(people))
        self.listener.spin()

    def until(self, holds: Any, what: str, *changes: Any) -> None:
        """Send frames until something holds."""
        wait_until(holds, lambda: self.send(*changes), what)

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """Return the content of ~/people by name."""
        if not self.people:
            return {}
        return {each['name']: each for each in json.loads(self.people[-1].data)['people']}

    @property
    def status(self) -> tuple[int, str]:
        """Return the level and the text of the latest diagnostics."""
        if not self.diagnostics:
            return -1, ''
        status = self.diagnostics[-1].status[0]
        return int.from_bytes(status.level, 'little'), status.message

    def warns_of(self, *words: str) -> bool:
        """Return whether the status is WARN and contains all of these words."""
        level, text = self.status
        return level == int.from_bytes(DiagnosticStatus.WARN, 'little') and all(
            word in text for word in words
        )
