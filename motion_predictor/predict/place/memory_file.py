# SPDX-License-Identifier: Apache-2.0
"""Save and load what was learnt of a place: one file of plain arrays (safetensors), checked first.

No code in the file is ever run. The file states the joints, the window, the time between poses,
the frame of reference, the digest of the weighing that evidence and factors belong to, and the
build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
import hashlib
from importlib.metadata import PackageNotFoundError, version
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open, SafetensorError
from safetensors.numpy import save_file

from motion_predictor.common.files import brief, check_file, open_file, refused
from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.predict.place.evidence import WORST
from motion_predictor.predict.place.memory.pending import STEP_S, steps_of
from motion_predictor.predict.place.place import Kept, Place

FORMAT = 'motion_predictor memory'
VERSION = '1'
MAX_FILE_BYTES = 8 * 2**30
MAX_HEADER_BYTES = 2**20
MAX_BODY_M = 5.0
"""Largest distance of a joint from its root, metres."""
MAX_SPEED = 100.0
MAX_FAR_M = 1e6
MAX_LOG = 10.0
_STORED = {
    'poses': ('F32', np.float32), 'velocities': ('F32', np.float32), 'stamps': ('I64', np.int64),
    'seen': ('BOOL', np.bool_),
    'tracks': ('I32', np.int32), 'paths': ('I32', np.int32),
}  # fmt: skip
_BLOCK = 4096
_STEP_NS = round(STEP_S * 1e9)


class MemoryFileError(MotionPredictorError):
    """A file is damaged, of another skeleton or version, or not a memory file."""


def write_memory(path: Path, place: Place, frame_id: str) -> int | None:
    """
    Write what a place has learnt, whole or not at all; the worker continues meanwhile.

    :param path: the file; a missing folder is made.
    :param place: the place.
    :param frame_id: frame of reference that the file states.
    :returns: the number of moments in the file; None if everything was forgotten meanwhile, and
        nothing is written.
    :raises StorageError: if the file cannot be written.
    """
    kept = place.copied()
    if kept is None:
        return None
    tensors: dict[str, np.ndarray] = {
        name: np.ascontiguousarray(kept.columns[name], kind)
        for name, (_, kind) in _STORED.items()
        if name in kept.columns
    }
    if 'tracks' in tensors:  # old numbers mean nothing; which moments are of one person stays
        tensors['tracks'] = np.unique(tensors['tracks'], return_inverse=True)[1].astype(np.int32)
    if kept.evidence is not None:
        tensors['evidence'] = np.ascontiguousarray(kept.evidence, np.float64)
    if kept.scales is not None:
        tensors['scales'] = np.ascontiguousarray(kept.scales, np.float64)
    metadata = {
        **_facts(place),
        'frame_id': frame_id,
        'weighing': weighing_digest(place),
        'levels': json.dumps(list(kept.levels)),
        'build': _build(),
        'written': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }
    metadata['digest'] = _digest(metadata, {n: (a.shape, _rows(a)) for n, a in tensors.items()})
    with written_whole(path) as partial:
        partial.touch(0o600)  # a person's motion: readable by this user alone
        save_file(tensors, str(partial), metadata=metadata)
        partial.chmod(0o600)
    return int((tensors['paths'][:, 0] >= 0).sum()) if 'paths' in tensors else 0


def read_memory(path: Path, place: Place) -> str:
    """
    Let a place continue from a file, after all of its content was checked.

    Evidence and factors on radii are taken only if the weighing weights are the same. The memory
    is taken with other weights too: its keys are computed again.

    :param path: the file.
    :param place: the place; it is changed.
    :returns: a sentence that says what was read.
    :raises MemoryFileError: naming the file, the fault and the remedy.
    """
    check_file(path, MemoryFileError, MAX_FILE_BYTES)
    with open_file(path, MemoryFileError) as file:
        header = int.from_bytes(file.read(8), 'little')
    if header > MAX_HEADER_BYTES:
        raise MemoryFileError(f'{brief(path)}: damaged, or no memory file; remove it')
    with (
        refused(path, 'damaged, or no memory file; remove it', MemoryFileError),
        _opened(path) as f,
    ):
        metadata = f.metadata() or {}
        _check_facts(path, metadata, place)
        kept = _read(path, f, metadata, place)
    place.restore(kept)
    moments = int((kept.columns['paths'][:, 0] >= 0).sum()) if kept.columns else 0
    frame_id = brief(repr(metadata.get('frame_id', '')))
    return f'{brief(path)}: {moments} moments of frame {frame_id}'


def is_memory(path: Path) -> bool:
    """Return whether a file is a memory of this package, damaged or not."""
    try:
        with open_file(path, MemoryFileError) as file:
            size = min(int.from_bytes(file.read(8), 'little'), MAX_HEADER_BYTES)
            return json.dumps(FORMAT).encode() in file.read(size)
    except MemoryFileError:
        return False


def weighing_digest(place: Place) -> str:
    """Return the digest of the weighing weights; '' if there are none."""
    if place.weights is None:
        return ''
    digest = hashlib.sha256()
    for name, values in sorted(place.weights.tensors().items()):
        digest.update(f'{name} {values.shape}'.encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _facts(place: Place) -> dict[str, str]:
    window = place.window
    return {
        'format': FORMAT,
        'version': VERSION,
        'joints': json.dumps(list(place.skeleton.joints)),
        'window': json.dumps([window.observed_frames, window.future_frames, window.rate_hz]),
        'step_s': json.dumps(STEP_S),
    }


def _check_facts(path: Path, metadata: Mapping[str, str], place: Place) -> None:
    for name, wanted in _facts(place).items():
        found = metadata.get(name)
        if found != wanted:
            raise MemoryFileError(
                f'{brief(path)}: is of {name} {brief(repr(found))}, needed is {brief(wanted)}; '
                'name another memory.file, or remove it'
            )


def _build() -> str:
    try:
        return version('motion_predictor')
    except PackageNotFoundError:  # the package runs from its source tree
        return 'unknown'


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework='np') as file:
            yield file
    except SafetensorError as error:
        raise MemoryFileError(
            f'{brief(path)}: damaged, or no memory file ({brief(error)}); remove it'
        ) from None


def _read(path: Path, file: Any, metadata: Mapping[str, str], place: Place) -> Kept:
    joints = place.skeleton.num_joints
    knots = len(knot_frames(place.window))
    names = set(file.keys())
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in sorted(names)}
    kinds = {name: file.get_slice(name).get_dtype() for name in names}
    rows = shapes.get('stamps', (0,))[0]
    expected: dict[str, tuple[tuple[int, ...], str]] = {}
    if names & set(_STORED):
        ahead = steps_of(place.window) + 1
        by_name = {
            'poses': (rows, joints, 3), 'velocities': (rows, joints, 3), 'seen': (rows, joints),
            'stamps': (rows,), 'tracks': (rows,), 'paths': (rows, ahead),
        }  # fmt: skip
        expected = {name: (by_name[name], kind) for name, (kind, _) in _STORED.items()}
    if 'evidence' in names:
        expected['evidence'] = ((knots, len(MEMORIES), len(CANDIDATES)), 'F64')
    stated = json.loads(metadata.get('levels', '[]'))
    if 'scales' in names:
        expected['scales'] = ((len(stated),), 'F64')
    found = {name: (shapes[name], kinds[name]) for name in names}
    if found != expected:
        raise MemoryFileError(
            f'{brief(path)}: holds {brief(found)}, expected {brief(expected)}; remove it'
        )
    hashed = {
        name: (shapes[name], _blocks(file.get_slice(name), shapes[name][0])) for name in names
    }
    if metadata.get('digest') != _digest(metadata, hashed):
        raise MemoryFileError(f'{brief(path)}: damaged: another SHA-256 than it says; remove it')
    return _taken(path, file, metadata, place, rows, names, tuple(stated))


def _taken(
    path: Path,
    file: Any,
    metadata: Mapping[str, str],
    place: Place,
    rows: int,
    names: set[str],
    levels: tuple[float, ...],
) -> Kept:
    columns: dict[str, np.ndarray] = {}
    if rows and place.memory is not None:
        first = max(rows - place.memory.capacity, 0)  # if they do not fit, the newest
        columns = {name: file.get_slice(name)[first:] for name in _STORED}
        paths = columns['paths'].astype(np.int64)
        columns['paths'] = np.where(paths[:, :1] >= 0, paths - first, -1)
        columns['tracks'] = columns['tracks'].astype(np.int64)
        _check_columns(path, columns)
    same = metadata.get('weighing') == weighing_digest(place)
    evidence = file.get_tensor('evidence') if same and 'evidence' in names else None
    scales = file.get_tensor('scales') if same and 'scales' in names else None
    for name, values, limit in (('evidence', evidence, WORST), ('scales', scales, MAX_LOG)):
        if values is not None and not (np.abs(values) <= limit).all():  # this also refuses NaN
            raise MemoryFileError(
                f'{brief(path)}: {name} beyond {limit:g} or not finite; remove it'
            )
    return Kept(columns, evidence, levels, scales)


def _check_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    poses, paths, stamps = columns['poses'], columns['paths'], columns['stamps']
    bounds = (
        ('poses', np.abs(poses), MAX_FAR_M),
        ('poses', np.abs(poses - poses[:, :1]), MAX_BODY_M),
        ('velocities', np.abs(columns['velocities']), MAX_SPEED),
    )
    for name, values, limit in bounds:
        if not (values <= limit).all():  # this also refuses NaN
            raise MemoryFileError(
                f'{brief(path)}: {name} beyond {limit:g} or not finite; remove it'
            )
    own = np.flatnonzero(paths[:, 0] >= 0)
    moments = paths[own]
    sound = (stamps >= 0).all() and (stamps < 2**62).all()
    sound = sound and (moments[:, 0] == own).all() and (moments < len(paths)).all()
    sound = sound and (np.diff(moments, axis=1) > 0).all()
    for begin in range(0, len(moments) if sound else 0, _BLOCK):
        piece = moments[begin : begin + _BLOCK]
        sound = sound and (np.diff(stamps[piece], axis=1) == _STEP_NS).all()
        tracks = columns['tracks'][piece]
        sound = sound and (tracks == tracks[:, :1]).all()
    if not sound:
        raise MemoryFileError(f'{brief(path)}: its moments do not fit its poses; remove it')


def _rows(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[begin : begin + _BLOCK] for begin in range(0, len(array), _BLOCK))


def _blocks(part: Any, rows: int) -> Iterator[np.ndarray]:
    return (part[begin : min(begin + _BLOCK, rows)] for begin in range(0, rows, _BLOCK))


def _digest(
    metadata: Mapping[str, str],
    arrays: Mapping[str, tuple[tuple[int, ...], Iterator[np.ndarray]]],
) -> str:
    # Return the SHA-256 of everything in the file except the digest itself.
    digest = hashlib.sha256()
    for key in sorted(metadata.keys() - {'digest'}):
        digest.update(json.dumps([key, metadata[key]]).encode())
    for name in sorted(arrays):
        shape, blocks = arrays[name]
        digest.update(json.dumps([name, list(shape)]).encode())
        for block in blocks:
            digest.update(np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()
