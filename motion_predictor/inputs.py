"""The input that the parameters choose: topics, message classes, the source that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
from time import monotonic
from typing import Any

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from motion_predictor import messages
from motion_predictor.layouts import Layout
from motion_predictor.parameters import Settings
from motion_predictor.registry import layout_of, make_source
from motion_predictor.skeleton import Skeleton
from motion_predictor.tf_input import (
    frame_name,
    TF_MESSAGE,
    TF_STATIC_TOPIC,
    TF_TOPIC,
    TRACKED_MESSAGE,
    TRACKED_TOPIC,
    TransformTree,
)
from motion_predictor.trackers import message_class, Source, TRACKERS

TF_PACKAGE = 'tf2_msgs (ros-$ROS_DISTRO-tf2-msgs)'
HRI_PACKAGE = 'hri_msgs (ros-$ROS_DISTRO-hri-msgs)'
QUEUE_DEPTH = 30
"""Messages that wait in DDS for the executor: a second of a camera. More would be a standing queue
where the processor is too slow, and every prediction late by it."""
TF_DEPTH = 500
"""Messages of TF that may wait for the executor: some drivers send one for each frame."""


@dataclass(frozen=True)
class Subscription:
    """One topic that the node listens to, and how."""

    topic: str
    message_type: type
    depth: int = QUEUE_DEPTH
    reliable: bool = False
    """Best effort hears publishers of either kind; small messages do not get lost locally."""
    latched: bool = False


@dataclass(frozen=True)
class Input:
    """What configure makes of the ``input`` parameters."""

    layout: Layout
    source: Source
    subscriptions: tuple[Subscription, ...]
    in_target_frame: bool = False
    """The source gives people in ``target_frame`` already."""

    @property
    def topics(self) -> str:
        """Name the topics, for people."""
        return ', '.join(subscription.topic for subscription in self.subscriptions)


class TreeTransforms:
    """Transforms into one frame, of a tree that is composed here: for machines without tf2_ros."""

    def __init__(self, node: Any, target_frame: str) -> None:
        """
        Start to listen to TF.

        :param node: whose executor hears the transforms.
        :param target_frame: frame to find transforms into.
        :raises ConfigError: if tf2_msgs is not installed.
        """
        tf_type = message_class('tf', TF_MESSAGE, TF_PACKAGE)
        self.target_frame = target_frame
        self._node = node
        self._tree = TransformTree()
        self._changed = threading.Condition()
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
            for transform in message.transforms:
                self._tree.add(transform, static)
            with self._changed:
                self._changed.notify_all()

        return callback

    def lookup(
        self, frame_id: str, stamp_ns: int, timeout_s: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """
        Find where a frame was.

        :param frame_id: its name.
        :param stamp_ns: when.
        :param timeout_s: how long to wait for it.
        :returns: rotation (3, 3) and translation (3,) in metres that take points of the frame
            into the target frame; None where TF does not know them (yet).
        """
        frame, until_s = frame_name(frame_id), monotonic() + timeout_s
        with self._changed:
            while True:
                found = self._tree.place([frame], stamp_ns, frame_name(self.target_frame))
                if frame in found and not found[frame].lacking:
                    return found[frame].rotation, found[frame].translation
                left_s = until_s - monotonic()
                if left_s <= 0.0:
                    return None
                self._changed.wait(left_s)

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())


def tf_subscriptions(tf_type: type) -> tuple[Subscription, Subscription]:
    """Say how TF is listened to."""
    return (
        Subscription(TF_STATIC_TOPIC, tf_type, TF_DEPTH, reliable=True, latched=True),
        Subscription(TF_TOPIC, tf_type, TF_DEPTH, reliable=True),
    )


def profile_of(wanted: Subscription) -> QoSProfile:
    """Make the quality of service of a subscription."""
    reliability, durability = ReliabilityPolicy, DurabilityPolicy
    return QoSProfile(
        depth=wanted.depth,
        reliability=reliability.RELIABLE if wanted.reliable else reliability.BEST_EFFORT,
        durability=durability.TRANSIENT_LOCAL if wanted.latched else durability.VOLATILE,
    )


def make_input(settings: Settings, skeleton: Skeleton) -> Input:
    """
    Make the source that the parameters ask for; imports its messages.

    :param settings: all of the node's.
    :param skeleton: the model's joints.
    :raises ConfigError: if a message package is not installed (naming it), or settings do not fit
        each other.
    :raises SkeletonError: if ``input.skeleton`` is not known.
    """
    kind = settings.text('input.type')
    chosen = layout_of(kind, settings.text('input.skeleton'), skeleton)
    source = make_source(
        kind,
        chosen,
        pattern=settings.text('input.pattern'),
        fields=(
            settings.text('input.fields.person'),
            settings.text('input.fields.joint'),
            settings.text('input.fields.confidence'),
        ),
        target_frame=settings.text('target_frame'),
        tf_timeout_s=settings.number('tf_timeout_s'),
    )
    if kind in ('tf', 'hri'):
        tf_type = message_class(kind, TF_MESSAGE, TF_PACKAGE)
        subscriptions = [*tf_subscriptions(tf_type)]
        if kind == 'hri':
            listed = message_class(kind, TRACKED_MESSAGE, HRI_PACKAGE)
            subscriptions.append(Subscription(TRACKED_TOPIC, listed))
        return Input(chosen, source, tuple(subscriptions), in_target_frame=True)
    if kind in TRACKERS:
        message_type = message_class(kind, TRACKERS[kind].message, TRACKERS[kind].install)
    else:
        message_type = messages.DECODERS[kind][0]
    topics = settings.texts('input.topics')
    return Input(chosen, source, tuple(Subscription(topic, message_type) for topic in topics))
