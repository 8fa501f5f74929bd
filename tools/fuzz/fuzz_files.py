"""
Damaged and hostile files: each is read or refused by one kind of error that names it.

Good files of every kind are damaged by chance, in their bytes and in what they say: weights,
recordings (npz, BVH, bags), YAML (parameter files, mapping files) and archives of objects. Must
hold: nothing else is raised, an error is one short text that names the file, what is read holds no
infinity, weights that are not what was written are never taken, and no file costs more time or
memory than is stated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import io
import json
from pathlib import Path
import pickle
import re
import resource
import tempfile
import time
import traceback
from typing import Any
import warnings
import zipfile

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter as RosParameter
import yaml

from motion_predictor.body.layouts import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import (
    ConfigError,
    MotionPredictorError,
    RecordingError,
    SkeletonError,
    WeightsError,
)
from motion_predictor.model.weights import default_weights, load_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.recordings import open_recording
from motion_predictor.ros.node import MotionPredictorNode
from tools.fuzz.fuzz import Findings
from tools.rig import free_domain

ROOT = Path(__file__).resolve().parents[2]
MAX_CPU_S = 5.0
"""Of one file."""
MAX_GROWTH_MB = 600.0
MAX_ERROR = 1_500
"""Characters of an error."""
SHORT_NAME = 40
WORDS = (
    'NaN', '.nan', '1e400', '-1', '0', '99999999999999999999', 'x' * 5000, '[]', '{}', '""', '!!x',
    '&a', '*a', '\x00', 'ä', '- ' * 300, '[' * 300, 'true', '1:59:59', '2024-99-99',
)  # fmt: skip
"""What is put in place of words of a text."""
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, float('nan'), float('inf'), 1e300, '', 'x' * 5000, [], {},
    [[[]]], ['a', 'a'], {'a': {'a': {}}},
)  # fmt: skip
"""What is put in place of values of a tree."""
Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Files:
    """One kind of file."""

    name: str
    """With its ending."""
    good: Callable[[Path], bytes]
    """Makes a sound one's content; the path is of a folder for what it needs."""
    read: Callable[[Path], Any]
    refuses: tuple[type[BaseException], ...]
    """What it may raise."""
    damages: Sequence[Damage]
    check: Callable[[Any, bytes, bytes], str] = lambda found, good, sent: ''
    """Says what is wrong with what was read from a damaged file; '' where nothing is."""


