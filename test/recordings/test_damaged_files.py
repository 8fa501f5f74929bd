# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files of motion raise one kind of error, which names the file."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import io
import json
import os
from pathlib import Path
import struct
from typing import Any
import warnings
import zipfile

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.common.files import read_json
from motion_predictor.errors import ConfigError, RecordingError, SkeletonError, WeightsError
from motion_predictor.model.weights import load_weights
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.walker import synthetic_walkers

POSES = synthetic_walkers(1, duration_s=1.0).persons['0']


def clips(path: Path, **changes: Any) -> Path:
    arrays = {
        'positions': np.rint(POSES * 1000).astype(np.int16),
        'offsets': np.array([0, 20, 50]),
        'names': np.array(['a', 'b']),
        'fps': np.array(50),
    }
    np.savez_compressed(path, **{**arrays, **changes})
    return path


def raw_entry(path: Path, entry: str, content: bytes, **how: Any) -> Path:
    """Replace the bytes of one array in an archive."""
    with zipfile.ZipFile(clips(path)) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept[f'{entry}.npy'] = content
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with zipfile.ZipFile(path, 'w', **how) as archive:
            for name, each in kept.items():
                archive.writestr(name, each)
    return path


def header(text: str, data: bytes = b'') -> bytes:
    raw = text.encode('latin-1') + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(raw)) + raw + data


def described(dtype: str, shape: str, data: bytes = b'') -> bytes:
    return header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}", data)


def bits_set(path: Path) -> Path:
    """Mark the archive's entries as encrypted."""
    raw = bytearray(clips(path).read_bytes())
    for mark, at in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        where = raw.find(mark)
        while where >= 0:
            raw[where + at] |= 1
            where = raw.find(mark, where + 4)
    path.write_bytes(raw)
    return path


def method_unknown(path: Path) -> Path:
    raw = bytearray(clips(path).read_bytes())
    for mark, at in ((b'PK\x03\x04', 8), (b'PK\x01\x02', 10)):
        where = raw.find(mark)
        while where >= 0:
            raw[where + at] = 99
            where = raw.find(mark, where + 4)
    path.write_bytes(raw)
    return path


def flipped(path: Path) -> Path:
    raw = bytearray(clips(path).read_bytes())
    raw[400:600] = bytes(200)
    path.write_bytes(raw)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


SURROGATES = np.array(['a', 'b']).view('u4') + 0xD800
NPZ: dict[str, Callable[[Path], Path]] = {
    'empty': lambda path: written(path, b''),
    'text': lambda path: written(path, b'no archive'),
    'half': lambda path: written(path, clips(path).read_bytes()[:700]),
    'zeros inside': flipped,
    'encrypted': bits_set,
    'packed by nobody knows what': method_unknown,
    'positions flat': lambda path: clips(path, positions=np.zeros((50, 51))),
    'positions of 16 joints': lambda path: clips(path, positions=np.zeros((50, 16, 3))),
    'positions of text': lambda path: clips(path, positions=np.full((50, 17, 3), 'x')),
    'positions complex': lambda path: clips(path, positions=np.zeros((50, 17, 3), complex)),
    'positions of dates': lambda path: clips(path, positions=np.zeros((50, 17, 3), 'M8[s]')),
    'positions infinite': lambda path: clips(path, positions=np.full((50, 17, 3), np.inf)),
    'positions of records': lambda path: clips(path, positions=np.zeros(50, 'i4,f4')),
    'offsets as fractions': lambda path: clips(path, offsets=np.array([0.0, 20.5, 50.0])),
    'offsets in a square': lambda path: clips(path, offsets=np.zeros((3, 3), int)),
    'offsets of none': lambda path: clips(path, offsets=np.array(5)),
    'offsets beyond': lambda path: clips(path, offsets=np.array([0, 20, 2**62])),
    'offsets below': lambda path: clips(path, offsets=np.array([-9, 20, 50])),
    'offsets falling': lambda path: clips(path, offsets=np.array([0, 60, 50])),
    'names too few': lambda path: clips(path, names=np.array(['a'])),
    'names none': lambda path: clips(path, names=np.array([], 'U1'), offsets=np.array([0])),
    'names in a square': lambda path: clips(path, names=np.array([['a', 'b']])),
    'names pickled': lambda path: clips(path, names=np.array(['a', None], dtype=object)),
    'names no text': lambda path: clips(path, names=SURROGATES.view('U1')),
    'names beyond Unicode': lambda path: clips(path, names=(SURROGATES + 2**31).view('U1')),
    'fps as text': lambda path: clips(path, fps=np.array('fast')),
    'fps of three': lambda path: clips(path, fps=np.array([50, 50, 50])),
    'fps NaN': lambda path: clips(path, fps=np.array(np.nan)),
    'fps zero': lambda path: clips(path, fps=np.array(0)),
    'fps missing': lambda path: clips(path, fps=np.array(None)),
    'more announced than there is': lambda path: raw_entry(
        path, 'positions', described("'<f8'", '(1000000000000, 17, 3)')
    ),
    'a length below zero': lambda path: raw_entry(path, 'fps', described("'<f8'", '(-1,)')),
    'a dtype of nothing': lambda path: raw_entry(path, 'fps', described("'<V0'", '()')),
    'a dtype of itself': lambda path: raw_entry(
        path, 'fps', described("[('a', [('a', [('a', '<f8')])])]", '()', bytes(8))
    ),
    'a header without end': lambda path: raw_entry(path, 'fps', header('{' + '(' * 3000)),
    'a header of signs': lambda path: raw_entry(path, 'fps', header('-' * 9000 + '1')),
    'a header of bytes': lambda path: raw_entry(path, 'fps', header('\xff\x00{')),
    'another version': lambda path: raw_entry(path, 'fps', b'\x93NUMPY\x07\x00' + bytes(90)),
    'no header': lambda path: raw_entry(path, 'fps', b''),
}


