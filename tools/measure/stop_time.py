# SPDX-License-Identifier: Apache-2.0
"""Measure how soon a robot's speed limit ends when the predictor dies.

    python -m tools.measure.stop_time --rounds 20 --how kill

The predictor and two monitors of speed and separation run as processes. A person walks far from
the robot, at 30 Hz, so that full speed is permitted. Then the predictor is frozen (SIGSTOP) or
killed (SIGKILL, and another one started for the next round) at some time, and this program waits
for the first message of each monitor that permits nothing.

The named alternative, in the same run, is a monitor that only checks the age of the last
prediction (``stale_s``) and the liveliness of DDS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any, Literal

from geometry_msgs.msg import PoseArray
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Float64

from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.replay import pose_array
from tools.domain import Domain
from training.common.options import read_options

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 30.0
FAR_M = 30.0
PATIENCE_S = 120.0
MONITORS = {
    'a message that is late by one period': {'missed_periods': 1.0},
    'age and liveliness alone': {'missed_periods': 100.0},
}
"""Parameters of the monitors by name; both have stale_s at its default."""


class Bench(Node):
    """Publishes a walking person, and receives the limits of all monitors."""

    def __init__(self) -> None:
        """Begin to publish."""
        super().__init__('stop_time')
        self._walk = next(iter(synthetic_walkers(1, 60.0, RATE_HZ).persons.values()))
        self._frame = 0
        self._skeleton = self.create_publisher(PoseArray, '/skeleton', 10)
        self.stops_s: dict[int, float] = {}
        self.limits: dict[int, float] = {}
        for index in range(len(MONITORS)):
            self.create_subscription(
                Float64, f'/cell_{index}/speed_limit_predicted', self._hear(index), 10
            )
        self.create_timer(1.0 / RATE_HZ, self._show)

    def _hear(self, index: int) -> Any:
        def heard(message: Float64) -> None:
            self.limits[index] = message.data
            if message.data == 0.0:
                self.stops_s.setdefault(index, time.perf_counter())

        return heard

    def _show(self) -> None:
        last = len(self._walk) - 1
        pose = self._walk[last - abs(last - self._frame % (2 * last))]  # there and back
        self._frame += 1
        message = pose_array([pose])
        message.header.stamp, message.header.frame_id = self.get_clock().now().to_msg(), 'map'
        self._skeleton.publish(message)


@contextmanager
def program(module: str, *arguments: str, **parameters: object) -> Iterator[Any]:
    """Run a module as a ROS process."""
    command = [sys.executable, '-m', module, '--ros-args', '--log-level', 'error', *arguments]
    for name, value in parameters.items():
        command += ['-p', f'{name.replace("__", ".")}:={value}']
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def monitors() -> Iterator[Any]:
    """Return the contexts in which the monitors run, each in a namespace of its own."""
    for index, parameters in enumerate(MONITORS.values()):
        yield program(
            'motion_predictor.ros.consumers.monitor',
            '-r', f'__ns:=/cell_{index}',
            '-r', 'motion_predictor/poses:=/motion_predictor/poses',
            robot_m=f'[{FAR_M}, {FAR_M}, 0.0]',
            **parameters,
        )  # fmt: skip


def measure(rounds: int, how: str = 'freeze') -> dict[str, list[float]]:
    """
    Freeze the predictor repeatedly, or kill one after the other.

    :param rounds: number of rounds.
    :param how: freeze or kill.
    :returns: seconds from then to the first message that permits nothing, by monitor.
    :raises TimeoutError: if the monitors never permit full speed.
    """
    found: dict[str, list[float]] = {name: [] for name in MONITORS}
    random = np.random.default_rng(0)
    rclpy.init()
    bench = Bench()
    executor = SingleThreadedExecutor()
    executor.add_node(bench)

    def spin(until: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            executor.spin_once(timeout_sec=0.005)
            if time.monotonic() > deadline:
                raise TimeoutError(f'{what}: not within {PATIENCE_S:g} s')

    def start() -> Any:
        return stack.enter_context(program('motion_predictor', autostart=True, model__threads=1))

    with ExitStack() as stack:
        for each in monitors():
            stack.enter_context(each)
        predictor = start()
        for round_ in range(rounds):
            if how == 'kill' and round_:
                predictor = start()
            spin(
                lambda: len(bench.limits) == len(MONITORS) and min(bench.limits.values()) > 0.0,
                'full speed of all monitors',
            )
            go_on = time.monotonic() + 1.0 + float(random.uniform(0.0, 1.0 / RATE_HZ))
            spin(lambda end=go_on: time.monotonic() > end, 'a second')
            bench.stops_s.clear()
            begun_s = time.perf_counter()
            os.kill(predictor.pid, signal.SIGKILL if how == 'kill' else signal.SIGSTOP)
            spin(lambda: len(bench.stops_s) == len(MONITORS), 'a stop of all monitors')
            if how != 'kill':
                os.kill(predictor.pid, signal.SIGCONT)
            for index, name in enumerate(MONITORS):
                found[name].append(bench.stops_s[index] - begun_s)
    bench.destroy_node()
    rclpy.shutdown()
    return found


def report(found: dict[str, list[float]]) -> list[str]:
    """Return the table: medians, 99th percentiles, and the ratio of the medians."""
    medians = {name: float(np.median(times)) for name, times in found.items()}
    last = medians[list(found)[-1]]
    lines = ['| the predictor is dead when | stop after, ms: median | p99 | to the last row |',
             '|---|---:|---:|---:|']  # fmt: skip
    for name, times in found.items():
        p99 = float(np.percentile(times, 99))
        ratio = medians[name] / last
        lines.append(f'| {name} | {1e3 * medians[name]:.0f} | {1e3 * p99:.0f} | {ratio:.2f} |')
    return lines


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.stop_time``."""

    rounds: int = 20
    """Number of measurements."""
    how: Literal['freeze', 'kill'] = 'freeze'
    """How the predictor ends: its process is frozen, or killed."""
    json: Path | None = None
    """File for all times."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    options = read_options(Options, 'tools.measure.stop_time', __doc__, '', arguments)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    with Domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        found = measure(options.rounds, options.how)
    print('\n'.join(report(found)))
    load = os.getloadavg()[0]
    print(f'{options.rounds} rounds at {RATE_HZ:g} Hz; load average at the end {load:.1f}')
    if options.json:
        options.json.write_text(json.dumps(found))
    return 0


if __name__ == '__main__':
    sys.exit(main())
