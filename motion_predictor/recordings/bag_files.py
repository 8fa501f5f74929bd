"""
Files of rosbag2 recordings: their topics and messages, one after another, without ROS.

What a recorder that was killed leaves is read as far as it goes, and so is what a disk damaged:
a folder without metadata, a file without its end, a message that cannot be read. Everything left
out is counted and said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
import os
from pathlib import Path
import re
import shutil
import sqlite3
import struct
import tempfile
from typing import Any, BinaryIO

from motion_predictor.errors import RecordingError

STORAGE = ('.db3', '.mcap')
METADATA = 'metadata.yaml'
MAX_METADATA_BYTES = 16_000_000
MAX_UNPACKED_BYTES = 16 * 2**30
"""Of a compressed file, which is unpacked beside others of its kind where temporary files are."""
MAX_MESSAGE_BYTES = 64 * 2**20
"""Of a compressed message."""
_PIECE_BYTES = 2**20
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_MCAP_MAGIC = b'\x89MCAP0\r\n'
_MCAP_FOOTER = b'\x02' + struct.pack('<Q', 20) + bytes(20) + _MCAP_MAGIC
_MCAP_CHUNK = b'\x06'
_MCAP_DATA_END = 0x0F
_TYPE_NAME = re.compile(r'^\s*((?:\w+\/)*[A-Z]\w*)\b', re.MULTILINE)


def require_rosbags(path: Path) -> None:
    """
    Check that the library that reads the files is there.

    :raises RecordingError: naming it.
    """
    try:
        import rosbags.rosbag2  # noqa: F401
    except ImportError:
        raise RecordingError(
            f'{path}: reading a rosbag2 needs the Python package rosbags: pip install rosbags'
        ) from None


def is_bag(path: Path) -> bool:
    """Tell whether a path looks like a rosbag2: a folder or file of one, compressed or not."""
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
    """One message of a bag: ``message`` has the fields of its type, as rclpy's have."""

    topic: str
    kind: str
    """Such as 'geometry_msgs/msg/PoseArray'."""
    received_ns: int
    message: Any


