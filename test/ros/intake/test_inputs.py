# SPDX-License-Identifier: Apache-2.0
"""The input that the parameters choose: topics, message classes, joints; and what is missing."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError, SkeletonError
from motion_predictor.ros.intake.inputs import Input, make_input, profile_of
from motion_predictor.ros.parameters import INPUT_TYPES, Settings
from motion_predictor.sources.tf.people import TF_MESSAGE, TRACKED_MESSAGE
from motion_predictor.sources.trackers import TRACKERS

MESSAGES = {
    **{kind: [tracker.message] for kind, tracker in TRACKERS.items()},
    'tf': [TF_MESSAGE],
    'hri': [TF_MESSAGE, TRACKED_MESSAGE],
}
ARM = Skeleton('arm', ('base', 'elbow', 'tool'), (-1, 0, 1), (0, 1, 2))


def chosen(skeleton: Skeleton = H36M17, **values: Any) -> Input:
    return make_input(Settings.from_values(values), skeleton)


def install(monkeypatch: pytest.MonkeyPatch, *messages: str) -> dict[str, type]:
    """Put STAND-INS of message modules, with empty classes, where an import finds them."""
    classes, modules = {}, {}
    for message in messages:
        package, _, name = message.split('/')
        classes[message] = type(name, (), {})
        module = modules.setdefault(package, types.ModuleType(f'{package}.msg'))
        setattr(module, name, classes[message])
    for package, module in modules.items():
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        monkeypatch.setitem(sys.modules, f'{package}.msg', module)
    return classes


@pytest.mark.parametrize('kind', MESSAGES)
def test_a_package_that_is_not_installed_is_named(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    *there, missing = MESSAGES[kind]
    install(monkeypatch, *there)
    package = missing.split('/')[0]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f'{package}.msg', None)
    with pytest.raises(ConfigError, match=rf'input\.type={kind}: needs {missing}.*{package}'):
        chosen(**{'input.type': kind})


@pytest.mark.parametrize('kind', TRACKERS)
def test_a_tracker_is_heard_on_the_topics_that_are_named(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = install(monkeypatch, TRACKERS[kind].message)
    source = chosen(**{'input.type': kind, 'input.topics': ['/a', '/b']})
    assert source.layout.name == TRACKERS[kind].layout
    assert source.topics == '/a, /b'
    assert {s.message_type for s in source.subscriptions} == {classes[TRACKERS[kind].message]}
    assert not source.in_target_frame


def test_tf_is_heard_reliably_with_what_was_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, TF_MESSAGE, TRACKED_MESSAGE)
    for kind, topics in (
        ('tf', '/tf_static, /tf'),
        ('hri', '/tf_static, /tf, /humans/bodies/tracked'),
    ):
        source = chosen(**{'input.type': kind, 'target_frame': 'map'})
        assert source.topics == topics
        assert source.layout.name == 'hri'
        assert source.in_target_frame
        static, moving = (profile_of(s) for s in source.subscriptions[:2])
        assert static.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert moving.durability == DurabilityPolicy.VOLATILE
        assert {static.reliability, moving.reliability} == {ReliabilityPolicy.RELIABLE}
        assert moving.depth >= 100, 'one message for each frame of somebody'


def test_standard_messages_are_heard_in_the_models_joints_unless_told_otherwise() -> None:
    source = chosen()
    assert (source.layout.name, source.topics) == ('h36m17', 'skeleton')
    assert source.subscriptions[0].message_type is PoseArray
    assert chosen(**{'input.skeleton': 'body25'}).layout.num_joints == 25


def test_a_model_of_no_person_has_its_own_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(ARM).layout.joints == ARM.joints
    install(monkeypatch, TF_MESSAGE)
    frames = chosen(ARM, **{'input.type': 'tf', 'input.pattern': 'robot_{joint}'})
    assert frames.layout.joints == ARM.joints
    with pytest.raises(SkeletonError, match='one of people'):
        chosen(ARM, **{'input.skeleton': 'k4a32'})


def test_every_type_that_the_parameters_allow_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *(message for messages in MESSAGES.values() for message in messages))
    for kind in INPUT_TYPES:
        assert chosen(**{'input.type': kind}).source.decode is not None
