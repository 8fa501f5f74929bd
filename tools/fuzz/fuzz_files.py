# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files: each is read, or refused by one kind of error that names it.

Good files of every kind are damaged at random, in their bytes and in their content: weights,
recordings (npz, BVH, bags), YAML (parameter files, mapping files) and object archives. The
following must hold. No other error is raised. An error is one short text that names the file. Data
that are read hold no infinity. Weights that differ from those written are never accepted. No file
costs more time or memory than is stated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import resource
import tempfile
import time
import traceback
from typing import Any
import warnings

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter as RosParameter
import yaml

from motion_predictor.body.layout_file import layout
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
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Recording
from motion_predictor.ros.node import MotionPredictorNode
from tools.domain import Domain
from tools.fuzz.damage import (
    damaged_arrays,
    damaged_body,
    damaged_bytes,
    damaged_entry,
    damaged_header,
    damaged_json,
    damaged_words,
    damaged_yaml,
)
from tools.fuzz.fuzz import Findings
from tools.fuzz.sound_files import bag, bvh, clips, objects

ROOT = Path(__file__).resolve().parents[2]
MAX_CPU_S = 5.0
"""Longest processor time in seconds for one file."""
MAX_GROWTH_MB = 600.0
MAX_ERROR = 1_500
"""Greatest number of characters in an error."""
SHORT_NAME = 40
Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Files:
    """One kind of file."""

    name: str
    """Name of a file with its suffix."""
    good: Callable[[Path], bytes]
    """Function that returns the content of a sound file; the path is a folder that it may use."""
    read: Callable[[Path], Any]
    refuses: tuple[type[BaseException], ...]
    """Errors that its reader may raise."""
    damages: Sequence[Damage]
    check: Callable[[Any, bytes, bytes], str] = lambda found, good, sent: ''
    """Function that returns what is wrong with data read from a damaged file; '' if nothing is."""


def read_weights(path: Path) -> Any:
    """Load weights as the node does; those without a digest must reproduce their golden pair."""
    loaded = load_weights(path)
    if not loaded.digest:
        Predictor.load(path, device='cpu', engine='fp32').require_golden()
    return loaded


def sound_weights(found: Any, good: bytes, sent: bytes) -> str:
    """Return whether weights that state a digest are those that were written."""
    if not found.digest or found.digest.encode() in good:
        return ''
    return 'weights with another digest were taken'


def sound_recording(found: Recording, good: bytes, sent: bytes) -> str:
    """Return why a recording cannot be played; '' if it can."""
    for person, poses in found.persons.items():
        if np.isinf(poses).any():
            return f'person {person[:SHORT_NAME]!r} is at infinity'
        if poses.dtype != np.float32:
            return f'poses are {poses.dtype}'
    return ''


def read_parameters(path: Path) -> Any:
    """Start a node from a parameter file, up to its settings."""
    context = Context()
    domain = Domain()
    rclpy.init(context=context, domain_id=domain.number)
    node = None
    try:
        node = MotionPredictorNode(
            context=context,
            cli_args=['--ros-args', '--params-file', str(path)],
            parameter_overrides=[RosParameter('autostart', value=False)],
        )
        return node._settings
    except RuntimeError as error:  # ROS's errors: it reads the file
        if 'Failed to parse' not in str(error):
            raise
        raise ConfigError(str(error)) from None
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown(context=context)
        domain.close()


def read_archive(path: Path) -> Any:
    """Read an object archive, as data sets have them."""
    from training.data.archives import read_object_archive

    return read_object_archive(path)


def kinds_of_files(poses: np.ndarray) -> Mapping[str, Files]:
    """
    Return every kind of file of the campaign, by its name in the table.

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
    Read damaged files of one kind.

    :param what: name of the kind in the table.
    :param files: the kind.
    :param count: number of files.
    :param seed: seed of all randomness.
    :param findings: receives the violations.
    :returns: number of files read, and number refused.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        good = files.good(Path(folder))
        path = Path(folder) / files.name
        path.write_bytes(good)
        files.read(path)  # a sound file first: its cost is no growth
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
