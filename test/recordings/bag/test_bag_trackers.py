# SPDX-License-Identifier: Apache-2.0
"""Trackers' own messages come out of a bag as they come out of the node's decoders."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from tracker_packages import COMMON, DEFINITIONS, plain

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.rosbag import BagInput, read_rosbag
from motion_predictor.sources.trackers import TRACKERS

pytest.importorskip('rosbags')

from rosbags.rosbag2 import StoragePlugin
from tracker_bags import (
    BEGAN_NS,
    FRAMES,
    tracked,
    tree,
    WALKERS,
    write,
)


@pytest.mark.slow
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('kind', TRACKERS)
def test_a_trackers_bag_says_what_its_source_says(
    tmp_path: Path, kind: str, storage: StoragePlugin
) -> None:
    people = WALKERS[:1] if kind == 'mocap4r2' else WALKERS
    messages = tracked(kind, people)
    recording = open_recording(write(tmp_path / 'bag', messages, storage))
    tracker = TRACKERS[kind]
    assert recording.layout == tracker.layout
    assert recording.num_frames == FRAMES
    assert recording.rate_hz == pytest.approx(30.0, rel=1e-3)
    source = tracker.source(layout(tracker.layout), tracker.pattern)
    for index, (received_ns, topic, _, message) in enumerate(messages):
        told = source.decode(topic, message, received_ns)
        assert told is not None
        assert {person.person for person in told} == set(recording.persons)
        for person in told:
            np.testing.assert_allclose(
                recording.persons[person.person][index], person.xyz, rtol=1e-6, atol=1e-6
            )


def test_people_of_tf_come_from_the_tree(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', tree(('anna', 'bob')))
    recording = open_recording(bag)
    assert list(recording.persons) == ['anna', 'bob']
    assert recording.frame_id == 'map'
    assert recording.num_frames == FRAMES, 'both are in each frame'
    for number, poses in enumerate(recording.persons.values()):
        expected = np.arange(FRAMES)[:, None] * 0.1 + np.zeros(len(layout('hri').joints))
        np.testing.assert_allclose(poses[..., 0], expected, atol=1e-6)
        np.testing.assert_allclose(poses[..., 1], number, atol=1e-6)
        np.testing.assert_allclose(poses[:, 5, 2], 2.05, atol=1e-6)
    seen = read_rosbag(bag, wanted=BagInput(topic='tf', target_frame='camera'))
    assert seen.frame_id == 'camera'
    np.testing.assert_allclose(seen.persons['bob'][:, 5, 2], 0.05, atol=1e-6)


def test_bodies_of_hri_are_those_that_are_listed(tmp_path: Path) -> None:
    listed = plain('hri_msgs/IdsList')
    listed.ids = ['anna']
    messages = [(BEGAN_NS - 1, '/humans/bodies/tracked', 'hri_msgs/msg/IdsList', listed)]
    recording = open_recording(write(tmp_path / 'bag', messages + tree(('anna', 'bob'))))
    assert list(recording.persons) == ['anna']
    assert recording.num_frames == FRAMES


@pytest.mark.slow
def test_a_skeleton_topic_is_taken_before_the_tree(tmp_path: Path) -> None:
    messages = tracked('hiros', WALKERS) + tree(('anna',))
    recording = open_recording(write(tmp_path / 'bag', sorted(messages, key=lambda m: m[0])))
    assert list(recording.persons) == ['3', '4']


def test_a_message_that_nobody_defines_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    bag = write(tmp_path / 'bag', tracked('hiros', WALKERS), StoragePlugin.SQLITE3)
    (file,) = bag.glob('*.db3')
    with sqlite3.connect(file) as database:
        database.execute('DELETE FROM message_definitions')  # as a recorder before ROS 2 Iron
    monkeypatch.setenv('AMENT_PREFIX_PATH', '')
    with pytest.raises(RecordingError, match='bag does not define: source the workspace'):
        open_recording(bag)
    for package, messages in DEFINITIONS.items():
        folder = tmp_path / 'ws' / 'share' / package / 'msg'
        folder.mkdir(parents=True)
        for name, text in messages.items():
            (folder / f'{name}.msg').write_text(dedent(text))
    common = tmp_path / 'ros'
    for name, text in COMMON.items():
        package, short = name.split('/')
        folder = common / 'share' / package / 'msg'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{short}.msg').write_text(dedent(text))
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "ws"}:{common}')
    assert open_recording(bag).num_frames == FRAMES


def test_settings_that_do_not_fit_the_messages_are_named(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', tracked('zed', WALKERS))
    with pytest.raises(RecordingError, match=r'a ZED sends zed18, zed34 or zed38'):
        open_recording(bag, layout='h36m17')
    with pytest.raises(RecordingError, match=r'set input.skeleton to zed38'):
        open_recording(bag, layout='zed34')
    with pytest.raises(RecordingError, match=r'must have \{joint\} once'):
        read_rosbag(write(tmp_path / 'tf', tree(('anna',))), wanted=BagInput(pattern='x'))
