# SPDX-License-Identifier: Apache-2.0
"""Write files whole or not at all: under another name beside their place, then renamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import os
from pathlib import Path

from motion_predictor.errors import StorageError

PARTIAL = '.partial'


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """
    Let a ``with`` block write a file that replaces the old one only if the block succeeds.

    The content is on the disk before the name is, so that neither a signal nor a power cut leaves
    half a file. If the block fails, the unfinished file is deleted.

    :param path: the file; a missing folder is made.
    :returns: the path that the block writes to.
    :raises StorageError: if the file cannot be written, for example on a full disk.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open('rb') as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) or _of_the_disk(error):
            raise StorageError(not_written(path, error)) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """
    Write a file, whole or not at all.

    :param path: the file; a missing folder is made.
    :param content: text (written as UTF-8) or bytes.
    :raises StorageError: if the file cannot be written.
    """
    with written_whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def require_writable(path: Path) -> None:
    """
    Check that a file can be written, before the long work whose result it will hold.

    :param path: the file; a missing folder is made.
    :raises StorageError: if the file cannot be written.
    """
    trial = path.with_name(f'{path.name}.trial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, 'it is a folder', str(path))
        trial.write_bytes(b'')
        trial.unlink()
    except OSError as error:
        raise StorageError(not_written(path, error)) from error


def not_written(path: Path, error: BaseException) -> str:
    """Return one line that says which file cannot be written, why, and what would help."""
    why = getattr(error, 'strerror', None) or str(error).splitlines()[0]
    if 'inline_container' in why:  # PyTorch's message for any disk that takes no more data
        why = 'No space left on device, or it is broken'
    return f'{path}: cannot be written ({why}); make room there or name another place'


def _of_the_disk(error: BaseException) -> bool:
    # C++ libraries report a file that could not be written with their own errors.
    if not isinstance(error, Exception) or isinstance(error, StorageError):
        return False
    text = str(error).lower()
    return any(word in text for word in ('inline_container', 'no space', 'i/o error', 'os error'))
