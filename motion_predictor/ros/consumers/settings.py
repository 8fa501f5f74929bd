# SPDX-License-Identifier: Apache-2.0
"""Parameters of the consumers, one frozen dataclass each; all are fixed once a consumer runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters.fields import parameter
from motion_predictor.ros.parameters.parameter import AT_START
from motion_predictor.ros.parameters.texts import entries

ROS2_CONTROL, NAV2 = 'ros2_control', 'nav2'
MOST_CELLS = 4000
"""Greatest number of cells along a side of the map."""


def _require_timely(period_s: float, stale_s: float) -> None:
    if period_s > stale_s:
        raise ConfigError(f'period_s={period_s:g}: must not be above stale_s={stale_s:g}')


@dataclass(frozen=True, kw_only=True)
class SeparationParameters:
    """The terms of the protective separation distance, the robot's position, and timeouts."""

    full_speed_m_s: float = parameter(
        1.0, unit='m/s', minimum=0.001, maximum=100.0, applies=AT_START
    )
    """Speed of the robot while nobody is near (v_r)."""
    human_speed_m_s: float = parameter(
        1.6, unit='m/s', minimum=0.001, maximum=20.0, applies=AT_START
    )
    """Speed at which a person approaches (v_h)."""
    reaction_s: float = parameter(0.1, unit='s', minimum=0.0, maximum=10.0, applies=AT_START)
    """Time from the measurement to the beginning of braking (T_r)."""
    deceleration_m_s2: float = parameter(
        2.0, unit='m/s2', minimum=0.01, maximum=100.0, applies=AT_START
    )
    """Deceleration of the robot when it brakes (a)."""
    intrusion_m: float = parameter(0.1, unit='m', minimum=0.0, maximum=10.0, applies=AT_START)
    """Intrusion distance, uncertainties of both positions, radius of a body part (C + Z)."""
    robot_radius_m: float = parameter(0.0, unit='m', minimum=0.0, maximum=10.0, applies=AT_START)
    """Radius of the robot around the point that the next parameters name."""
    robot_frame: str = parameter('', applies=AT_START)
    """Frame of the robot in TF; empty: the robot stands at robot_m."""
    robot_m: tuple[float, ...] = parameter(
        (0.0, 0.0, 1.0), unit='m', minimum=-1e5, maximum=1e5, lengths=(3,), applies=AT_START
    )
    """Position of a robot without a frame, in the frame that the parameter frame names."""
    horizontal: bool = parameter(False, applies=AT_START)
    """Measure distances on the floor only, as for a mobile robot; false: in space."""
    frame: str = parameter('', applies=AT_START)
    """Frame that ~/poses must have; empty accepts any frame that TF connects with robot_frame, or,
    without a robot_frame, the frame of the first message.
    """
    stale_s: float = parameter(0.3, unit='s', minimum=0.01, maximum=10.0, applies=AT_START)
    """Age of a prediction's stamp from which it is ignored."""
    future_s: float = parameter(0.02, unit='s', minimum=0.0, maximum=1.0, applies=AT_START)
    """A prediction that is stamped further ahead of this node's clock is ignored."""
    missed_periods: float = parameter(1.0, minimum=0.1, maximum=100.0, applies=AT_START)
    """Number of usual periods by which a message of the predictor may be late; then the predictor
    counts as dead.
    """
    period_s: float = parameter(0.02, unit='s', minimum=0.001, maximum=1.0, applies=AT_START)
    """Time between two messages of this node."""

    def __post_init__(self) -> None:
        """
        Check the rules between parameters.

        :raises ConfigError: if the node would be silent for longer than a prediction holds.
        """
        _require_timely(self.period_s, self.stale_s)


@dataclass(frozen=True, kw_only=True)
class ScalingParameters:
    """Conversion of a speed limit into a controller's factor."""

    output: str = parameter(ROS2_CONTROL, choices=(ROS2_CONTROL, NAV2), applies=AT_START)
    """Publish control_msgs/SpeedScalingFactor, or nav2_msgs/SpeedLimit."""
    full_speed_m_s: float = parameter(
        1.0, unit='m/s', minimum=0.001, maximum=100.0, applies=AT_START
    )
    """Speed limit that permits a factor of 1: the planned speed of the fastest point."""
    rise_per_s: float = parameter(0.5, unit='1/s', minimum=0.001, maximum=1000.0, applies=AT_START)
    """Greatest rise of the factor per second; it falls at once."""
    stale_s: float = parameter(0.1, unit='s', minimum=0.005, maximum=10.0, applies=AT_START)
    """Time without a speed limit after which the factor is 0."""
    period_s: float = parameter(0.02, unit='s', minimum=0.001, maximum=1.0, applies=AT_START)
    """Time between two messages of this node."""
    least_percent: float = parameter(5.0, unit='%', minimum=0.1, maximum=100.0, applies=AT_START)
    """Lowest limit that is sent to Nav2, whose controllers take 0 for "no limit"."""

    def __post_init__(self) -> None:
        """
        Check the rules between parameters.

        :raises ConfigError: if the node would be silent for longer than a limit holds.
        """
        _require_timely(self.period_s, self.stale_s)


