# SPDX-License-Identifier: Apache-2.0
"""Common parts of the ROS tests: processes in a separate DDS domain, and a polling listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import DenoiserConfig, ModelConfig, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import save_weights
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.messages import ns_to_stamp
from tools.domain import Domain

ROOT = Path(__file__).resolve().parents[3]
_CLAIMED = Domain()
DOMAIN = _CLAIMED.number
"""This process's own until it ends."""
PATIENCE_S = 180.0
"""Deadline of every wait in seconds; it is reached only on failure or on a very busy machine."""
MOST_READY = 200
"""Number of callbacks handled at once."""


def write_random_weights(path: Path) -> Path:
    """Save a tiny model with random weights."""
    torch.manual_seed(1)
    denoiser = DenoiserConfig(architecture='mixer', width=16, depth=1, dropout=0.0)
    config = ModelConfig(role='swiftdiff', denoiser=denoiser, window=WindowConfig())
    save_weights(path, MotionModel(config, H36M17), {'about': 'random weights of a test'})
    return path


def walker_poses(persons: int = 1) -> list[np.ndarray]:
    """Return poses (T, 17, 3) in metres at 50 Hz of walking people."""
    return list(synthetic_walkers(persons).persons.values())


def there_and_back(poses: np.ndarray, frame: int) -> np.ndarray:
    """Return the pose of an endless walk without leaps: it goes forwards and backwards in turn."""
    last = len(poses) - 1
    return poses[last - abs(last - frame % (2 * last))]


def wait_until(holds: Callable[[], Any], step: Callable[[], None], what: str) -> Any:
    """Repeat ``step`` until ``holds`` returns something true; return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f'{what}: not within {PATIENCE_S:g} s'
        step()
    return found


class Executor(SingleThreadedExecutor):
    """An executor that handles all pending callbacks, and not only one."""

    def spin_ready(self) -> None:
        """Handle all that has arrived; with one callback per call, most messages would wait."""
        for _ in range(MOST_READY):
            try:
                handler, _, _ = self.wait_for_ready_callbacks(timeout_sec=0.0)
            except TimeoutException:
                return
            handler()
            handler.result()  # this raises the callback's error


class Listener:
    """A node of the test that collects messages and publishes."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = Node('listener', context=self.context)
        self.executor = Executor(context=self.context)
        self.executor.add_node(self.node)

    def collect(self, message_type: type, topic: str, *, latched: bool = False) -> list[Any]:
        """Subscribe; the list grows with every message."""
        messages: list[Any] = []
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        profile = QoSProfile(depth=50, durability=durability)
        self.node.create_subscription(message_type, topic, messages.append, profile)
        return messages

    def spin(self) -> None:
        """Handle what has arrived, or wait a moment for something."""
        self.executor.spin_once(timeout_sec=0.02)
        self.executor.spin_ready()

    def wait(self, holds: Callable[[], Any], what: str) -> Any:
        """Spin until something holds."""
        return wait_until(holds, self.spin, what)

    def close(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


class Source:
    """Publishes poses of people as a tracker would, frame by frame, on request."""

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        period_s: float = 0.02,
        *,
        even: bool = False,
    ) -> None:
        """
        Make a publisher.

        :param even: stamps are a period apart, however late this machine is, as those of a camera
            are; else they are taken from the clock, and come in bursts where it is late.
        """
        self.node = node
        self.even = even
        self.publisher = node.create_publisher(message_type, topic, 10)
        self.period_s = period_s
        self.sent_ns: list[int] = []
        self._next_s = 0.0

    def send(self, message: Any, frame_id: str = 'map') -> None:
        """Stamp with the clock and publish, not before the period has passed."""
        pause_s = self._next_s - time.monotonic()
        if pause_s > 0.0:
            time.sleep(pause_s)
        self._next_s = time.monotonic() + self.period_s
        stamp_ns = self.node.get_clock().now().nanoseconds
        if self.even and self.sent_ns:
            stamp_ns = self.sent_ns[-1] + round(self.period_s * 1e9)
        for stamped in getattr(message, 'markers', None) or [message]:
            if hasattr(stamped, 'header'):
                stamped.header.stamp = ns_to_stamp(stamp_ns)
                stamped.header.frame_id = frame_id
        self.publisher.publish(message)
        self.sent_ns.append(stamp_ns)


@contextmanager
def process(
    module: str,
    parameters: Mapping[str, object],
    remapped: Mapping[str, str] | None = None,
    **variables: str,
) -> Iterator[Any]:
    """Run a module of the package as a ROS process, which is interrupted at the end."""
    command = [sys.executable, '-m', module, '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    for name, topic in (remapped or {}).items():
        command += ['-r', f'{name}:={topic}']
    started = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ros_environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGINT)
        try:
            started.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


def ros_environment() -> dict[str, str]:
    """Return the environment of processes in the tests' domain."""
    return {
        **os.environ,
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
        'OMP_NUM_THREADS': '1',
    }
