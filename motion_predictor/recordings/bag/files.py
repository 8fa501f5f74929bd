# SPDX-License-Identifier: Apache-2.0
"""Read the files of rosbag2 recordings without ROS: topics, and messages one after another.

The files of a killed recorder or of a damaged disk are read as far as possible: a folder without
metadata, a file without its end, a message that cannot be read. Everything that is left out is
counted and reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
import re
import shutil
import sqlite3
import tempfile
from typing import Any

from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bag.mcap_end import with_an_end
from motion_predictor.recordings.bag.message_types import type_store
from motion_predictor.recordings.bag.unpacking import (
    bounded_chunks,
    unpacked_file,
    unpacked_message,
)

STORAGE = ('.db3', '.mcap')
METADATA = 'metadata.yaml'
MAX_METADATA_BYTES = 16_000_000


def require_rosbags(path: Path) -> None:
    """
    Check that the library that reads the files is installed.

    :raises RecordingError: naming it, if it is not.
    """
    try:
        import rosbags.rosbag2  # noqa: F401
    except ImportError:
        raise RecordingError(
            f'{path}: reading a rosbag2 needs the Python package rosbags: pip install rosbags'
        ) from None


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a rosbag2: a folder or one file, compressed or not."""
    if path.is_dir():
        return (path / METADATA).exists() or bool(_storage_files(path))
    return _is_storage(path.name)


def _is_storage(name: str) -> bool:
    return name.lower().removesuffix('.zstd').endswith(STORAGE)


def _storage_files(folder: Path) -> list[Path]:
    def numbered(path: Path) -> list[tuple[int, str]]:
        return [(int(part or -1), text) for text, part in re.findall(r'(\D*)(\d*)', path.name)]

    found = [path for path in folder.iterdir() if path.is_file() and _is_storage(path.name)]
    return sorted(found, key=numbered)


@dataclass(frozen=True)
class BagMessage:
    """One message of a bag; ``message`` has the fields of its type, as in rclpy."""

    topic: str
    kind: str
    """Type of the message, for example 'geometry_msgs/msg/PoseArray'."""
    received_ns: int
    message: Any


