# SPDX-License-Identifier: Apache-2.0
"""Open files that a user or a setting names: plain files of bounded size, no pipes or devices."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import stat
from typing import Any, BinaryIO

from motion_predictor.errors import MotionPredictorError, RecordingError

_KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)
MAX_JSON_BYTES = 256 * 2**20
MAX_QUOTED = 300
"""Greatest number of characters that a message quotes from a name or from a library's error."""


def brief(said: object) -> str:
    """Return a text in one line of bounded length, for a message that quotes a file."""
    text = ' '.join(str(said).split())
    return text if len(text) <= MAX_QUOTED else f'{text[:MAX_QUOTED]}... ({len(text)} characters)'


def check_file(
    path: Path,
    error: type[MotionPredictorError] = RecordingError,
    max_bytes: int | None = None,
) -> int:
    """
    Check that a path names a plain file, without opening it: reading a pipe would never end.

    :param path: the file, or a link to a file.
    :param error: class of the error to raise.
    :param max_bytes: largest accepted size in bytes; None accepts any size.
    :returns: the size of the file in bytes.
    :raises MotionPredictorError: of the class ``error``, naming the file and the fault.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as reason:  # ValueError: a name that contains a NUL
        raise error(_unreadable(path, reason)) from None
    return _checked(path, found, error, max_bytes)


def open_file(
    path: Path,
    error: type[MotionPredictorError] = RecordingError,
    max_bytes: int | None = None,
) -> BinaryIO:
    """
    Open a plain file to read its bytes; see :func:`check_file`.

    :raises MotionPredictorError: of the class ``error``, naming the file and the fault.
    """
    check_file(path, error, max_bytes)
    try:
        # the name may be a pipe by now: without O_NONBLOCK, opening one waits for its writer
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), 'rb')
    except OSError as reason:
        raise error(_unreadable(path, reason)) from None
    try:
        _checked(path, os.fstat(file.fileno()), error, max_bytes)
    except MotionPredictorError:
        file.close()
        raise
    return file


def read_file(
    path: Path,
    error: type[MotionPredictorError] = RecordingError,
    max_bytes: int | None = None,
) -> bytes:
    """
    Read a plain file; see :func:`check_file`.

    :raises MotionPredictorError: of the class ``error``, naming the file and the fault.
    """
    with open_file(path, error, max_bytes) as file:
        try:
            return file.read()
        except OSError as reason:
            raise error(_unreadable(path, reason)) from None


def read_json(
    path: Path,
    error: type[MotionPredictorError] = RecordingError,
    max_bytes: int | None = MAX_JSON_BYTES,
) -> Any:
    """
    Read a plain file of JSON; see :func:`check_file`.

    :raises MotionPredictorError: of the class ``error``, naming the file and the fault.
    """
    raw = read_file(path, error, max_bytes)
    with refused(path, 'cannot be read as JSON', error):
        return json.loads(raw.decode('utf-8-sig'))


def _checked(
    path: Path,
    found: os.stat_result,
    error: type[MotionPredictorError],
    max_bytes: int | None,
) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for test, words in _KINDS if test(found.st_mode)), 'no plain file')
        raise error(f'{brief(path)}: is {kind}; expected a plain file')
    if max_bytes is not None and found.st_size > max_bytes:
        raise error(f'{brief(path)}: has {found.st_size} bytes; at most {max_bytes} are read')
    return found.st_size


def _unreadable(path: Path, reason: Exception) -> str:
    if isinstance(reason, FileNotFoundError | NotADirectoryError):
        return f'{brief(path)}: no such file'
    why = reason.strerror if isinstance(reason, OSError) else None
    return f'{brief(path)!r}: cannot be opened ({why or brief(reason)})'


@contextlib.contextmanager
def refused(
    path: Path, words: str, error: type[MotionPredictorError] = RecordingError
) -> Iterator[None]:
    """
    Turn every error that a damaged or hostile file causes in its reader into one class of error.

    Errors of this package pass unchanged, because they say more.

    :param path: the file that the ``with`` block reads.
    :param words: statement about the file, which the message gives before the reason in brackets.
    :param error: class of the error to raise.
    :raises MotionPredictorError: of the class ``error``, naming the file.
    """
    try:
        yield
    except MotionPredictorError:
        raise
    except Exception as reason:
        why = f'{type(reason).__name__}: {brief(reason)}'
        raise error(f'{brief(path)}: {words} ({why})') from reason
