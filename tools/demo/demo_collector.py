# SPDX-License-Identifier: Apache-2.0
"""A process that writes a skeleton topic and the predictions that it receives to a file.

Of a long run not every prediction is kept, but one every :data:`KEEP_EVERY_S`, with all stamps and
poses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
import sys
import time
from typing import Any

from geometry_msgs.msg import PoseArray
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import PointCloud2
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.body.skeleton import H36M17
from motion_predictor.ros.messages import decode_predictions
from motion_predictor.sources.observation import InputFormat, stamp_to_ns
from motion_predictor.sources.standard import decode_pose_array

QUIET_S = 1.0  # seconds of silence after the last pose that end the collection
REPORT_S = 5.0
KEEP_EVERY_S = 0.2
"""Least time in seconds between kept predictions, because 50 futures of each are much data."""


@dataclass
class Collected:
    """The received messages, in lists; times are nanoseconds of the system clock."""

    pose_stamps: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)  # (P, 17, 3) each
    stamps: list[int] = field(default_factory=list)
    published: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)  # which of the stamps the following are of
    persons: list[np.ndarray] = field(default_factory=list)
    futures: list[np.ndarray] = field(default_factory=list)  # (P, S, T, J, 3) each
    weights: list[np.ndarray] = field(default_factory=list)
    expected: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    """The one future of ~/trajectory by stamp and person's number, (T, 17, 3) each."""
    times_s: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def due(self) -> bool:
        """Return whether the newest prediction must be kept."""
        if not self.kept:
            return True
        passed_ns = self.stamps[-1] - self.stamps[self.kept[-1]]
        return passed_ns >= round((KEEP_EVERY_S - 1e-3) * 1e9)


class Collector(Node):
    """Subscribes, keeps everything, and detects the end of the motion."""

    def __init__(self) -> None:
        """Subscribe to the input, the predictions and the one future that is shown."""
        super().__init__('collector')
        self.data = Collected()
        self.ended = False
        self.last_arrival_s = time.monotonic()
        self._form = InputFormat(joints=H36M17.num_joints)
        self._reported_s = time.monotonic()
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(PoseArray, 'skeleton', self._on_poses, reliable)
        heard: Callable[..., None] = self._on_predictions
        if not hasattr(Subscription, 'CallbackType'):  # before ROS 2 Iron: no message info
            heard = self._on_predictions_without_info
        self.create_subscription(PointCloud2, 'motion_predictor/predictions', heard, reliable)
        self.create_subscription(
            MultiDOFJointTrajectory, 'motion_predictor/trajectory', self._on_trajectory, reliable
        )

    @property
    def finished(self) -> bool:
        """Return whether the last pose has come and nothing has come since for some time."""
        return self.ended and time.monotonic() - self.last_arrival_s > QUIET_S

    def _on_poses(self, message: PoseArray) -> None:
        self.last_arrival_s = time.monotonic()
        people = decode_pose_array(message, self._form)
        if not people:
            self.ended = bool(self.data.poses)
            return
        self.data.pose_stamps.append(people[0].stamp_ns)
        self.data.poses.append(np.stack([person.xyz for person in people]).astype(np.float32))
        self._report()

    def _on_predictions(self, message: PointCloud2, info: dict[str, Any]) -> None:
        received_ns = self.get_clock().now().nanoseconds
        self.last_arrival_s = time.monotonic()
        decoded = decode_predictions(message)
        if not len(decoded.persons):
            return
        data = self.data
        data.stamps.append(decoded.stamp_ns)
        data.published.append(int(info.get('source_timestamp', 0)) or received_ns)
        data.received.append(received_ns)
        if not data.due:
            return
        data.kept.append(len(data.stamps) - 1)
        data.persons.append(decoded.persons)
        data.futures.append(decoded.futures)
        data.weights.append(decoded.weights)
        data.times_s = decoded.times_s

    def _on_trajectory(self, message: MultiDOFJointTrajectory) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        points = np.array(
            [
                [(t.translation.x, t.translation.y, t.translation.z) for t in point.transforms]
                for point in message.points
            ],
            dtype=np.float32,
        )  # (T, P * J, 3)
        joints = H36M17.num_joints
        for index, name in enumerate(message.joint_names[::joints]):
            number = int(name.partition('/')[0])
            own = points[:, index * joints : (index + 1) * joints]
            self.data.expected[stamp_ns, number] = own

    def _on_predictions_without_info(self, message: PointCloud2) -> None:
        self._on_predictions(message, {})

    def _report(self) -> None:
        if time.monotonic() - self._reported_s < REPORT_S:
            return
        self._reported_s = time.monotonic()
        data = self.data
        line = f'{len(data.poses)} frames in, {len(data.stamps)} predictions out'
        if data.stamps:
            late_ms = (np.array(data.published[-150:]) - np.array(data.stamps[-150:])) * 1e-6
            line += f', latest latencies {np.median(late_ms):.1f} ms (median)'
        print(line, flush=True)


def save(data: Collected, path: Path) -> None:
    """
    Write the messages as plain arrays; predictions have one row per person and message.

    A row belongs to a kept prediction whose one future also came on ~/trajectory.
    """
    rows, expected = [], []
    for index, people in enumerate(data.persons):
        for k, number in enumerate(people.tolist()):
            shown = data.expected.get((data.stamps[data.kept[index]], number))
            if shown is not None and len(shown) == len(data.times_s):
                rows.append((index, k))
                expected.append(shown)
    np.savez(
        path,
        pose_stamps_ns=np.array(data.pose_stamps, np.int64),
        poses=np.stack(data.poses) if data.poses else np.zeros((0, 0, 17, 3), np.float32),
        stamps_ns=np.array(data.stamps, np.int64),
        published_ns=np.array(data.published, np.int64),
        received_ns=np.array(data.received, np.int64),
        times_s=data.times_s,
        row_message=np.array([data.kept[index] for index, _ in rows], np.int64),
        row_person=np.array([data.persons[i][k] for i, k in rows], np.int64),
        row_weights=np.array([data.weights[i][k] for i, k in rows], np.float32),
        row_futures=np.array([data.futures[i][k] for i, k in rows], np.float32),
        row_expected=np.array(expected, np.float32),
    )


def main() -> int:
    """Collect until the motion has ended or the process is interrupted, then write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='file to write, .npz')
    options, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    collector = Collector()
    try:
        while rclpy.ok() and not collector.finished:
            rclpy.spin_once(collector, timeout_sec=0.1)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        save(collector.data, options.out)
        collector.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
