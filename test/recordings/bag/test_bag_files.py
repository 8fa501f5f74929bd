# SPDX-License-Identifier: Apache-2.0
"""Bags as people have them: cut, damaged, without metadata, oddly stamped; read, or refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
import resource
import shutil
import sqlite3
import tempfile

from hypothesis import given, HealthCheck, settings, strategies
import numpy as np
import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bag import unpacking
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.walker import synthetic_walkers

rosbags = pytest.importorskip('rosbags')

from bag_messages import (  # noqa: E402
    BEGAN_NS,
    marker_array,
    MESSAGES,
    point_cloud,
    pose_array,
    STEP_NS,
    STORE,
)
from rosbags.rosbag2 import (  # noqa: E402
    CompressionFormat,
    CompressionMode,
    storage_mcap,
    StoragePlugin,
    Writer,
)

WALK = next(iter(synthetic_walkers(1, 4.0, 30.0).persons.values()))
KIND = MESSAGES['pose_array'][0]


def write(
    path: Path,
    stamps: list[int],
    *,
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    mode: CompressionMode | None = None,
    frames: tuple[str, ...] = ('camera',),
) -> Path:
    """One person; the message of frame i is stamped stamps[i], frame_ids take turns."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/skeleton', KIND, typestore=STORE)
        for index, stamp_ns in enumerate(stamps):
            message = pose_array(stamp_ns, {0: WALK[index]})
            message.header.frame_id = frames[index % len(frames)]
            raw = STORE.serialize_cdr(message, KIND)
            writer.write(connection, BEGAN_NS + index * STEP_NS, raw)
    return path


def plain(count: int = 60) -> list[int]:
    return [BEGAN_NS + index * STEP_NS for index in range(count)]


