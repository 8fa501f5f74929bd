# SPDX-License-Identifier: Apache-2.0
"""The input that the parameters choose: topics, message classes and the source that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import contextlib
from dataclasses import dataclass
from functools import cached_property

from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription as RosSubscription
from rclpy.subscription import SubscriptionEventCallbacks

from motion_predictor.body.layout import Layout
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.ros import messages
from motion_predictor.ros.parameters import Settings
from motion_predictor.sources.decoding import Decoder
from motion_predictor.sources.observation import DecodedPerson, Observation
from motion_predictor.sources.registry import layout_of, make_source, StandardSource
from motion_predictor.sources.source import Source
from motion_predictor.sources.tf.people import (
    TF_MESSAGE,
    TF_STATIC_TOPIC,
    TF_TOPIC,
    TfSource,
    TRACKED_MESSAGE,
    TRACKED_TOPIC,
)
from motion_predictor.sources.trackers import message_class, TRACKERS

TF_PACKAGE = 'tf2_msgs (ros-$ROS_DISTRO-tf2-msgs)'
HRI_PACKAGE = 'hri_msgs (ros-$ROS_DISTRO-hri-msgs)'
QUEUE_DEPTH = 30
"""Number of messages that wait in DDS for the executor: a second of a camera. A longer queue would
never empty on a slow processor, and would delay every prediction by its length."""
MOST_NAMED = 3
TF_DEPTH = 500
"""Number of TF messages that may wait for the executor: some drivers send one per frame."""


@dataclass(frozen=True)
class Subscription:
    """One topic of the input and its quality of service."""

    topic: str
    message_type: type
    depth: int = QUEUE_DEPTH
    reliable: bool = False
    """Whether delivery is reliable. Best effort works with publishers of either kind, and small
    messages do not get lost locally."""
    latched: bool = False
    quiet: bool = False
    """Whether incompatible publishers cause no warning, because another subscription
    hears them."""


@dataclass(frozen=True)
class Input:
    """What configure makes from the ``input`` parameters."""

    layout: Layout
    source: Source
    subscriptions: tuple[Subscription, ...]
    in_target_frame: bool = False
    """Whether the source returns people in ``target_frame`` already."""

    @cached_property
    def decoder(self) -> Decoder:
        """Return the decoder of its messages."""
        return Decoder(self.source, self.layout)

    @property
    def topics(self) -> str:
        """Return the names of the topics in words."""
        topics = dict.fromkeys(subscription.topic for subscription in self.subscriptions)
        return ', '.join(topics)

    def source_of(self, topic: str) -> str:
        """Return the source of a topic's stamps and complaints: TF and the list are one."""
        return self.topics if self.in_target_frame else topic

    def name_of(self, topic: str, person: DecodedPerson | Observation) -> str:
        """Return the name of a person, with the topic if several topics show people."""
        several = len(self.subscriptions) > 1 and not self.in_target_frame
        return f'{topic}/{person.person}' if several else person.person

    def complaints(self) -> list[str]:
        """
        Return what was wrong with the messages since the last call.

        Empty if no message came or nothing is wrong. Only TF frames and markers report here; other
        inputs are refused message by message.
        """
        if isinstance(self.source, (TfSource, StandardSource)):
            return self.source.complaints()
        return []


def tf_subscriptions(tf_type: type) -> tuple[Subscription, Subscription]:
    """Return the two subscriptions for TF."""
    return (
        Subscription(TF_STATIC_TOPIC, tf_type, TF_DEPTH, reliable=True, latched=True),
        Subscription(TF_TOPIC, tf_type, TF_DEPTH, reliable=True),
    )


def profile_of(wanted: Subscription) -> QoSProfile:
    """Return the quality of service of a subscription."""
    reliability, durability = ReliabilityPolicy, DurabilityPolicy
    return QoSProfile(
        depth=wanted.depth,
        reliability=reliability.RELIABLE if wanted.reliable else reliability.BEST_EFFORT,
        durability=durability.TRANSIENT_LOCAL if wanted.latched else durability.VOLATILE,
    )


