"""Recordings in rosbag2 files, written here and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recordings import open_recording, synthetic_walkers

rosbags = pytest.importorskip('rosbags')

from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import get_typestore, Stores  # noqa: E402

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types
BEGAN_NS = 1_700_000_000_000_000_000
STEP_NS = 33_333_333


def header(stamp_ns: int) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPES['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return TYPES['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')


def pose(place: np.ndarray) -> Any:
    x, y, z = place.astype(float).tolist()
    return TYPES['geometry_msgs/msg/Pose'](
        position=TYPES['geometry_msgs/msg/Point'](x=x, y=y, z=z),
        orientation=TYPES['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0),
    )


def pose_array(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    poses = [pose(place) for places in people.values() for place in places]
    return TYPES['geometry_msgs/msg/PoseArray'](header=header(stamp_ns), poses=poses)


def marker_array(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    none = TYPES['geometry_msgs/msg/Vector3'](x=0.1, y=0.1, z=0.1)
    markers = [
        TYPES['visualization_msgs/msg/Marker'](
            header=header(stamp_ns),
            ns='',
            id=100 * person + joint,
            type=2,
            action=0,
            pose=pose(place),
            scale=none,
            color=TYPES['std_msgs/msg/ColorRGBA'](r=1.0, g=1.0, b=1.0, a=1.0),
            lifetime=TYPES['builtin_interfaces/msg/Duration'](sec=0, nanosec=0),
            frame_locked=False,
            points=[],
            colors=[],
            texture_resource='',
            texture=TYPES['sensor_msgs/msg/CompressedImage'](
                header=header(0), format='', data=np.zeros(0, np.uint8)
            ),
            uv_coordinates=[],
            text='',
            mesh_resource='',
            mesh_file=TYPES['visualization_msgs/msg/MeshFile'](
                filename='', data=np.zeros(0, np.uint8)
            ),
            mesh_use_embedded_materials=False,
        )
        for person, places in people.items()
        for joint, place in enumerate(places)
    ]
    return TYPES['visualization_msgs/msg/MarkerArray'](markers=markers)


def point_cloud(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    kind = np.dtype([('joint', 'u1'), ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('person', '<u2')])
    rows = np.concatenate(
        [
            np.array([(joint, *place, person) for joint, place in enumerate(places)], kind)
            for person, places in people.items()
        ]
    )
    numbers = {'x': 7, 'y': 7, 'z': 7, 'joint': 2, 'person': 4}
    assert kind.fields is not None
    fields = [
        TYPES['sensor_msgs/msg/PointField'](
            name=name, offset=kind.fields[name][1], datatype=numbers[name], count=1
        )
        for name in kind.names or ()
    ]
    return TYPES['sensor_msgs/msg/PointCloud2'](
        header=header(stamp_ns),
        height=1,
        width=len(rows),
        fields=fields,
        is_bigendian=False,
        point_step=kind.itemsize,
        row_step=rows.nbytes,
        data=np.frombuffer(rows[::-1].tobytes(), np.uint8),
        is_dense=True,
    )


MESSAGES = {
    'pose_array': ('geometry_msgs/msg/PoseArray', pose_array),
    'marker_array': ('visualization_msgs/msg/MarkerArray', marker_array),
    'point_cloud': ('sensor_msgs/msg/PointCloud2', point_cloud),
}


def write_bag(
    path: Path, messages: list[tuple[int, Any]], kind: str, storage: StoragePlugin, topic: str
) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connection = writer.add_connection(topic, kind, typestore=STORE)
        for received_ns, message in messages:
            writer.write(connection, received_ns, STORE.serialize_cdr(message, kind))
    return path


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
