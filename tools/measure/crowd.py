# SPDX-License-Identifier: Apache-2.0
"""Measure the path of a frame through the node over DDS, for a few people and for a crowd.

A tracker plays walkers to the real node, and a listener receives its outputs, both in this
process. Every stage of a frame is timed in the node, in wall-clock and processor time, together
with the time of rclpy and DDS. Another checkout can be measured beside this one, in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.walker import walk
from tools.domain import Domain
from tools.measure.crowd_table import table
from tools.measure.timed_node import OUT_VARIABLE, STAGES
from tools.rig import (
    commit,
    Driver,
    Heard,
    NodeProcess,
    pose_array,
    RigError,
    ROOT,
    use_large_messages,
)
from training.common.options import read_options
from training.common.provenance import origin, write_json

FORMAT, VERSION = 'motion_predictor crowd', 1
FRAME = 'map'
SETTLE_S = 4.0
"""Time in seconds that is played before the measurement begins."""
CYCLE_S = 8.0
"""Length in seconds of the walkers' motion, which is repeated."""
APART_M = 2.0
WRITE_LIMIT_S = 20.0


def walkers(persons: int, rate_hz: float) -> NDArray[np.float64]:
    """Return people who walk about, each at their own place, (T, P, 17, 3) metres."""
    people = []
    for number in range(persons):
        poses = walk(CYCLE_S, rate_hz, np.random.default_rng((7, number)))
        poses = poses - poses[:, :1] * [1.0, 1.0, 0.0]
        people.append(poses + [APART_M * (number % 6), APART_M * (number // 6), 0.0])
    there = np.stack(people, axis=1)
    return np.concatenate((there, there[::-1]))  # and back: nobody jumps


class Checkout:
    """A source tree whose node is measured."""

    def __init__(self, name: str, root: Path) -> None:
        """Use the source tree at ``root``; it needs an environment in ``.venv``."""
        self.name, self.root = name, root.resolve()
        self.python = self.root / '.venv' / 'bin' / 'python'
        if not self.python.exists():
            raise RigError(f'{self.root}: has no .venv/bin/python; run scripts/prepare there')

    @property
    def commit(self) -> str:
        """Return its commit."""
        if self.root == ROOT:
            return commit()
        done = subprocess.run(
            ['git', 'rev-parse', 'HEAD'], cwd=self.root, capture_output=True, text=True
        )
        return done.stdout.strip()


class TimedNode(NodeProcess):
    """The node of a checkout, with a stopwatch in it."""

    def __init__(
        self, checkout: Checkout, log: Path, out: Path, domain: int, parameters: dict[str, object]
    ) -> None:
        """Start the node; it configures and activates without a manager."""
        self.log, self._out = log, out
        command = [str(checkout.python), str(ROOT / 'tools' / 'measure' / 'timed_node.py')]
        command.append('--ros-args')
        for name, value in {'autostart': 'true', **parameters}.items():
            command += ['-p', f'{name}:={value}']
        environment = os.environ | {
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'PYTHONPATH': str(checkout.root),
            OUT_VARIABLE: str(out),
        }
        with log.open('wb') as output:
            self.process = subprocess.Popen(
                command,
                cwd=checkout.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def begin(self) -> None:
        """Begin the measurement."""
        self.process.send_signal(signal.SIGUSR1)

    def measured(self) -> dict[str, Any]:
        """Return the measurement so far."""
        self.process.send_signal(signal.SIGUSR2)
        end_s = time.monotonic() + WRITE_LIMIT_S
        while not self._out.exists():
            if time.monotonic() > end_s or not self.running:
                raise RigError(f'the node wrote no times:\n{self.output()[-2000:]}')
            time.sleep(0.05)
        found: dict[str, Any] = json.loads(self._out.read_text())
        return found


class Ear:
    """Keeps the delay with which each prediction arrived."""

    def __init__(self) -> None:
        """Begin without predictions."""
        self._lock = threading.Lock()
        self._late_s: list[float] = []
        self._people: list[int] = []

    def note(self, heard: Heard) -> None:
        """Note a prediction; the listening thread calls it."""
        with self._lock:
            self._late_s.append((heard.received_ns - heard.stamp_ns) * 1e-9)
            self._people.append(len(heard.persons))

    def take(self) -> tuple[list[float], list[int]]:
        """Return the delays, and the numbers of people, since the last call."""
        with self._lock:
            late, self._late_s = self._late_s, []
            people, self._people = self._people, []
        return late, people


def measure(checkout: Checkout, persons: int, options: Options, scratch: Path) -> dict[str, Any]:
    """
    Play some people to a checkout's node.

    :returns: figures, JSON-able; times in milliseconds.
    :raises MotionPredictorError: if the node does not start, or if it predicts nobody.
    """
    poses = walkers(persons, options.rate)
    messages = [pose_array(list(people)) for people in poses]
    parameters: dict[str, object] = {
        'max_persons': persons,
        'samples': options.samples,
        'model.path': options.weights,
        'output.step_s': options.step,
    }
    if options.memory:
        kept = scratch / 'memory'
        shutil.copy(options.memory, kept)
        parameters['memory.file'] = str(kept)
    out = scratch / 'stages.json'
    out.unlink(missing_ok=True)
    ear, claimed = Ear(), Domain()
    node = TimedNode(checkout, scratch / 'node.log', out, claimed.number, parameters)
    driver = Driver(claimed.number, ear.note)
    try:
        listen(driver, options.outputs)
        publisher = driver.publisher('/skeleton')

        def play(seconds: float) -> int:
            begun_s = due_s = time.monotonic()
            count = 0
            while time.monotonic() - begun_s < seconds:
                driver.send(publisher, messages[count % len(messages)], driver.now_ns(), FRAME)
                count += 1
                due_s = max(due_s, time.monotonic() - 0.2) + 1.0 / options.rate
                time.sleep(max(0.0, due_s - time.monotonic()))
            return count

        play(SETTLE_S)
        node.begin()
        ear.take()
        sent = play(options.seconds)
        late_s, people = ear.take()
        found = node.measured()
    finally:
        driver.close()
        node.stop()
        claimed.close()
    if not late_s:
        raise RigError(
            f'{checkout.name}, {persons} people: nothing heard:\n{node.output()[-2000:]}'
        )
    return {'checkout': checkout.name, 'persons': persons, **figures(found, late_s, people, sent)}


def listen(driver: Driver, outputs: Sequence[str]) -> None:
    """Subscribe to outputs beside ~/predictions, and ignore their messages."""
    from geometry_msgs.msg import PoseArray
    from sensor_msgs.msg import PointCloud2
    from trajectory_msgs.msg import MultiDOFJointTrajectory

    kinds = {
        'poses': PoseArray,
        'moments': PointCloud2,
        'occupancy': PointCloud2,
        'trajectory': MultiDOFJointTrajectory,
    }
    for name in outputs:
        driver.node.create_subscription(
            kinds[name], f'/motion_predictor/{name}', lambda message: None, 1, raw=True
        )


def figures(
    found: dict[str, Any], late_s: Sequence[float], people: Sequence[int], sent: int
) -> dict[str, Any]:
    """Return the figures of one run."""
    frames, passed_s = found['frames'], found['passed_s']
    count = max(1, len(frames))

    def both(stage: str, index: int) -> NDArray[np.float64]:
        zero = (0.0, 0.0)
        return 1e3 * np.array([frame.get(stage, zero)[index] for frame in frames])

    stages = {}
    for stage in STAGES:
        wall, cpu = both(stage, 0), both(stage, 1)
        stages[stage] = {
            'wall_ms': round(float(np.median(wall)), 3),
            'wall_p99_ms': round(float(np.quantile(wall, 0.99)), 3),
            'cpu_ms': round(float(cpu.mean()), 3),
        }
    whole = sum(both(stage, 0) for stage in STAGES)
    worker_cpu = sum(both(stage, 1) for stage in STAGES)
    threads = {name: 1e3 * spent_s / count for name, spent_s in found['threads_s'].items()}
    process_ms = sum(threads.values())
    ros_ms = threads.get('middleware', 0.0) + threads.get('executor', 0.0)
    ros_ms += stages['publish']['cpu_ms']
    late = 1e3 * np.array(late_s)
    return {
        'in_hz': round(sent / passed_s, 2),
        'out_hz': round(len(late_s) / passed_s, 2),
        'people': round(float(np.mean(people)), 2),
        'late_ms': round(float(np.median(late)), 2),
        'late_p99_ms': round(float(np.quantile(late, 0.99)), 2),
        'frame_ms': round(float(np.median(whole)), 3),
        'frame_p99_ms': round(float(np.quantile(whole, 0.99)), 3),
        'frame_cpu_ms': round(float(np.mean(worker_cpu)), 3),
        'process_cpu_ms': round(process_ms, 3),
        'ros_share': round(ros_ms / process_ms, 3),
        'threads_ms': {name: round(value, 3) for name, value in threads.items()},
        'stages': stages,
        'missing': found['missing'],
        'load': round(os.getloadavg()[0], 1),
    }


def perform(options: Options, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Measure every checkout with each number of people, in turns.

    :param arguments: the words that were parsed, to be recorded.
    """
    use_large_messages()
    checkouts = [Checkout('this', ROOT)]
    if options.against:
        checkouts.append(Checkout('that', options.against))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for persons in options.persons:
            for _ in range(options.rounds):
                for checkout in checkouts:
                    row = measure(checkout, persons, options, Path(folder))
                    print(
                        f'{row["checkout"]}: {persons} people, {row["out_hz"]} Hz out, '
                        f'{row["late_ms"]} ms late, p99 {row["late_p99_ms"]}, a frame '
                        f'{row["frame_ms"]} ms', file=sys.stderr, flush=True,
                    )  # fmt: skip
                    rows.append(row)
    return {
        **origin(FORMAT, VERSION, 'tools.measure.crowd', arguments),
        'commits': {each.name: each.commit for each in checkouts},
        'settings': {
            name: getattr(options, name)
            for name in ('seconds', 'rounds', 'rate', 'samples', 'step', 'weights', 'outputs')
        },
        'memory': bool(options.memory),
        'rows': rows,
    }


EXAMPLE = """example:
  python -m tools.measure.crowd --persons 1 10 --against ../before
"""


Output = Literal['poses', 'moments', 'trajectory', 'occupancy']


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.crowd``."""

    persons: tuple[int, ...] = (1, 3, 10, 30)
    """Numbers of people."""
    seconds: float = 10.0
    """Seconds of each measurement."""
    rounds: int = 2
    """Number of measurements of each checkout."""
    rate: float = 30.0
    """Frame rate, Hz."""
    samples: int = 50
    """Futures of each person."""
    step: float = 0.1
    """The parameter output.step_s."""
    weights: str = 'swiftdiff'
    """Name of a shipped model, or a weights file."""
    outputs: tuple[Output, ...] = ('poses', 'moments')
    """Outputs that are subscribed to beside ~/predictions."""
    memory: Path | None = None
    """File with the memory that the node starts with."""
    against: Path | None = None
    """Another source tree with its .venv."""
    json: Path | None = None
    """File for the figures."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if the node could not be measured."""
    options = read_options(Options, 'tools.measure.crowd', __doc__, EXAMPLE, arguments)
    try:
        found = perform(options, sys.argv[1:] if arguments is None else arguments)
    except MotionPredictorError as error:
        print(f'crowd: {error}', file=sys.stderr)
        return 1
    if options.json:
        write_json(options.json, found)
    print(table(found))
    return 0


if __name__ == '__main__':
    sys.exit(main())
