# SPDX-License-Identifier: Apache-2.0
"""Bodies that are no person's: a skeleton file leads through the whole chain to the node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from other_bodies import (
    ARM,
    BODIES,
    QUADRUPED,
    record,
    skeleton_file,
)
import pytest
import torch

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17, Skeleton, skeleton_from_dict, skeleton_to_dict
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import SkeletonError
from motion_predictor.model.person_frame import PersonFrame
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.sources.observation import Observation
from training.data import prepare
from training.judge.accuracy import evaluate
from training.stages import distill, export, train_teacher


@pytest.fixture(scope='module', params=list(BODIES))
def trained(request: Any, tmp_path_factory: Any) -> tuple[str, Path, Path]:
    """Take a body through prepare, teacher, both distillations and export."""
    content, move = BODIES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    path = skeleton_file(folder, content)
    record(folder / 'robot' / 'train.npz', move)
    words = ['prepare', 'npz', str(folder / 'robot'), '--skeleton', str(path), '--quiet']
    assert prepare.main([*words, '--name', 'robot', '--out', str(folder / 'st')]) == 0
    run = ['--preset', 'debug', '--run', str(folder / 'run'), '--device', 'cpu']
    run += ['--data', str(folder / 'st' / 'robot' / 'train'), '--set', 'pool=64']
    train_teacher.main(run)
    distill.main(run)
    export.main(['--run', str(folder / 'run'), '--out', str(folder / 'weights')])
    return request.param, path, folder / 'weights' / 'swiftdiff.safetensors'


@pytest.mark.slow
def test_the_chain_ends_in_weights_that_carry_the_skeleton_and_predict(
    trained: tuple[str, Path, Path],
) -> None:
    body, path, weights = trained
    skeleton = read_skeleton(path)
    predictor = Predictor.load(weights, device='cpu', engine='fp32')
    assert predictor.skeleton == skeleton
    assert predictor.model.config.skeleton == skeleton.name
    assert predictor.golden_error_m() < 1e-4
    observed = BODIES[body][1](25, 50.0, 9)
    futures = predictor.predict(observed, samples=5).futures
    assert futures.shape == (1, 5, 100, skeleton.num_joints, 3)
    assert np.isfinite(futures).all()
    assert np.abs(futures[0, :, 0] - observed[-1]).max() < 0.3  # it begins where the body is
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    turned = predictor.predict(observed @ turn.T, samples=5).futures
    if body == 'quadruped':  # it has a heading of its own
        np.testing.assert_allclose(turned, futures @ turn.T, atol=1e-4)
    else:  # a fixed base has none: the axes are the input's
        assert np.abs(turned - futures @ turn.T).max() > 1e-2


@pytest.mark.slow
def test_evaluate_scores_the_weights_on_their_own_joints_and_no_others(
    trained: tuple[str, Path, Path], tmp_path: Path, capsys: Any
) -> None:
    body, path, weights = trained
    file = record(tmp_path / 'robot' / 'val.npz', BODIES[body][1], clips=2)
    words = ['--weights', str(weights), '--data', str(file), '--json', str(tmp_path / 'out.json')]
    words += ['--samples', '3', '--runs', str(tmp_path / 'kept'), '--quiet', '--device', 'cpu']
    assert evaluate.main([*words, '--skeleton', str(path), '--limit', '2']) == 0
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert {row['model'] for row in rows} >= {'zero_velocity', 'swiftdiff'}
    assert evaluate.main(words) == 2
    joints = read_skeleton(path).num_joints
    assert f'expected (frames, 17, 3), got (180, {joints}, 3)' in capsys.readouterr().err


@pytest.mark.slow
def test_observed_one_by_one_a_body_is_predicted_by_identity_or_a_mapping_file(
    trained: tuple[str, Path, Path], tmp_path: Path
) -> None:
    body, _, weights = trained
    predictor = Predictor.load(weights, device='cpu', engine='fp32')
    skeleton = predictor.skeleton
    backwards = list(reversed(skeleton.joints))
    mapping = tmp_path / 'mapping.json'
    names = {joint: joint for joint in skeleton.joints}
    mapping.write_text(json.dumps({'joints': backwards, 'mapping': names}))
    motion = BODIES[body][1](30, 50.0, 4)
    futures = []
    for source, poses in (('identity', motion), (str(mapping), motion[:, ::-1])):
        online = LivePredictor(predictor, layout=layout(source, skeleton), samples=3)
        for frame, xyz in enumerate(poses):
            online.observe(Observation(20_000_000 * frame, 'map', 'robot', xyz))
        found = online.predict()
        assert found is not None
        futures.append(found.prediction.futures)
    np.testing.assert_allclose(*futures, atol=1e-6)


@pytest.mark.slow
def test_the_node_takes_the_weights_with_the_models_own_joints(
    trained: tuple[str, Path, Path],
) -> None:
    pytest.importorskip('rclpy')
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from ros_harness import Listener, Source
    from sensor_msgs.msg import PointCloud2

    from motion_predictor.ros.messages import decode_predictions
    from motion_predictor.ros.node import MotionPredictorNode
    from motion_predictor.ros.replay import ENCODERS

    body, path, weights = trained
    listener = Listener()
    made = []

    def node(source: str) -> MotionPredictorNode:
        values = {'model.path': str(weights), 'samples': 3, 'input.skeleton': source}
        made.append(
            MotionPredictorNode(
                context=listener.context,
                parameter_overrides=[Parameter(name, value=v) for name, v in values.items()],
            )
        )
        return made[-1]

    try:
        people = node('h36m17')  # the default is refused, saying what would do
        assert people.trigger_configure() == TransitionCallbackReturn.FAILURE
        robot = node('identity')
        listener.executor.add_node(robot)
        assert robot.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert robot.trigger_activate() == TransitionCallbackReturn.SUCCESS
        clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
        kind, encode = ENCODERS['pose_array']
        source = Source(listener.node, kind, '/skeleton')
        for pose in BODIES[body][1](400, 50.0, 2):
            source.send(encode([pose]))
            listener.spin()
            if clouds and len(decode_predictions(clouds[-1]).persons):
                break
        joints = read_skeleton(path).num_joints
        assert decode_predictions(clouds[-1]).futures.shape == (1, 3, 20, joints, 3)
    finally:
        for each in made:
            each.destroy_node()
        listener.close()


def test_a_skeleton_file_gives_indices_for_its_names(tmp_path: Path) -> None:
    arm = read_skeleton(skeleton_file(tmp_path, ARM))
    assert arm.parents == (-1, 0, 1, 2, 3, 4)
    assert not arm.has_sides
    assert (arm.hips, arm.shoulders, arm.ahead) == (None, None, None)
    assert arm.bones_m == (0.0, 0.3, 0.4, 0.2, 0.2, 0.1)
    dog = read_skeleton(skeleton_file(tmp_path, QUADRUPED))
    assert dog.has_sides
    assert dog.mirror[dog.index('FL_foot')] == dog.index('FR_foot')
    assert dog.ahead == (0, 1)
    person = {**QUADRUPED, 'heading': {'left': [['FR_knee', 'FL_knee'], ['HR_knee', 'HL_knee']]}}
    pairs = read_skeleton(skeleton_file(tmp_path, person))
    assert pairs.hips == (dog.index('FR_knee'), dog.index('FL_knee'))
    assert pairs.shoulders == (dog.index('HR_knee'), dog.index('HL_knee'))
    for skeleton in (arm, dog, pairs, H36M17):
        assert skeleton_from_dict(json.loads(json.dumps(skeleton_to_dict(skeleton)))) == skeleton


def test_the_models_own_skeleton_is_written_as_it_always_was() -> None:
    assert set(skeleton_to_dict(H36M17)) == {
        'name', 'joints', 'parents', 'mirror', 'hips', 'shoulders',
    }  # fmt: skip


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'legs': 4}, "unknown key 'legs'"),
        ({'joints': 'all'}, 'joints must be a list of names'),
        ({'parents': [0, 1]}, 'parents must give the parent'),
        ({'parents': {'shoulder': 'base'}}, r'must name every joint.*it lacks .*elbow'),
        ({'parents': {**ARM['parents'], 'tool': 'hand'}}, "parents names 'hand'"),
        ({'root': 'tool'}, "root 'tool' must come first"),
        ({'joints': ['base', 'elbow', *ARM['joints'][1:2], *ARM['joints'][3:]]}, 'come earlier'),
        ({'mirror': [['base', 'base']]}, 'must be two different joints'),
        ({'mirror': [['elbow', 'wrist'], ['elbow', 'tool']]}, 'not the only pair'),
        ({'heading': 'north'}, 'heading must hold'),
        ({'heading': {'ahead': ['base', 'nose']}}, "heading.ahead names 'nose'"),
        ({'heading': {'left': 3 * [['base', 'tool']]}}, 'one or two'),
        ({'bones_m': {'elbow': 0.4}}, 'bones_m lacks shoulder'),
        ({'bones_m': {**ARM['bones_m'], 'elbow': -1}}, 'lengths of 0 to 100 m'),
        ({'zero_is_missing': 'no'}, 'must be true or false'),
    ],
)  # fmt: skip
def test_a_wrong_skeleton_file_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = skeleton_file(tmp_path, {**ARM, **changes})
    with pytest.raises(SkeletonError, match=message) as error:
        read_skeleton(path)
    assert 'skeleton.json' in str(error.value)


def test_a_skeleton_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'skeleton.json'
    path.write_text('joints: all')
    with pytest.raises(SkeletonError, match='cannot be read as JSON'):
        read_skeleton(path)


def test_layouts_of_people_do_not_fit_a_robot_and_say_what_does(tmp_path: Path) -> None:
    arm = read_skeleton(skeleton_file(tmp_path, ARM))
    with pytest.raises(SkeletonError, match=r"'k4a32' is one of people.*give 'identity'"):
        layout('k4a32', arm)
    mapping = tmp_path / 'mapping.json'
    mapping.write_text(json.dumps({'joints': ['a'], 'mapping': {'base': 'a'}}))
    with pytest.raises(SkeletonError, match='mapping lacks shoulder'):
        layout(mapping, arm)
    assert layout('arm6', arm).joints == arm.joints
    xyz = np.zeros((6, 3))
    assert layout('identity', arm).to_model(xyz)[1].all()  # zeros are where it is
    assert not layout('identity', H36M17).to_model(np.zeros((17, 3)))[1].any()


def test_a_heading_by_a_line_ahead_turns_with_the_body() -> None:
    stick = Skeleton('stick', ('tail', 'nose'), (-1, 0), (0, 1), ahead=(0, 1))
    pose = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 2.0, 1.0]]])
    frame = PersonFrame.of(pose, stick)
    entered = frame.enter(pose)
    torch.testing.assert_close(entered[0, 1], torch.tensor([2.0, 0.0, 1.0]))
    upright = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    assert torch.equal(PersonFrame.of(upright, stick).rotation, torch.eye(3))  # no direction
    plain = Skeleton('plain', ('a', 'b'), (-1, 0), (0, 1))
    assert torch.equal(PersonFrame.of(pose, plain).rotation, torch.eye(3))
