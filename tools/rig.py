# SPDX-License-Identifier: Apache-2.0
"""The node as a process with a test driver: publishers, a listener, services, /proc.

The soak, the fuzz campaign and the run with many people use it. Everything is real: DDS between
processes of this machine, the shipped weights, the node's own diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
from dataclasses import dataclass
import os
from pathlib import Path
import platform
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose, PoseArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import numpy as np
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from motion_predictor.errors import MotionPredictorError
from motion_predictor.ros.diagnostics.monitoring import SequenceGaps
from motion_predictor.ros.messages import decode_predictions, ns_to_stamp

ROOT = Path(__file__).resolve().parents[1]
START_LIMIT_S = 240.0
TICKS_PER_S = os.sysconf('SC_CLK_TCK')
PAGE_BYTES = os.sysconf('SC_PAGE_SIZE')


class RigError(MotionPredictorError):
    """The node or its surroundings did not do what the run needs; the message explains it."""


def use_large_messages() -> None:
    """Let this process and its children use the shipped DDS profile for large messages."""
    profile = str(ROOT / 'config' / 'fastdds_large_messages.xml')
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        os.environ[name] = profile


@dataclass(frozen=True)
class Usage:
    """The processor time, memory, threads and files of a process at one instant."""

    rss_bytes: int
    cpu_s: float
    threads: int
    files: int


class NodeProcess:
    """The predictor node in a separate process, with its output in a log file."""

    def __init__(self, log: Path, domain: int, parameters: Mapping[str, object]) -> None:
        """
        Start the node; it configures and activates without a manager.

        :param log: file for its output.
        :param domain: ROS_DOMAIN_ID.
        :param parameters: values by name, as ``-p`` takes them.
        """
        self.log = log
        command = [sys.executable, '-m', 'motion_predictor', '--ros-args']
        for name, value in {'autostart': 'true', **parameters}.items():
            command += ['-p', f'{name}:={value}']
        environment = os.environ | {
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'PYTHONUNBUFFERED': '1',
        }
        with log.open('wb') as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Return whether it has not exited."""
        return self.process.poll() is None

    def usage(self) -> Usage:
        """Read memory, processor time, threads and open files from /proc."""
        folder = Path(f'/proc/{self.process.pid}')
        fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        return Usage(
            rss_bytes=int((folder / 'statm').read_text().split()[1]) * PAGE_BYTES,
            cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
            threads=int(fields[17]),
            files=len(list((folder / 'fd').iterdir())),
        )

    def freeze(self, frozen: bool) -> None:
        """Stop the process as a debugger would, or let it continue."""
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end, kill it after some time, and return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(20.0)
        return self.process.wait()

    def output(self) -> str:
        """Return everything that it printed."""
        return self.log.read_text(errors='replace')


def pose_array(people: Sequence[np.ndarray]) -> PoseArray:
    """
    Return a message of blocks of J poses unchanged, with NaN.

    :param people: (J, 3) metres each; several may differ in J, for faults.
    """
    message = PoseArray()
    for pose in people:
        for x, y, z in np.asarray(pose, dtype=float).tolist():
            message.poses.append(Pose(position=Point(x=x, y=y, z=z)))
    return message


@dataclass(frozen=True)
class Heard:
    """One non-empty cloud of predictions as it arrived; nanoseconds of the system's clock."""

    stamp_ns: int
    frame_id: str
    received_ns: int
    persons: tuple[int, ...]
    finite: bool
    places: np.ndarray
    """First expected position of each person's first joint, (P, 3) metres."""


