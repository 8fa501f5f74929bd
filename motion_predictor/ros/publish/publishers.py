# SPDX-License-Identifier: Apache-2.0
"""The publishers of a configured node, and the delivery of their last messages."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.qos import every_policy, latched_profile, output_profile
from motion_predictor.ros.publish.summaries import SUMMARIES

DELIVERY_S = 0.5
"""Longest time in seconds that an ending node waits for the delivery of its last messages."""


def make_publishers(
    node: LifecycleNode, settings: Settings, publishers: dict[str, LifecyclePublisher]
) -> None:
    """
    Make the publishers that the parameters ask for.

    :param node: the node.
    :param settings: its parameters.
    :param publishers: receives the publishers by topic without ``~/``, each when it is made, so
        that it also holds those made before a failure.
    :raises ConfigError: if a ``qos_overrides`` parameter is refused.
    """

    def output(message_type: type, name: str, profile: QoSProfile | None = None) -> None:
        try:
            publishers[name] = node.create_lifecycle_publisher(
                message_type,
                f'~/{name}',
                profile or output_profile(name, settings),
                qos_overriding_options=every_policy(),
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f'qos_overrides of ~/{name}: {error}') from None

    output(String, 'model', latched_profile())
    output(String, 'people', latched_profile())
    if settings.publish.predictions:
        output(PointCloud2, 'predictions')
    if settings.publish.markers:
        output(MarkerArray, 'markers')
    for name, summary in SUMMARIES.items():
        if getattr(settings.publish, name):
            output(summary.message_type, name)


def wait_for_delivery(
    node: LifecycleNode, publishers: Iterable[LifecyclePublisher], within_s: float
) -> None:
    """
    Wait until the last messages are delivered: a destroyed publisher sends nothing again.

    :param node: writes to its log if the middleware cannot tell.
    :param publishers: the publishers.
    :param within_s: longest time to wait, seconds; never longer than :data:`DELIVERY_S`.
    """
    end = perf_counter() + min(DELIVERY_S, within_s)
    for publisher in publishers:
        left = max(0.0, end - perf_counter())
        try:
            publisher.wait_for_all_acked(Duration(seconds=left))
        except RuntimeError as error:  # not every middleware can tell
            node.get_logger().debug(f'{publisher.topic_name}: {error}')
