"""The input that the parameters choose: topics, message classes, the source that reads them."""

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
"""Messages that wait in DDS for the executor: a second of a camera. More would be a standing queue
where the processor is too slow, and every prediction late by it."""
MOST_NAMED = 3
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
    quiet: bool = False
    """Publishers of another kind are heard by another subscription: no warning about them."""


@dataclass(frozen=True)
class Input:
    """What configure makes of the ``input`` parameters."""

    layout: Layout
    source: Source
    subscriptions: tuple[Subscription, ...]
    in_target_frame: bool = False
    """The source gives people in ``target_frame`` already."""

    @cached_property
    def decoder(self) -> Decoder:
        """What reads its messages."""
        return Decoder(self.source, self.layout)

    @property
    def topics(self) -> str:
        """Name the topics, for people."""
        topics = dict.fromkeys(subscription.topic for subscription in self.subscriptions)
        return ', '.join(topics)

    def source_of(self, topic: str) -> str:
        """Name what a topic's stamps and words are of: frames of TF and their list are one."""
        return self.topics if self.in_target_frame else topic

    def name_of(self, topic: str, person: DecodedPerson | Observation) -> str:
        """Name a person, by the topic too where several topics show people."""
        several = len(self.subscriptions) > 1 and not self.in_target_frame
        return f'{topic}/{person.person}' if several else person.person

    def complaints(self) -> list[str]:
        """
        Say what is wrong with what came since this was last called.

        Empty where nothing came, or nothing is wrong; other inputs than frames of TF and markers
        are refused message by message.
        """
        if isinstance(self.source, (TfSource, StandardSource)):
            return self.source.complaints()
        return []


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


def subscribe(node: Node, wanted: Subscription, callback: Callable[..., None]) -> RosSubscription:
    """
    Listen to one topic; messages come as bytes, for the worker to read in its own time.

    :param node: whose subscription it is.
    """
    return node.create_subscription(
        wanted.message_type,
        wanted.topic,
        callback,
        profile_of(wanted),
        raw=True,
        # two on one topic would share what is overridden
        qos_overriding_options=None
        if wanted.quiet
        else QoSOverridingOptions.with_default_policies(),
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=not wanted.quiet),
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
            # One who publishes the list when it changes keeps it for those who come later.
            subscriptions.append(Subscription(TRACKED_TOPIC, listed, 1, True, True, True))
        return Input(chosen, source, tuple(subscriptions), in_target_frame=True)
    if kind in TRACKERS:
        message_type = message_class(kind, TRACKERS[kind].message, TRACKERS[kind].install)
    else:
        message_type = messages.DECODERS[kind][0]
    topics = settings.input.topics
    return Input(chosen, source, tuple(Subscription(topic, message_type) for topic in topics))


def published_elsewhere(node: Node, inputs: Sequence[RosSubscription]) -> str:
    """
    Say on which other topics messages come that the inputs wait for.

    :param node: whose inputs they are; what it publishes itself is no input.
    :param inputs: its subscriptions.
    :returns: words to be added to a complaint; '' where there are none.
    """
    heard = {subscription.topic_name for subscription in inputs}
    kinds = {_name_of(subscription.msg_type): subscription.topic_name for subscription in inputs}
    own = node.get_name(), node.get_namespace()
    found: dict[str, str] = {}
    for name, namespace in node.get_node_names_and_namespaces():
        if (name, namespace) == own:
            continue
        with contextlib.suppress(NodeNameNonExistentError):  # it has just gone
            # by node, as what is asked for by topic is remapped as this node's topics are
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
