# SPDX-License-Identifier: Apache-2.0
"""The replay node as a process, and a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
import subprocess
import sys
import time
from typing import Any

from geometry_msgs.msg import PoseArray
import pytest
import rclpy
import rclpy.context
import rclpy.executors
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from tools.domain import Domain

_CLAIMED = Domain()
DOMAIN = _CLAIMED.number
"""This process's own until it ends, and not that of the harness."""
ENVIRONMENT = {'ROS_DOMAIN_ID': str(DOMAIN), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


PATIENCE_S = 30.0


TYPES = {'pose_array': PoseArray, 'marker_array': MarkerArray, 'point_cloud': PointCloud2}


def stamp_ns(message: Any) -> int:
    header = message.markers[0].header if hasattr(message, 'markers') else message.header
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


class Listener:
    """Keeps the messages that arrive on topics."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node('listener', context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = {}

    def listen(self, message_type: type, topic: str) -> list[Any]:
        self.heard[topic] = []
        self.node.create_subscription(message_type, topic, self.heard[topic].append, 100)
        return self.heard[topic]

    def wait_for(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, 'waited in vain'
            self.executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def replay() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start replay processes with parameters; stop the remaining ones afterwards."""
    running: list[subprocess.Popen[str]] = []
    environment = os.environ | ENVIRONMENT

    def start(**parameters: object) -> subprocess.Popen[str]:
        command = [sys.executable, '-m', 'motion_predictor.ros.replay', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
