# SPDX-License-Identifier: Apache-2.0
"""Read an AMC file: the values of a body's bones, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.common.files import brief, read_file
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.acclaim.body import Body

MAX_FILE_BYTES = 512 * 2**20


def read_amc(path: Path, body: Body) -> NDArray[np.float64]:
    """
    Read the frames of an AMC file.

    :param path: the file.
    :param body: the body that moves; every frame must hold the values of all its moving bones.
    :returns: the channels of the moving bones in the order of the bones, ``(T, channels)``; the
        file's units.
    :raises RecordingError: naming the file, and the line or frame that is malformed.
    """
    raw = read_file(path, max_bytes=MAX_FILE_BYTES)
    columns: dict[str, slice] = {}
    width = 0
    for bone in body.moving:
        columns[bone.name] = slice(width, width + len(bone.channels))
        width += len(bone.channels)
    rows: list[NDArray[np.float64]] = []
    frame = ''
    row = np.full(width, np.nan)
    try:
        for number, line in enumerate(raw.splitlines(), 1):
            words = line.decode('utf-8', errors='replace').partition('#')[0].split()
            if not words:
                continue
            if words[0].startswith(':'):
                _check_keyword(words[0], body)
            elif len(words) == 1 and words[0].isdecimal():
                if frame:
                    _check_row(row, frame, columns)
                frame, row = words[0], np.full(width, np.nan)
                rows.append(row)
            elif not frame:
                raise ValueError(f'line {number}: {" ".join(words)[:40]!r} before the first frame')
            else:
                _fill(row, columns, words, f'line {number}, frame {frame}')
        if not rows:
            raise ValueError('no frame')
        _check_row(row, frame, columns)
    except ValueError as error:
        raise RecordingError(f'{path}: not an AMC file that can be read: {brief(error)}') from None
    return np.stack(rows)


def _check_keyword(word: str, body: Body) -> None:
    """Refuse angles in another unit than the body's."""
    stated = {':DEGREES': np.pi / 180.0, ':RADIANS': 1.0}.get(word.upper(), body.radians)
    if stated != body.radians:
        raise ValueError(f'{word}, but :units of the ASF file has the other unit of angles')


def _fill(row: NDArray[np.float64], columns: dict[str, slice], words: list[str], at: str) -> None:
    place = columns.get(words[0])
    if place is None:
        raise ValueError(f'{at}: the ASF file has no bone {words[0]!r} that moves')
    if len(words) - 1 != place.stop - place.start:
        raise ValueError(
            f'{at}: {words[0]} has {len(words) - 1} values; its dof are {place.stop - place.start}'
        )
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(f'{at}: {" ".join(words)[:60]!r}: expected numbers') from None
    if not np.isfinite(values).all():
        raise ValueError(f'{at}: {" ".join(words)[:60]!r}: expected finite numbers')
    row[place] = values


def _check_row(row: NDArray[np.float64], frame: str, columns: dict[str, slice]) -> None:
    missing = [name for name, place in columns.items() if np.isnan(row[place]).any()]
    if missing:
        raise ValueError(f'frame {frame}: no values of {", ".join(missing)}; cut off?')
