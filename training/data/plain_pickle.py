# SPDX-License-Identifier: Apache-2.0
"""A pickle reader that accepts only dicts and lists of plain arrays, as in object archives.

It knows the opcodes that Python writes for these (protocols 2 to 5), and what NumPy writes for
arrays of booleans, whole numbers and floats. It imports nothing that a file names, calls nothing,
and gives no object a state. Arrays are made by ``np.frombuffer`` from sizes that were checked.
"""

from __future__ import annotations

from collections.abc import Callable
import re
import struct
from typing import Any, IO

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 1_000_000
"""Greatest number of opcodes in a file; Human3.6M needs 4000."""
MAX_DEPTH = 8
"""Greatest depth of nested containers."""
MAX_TEXT_BYTES = 100_000
"""Largest size of a name or a text; the bytes of arrays are not bounded by it."""
MAX_KEY = 2**31
"""Largest whole number as a key of a dict: larger ones can be made to collide."""

_PLAIN = re.compile(r'b1|[iu][1248]|f[248]')
_MULTIARRAY = ('numpy.core.multiarray', 'numpy._core.multiarray')
_NUMERIC = ('numpy.core.numeric', 'numpy._core.numeric')


class PlainPickleError(ValueError):
    """A pickle contains more than plain arrays, or is damaged."""


class _Name:
    """A function or class that the file names; it is never imported."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __repr__(self) -> str:
        return f'{self.module}.{self.name}'[:200]


class _Dtype:
    """A NumPy dtype under construction; 'O' for an array of objects."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, ''

    @property
    def plain(self) -> np.dtype:
        if self.code == 'O':
            raise PlainPickleError('plain bytes as an array of objects')
        return np.dtype((self.order or '=') + self.code)


class _Array:
    """A NumPy array under construction: its place is taken before its content is known."""

    value: NDArray | None = None


class _Mark:
    """The position on the stack where a sequence begins."""


_MARK = _Mark()


def read_plain_pickle(file: IO[bytes]) -> Any:
    """
    Read one pickled object of dicts, lists, tuples, text, numbers and plain NumPy arrays.

    :param file: a file at the first byte of the pickle.
    :returns: the object. Arrays of plain numbers are read-only.
    :raises PlainPickleError: naming what the file asked for, or the fault.
    """
    try:
        found = _Reader(file).read()
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise PlainPickleError(f'damaged: {error}') from None
    _check_nesting(found)
    return found


