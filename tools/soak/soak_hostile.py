# SPDX-License-Identifier: Apache-2.0
"""Hostile faults of the soak: crowds, bad people beside a good one, far too large messages."""

from __future__ import annotations

from geometry_msgs.msg import Pose
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2

from tools.rig import pose_array
from tools.soak.soak_faults import Fault, FRAME, SECOND, Stage

FAR_M = np.array([0.0, 20.0, 0.0])
APART_M = np.array([0.0, 1.5, 0.0])
CROWD = 40
LONG = 'x' * 1_000_000
PATIENCE_S = 30
"""Longest wait in seconds for a first cloud of ~/occupancy on a busy machine."""
HUGE_POSES = 17 * 9_000
"""Number of poses in one message of 8.6 MB."""


def _beside(pose: np.ndarray, count: int) -> list[np.ndarray]:
    return [pose + FAR_M + index * APART_M for index in range(count)]


def _crowd(stage: Stage) -> None:
    stage.stream_beside(1.5, lambda pose: [pose, *_beside(pose, CROWD)])


def _bad_beside_good(stage: Stage) -> None:
    rng = stage.rng

    def change(pose: np.ndarray) -> list[np.ndarray]:
        others = _beside(pose, 5)
        others[0][:] = np.nan
        others[1][rng.integers(17)] = (np.inf, 1e300, 0.0)
        others[2] += rng.uniform(0.0, 8.0, 3) * [1.0, 1.0, 0.0]  # leaps
        others[3] += rng.normal(0.0, 0.5, (17, 3))
        others[4][rng.integers(17)] = 1e9
        return [pose, *others]

    stage.stream_beside(1.5, change)


def _come_and_go(stage: Stage) -> None:
    # A new person beside the good one in every other frame.
    count = 0

    def change(pose: np.ndarray) -> list[np.ndarray]:
        nonlocal count
        count += 1
        return [pose, *_beside(pose, count % 4)]

    stage.stream_beside(1.5, change)


def _too_many(stage: Stage) -> None:
    stage.stream(0.2, lambda pose: [pose, *_beside(pose, 300)])


def _long_frame(stage: Stage) -> None:
    for _ in range(6):
        stage.send([stage.pose()], frame_id=LONG)
        stage.pace()


def _huge(stage: Stage) -> None:
    message = pose_array([stage.pose()])
    message.poses = [Pose()] * HUGE_POSES
    for _ in range(2):
        stage.driver.send(stage.main, message, stage.driver.now_ns(), FRAME)
        stage.pace()


def _damaged(stage: Stage) -> None:
    rng = stage.rng
    for _ in range(6):
        content = serialize_message(pose_array([stage.pose()]))
        stage.main.publish(content[: int(rng.integers(12, len(content) - 8))])
        stage.driver.sent += 1
        stage.pace()


def _products(stage: Stage) -> None:
    for change in (
        {'occupancy__voxel_m': 0.02, 'occupancy__body_radius_m': 1.0},
        {'occupancy__bin_s': 0.02, 'occupancy__voxel_m': 0.02},
    ):
        said = [stage.driver.set_parameters(**{name: value})[0] for name, value in change.items()]
        if not any(said):
            raise RuntimeError(f'parameters whose product is too large were accepted: {change}')
        stage.driver.set_parameters(
            occupancy__voxel_m=0.1, occupancy__body_radius_m=0.1, occupancy__bin_s=0.5
        )
        stage.stream(0.2)


def _fine_voxels(stage: Stage) -> None:
    # A subscriber of ~/occupancy on a fine grid; predictions continue beside it.
    refused = stage.driver.set_parameters(occupancy__voxel_m=0.04)
    clouds: list[PointCloud2] = []
    listening = stage.driver.node.create_subscription(
        PointCloud2, '/motion_predictor/occupancy', clouds.append, 1
    )
    stage.stream_beside(3.0, lambda pose: [pose])
    for _ in range(PATIENCE_S):
        if not clouds:
            stage.stream(1.0)
    stage.driver.node.destroy_subscription(listening)
    refused += stage.driver.set_parameters(occupancy__voxel_m=0.1)
    if any(refused):
        raise RuntimeError(f'a good change of parameters was refused: {refused}')
    if not clouds:
        raise RuntimeError('nothing came on ~/occupancy')


def _twins_of_time(stage: Stage) -> None:
    # As a tracker that stamps on arrival, behind a network that sends in pairs; the node may
    # replace such stamps by even ones.
    now_ns = stage.driver.now_ns()
    stage.unstamped.append((now_ns, now_ns + 5 * SECOND))
    for _ in range(15):
        stage.pose()
        stage.pace()
        now_ns = stage.driver.now_ns()
        stage.send([stage.pose()], now_ns)
        stage.send([stage.pose()], now_ns + SECOND // 1000)
        stage.pace()


HOSTILE = (
    Fault('crowd', '40 people beside the one for 1.5 s, who is predicted all the time', _crowd,
          ('left_out_too_many_persons',)),
    Fault('bad beside good', 'five people of NaN, extremes, leaps and noise beside the one',
          _bad_beside_good, ('joints_not_finite',)),
    Fault('come and go', 'up to three people beside the one, others in every frame',
          _come_and_go),
    Fault('far too many people', '301 people in each message for 0.2 s', _too_many,
          ('messages_malformed',)),
    Fault('frame of a megabyte', 'frame_id has a million characters for 0.2 s', _long_frame,
          ('messages_malformed', 'messages_lost')),
    Fault('huge message', 'two messages of 8.6 MB', _huge,
          ('messages_malformed', 'messages_lost')),
    Fault('damaged message', 'six messages that end too early', _damaged,
          ('messages_malformed',)),
    Fault('products of parameters', 'grids that would take minutes, which must be refused',
          _products),
    Fault('fine voxels', 'somebody listens to ~/occupancy on a grid of 4 cm for 3 s',
          _fine_voxels),
    Fault('stamps in pairs', 'two frames a millisecond apart for a second', _twins_of_time),
)  # fmt: skip
"""Kinds in addition to those of :data:`tools.soak.soak_faults.FAULTS`."""
