# SPDX-License-Identifier: Apache-2.0
"""Repair an mcap file whose recorder was killed: find its end and add a footer."""

from __future__ import annotations

import os
from pathlib import Path
import struct
from typing import BinaryIO

_MAGIC = b'\x89MCAP0\r\n'
_FOOTER = b'\x02' + struct.pack('<Q', 20) + bytes(20) + _MAGIC
_CHUNK = b'\x06'
_DATA_END = 0x0F


def with_an_end(file: Path, folder: Path) -> Path | None:
    """
    Copy an mcap file up to its last whole record, and give it a footer.

    :param folder: folder for the copy.
    :param file: the mcap file.
    :returns: the copy; None if the file is not an mcap file.
    """
    with file.open('rb') as bag:
        if bag.read(8) != _MAGIC:
            return None
        end = _end_of_records(bag, 8)
        if end == 8:
            return None
        target = folder / file.name
        with target.open('wb') as copy:
            _copy(bag, copy, 0, end)
            inside = _inside_chunk(bag, end)
            if inside:
                _copy(bag, copy, inside, _end_of_records(bag, inside))
            copy.write(_FOOTER)
    return target


def _end_of_records(bag: BinaryIO, begin: int) -> int:
    # Return the end of the last whole record among those that begin at a position.
    size = bag.seek(0, os.SEEK_END)
    end = begin
    while True:
        bag.seek(end)
        head = bag.read(9)
        if len(head) < 9 or head[0] in (0x00, 0x02, _DATA_END):
            return end
        after = end + 9 + struct.unpack('<Q', head[1:])[0]
        if after > size:
            return end
        end = after


def _inside_chunk(bag: BinaryIO, begin: int) -> int:
    # Return where the records of a truncated chunk begin; 0 if there is none, or if it is
    # compressed.
    bag.seek(begin)
    head = bag.read(9 + 28 + 4)
    packed = struct.unpack('<I', head[-4:])[0] if len(head) == 9 + 28 + 4 else 1
    return begin + len(head) + 8 if head[:1] == _CHUNK and not packed else 0


def _copy(source: BinaryIO, target: BinaryIO, begin: int, end: int) -> None:
    source.seek(begin)
    while begin < end:
        piece = source.read(min(end - begin, 1 << 24))
        target.write(piece)
        begin += len(piece)
