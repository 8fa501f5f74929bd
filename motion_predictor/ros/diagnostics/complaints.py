# SPDX-License-Identifier: Apache-2.0
"""Report faults of a running node and its input in words for whoever runs the robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rclpy.node import Node
from rclpy.subscription import Subscription as RosSubscription

from motion_predictor.ros.diagnostics.monitoring import Monitor
from motion_predictor.ros.intake.inputs import published_elsewhere
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.seen import PeopleReport
from motion_predictor.ros.session import Session
from motion_predictor.ros.worker import Worker
from motion_predictor.track.checks.stamp_checks import stamp_complaints
from motion_predictor.track.states import short

SLOW_INPUT_HZ = 10.0
NO_INPUT = 'no input on'
"""What the complaint of a silent input begins with."""
WATCHED = {
    'messages_malformed': 'malformed messages',
    'predictions_not_finite': 'predictions of NaN (check the weights and the device)',
    'outputs_not_finite': 'outputs of NaN held back (check the weights and the device)',
    'persons_refused': 'people who do not fit, beside others who do (see the log)',
    'joints_beyond_float32': 'joints too far for float32 (see the log)',
    'messages_lost': 'messages lost before the node (transport, or a full queue)',
    'messages_overflowed': 'messages lost to a full inbox',
    'messages_overdue': 'messages dropped unread: too slow for this input',
    'messages_without_transform': 'people without a transform',
    'observations_far_future': "observations ahead of the node's clock",
    'resets_frame_change': 'changes of frame_id (set target_frame)',
    'observations_other_frame': "people in another topic's frame (set target_frame)",
    'left_out_source_behind': "people whose topic's clock is behind another's",
    'poses_frozen': 'poses the same to the bit as the last (does the tracker still run?)',
    'observations_crowded_out': 'sightings of people farther off than all who are kept',
    'predictions_far_from_origin': 'predictions beyond 10 km from the origin of the frame '
    '(float32 of clouds is too coarse there: set target_frame to a nearer one)',
    'deadline_misses': 'deadline misses',
    'worker_errors': 'worker errors',
}
"""Counters whose growth is a complaint, with the words for it."""


def about_input(
    node: Node,
    monitor: Monitor,
    worker: Worker,
    settings: Settings,
    subscriptions: Sequence[RosSubscription],
    new: Mapping[str, int],
    now_s: float,
) -> list[str]:
    """
    Return what is wrong with the input of an active node, and with the outcome.

    :param node: the node.
    :param monitor: its counters and rates.
    :param worker: its worker.
    :param settings: its parameters.
    :param subscriptions: subscriptions of the node's input.
    :param new: recent increase of each counter.
    :param now_s: reading of ``perf_counter``, seconds.
    """
    session = worker.session
    found = session.input.complaints()
    if now_s - monitor.last_received_s > max(1.0, settings.stale_timeout_s):
        # names after remapping and namespaces
        names = dict.fromkeys(subscription.topic_name for subscription in subscriptions)
        heard = ', '.join(names) or session.input.topics
        found = found or [f'{NO_INPUT} {heard}{published_elsewhere(node, subscriptions)}']
    rates = session.online.source_rates_hz
    slow = [f'{name} {rate:.1f} Hz' for name, rate in rates.items() if rate < SLOW_INPUT_HZ]
    if slow:
        found.append(f'input slower than {SLOW_INPUT_HZ:g} Hz: {", ".join(slow)}')
    found += _about_stamps(node, worker.intake.lag_ns, new)
    found += session.checks.complaints()
    found += _about_target_frame(node, session, now_s)
    found += _about_shared_ids(node, session)
    found += about_counters(new)
    if new.get('messages_without_transform', 0) > 0:
        found.append(worker.intake.no_transform)
    return found


def about_counters(new: Mapping[str, int]) -> list[str]:
    """
    Return which counters have grown that should not.

    :param new: recent increase of each counter; a new session counts from zero again, so a
        negative value is no news.
    """
    return [f'{new[key]} {text}' for key, text in WATCHED.items() if new.get(key, 0) > 0]


def about_namesakes(node: Node, monitor: Monitor) -> list[str]:
    """Return a complaint if other nodes have this one's name: outputs and parameters then mix."""
    own = (node.get_name(), node.get_namespace())
    count = node.get_node_names_and_namespaces().count(own)
    if count < 2:
        return []
    complaint = (
        f'{count} nodes are called {node.get_fully_qualified_name()}: give each its own name '
        'or namespace (-r __ns:=/cell_2)'
    )
    monitor.warn('name', complaint)
    return [complaint]


def about_unseen(report: PeopleReport, input_hz: float, output_hz: float) -> list[str]:
    """
    Return complaints about people who are seen but not predicted.

    :param report: the people.
    :param input_hz: rate of the input.
    :param output_hz: rate of the predictions.
    """
    complaint = report.complaint
    if not complaint and input_hz > 0.0 and output_hz <= 0.0 and not report.nobody:
        complaint = f'input at {input_hz:.1f} Hz, and nobody is predicted'
    return [complaint] if complaint else []


def about_strangers(session: Session) -> list[str]:
    """Return complaints that name the people whose motion is unlike the model's training data."""
    threshold = session.predictor.surprise_threshold
    if threshold is None:
        return []
    surprises = session.online.surprises.items()
    strangers = [person for person, surprise in surprises if surprise > threshold]
    return [f'motion unlike the training data: {", ".join(strangers)}'] if strangers else []


def _about_shared_ids(node: Node, session: Session) -> list[str]:
    shared = session.online.shared_ids
    if not shared:
        return []
    publishers = [
        f'{found.node_namespace.rstrip("/")}/{found.node_name} on {wanted.topic}'
        for wanted in session.input.subscriptions
        for found in node.get_publishers_info_by_topic(wanted.topic)
    ]
    return [
        f'two bodies at once have the id {", ".join(map(short, shared[:4]))} (from '
        f'{", ".join(publishers[:6]) or "nobody"}): give each tracker a topic of its own'
    ]


def _about_target_frame(node: Node, session: Session, now_s: float) -> list[str]:
    if session.transforms is None:
        return []
    found = session.transforms.target_in_root(node.get_clock().now().nanoseconds)
    if found is not None:
        session.frame_motion.note(now_s, *found)
    complaint = session.frame_motion.complaint
    return [complaint] if complaint else []


def _about_stamps(node: Node, lag_ns: int | None, new: Mapping[str, int]) -> list[str]:
    return stamp_complaints(
        None if lag_ns is None else lag_ns * 1e-9,
        new,
        sim_time=bool(node.get_parameter('use_sim_time').value),
        clock_ns=node.get_clock().now().nanoseconds,
    )
