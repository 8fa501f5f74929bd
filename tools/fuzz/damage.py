# SPDX-License-Identifier: Apache-2.0
"""Damage a file at random, in its bytes and in its content."""

from __future__ import annotations

import io
import json
import re
from typing import Any
import warnings
import zipfile

import numpy as np
import yaml

WORDS = (
    'NaN', '.nan', '1e400', '-1', '0', '99999999999999999999', 'x' * 5000, '[]', '{}', '""', '!!x',
    '&a', '*a', '\x00', 'ä', '- ' * 300, '[' * 300, 'true', '1:59:59', '2024-99-99',
)  # fmt: skip
"""Replacements for words of a text."""
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, float('nan'), float('inf'), 1e300, '', 'x' * 5000, [], {},
    [[[]]], ['a', 'a'], {'a': {'a': {}}},
)  # fmt: skip
"""Replacements for values of a tree."""


def damaged_bytes(good: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with some of them changed, removed, inserted or cut off."""
    raw = bytearray(good)
    for _ in range(int(rng.choice([1, 1, 3, 20]))):
        at, kind = int(rng.integers(0, max(1, len(raw)))), int(rng.integers(0, 6))
        if kind == 0:
            raw[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            del raw[at : at + int(rng.integers(1, 64))]
        elif kind == 2:
            raw[at:at] = rng.bytes(int(rng.integers(1, 64)))
        elif kind == 3:
            raw[at : at + 64] = bytes(len(raw[at : at + 64]))
        elif kind == 4:
            raw[at : at + 8] = b'\xff' * len(raw[at : at + 8])
        elif rng.random() < 0.3:
            del raw[at:]
    return bytes(raw)


def damaged_words(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a text with some words replaced, or with lines doubled or dropped."""
    lines = good.decode('utf-8', 'replace').split('\n')
    for _ in range(int(rng.choice([1, 1, 3, 10]))):
        at = int(rng.integers(0, len(lines)))
        kind = rng.random()
        if kind < 0.7:
            words = re.split(r'(\s+)', lines[at])
            words[int(rng.integers(0, len(words)))] = str(rng.choice(WORDS))
            lines[at] = ''.join(words)
        elif kind < 0.8:
            lines.insert(at, lines[int(rng.integers(0, len(lines)))])
        elif kind < 0.9:
            lines[at] = ' ' * int(rng.integers(0, 9)) + lines[at].strip()
        elif len(lines) > 1:
            del lines[at]
    return '\n'.join(lines).encode('utf-8', 'replace')


def damaged_tree(value: Any, rng: np.random.Generator) -> Any:
    """Return the content of a JSON or YAML file with one value replaced."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return VALUES[int(rng.integers(0, len(VALUES)))]
    if isinstance(value, list):
        at = int(rng.integers(0, len(value)))
        return [*value[:at], damaged_tree(value[at], rng), *value[at + 1 :]]
    key = list(value)[int(rng.integers(0, len(value)))]
    rest = {name: each for name, each in value.items() if name != key}
    if rng.random() < 0.1:
        return rest
    return {**rest, key if rng.random() < 0.9 else 'x' * 300: damaged_tree(value[key], rng)}


def damaged_json(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a JSON file with damaged content."""
    return json.dumps(damaged_tree(json.loads(good), rng)).encode()


def damaged_yaml(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a YAML file with damaged content."""
    return yaml.safe_dump(damaged_tree(yaml.safe_load(good), rng), allow_unicode=True).encode()


def damaged_arrays(good: bytes, rng: np.random.Generator) -> bytes:
    """Return an npz with the type, the shape or the content of one array changed."""
    with np.load(io.BytesIO(good)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = list(arrays)[int(rng.integers(0, len(arrays)))]
    array, kind = arrays[name], int(rng.integers(0, 7))
    if kind == 0 and array.dtype.kind in 'iuf':
        arrays[name] = array.astype(str(rng.choice(['f2', 'f8', 'i1', 'c16', 'U4', '?'])))
    elif kind == 1:
        arrays[name] = array[..., None] if rng.random() < 0.5 else array.reshape(-1)
    elif kind == 2:
        arrays[name] = array[:0] if array.ndim else np.array([array])
    elif kind == 3 and array.dtype.kind in 'if':
        changed = array.astype(np.float64).reshape(-1)
        where = rng.integers(0, max(1, changed.size), 3) % max(1, changed.size)
        changed[where] = rng.choice([np.nan, np.inf, 1e300, -1e38, 1e-320], 3)
        arrays[name] = changed.reshape(array.shape)
    elif kind == 4:
        del arrays[name]
    elif kind == 5:
        arrays[str(rng.choice(['x' * 300, 'a/b', name]))] = array[::-1] if array.ndim else array
    else:
        arrays[name] = np.array(VALUES[int(rng.integers(0, 5))])
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    return target.getvalue()


def damaged_entry(good: bytes, rng: np.random.Generator) -> bytes:
    """Return an archive with one damaged entry; the checksums fit the damaged entry."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = list(entries)[int(rng.integers(0, len(entries)))]
    entries[name] = damaged_bytes(entries[name], rng)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        for each, content in entries.items():
            archive.writestr(each, content)
    return target.getvalue()


def damaged_header(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a weights file with a damaged header; the length in front of it is correct."""
    size = int.from_bytes(good[:8], 'little')
    said = json.loads(good[8 : 8 + size])
    raw = json.dumps(damaged_tree(said, rng)).encode()
    return len(raw).to_bytes(8, 'little') + raw + good[8 + size :]


def damaged_body(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a weights file with changed numbers, sometimes without its digest."""
    size = int.from_bytes(good[:8], 'little')
    said, body = json.loads(good[8 : 8 + size]), bytearray(good[8 + size :])
    for _ in range(int(rng.choice([1, 1, 8, 200]))):
        at = int(rng.integers(0, len(body)))
        body[at] = int(rng.integers(0, 256)) if rng.random() < 0.5 else body[at] ^ 0x40
    if rng.random() < 0.3:
        said.get('__metadata__', {}).pop('digest', None)
    raw = json.dumps(said).encode()
    return len(raw).to_bytes(8, 'little') + raw + bytes(body)
