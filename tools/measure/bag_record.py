# SPDX-License-Identifier: Apache-2.0
"""Record the replay node's messages over DDS into a rosbag2, with its /clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import tempfile
import time
from typing import Any

from geometry_msgs.msg import PoseArray
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from rosgraph_msgs.msg import Clock

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.recording import Recording
from motion_predictor.ros.messages import (
    stamp_to_ns,
)
from tools.demo.demo import Stage

STORAGE = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
SKELETON = '/skeleton'
CLOCK = '/clock'
TYPES = {SKELETON: PoseArray, CLOCK: Clock}
PATIENCE_S = 300.0
"""Longest time in seconds of any wait; it is reached only if something is broken."""


class BagRunError(MotionPredictorError):
    """Recording or playing cannot continue; the message says why."""


class Participant:
    """A node in a separate domain, spun by the caller."""

    def __init__(self, name: str, domain: int) -> None:
        """Join the domain."""
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def wait(self, holds: Callable[[], Any], what: str, stage: Stage) -> Any:
        """
        Spin until something holds.

        :raises BagRunError: if a process of the stage fails, or if it takes too long.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            self.executor.spin_once(timeout_sec=0.02)
            for child in stage.children:
                if child.process.poll():
                    raise BagRunError(f'{what}: {child.name} has ended:\n{child.tail()}')
            if time.monotonic() > deadline:
                tails = '\n'.join(f'{child.name}: {child.tail()}' for child in stage.children)
                raise BagRunError(f'{what}: not within {PATIENCE_S:g} s\n{tails}')
        return found

    def close(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@contextmanager
def on_stage(name: str) -> Iterator[tuple[Stage, Participant, Path]]:
    """Yield a stage for processes, a participant in its domain and a folder; then end them."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        participant = Participant(name, stage.domain)
        try:
            yield stage, participant, Path(folder)
        finally:
            stage.stop()
            participant.close()


def record(
    recording: Recording, bag: Path, *, storage: str = 'mcap', speed: float = 1.0
) -> dict[str, int]:
    """
    Let the replay node play motion, and write its messages into a rosbag2 with /clock.

    :param recording: motion of 17 joints.
    :param bag: folder to make.
    :param storage: mcap or sqlite3.
    :param speed: multiple of real speed; stamps and /clock count the recording's own time.
    :returns: number of messages of each topic.
    :raises BagRunError: if the replay fails.
    """
    written = dict.fromkeys(TYPES, 0)
    store = get_typestore(Stores.ROS2_HUMBLE)
    with on_stage('recorder') as (stage, recorder, folder):
        ended = False
        with Writer(bag, version=9, storage_plugin=STORAGE[storage]) as writer:
            connections = {
                topic: writer.add_connection(
                    topic, f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}', typestore=store
                )
                for topic, kind in TYPES.items()
            }

            def keep(topic: str) -> Callable[[bytes], None]:
                def callback(message: bytes) -> None:
                    nonlocal ended
                    decoded = deserialize_message(message, TYPES[topic])
                    stamp = decoded.clock if topic == CLOCK else decoded.header.stamp
                    # by the bag's own clock, so that players keep the recording's pace
                    writer.write(connections[topic], stamp_to_ns(stamp), message)
                    written[topic] += 1
                    ended |= topic == SKELETON and not decoded.poses

                return callback

            for topic, kind in TYPES.items():
                profile = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
                recorder.node.create_subscription(kind, topic, keep(topic), profile, raw=True)
            arguments = ['--ros-args', '-p', f'path:={save_clip(recording, folder)}']
            for name, value in {
                'loop': 'false',
                'publish_clock': 'true',
                'wait_for_subscribers': 1,
                'speed': float(speed),
            }.items():
                arguments += ['-p', f'{name}:={value}']
            stage.start('replay', 'motion_predictor.ros.replay', arguments)
            recorder.wait(lambda: ended, 'recording', stage)
            recorder.executor.spin_once(timeout_sec=0.1)
    return written


def save_clip(recording: Recording, folder: Path) -> str:
    """Write a recording as an archive for the replay node; return the path to play."""
    poses = list(recording.persons.values())
    names = [f'person{index}' for index in range(len(poses))]
    np.savez(
        folder / 'motion.npz',
        positions=np.concatenate(poses),
        offsets=np.cumsum([0, *(len(each) for each in poses)]),
        names=np.array(names),
        fps=np.float64(recording.rate_hz),
    )
    return f'{folder / "motion.npz"}:{"+".join(names)}'