@pytest.mark.parametrize('make', NPZ.values(), ids=NPZ)
def test_damaged_archives_of_clips_are_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / 'clips.npz')
    with pytest.raises(RecordingError, match=r'clips\.npz|: must lie|nobody'):
        open_recording(path)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=6))))
def test_archives_damaged_anywhere_are_read_or_refused(
    tmp_path_factory: Any, changes: list
) -> None:
    path = tmp_path_factory.mktemp('n') / 'clips.npz'
    raw = bytearray(clips(path).read_bytes())
    for where, put in changes:
        at = where % len(raw)
        raw[at : at + len(put)] = put
    path.write_bytes(raw)
    with contextlib.suppress(RecordingError):
        open_recording(path)


DEEP = '[' * 100_000
STILL = [0.1, 0.0, 0.9, 0.0, *([1.0, 0.0, 0.0, 0.0] * 10)]


def motion(frames: Any) -> str:
    return json.dumps({'Frames': frames})


MOTIONS = {
    'deep': DEEP,
    'number': '5',
    'list': '[]',
    'ragged': motion([STILL, STILL[:-1]]),
    'text': motion([['x'] * 44] * 2),
    'named': motion({'a': 1}),
    'NaN': motion([[float('nan')] * 44] * 2),
    'infinite': motion([[float('inf')] * 44] * 2),
    'a number of 400 digits': motion([[10**400] * 44] * 2),
    'ages': motion([[1e12, *STILL[1:]]] * 2),
    'no time': motion([[0.0, *STILL[1:]]] * 2),
    'too little time': motion([[1e-300, *STILL[1:]]] * 2),
    'rotations of zeros': motion([[0.1] + [0.0] * 43] * 2),
    'no UTF-8': '\udcff{',
}


@pytest.mark.parametrize('text', MOTIONS.values(), ids=MOTIONS)
def test_damaged_motions_of_deepmimic_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'motion.txt'
    path.write_text(text, errors='surrogateescape')
    with pytest.raises(RecordingError, match=r'motion|: must lie'):
        open_recording(path)


NAMES = [joint.lower() for joint in H36M17.joints]
MAPPING = {'joints': NAMES, 'mapping': dict(zip(H36M17.joints, NAMES))}


def mapping(**changes: Any) -> str:
    return json.dumps({**MAPPING, **changes})


def open_skeleton(path: Path) -> Any:
    return read_skeleton(path)


def open_mapping(path: Path) -> Any:
    return layout(str(path))


READERS: list[tuple[str, Callable[[Path], Any], type[Exception]]] = [
    ('clip.bvh', open_recording, RecordingError),
    ('clip.npz', open_recording, RecordingError),
    ('clip.txt', open_recording, RecordingError),
    ('clip.db3', open_recording, RecordingError),
    ('clip.mcap', open_recording, RecordingError),
    ('joints.json', open_mapping, SkeletonError),
    ('joints.yaml', open_mapping, SkeletonError),
    ('body.json', open_skeleton, SkeletonError),
    ('model.safetensors', load_weights, WeightsError),
]
KINDS: dict[str, Callable[[Path], Any]] = {
    'pipe': lambda path: os.mkfifo(path),
    'endless device': lambda path: path.symlink_to('/dev/zero'),
    'empty device': lambda path: path.symlink_to('/dev/null'),
    'folder': lambda path: path.mkdir(),
    'link to itself': lambda path: path.symlink_to(path),
    'nothing': lambda path: None,
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name,reader,error', READERS, ids=[name for name, _, _ in READERS])
def test_only_plain_files_are_opened(
    tmp_path: Path, name: str, reader: Callable[[Path], Any], error: type[Exception], kind: str
) -> None:
    path = tmp_path / name
    KINDS[kind](path)
    with pytest.raises(error, match=name.replace('.', r'\.')):
        reader(path)


@pytest.mark.parametrize('name,reader,error', READERS, ids=[name for name, _, _ in READERS])
def test_names_that_no_file_can_have_are_refused(
    name: str, reader: Callable[[Path], Any], error: type[Exception]
) -> None:
    for path in (Path(f'a\0{name}'), Path('x' * 5000 + name)):
        with pytest.raises(error) as caught:
            reader(path)
        assert len(str(caught.value)) < 1500


def test_a_pipe_in_a_bags_folder_is_not_opened(tmp_path: Path) -> None:
    pytest.importorskip('rosbags')
    os.mkfifo(tmp_path / 'metadata.yaml')
    os.mkfifo(tmp_path / 'bag_0.db3')
    with pytest.raises(RecordingError, match='not a readable rosbag2'):
        open_recording(tmp_path)


def test_a_name_in_an_archive_of_names_is_chosen_by_digits_of_any_script(tmp_path: Path) -> None:
    path = clips(tmp_path / 'clips.npz')
    for name in ('²', '٣', '99', '9' * 5000, 'x' * 5000):
        with pytest.raises(RecordingError, match='no clip') as error:
            open_recording(f'{path}:{name}')
        assert len(str(error.value)) < 1500


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(['joints', 'mapping', 'name', 'parents', 'mirror', 'heading', 'left'])
        | st.text(max_size=4), inner, max_size=5,
    ),
))  # fmt: skip
@pytest.mark.slow
def test_any_json_is_a_file_or_refused(tmp_path_factory: Any, content: Any) -> None:
    folder = tmp_path_factory.mktemp('j')
    for name, reader, error in READERS:
        if not name.endswith(('.json', '.txt', '.yaml')):
            continue
        path = folder / name
        path.write_text(json.dumps(content))
        with contextlib.suppress(error):
            reader(path)


