# SPDX-License-Identifier: Apache-2.0
"""A predictor process, programs that use its outputs, and a person who walks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
import time
from typing import Any

from geometry_msgs.msg import PoseArray, TransformStamped
import numpy as np
from rclpy.qos import QoSProfile
from ros_harness import Listener, process, wait_until
from rosgraph_msgs.msg import Clock

from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.scenes import chain
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.messages import ns_to_stamp, stamp_to_ns
from motion_predictor.ros.replay import pose_array

REAL = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'cmu17' / 'val.npz'
CLIPS = ('08_03', '08_02', '08_04', '08_11')
"""One person who walks four metres and more in each."""
RATE_HZ = 25.0
FAR_M = 15.0
EXPOSED_NS = 10_000_000
"""How old a pose is when it is published: a clock that hears of the time late is not behind it."""
PATIENCE_A_FRAME_S = 2.0
"""A frame that is not answered by then (nobody is there yet) is followed by the next one."""
PREDICTOR = {
    'autostart': True,
    'samples': 10,
    'model.threads': 1,
    'rate_limit_hz': 0.0,
    'memory.enabled': False,
}


@cache
def long_walk() -> np.ndarray:
    """
    Poses (T, 17, 3) of somebody who walks more than 15 m away, at 25 Hz, in metres.

    Real motion capture where the data are there (clips in a chain: four tenths of a second between
    two of them are made up); else the walker of our own making.
    """
    if REAL.is_file():
        clips = [open_recording(f'{REAL}:{name}').resample(RATE_HZ) for name in CLIPS]
        poses = next(iter(chain([*clips, *clips]).persons.values()))
    else:
        poses = next(iter(synthetic_walkers(1, 60.0, RATE_HZ, seed=2).persons.values()))
    poses = poses - np.append(poses[0, 0, :2], 0.0)
    away_m = np.linalg.norm(poses[:, 0, :2], axis=1)
    return poses[: int(np.argmax(away_m > FAR_M + 1.0))]


class Hall:
    """
    A predictor process in the test's domain, and what is published to it.

    Time is simulated: it goes on by a frame when the predictor has answered the frame before. On a
    busy machine everything is slower, and nothing is late.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener, self.stack = listener, ExitStack()
        self.now_ns = 1_000_000_000_000
        """The time, as on /clock."""
        self.poses: list[PoseArray] = []
        self.predictor: Any = None
        self._skeleton = listener.node.create_publisher(PoseArray, '/skeleton', 10)
        self._clock = listener.node.create_publisher(Clock, '/clock', 10)

    def __enter__(self) -> Hall:
        self.poses = self.listener.collect(PoseArray, '/motion_predictor/poses')
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def start_predictor(self, remapped: Mapping[str, str] | None = None, **parameters: Any) -> Any:
        """Start the predictor's process."""
        named = {name.replace('__', '.'): value for name, value in parameters.items()}
        values = {**PREDICTOR, **named, 'use_sim_time': True}
        self.predictor = self.stack.enter_context(process('motion_predictor', values, remapped))
        return self.predictor

    def start(self, program: str, **parameters: Any) -> Any:
        """Start a consumer's process."""
        values = {**parameters, 'use_sim_time': True}
        return self.stack.enter_context(
            process(f'motion_predictor.ros.consumers.{program}', values)
        )

    def tick(self) -> int:
        """Let a frame's time pass; the stamp of what is seen now, a little before."""
        self.now_ns += round(1e9 / RATE_HZ)
        self.tell_time()
        return self.now_ns - EXPOSED_NS

    def tell_time(self) -> None:
        """Publish the time, and handle what has arrived."""
        self._clock.publish(Clock(clock=ns_to_stamp(self.now_ns)))
        self.listener.spin()

    def show(self, pose: np.ndarray) -> int:
        """Publish the next pose (17, 3), wait for the answer, and return the pose's stamp."""
        stamp_ns = self.tick()
        message = pose_array([pose])
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), 'map'
        self._skeleton.publish(message)
        begun_s = time.monotonic()
        while not self._answered(stamp_ns) and time.monotonic() - begun_s < PATIENCE_A_FRAME_S:
            self.tell_time()
        return stamp_ns

    def _answered(self, stamp_ns: int) -> bool:
        return bool(self.poses) and stamp_to_ns(self.poses[-1].header.stamp) >= stamp_ns

    def show_until(self, pose: np.ndarray, holds: Callable[[], object], what: str) -> None:
        """Show somebody who stands, until something holds."""

        def step() -> None:
            self.show(pose)

        wait_until(holds, step, what)


class Robot:
    """A robot's frame in TF."""

    def __init__(self, listener: Listener, frame: str = 'base_link') -> None:
        from tf2_msgs.msg import TFMessage

        self._node, self._frame, self._type = listener.node, frame, TFMessage
        self._tf = listener.node.create_publisher(TFMessage, '/tf', QoSProfile(depth=100))

    def stand(self, x: float, y: float, stamp_ns: int) -> None:
        """Say where it is."""
        moved = TransformStamped()
        moved.header.frame_id, moved.child_frame_id = 'map', self._frame
        moved.header.stamp = ns_to_stamp(stamp_ns)
        moved.transform.translation.x, moved.transform.translation.y = float(x), float(y)
        moved.transform.rotation.w = 1.0
        self._tf.publish(self._type(transforms=[moved]))
