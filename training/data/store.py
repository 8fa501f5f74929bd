# SPDX-License-Identifier: Apache-2.0
"""The store of motion that the training verbs read: memory-mapped arrays with a manifest.

A store is a folder of one split of one data set:

- ``manifest.json``: format, kind, sources with their checksums, skeleton, rate, split, how
  windows are taken, the clips with their names, subjects and actions, and the checksum of every
  array file;
- ``positions.npy``: float32 ``(frames, J, 3)``, world positions in metres, z up, all clips one
  after another;
- ``offsets.npy``: int64 ``(clips + 1)``; clip i is ``positions[offsets[i]:offsets[i + 1]]``.

Nothing in it is pickled. Its folder is named after the split and lies in one named after the data
set, as ``h36m/train``, so that results name both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
import hashlib
import itertools
import json
from pathlib import Path
import shutil
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.skeleton import Skeleton, skeleton_from_dict, skeleton_to_dict
from motion_predictor.common.files import read_json, refused
from motion_predictor.common.whole_files import not_written
from motion_predictor.errors import RecordingError, SkeletonError, StorageError
from motion_predictor.model.weights import file_digest
from training.data.clips import Clip

FORMAT = 'motion_predictor motion store'
VERSION = 1
MANIFEST = 'manifest.json'
POSITIONS = 'positions.npy'
OFFSETS = 'offsets.npy'
SPLITS = ('train', 'val', 'test')
MAX_DISTANCE_M = 10_000.0
"""Positions further than this from the frame's origin, in metres, are in another unit."""


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """The facts that a store states beside its clips."""

    kind: str
    """The reader that made it, for example 'h36m'."""
    sources: tuple[Mapping[str, Any], ...]
    """``{'file', 'bytes', 'sha256'}`` of each file that was read."""
    skeleton: Skeleton
    rate_hz: float
    source_rate_hz: tuple[float, ...]
    """Every frame rate that was found in the sources."""
    split: str
    stride_s: float | None = 0.5
    """Time in seconds between evaluation windows of a clip; None: one after another without
    overlap."""
    start_s: float = 0.0
    """Start in seconds of the first evaluation window of a clip."""
    command: str = ''
    commit: str | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise RecordingError(f'split {self.split!r}: must be one of {SPLITS}')
        if not 1.0 <= self.rate_hz <= 1000.0:
            raise RecordingError(f'rate_hz={self.rate_hz:g}: must lie in 1..1000')
        if self.stride_s is not None and not 0.0 < self.stride_s <= 3600.0:
            raise RecordingError(f'stride_s={self.stride_s:g}: must lie in 0..3600')
        if not 0.0 <= self.start_s <= 3600.0:
            raise RecordingError(f'start_s={self.start_s:g}: must lie in 0..3600')