class BagFiles:
    """The files of one recording, as a context manager that closes them."""

    def __init__(self, path: Path) -> None:
        """
        Find the files.

        :param path: a folder, or one file: .mcap, .db3, or one of these compressed (.zstd).
        :raises RecordingError: if there are none, or rosbags is not installed.
        """
        require_rosbags(path)
        self.path = path
        self.remarks: list[str] = []
        """What was missing or damaged, for people."""
        self.damaged = 0
        """Messages that could not be read, left out."""
        self.first_damage = ''
        self.topics: dict[str, set[str]] = {}
        """Types of the messages by topic."""
        self._stack = ExitStack()
        self._readers: list[Any] = []
        self._stores: dict[str, Any] = {}

    def __enter__(self) -> BagFiles:
        """Open the files; a file that cannot be opened is reported, unless none can be opened."""
        failures: list[str] = []
        try:
            self._stack.enter_context(bounded_chunks())
            for file in self._files():
                try:
                    self._readers.append(self._opened(file))
                except Exception as error:  # any error: the file is damaged
                    failures.append(f'{file.name}: {_words(error)}')
            if not self._readers:
                raise RecordingError(
                    f'{self.path}: not a readable rosbag2: {"; ".join(failures)}{self._advice()}'
                )
        except BaseException:
            self._stack.close()
            raise
        self.remarks += [f'left out {failure}' for failure in failures]
        for reader in self._readers:
            for connection in reader.connections:
                self.topics.setdefault(connection.topic, set()).add(connection.msgtype)
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self._stack.close()

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """
        Read the messages of some topics in the order in which they were recorded.

        :param topics: their names.
        :raises RecordingError: if a type is not known.
        """
        for reader in self._readers:
            wanted = [entry for entry in reader.connections if entry.topic in topics]
            if not wanted:
                continue
            stores = {entry.id: self._store(entry) for entry in wanted}
            read = 0
            try:
                for connection, received_ns, raw in _raw_messages(reader, wanted):
                    read += 1
                    try:
                        message = _deserialized(stores[connection.id], connection.msgtype, raw)
                    except Exception as error:  # any error: this message is damaged
                        self.damaged += 1
                        self.first_damage = self.first_damage or _words(error)
                        continue
                    yield BagMessage(connection.topic, connection.msgtype, received_ns, message)
            except GeneratorExit:
                raise
            except RecordingError:
                raise
            except Exception as error:  # error of the storage: the data behind it are lost
                self.remarks.append(
                    f'{reader.path.name} breaks off after {read} messages ({_words(error)}); '
                    f'{_mend(reader.path.name)}'
                )

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            if self.path.suffix.lower() == '.bag':
                raise RecordingError(
                    f'{self.path}: a bag of ROS 1: convert it first, '
                    f'rosbags-convert --src {self.path.name} --dst FOLDER'
                )
            if not self.path.is_file():
                raise RecordingError(f'{self.path}: not a readable rosbag2: it is no file')
            return [self.path]
        here = {file.name: file for file in _storage_files(self.path)}
        metadata = self.path / METADATA
        if not here:
            raise RecordingError(
                f'{self.path}: not a readable rosbag2: it has no .db3 or .mcap file'
            )
        if not metadata.is_file():
            self.remarks.append(
                f'no {METADATA}, its recorder may have been killed '
                f'(`ros2 bag reindex {self.path.name}` writes it)'
            )
            return list(here.values())
        with metadata.open(encoding='utf-8', errors='replace') as file:
            text = file.read(MAX_METADATA_BYTES)
        named = re.findall(r'[^\s\[\],"\'/]+\.(?:db3|mcap)(?:\.zstd)?(?![\w.])', text)
        missing = [name for name in dict.fromkeys(named) if name not in here]
        if missing:
            self.remarks.append(f'{METADATA} names {", ".join(missing)}, which is not there')
        return [here[name] for name in dict.fromkeys(named) if name in here] or [*here.values()]

    def _opened(self, file: Path) -> Any:
        from rosbags.rosbag2 import Reader

        if file.suffix.lower() == '.zstd':
            file = unpacked_file(file, self._folder())
        if file.suffix.lower() == '.db3':
            file = self._with_log(file)
        try:
            reader = Reader(file)
            return self._stack.enter_context(reader)
        except Exception:
            mended = file.suffix.lower() == '.mcap' and with_an_end(file, self._folder())
            if not mended:
                raise
            reader = self._stack.enter_context(Reader(mended))
            self.remarks.append(
                f'{file.name} has no end, its recorder may have been killed '
                f'(`mcap recover {file.name}` mends it)'
            )
            return reader

    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix='bag_')))

    def _with_log(self, file: Path) -> Path:
        # A killed recorder leaves data beside the database that are not written into it yet.
        log = file.with_name(f'{file.name}-wal')
        if not log.is_file() or not log.stat().st_size:
            return file
        folder = self._folder()
        for each in (file, log):
            shutil.copy(each, folder / each.name)
        connection = sqlite3.connect(folder / file.name)
        try:
            connection.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()
        finally:
            connection.close()
        return folder / file.name

    def _store(self, connection: Any) -> Any:
        # Return a type store that knows the messages of a connection.
        if connection.msgtype not in self._stores:
            self._stores[connection.msgtype] = type_store(self.path, connection)
        return self._stores[connection.msgtype]

    def _advice(self) -> str:
        files = [self.path] if self.path.is_file() else _storage_files(self.path)
        return f'; {_mend(files[0].name)}' if files and files[0].stat().st_size else ''


def _raw_messages(reader: Any, wanted: Sequence[Any]) -> Iterator[tuple[Any, int, bytes]]:
    scan = getattr(reader.storage, 'messages_scan', None)
    if scan is not None and not reader.storage.chunks:  # without an index: in the file's order
        return scan(wanted)
    return reader.messages(connections=wanted)


def _deserialized(store: Any, kind: str, raw: Any) -> Any:
    return store.deserialize_cdr(unpacked_message(raw), kind)


def _mend(name: str) -> str:
    if name.lower().removesuffix('.zstd').endswith('.mcap'):
        return f'`mcap recover {name}` may mend it'
    return f'`sqlite3 {name} .recover` and `ros2 bag reindex` may mend it'


def _words(error: BaseException) -> str:
    return str(error).rstrip('.') or type(error).__name__