class BagFiles:
    """The files of one recording; a context manager, which closes them."""

    def __init__(self, path: Path) -> None:
        """
        Find the files.

        :param path: a folder, or one file: .mcap, .db3, or either compressed (.zstd).
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
        """Open the files; those that cannot be are remarked on, as long as one can."""
        failures: list[str] = []
        try:
            for file in self._files():
                try:
                    self._readers.append(self._opened(file))
                except Exception as error:  # of whatever kind: the file is damaged
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
                    except Exception as error:  # of whatever kind: this message is damaged
                        self.damaged += 1
                        self.first_damage = self.first_damage or _words(error)
                        continue
                    yield BagMessage(connection.topic, connection.msgtype, received_ns, message)
            except GeneratorExit:
                raise
            except RecordingError:
                raise
            except Exception as error:  # of the storage: what lies behind is lost
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
            file = _decompressed(file, self._folder())
        if file.suffix.lower() == '.db3':
            file = self._with_log(file)
        try:
            reader = Reader(file)
            return self._stack.enter_context(reader)
        except Exception:
            mended = file.suffix.lower() == '.mcap' and _with_an_end(file, self._folder())
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
        # What a killed recorder had not yet written into the database stands beside it.
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
        # A type store that knows the messages of a connection.
        if connection.msgtype not in self._stores:
            self._stores[connection.msgtype] = _type_store(self.path, connection)
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
    if bytes(raw[:4]) == _ZSTD_MAGIC:  # CDR begins with zero
        raw = _unpacked(raw)
    return store.deserialize_cdr(raw, kind)


def _zstd() -> Any:
    # What rosbags itself uses.
    try:
        from compression import zstd  # type: ignore[import-not-found]
    except ImportError:
        from backports import zstd  # type: ignore[import-not-found,no-redef]
    return zstd


def _unpacked(raw: Any) -> bytes:
    # A message; no more of it than a message has.
    plain: bytes = _zstd().ZstdDecompressor().decompress(raw, MAX_MESSAGE_BYTES + 1)
    if len(plain) > MAX_MESSAGE_BYTES:
        raise RecordingError(
            f'a message of more than {MAX_MESSAGE_BYTES // 2**20} MiB when it is unpacked'
        )
    return plain


def _decompressed(file: Path, folder: Path) -> Path:
    target, written = folder / file.stem, 0
    with _zstd().open(file, 'rb') as packed:
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


def _with_an_end(file: Path, folder: Path) -> Path | None:
    # A copy of an mcap file up to its last whole record, with a footer; None where it is no mcap.
    with file.open('rb') as bag:
        if bag.read(8) != _MCAP_MAGIC:
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
            copy.write(_MCAP_FOOTER)
    return target


def _end_of_records(bag: BinaryIO, begin: int) -> int:
    # Where the last record that is whole ends, of those that begin at a place.
    size = bag.seek(0, os.SEEK_END)
    end = begin
    while True:
        bag.seek(end)
        head = bag.read(9)
        if len(head) < 9 or head[0] in (0x00, 0x02, _MCAP_DATA_END):
            return end
        after = end + 9 + struct.unpack('<Q', head[1:])[0]
        if after > size:
            return end
        end = after


def _inside_chunk(bag: BinaryIO, begin: int) -> int:
    # Where the records of a chunk that was cut off begin; 0 where there is none, or it is packed.
    bag.seek(begin)
    head = bag.read(9 + 28 + 4)
    packed = struct.unpack('<I', head[-4:])[0] if len(head) == 9 + 28 + 4 else 1
    return begin + len(head) + 8 if head[:1] == _MCAP_CHUNK and not packed else 0


def _copy(source: BinaryIO, target: BinaryIO, begin: int, end: int) -> None:
    source.seek(begin)
    while begin < end:
        piece = source.read(min(end - begin, 1 << 24))
        target.write(piece)
        begin += len(piece)


def _mend(name: str) -> str:
    if name.lower().removesuffix('.zstd').endswith('.mcap'):
        return f'`mcap recover {name}` may mend it'
    return f'`sqlite3 {name} .recover` and `ros2 bag reindex` may mend it'


def _words(error: BaseException) -> str:
    return str(error).rstrip('.') or type(error).__name__


# Types -----------------------------------------------------------------------------------------


def _type_store(path: Path, connection: Any) -> Any:
    # A store with the message of a connection: as the bag defines it, as rosbags knows it, or as
    # an installed package does.
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

    kind = connection.msgtype
    definition = connection.msgdef
    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == MessageDefinitionFormat.MSG:
            store.register(get_types_from_msg(definition.data, kind))
        elif definition.format == MessageDefinitionFormat.IDL:
            separator = '=' * 80 + '\n'
            for part in definition.data.split(separator):
                text = part.split('\n', 1)[1] if part.startswith('IDL: ') else part
                if text.strip():
                    store.register(get_types_from_idl(text))
        if kind in store.fielddefs:
            return store
    except Exception:  # a definition that rosbags cannot read: as if there were none
        store = get_typestore(Stores.EMPTY)
    usual = get_typestore(Stores.ROS2_HUMBLE)
    if kind in usual.fielddefs:
        return usual
    _register_installed(store, kind)
    if kind in store.fielddefs:
        return store
    raise RecordingError(
        f'{path}: {connection.topic} holds {kind}, which the bag does not define: source the '
        f'workspace that has {kind.split("/")[0]}, or convert the bag to mcap, which does'
    )


def _register_installed(store: Any, kind: str) -> None:
    # Types of message packages that lie in a sourced workspace, with those they are made of.
    from rosbags.typesys import get_types_from_msg

    found: dict[str, Any] = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        package, _, short = name.partition('/msg/')
        file = next(
            (
                Path(prefix, 'share', package, 'msg', f'{short}.msg')
                for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
                if prefix and Path(prefix, 'share', package, 'msg', f'{short}.msg').is_file()
            ),
            None,
        )
        if file is None or name in found:
            continue
        text = file.read_text(encoding='utf-8', errors='replace')
        found |= get_types_from_msg(text, name)
        for used in _TYPE_NAME.findall(text):
            used = used.replace('/msg/', '/')
            owner, _, last = used.rpartition('/')
            waiting.append(f'{owner or package}/msg/{last}' if used != 'Header' else
                           'std_msgs/msg/Header')  # fmt: skip
    store.register(found)
