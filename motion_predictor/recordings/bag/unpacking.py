# SPDX-License-Identifier: Apache-2.0
"""Decompress bags: files, chunks and messages, all with a limit on their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import threading
from typing import Any

from motion_predictor.errors import RecordingError

MAX_UNPACKED_BYTES = 16 * 2**30
"""Largest size of a decompressed file; it is written beside others to the folder of temporary
files."""
MAX_CHUNK_BYTES = 256 * 2**20
"""Largest size of a decompressed chunk of an mcap file, which is held in memory; recorders write 4
MiB."""
MAX_MESSAGE_BYTES = 64 * 2**20
"""Largest size of a decompressed message."""
_PIECE_BYTES = 2**20
_MAGIC = b'\x28\xb5\x2f\xfd'


class ChunkError(ValueError):
    """A chunk of an mcap file is larger than any recorder writes."""


def zstd() -> Any:
    """Return the zstd module that rosbags itself uses."""
    try:
        from compression import zstd as found  # type: ignore[import-not-found]
    except ImportError:
        from backports import zstd as found  # type: ignore[import-not-found,no-redef]
    return found


def unpacked_message(raw: Any) -> Any:
    """
    Return a message decompressed; a message that is not compressed stays as it is.

    :raises RecordingError: if it is larger than any message.
    """
    if bytes(raw[:4]) != _MAGIC:  # CDR begins with zero
        return raw
    plain: bytes = zstd().ZstdDecompressor().decompress(raw, MAX_MESSAGE_BYTES + 1)
    if len(plain) > MAX_MESSAGE_BYTES:
        raise RecordingError(
            f'a message of more than {MAX_MESSAGE_BYTES // 2**20} MiB when it is unpacked'
        )
    return plain


def unpacked_file(file: Path, folder: Path) -> Path:
    """
    Decompress a file.

    :param file: the compressed file.
    :param folder: folder for the result.
    :raises RecordingError: if it is too large, or if there is no room for it.
    """
    target, written = folder / file.stem, 0
    with zstd().open(file, 'rb') as packed:
        while piece := packed.read(_PIECE_BYTES):
            written += len(piece)
            if written > MAX_UNPACKED_BYTES:
                raise RecordingError(
                    f'has more than {MAX_UNPACKED_BYTES / 2**30:g} GiB when it is unpacked: '
                    f'unpack it yourself (zstd -d {file.name}) and read {file.stem}'
                )
            try:
                with target.open('ab') as plain:
                    plain.write(piece)
            except OSError as error:
                raise RecordingError(
                    f'cannot be unpacked into {folder.parent} ({error.strerror}) beyond '
                    f'{written / 2**20:.0f} MiB: make room there, or set TMPDIR to another folder'
                ) from None
    return target


def _unpacked_chunk(decompressor: Callable[[], Any], raw: bytes) -> bytes:
    plain, rest = bytearray(), raw
    while rest:  # one frame, or several in a row
        frame = decompressor()
        plain += frame.decompress(rest, MAX_CHUNK_BYTES + 1 - len(plain))
        if len(plain) > MAX_CHUNK_BYTES:
            raise ChunkError(
                f'a chunk of more than {MAX_CHUNK_BYTES / 2**20:g} MiB when it is unpacked'
            )
        if not frame.eof:
            raise ChunkError('a chunk that is cut off')
        rest = frame.unused_data
    return bytes(plain)


def _zstd_chunk(raw: bytes, _: int) -> bytes:
    return _unpacked_chunk(zstd().ZstdDecompressor, raw)


def _lz4_chunk(raw: bytes, _: int) -> bytes:
    from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

    return _unpacked_chunk(LZ4FrameDecompressor, raw)


_BOUNDED: dict[str, Callable[[bytes, int], bytes]] = {'zstd': _zstd_chunk, 'lz4': _lz4_chunk}
_lock = threading.Lock()
_open: list[dict[str, Any]] = []
"""For every open bag, the functions by which rosbags decompressed before."""


@contextmanager
def bounded_chunks() -> Iterator[None]:
    """
    Limit the size of mcap chunks that rosbags decompresses while bags are read.

    By itself rosbags allocates all memory that a damaged or hostile chunk asks for. Its functions
    are restored when the last bag is closed.
    """
    from rosbags.rosbag2 import storage_mcap

    used: dict[str, Any] = storage_mcap.DECOMPRESSORS
    with _lock:
        _open.append(_open[0] if _open else {name: used[name] for name in _BOUNDED})
        used.update(_BOUNDED)
    try:
        yield
    finally:
        with _lock:
            before = _open.pop()
            if not _open:
                used.update(before)
