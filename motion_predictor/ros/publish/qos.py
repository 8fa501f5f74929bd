# SPDX-License-Identifier: Apache-2.0
"""The quality of service of the outputs, by which subscribers notice a node that hangs."""

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
"""A node that has not reported to be alive for this time, in seconds, counts as dead."""
DEADLINE_S = 0.4
"""Longest time in seconds to the next message of an output, unless its rate is limited to less."""
RATES_HZ: Mapping[str, Callable[[Settings], float]] = {
    'occupancy': lambda settings: settings.occupancy.rate_hz,
    'markers': lambda settings: settings.markers.rate_hz,
}
"""Limits on the rate of an output, by topic; the others have one message per prediction."""


def output_profile(name: str, settings: Settings) -> QoSProfile:
    """
    Return the quality of service of an output.

    The predicting thread asserts the liveliness of the output as long as the node is active and
    the thread runs: see :func:`assert_alive`.

    :param name: topic of the output without ``~/``.
    :param settings: all parameters of the node.
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
    """Return the quality of service of an output that is kept for late joiners."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=LEASE_S),
    )


def every_policy() -> QoSOverridingOptions:
    """Return options by which ``qos_overrides.TOPIC.publisher.POLICY`` can set every policy."""
    kinds = [kind for name, kind in QoSPolicyKind.__members__.items() if name != 'INVALID']
    return QoSOverridingOptions(policy_kinds=tuple(dict.fromkeys(kinds)))


def is_wanted(publisher: Any | None) -> bool:
    """
    Return whether a message would reach anybody: a subscriber, or a later one if it is kept.

    :param publisher: None where the output is not published at all.
    """
    if publisher is None:
        return False
    if publisher.get_subscription_count() > 0:
        return True
    kept: bool = publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return kept


def assert_alive(publishers: Iterable[Any]) -> None:
    """
    Report that the predicting thread runs.

    :param publishers: the node's outputs; those with automatic liveliness need no report.
    """
    for publisher in publishers:
        if publisher.qos_profile.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC:
            publisher.assert_liveliness()