def subscribe(node: Node, wanted: Subscription, callback: Callable[..., None]) -> RosSubscription:
    """
    Subscribe to one topic; messages come as bytes, which the worker reads in its own time.

    :param node: the node that subscribes.
    :param wanted: the topic and its quality of service.
    :param callback: the callback.
    """
    return node.create_subscription(
        wanted.message_type,
        wanted.topic,
        callback,
        profile_of(wanted),
        raw=True,
        # two subscriptions to one topic would share their overrides
        qos_overriding_options=None
        if wanted.quiet
        else QoSOverridingOptions.with_default_policies(),
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=not wanted.quiet),
    )


def make_input(settings: Settings, skeleton: Skeleton) -> Input:
    """
    Make the source that the parameters ask for; this imports its messages.

    :param settings: all parameters of the node.
    :param skeleton: the model's skeleton.
    :raises ConfigError: if a message package is not installed (the error names it), or if settings
        do not fit each other.
    :raises SkeletonError: if ``input.skeleton`` is not known.
    """
    kind = settings.input.type
    chosen = layout_of(kind, settings.input.skeleton, skeleton)
    source = make_source(
        kind,
        chosen,
        pattern=settings.input.pattern,
        fields=(
            settings.input.fields.person,
            settings.input.fields.joint,
            settings.input.fields.confidence,
        ),
        target_frame=settings.target_frame,
        tf_timeout_s=settings.tf_timeout_s,
    )
    if kind in ('tf', 'hri'):
        tf_type = message_class(kind, TF_MESSAGE, TF_PACKAGE)
        subscriptions = [*tf_subscriptions(tf_type)]
        if kind == 'hri':
            listed = message_class(kind, TRACKED_MESSAGE, HRI_PACKAGE)
            subscriptions.append(Subscription(TRACKED_TOPIC, listed))
            # A publisher that sends the list only when it changes keeps it for late subscribers.
            subscriptions.append(Subscription(TRACKED_TOPIC, listed, 1, True, True, True))
        return Input(chosen, source, tuple(subscriptions), in_target_frame=True)
    if kind in TRACKERS:
        message_type = message_class(kind, TRACKERS[kind].message, TRACKERS[kind].install)
    else:
        message_type = messages.DECODERS[kind][0]
    topics = settings.input.topics
    return Input(chosen, source, tuple(Subscription(topic, message_type) for topic in topics))


def awaited(inputs: Sequence[RosSubscription]) -> str:
    """
    Return the messages that the inputs wait for, in words: ``TYPE on TOPIC``.

    :param inputs: subscriptions; topics are named as they are after remapping.
    """
    words = (f'{_name_of(each.msg_type)} on {each.topic_name}' for each in inputs)
    return ', '.join(dict.fromkeys(words))


def published_elsewhere(node: Node, inputs: Sequence[RosSubscription]) -> str:
    """
    Return words that name other topics with messages of the type that the inputs wait for.

    :param node: the node; topics that it publishes itself are no input.
    :param inputs: its subscriptions.
    :returns: words to add to a complaint; '' if there are none.
    """
    heard = {subscription.topic_name for subscription in inputs}
    kinds = {_name_of(subscription.msg_type): subscription.topic_name for subscription in inputs}
    own = node.get_name(), node.get_namespace()
    found: dict[str, str] = {}
    for name, namespace in node.get_node_names_and_namespaces():
        if (name, namespace) == own:
            continue
        with contextlib.suppress(NodeNameNonExistentError):  # the node has just gone
            # by node, because a query by topic is remapped like this node's topics
            for topic, types in node.get_publisher_names_and_types_by_node(name, namespace):
                kind = next((kind for kind in types if kind in kinds), '')
                if kind and topic not in heard:
                    found[topic] = kinds[kind]
    if not found:
        return ''
    topics = sorted(found)
    topic, ours = topics[0], found[topics[0]]
    named = ', '.join(topics[:MOST_NAMED])
    return f', but such messages come on {named}: set input.topics, or remap (-r {ours}:={topic})'


def _name_of(message_type: type) -> str:
    package = message_type.__module__.partition('.msg')[0]
    return f'{package}/msg/{message_type.__name__}'