def test_weights_cut_off_anywhere_are_refused(tmp_path: Path) -> None:
    shipped = next(iter(sorted(Path('resource/weights').glob('*.safetensors'))))
    whole = io.BytesIO(shipped.read_bytes())
    path = tmp_path / 'model.safetensors'
    for size in (0, 7, 8, 9, 100, 5000, 100_000):
        path.write_bytes(whole.getvalue()[:size])
        with pytest.raises(WeightsError, match=r'model\.safetensors'):
            load_weights(path)


def bag(folder: Path, kind: str) -> Path:
    """Write a bag of one walker; return its data file."""
    pytest.importorskip('rosbags')
    from bag_messages import BEGAN_NS, pose_array, STEP_NS, STORE
    from rosbags.rosbag2 import StoragePlugin, Writer

    plugin = {'db3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}[kind]
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        topic = writer.add_connection('/s', 'geometry_msgs/msg/PoseArray', typestore=STORE)
        for index in range(6):
            now_ns = BEGAN_NS + index * STEP_NS
            message = pose_array(now_ns, {0: POSES[index]})
            writer.write(topic, now_ns, STORE.serialize_cdr(message, topic.msgtype))
    return next(folder.glob(f'*.{kind}'))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['db3', 'mcap'])
def test_damaged_bags_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    file = bag(tmp_path / 'bag', kind)
    metadata = file.parent / 'metadata.yaml'
    whole = {path: path.read_bytes() for path in (file, metadata)}
    random = np.random.default_rng(3)
    for turn in range(60):
        path = metadata if turn % 5 == 0 else file
        raw = bytearray(whole[path])
        for at in random.integers(0, len(raw), random.choice([1, 3, 30])):
            raw[at : at + random.integers(1, 9)] = random.bytes(random.integers(0, 9))
        if turn % 3 == 0:
            del raw[random.integers(0, len(raw)) :]
        path.write_bytes(raw)
        with contextlib.suppress(RecordingError):
            open_recording(file.parent if turn % 2 else file)
        path.write_bytes(whole[path])
    assert open_recording(file.parent).num_frames == 6


TABLES = {
    'no tables': 'DROP TABLE messages; DROP TABLE topics',
    'no messages': 'DELETE FROM messages',
    'no topics': 'DELETE FROM topics',
    'other columns': 'ALTER TABLE messages RENAME COLUMN data TO other',
    'data text': "UPDATE messages SET data = 'text'",
    'data a number': 'UPDATE messages SET data = 5',
    'data empty': "UPDATE messages SET data = x''",
    'data cut off': 'UPDATE messages SET data = substr(data, 1, 50)',
    'stamps text': "UPDATE messages SET timestamp = 'noon'",
    'topics of a strange type': "UPDATE topics SET type = '../../msg/x'",
    'messages of no topic': 'UPDATE messages SET topic_id = 99',
}


@pytest.mark.parametrize('change', TABLES.values(), ids=TABLES)
def test_databases_that_are_no_bags_are_refused(tmp_path: Path, change: str) -> None:
    import sqlite3

    file = bag(tmp_path / 'bag', 'db3')
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(change)
    for path in (file, file.parent):
        with pytest.raises(RecordingError, match='bag'):
            open_recording(path)


@pytest.mark.parametrize('text', [DEEP, '{"a":' * 20_000, '', '\udcff', '1' * 9000])
def test_json_is_read_or_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'result.json'
    path.write_text(text, errors='surrogateescape')
    for error in (RecordingError, ConfigError):
        with pytest.raises(error, match=r'result\.json: cannot be read as JSON'):
            read_json(path, error)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match='is a pipe'):
        read_json(path, ConfigError)
    path.unlink()
    path.write_text('\ufeff{"a": 1}')
    assert read_json(path) == {'a': 1}
    with pytest.raises(RecordingError, match='at most 3 are read'):
        read_json(path, max_bytes=3)
