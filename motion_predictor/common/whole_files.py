"""Files that are written whole or not at all: beside their place, then renamed to it."""

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
    Let a block write a file; it takes its place when the block ends, or what was there stays.

    The content is on the disk before the name is, so that neither a signal nor a power cut leaves
    half a file. What was begun is taken away when the block fails.

    :param path: the file; its folder is made where it is missing.
    :returns: where the block writes.
    :raises StorageError: if nothing can be written there, as where the disk is full.
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

    :param path: the file; its folder is made where it is missing.
    :param content: text (UTF-8) or bytes.
    :raises StorageError: if nothing can be written there.
    """
    with written_whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def require_writable(path: Path) -> None:
    """
    Try a place before the work begins whose result it is for.

    :param path: the file that will be written; its folder is made where it is missing.
    :raises StorageError: if nothing can be written there.
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
    """Say in one line that a place cannot be written to, why, and what would do."""
    why = getattr(error, 'strerror', None) or str(error).splitlines()[0]
    if 'inline_container' in why:  # what PyTorch says of any disk that takes no more
        why = 'No space left on device, or it is broken'
    return f'{path}: cannot be written ({why}); make room there or name another place'


def _of_the_disk(error: BaseException) -> bool:
    # Libraries in C++ say with errors of their own that a file could not be written.
    if not isinstance(error, Exception) or isinstance(error, StorageError):
        return False
    text = str(error).lower()
    return any(word in text for word in ('inline_container', 'no space', 'i/o error', 'os error'))
