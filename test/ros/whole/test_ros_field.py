# SPDX-License-Identifier: Apache-2.0
"""What trackers get wrong, over DDS: order of people, frames that are not level, other clocks."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from node_rig import Nodes
from ros_harness import Listener, wait_until
from scene import Scene
from visualization_msgs.msg import MarkerArray

from motion_predictor.ros.messages import decode_predictions, ns_to_stamp

YEARS_NS = 3 * 365 * 86_400 * 1_000_000_000


def send(scene: Scene, people: list[np.ndarray], behind_ns: int = 0) -> None:
    """Send people as they are, stamped now or long ago."""
    time.sleep(scene.source.period_s)  # as a tracker would
    message: PoseArray = scene.encode(people)
    stamp_ns = scene.listener.node.get_clock().now().nanoseconds - behind_ns
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), 'map'
    scene.source.publisher.publish(message)
    scene.frame += 1
    scene.listener.spin()


def values_of(scene: Scene) -> dict[str, str]:
    """What the latest diagnostics hold."""
    return {each.key: each.value for each in scene.diagnostics[-1].status[0].values}


def test_blocks_of_a_pose_array_in_any_order_keep_their_numbers(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1, 'stale_timeout_s': 60.0})
    scene, rng = Scene(listener), np.random.default_rng(0)
    orders = [(0, 1), (1, 0)]  # in which people are when the tracker goes on after a silence
    while len(scene.clouds) < 60:
        assert scene.frame < 20_000
        pair = [scene.walks[0][scene.frame], scene.walks[0][scene.frame] + [0, 3, 0]]
        order = tuple(rng.permutation(2)) if scene.frame else (0, 1)
        if orders and len(scene.clouds) >= 15 * (3 - len(orders)):
            time.sleep(0.6)
            order = orders.pop(0)
        send(scene, [pair[place] for place in order])
    found = [decode_predictions(message) for message in scene.clouds[5:]]
    nearer = {
        int(cloud.persons[cloud.futures[:, 0, 0, 0, 1].argmin()])
        for cloud in found
        if len(cloud.persons) == 2
    }
    assert len(nearer) == 1, 'the bodies changed numbers'
    assert {each['number'] for each in scene.states.values()} == {0, 1}
    assert node._session is not None
    counted = node._session.online.counters
    assert counted['observations_elsewhere'] == counted['persons_replaced'] == 0
    assert counted['persons_appeared'] == 2


def test_a_frame_that_is_not_level_is_warned_of_with_what_to_set(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1})
    scene = Scene(listener)
    while not scene.warns_of('along -y', 'input.rotation (to [-1.5708, 0.0, 0.0]'):
        assert scene.frame < 20_000
        pose = scene.walks[0][scene.frame]
        send(scene, [np.stack([-pose[:, 1], 1.2 - pose[:, 2], pose[:, 0]], axis=-1)])
    assert 1.4 < float(values_of(scene)['body height 0 (m)']) < 2.0


def test_stamps_of_another_clock_are_no_missed_deadline(listener: Listener, nodes: Nodes) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1, 'deadline_s': 10.0})
    scene = Scene(listener)
    while not scene.warns_of("3.0 years behind the node's clock"):
        assert scene.frame < 20_000
        send(scene, [scene.walks[0][scene.frame]], YEARS_NS)
    before = len(scene.clouds)
    while len(scene.clouds) < before + 5 or 'latency input p50 (ms)' not in values_of(scene):
        assert scene.frame < 20_000
        send(scene, [scene.walks[0][scene.frame]], YEARS_NS)
    told = values_of(scene)
    lag_ms = float(told['latency input p50 (ms)'])
    assert lag_ms == pytest.approx(YEARS_NS / 1e6, rel=1e-6)
    assert float(told['latency total p50 (ms)']) != pytest.approx(lag_ms, rel=0.5), 'is no part'
    assert int(told['deadline_misses']) < int(told['predictions']), 'not each is a missed one'


def test_a_tracker_whose_every_stamp_is_the_same_is_told_exactly_that(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.2})
    scene = Scene(listener)
    first_ns = listener.node.get_clock().now().nanoseconds

    def frozen() -> None:
        time.sleep(scene.source.period_s)
        message: PoseArray = scene.encode([scene.walks[0][scene.frame % 3000]])
        message.header.stamp, message.header.frame_id = ns_to_stamp(first_ns), 'map'
        scene.source.publisher.publish(message)
        scene.frame += 1
        scene.listener.spin()

    wait_until(
        lambda: scene.warns_of('every stamp is the same', 'stamp each message anew'),
        frozen,
        'the stamps to be told of',
    )


def test_two_trackers_on_one_topic_are_two_people_and_are_named(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1, 'input.type': 'marker_array'})
    scene = Scene(listener, 'marker_array')
    other = listener.node.create_publisher(MarkerArray, '/skeleton', 10)

    def look() -> None:
        pose = scene.walks[0][scene.frame]
        scene.frame += 1
        for publisher, place in ((scene.source.publisher, 0.0), (other, 3.0)):
            time.sleep(scene.source.period_s)
            message = scene.encode([pose + [0.0, place, 0.0]])
            stamp = ns_to_stamp(listener.node.get_clock().now().nanoseconds)
            for marker in message.markers:
                marker.header.stamp, marker.header.frame_id = stamp, 'map'
            publisher.publish(message)
            listener.spin()

    wait_until(
        lambda: (
            scene.warns_of('two bodies at once have the id 0', ' on skeleton')
            and set(node._session.online.people._tracks.named) == {'0', '0/2'}
        ),
        look,
        'two people and a warning',
    )