def damaged_bytes(good: bytes, rng: np.random.Generator) -> bytes:
    """Change, take out, put in or cut off some bytes."""
    raw = bytearray(good)
    for _ in range(int(rng.choice([1, 1, 3, 20]))):
        at, kind = int(rng.integers(0, max(1, len(raw)))), int(rng.integers(0, 6))
        if kind == 0:
            raw[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            del raw[at : at + int(rng.integers(1, 64))]
        elif kind == 2:
            raw[at:at] = rng.bytes(int(rng.integers(1, 64)))
        elif kind == 3:
            raw[at : at + 64] = bytes(len(raw[at : at + 64]))
        elif kind == 4:
            raw[at : at + 8] = b'\xff' * len(raw[at : at + 8])
        elif rng.random() < 0.3:
            del raw[at:]
    return bytes(raw)


def damaged_words(good: bytes, rng: np.random.Generator) -> bytes:
    """Put something else in place of words of a text, or double and drop its lines."""
    lines = good.decode('utf-8', 'replace').split('\n')
    for _ in range(int(rng.choice([1, 1, 3, 10]))):
        at = int(rng.integers(0, len(lines)))
        kind = rng.random()
        if kind < 0.7:
            words = re.split(r'(\s+)', lines[at])
            words[int(rng.integers(0, len(words)))] = str(rng.choice(WORDS))
            lines[at] = ''.join(words)
        elif kind < 0.8:
            lines.insert(at, lines[int(rng.integers(0, len(lines)))])
        elif kind < 0.9:
            lines[at] = ' ' * int(rng.integers(0, 9)) + lines[at].strip()
        elif len(lines) > 1:
            del lines[at]
    return '\n'.join(lines).encode('utf-8', 'replace')


def damaged_tree(value: Any, rng: np.random.Generator) -> Any:
    """Put something else in place of one value of what JSON or YAML holds."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return VALUES[int(rng.integers(0, len(VALUES)))]
    if isinstance(value, list):
        at = int(rng.integers(0, len(value)))
        return [*value[:at], damaged_tree(value[at], rng), *value[at + 1 :]]
    key = list(value)[int(rng.integers(0, len(value)))]
    rest = {name: each for name, each in value.items() if name != key}
    if rng.random() < 0.1:
        return rest
    return {**rest, key if rng.random() < 0.9 else 'x' * 300: damaged_tree(value[key], rng)}


def damaged_json(good: bytes, rng: np.random.Generator) -> bytes:
    """Damage what a JSON file says."""
    return json.dumps(damaged_tree(json.loads(good), rng)).encode()


def damaged_yaml(good: bytes, rng: np.random.Generator) -> bytes:
    """Damage what a YAML file says."""
    return yaml.safe_dump(damaged_tree(yaml.safe_load(good), rng), allow_unicode=True).encode()


def damaged_arrays(good: bytes, rng: np.random.Generator) -> bytes:
    """Give one array of an npz another type, shape or content."""
    with np.load(io.BytesIO(good)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = list(arrays)[int(rng.integers(0, len(arrays)))]
    array, kind = arrays[name], int(rng.integers(0, 7))
    if kind == 0 and array.dtype.kind in 'iuf':
        arrays[name] = array.astype(str(rng.choice(['f2', 'f8', 'i1', 'c16', 'U4', '?'])))
    elif kind == 1:
        arrays[name] = array[..., None] if rng.random() < 0.5 else array.reshape(-1)
    elif kind == 2:
        arrays[name] = array[:0] if array.ndim else np.array([array])
    elif kind == 3 and array.dtype.kind in 'if':
        changed = array.astype(np.float64).reshape(-1)
        where = rng.integers(0, max(1, changed.size), 3) % max(1, changed.size)
        changed[where] = rng.choice([np.nan, np.inf, 1e300, -1e38, 1e-320], 3)
        arrays[name] = changed.reshape(array.shape)
    elif kind == 4:
        del arrays[name]
    elif kind == 5:
        arrays[str(rng.choice(['x' * 300, 'a/b', name]))] = array[::-1] if array.ndim else array
    else:
        arrays[name] = np.array(VALUES[int(rng.integers(0, 5))])
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    return target.getvalue()


def damaged_entry(good: bytes, rng: np.random.Generator) -> bytes:
    """Damage one entry of an archive, whose sums then fit all the same."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = list(entries)[int(rng.integers(0, len(entries)))]
    entries[name] = damaged_bytes(entries[name], rng)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        for each, content in entries.items():
            archive.writestr(each, content)
    return target.getvalue()


def damaged_header(good: bytes, rng: np.random.Generator) -> bytes:
    """Damage what the header of a weights file says; its length is right."""
    size = int.from_bytes(good[:8], 'little')
    said = json.loads(good[8 : 8 + size])
    raw = json.dumps(damaged_tree(said, rng)).encode()
    return len(raw).to_bytes(8, 'little') + raw + good[8 + size :]


def damaged_body(good: bytes, rng: np.random.Generator) -> bytes:
    """Change numbers of a weights file; at times take out the digest that would tell."""
    size = int.from_bytes(good[:8], 'little')
    said, body = json.loads(good[8 : 8 + size]), bytearray(good[8 + size :])
    for _ in range(int(rng.choice([1, 1, 8, 200]))):
        at = int(rng.integers(0, len(body)))
        body[at] = int(rng.integers(0, 256)) if rng.random() < 0.5 else body[at] ^ 0x40
    if rng.random() < 0.3:
        said.get('__metadata__', {}).pop('digest', None)
    raw = json.dumps(said).encode()
    return len(raw).to_bytes(8, 'little') + raw + bytes(body)


def read_weights(path: Path) -> Any:
    """Load weights as the node does; those without a digest must give their golden pair."""
    loaded = load_weights(path)
    if not loaded.digest:
        Predictor.load(path, device='cpu', engine='fp32').require_golden()
    return loaded


def sound_weights(found: Any, good: bytes, sent: bytes) -> str:
    """Tell whether weights that state a digest are those that were written."""
    if not found.digest or found.digest.encode() in good:
        return ''
    return 'weights with another digest were taken'


def sound_recording(found: Recording, good: bytes, sent: bytes) -> str:
    """Tell whether a recording holds only what can be played."""
    for person, poses in found.persons.items():
        if np.isinf(poses).any():
            return f'person {person[:SHORT_NAME]!r} is at infinity'
        if poses.dtype != np.float32:
            return f'poses are {poses.dtype}'
    return ''


def read_parameters(path: Path) -> Any:
    """Start a node from a parameter file, as far as its settings."""
    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    node = None
    try:
        node = MotionPredictorNode(
            context=context,
            cli_args=['--ros-args', '--params-file', str(path)],
            parameter_overrides=[RosParameter('autostart', value=False)],
        )
        return node._settings
    except RuntimeError as error:  # of ROS, which reads the file
        if 'Failed to parse' not in str(error):
            raise
        raise ConfigError(str(error)) from None
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown(context=context)


def read_archive(path: Path) -> Any:
    """Read an archive of objects, as data sets have them."""
    from training.data.archives import read_object_archive

    return read_object_archive(path)


def clips(poses: np.ndarray) -> bytes:
    """Write an npz of two clips."""
    target = io.BytesIO()
    np.savez_compressed(
        target,
        positions=np.rint(poses[:50] * 1000).astype(np.int16), offsets=np.array([0, 20, 50]),
        names=np.array(['a', 'b']), fps=np.array(50),
    )  # fmt: skip
    return target.getvalue()


def objects(poses: np.ndarray) -> bytes:
    """Write an archive of objects as that of Human3.6M is."""
    content = {f'S{i}': {'Walking 1': poses[:20].astype(np.float32)} for i in range(2)}
    held = np.empty((), dtype=object)
    held[()] = content
    entry = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        entry, {'descr': '|O', 'fortran_order': False, 'shape': ()}
    )
    pickle.dump(held, entry, protocol=2)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        archive.writestr('positions_3d.npy', entry.getvalue())
    return target.getvalue()


