# SPDX-License-Identifier: Apache-2.0
"""Candidates, memory and gate in the node over real DDS: what it publishes, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
import itertools
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from node_rig import Nodes, SUCCESS
from random_models import save_weighed
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, Source, wait_until, walker_poses
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory
from visualization_msgs.msg import MarkerArray

from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.place.candidates import NEIGHBOURS
from motion_predictor.predict.place.memory_file import read_memory
from motion_predictor.ros.memory.remembering import make_place
from motion_predictor.ros.messages import (
    decode_predictions,
    DecodedPredictions,
)
from motion_predictor.ros.node import MotionPredictorNode
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outputs import decode_moments
from motion_predictor.ros.replay import pose_array

NODE = '/motion_predictor'


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weighed(tmp_path_factory.mktemp('weights') / 'weighed.safetensors')


def predicted(
    listener: Listener,
    people: list[np.ndarray],
    holds: Callable[[DecodedPredictions], bool] = lambda cloud: True,
    frames: int = 40,
) -> DecodedPredictions:
    """Publish poses until somebody is predicted so that something holds; the newest cloud."""
    clouds = listener.collect(PointCloud2, f'{NODE}/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    sent = itertools.count()

    def send() -> None:
        index = next(sent)
        source.send(pose_array([poses[index % len(poses)] for poses in people]))
        listener.spin()

    def found() -> DecodedPredictions | None:
        if len(source.sent_ns) <= frames or not clouds or not clouds[-1].width:
            return None
        cloud = decode_predictions(clouds[-1])
        return cloud if holds(cloud) else None

    cloud: DecodedPredictions = wait_until(found, send, 'somebody to be predicted so')
    return cloud


def test_every_candidate_is_in_the_cloud_with_weights_of_each_step(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start()
    walk = walker_poses()[0].copy()
    walk[np.arange(len(walk)) % 16 >= 11, 16] = np.nan  # filled in while it is missing
    cloud = predicted(listener, [walk], lambda cloud: not cloud.seen.all())
    counts = [4, 1, 1, NEIGHBOURS]
    assert np.bincount(cloud.candidate).tolist() == counts
    assert cloud.futures.shape == (1, sum(counts), 20, 17, 3)
    np.testing.assert_allclose(cloud.step_weights.sum(axis=1), 1.0, atol=1e-5)
    assert np.ptp(cloud.step_weights[0], axis=1).max() > 1e-3
    assert np.flatnonzero(~cloud.seen[0]).tolist() == [16]


@pytest.mark.parametrize(
    'settings, samples',
    [({'weighing.enabled': False}, 4), ({'memory.enabled': False}, 6)],
    ids=['the model alone', 'no memory'],
)
def test_weighing_and_memory_can_be_turned_off(
    listener: Listener, nodes: Nodes, settings: dict[str, Any], samples: int
) -> None:
    nodes.start(**settings)
    cloud = predicted(listener, walker_poses())
    assert cloud.futures.shape[1] == samples
    assert cloud.candidate.tolist() == [0, 0, 0, 0, 1, 2][:samples]


def test_trajectory_and_moments_show_the_same_expected_future(
    listener: Listener, nodes: Nodes
) -> None:
    node = nodes.start(**{'trajectory.horizons_s': [0.5]})
    moments = listener.collect(PointCloud2, f'{NODE}/moments')
    trajectories = listener.collect(MultiDOFJointTrajectory, f'{NODE}/trajectory')
    for adapt in ('both', 'fixed'):
        node.set_parameters([RosParameter('moments.adapt', value=adapt)])
        predicted(listener, walker_poses())
        assert node._session is not None
        place = node._session.online.place  # what the worker really uses
        assert place is not None
        assert place.following is not None
        assert place.following.mode == adapt
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in moments if m.width}
    pairs = [
        (by_stamp[key], t)
        for t in trajectories
        if (key := (t.header.stamp.sec, t.header.stamp.nanosec)) in by_stamp and t.points
    ]
    assert pairs
    cloud = decode_moments(pairs[-1][0])
    there = [(t.translation.x, t.translation.y, t.translation.z)
             for t in pairs[-1][1].points[0].transforms]  # fmt: skip
    np.testing.assert_allclose(cloud.moments.mean[0, 4], there, atol=1e-5)


def test_what_is_seen_shows_the_whole_and_what_it_is_made_of(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'trajectory.horizons_s': [2.0], 'diagnostics.period_s': 0.2})
    trajectories = listener.collect(MultiDOFJointTrajectory, f'{NODE}/trajectory')
    drawn = listener.collect(MarkerArray, f'{NODE}/markers')
    models = listener.collect(String, f'{NODE}/model', latched=True)
    status = listener.collect(DiagnosticArray, '/diagnostics')

    def model() -> Any:
        return json.loads(models[-1].data)

    def at(message: Any) -> tuple[int, int]:
        return message.header.stamp.sec, message.header.stamp.nanosec

    def pair() -> tuple[dict[int, Any], Any] | None:
        by_stamp = {at(message): message for message in trajectories if message.points}
        for message in reversed(drawn):
            shown = {marker.id: marker for marker in message.markers}
            if {1, 3} <= shown.keys() and at(shown[1]) in by_stamp:
                return shown, by_stamp[at(shown[1])]
        return None

    def enough(cloud: DecodedPredictions) -> bool:
        found = model() if models else {'remembered': {'moments': 0}}
        if not found['remembered']['moments'] or '0' not in found['futures'] or not status:
            return False
        return found['running_error_m']['published'][-1] is not None and pair() is not None

    waving = np.repeat(walker_poses()[0][:1], 100, axis=0)  # the same every two seconds
    waving[:, 12:] += 0.1 * np.sin(2.0 * np.pi * np.arange(100) / 100.0)[:, None, None]
    predicted(listener, [waving], enough)
    found = pair()
    assert found is not None
    shown, trajectory = found
    pose = np.array([(t.translation.x, t.translation.y, t.translation.z)
                     for t in trajectory.points[0].transforms])  # fmt: skip
    last = [(p.x, p.y, p.z) for p in shown[1].points[-2 * len(H36M17.bones) :]]
    np.testing.assert_allclose(last, pose[np.array(H36M17.bones)].reshape(-1, 3), atol=1e-5)
    assert re.match(
        r'(mostly|partly) (model|damped velocity|standing still|memory)', shown[3].text
    )
    told = model()['futures']['0']
    assert re.match(r'(mostly|partly) [a-z ]+', told['words'])
    assert list(told['weights']) == model()['candidates']
    assert sum(told['weights'].values()) == pytest.approx(1.0, abs=1e-5)
    assert list(model()['running_error_m']) == [*model()['candidates'], 'published']

    def values() -> dict[str, str]:
        return {entry.key: entry.value for entry in status[-1].status[0].values}

    often = r'has seen the like (once|\d+ times) \(model'
    listener.wait(lambda: re.search(often, values()['future of 0']), 'how often it was seen')
    for name in (*model()['candidates'], 'published'):
        assert re.search(rf'{name} \d\.\d+', values()['error at 1 s (m)'])


def moments_of(node: MotionPredictorNode) -> int:
    assert node._session is not None
    place = node._session.online.place
    assert place is not None
    assert place.memory is not None
    return place.memory.moments


def test_what_was_remembered_outlives_the_node_until_it_is_forgotten(
    listener: Listener, nodes: Nodes, tmp_path: Path
) -> None:
    trigger = pytest.importorskip('std_srvs.srv').Trigger
    path = tmp_path / 'place.memory'
    kept = {'memory.file': str(path), 'diagnostics.period_s': 0.2}

    def call(name: str) -> Any:
        client = listener.node.create_client(trigger, f'{NODE}/{name}')
        listener.wait(client.service_is_ready, f'~/{name}')
        answer = client.call_async(trigger.Request())
        listener.wait(answer.done, f'an answer of ~/{name}')
        listener.node.destroy_client(client)
        return answer.result()

    first = nodes.start(**kept)
    models = listener.collect(String, f'{NODE}/model', latched=True)
    status = listener.collect(DiagnosticArray, '/diagnostics')
    predicted(listener, walker_poses(), lambda cloud: moments_of(first) > 20)
    saved = call('save_memory')
    assert saved.success, saved.message
    assert path.exists()
    assert json.loads(models[-1].data)['candidates'][3] == 'memory'

    def told() -> dict[str, str]:
        return {entry.key: entry.value for entry in status[-1].status[0].values}

    listener.wait(lambda: int(told().get('memory (moments)', 0)) > 20, 'moments in diagnostics')
    assert re.match(r'(mostly|partly) [a-z ]+', told()['future of 0'])
    assert 'standing still 0.' in told()['error at 1 s (m)']
    assert first.trigger_deactivate() == SUCCESS
    before = moments_of(first)  # written once more
    assert first.trigger_cleanup() == SUCCESS
    nodes.made.remove(first)
    listener.executor.remove_node(first)
    first.destroy_node()

    second = nodes.start(**kept)
    assert moments_of(second) == before
    done = call('forget')
    assert done.success, done.message
    assert 'is removed' in done.message
    assert moments_of(second) == 0
    assert not path.exists()
    assert second.trigger_deactivate() == SUCCESS
    assert not path.exists()


def test_a_refused_memory_is_named_and_the_node_runs_on(
    listener: Listener, nodes: Nodes, tmp_path: Path
) -> None:
    path = tmp_path / 'place.memory'
    path.write_bytes(b'\x10' + bytes(7) + b'{"no": "memory"}')
    node = nodes.start(**{'memory.file': str(path), 'diagnostics.period_s': 0.2})
    status = listener.collect(DiagnosticArray, '/diagnostics')
    cloud = predicted(listener, walker_poses())
    assert len(cloud.persons) == 1
    listener.wait(lambda: status and 'place.memory' in status[-1].status[0].message, 'a warning')
    assert status[-1].status[0].level == DiagnosticStatus.WARN
    assert node.trigger_deactivate() == SUCCESS
    assert path.read_bytes().endswith(b'{"no": "memory"}')


def test_one_person_is_forgotten_everywhere_and_the_rest_is_kept(
    listener: Listener, nodes: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'place.memory'
    kept_s = {'stale_timeout_s': 60.0}  # one body is one track on a busy machine, too
    node = nodes.start(**{'memory.file': str(path), 'diagnostics.period_s': 0.2, **kept_s})
    status = listener.collect(DiagnosticArray, '/diagnostics')
    log = ''
    ask = listener.node.create_publisher(String, f'{NODE}/forget_person', 10)
    listener.wait(lambda: ask.get_subscription_count() > 0, '~/forget_person')
    walks = [walker_poses()[0], walker_poses()[0][30:] + np.float32([3.0, 2.0, 0.0])]

    def tracks() -> set[int]:
        assert node._session is not None
        place = node._session.online.place
        assert place is not None
        assert place.memory is not None
        return set(place.memory.columns(*place.memory.span)['tracks'].tolist())

    predicted(listener, walks, lambda cloud: moments_of(node) > 40 and len(tracks()) == 2)
    before = moments_of(node)
    assert node._session is not None
    assert node._session.remembering is not None
    node._session.remembering.save()
    gone = node._session.tracks['1']

    def told() -> dict[str, str]:
        return {entry.key: entry.value for entry in status[-1].status[0].values}

    def said(words: str) -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return words in log

    ask.publish(String(data='somebody else'))
    listener.wait(lambda: said("'somebody else': nobody was predicted by that name"), 'a no')
    assert moments_of(node) >= before
    ask.publish(String(data='1'))
    listener.wait(lambda: told().get('memory forgotten (people)') == '1', 'a person forgotten')
    assert gone not in tracks()
    assert len(tracks()) == 1
    pattern = r"'1' is forgotten: (\d+) moments; (\d+) moments written to"
    listener.wait(lambda: said('moments written to'), 'what was done')
    found = re.search(pattern, log)
    assert found is not None
    forgotten, left = map(int, found.groups())
    assert min(forgotten, left) > 10
    assert told()['memory forgotten (moments)'] == str(forgotten)
    again = make_place(node._session.predictor, Settings())
    assert again is not None
    read_memory(path, again)
    assert again.memory is not None
    assert again.memory.moments == left
    # they leap to where the walks begin, and may be others to the tracking
    predicted(listener, walks, lambda cloud: len(cloud.persons) == 2 and len(tracks()) >= 2)
