# SPDX-License-Identifier: Apache-2.0
"""Locks that end with the process that holds them, and folders that one process works in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
import platform
from typing import IO

from motion_predictor.common.whole_files import not_written
from motion_predictor.errors import StorageError

LOCK = '.lock'


class Lock:
    """A lock on a file that ends with the process that holds it; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[str] | None = None

    def try_now(self) -> bool:
        """Take the lock if nobody holds it; return whether that worked."""
        file = self.path.open('a+')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def sign(self) -> None:
        """Write into the file which process holds the lock."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f'process {os.getpid()} on {platform.node()}')
        self._file.flush()

    def holder(self) -> str:
        """Return who signed last."""
        try:
            return self.path.read_text()[:200] or 'another process'
        except OSError:
            return 'another process'

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Lock:
        """Wait for the lock."""
        self._file = self.path.open('a+')
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *exception: object) -> None:
        """Release the lock."""
        self.release()


_held: dict[Path, Lock] = {}


def hold_folder(folder: Path) -> None:
    """
    Keep a folder for this process until it ends; a missing folder is made.

    :raises StorageError: if another process works in it, or if it cannot be written.
    """
    key = folder.resolve()
    if key in _held:
        return
    try:
        lock = Lock(folder / LOCK)
        if not lock.try_now():
            raise StorageError(
                f'{folder}: {lock.holder()} works in it; wait for it to end, or choose another '
                '--run folder'
            )
        lock.sign()
    except OSError as error:
        raise StorageError(not_written(folder, error)) from error
    _held[key] = lock


def let_go(folder: Path) -> None:
    """Release a folder before the process ends."""
    lock = _held.pop(folder.resolve(), None)
    if lock is not None:
        lock.release()
