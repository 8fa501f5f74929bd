# SPDX-License-Identifier: Apache-2.0
"""Transforms into one frame at an instant, computed from the messages of TF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from motion_predictor.errors import ConfigError
from motion_predictor.ros.intake.inputs import (
    profile_of,
    TF_DEPTH,
    TF_PACKAGE,
    tf_subscriptions,
)
from motion_predictor.sources.tf.causes import Missing
from motion_predictor.sources.tf.people import TF_MESSAGE
from motion_predictor.sources.tf.tree import frame_name, MAX_AT_ONCE, Pose, TransformTree
from motion_predictor.sources.trackers import message_class

_BACK_NS = 300_000_000  # seconds by which slow transforms may be late


class FrameTransforms:
    """Transforms into one frame, from a tree that is composed here from the messages of TF."""

    def __init__(
        self, node: Any, target_frame: str, changed: Callable[[], None] = lambda: None
    ) -> None:
        """
        Subscribe to TF.

        :param node: the node whose executor receives the transforms.
        :param target_frame: the frame that transforms lead into.
        :param changed: called with every message that comes.
        :raises ConfigError: if tf2_msgs is not installed.
        """
        try:
            tf_type = message_class('tf', TF_MESSAGE, TF_PACKAGE)
        except ConfigError:
            raise ConfigError(
                f'target_frame={target_frame!r}: needs tf2_msgs, which cannot be imported; '
                'install ros-$ROS_DISTRO-tf2-msgs, or leave target_frame empty and set '
                'input.rotation'
            ) from None
        self.target_frame = target_frame
        self._node = node
        self._changed = changed
        self._tree = TransformTree()
        self._subscriptions = [
            node.create_subscription(
                wanted.message_type,
                wanted.topic,
                self._take_in(wanted.latched),
                profile_of(wanted),
            )
            for wanted in tf_subscriptions(tf_type)
        ]

    def _take_in(self, static: bool) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            for transform in message.transforms[:MAX_AT_ONCE]:
                self._tree.add(transform, static)
            self._changed()

        return callback

    def lookup(self, frame_id: str, stamp_ns: int) -> Pose | None:
        """
        Return the transform of a frame without waiting.

        :param frame_id: name of the frame.
        :param stamp_ns: the instant, nanoseconds.
        :returns: rotation (3, 3) and translation (3,) in metres that take points of the frame into
            the target frame; None if TF does not know them (yet).
        """
        frame = frame_name(frame_id)
        placed = self._tree.place([frame], stamp_ns, frame_name(self.target_frame)).get(frame)
        if placed is None or placed.lacking:
            return None
        return placed.rotation, placed.translation

    def catch_up(self) -> None:
        """
        Take in the transforms that wait in DDS for an executor that is late.

        May be called from any thread: who takes a message first has it, and the other none.
        """
        for subscription in tuple(self._subscriptions):
            with subscription.handle:
                for _ in range(TF_DEPTH):
                    taken = subscription.handle.take_message(subscription.msg_type, False)
                    if taken is None:
                        break
                    subscription.callback(taken[0])

    def target_in_root(self, now_ns: int) -> tuple[str, np.ndarray, np.ndarray] | None:
        """
        Return the present pose of the target frame in the root of its tree.

        :param now_ns: the node's clock, nanoseconds.
        :returns: name of the root, rotation (3, 3) and translation (3,) in metres; None if TF does
            not know them.
        """
        target = frame_name(self.target_frame)
        placed = self._tree.place([target], now_ns - _BACK_NS).get(target)
        if placed is None or placed.root == target:
            return None
        return placed.root, placed.rotation, placed.translation

    def explain(self, frame_id: str, stamp_ns: int, waited_s: float) -> Missing | None:
        """
        Return why there is no transform; None if there is one.

        :param frame_id: name of the frame.
        :param stamp_ns: the instant, nanoseconds.
        :param waited_s: time that was spent waiting, seconds.
        """
        return self._tree.explain(
            frame_name(frame_id), stamp_ns, frame_name(self.target_frame), waited_s
        )

    def close(self) -> None:
        """Unsubscribe."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
