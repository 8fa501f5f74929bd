# SPDX-License-Identifier: Apache-2.0
"""The map of costs: its arithmetic, and over DDS about a robot that follows somebody for 15 m."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('nav_msgs')

from consumer_rig import FAR_M, Hall, long_walk, Robot
from nav_msgs.msg import OccupancyGrid
from ros_harness import wait_until

from motion_predictor.ros.consumers.people_costs import flattened, Grid
from motion_predictor.ros.consumers.settings import CostsParameters
from motion_predictor.ros.messages import stamp_to_ns
from motion_predictor.ros.publish.outputs import OCCUPANCY_DTYPE

BEHIND_M = 2.0
"""The robot follows the person at this distance."""


def rows_at(*places: tuple[float, float, float]) -> np.ndarray:
    rows = np.zeros(len(places), dtype=OCCUPANCY_DTYPE)
    rows['x'], rows['y'], rows['z'] = np.array(places).T
    rows['probability'] = 0.7
    return rows


def test_what_is_above_the_robot_or_too_far_ahead_does_not_count() -> None:
    settings = CostsParameters()
    rows = rows_at(*[(1.05, 2.05, 1.0)] * 2, (1.05, 2.05, 2.5), (99.0, 2.05, 1.0), (-5.95,) * 3)
    rows['probability'] = [0.2, 0.7, 1.0, 1.0, 0.5]
    rows['z'][4], rows['t'][4] = 1.0, 1.5
    grid = Grid.about(np.zeros(2), settings)
    costs = flattened(rows, grid, settings)
    assert costs.shape == (120, 120)
    assert costs[80, 70] == 70, 'the line is y, the column x'
    assert np.count_nonzero(costs) == 1
    assert not flattened(rows[:0], grid, settings).any()


@pytest.mark.parametrize('middle', [(0.0, 0.0), (123.456, -78.91), (-1e4, 1e4)])
def test_a_map_lies_about_the_robot_on_whole_cells(middle: tuple[float, float]) -> None:
    settings = CostsParameters(cell_m=0.1, size_m=6.0)
    grid = Grid.about(np.array(middle), settings)
    for corner, centre in zip(grid.corner_m, middle):
        assert abs(corner + 3.0 - centre) <= 0.051
        assert corner / 0.1 == pytest.approx(round(corner / 0.1), abs=1e-6)
    near = np.floor(np.array(middle) / 0.1) * 0.1 + 0.05  # the centre of a voxel of the frame
    costs = flattened(rows_at((*near, 1.0)), grid, settings)
    line, column = (int(index) for index in np.argwhere(costs == 70)[0])
    assert (line, column) == (
        round((near[1] - grid.corner_m[1]) / 0.1 - 0.5),
        round((near[0] - grid.corner_m[0]) / 0.1 - 0.5),
    )


def costs_near(message: OccupancyGrid, place: np.ndarray, within_m: float = 1.0) -> Any:
    """Highest cost within a distance of a place, (2,) metres in the map's frame."""
    cells = np.reshape(message.data, (message.info.height, message.info.width))
    origin = message.info.origin.position
    side = message.info.resolution
    line, column = np.mgrid[: cells.shape[0], : cells.shape[1]]
    x, y = origin.x + side * (column + 0.5), origin.y + side * (line + 0.5)
    return cells[np.hypot(x - place[0], y - place[1]) < within_m].max(initial=0)


@pytest.mark.slow
def test_a_map_keeps_somebody_who_walks_fifteen_metres(hall: Hall) -> None:
    walk, listener = long_walk(), hall.listener
    robot = Robot(listener)
    maps = listener.collect(OccupancyGrid, '/people_costs')
    hall.start_predictor(occupancy__rate_hz=25.0)
    hall.start('people_costs', keep_s=20.0)  # of a machine that is busy

    def stand() -> None:
        robot.stand(-BEHIND_M, 0.0, hall.now_ns)
        hall.show(walk[0])

    wait_until(lambda: maps and any(maps[-1].data), stand, 'somebody in the map')
    begun, places = len(maps), {}
    for pose in walk:
        person = pose[0, :2].astype(float)
        ahead = person / max(float(np.linalg.norm(person)), 1.0)
        robot.stand(*(person - BEHIND_M * ahead), hall.now_ns)
        places[hall.show(pose)] = person
    assert np.linalg.norm(person) > FAR_M

    def stay() -> None:
        robot.stand(*(person - BEHIND_M * ahead), hall.now_ns)
        places[hall.show(walk[-1])] = person

    def middle_m() -> float:
        origin = maps[-1].info.origin.position
        return float(np.hypot(origin.x + 6.0, origin.y + 6.0))

    wait_until(lambda: middle_m() > FAR_M - BEHIND_M - 1.0, stay, 'a map that follows')
    # A map is made when there is time for one: it is of the pose that has its stamp, not the last.
    stamps = [stamp_to_ns(each.header.stamp) for each in maps[begun:]]
    seen = [
        costs_near(message, places[stamp])
        for stamp, message in zip(stamps, maps[begun:])
        if stamp in places
    ]
    assert len(seen) >= 10
    assert min(seen) >= 50, 'the person was lost'
    hall.predictor.kill()
    listener.wait(lambda: not any(maps[-1].data), 'an empty map of a dead predictor')