def bvh(poses: np.ndarray) -> bytes:
    """Write a small BVH of a whole person."""
    bones = [
        ('Hips', (0, 90, 0), ['Spine', 'RightUpLeg', 'LeftUpLeg']),
        ('Spine', (0, 25, 0), ['Neck', 'RightArm', 'LeftArm']),
        ('Neck', (0, 25, 0), ['Head']), ('Head', (0, 12, 0), []),
    ]  # fmt: skip
    for side, x in (('Right', -10), ('Left', 10)):
        bones += [
            (f'{side}UpLeg', (x, 0, 0), [f'{side}Leg']),
            (f'{side}Leg', (0, -42, 0), [f'{side}Foot']), (f'{side}Foot', (0, -42, 0), []),
            (f'{side}Arm', (2 * x, 20, 0), [f'{side}ForeArm']),
            (f'{side}ForeArm', (0, -28, 0), [f'{side}Hand']), (f'{side}Hand', (0, -25, 0), []),
        ]  # fmt: skip
    known = {name: (offset, below) for name, offset, below in bones}
    order: list[str] = []

    def written(name: str, kind: str) -> str:
        order.append(name)
        offset, below = known[name]
        channels = '6 Xposition Yposition Zposition' if kind == 'ROOT' else '3'
        end = '' if below else 'End Site\n{\nOFFSET 0 -5 0\n}\n'
        return (
            f'{kind} {name}\n{{\nOFFSET {" ".join(map(str, offset))}\n'
            f'CHANNELS {channels} Zrotation Xrotation Yrotation\n'
            f'{"".join(written(each, "JOINT") for each in below)}{end}}}\n'
        )

    text = 'HIERARCHY\n' + written('Hips', 'ROOT')
    rows = [
        ' '.join(f'{value:.4f}' for value in (
            0.0, 90.0, 3.0 * frame, *(8.0 * np.sin(0.3 * frame + np.arange(3 * len(order)))),
        ))
        for frame in range(40)
    ]  # fmt: skip
    return (
        text + f'MOTION\nFrames: {len(rows)}\nFrame Time: 0.0333333\n' + '\n'.join(rows) + '\n'
    ).encode()


