"""Trackers' own messages come out of a bag as they come out of the node's decoders."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from tracker_packages import COMMON, DEFINITIONS, plain
from tracker_people import MAKERS, tf, transform

from motion_predictor.body.layouts import layout
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recordings import open_recording, synthetic_walkers
from motion_predictor.recordings.rosbag import BagInput, read_rosbag
from motion_predictor.sources.trackers import TRACKERS

pytest.importorskip('rosbags')

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

BEGAN_NS = 1_700_000_000_000_000_000
STEP_NS = 33_333_333
FRAMES = 20
WALKERS = [
    poses + np.float32(shift)
    for poses, shift in zip(
        synthetic_walkers(2, 2.0, 30.0).persons.values(), ([3.0, 0.0, 0.0], [3.0, 2.0, 0.0])
    )
]


def store() -> Any:
    """Types of every tracker's messages."""
    made = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for package, messages in DEFINITIONS.items():
        for name, text in messages.items():
            if f'{package}/msg/{name}' not in made.fielddefs:
                types |= get_types_from_msg(dedent(text), f'{package}/msg/{name}')
    made.register(types)
    return made


STORE = store()


def packed(kind: str, message: Any) -> Any:
    """Make a message of a bag from a stand-in with the same fields."""
    package, _, name = kind.partition('/msg/')
    short = f'{package}/{name}'
    values = {}
    text = COMMON.get(short) or DEFINITIONS[package][name]
    for line in filter(None, map(str.strip, text.splitlines())):
        type_name, field = line.split()
        if '=' in field:
            continue
        base, _, count = type_name.partition('[')
        value = getattr(message, field)
        if base == base.lower():
            many = {'string': list}.get(base, lambda v, base=base: np.array(v, base))
            values[field] = many(value) if count else value
            continue
        nested = base if '/' in base else f'{package}/{base}'
        nested = nested.replace('/', '/msg/')
        values[field] = [packed(nested, v) for v in value] if count else packed(nested, value)
    return STORE.types[kind](**values)


def write(
    path: Path,
    messages: list[tuple[int, str, str, Any]],
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:
    """Write (received, topic, type, stand-in) to a bag."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for received_ns, topic, kind, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            raw = STORE.serialize_cdr(packed(kind, message), kind)
            writer.write(connections[topic], received_ns, raw)
    return path


def tracked(kind: str, people: list[np.ndarray]) -> list[tuple[int, str, str, Any]]:
    tracker = TRACKERS[kind]
    made = []
    for index in range(FRAMES):
        stamp_ns = BEGAN_NS + index * STEP_NS
        message = MAKERS[kind](
            plain, layout(tracker.layout), [poses[index] for poses in people], stamp_ns
        )
        made.append((stamp_ns + 40_000_000, '/people', tracker.message, message))
    return made


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


def tree(bodies: tuple[str, ...]) -> list[tuple[int, str, str, Any]]:
    """Everybody's frames, as robot_state_publisher sends them, in a camera that is set up."""
    kind, joints = 'tf2_msgs/msg/TFMessage', layout('hri').joints
    fixed = tf(plain, [transform(plain, 'map', 'camera', [0.0, 0.0, 2.0], 0)])
    made: list[tuple[int, str, str, Any]] = [(BEGAN_NS, '/tf_static', kind, fixed)]
    for index in range(FRAMES):
        stamp_ns = BEGAN_NS + index * STEP_NS
        for number, body in enumerate(bodies):
            frames = [
                transform(plain, 'camera', f'{joint}_{body}',
                          [0.1 * index, float(number), 0.01 * place], stamp_ns)
                for place, joint in enumerate(joints)
            ]  # fmt: skip
            made.append((stamp_ns + 1_000 * number, '/tf', kind, tf(plain, frames)))
    return made


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