class Driver:
    """A ROS node beside the predictor: it publishes, calls services and listens in a thread."""

    def __init__(self, domain: int, heard: Callable[[Heard], None]) -> None:
        """
        Join the domain and listen.

        :param domain: ROS_DOMAIN_ID.
        :param heard: called in the listening thread with every cloud that holds people.
        """
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node('driver', context=self.context)
        self._heard = heard
        self._gaps = SequenceGaps()
        self.clouds = self.empty_clouds = self.clouds_missed = 0
        self.broken: list[str] = []
        self.diagnostics: dict[str, str] = {}
        self.complaint = ''
        self.diagnostics_count = 0
        self.sent = 0
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(
            PointCloud2, '/motion_predictor/predictions', self._on_cloud, reliable
        )
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        name = '/motion_predictor'
        self._change = self.node.create_client(ChangeState, f'{name}/change_state')
        self._set = self.node.create_client(SetParameters, f'{name}/set_parameters')
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self._executor.spin_once(timeout_sec=0.2)

    def close(self) -> None:
        """Leave the domain."""
        rclpy.try_shutdown(context=self.context)
        self._thread.join()

    def _on_cloud(self, message: PointCloud2, info: Mapping[str, Any]) -> None:
        received_ns = self.now_ns()
        self.clouds_missed += self._gaps.lost_before(info)
        try:
            decoded = decode_predictions(message)
        except MotionPredictorError as error:
            self.broken.append(str(error))
            return
        if not len(decoded.persons):
            self.empty_clouds += 1
            return
        self.clouds += 1
        finite = bool(np.isfinite(decoded.futures).all() and np.isfinite(decoded.weights).all())
        self._heard(
            Heard(
                decoded.stamp_ns,
                decoded.frame_id,
                received_ns,
                tuple(int(number) for number in decoded.persons),
                finite,
                decoded.futures[:, :, 0, 0].mean(axis=1),
            )
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith('motion_predictor'):
                self.diagnostics = {entry.key: entry.value for entry in status.values}
                self.complaint = status.message
                self.diagnostics_count += 1

    def idle_subscriber(self) -> Node:
        """Return a separate node that subscribes reliably to every output and takes no message."""
        context = Context()
        rclpy.init(context=context, domain_id=self.context.get_domain_id())
        node = Node('idle', context=context)
        for kind, topic in ((PointCloud2, 'predictions'), (MarkerArray, 'markers')):
            node.create_subscription(kind, f'/motion_predictor/{topic}', lambda message: None, 1)
        return node

    def now_ns(self) -> int:
        """Return the clock of the stamps, nanoseconds."""
        return int(self.node.get_clock().now().nanoseconds)

    def counters(self) -> dict[str, int]:
        """Return all counters in the latest diagnostics."""
        held = self.diagnostics
        return {key: int(value) for key, value in held.items() if value.isdigit()}

    def fresh_counters(self, limit_s: float = 60.0) -> dict[str, int]:
        """Wait for diagnostics made from now on (the second to come); return their counters."""
        wanted = self.diagnostics_count + 2
        self.wait(lambda: self.diagnostics_count >= wanted, 'diagnostics', limit_s)
        return self.counters()

    def publisher(self, topic: str, message_type: type = PoseArray) -> Publisher:
        """Return a publisher to which the node has subscribed."""
        profile = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        made = self.node.create_publisher(message_type, topic, profile)
        self.wait_for_subscriber(made)
        return made

    def wait_for_subscriber(self, publisher: Publisher) -> None:
        """Wait until the node subscribes, and a moment more, because it must notice too."""
        self.wait(lambda: publisher.get_subscription_count() > 0, 'the node to subscribe')
        time.sleep(0.5)

    def send(
        self, publisher: Publisher, message: Any, stamp_ns: int, frame_id: str, count: bool = True
    ) -> None:
        """Stamp a message and publish it; ``count`` it as one that the node must account for."""
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = frame_id
        publisher.publish(message)
        self.sent += count

    def wait(self, holds: Callable[[], Any], what: str, limit_s: float = START_LIMIT_S) -> None:
        """
        Wait until something holds.

        :raises RigError: if it does not hold in time.
        """
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > deadline:
                raise RigError(f'{what}: not within {limit_s:g} s')
            time.sleep(0.01)

    def change_state(self, transition: str) -> bool:
        """Request a lifecycle transition such as 'configure'; return whether it worked."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        return bool(
            self._call(self._change, ChangeState.Request(transition=Transition(id=number))).success
        )

    def set_parameters(self, **values: object) -> list[str]:
        """Set parameters (``__`` stands for a dot); return the objection to each, '' for none."""
        parameters = [
            RosParameter(name.replace('__', '.'), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        results = self._call(self._set, SetParameters.Request(parameters=parameters)).results
        return ['' if result.successful else result.reason or 'refused' for result in results]

    def _call(self, client: Any, request: Any) -> Any:
        self.wait(client.service_is_ready, f'service {client.srv_name}')
        asked = client.call_async(request)
        self.wait(asked.done, f'an answer of {client.srv_name}', 120.0)
        return asked.result()


def commit() -> str:
    """Return the commit that runs, with '+changes' if the tree was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git('status', '--porcelain', '--untracked-files=no')
    return (git('rev-parse', 'HEAD') or 'unknown') + ('+changes' if changed else '')


def machine() -> str:
    """Return this machine's processor, its cores and the version of Python, in words."""
    names = [
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text().splitlines()
        if line.startswith('model name')
    ]
    cores = len(os.sched_getaffinity(0))
    name = names[0] if names else platform.machine()
    return f'{name}, {cores} cores, Python {platform.python_version()}'