class _Reader:
    """The machine that runs a pickle's program: a stack and a memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def read(self) -> Any:
        """Run the program until it stops."""
        for _ in range(MAX_STEPS):
            code = self._take(1)
            if code == b'.':
                found = self._pop()
                if self._stack:
                    raise PlainPickleError(f'{len(self._stack)} objects left over')
                return found
            step = _STEPS.get(code)
            if step is None:
                raise PlainPickleError(f'opcode {code!r} is in no pickle of plain arrays')
            step(self)
        raise PlainPickleError(f'more than {MAX_STEPS} steps')

    # --- the file

    def _take(self, size: int) -> bytes:
        raw = self._file.read(size)
        if len(raw) != size:
            raise PlainPickleError('truncated')
        return raw

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, size: int, encoding: str) -> None:
        if size > MAX_TEXT_BYTES:
            raise PlainPickleError(f'a text of {size} bytes')
        self._stack.append(self._take(size).decode(encoding))

    def _line(self) -> str:
        line = self._file.readline(1000)
        if not line.endswith(b'\n'):
            raise PlainPickleError('truncated, or a name without an end')
        return line[:-1].decode('utf-8')

    # --- the stack

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PlainPickleError('damaged: an object is missing')
        value = self._stack.pop()
        if isinstance(value, _Array):
            if value.value is None:
                raise PlainPickleError('an array within itself, or without content')
            return value.value
        return value

    def _since_mark(self) -> list[Any]:
        values = []
        while not self._stack or self._stack[-1] is not _MARK:
            values.append(self._pop())
        self._stack.pop()
        return values[::-1]

    def _onto(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise PlainPickleError(f'damaged: no {kind.__name__} to fill')
        return self._stack[-1]

    def _extend(self, values: list[Any]) -> None:
        self._onto(list).extend(_content(value) for value in values)

    def _set(self, values: list[Any]) -> None:
        found = self._onto(dict)
        if len(values) % 2:
            raise PlainPickleError('damaged: a key without a value')
        for key, value in zip(values[::2], values[1::2]):
            if not isinstance(key, str) and not (type(key) is int and abs(key) < MAX_KEY):
                raise PlainPickleError(f'a {type(key).__name__} as the key of a dict')
            found[key] = _content(value)

    def _tuple(self, count: int) -> None:
        self._stack.append(tuple([self._pop() for _ in range(count)][::-1]))

    def _keep(self, where: int) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            raise PlainPickleError('damaged: nothing to remember')
        self._memory[where] = self._stack[-1]

    def _recall(self, where: int) -> None:
        if where not in self._memory:
            raise PlainPickleError('damaged: it recalls what it never had')
        self._stack.append(self._memory[where])

    # --- names, and the objects made with them

    def _global(self) -> None:
        self._stack.append(_Name(self._line(), self._line()))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PlainPickleError('damaged: a name that is no text')
        self._stack.append(_Name(module, name))

    def _call(self) -> None:
        given, named = self._pop(), self._pop()
        if not isinstance(named, _Name) or not isinstance(given, tuple):
            raise PlainPickleError('damaged: it calls what is no function')
        maker = _MAKERS.get((named.module, named.name))
        if maker is None:
            raise PlainPickleError(f'it asks for {named!r}, which is no array')
        self._stack.append(maker(given))

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        if isinstance(target, _Dtype):
            _fill_dtype(target, state)
        elif isinstance(target, _Array):
            _fill_array(target, state)
        else:
            raise PlainPickleError(f'it sets the state of a {type(target).__name__}')


def _said(value: Any) -> str:
    """Return how a message shows a value; containers, which may be endless, by their kind."""
    if isinstance(value, str | bytes):
        return repr(value[:60])
    if value is None or isinstance(value, int | float | _Name):
        return repr(value)
    return f'a {type(value).__name__.lstrip("_")}'


def _content(value: Any) -> Any:
    if isinstance(value, _Name | _Dtype):
        raise PlainPickleError(f'it holds {_said(value)}, which is no array')
    return value


def _make_dtype(given: tuple[Any, ...]) -> _Dtype:
    code = given[0] if given else None
    if isinstance(code, str) and code in ('O', 'O4', 'O8'):
        return _Dtype('O')
    if not isinstance(code, str) or not _PLAIN.fullmatch(code):
        raise PlainPickleError(f'dtype {_said(code)}: only plain numbers are read')
    return _Dtype(code)


def _fill_dtype(target: _Dtype, state: Any) -> None:
    # (version, byte order, subtype, names, fields, size, alignment, flags)
    plain = isinstance(state, tuple) and len(state) == 8 and state[2:5] == (None, None, None)
    if not plain or state[0] != 3 or state[1] not in ('<', '>', '|', '='):
        raise PlainPickleError(f'dtype {target.code} of an unknown state')
    target.order = state[1]


def _make_array(given: tuple[Any, ...]) -> _Array:
    kind = given[0] if given else None
    if not isinstance(kind, _Name) or (kind.module, kind.name) != ('numpy', 'ndarray'):
        raise PlainPickleError(f'it asks for an array of class {_said(kind)}')
    return _Array()


def _fill_array(target: _Array, state: Any) -> None:
    if target.value is not None or not isinstance(state, tuple) or len(state) != 5:
        raise PlainPickleError('an array of an unknown state')
    version, shape, dtype, fortran, content = state
    if version != 1 or not isinstance(dtype, _Dtype) or type(fortran) not in (bool, int):
        raise PlainPickleError('an array of an unknown state')
    order = 'F' if fortran else 'C'
    if dtype.code != 'O':
        target.value = _numbers(content, dtype, shape, order)
        return
    if not isinstance(content, list) or len(content) != _count(shape):
        raise PlainPickleError(f'an array of {_count(shape)} objects with other content')
    values = np.empty(len(content), object)
    for index, value in enumerate(content):
        values[index] = _content(value)
    target.value = values.reshape(shape, order=order)  # type: ignore[call-overload]


def _make_from_buffer(given: tuple[Any, ...]) -> NDArray:
    if len(given) != 4 or given[3] not in ('C', 'F') or not isinstance(given[1], _Dtype):
        raise PlainPickleError('an array of an unknown form')
    return _numbers(given[0], given[1], given[2], given[3])


def _make_scalar(given: tuple[Any, ...]) -> Any:
    if len(given) != 2 or not isinstance(given[0], _Dtype):
        raise PlainPickleError('a number of an unknown form')
    return _numbers(given[1], given[0], (), 'C')[()]


def _make_bytes(given: tuple[Any, ...]) -> bytes:
    if len(given) != 2 or not isinstance(given[0], str) or given[1] not in ('latin1', 'latin-1'):
        raise PlainPickleError('bytes of an unknown form')
    return given[0].encode('latin-1', errors='strict')


def _make_no_bytes(given: tuple[Any, ...]) -> bytes:
    if given:
        raise PlainPickleError('bytes of an unknown form')
    return b''


def _numbers(content: Any, dtype: _Dtype, shape: Any, order: str) -> NDArray:
    if isinstance(content, str):  # bytes of Python 2
        if not content.isascii() and max(content) > '\xff':
            raise PlainPickleError('an array whose bytes are text')
        content = content.encode('latin-1')
    if not isinstance(content, bytes | bytearray):
        raise PlainPickleError(f'an array filled with a {type(content).__name__}')
    plain, count = dtype.plain, _count(shape)
    if count * plain.itemsize != len(content):
        raise PlainPickleError(f'{shape} of {plain} do not fill {len(content)} bytes')
    if not count:
        return np.empty(shape, plain)
    values = np.frombuffer(content, plain)
    return values.reshape(shape, order=order)  # type: ignore[call-overload]


def _count(shape: Any) -> int:
    if not isinstance(shape, tuple) or len(shape) > 8:
        raise PlainPickleError(f'a {type(shape).__name__} as the shape of an array')
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length < 2**40:
            raise PlainPickleError(f'{_said(length)} as a length of an array')
        count *= length  # of any size in Python, and compared with the bytes that are present
    return count


def _check_nesting(found: Any) -> None:
    """Refuse deep, shared and endless nesting, so that a reader may visit all of it."""
    met: set[int] = set()
    waiting = [(found, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, _Name | _Dtype):
            raise PlainPickleError(f'it is {_said(value)}, which is no array')
        if isinstance(value, np.ndarray):
            inner = list(value.flat) if value.dtype == object else []
        elif isinstance(value, dict):
            inner = list(value.values())
        elif isinstance(value, list | tuple):
            inner = list(value)
        else:
            continue
        if not inner:
            continue
        if depth == MAX_DEPTH:
            raise PlainPickleError(f'containers nested more than {MAX_DEPTH} deep')
        if id(value) in met:
            raise PlainPickleError('a container in two places, or within itself')
        met.add(id(value))
        waiting += [(each, depth + 1) for each in inner]


_MAKERS: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ('numpy', 'dtype'): _make_dtype,
    ('_codecs', 'encode'): _make_bytes,
    ('__builtin__', 'bytes'): _make_no_bytes,
    **{(module, '_reconstruct'): _make_array for module in _MULTIARRAY},
    **{(module, 'scalar'): _make_scalar for module in _MULTIARRAY},
    **{(module, '_frombuffer'): _make_from_buffer for module in _NUMERIC},
}
"""The functions that a file may name, and what replaces them here: how NumPy builds arrays, and
how bytes are written for Python 2."""


def _push(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader._stack.append(value)


def _read_number(form: str) -> Callable[[_Reader], None]:
    return lambda reader: reader._stack.append(reader._number(form))


def _read_bytes(form: str) -> Callable[[_Reader], None]:
    return lambda reader: reader._stack.append(reader._take(reader._number(form)))


def _read_text(form: str) -> Callable[[_Reader], None]:
    return lambda reader: reader._text(reader._number(form), 'utf-8')


def _read_latin(form: str) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        reader._stack.append(reader._take(reader._number(form)).decode('latin-1'))

    return read


def _read_whole(reader: _Reader) -> None:
    size = reader._number('<B')
    if size > 9:
        raise PlainPickleError(f'a whole number of {size} bytes')
    reader._stack.append(int.from_bytes(reader._take(size), 'little', signed=True))


_STEPS: dict[bytes, Callable[[_Reader], None]] = {
    b'\x80': lambda reader: reader._number('<B'),  # the protocol
    b'\x95': lambda reader: reader._number('<Q'),  # a frame, which reading ahead would need
    b'N': _push(None),
    b'\x88': _push(True),
    b'\x89': _push(False),
    b'J': _read_number('<i'),
    b'K': _read_number('<B'),
    b'M': _read_number('<H'),
    b'\x8a': _read_whole,
    b'G': _read_number('>d'),
    b'B': _read_bytes('<I'),
    b'C': _read_bytes('<B'),
    b'\x8e': _read_bytes('<Q'),
    b'\x96': _read_bytes('<Q'),
    b'X': _read_text('<I'),
    b'\x8c': _read_text('<B'),
    b'\x8d': _read_text('<Q'),
    b'T': _read_latin('<I'),
    b'U': _read_latin('<B'),
    b'}': lambda reader: reader._stack.append({}),
    b']': lambda reader: reader._stack.append([]),
    b')': _push(()),
    b'(': _push(_MARK),
    b't': lambda reader: reader._stack.append(tuple(reader._since_mark())),
    b'\x85': lambda reader: reader._tuple(1),
    b'\x86': lambda reader: reader._tuple(2),
    b'\x87': lambda reader: reader._tuple(3),
    b'a': lambda reader: reader._extend([reader._pop()]),
    b'e': lambda reader: reader._extend(reader._since_mark()),
    b's': lambda reader: reader._set([reader._pop(), reader._pop()][::-1]),
    b'u': lambda reader: reader._set(reader._since_mark()),
    b'q': lambda reader: reader._keep(reader._number('<B')),
    b'r': lambda reader: reader._keep(reader._number('<I')),
    b'\x94': lambda reader: reader._keep(len(reader._memory)),
    b'h': lambda reader: reader._recall(reader._number('<B')),
    b'j': lambda reader: reader._recall(reader._number('<I')),
    b'c': lambda reader: reader._global(),
    b'\x93': lambda reader: reader._stack_global(),
    b'R': lambda reader: reader._call(),
    b'b': lambda reader: reader._build(),
}
