# SPDX-License-Identifier: Apache-2.0
"""
The protective separation distance of ISO/TS 15066:2016, 5.5.4.2.3 (now in ISO 10218-2:2025).

    S_p = v_h (T_r + T_s) + v_r T_r + v_r^2 / (2 a) + C + Z,    T_s = v_r / a

with the speed v_h of the person, reaction time T_r, deceleration a, intrusion C and uncertainty of
the measurement Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from motion_predictor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SeparationSettings:
    """The terms of the protective separation distance, and the robot's full speed."""

    full_speed_m_s: float = 1.0
    """v_r: speed of the robot in m/s if nobody is near."""
    human_speed_m_s: float = 1.6
    """v_h: speed in m/s that ISO 13855 assumes for a walking person."""
    reaction_s: float = 0.1
    """T_r: time in seconds from the measurement to the beginning of braking."""
    deceleration_m_s2: float = 2.0
    """a: deceleration of the braking robot in m/s²; the stopping time is v_r / a."""
    intrusion_m: float = 0.1
    """C + Z: distance in metres that a part of the body reaches in before it is sensed, with the
    uncertainties Z."""

    def __post_init__(self) -> None:
        """
        Check the signs.

        :raises ConfigError: naming the setting that cannot be.
        """
        for name in ('full_speed_m_s', 'human_speed_m_s', 'deceleration_m_s2'):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must be positive')
        for name in ('reaction_s', 'intrusion_m'):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must not be negative')


def protective_distance_m(speed_m_s: float, settings: SeparationSettings) -> float:
    """Return S_p in metres of a robot that moves towards the person with ``speed_m_s``."""
    stopping_s = speed_m_s / settings.deceleration_m_s2
    return (
        settings.human_speed_m_s * (settings.reaction_s + stopping_s)
        + speed_m_s * settings.reaction_s
        + 0.5 * speed_m_s * stopping_s
        + settings.intrusion_m
    )


def permitted_speed_m_s(distance_m: float, settings: SeparationSettings) -> float:
    """
    Return the highest speed whose protective separation distance does not exceed the distance.

    :param distance_m: distance from the robot to the nearest point of anybody, metres; infinite if
        nobody is present. NaN gives 0: an unknown distance counts as near.
    :param settings: the terms of the distance.
    :returns: m/s, from 0 to the full speed.
    """
    if distance_m == math.inf:
        return settings.full_speed_m_s
    # S_p is a square in v: v^2 / (2 a) + (v_h / a + T_r) v + v_h T_r + C + Z - d = 0
    brake = settings.deceleration_m_s2
    slope = settings.human_speed_m_s / brake + settings.reaction_s
    rest = distance_m - settings.human_speed_m_s * settings.reaction_s - settings.intrusion_m
    if not rest > 0.0:
        return 0.0
    speed = brake * (math.sqrt(slope * slope + 2.0 * rest / brake) - slope)
    return min(speed, settings.full_speed_m_s)


def separation_m(points: np.ndarray, robot: Sequence[float] | np.ndarray, axes: int = 3) -> float:
    """
    Return the distance from the robot to the nearest point.

    :param points: metres, (N, 3), as in ~/poses; without points the result is infinite.
    :param robot: metres, (3,), in the same frame.
    :param axes: 3 in space, 2 on the floor.
    :returns: metres; NaN where a point or the robot is not finite.
    """
    if not len(points):
        return math.inf
    apart = (points - np.asarray(robot))[:, :axes]
    return float(np.linalg.norm(apart, axis=1).min())
