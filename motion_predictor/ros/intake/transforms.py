"""Transforms into one frame at an instant: by tf2_ros, or by a tree of our own without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.time import Time

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.errors import ConfigError
from motion_predictor.ros.intake.inputs import profile_of, TF_PACKAGE, tf_subscriptions
from motion_predictor.sources.observation import MAX_FRAME_NAME
from motion_predictor.sources.tf.causes import (
    Cause,
    cut,
    Missing,
    no_frame,
    not_connected,
    too_new,
    too_old,
)
from motion_predictor.sources.tf.people import TF_MESSAGE
from motion_predictor.sources.tf.tree import frame_name, MAX_AT_ONCE, Pose, TransformTree
from motion_predictor.sources.trackers import message_class

_BACK_NS = 300_000_000  # by so much slow transforms are late


class FrameTransforms:
    """Transforms into one frame, by tf2_ros, which is imported only when it is needed."""

    def __init__(
        self, node: Any, target_frame: str, changed: Callable[[], None] = lambda: None
    ) -> None:
        """
        Start to listen to TF.

        :param node: whose executor hears the transforms.
        :param target_frame: frame to find transforms into.
        :param changed: called with every transform that comes.
        :raises ConfigError: if tf2_ros is not installed.
        """
        try:
            import tf2_ros
        except ImportError as error:
            raise ConfigError(
                f'target_frame={target_frame!r}: needs tf2_ros, which cannot be imported '
                f'({error}); install ros-$ROS_DISTRO-tf2-ros-py or ros-$ROS_DISTRO-tf2-msgs, or '
                'leave target_frame empty and set input.rotation'
            ) from None

        class Buffer(tf2_ros.Buffer):  # type: ignore[misc]
            def set_transform(self, *transform: Any, **more: Any) -> Any:
                done = super().set_transform(*transform, **more)
                changed()
                return done

        self.target_frame = target_frame
        self._tf2 = tf2_ros
        self._buffer = Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, frame_id: str, stamp_ns: int) -> Pose | None:
        """
        Find where a frame was, without waiting.

        :returns: rotation (3, 3) and translation (3,) in metres that take points of the frame
            into the target frame; None where TF does not know them (yet).
        """
        frame = frame_name(frame_id)
        if not frame or len(frame) > MAX_FRAME_NAME:
            return None
        try:
            found = self._buffer.lookup_transform(
                frame_name(self.target_frame), frame, Time(nanoseconds=stamp_ns)
            ).transform
        except self._tf2.TransformException:
            return None
        turn, shift = found.rotation, found.translation
        return rotation_matrix([turn.x, turn.y, turn.z, turn.w]), np.array(
            [shift.x, shift.y, shift.z]
        )

    def target_in_root(self, now_ns: int) -> tuple[str, np.ndarray, np.ndarray] | None:
        """
        Find where the target frame is by now in the root of its tree.

        :param now_ns: the node's clock.
        :returns: the root's name, rotation (3, 3) and translation (3,); None where TF does not
            know.
        """
        target = frame_name(self.target_frame)
        # Lines such as 'Frame base exists with parent odom.'
        words = self._buffer.all_frames_as_string().split()
        pairs = zip(words[1::6], (word.rstrip('.') for word in words[5::6]))
        parents = {child: parent for child, parent in pairs if parent != 'NO_PARENT'}
        root, steps = target, 0
        while root in parents and steps < len(parents):
            root, steps = parents[root], steps + 1
        if root == target:
            return None
        try:
            found = self._buffer.lookup_transform(root, target, Time()).transform
        except self._tf2.TransformException:
            return None
        turn, shift = found.rotation, found.translation
        matrix = rotation_matrix([turn.x, turn.y, turn.z, turn.w])
        return root, matrix, np.array([shift.x, shift.y, shift.z])

    def explain(self, frame_id: str, stamp_ns: int, waited_s: float) -> Missing | None:
        """
        Say why there is no transform; None where there is one.

        :param waited_s: how long it was waited for.
        """
        frame, target = frame_name(frame_id), frame_name(self.target_frame)
        if not frame or len(frame) > MAX_FRAME_NAME:
            return no_frame(Cause.NO_FRAME, frame, [])
        try:
            self._buffer.lookup_transform(target, frame, Time(nanoseconds=stamp_ns))
        except self._tf2.LookupException as error:
            # Lines such as 'Frame base exists with parent odom.'
            known = self._buffer.all_frames_as_string().split()[1::6]
            if 'target_frame' in str(error):
                return no_frame(Cause.NO_TARGET, target, known)
            return no_frame(Cause.NO_FRAME, frame, known)
        except self._tf2.ConnectivityException:
            return not_connected(frame, target)
        except self._tf2.ExtrapolationException:
            return self._extrapolated(frame, target, stamp_ns, waited_s)
        except self._tf2.TransformException as error:
            return Missing(Cause.NOT_CONNECTED, cut(str(error), 300))
        return None

    def _extrapolated(self, frame: str, target: str, stamp_ns: int, waited_s: float) -> Missing:
        try:
            newest_ns = self._buffer.get_latest_common_time(target, frame).nanoseconds
        except self._tf2.TransformException as error:
            return Missing(Cause.NOT_CONNECTED, cut(str(error), 300))
        if newest_ns < stamp_ns:
            return too_new(frame, target, '', (stamp_ns - newest_ns) * 1e-9, waited_s)
        return too_old(frame, target, '', 0.0)

    def restart(self) -> None:
        """Forget moving transforms: time has begun anew, and tf2 takes nothing older."""
        self._buffer.clear()

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()


class TreeTransforms:
    """Transforms into one frame, of a tree that is composed here: for machines without tf2_ros."""

    def __init__(
        self, node: Any, target_frame: str, changed: Callable[[], None] = lambda: None
    ) -> None:
        """
        Start to listen to TF.

        :param node: whose executor hears the transforms.
        :param target_frame: frame to find transforms into.
        :param changed: called with every message that comes.
        :raises ConfigError: if tf2_msgs is not installed.
        """
        tf_type = message_class('tf', TF_MESSAGE, TF_PACKAGE)
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
        Find where a frame was, without waiting.

        :param frame_id: its name.
        :param stamp_ns: when.
        :returns: rotation (3, 3) and translation (3,) in metres that take points of the frame
            into the target frame; None where TF does not know them (yet).
        """
        frame = frame_name(frame_id)
        placed = self._tree.place([frame], stamp_ns, frame_name(self.target_frame)).get(frame)
        if placed is None or placed.lacking:
            return None
        return placed.rotation, placed.translation

    def target_in_root(self, now_ns: int) -> tuple[str, np.ndarray, np.ndarray] | None:
        """
        Find where the target frame is by now in the root of its tree.

        :param now_ns: the node's clock.
        :returns: the root's name, rotation (3, 3) and translation (3,); None where TF does not
            know.
        """
        target = frame_name(self.target_frame)
        placed = self._tree.place([target], now_ns - _BACK_NS).get(target)
        if placed is None or placed.root == target:
            return None
        return placed.root, placed.rotation, placed.translation

    def explain(self, frame_id: str, stamp_ns: int, waited_s: float) -> Missing | None:
        """
        Say why there is no transform; None where there is one.

        :param waited_s: how long it was waited for.
        """
        return self._tree.explain(
            frame_name(frame_id), stamp_ns, frame_name(self.target_frame), waited_s
        )

    def restart(self) -> None:
        """Do nothing: each frame whose stamps fall back begins anew by itself."""

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())


def find_transforms(
    node: Any, target_frame: str, changed: Callable[[], None] = lambda: None
) -> FrameTransforms | TreeTransforms:
    """
    Listen to TF, by tf2_ros where it is installed.

    :param node: whose executor hears the transforms.
    :param target_frame: frame to find transforms into.
    :param changed: called when transforms have come.
    :raises ConfigError: if neither tf2_ros nor tf2_msgs is.
    """
    try:
        return FrameTransforms(node, target_frame, changed)
    except ConfigError as missing:
        try:
            return TreeTransforms(node, target_frame, changed)
        except ConfigError:
            raise missing from None
