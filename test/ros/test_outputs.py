# SPDX-License-Identifier: Apache-2.0
"""The summaries as the node publishes them over DDS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from node_rig import Nodes, predictions_of
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, Source, wait_until, walker_poses
from sensor_msgs.msg import PointCloud2
from trajectory_msgs.msg import MultiDOFJointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.ros.messages import (
    decode_predictions,
    ns_to_stamp,
    read_cloud,
    stamp_to_ns,
)
from motion_predictor.ros.publish.outputs import (
    decode_moments,
)
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.ros.replay import ENCODERS


def test_every_output_describes_the_same_prediction_in_the_inputs_frame(
    listener: Listener, nodes: Nodes
) -> None:
    level = walker_poses()[0]
    optical = np.stack([level[..., 0], -level[..., 2], level[..., 1]], axis=-1)
    nodes.start(**{'input.rotation': [-np.pi / 2, 0.0, 0.0]})
    heard = {
        name: listener.collect(summary.message_type, f'/motion_predictor/{name}')
        for name, summary in SUMMARIES.items()
    }
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(optical, (6, 1, 1)))

    def step() -> None:
        source.send(ENCODERS['pose_array'][1]([next(poses)]), 'camera_optical')
        listener.spin()

    def of_one_instant() -> list[Any]:
        for stamp in [cloud.header.stamp for cloud in reversed(clouds)]:
            same = [[m for m in heard[name] if m.header.stamp == stamp] for name in SUMMARIES]
            if all(same):
                return [messages[0] for messages in same]
        return []

    found = dict(zip(SUMMARIES, wait_until(of_one_instant, step, 'every output')))
    assert {message.header.frame_id for message in found.values()} == {'camera_optical'}
    stamp = found['moments'].header.stamp
    cloud = decode_predictions(next(c for c in clouds if c.header.stamp == stamp))
    decoded = decode_moments(found['moments'])
    np.testing.assert_allclose(decoded.moments.mean, cloud.futures.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(decoded.times_s, cloud.times_s)
    assert decoded.persons.tolist() == cloud.persons.tolist() == [0]
    likely = [(t.translation.x, t.translation.y, t.translation.z)
              for t in found['trajectory'].points[1].transforms]  # fmt: skip
    gaps = np.abs(cloud.futures[0, :, 4] - np.array(likely)).max(axis=(1, 2))
    assert gaps.min() < 1e-4, 'one of the samples, half a second ahead'
    sent_m = [np.abs(optical - np.array(
        [(p.position.x, p.position.y, p.position.z) for p in found['poses'].poses[:17]]
    )).max(axis=(1, 2)).min()]  # fmt: skip
    assert sent_m[0] < 0.02, 'the observed pose itself'
    centres = read_cloud(found['occupancy'])
    assert len(centres)
    # y points down in this frame: everything lies between the floor and the head
    assert -3.5 < centres['y'].min() < centres['y'].max() < 1.5


def test_nothing_is_built_that_nobody_listens_to(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start()
    built: list[str] = []
    for name, summary in SUMMARIES.items():
        encode = summary.encode

        def noted(view: Any, settings: Any, name: str = name, encode: Any = encode) -> Any:
            built.append(name)
            return encode(view, settings)

        monkeypatch.setitem(summary.__dict__, 'encode', noted)
    predictions_of(listener, 'pose_array', walker_poses())
    assert not built
    assert set(node._monitor.latencies.percentiles_s(50)) & set(SUMMARIES) == set()
    trajectories = listener.collect(MultiDOFJointTrajectory, '/motion_predictor/trajectory')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (6, 1, 1)))
    wait_until(
        lambda: trajectories,
        lambda: (source.send(ENCODERS['pose_array'][1]([next(poses)])), listener.spin()),
        'a trajectory',
    )
    assert set(built) == {'trajectory'}
    assert 'trajectory' in node._monitor.latencies.percentiles_s(50), (
        'its cost is in the diagnostics'
    )


def test_everything_is_taken_back_with_the_person_and_an_empty_room_is_told_again(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'stale_timeout_s': 0.4, 'input.type': 'marker_array'})
    heard = {
        name: listener.collect(summary.message_type, f'/motion_predictor/{name}')
        for name, summary in SUMMARIES.items()
    }
    markers = listener.collect(MarkerArray, '/motion_predictor/markers')
    source = Source(listener.node, MarkerArray, '/skeleton')
    walk = ENCODERS['marker_array'][1]
    poses = iter(np.tile(walker_poses()[0], (6, 1, 1)))
    wait_until(
        lambda: all(heard.values()) and markers,
        lambda: (source.send(walk([next(poses)])), listener.spin()),
        'every output',
    )

    def empty(message: Any) -> bool:
        if isinstance(message, PointCloud2):
            return not message.width
        if isinstance(message, PoseArray):
            return not message.poses
        return not message.joint_names and not message.points

    def tell_nobody() -> None:
        source.send(MarkerArray())
        listener.spin()

    wait_until(
        lambda: all(empty(messages[-1]) for messages in heard.values()),
        tell_nobody,
        'everything to be taken back',
    )
    wait_until(
        lambda: {marker.action for marker in markers[-1].markers} == {Marker.DELETE},
        tell_nobody,
        'the markers to go',
    )

    def trailing(name: str) -> list[Any]:
        """Return the empty messages that an output ends with."""
        messages = heard[name]
        full = [index for index, message in enumerate(messages) if not empty(message)]
        return messages[full[-1] + 1 :]

    wait_until(lambda: len(trailing('poses')) > 4, tell_nobody, 'some signs of life')
    stamps = [stamp_to_ns(message.header.stamp) for message in trailing('poses')]
    assert stamps == sorted(set(stamps)), 'each sign of life has the time of its message'
    for name in heard.keys() - {'poses'}:
        assert len(trailing(name)) == 1, f'{name}: taken back once'


def test_an_output_that_is_switched_off_does_not_exist(listener: Listener, nodes: Nodes) -> None:
    nodes.start(**{f'publish.{name}': False for name in SUMMARIES})
    listener.wait(
        lambda: listener.node.count_publishers('/motion_predictor/predictions'), 'the node'
    )
    for name in SUMMARIES:
        assert not listener.node.count_publishers(f'/motion_predictor/{name}')


def test_qos_can_be_overridden_for_every_output(listener: Listener, nodes: Nodes) -> None:
    topic = '/motion_predictor/poses'
    node = nodes.make()
    reliability = f'qos_overrides.{topic}.publisher.reliability'
    node._parameter_overrides[reliability] = RosParameter(reliability, value='best_effort')
    node.trigger_configure()
    node.trigger_activate()
    listener.wait(lambda: listener.node.get_publishers_info_by_topic(topic), 'the topic')
    for name in ('predictions', 'markers', 'model', *SUMMARIES):
        assert node.has_parameter(f'qos_overrides./motion_predictor/{name}.publisher.depth')
    (info,) = listener.node.get_publishers_info_by_topic(topic)
    assert info.qos_profile.reliability.name == 'BEST_EFFORT'


def test_changing_horizons_applies_to_the_next_message_and_bad_ones_are_refused(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start()
    change = RosParameter('poses.horizons_s', value=[0.0, 61.0])
    result = node.set_parameters([change])[0]
    assert not result.successful
    assert 'poses.horizons_s=61: must be each 0 to 60' in result.reason
    assert node.set_parameters([RosParameter('poses.horizons_s', value=[1.0])])[0].successful
    arrays = listener.collect(PoseArray, '/motion_predictor/poses')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (6, 1, 1)))
    wait_until(
        lambda: arrays,
        lambda: (source.send(ENCODERS['pose_array'][1]([next(poses)])), listener.spin()),
        'poses',
    )
    assert len(arrays[-1].poses) == 17
    assert ns_to_stamp(stamp_to_ns(arrays[-1].header.stamp)) == arrays[-1].header.stamp
