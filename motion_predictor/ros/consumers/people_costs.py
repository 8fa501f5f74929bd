# SPDX-License-Identifier: Apache-2.0
"""A map of costs around the robot from ~/occupancy, for the static layer of a Nav2 costmap."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
import math
import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from motion_predictor.errors import MessageError
from motion_predictor.ros.consumers.heard import Heard
from motion_predictor.ros.consumers.packages import message_class
from motion_predictor.ros.consumers.place import RobotPlace
from motion_predictor.ros.consumers.running import declared, every, run
from motion_predictor.ros.consumers.settings import CostsParameters
from motion_predictor.ros.messages import read_cloud
from motion_predictor.signals import leave_at_once_when_asked

NAME = 'people_costs'
LOOK_S = 0.1
"""Period in seconds with which the node checks whether the predictor has fallen silent."""
WARN_S = 5.0
FIELDS = ('x', 'y', 'z', 'probability', 't')


@dataclass(frozen=True)
class Grid:
    """A square map: its cells per side, their side in metres, and its lower left corner."""

    cells: int
    cell_m: float
    corner_m: tuple[float, float]

    @staticmethod
    def about(middle: np.ndarray, settings: CostsParameters) -> Grid:
        """
        Return the map around a place.

        :param middle: metres, (2,) or more. The corner lies on whole cells of the frame, so that
            the cells of successive maps coincide.
        :param settings: the parameters.
        """
        cells = max(1, round(settings.size_m / settings.cell_m))
        first = [
            math.floor(float(middle[axis]) / settings.cell_m + 0.5) - cells // 2 for axis in (0, 1)
        ]
        return Grid(
            cells, settings.cell_m, (first[0] * settings.cell_m, first[1] * settings.cell_m)
        )


def flattened(rows: np.ndarray, grid: Grid, settings: CostsParameters) -> np.ndarray:
    """
    Return the greatest probability of each column of voxels, 0 to 100.

    :param rows: rows of ~/occupancy: fields x, y, z in metres, probability, t in seconds.
    :param grid: the map.
    :param settings: the parameters.
    :returns: int8, (cells, cells); the row is y.
    """
    costs = np.zeros((grid.cells, grid.cells), dtype=np.int8)
    if not len(rows):
        return costs
    counts = (rows['z'] > settings.min_height_m) & (rows['z'] < settings.max_height_m)
    counts &= rows['t'] < settings.look_ahead_s
    rows = rows[counts]
    # voxel centres of the same cell size lie in the middle of a cell: none is on an edge
    column = np.floor((rows['x'] - grid.corner_m[0]) / grid.cell_m + 1e-4).astype(int)
    line = np.floor((rows['y'] - grid.corner_m[1]) / grid.cell_m + 1e-4).astype(int)
    inside = (column >= 0) & (column < grid.cells) & (line >= 0) & (line < grid.cells)
    percent = np.rint(100.0 * np.clip(rows['probability'][inside], 0.0, 1.0)).astype(np.int8)
    np.maximum.at(costs, (line[inside], column[inside]), percent)
    return costs


class PeopleCosts(Node):
    """Publishes one map for each cloud of ~/occupancy, and an empty one when they stop."""

    def __init__(self, **node_arguments: object) -> None:
        """
        Start to listen.

        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises ConfigError: if a parameter cannot work, or if nav_msgs or tf2_msgs is missing.
        """
        super().__init__(NAME, **node_arguments)
        self._settings = declared(self, CostsParameters())
        self._map_type = message_class('nav_msgs/msg/OccupancyGrid', NAME)
        self._robot = RobotPlace(self, self._settings.robot_frame, (0.0, 0.0, 0.0))
        self._costs = self.create_publisher(self._map_type, 'people_costs', 1)
        self._middle: dict[str, np.ndarray] = {}
        self._shown = ''
        self._heard = Heard(
            self,
            PointCloud2,
            'occupancy',
            longest_s=self._settings.keep_s,
            taken=self._on_cloud,
        )
        every(self, LOOK_S, self._on_timer)

    def _on_cloud(self, message: PointCloud2) -> None:
        try:
            rows = read_cloud(message)
            if len(rows) and not set(FIELDS) <= set(rows.dtype.names or ()):
                raise MessageError(f'fields {rows.dtype.names}: expected {", ".join(FIELDS)}')
        except MessageError as error:
            self._warn(f'a cloud of {self._heard.topic} is left out: {error}')
            return
        self._shown = message.header.frame_id if len(rows) else ''
        self._publish(message.header, rows)

    def _on_timer(self) -> None:
        if self._heard.current() is not None or not self._shown:
            return
        self.get_logger().warning(
            f'no message on {self._heard.topic} for {self._settings.keep_s:g} s: costs are cleared'
        )
        header = self._map_type().header
        header.frame_id, header.stamp = self._shown, self.get_clock().now().to_msg()
        self._shown = ''
        self._publish(header, np.zeros(0))

    def _publish(self, header: object, rows: np.ndarray) -> None:
        frame_id = header.frame_id  # type: ignore[attr-defined]
        middle = self._robot.in_frame(frame_id, self.get_clock().now().nanoseconds)
        if middle is None:
            middle = self._middle.get(frame_id)
            since = 'now' if middle is not None else 'yet'
            self._warn(
                f'TF has no {self._settings.robot_frame!r} in {frame_id!r} {since}: '
                + ('the map stays where it was' if middle is not None else 'no map is published')
            )
            if middle is None:
                return
        self._middle = {frame_id: middle}
        grid = Grid.about(middle, self._settings)
        message = self._map_type(header=header)
        message.info.resolution = grid.cell_m
        message.info.width = message.info.height = grid.cells
        message.info.origin.position.x, message.info.origin.position.y = grid.corner_m
        message.info.origin.orientation.w = 1.0
        message.data = array('b', flattened(rows, grid, self._settings).tobytes())
        self._costs.publish(message)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=WARN_S)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    leave_at_once_when_asked()
    return run(NAME, PeopleCosts, args)


if __name__ == '__main__':
    sys.exit(main())
