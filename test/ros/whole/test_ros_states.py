# SPDX-License-Identifier: Apache-2.0
"""What the node says over DDS of people whom it sees and does not predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from node_rig import Nodes
from ros_harness import Listener, Source, wait_until
from scene import HORIZONS, Scene, SHOULDERS
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.messages import decode_predictions


def test_whoever_shows_no_torso_is_in_poses_all_the_time_and_the_status_says_why_not_predicted(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1})
    scene = Scene(listener)
    said = 'LShoulder, RShoulder never seen'
    scene.until(
        lambda: scene.warns_of(f'seen and not predicted: 0 ({said})'), 'a warning', SHOULDERS
    )
    count = len(scene.poses)
    scene.until(lambda: len(scene.poses) > count + 30, 'points of the person', SHOULDERS)
    assert not any(cloud.width for cloud in scene.clouds), 'nobody can be predicted'
    assert {len(array.poses) for array in scene.poses} == {HORIZONS * 17}, 'never an empty array'
    points = [(p.position.x, p.position.y, p.position.z) for p in scene.poses[-1].poses]
    points = np.reshape(points, (HORIZONS, 17, 3))
    assert np.isfinite(points).all()
    assert (points == points[0]).all(), 'where the person was measured, at every horizon'
    gaps = np.abs(scene.walks[0] - points[0])[:, 0].max(axis=-1)
    assert gaps.min() < 1e-6
    state = scene.states['0']
    assert (state['state'], state['reason'], state['placed']) == (
        'seen only', 'joint_missing', True,
    )  # fmt: skip
    assert state['joints'] == ['LShoulder', 'RShoulder']


def test_beside_a_whole_person_the_other_one_stays_in_poses(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1})
    scene = Scene(listener)
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', None, SHOULDERS)
    count = len(scene.poses)
    scene.until(lambda: len(scene.poses) > count + 20, 'points', None, SHOULDERS)
    assert decode_predictions(scene.clouds[-1]).persons.tolist() == [0]
    assert {len(array.poses) for array in scene.poses[count:]} == {2 * HORIZONS * 17}
    assert scene.states['0']['state'] == 'predicted'
    assert (scene.states['1']['state'], scene.states['1']['joints']) == (
        'seen only',
        ['LShoulder', 'RShoulder'],
    )
    scene.until(
        lambda: scene.warns_of('1 (LShoulder, RShoulder never seen)'), 'a warning', None, SHOULDERS
    )
    scene.until(
        lambda: scene.states['1']['state'] == 'predicted', 'the shoulders to count', None, None
    )
    scene.until(lambda: 'not predicted' not in scene.status[1], 'no such warning', None, None)


def test_a_person_without_any_joint_in_space_is_not_nobody(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1})
    scene = Scene(listener)
    encode = scene.encode

    def without_places(people: list[np.ndarray]) -> PoseArray:
        message = encode(people)
        for pose in message.poses:
            pose.position.x = float('nan')
        return message

    scene.encode = without_places
    scene.until(lambda: scene.warns_of('0 (has no joint in space)'), 'a warning', None)
    assert not scene.poses, 'there is no place to publish, and nobody says that nobody is there'
    assert not scene.states['0']['placed']


@pytest.mark.parametrize('broken', ['id', 'list', 'name'])
def test_one_malformed_person_among_good_ones_costs_only_that_one(
    listener: Listener, nodes: Nodes, broken: str
) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1, 'input.type': 'marker_array'})
    scene = Scene(listener, 'marker_array')
    encode = scene.encode

    def with_one_more(people: list[np.ndarray]) -> MarkerArray:
        message = encode(people)
        bad = Marker(type=Marker.SPHERE, id=999)
        if broken == 'list':
            bad = Marker(type=Marker.SPHERE_LIST, id=9)
        elif broken == 'name':
            bad = Marker(type=Marker.SPHERE, id=900, ns='n' * 300)
        message.markers.append(bad)
        return message

    scene.encode = with_one_more
    scene.until(
        lambda: scene.clouds and len(decode_predictions(scene.clouds[-1]).persons) == 2,
        'both of the others', None, None,
    )  # fmt: skip
    scene.until(lambda: scene.warns_of('seen and not predicted: '), 'a warning', None, None)
    assert node._counts.snapshot()['persons_refused'] > 0
    assert node._counts.snapshot()['messages_malformed'] == 0
    scene.until(
        lambda: [each['state'] for each in scene.states.values()]
        == ['predicted', 'predicted', 'seen only'],
        'the states', None, None,
    )  # fmt: skip
    (bad,) = [each for each in scene.states.values() if each['state'] == 'seen only']
    assert bad['reason'] == 'malformed'
    assert len(bad['name']) <= 128


def test_one_person_stamped_ahead_leaves_the_others_predicted(
    listener: Listener, nodes: Nodes
) -> None:
    topics = ['left', 'right']
    nodes.start(**{'diagnostics.period_s': 0.1, 'stale_timeout_s': 60.0, 'input.topics': topics})
    left, right = Scene(listener, topic='/left'), Source(listener.node, PoseArray, '/right')
    clock = listener.node.get_clock()

    def both() -> None:
        left.send(None)
        message = left.encode([left.walks[1][left.frame] + [0.0, 3.0, 0.0]])
        message.header.frame_id = 'map'
        now_ns = clock.now().nanoseconds + 480_000_000
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
        right.publisher.publish(message)

    listener.wait(right.publisher.get_subscription_count, 'the node to listen')
    wait_until(lambda: left.states.get('right/0', {}).get('reason') == 'stamped_ahead', both, 'it')
    wait_until(lambda: left.warns_of('right/0 (is stamped 0.4'), both, 'a warning')
    answered = len(left.clouds)
    wait_until(lambda: len(left.clouds) > answered + 10, both, 'predictions of the other one')
    number = left.states['left/0']['number']
    for cloud in left.clouds[answered:]:
        assert number in decode_predictions(cloud).persons
    assert len(left.poses[-1].poses) == 2 * HORIZONS * 17
    now_ns = clock.now().nanoseconds
    stamp = left.poses[-1].header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec <= now_ns, 'no stamp from the future'


def test_a_model_that_gives_nan_is_held_back_counted_and_taken_back(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1})
    scene = Scene(listener)
    scene.until(
        lambda: scene.clouds and len(decode_predictions(scene.clouds[-1]).persons) == 2,
        'two people', None, None,
    )  # fmt: skip
    assert node._session is not None
    predict = node._session.predictor.predict
    bad = [True, False]

    def damaged(observed: np.ndarray, **settings: Any) -> Any:
        prediction = predict(observed, **settings)
        futures = prediction.futures.copy()
        if len(observed) == len(bad):
            futures[bad, :, 3, 5] = np.nan
        elif all(bad):
            futures[:, :, 3, 5] = np.inf
        return replace(prediction, sampled=futures)

    monkeypatch.setattr(node._session.predictor, 'predict', damaged)

    def predicted() -> int:
        return len(decode_predictions(scene.clouds[-1]).persons)

    scene.until(lambda: predicted() == 1, 'one of them alone', None, None)
    scene.until(lambda: scene.warns_of('the model gave NaN'), 'a warning', None, None)
    bad[:] = [True, True]
    scene.until(lambda: predicted() == 0, 'everything to be taken back', None, None)
    for cloud in scene.clouds:
        assert np.isfinite(decode_predictions(cloud).futures).all()
    scene.until(lambda: len(scene.poses[-1].poses) == 2 * HORIZONS * 17, 'points', None, None)
    assert node._session.online.counters['predictions_not_finite'] > 1
    bad[:] = [False, False]
    scene.until(lambda: predicted() == 2, 'both of them again', None, None)


def test_people_are_in_poses_while_the_model_fails(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1, 'stale_timeout_s': 60.0})

    def fail(predictor: Predictor, *arguments: Any, **settings: Any) -> Any:
        raise RuntimeError('out of memory')

    scene = Scene(listener)
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', None)
    monkeypatch.setattr(Predictor, 'predict', fail)
    scene.until(lambda: scene.warns_of('0 (the model failed'), 'a warning', None)
    count = len(scene.poses)
    scene.until(lambda: len(scene.poses) > count + 5, 'points', None)
    assert {len(array.poses) for array in scene.poses} == {HORIZONS * 17}
    scene.until(lambda: not scene.clouds[-1].width, 'the futures to be taken back', None)
    scene.until(lambda: node._counts.snapshot()['worker_errors'], 'a count', None)


def test_input_that_dies_says_nothing_of_an_empty_room(listener: Listener, nodes: Nodes) -> None:
    node = nodes.start(**{'diagnostics.period_s': 0.1, 'stale_timeout_s': 0.3})
    scene = Scene(listener)
    scene.until(lambda: scene.clouds and scene.clouds[-1].width, 'a prediction', None)
    listener.wait(lambda: not scene.clouds[-1].width, 'the futures to be taken back')
    listener.wait(lambda: not scene.states, 'everybody to be forgotten')
    assert all(array.poses for array in scene.poses)
    count = len(scene.poses)
    wait_until(
        lambda: len(scene.poses) > count,
        lambda: (scene.source.send(PoseArray()), listener.spin()),
        "the tracker's word",
    )
    assert not scene.poses[-1].poses
    assert node.trigger_deactivate().name == 'SUCCESS'