def require_walk(recording: Recording, kept: list[int]) -> None:
    """The poses of these frames, at their own instants."""
    poses = recording.persons['0']
    np.testing.assert_allclose(poses, WALK[kept], atol=1e-6)
    instants = (np.array(kept) - kept[0]) * STEP_NS * 1e-9
    np.testing.assert_allclose(recording.instants_s, instants, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_are_read_with_and_without_metadata(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    bag = write(tmp_path / 'bag', plain(), storage=storage, mode=mode)
    require_walk(open_recording(bag), list(range(60)))
    (bag / 'metadata.yaml').unlink()
    recording = open_recording(bag)
    require_walk(recording, list(range(60)))
    assert 'ros2 bag reindex bag' in recording.source
    (file,) = bag.iterdir()
    require_walk(open_recording(file), list(range(60)))


def test_a_folder_without_metadata_gives_its_files_in_order(tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    bag.mkdir()
    for number in (10, 2):  # by number, not by letter
        part = write(tmp_path / f'part{number}', plain(30))
        shutil.copy(next(part.glob('*.db3')), bag / f'bag_{number}.db3')
        with sqlite3.connect(bag / f'bag_{number}.db3') as database:
            database.execute('UPDATE messages SET timestamp = timestamp + ?', (number * 10**9,))
    recording = open_recording(bag)
    assert recording.num_frames == 60
    assert 'stamps jump' in recording.source


def test_a_damaged_message_is_left_out_and_counted(tmp_path: Path) -> None:
    for mode, left in ((None, 200), (CompressionMode.MESSAGE, 20)):
        bag = write(tmp_path / f'bag{left}', plain(), mode=mode)
        (file,) = bag.glob('*.db3')
        with sqlite3.connect(file) as database:
            database.execute(
                'UPDATE messages SET data = substr(data, 1, ?) WHERE id = 40', (left,)
            )
        recording = open_recording(bag)
        require_walk(recording, [index for index in range(60) if index != 39])
        assert '1 damaged messages left out' in recording.source


@pytest.mark.parametrize('share', [0.4, 0.6, 0.9])
def test_an_mcap_whose_recorder_was_killed_is_read_as_far_as_it_goes(
    tmp_path: Path, share: float
) -> None:
    bag = write(tmp_path / 'bag', plain(), storage=StoragePlugin.MCAP)
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    recording = open_recording(bag)
    assert recording.num_frames >= share * 60 - 12
    require_walk(recording, list(range(recording.num_frames)))
    assert 'mcap recover' in recording.source
    whole = write(tmp_path / 'whole', plain(), storage=StoragePlugin.MCAP)
    (file,) = whole.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-30])
    require_walk(open_recording(file), list(range(60)))


def test_what_a_killed_recorder_left_beside_the_database_is_read(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', plain())
    (file,) = bag.glob('*.db3')
    copy = tmp_path / 'killed'
    copy.mkdir()
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('PRAGMA wal_autocheckpoint = 0')
    message = STORE.serialize_cdr(pose_array(BEGAN_NS + 60 * STEP_NS, {0: WALK[60]}), KIND)
    database.execute(
        'INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)',
        (BEGAN_NS + 60 * STEP_NS, bytes(message)),
    )
    database.commit()
    for each in bag.glob('*.db3*'):
        shutil.copy(each, copy)
    database.close()
    require_walk(open_recording(copy), list(range(61)))
    assert any(copy.glob('*-wal')), 'nothing of the recording is changed'


def test_a_newer_metadata_version_and_a_missing_part_are_no_hindrance(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', plain())
    metadata = bag / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('version: 9', 'version: 10'))
    require_walk(open_recording(bag), list(range(60)))
    metadata.write_text(metadata.read_text().replace('bag.db3', 'bag.db3\n  - bag_1.db3', 1))
    recording = open_recording(bag)
    require_walk(recording, list(range(60)))
    assert 'names bag_1.db3, which is not there' in recording.source


@pytest.mark.parametrize(
    'name,content,what',
    [
        ('x.db3', b'not a database at all', r'x\.db3.*ros2 bag reindex'),
        ('x.db3', b'', 'not a readable rosbag2'),
        ('x.mcap', b'not an mcap at all', r'mcap recover x\.mcap'),
        ('x.bag', b'#ROSBAG V2.0\n' + bytes(100), 'ROS 1: convert it first'),
        ('x.mcap.zstd', b'nothing', 'not a readable rosbag2'),
    ],
)
def test_what_is_no_bag_is_refused_with_what_would_do(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=what):
        open_recording(tmp_path / name)


def test_a_recorded_loop_is_two_clips_and_a_glitch_costs_itself(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path / 'loop', plain(60) + plain(50)))
    assert recording.num_frames == 110
    steps_s = np.diff(recording.instants_s)
    assert steps_s[59] == pytest.approx(1.0), 'no history goes on over it'
    assert list(recording.persons) == ['0'], 'whoever was elsewhere before'
    assert '2 clips, since stamps jump' in recording.source
    stamps = plain()
    stamps[3] += 3600 * 10**9
    stamps[30] = 0
    recording = open_recording(write(tmp_path / 'glitch', stamps))
    require_walk(recording, [index for index in range(60) if index != 3])
    assert '1 messages with odd stamps left out' in recording.source
    assert '1 messages without a stamp placed by their arrival' in recording.source


def test_empty_markers_before_anybody_comes_cost_nothing(tmp_path: Path) -> None:
    kind = MESSAGES['marker_array'][0]
    for name, began_ns in (('late', BEGAN_NS - 120_000_000), ('boot', 100 * 10**9)):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection('/bodies', kind, typestore=STORE)
            for index in range(60):
                people = {0: WALK[index]} if index >= 10 else {}
                message = marker_array(began_ns + index * STEP_NS, people)
                raw = STORE.serialize_cdr(message, kind)
                writer.write(connection, BEGAN_NS + index * STEP_NS, raw)
        recording = open_recording(tmp_path / name)
        poses = recording.persons['0']
        assert np.isnan(poses[:10]).all()
        np.testing.assert_allclose(poses[10:], WALK[10:60], atol=1e-6)


def test_two_frames_of_reference_are_refused(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', plain(), frames=('cam_a', 'cam_b'))
    with pytest.raises(RecordingError, match=r"2 frames of reference: 'cam_a' \(30 messages\)"):
        open_recording(bag)
    assert open_recording(write(tmp_path / 'one', plain(), frames=('/cam', 'cam'))).num_frames


@pytest.mark.parametrize('name', ['marker_array', 'point_cloud'])
def test_joints_beyond_the_layout_are_refused_as_by_the_node(tmp_path: Path, name: str) -> None:
    kind, encode = MESSAGES[name]
    assert encode in (marker_array, point_cloud)
    pose = np.zeros((layout('k4a32').num_joints, 3)) + 1.0
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/bodies', kind, typestore=STORE)
        for stamp_ns in plain(20):
            raw = STORE.serialize_cdr(encode(stamp_ns, {0: pose}), kind)
            writer.write(connection, stamp_ns, raw)
    with pytest.raises(RecordingError, match='20 of 20 messages are not of the layout h36m17'):
        open_recording(tmp_path / 'bag')
    assert open_recording(tmp_path / 'bag', layout='k4a32').num_frames == 20


def test_a_namespace_is_part_of_a_name_and_bones_are_no_joints(tmp_path: Path) -> None:
    kind = MESSAGES['marker_array'][0]
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/bodies', kind, typestore=STORE)
        for index, stamp_ns in enumerate(plain(20)):
            message = marker_array(stamp_ns, {0: WALK[index]})
            for marker in message.markers:
                marker.ns = 'left_camera'
            bone = marker_array(stamp_ns, {0: WALK[index][:1]}).markers[0]
            bone.type, bone.id = 4, 5  # LINE_STRIP
            message.markers.append(bone)
            writer.write(connection, stamp_ns, STORE.serialize_cdr(message, kind))
    recording = open_recording(tmp_path / 'bag')
    np.testing.assert_allclose(recording.persons['left_camera/0'], WALK[:20], atol=1e-6)
    assert list(recording.persons) == ['left_camera/0']


@pytest.fixture(scope='module')
def some_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of every kind of storage and compression."""
    folder = tmp_path_factory.mktemp('bags')
    made = []
    for storage, mode in (
        (StoragePlugin.MCAP, None),
        (StoragePlugin.SQLITE3, None),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
    ):
        bag = write(folder / f'{storage.name}{mode}', plain(20), storage=storage, mode=mode)
        made += [path for path in bag.iterdir() if path.name != 'metadata.yaml']
    return made


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=strategies.data())
def test_whatever_happens_to_a_file_it_is_read_or_refused_by_name(
    some_files: list[Path], tmp_path: Path, data: strategies.DataObject
) -> None:
    file = data.draw(strategies.sampled_from(some_files))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(strategies.integers(1, 8))):
        place = data.draw(strategies.integers(0, max(0, len(content) - 1)))
        kind = data.draw(strategies.sampled_from(('flip', 'zeros', 'cut', 'put in', 'end')))
        size = data.draw(strategies.integers(1, 64))
        if kind == 'flip':
            content[place : place + 1] = bytes([content[place] ^ size]) if content else b''
        elif kind == 'zeros':
            content[place : place + size] = bytes(size)
        elif kind == 'cut':
            del content[place : place + size]
        elif kind == 'put in':
            content[place:place] = data.draw(strategies.binary(max_size=30))
        else:
            del content[place:]
    damaged = tmp_path / f'x{"".join(file.suffixes)}'
    damaged.write_bytes(content)
    with suppress(RecordingError):
        assert open_recording(damaged).num_frames <= 20


def packed(path: Path) -> Path:
    """Compress a bag's file as `zstd` does."""
    bag = write(path / 'bag', plain(), storage=StoragePlugin.MCAP)
    (file,) = bag.glob('*.mcap')
    return compress(file, path / 'walk.mcap.zstd')


def compress(file: Path, target: Path) -> Path:
    target.write_bytes(unpacking.zstd().compress(file.read_bytes()))
    return target


def test_a_compressed_bag_is_unpacked_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_walk(open_recording(packed(tmp_path)), list(range(60)))
    bomb = tmp_path / 'bomb.mcap'
    with bomb.open('wb') as file:
        file.truncate(64 * 2**20)
    small = compress(bomb, tmp_path / 'bomb.mcap.zstd')
    assert small.stat().st_size < 10_000
    monkeypatch.setattr(unpacking, 'MAX_UNPACKED_BYTES', 8 * 2**20)
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    with pytest.raises(RecordingError, match=r'more than 0\.00\d+ GiB.*zstd -d bomb\.mcap\.zstd'):
        open_recording(small)
    assert not [*tmp_path.glob('bag_*')], 'nothing is left behind'


def test_a_disk_too_full_to_unpack_a_bag_is_named(tmp_path: Path) -> None:
    big = tmp_path / 'big.mcap'
    with big.open('wb') as file:
        file.truncate(32 * 2**20)
    small = compress(big, tmp_path / 'big.mcap.zstd')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 2**20, limits[1]))
    try:
        with pytest.raises(RecordingError, match=r'cannot be unpacked into .*make room.*TMPDIR'):
            open_recording(small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_compressed_message_is_unpacked_up_to_a_limit() -> None:
    bomb = unpacking.zstd().compress(bytes(unpacking.MAX_MESSAGE_BYTES + 1))
    with pytest.raises(RecordingError, match='more than 64 MiB'):
        unpacking.unpacked_message(bomb)
    assert unpacking.unpacked_message(unpacking.zstd().compress(b'abc')) == b'abc'


def test_a_chunk_is_unpacked_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write(
        tmp_path / 'bag', plain(), storage=StoragePlugin.MCAP, mode=CompressionMode.STORAGE
    )
    (file,) = bag.glob('*.mcap')
    assert b'zstd' in file.read_bytes()
    before = dict(storage_mcap.DECOMPRESSORS)
    require_walk(open_recording(file), list(range(60)))
    monkeypatch.setattr(unpacking, 'MAX_CHUNK_BYTES', 32 * 2**10)
    with pytest.raises(
        RecordingError, match=r'a chunk of more than 0\.03125 MiB when it is unpacke'
    ):
        open_recording(file)
    assert dict(storage_mcap.DECOMPRESSORS) == before, 'others read as they did'


@pytest.mark.parametrize('kind', ['zstd', 'lz4'])
def test_a_chunk_that_unpacks_to_gigabytes_takes_no_memory(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = unpacking.zstd() if kind == 'zstd' else pytest.importorskip('lz4.frame')
    monkeypatch.setattr(unpacking, 'MAX_CHUNK_BYTES', 2**20)
    packed = module.compress(bytes(2**20))
    bomb = module.compress(bytes(256 * 2**20))
    with unpacking.bounded_chunks():
        unpack = storage_mcap.DECOMPRESSORS[kind]
        assert unpack(packed, 2**20) == bytes(2**20)
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(unpacking.ChunkError, match='more than 1 MiB'):
            unpack(bomb, 2**20)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun < 64 * 2**10
        with pytest.raises(unpacking.ChunkError, match='cut off'):
            unpack(packed[:-8], 2**20)


def test_a_bag_whose_every_stamp_is_the_same_is_read_by_arrival(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path / 'same', [BEGAN_NS] * 60))
    require_walk(recording, list(range(60)))
    assert 'every message has the same stamp' in recording.source