def bag(folder: Path, poses: np.ndarray, ending: str) -> bytes:
    """Write a bag of one person and return its data file."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import get_typestore, Stores

    store = get_typestore(Stores.ROS2_HUMBLE)
    kind, kinds = 'geometry_msgs/msg/PoseArray', store.types
    plugin = {'db3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}[ending]
    turned = kinds['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0)
    with Writer(folder / ending, version=9, storage_plugin=plugin) as writer:
        topic = writer.add_connection('/skeleton', kind, typestore=store)
        for index in range(20):
            now_ns = 1_700_000_000 * 10**9 + index * 33_000_000
            stamp = kinds['builtin_interfaces/msg/Time'](
                sec=now_ns // 10**9, nanosec=now_ns % 10**9
            )
            message = kinds[kind](
                header=kinds['std_msgs/msg/Header'](stamp=stamp, frame_id='map'),
                poses=[
                    kinds['geometry_msgs/msg/Pose'](
                        position=kinds['geometry_msgs/msg/Point'](x=x, y=y, z=z),
                        orientation=turned,
                    )
                    for x, y, z in poses[index].astype(float).tolist()
                ],
            )
            writer.write(topic, now_ns, store.serialize_cdr(message, kind))
    return next((folder / ending).glob(f'*.{ending}')).read_bytes()


def kinds_of_files(poses: np.ndarray) -> Mapping[str, Files]:
    """
    Describe every kind of file of the campaign, by what the table calls it.

    :param poses: motion (T, 17, 3), metres.
    """
    names = [joint.lower() for joint in H36M17.joints]
    mapping = {'joints': names, 'mapping': dict(zip(H36M17.joints, names)), 'name': 'mine'}
    played = (RecordingError, SkeletonError)
    return {
        'weights: header': Files(
            'model.safetensors', lambda folder: default_weights('one_step').read_bytes(),
            read_weights, (WeightsError,), (damaged_header, damaged_bytes), sound_weights,
        ),
        'weights: body': Files(
            'model.safetensors', lambda folder: default_weights('one_step').read_bytes(),
            read_weights, (WeightsError,), (damaged_body,), sound_weights,
        ),
        'recordings: npz': Files(
            'clips.npz', lambda folder: clips(poses), open_recording, played,
            (damaged_bytes, damaged_arrays, damaged_entry), sound_recording,
        ),
        'recordings: BVH': Files(
            'walk.bvh', lambda folder: bvh(poses), open_recording, played,
            (damaged_bytes, damaged_words, damaged_words), sound_recording,
        ),
        'recordings: bag, mcap': Files(
            'bag.mcap', lambda folder: bag(folder, poses, 'mcap'), open_recording, played,
            (damaged_bytes,), sound_recording,
        ),
        'recordings: bag, sqlite3': Files(
            'bag.db3', lambda folder: bag(folder, poses, 'db3'), open_recording, played,
            (damaged_bytes,), sound_recording,
        ),
        'YAML: parameter files': Files(
            'predictor.yaml', lambda folder: (ROOT / 'config/predictor.yaml').read_bytes(),
            read_parameters, (ConfigError,), (damaged_words, damaged_yaml, damaged_bytes),
        ),
        'YAML: mapping files': Files(
            'joints.yaml', lambda folder: yaml.safe_dump(mapping).encode(), layout,
            (SkeletonError,), (damaged_words, damaged_yaml, damaged_bytes),
        ),
        'JSON: mapping files': Files(
            'joints.json', lambda folder: json.dumps(mapping).encode(), layout,
            (SkeletonError,), (damaged_json, damaged_bytes),
        ),
        'archives of objects': Files(
            'positions.npz', lambda folder: objects(poses), read_archive, (RecordingError,),
            (damaged_entry, damaged_entry, damaged_bytes),
        ),
    }  # fmt: skip


def fuzz_files(
    what: str, files: Files, count: int, seed: int, findings: Findings
) -> tuple[int, int]:
    """
    Read so many damaged files of one kind.

    :param what: the table's name of the kind.
    :returns: how many were read, and how many refused.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        good = files.good(Path(folder))
        path = Path(folder) / files.name
        path.write_bytes(good)
        files.read(path)  # what is sound is read, and what the first one costs is no growth
        before_mb = _peak_mb()
        for number in range(count):
            damage = files.damages[number % len(files.damages)]
            sent = damage(good, rng)
            path.write_bytes(sent)
            findings.messages += 1
            begun_s = time.process_time()
            where = f'{what}, file {number} ({damage.__name__})'
            try:
                text = files.check(files.read(path), good, sent)
                findings.read += 1
                if text:
                    findings.add(f'{where}: {text}')
            except files.refuses as error:
                findings.refused += 1
                if len(str(error)) > MAX_ERROR:
                    findings.add(
                        f'{where}: an error of {len(str(error))} characters: {error!s:.300}'
                    )
            except MotionPredictorError as error:
                findings.add(f'{where}: {type(error).__name__} of another kind: {error}')
            except Exception:
                findings.add(f'{where}: {traceback.format_exc()}')
            spent_s = time.process_time() - begun_s
            findings.slowest_s = max(findings.slowest_s, spent_s)
            if spent_s > MAX_CPU_S:
                findings.add(f'{where}: {spent_s:.1f} s of a processor')
            if len(findings.found) >= 20:
                break
        findings.grown_mb = max(findings.grown_mb, _peak_mb() - before_mb)
        if findings.grown_mb > MAX_GROWTH_MB:
            findings.add(f'{what}: {findings.grown_mb:.0f} MB more than at the start')
    for each in warned:
        if issubclass(each.category, ResourceWarning):
            continue
        text = f'{Path(each.filename).name}:{each.lineno}: {str(each.message)[:200]}'
        findings.warned[text] = findings.warned.get(text, 0) + 1
    return findings.read, findings.refused


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
