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
    """v_r of the robot when nobody is near."""
    human_speed_m_s: float = 1.6
    """v_h: what ISO 13855 assumes of somebody who walks."""
    reaction_s: float = 0.1
    """T_r: from the measurement to the beginning of braking."""
    deceleration_m_s2: float = 2.0
    """a: how the robot brakes; the stopping time is v_r / a."""
    intrusion_m: float = 0.1
    """C: how far a part of the body reaches in before it is sensed, with Z, the uncertainties."""

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
    """Return S_p of a robot that moves with ``speed_m_s`` towards the person."""
    stopping_s = speed_m_s / settings.deceleration_m_s2
    return (
        settings.human_speed_m_s * (settings.reaction_s + stopping_s)
        + speed_m_s * settings.reaction_s
        + 0.5 * speed_m_s * stopping_s
        + settings.intrusion_m
    )


def permitted_speed_m_s(distance_m: float, settings: SeparationSettings) -> float:
    """
    Return the highest speed whose protective separation distance is not above the distance.

    :param distance_m: from the robot to the nearest point of anybody; infinite when nobody is
        there. NaN gives 0: what is not known is near.
    :returns: 0 to the full speed.
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

    :param points: metres, (N, 3), as in ~/poses; none at all: infinite.
    :param robot: metres, (3,), in the same frame.
    :param axes: 3 in space, 2 on the floor.
    :returns: metres; NaN where a point or the robot is not finite.
    """
    if not len(points):
        return math.inf
    apart = (points - np.asarray(robot))[:, :axes]
    return float(np.linalg.norm(apart, axis=1).min())
