# SPDX-License-Identifier: Apache-2.0
"""Object archives: plain arrays are read as NumPy wrote them; all else is refused."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
import pickle
import pickletools
import struct
from typing import Any
import zipfile

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.errors import RecordingError
from training.data import plain_pickle
from training.data.archives import read_object_archive
from training.data.plain_pickle import PlainPickleError, read_plain_pickle

RECONSTRUCT = b'cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R'
CHOSEN_ADDRESS = b'C\x08' + b'\x41' * 6 + bytes(2)


def read(text: bytes) -> Any:
    return read_plain_pickle(io.BytesIO(text))


def dtype(code: bytes, state: bytes = b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'):
    return b'cnumpy\ndtype\nU' + bytes([len(code)]) + code + b'K\x00K\x01\x87R' + state


def array_of(dtype: bytes, content: bytes, shape: bytes = b'K\x01\x85') -> bytes:
    return b'\x80\x04' + RECONSTRUCT + b'(K\x01' + shape + dtype + b'\x89' + content + b'tb.'


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        assert found.shape == expected.shape
        assert_same(list(found.flat), list(expected.flat))
    else:
        np.testing.assert_array_equal(found, expected, strict=True)


GOOD: dict[str, Any] = {
    'S1': {'Walking 1': np.arange(24, dtype=np.float32).reshape(2, 4, 3), 'none': {}},
    'Train/S2': [np.arange(12.0).reshape(3, 4).T, np.zeros((0, 32, 3), np.float16)],
    'numbers': (np.float64(1.5), np.int16(-3), 7, -7, 2**40, -(2**62), 1.25, True, None),
    'kinds': [np.array([1, 2], kind) for kind in ('u1', 'i2', 'u4', 'i8', '>f8', '>i4', '?')],
    'objects': np.array([{'a': 1}, 'zwei', None], dtype=object),
    'Maße': [b'bytes', 'x' * 300, (), ()],
    5: np.asfortranarray(np.arange(6, dtype='<i4').reshape(2, 3)),
}


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_plain_arrays_come_back_as_pickle_wrote_them(protocol: int) -> None:
    assert_same(read(pickle.dumps(GOOD, protocol=protocol)), GOOD)
    whole = np.array(GOOD, dtype=object)
    assert_same(read(pickle.dumps(whole, protocol=protocol)), whole)


def test_one_array_in_two_places_is_the_same_array() -> None:
    array = np.arange(3.0)
    first, second = read(pickle.dumps([array, array]))
    assert first is second


@pytest.mark.parametrize(
    'text,words',
    [
        # what NumPy takes as pointers to objects: bytes under a dtype whose flags deny objects
        (array_of(dtype(b'O8'), CHOSEN_ADDRESS), 'objects with other content'),
        (array_of(dtype(b'V8'), CHOSEN_ADDRESS), 'only plain numbers'),
        (array_of(dtype(b'f8', b'(K\x03U\x01|N)}K\x08K\x01K\x00tb'), CHOSEN_ADDRESS), 'state'),
        (array_of(dtype(b'f8'), b'C\x07' + bytes(7)), 'do not fill 7 bytes'),
        (array_of(dtype(b'f8'), b'C\x08' + bytes(8), b'K\x02\x85'), 'do not fill 8 bytes'),
        (array_of(dtype(b'f8'), b'C\x00', b'J\xff\xff\xff\xff\x85'), '-1 as a length'),
        (array_of(dtype(b'f8'), b'C\x08' + bytes(8), b'(' + b'K\x01' * 9 + b't'), 'shape'),
        (array_of(dtype(b'i1') + b'0', b'C\x01a'), "opcode b'0'"),
        (b'\x80\x02cposix\nsystem\nU\x02ls\x85R.', 'asks for posix.system, which is no array'),
        (b'\x80\x02cnumpy\nndarray\nK\x01\x85\x85R.', 'asks for numpy.ndarray'),
        (b'\x80\x02cbuiltins\neval\n.', 'it is builtins.eval'),
        (b'\x80\x02]cbuiltins\neval\na.', 'it holds builtins.eval'),
        (b'\x80\x02}}s.', 'damaged'),
        (b'\x80\x02}]Ns.', 'a list as the key of a dict'),
        (b'\x80\x02]q\x00h\x00a.', 'within itself'),
        (b'\x80\x02]q\x00}U\x01ah\x00sh\x00.', 'left over'),
        (b'\x80\x02](]q\x00K\x01ah\x00e.', 'in two places'),
        (b'\x80\x02' + b']' * 20 + b'a' * 19 + b'.', 'nested more than 8 deep'),
        (b'\x80\x02' + b'(' * 20 + b'K\x01' + b't' * 20 + b'.', 'nested more than 8 deep'),
        (b'\x80\x02' + RECONSTRUCT + b'.', 'without content'),
        (b'\x80\x02' + RECONSTRUCT + b'}b.', 'an unknown state'),
        (b'\x80\x02}K\x01b.', 'sets the state of a dict'),
        (b'\x80\x02h\x05.', 'recalls'),
        (b'\x80\x02X\xff\xff\xff\x7f.', 'a text of'),
        (b'\x80\x04\x8e' + b'\xff' * 7 + b'\x7f.', 'truncated'),
        (b'\x80\x02' + b'N' * 20, 'truncated'),
        (b'\x80\x02cnumpy\n' + b'x' * 5000, 'a name without an end'),
        (b'\x80\x02\x8a\xff' + b'\x01' * 255 + b'.', 'a whole number of 255 bytes'),
        (b'(dp0\n.', "opcode b'd'"),
        (b'', 'truncated'),
    ],
)
def test_what_is_no_plain_array_is_refused_by_name(text: bytes, words: str) -> None:
    with pytest.raises(PlainPickleError, match=words):
        read(text)


def test_a_pickle_of_endless_steps_is_given_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(plain_pickle, 'MAX_STEPS', 1000)
    with pytest.raises(PlainPickleError, match='more than 1000 steps'):
        read(b'\x80\x02' + b'N' * 2000 + b'.')


def test_messages_about_swelling_values_stay_short() -> None:
    # each list holds the one before twice: written out, the last has 2**60 entries
    text = b'\x80\x02]q\x00K\x01a'
    for _ in range(60):
        text += b'\x85q\x01h\x01\x86'
    for caller in (b'cnumpy\ndtype\n(', b'cnumpy._core.multiarray\n_reconstruct\n('):
        with pytest.raises(PlainPickleError) as caught:
            read(b'\x80\x02' + caller + text[2:] + b'tR.')
        assert len(str(caught.value)) < 300


SEEDS = [
    pickle.dumps(np.array({'S1': {'a': np.arange(6.0).reshape(2, 3)}}, object), protocol=protocol)
    for protocol in (2, 4, 5)
]
CODES = sorted(opcode.code.encode('latin-1') for opcode in pickletools.opcodes)


def refused_or_plain(text: bytes) -> None:
    """Whatever the bytes, nothing is raised but the one error and nothing comes but plain data."""
    said = ''
    try:
        found = read(text)
    except PlainPickleError as error:
        said = str(error)
    else:
        pickle.dumps(found)  # which walks through all of it
        repr(found)
    assert len(said) < 400


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 3))),
)
def test_damaged_pickles_are_read_or_refused(seed: bytes, changes: list) -> None:
    text = bytearray(seed)
    for where, put, length in changes:
        at = where % (len(text) + 1)
        text[at : at + length] = put
    refused_or_plain(bytes(text))


PIECES = st.one_of(
    st.sampled_from(CODES),
    st.sampled_from(list(plain_pickle._STEPS)),
    st.sampled_from(
        [
            RECONSTRUCT, dtype(b'O8'), dtype(b'f8'), dtype(b'i1'), b'cnumpy\ndtype\n',
            b'K\x01\x85',
            b'cnumpy._core.multiarray\nscalar\n', b'cnumpy._core.numeric\n_frombuffer\n',
            b'c_codecs\nencode\n', b'C\x08' + bytes(8), b'U\x01<', b'q\x01', b'h\x01', b'K\x01',
        ]
    ),
    st.binary(max_size=3),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=40))
@example([b']', b'q\x01', b'h\x01', b'a'])
def test_programs_of_any_opcodes_are_read_or_refused(pieces: list[bytes]) -> None:
    refused_or_plain(b'\x80\x04' + b''.join(pieces) + b'.')


def archive_of(path: Path, text: bytes) -> Path:
    np.savez(path, positions_3d=np.array({}, dtype=object))
    with zipfile.ZipFile(path) as archive:
        raw = archive.read('positions_3d.npy')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('positions_3d.npy', raw[: raw.index(b'\n') + 1] + text)
    return path


def test_an_archive_that_makes_numpy_follow_a_chosen_address_is_refused(tmp_path: Path) -> None:
    text = array_of(dtype(b'O8'), CHOSEN_ADDRESS)
    with pytest.raises(RecordingError, match='positions_3d: refused'):
        read_object_archive(archive_of(tmp_path / 'evil.npz', text))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=4))))
def test_damaged_archives_are_read_or_refused(tmp_path_factory: Any, changes: list) -> None:
    path = tmp_path_factory.mktemp('a') / 'a.npz'
    raw = bytearray(archive_of(path, SEEDS[1]).read_bytes())
    for where, put in changes:
        at = where % len(raw)
        raw[at : at + len(put)] = put
    path.write_bytes(raw)
    with contextlib.suppress(RecordingError):
        assert isinstance(read_object_archive(path), dict)


def test_a_header_that_announces_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    path = archive_of(tmp_path / 'a.npz', b'\x80\x04\x8e' + struct.pack('<Q', 2**40) + b'abc.')
    with pytest.raises(RecordingError, match=r'refused \(truncated'):
        read_object_archive(path)
