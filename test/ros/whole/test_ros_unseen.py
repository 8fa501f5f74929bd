# SPDX-License-Identifier: Apache-2.0
"""What the node says over DDS where it cannot see people though they may be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, PoseArray
from node_rig import Nodes
from ros_harness import Listener, ROOT, Source, wait_until, walker_poses
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.ros.node import MotionPredictorNode
from motion_predictor.ros.replay import ENCODERS


def status_of(diagnostics: list[Any]) -> tuple[int, str, dict[str, str]]:
    """Level, text and values of the latest diagnostics."""
    if not diagnostics:
        return -1, '', {}
    status = diagnostics[-1].status[0]
    values = {entry.key: entry.value for entry in status.values}
    return int.from_bytes(status.level, 'little'), status.message, values


def test_bones_without_joints_are_told_and_are_not_nobody(
    listener: Listener, nodes: Nodes
) -> None:
    nodes.start(**{'diagnostics.period_s': 0.1, 'input.type': 'marker_array'})
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
    poses = listener.collect(PoseArray, '/motion_predictor/poses')
    people = listener.collect(String, '/motion_predictor/people', latched=True)
    source = Source(listener.node, ENCODERS['marker_array'][0], '/skeleton')
    bones = Marker(type=Marker.LINE_LIST, action=Marker.ADD)
    bones.header.frame_id = 'map'
    bones.points = [Point(x=x, y=y, z=z) for x, y, z in walker_poses()[0][0].tolist()]
    words = ('skeleton: bones alone', 'as spheres')
    wait_until(
        lambda: all(word in status_of(diagnostics)[1] for word in words),
        lambda: (source.send(MarkerArray(markers=[bones])), listener.spin()),
        'a warning of bones',
    )
    level, text, values = status_of(diagnostics)
    assert level == 1
    assert int(values['messages_of_bones']) > 0
    assert int(values['messages_empty']) == 0
    assert 'no input' not in text
    assert not poses, 'an empty array is the tracker`s own word that nobody is there'
    assert not any('"people": []' in message.data for message in people[1:])


def test_a_node_that_nobody_configures_says_so_and_what_would_do(
    listener: Listener, weights: Path
) -> None:
    made = []
    for cell in ('cell_1', 'cell_2'):
        made.append(
            MotionPredictorNode(
                context=listener.context,
                cli_args=[
                    '--ros-args', '-r', f'__ns:=/{cell}',
                    '-p', f'model.path:={weights}', '-p', 'diagnostics.period_s:=0.1',
                ],
            )
        )  # fmt: skip
        listener.executor.add_node(made[-1])
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')

    def told(cell: str) -> list[tuple[int, str]]:
        return [
            status_of([message])[:2]
            for message in diagnostics
            if message.status[0].name == f'{cell}/motion_predictor: prediction'
        ]

    yaml = pytest.importorskip('ruamel.yaml')
    analyzers = yaml.YAML(typ='safe').load(ROOT / 'config' / 'diagnostics_analyzers.yaml')
    (part,) = analyzers['analyzers']['ros__parameters']['people']['contains']
    assert part in 'cell_1/motion_predictor: prediction', 'the aggregator does not take it'
    words = 'ros2 lifecycle set /cell_2/motion_predictor configure'
    listener.wait(
        lambda: told('cell_2') and words in told('cell_2')[-1][1], 'what would do to be told'
    )
    assert told('cell_2')[0] == (0, 'unconfigured'), 'whoever is just starting is given time'
    assert told('cell_2')[-1][0] == 1
    assert 'autostart:=true' in told('cell_2')[-1][1]
    assert made[1].trigger_configure().name == 'SUCCESS'
    listener.wait(lambda: told('cell_2')[-1] == (0, 'inactive'), 'it to be configured')
    assert made[1].trigger_cleanup().name == 'SUCCESS'
    count = len(told('cell_2'))
    listener.wait(lambda: len(told('cell_2')) > count + 3, 'more of it')
    assert told('cell_2')[-1] == (0, 'unconfigured'), 'whoever cleaned it up knows'
    assert words not in {text for _, text in told('cell_1')}
    for node in made:
        node.destroy_node()


def test_silence_is_told_of_the_topic_that_is_really_listened_to(
    listener: Listener, weights: Path
) -> None:
    node = MotionPredictorNode(
        context=listener.context,
        cli_args=[
            '--ros-args', '-r', '/skeleton:=/anna/skeleton',
            '-p', f'model.path:={weights}', '-p', 'diagnostics.period_s:=0.1',
        ],
    )  # fmt: skip
    listener.executor.add_node(node)
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
    assert node.trigger_configure().name == 'SUCCESS'
    assert node.trigger_activate().name == 'SUCCESS'
    listener.wait(
        lambda: 'no input on /anna/skeleton' in status_of(diagnostics)[1], 'the topic to be named'
    )
    assert 'come on' not in status_of(diagnostics)[1], 'what the node publishes itself is no input'
    source = Source(listener.node, ENCODERS['pose_array'][0], '/skeleton')
    words = 'such messages come on /skeleton: set input.topics, or remap (-r /anna/skeleton:='
    listener.wait(lambda: words in status_of(diagnostics)[1], 'where they come to be told')
    assert source.publisher.get_subscription_count() == 0
    node.destroy_node()