class StoreWriter:
    """Writes a store clip by clip; the store becomes visible only when it is complete."""

    def __init__(self, folder: Path, facts: StoreFacts, *, overwrite: bool = False) -> None:
        """
        Begin a store.

        :param folder: folder of the store; it is made, with its parent.
        :param facts: facts for the manifest.
        :param overwrite: whether an existing store is replaced.
        :raises RecordingError: if something is there that may not be replaced.
        :raises StorageError: if it cannot be written.
        """
        self.folder = folder
        self.facts = facts
        self.frames = 0
        self._clips: list[tuple[str, str, str]] = []
        self.source_rates_hz = facts.source_rate_hz
        if folder.exists() and not (overwrite and (folder / MANIFEST).is_file()):
            raise RecordingError(f'{folder}: is there already; --overwrite replaces a store')
        self._partial = folder.with_name(f'.{folder.name}.partial')
        shutil.rmtree(self._partial, ignore_errors=True)
        with self._writing():
            self._partial.mkdir(parents=True)
            self._file = (self._partial / POSITIONS).open('wb')
            self._header_bytes = self._write_header(0)
        self._offsets = [0]

    def _write_header(self, frames: int) -> int:
        header = {
            'descr': np.lib.format.dtype_to_descr(np.dtype('<f4')),
            'fortran_order': False,
            'shape': (frames, self.facts.skeleton.num_joints, 3),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()

    def add(self, clip: Clip) -> None:
        """
        Append a clip.

        :param clip: a clip at the store's rate.
        :raises RecordingError: naming the clip, if it does not fit into this store.
        """
        joints, positions = self.facts.skeleton.num_joints, clip.positions
        if positions.ndim != 3 or positions.shape[1:] != (joints, 3) or not len(positions):
            raise RecordingError(
                f'{clip.name}: expected (frames, {joints}, 3) of {self.facts.skeleton.name}, '
                f'got {positions.shape}'
            )
        check_positions(clip.name, positions)
        with self._writing():
            self._file.write(np.ascontiguousarray(positions, dtype='<f4').tobytes())
        self.frames += len(positions)
        self._clips.append((clip.name, clip.subject, clip.action))
        self._offsets.append(self.frames)

    def close(self) -> None:
        """
        Finish the store.

        :raises RecordingError: if it holds no clip.
        """
        if not self._clips:
            self.abandon()
            raise RecordingError(f'{self.folder}: no clip of split {self.facts.split} to store')
        with self._writing():
            self._finish()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # Turn errors of a full disk into errors that name the place; nothing half-written stays.
        try:
            yield
        except OSError as error:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise StorageError(not_written(self.folder, error)) from error

    def _finish(self) -> None:
        self._file.seek(0)
        if self._write_header(self.frames) != self._header_bytes:  # numpy reserves room to grow
            raise AssertionError('the header of positions.npy has grown')
        self._file.close()
        np.save(self._partial / OFFSETS, np.array(self._offsets, dtype=np.int64))
        files = {
            name: {
                'bytes': (self._partial / name).stat().st_size,
                'sha256': file_digest(self._partial / name),
            }
            for name in (POSITIONS, OFFSETS)
        }
        facts = self.facts
        manifest = {
            'format': FORMAT,
            'version': VERSION,
            'kind': facts.kind,
            'split': facts.split,
            'units': 'm',
            'up': 'z',
            'rate_hz': facts.rate_hz,
            'source_rate_hz': list(self.source_rates_hz),
            'frames': self.frames,
            'minutes': round(self.frames / facts.rate_hz / 60.0, 2),
            'subjects': sorted({subject for _, subject, _ in self._clips}),
            'windows': {'stride_s': facts.stride_s, 'start_s': facts.start_s},
            'skeleton': skeleton_to_dict(facts.skeleton),
            'sources': [dict(source) for source in facts.sources],
            'command': facts.command,
            'commit': facts.commit,
            'files': files,
            'clips': [list(names) for names in self._clips],
        }
        (self._partial / MANIFEST).write_text(_manifest_text(manifest), encoding='utf-8')
        former = self.folder.with_name(f'.{self.folder.name}.former')
        shutil.rmtree(former, ignore_errors=True)
        if self.folder.exists():  # the old store stays until the new one is complete
            self.folder.rename(former)
        self._partial.rename(self.folder)
        shutil.rmtree(former, ignore_errors=True)

    def abandon(self) -> None:
        """Delete what was written."""
        with suppress(OSError):  # data that a full disk did not accept before
            self._file.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def check_positions(name: str, positions: NDArray[np.floating]) -> None:
    """
    Refuse positions that cannot be those of a body in metres.

    :raises RecordingError: naming the clip, the frame and the fault.
    """
    finite = np.isfinite(positions).all(axis=(1, 2))
    if not finite.all():
        raise RecordingError(
            f'{name}: NaN or infinity in {int((~finite).sum())} of {len(positions)} frames, '
            f'first in frame {int(np.argmin(finite))}; cut the clip there, or fill the gap'
        )
    farthest = float(np.abs(positions).max())
    if farthest > MAX_DISTANCE_M:
        raise RecordingError(
            f'{name}: a coordinate of {farthest:g} m; give the length of its unit in metres'
        )


@dataclass(frozen=True)
class MotionStore:
    """An opened store; its positions stay on disk until they are used."""

    folder: Path
    facts: StoreFacts
    clips: tuple[Clip, ...]
    """The clips; their positions are views of ``positions``."""
    positions: NDArray[np.float32]
    """Memory-mapped positions, ``(frames, J, 3)`` metres; changes stay in memory."""
    offsets: NDArray[np.int64]
    files: Mapping[str, Mapping[str, Any]]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the manifest, which holds the checksums of all files."""
        return file_digest(self.folder / MANIFEST)

    def verify(self) -> None:
        """
        Read everything and compare it with the manifest's checksums.

        :raises RecordingError: naming the file that has changed.
        """
        for name, expected in self.files.items():
            found = file_digest(self.folder / name)
            if found != expected['sha256']:
                raise RecordingError(
                    f'{self.folder / name}: SHA-256 is {found}, the manifest says '
                    f'{expected["sha256"]}: damaged or changed; prepare the store again'
                )
        for clip in self.clips:
            check_positions(f'{self.folder}: {clip.name}', clip.positions)


def is_store(path: Path | str) -> bool:
    """Return whether a path is a folder with a manifest."""
    return (Path(path) / MANIFEST).is_file()


def open_store(folder: Path | str) -> MotionStore:
    """
    Open a store; sizes and shapes are checked here, checksums by :meth:`MotionStore.verify`.

    :param folder: folder of the store.
    :raises RecordingError: naming the file, the fault and the remedy.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    where = folder / MANIFEST
    try:
        windows = manifest['windows']
        facts = StoreFacts(
            kind=str(manifest['kind']),
            sources=tuple(manifest['sources']),
            skeleton=skeleton_from_dict(manifest['skeleton']),
            rate_hz=float(manifest['rate_hz']),
            source_rate_hz=tuple(float(rate) for rate in manifest['source_rate_hz']),
            split=manifest['split'],
            stride_s=None if windows['stride_s'] is None else float(windows['stride_s']),
            start_s=float(windows['start_s']),
            command=str(manifest.get('command', '')),
            commit=manifest.get('commit'),
        )
        names = [_three(entry) for entry in manifest['clips']]
        files = {name: dict(manifest['files'][name]) for name in (POSITIONS, OFFSETS)}
        frames = int(manifest['frames'])
        sizes = {name: int(entry['bytes']) for name, entry in files.items()}
        digests = [entry['sha256'] for entry in files.values()]
    except KeyError as error:
        raise RecordingError(f'{where}: lacks {error}; prepare the store again') from None
    except SkeletonError as error:
        raise RecordingError(f'{where}: {error}') from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordingError(f'{where}: not a manifest ({error}); prepare it again') from None
    if not all(isinstance(digest, str) and len(digest) == 64 for digest in digests):
        raise RecordingError(f'{where}: bad checksum entry; prepare the store again')
    for name, size in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise RecordingError(
                f'{path}: {"missing" if found is None else f"{found} bytes"}, the manifest says '
                f'{size} bytes: truncated or changed; prepare the store again'
            )
    positions, offsets = _open_arrays(folder, (frames, facts.skeleton.num_joints, 3), len(names))
    clips = tuple(
        Clip(*of, positions[begin:end], facts.rate_hz)
        for of, (begin, end) in zip(names, itertools.pairwise(offsets), strict=True)
    )
    return MotionStore(folder, facts, clips, positions, offsets, files)


def _three(entry: Sequence[Any]) -> tuple[str, str, str]:
    # Return the name, subject and action of a clip.
    name, subject, action = entry
    return str(name), str(subject), str(action)


def _open_arrays(
    folder: Path, shape: tuple[int, int, int], clips: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Open the positions and the offsets of a store, and check their shapes."""
    with refused(folder, 'arrays cannot be read'):
        # copy-on-write: torch needs writable memory, and the file stays as it is
        positions = np.load(folder / POSITIONS, mmap_mode='c', allow_pickle=False)
        offsets = np.load(folder / OFFSETS, allow_pickle=False)
    if positions.shape != shape or positions.dtype != np.float32:
        raise RecordingError(
            f'{folder / POSITIONS}: expected {shape} float32, '
            f'got {positions.shape} {positions.dtype}'
        )
    rising = offsets.ndim == 1 and len(offsets) == clips + 1 and offsets.dtype == np.int64
    if not (
        rising
        and clips > 0
        and offsets[0] == 0
        and offsets[-1] == shape[0]
        and (np.diff(offsets) > 0).all()
    ):
        raise RecordingError(
            f'{folder / OFFSETS}: expected {clips + 1} offsets rising from 0 to {shape[0]}'
        )
    return positions, offsets


def data_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file, of a store's manifest, or of the files of a folder."""
    path = Path(path)
    if path.is_dir() and not is_store(path):
        digest = hashlib.sha256()
        for file in sorted(entry for entry in path.rglob('*') if entry.is_file()):
            digest.update(f'{file.relative_to(path).as_posix()} {file_digest(file)}\n'.encode())
        return digest.hexdigest()
    return file_digest(path / MANIFEST if is_store(path) else path)


def digest_of_files(paths: Sequence[Path], root: Path) -> list[dict[str, Any]]:
    """
    Return the description of source files for a manifest.

    :param paths: the files.
    :param root: folder to which names are relative.
    """
    return [
        {
            'file': path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name,
            'bytes': path.stat().st_size,
            'sha256': file_digest(path),
        }
        for path in paths
    ]


def describe(store: MotionStore) -> str:
    """Return the content of a store in a few lines."""
    facts = store.facts
    frames = len(store.positions)
    every = 'one after another' if facts.stride_s is None else f'every {facts.stride_s:g} s'
    subjects = sorted({clip.subject for clip in store.clips})
    source = hashlib.sha256(json.dumps([s['sha256'] for s in facts.sources]).encode()).hexdigest()
    rates = ', '.join(f'{rate:g}' for rate in facts.source_rate_hz)
    return '\n'.join(
        [
            f'{store.folder}: {facts.kind}, split {facts.split}',
            f'  {len(store)} clips of {len(subjects)} subjects: {", ".join(subjects[:12])}'
            + (', ...' if len(subjects) > 12 else ''),
            f'  {frames} frames at {facts.rate_hz:g} Hz ({frames / facts.rate_hz / 60:.1f} min), '
            f'recorded at {rates} Hz',
            f'  joints: {facts.skeleton.num_joints} of {facts.skeleton.name}',
            f'  evaluation windows: {every} from {facts.start_s:g} s of a clip on',
            f'  made from {len(facts.sources)} files (checksums hash to {source[:12]})',
            f'  by {facts.command or "?"} at commit {facts.commit or "?"}',
        ]
    )


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise RecordingError(f'{folder}: no store: it has no {MANIFEST}')
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        raise RecordingError(f'{path}: not the manifest of a {FORMAT}')
    if manifest.get('version') != VERSION:
        raise RecordingError(
            f'{path}: version {manifest.get("version")!r}; this release reads {VERSION}: '
            'prepare the store again'
        )
    return manifest


def _manifest_text(manifest: Mapping[str, Any]) -> str:
    # one line per entry, per clip and per source
    entries = []
    for name, value in manifest.items():
        text = json.dumps(value)
        if name in ('clips', 'sources') and value:
            text = '[\n' + ',\n'.join('  ' + json.dumps(row) for row in value) + '\n ]'
        entries.append(f' {json.dumps(name)}: {text}')
    return '{\n' + ',\n'.join(entries) + '\n}\n'
