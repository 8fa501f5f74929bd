# SPDX-License-Identifier: Apache-2.0
"""Read arrays from an npz: only plain numbers and text, with sizes checked before allocation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import types
from typing import IO
import zipfile

import numpy as np
from numpy.typing import NDArray

from motion_predictor.common.files import brief, open_file, refused
from motion_predictor.errors import RecordingError

MAX_ENTRY_BYTES = 4 * 2**30
"""Largest size of one decompressed array: five hours of a hundred people."""
_CHUNK_BYTES = 2**20
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Header:
    """The facts in an array's own header."""

    shape: tuple[int, ...]
    fortran: bool
    """Whether the first index varies fastest."""
    dtype: np.dtype


class Npz:
    """An npz that is open for reading, as a context manager."""

    def __init__(self, path: Path) -> None:
        """
        Open the archive and read its list of entries.

        :raises RecordingError: if it is not a plain file or not an archive.
        """
        self.path = path
        self._file = open_file(path)
        try:
            if not zipfile.is_zipfile(self._file):
                raise RecordingError(f'{path}: truncated, or no npz archive; fetch it again')
            with refused(path, 'truncated or damaged; fetch it again'):
                self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise
        self.names = tuple(name.removesuffix('.npy') for name in self._zip.namelist())
        """Of the arrays, as they stand in the file."""

    def __enter__(self) -> Npz:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._zip.close()
        self._file.close()

    def open(self, name: str) -> IO[bytes]:
        """
        Open the file of an entry; call this within :func:`motion_predictor.common.files.refused`.

        :raises RecordingError: if there is no such entry, or if it is too large.
        """
        info = next(
            (info for info in self._zip.infolist() if info.filename in (f'{name}.npy', name)), None
        )
        if info is None:
            listed = brief(', '.join(self.names) or 'nothing')
            raise RecordingError(f'{self.path}: has no {name!r}; it holds {listed}')
        if info.file_size > MAX_ENTRY_BYTES:
            raise RecordingError(
                f'{self.path}: {name}: {info.file_size} bytes; at most {MAX_ENTRY_BYTES} are read'
            )
        return self._zip.open(info)

    def header(self, name: str) -> Header:
        """
        Read an array's header without its data.

        :raises RecordingError: if there is no such array, or if its header is damaged.
        """
        words = f'{brief(name)}: truncated or damaged; fetch it again'
        with refused(self.path, words), self.open(name) as file:
            return read_header(file)

    def read(self, name: str) -> NDArray:
        """
        Read an array of numbers or text.

        :raises RecordingError: naming the file, the array and the fault.
        """
        words = f'{brief(name)}: truncated or damaged; fetch it again'
        with refused(self.path, words), self.open(name) as file:
            header = read_header(file)
            dtype = header.dtype
            numbers = dtype.kind in 'biuf' and dtype.itemsize <= 8
            if not (numbers or (dtype.kind in 'SU' and dtype.itemsize)):
                raise RecordingError(
                    f'{self.path}: {name}: holds {brief(dtype)}; only numbers and text are read'
                )
            count = 1
            for length in header.shape:
                count *= length  # Python's whole numbers do not overflow
            if count * dtype.itemsize > MAX_ENTRY_BYTES:
                raise ValueError(f'{header.shape} of {dtype} are more than the file can hold')
            values = np.empty(count, dtype)
            raw = values.view(np.uint8).data
            filled = 0
            while filled < len(raw):
                got = file.readinto(raw[filled : filled + _CHUNK_BYTES])  # type: ignore[attr-defined]
                if not got:
                    break
                filled += got
            if filled < len(raw) or file.read(1):
                raise ValueError(f'{header.shape} of {dtype} are not what the entry holds')
            if dtype.kind == 'U':
                _check_text(values)
            return values.reshape(header.shape, order='F' if header.fortran else 'C')


def read_header(file: IO[bytes]) -> Header:
    """
    Read the header of an npy file; afterwards the file is at the beginning of the data.

    :raises ValueError: if it is not a header of NumPy for plain or object arrays.
    """
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f'npy version {version} is not read')
    shape, fortran, dtype = _READERS[version](file)
    if len(shape) > 32 or any(length < 0 for length in shape):
        raise ValueError(f'shape {shape}')
    return Header(tuple(int(length) for length in shape), bool(fortran), dtype)


def _check_text(values: NDArray) -> None:
    """Refuse invalid text: Python raises an error where such a name is read or printed."""
    codes = values.view(values.dtype.byteorder.replace('|', '=') + 'u4')
    if (codes > 0x10FFFF).any() or ((codes >= 0xD800) & (codes < 0xE000)).any():
        raise ValueError('text that is no Unicode')


def read_arrays(path: Path, wanted: tuple[str, ...], what: str) -> dict[str, NDArray]:
    """
    Read some arrays of an npz, which must hold all of them.

    :param path: the archive.
    :param wanted: names of the arrays.
    :param what: name of such archives in messages.
    :raises RecordingError: naming the file and what is missing or wrong.
    """
    with Npz(path) as archive:
        missing = [name for name in wanted if name not in archive.names]
        if missing:
            raise RecordingError(
                f'{path}: not {what}: lacks {", ".join(missing)}; needs {", ".join(wanted)}, this '
                f'file has {brief(", ".join(archive.names)) or "nothing"}'
            )
        return {name: archive.read(name) for name in wanted}


def check_offsets(path: Path, offsets: NDArray, frames: int) -> None:
    """
    Check that offsets cut positions into clips that are not empty.

    :param path: path of the file, for the error.
    :param offsets: clip i is ``positions[offsets[i]:offsets[i + 1]]``.
    :param frames: number of frames of the positions.
    :raises RecordingError: naming the offsets found.
    """
    if offsets.ndim != 1 or offsets.dtype.kind not in 'iu' or len(offsets) < 2:
        raise RecordingError(
            f'{path}: offsets: expected clips + 1 whole numbers, '
            f'got shape {offsets.shape} of {offsets.dtype}'
        )
    steps = np.diff(offsets.astype(np.float64))  # unsigned numbers would wrap around
    if offsets[0] != 0 or offsets[-1] != frames or steps.min() < 1:
        raise RecordingError(
            f'{path}: offsets: expected to rise from 0 to the {frames} frames of '
            f'positions, got {offsets[0]} to {offsets[-1]}, '
            f'smallest step {int(steps.min())}'
        )