@dataclass(frozen=True, kw_only=True)
class CostsParameters:
    """The map of costs around the robot, and the voxels that count in it."""

    robot_frame: str = parameter('base_link', applies=AT_START)
    """Frame of the robot in TF, which is the middle of the map; empty takes the origin of the
    cloud's frame."""
    cell_m: float = parameter(0.1, unit='m', minimum=0.01, maximum=5.0, applies=AT_START)
    """Side of a cell, at least occupancy.voxel_m of the predictor."""
    size_m: float = parameter(12.0, unit='m', minimum=0.1, maximum=1000.0, applies=AT_START)
    """Side of the map."""
    min_height_m: float = parameter(
        0.05, unit='m', minimum=-100.0, maximum=100.0, applies=AT_START
    )
    """Lowest height that counts."""
    max_height_m: float = parameter(1.8, unit='m', minimum=-100.0, maximum=100.0, applies=AT_START)
    """Greatest height that counts."""
    look_ahead_s: float = parameter(1.0, unit='s', minimum=0.01, maximum=60.0, applies=AT_START)
    """Only time bins that begin earlier count."""
    keep_s: float = parameter(2.0, unit='s', minimum=0.1, maximum=60.0, applies=AT_START)
    """Silence of the predictor after which one empty map clears its costs."""

    def __post_init__(self) -> None:
        """
        Check the rules between parameters.

        :raises ConfigError: if no height counts, or if the map has too few or too many cells.
        """
        if self.min_height_m >= self.max_height_m:
            raise ConfigError(
                f'min_height_m={self.min_height_m:g}: must be below '
                f'max_height_m={self.max_height_m:g}'
            )
        if not 1 <= self.size_m / self.cell_m <= MOST_CELLS:
            raise ConfigError(
                f'size_m={self.size_m:g}: must be 1 to {MOST_CELLS} times cell_m={self.cell_m:g}'
            )


@dataclass(frozen=True, kw_only=True)
class PeopleParameters:
    """The list of people."""

    joint: str = parameter('Hip', applies=AT_START)
    """Joint of ~/trajectory whose position is the person's, as ~/model names it."""


@dataclass(frozen=True, kw_only=True)
class SceneParameters:
    """The collision objects of people."""

    radius_m: float = parameter(0.15, unit='m', minimum=0.001, maximum=5.0, applies=AT_START)
    """Radius of the sphere about every joint at every keyframe."""
    period_s: float = parameter(0.2, unit='s', minimum=0.01, maximum=10.0, applies=AT_START)
    """Least time between two scenes; a scene that changes at camera rate stops the planner."""
    keep_s: float = parameter(2.0, unit='s', minimum=0.1, maximum=60.0, applies=AT_START)
    """Silence of the predictor after which its people are removed."""


@dataclass(frozen=True, kw_only=True)
class PrescyentParameters:
    """The bridge between prescyent's topics and the predictor's."""

    frame: str = parameter('map', applies=AT_START)
    """Frame of the positions, whose messages have a frame's number instead."""
    horizon_s: float = parameter(1.0, unit='s', minimum=0.01, maximum=60.0, applies=AT_START)
    """Horizon of the prediction; the predictor's poses.horizons_s must hold only this value."""
    rate_hz: float = parameter(10.0, unit='Hz', minimum=0.1, maximum=1000.0, applies=AT_START)
    """Positions per second; the number of a prediction is that of the position plus rate_hz times
    horizon_s."""


CONSUMERS: Mapping[str, Any] = {
    'people_costs': CostsParameters(),
    'people_list': PeopleParameters(),
    'speed_and_separation': SeparationParameters(),
    'speed_scaling': ScalingParameters(),
    'nav2_speed_limit': ScalingParameters(output=NAV2, period_s=0.1, stale_s=0.2),
    'people_scene': SceneParameters(),
    'prescyent_bridge': PrescyentParameters(),
}
"""Defaults of each node by its name, as in ``config/consumers.yaml``."""

HEADER = """\
# Parameters of the consumers (consumers.launch.py): every one, with its default.
#
# "/**/" applies a block to the node of that name in any namespace.
"""


def parameter_file() -> str:
    """Return the text of ``config/consumers.yaml``: every parameter with its default."""
    blocks = []
    for name, record in CONSUMERS.items():
        lines = entries(record, [item.name for item in fields(record)], indent=4)
        blocks.append('\n'.join([f'/**/{name}:', '  ros__parameters:', *lines]))
    return HEADER + '\n\n'.join(blocks) + '\n'
