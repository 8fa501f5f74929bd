# SPDX-License-Identifier: Apache-2.0
"""Recordings in rosbag2 files, written here and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motion_predictor.errors import RecordingError
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.walker import synthetic_walkers

rosbags = pytest.importorskip('rosbags')

from bag_messages import (  # noqa: E402
    BEGAN_NS,
    marker_array,
    MESSAGES,
    pose_array,
    STEP_NS,
    STORE,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('name', MESSAGES)
def test_two_people_come_back_from_a_bag(
    tmp_path: Path, name: str, storage: StoragePlugin
) -> None:
    scene = synthetic_walkers(2, 0.4)
    kind, encode = MESSAGES[name]
    messages = []
    for frame in range(scene.num_frames):
        stamp_ns = BEGAN_NS + frame * STEP_NS
        people = {int(key): poses[frame] for key, poses in scene.persons.items()}
        messages.append((stamp_ns + 5_000_000, encode(stamp_ns, people)))
    bag = write_bag(tmp_path / 'bag', messages, kind, storage, '/skeletons')
    recording = open_recording(bag)
    assert recording.frame_id == 'camera'
    assert recording.rate_hz == pytest.approx(30.0, rel=1e-3)
    np.testing.assert_allclose(recording.instants_s, np.arange(scene.num_frames) * STEP_NS * 1e-9)
    assert list(recording.persons) == ['0', '1']
    for person, poses in scene.persons.items():
        np.testing.assert_allclose(recording.persons[person], poses, atol=1e-6)
    if storage is StoragePlugin.MCAP:
        (file,) = bag.glob('*.mcap')
        assert open_recording(file).num_frames == scene.num_frames


def test_a_person_who_leaves_is_missing_afterwards(tmp_path: Path) -> None:
    scene = synthetic_walkers(2, 0.2)
    messages = []
    for frame in range(scene.num_frames):
        people = {int(key): poses[frame] for key, poses in scene.persons.items()}
        if frame >= 5:
            del people[1]
        stamp_ns = BEGAN_NS + frame * STEP_NS
        messages.append((stamp_ns, marker_array(stamp_ns, people)))
    bag = write_bag(
        tmp_path / 'bag', messages, MESSAGES['marker_array'][0], StoragePlugin.MCAP, '/s'
    )
    recording = open_recording(bag)
    assert np.isfinite(recording.persons['1'][:5]).all()
    assert np.isnan(recording.persons['1'][5:]).all()
    assert np.isfinite(recording.persons['0']).all()


def test_zero_stamps_give_way_to_the_time_of_recording(tmp_path: Path) -> None:
    poses = next(iter(synthetic_walkers(1, 0.2).persons.values()))
    messages = [
        (BEGAN_NS + frame * STEP_NS, pose_array(0, {0: pose})) for frame, pose in enumerate(poses)
    ]
    bag = write_bag(
        tmp_path / 'bag', messages, MESSAGES['pose_array'][0], StoragePlugin.MCAP, '/s'
    )
    instants = open_recording(bag).instants_s
    np.testing.assert_allclose(instants, np.arange(len(poses)) * STEP_NS * 1e-9)


def test_messages_out_of_order_are_left_out_and_said(tmp_path: Path) -> None:
    poses = next(iter(synthetic_walkers(1, 0.2).persons.values()))
    stamps = BEGAN_NS + np.arange(len(poses)) * STEP_NS
    stamps[4] = stamps[2]
    messages = [
        (BEGAN_NS + frame * STEP_NS, pose_array(int(stamps[frame]), {0: pose}))
        for frame, pose in enumerate(poses)
    ]
    bag = write_bag(
        tmp_path / 'bag', messages, MESSAGES['pose_array'][0], StoragePlugin.MCAP, '/s'
    )
    recording = open_recording(bag)
    assert recording.num_frames == len(poses) - 1
    assert '1 messages with odd stamps left out' in recording.source


def test_the_wrong_layout_and_the_wrong_topic_are_named(tmp_path: Path) -> None:
    poses = next(iter(synthetic_walkers(1, 0.1).persons.values()))
    messages = [(BEGAN_NS, pose_array(BEGAN_NS, {0: poses[0]}))]
    bag = write_bag(
        tmp_path / 'bag', messages, MESSAGES['pose_array'][0], StoragePlugin.MCAP, '/s'
    )
    with pytest.raises(
        RecordingError, match='expected a multiple of 32, the joints of the layout, got 17'
    ):
        open_recording(bag, layout='k4a32')
    with pytest.raises(RecordingError, match=r"topic='/other' .* it has /s \(geometry_msgs"):
        open_recording(bag, topic='/other')


def test_a_folder_that_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match='not a readable rosbag2'):
        open_recording(tmp_path)


def test_people_without_ids_keep_their_names_whatever_their_order(tmp_path: Path) -> None:
    scene = synthetic_walkers(3, 2.0, 30.0)
    generator = np.random.default_rng(0)
    messages = []
    for frame in range(scene.num_frames):
        people = [poses[frame] for poses in scene.persons.values()]
        if frame >= 30:
            del people[0]  # who comes after takes this place
        order = generator.permutation(len(people))
        stamp_ns = BEGAN_NS + frame * STEP_NS
        shuffled = {number: people[index] for number, index in enumerate(order)}
        messages.append((stamp_ns, pose_array(stamp_ns, shuffled)))
    kind = MESSAGES['pose_array'][0]
    bag = write_bag(tmp_path / 'bag', messages, kind, StoragePlugin.MCAP, '/s')
    recording = open_recording(bag)
    assert 'poses named by where the body was' in recording.source
    assert len(recording.persons) == 3
    for poses in scene.persons.values():
        nearest = min(
            recording.persons.values(), key=lambda found: np.linalg.norm(found[0] - poses[0])
        )
        there = np.isfinite(nearest).all(axis=(1, 2))
        assert there.sum() in (30, scene.num_frames)
        np.testing.assert_allclose(nearest[there], poses[there], atol=1e-6)


def test_of_several_topics_the_usual_one_is_taken_and_others_must_be_named(
    tmp_path: Path,
) -> None:
    poses = next(iter(synthetic_walkers(1, 0.2).persons.values()))
    kind = MESSAGES['pose_array'][0]
    for usual in ('/skeleton', '/camera/people'):
        path = tmp_path / usual.rpartition('/')[2]
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for topic, shift_m in ((usual, 0.0), ('/others', 5.0)):
                connection = writer.add_connection(topic, kind, typestore=STORE)
                for frame, pose in enumerate(poses):
                    stamp_ns = BEGAN_NS + frame * STEP_NS
                    raw = STORE.serialize_cdr(pose_array(stamp_ns, {0: pose + shift_m}), kind)
                    writer.write(connection, stamp_ns, raw)
    found = open_recording(tmp_path / 'skeleton')
    np.testing.assert_allclose(next(iter(found.persons.values())), poses, atol=1e-6)
    found = open_recording(tmp_path / 'skeleton', topic='/others')
    np.testing.assert_allclose(next(iter(found.persons.values())), poses + 5.0, atol=1e-5)
    with pytest.raises(RecordingError, match=r"topic='' does not name one skeleton topic"):
        open_recording(tmp_path / 'people')
