# SPDX-License-Identifier: Apache-2.0
"""A process that records the demo's input and predictions into an MCAP file.

Every skeleton and every one future of ~/trajectory is kept. Of ~/predictions, whose clouds of all
samples are much data, one is kept every :data:`KEEP_EVERY_S`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
import sys
import tempfile
import time

from geometry_msgs.msg import PoseArray
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from sensor_msgs.msg import PointCloud2
from trajectory_msgs.msg import MultiDOFJointTrajectory

SKELETON = '/skeleton'
PREDICTIONS = '/motion_predictor/predictions'
TRAJECTORY = '/motion_predictor/trajectory'
TOPICS = {
    SKELETON: (PoseArray, 'geometry_msgs/msg/PoseArray'),
    PREDICTIONS: (PointCloud2, 'sensor_msgs/msg/PointCloud2'),
    TRAJECTORY: (MultiDOFJointTrajectory, 'trajectory_msgs/msg/MultiDOFJointTrajectory'),
}
"""Recorded topics, the class of their messages and its name."""
KEEP_EVERY_S = 1.0
"""Least time in seconds between two recorded messages of ~/predictions."""


class Recorder(Node):
    """Subscribes to the topics and writes their messages as they arrive."""

    def __init__(self, writer: Writer) -> None:
        """Subscribe to all of :data:`TOPICS`."""
        super().__init__('recorder')
        self._writer = writer
        self._kept_s = -KEEP_EVERY_S
        store = get_typestore(Stores.ROS2_HUMBLE)
        profile = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        for topic, (kind, name) in TOPICS.items():
            connection = writer.add_connection(topic, name, typestore=store)
            write: Callable[..., None] = partial(self._write, connection, topic)
            self.create_subscription(kind, topic, write, profile, raw=True)

    def _write(self, connection: object, topic: str, message: bytes) -> None:
        if topic == PREDICTIONS:
            now_s = time.monotonic()
            if now_s - self._kept_s < KEEP_EVERY_S:
                return
            self._kept_s = now_s
        self._writer.write(connection, self.get_clock().now().nanoseconds, message)


def main() -> int:
    """Record until the process is interrupted, then leave the one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='file to write, .mcap')
    options, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as scratch:
        bag = Path(scratch) / 'session'
        with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            recorder = Recorder(writer)
            try:
                rclpy.spin(recorder)
            except (KeyboardInterrupt, ExternalShutdownException):
                pass
            finally:
                recorder.destroy_node()
                rclpy.try_shutdown()
        (found,) = bag.glob('*.mcap')
        found.replace(options.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
