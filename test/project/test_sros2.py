# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy against what the node really opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip('rclpy')

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, write_random_weights

from motion_predictor.ros.node import MotionPredictorNode

POLICY = Path(__file__).resolve().parents[2] / 'config' / 'sros2' / 'policy.xml'
ONLY_WHEN_ASKED = {'/tf', '/tf_static', '/clock'}
"""Subscribed to with target_frame or use_sim_time."""
SUCCESS = TransitionCallbackReturn.SUCCESS


def names(enclave: str, group: str, permission: str) -> set[str]:
    """Everything that an enclave is allowed, by its full name."""
    found: set[str] = set()
    for profile in ElementTree.parse(POLICY).iterfind(f'.//enclave[@path="{enclave}"]//profile'):
        for part in profile.iterfind(group):
            if part.get(permission) == 'ALLOW':
                for entry in part:
                    name = (entry.text or '').replace('~', profile.attrib['node'])
                    found.add('/' + name.lstrip('/'))
    return found


@pytest.fixture(scope='module')
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def test_the_policy_allows_what_the_node_opens_and_no_more(
    listener: Listener, tmp_path: Path
) -> None:
    weights = write_random_weights(tmp_path / 'tiny.safetensors')
    node = MotionPredictorNode(
        context=listener.context,
        parameter_overrides=[RosParameter('model.path', value=str(weights))],
    )
    listener.executor.add_node(node)
    try:
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        graph = listener.node

        def opened(kind: str) -> set[str]:
            found: Any = getattr(graph, f'get_{kind}_names_and_types_by_node')(
                'motion_predictor', '/'
            )
            return {name for name, _ in found}

        enclave = '/motion_predictor/predictor'
        listener.wait(lambda: '/skeleton' in opened('subscriber'), 'the node in the graph')
        listener.wait(
            lambda: names(enclave, 'topics', 'publish') <= opened('publisher'), 'all that it opens'
        )
        assert names(enclave, 'topics', 'publish') == opened('publisher')
        allowed = names(enclave, 'topics', 'subscribe')
        assert opened('subscriber') <= allowed
        assert allowed - opened('subscriber') <= ONLY_WHEN_ASKED | {'/parameter_events'}
        services = opened('service')
        # what rclpy offers differs from release to release: logger levels, type descriptions
        assert services <= names(enclave, 'services', 'reply')
        assert {'/motion_predictor/change_state', '/motion_predictor/set_parameters'} <= services
        assert not names(enclave, 'services', 'request')
    finally:
        node.destroy_node()


def test_a_consumer_may_look_at_everything_and_change_nothing() -> None:
    consumer = '/motion_predictor/consumer'
    outputs = {
        name
        for name in names('/motion_predictor/predictor', 'topics', 'publish')
        if name.startswith('/motion_predictor/')
    }
    assert outputs <= names(consumer, 'topics', 'subscribe')
    assert not names(consumer, 'services', 'request')
    assert not outputs & names(consumer, 'topics', 'publish')


def test_the_tracker_alone_may_publish_skeletons() -> None:
    enclaves = [
        enclave.attrib['path'] for enclave in ElementTree.parse(POLICY).iterfind('.//enclave')
    ]
    assert len(enclaves) == 4
    publishers = {path for path in enclaves if '/skeleton' in names(path, 'topics', 'publish')}
    assert publishers == {'/motion_predictor/tracker'}


def test_no_comment_stands_where_the_sros2_tool_expects_an_enclave() -> None:
    text = POLICY.read_text()
    assert '<!--' not in text[text.index('<policy') :]


def test_only_the_operator_may_let_the_node_forget() -> None:
    operator = '/motion_predictor/operator'
    commands = {'/motion_predictor/forget', '/motion_predictor/save_memory'}
    assert commands <= names(operator, 'services', 'request')
    topic = '/motion_predictor/forget_person'
    assert topic in names('/motion_predictor/predictor', 'topics', 'subscribe')
    enclaves = [
        enclave.attrib['path'] for enclave in ElementTree.parse(POLICY).iterfind('.//enclave')
    ]
    may = {path for path in enclaves if topic in names(path, 'topics', 'publish')}
    assert may == {operator}
