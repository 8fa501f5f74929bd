"""What the outputs promise through DDS, so that listeners learn of a node that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from motion_predictor.ros.parameters import Settings

LEASE_S = 0.4
"""A node that has not said for so long that it is alive is not."""
DEADLINE_S = 0.4
"""The next message of an output comes within this time, where its rate is not limited to less."""
RATES_HZ: Mapping[str, Callable[[Settings], float]] = {
    'occupancy': lambda settings: settings.occupancy.rate_hz,
    'markers': lambda settings: settings.markers.rate_hz,
}
"""What limits the rate of one output, by its topic; others have a message a prediction."""


def output_profile(name: str, settings: Settings) -> QoSProfile:
    """
    Say what an output offers.

    Its liveliness is asserted by the thread that predicts, as long as the node is active and that
    thread goes on: see :func:`assert_alive`.

    :param name: its topic, without ``~/``.
    :param settings: all of the node's.
    """
    limits_hz = [settings.rate_limit_hz]
    if name in RATES_HZ:
        limits_hz.append(RATES_HZ[name](settings))
    deadline_s = max([DEADLINE_S, *(2.0 / rate_hz for rate_hz in limits_hz if rate_hz > 0.0)])
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        deadline=Duration(seconds=deadline_s),
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=LEASE_S),
    )


def latched_profile() -> QoSProfile:
    """Say what an output offers that is published with changes and kept for late listeners."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=LEASE_S),
    )


def every_policy() -> QoSOverridingOptions:
    """Let every policy be set by a parameter ``qos_overrides.TOPIC.publisher.POLICY``."""
    kinds = [kind for name, kind in QoSPolicyKind.__members__.items() if name != 'INVALID']
    return QoSOverridingOptions(policy_kinds=tuple(dict.fromkeys(kinds)))


def assert_alive(publishers: Iterable[Any]) -> None:
    """
    Say that the thread that predicts goes on.

    :param publishers: of the node's outputs; those whose liveliness is automatic need no word.
    """
    for publisher in publishers:
        if publisher.qos_profile.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC:
            publisher.assert_liveliness()
