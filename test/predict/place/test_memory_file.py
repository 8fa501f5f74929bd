# SPDX-License-Identifier: Apache-2.0
"""The file that a place's memory is kept in: all of it comes back, and nothing else is read."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import threading

import numpy as np
import pytest
from random_models import random_weighing, walking
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import StorageError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import stance
from motion_predictor.predict.place.memory_file import (
    MemoryFileError,
    read_memory,
    write_memory,
)
from motion_predictor.predict.place.place import Place
from motion_predictor.ros.memory.remembering import Remembering
from motion_predictor.track.window import ObservedWindow

WINDOW = WindowConfig()
WALK = walking(700)


def make_place(megabytes: float = 8.0, seed: int = 0, window: WindowConfig = WINDOW) -> Place:
    return Place(window, H36M17, random_weighing(seed), memory_mb=megabytes)


def window_at(frame: int) -> ObservedWindow:
    poses = WALK[frame - WINDOW.observed_frames : frame].astype(np.float64)
    nothing = np.zeros(poses.shape[:2], dtype=bool)
    return ObservedWindow(10**18 + frame * 20_000_000, poses, nothing, 0, WINDOW.period_s)


def watch(place: Place, frames: range, track: int = 3) -> None:
    assert place.memory is not None
    for frame in frames:
        place.memory.remember([track], [window_at(frame)], np.array([0.0005]))


@pytest.fixture
def place() -> Place:
    made = make_place()
    watch(made, range(25, 700, 10))
    evidence = made.evidence.of_place
    evidence[:] = np.linspace(-1.0, 2.0, evidence.size).reshape(evidence.shape)
    made.evidence.begin_with(evidence)
    assert made.following is not None
    made.following.begin_with(np.array([0.2, 0.7]))
    assert made.memory is not None
    assert made.memory.moments > 50
    return made


def columns(place: Place) -> dict[str, np.ndarray]:
    """All that is remembered, slots counted from zero."""
    assert place.memory is not None
    first, last = place.memory.span
    found = place.memory.columns(first, last)
    found['paths'] = np.where(found['paths'] >= 0, found['paths'] - first, -1)
    del found['tracks']
    return found


def recalled(place: Place) -> tuple[np.ndarray, ...]:
    seen = (WALK[300:325] - WALK[324, 0])[None].astype(np.float32)
    assert place.memory is not None
    found = place.memory.recall(stance(seen, np.array([0.0005]), WINDOW.rate_hz))
    return found.weights, found.distance_m, found.alike


def test_all_that_was_learnt_comes_back(place: Place, tmp_path: Path) -> None:
    path = tmp_path / 'folder' / 'place.memory'
    moments = write_memory(path, place, 'hall')
    again = make_place()
    assert again.memory is not None
    assert place.memory is not None
    assert read_memory(path, again) == f"{path}: {moments} moments of frame 'hall'"
    assert again.memory.moments == place.memory.moments == moments
    for now, then in zip(recalled(again), recalled(place)):
        np.testing.assert_allclose(now, then, atol=1e-5)
    for name, then in columns(place).items():
        np.testing.assert_array_equal(columns(again)[name], then)
    np.testing.assert_array_equal(again.evidence.of_place, place.evidence.of_place)
    assert again.following is not None
    np.testing.assert_allclose(again.following.place_logs, [0.2, 0.7])
    assert path.stat().st_mode & 0o777 == 0o600
    watch(again, range(25, 200, 10), track=0)  # and goes on
    assert again.memory.moments > moments


def test_a_smaller_memory_takes_the_newest(place: Place, tmp_path: Path) -> None:
    path = tmp_path / 'place.memory'
    write_memory(path, place, 'hall')
    assert place.memory is not None
    small = make_place(megabytes=100 * place.memory.slot_bytes / 1e6)
    assert small.memory is not None
    read_memory(path, small)
    assert 0 < small.memory.moments < place.memory.moments
    stamps = small.memory.columns(*small.memory.span)['stamps']
    assert stamps[-1] == place.memory.columns(*place.memory.span)['stamps'][-1]
    assert np.isfinite(recalled(small)[0]).all()


def test_a_ring_that_is_full_is_written_oldest_first(tmp_path: Path) -> None:
    place, again = make_place(megabytes=0.06), make_place()
    for track in (3, 4):
        watch(place, range(25, 700, 10), track)
    assert place.memory is not None
    assert again.memory is not None
    assert place.memory.span[0] > 0
    path = tmp_path / 'place.memory'
    write_memory(path, place, '')
    read_memory(path, again)
    assert again.memory.moments == place.memory.moments > 0
    for name, then in columns(place).items():
        np.testing.assert_array_equal(columns(again)[name], then)


def test_evidence_of_other_weights_is_not_taken_the_memory_is(
    place: Place, tmp_path: Path
) -> None:
    path = tmp_path / 'place.memory'
    write_memory(path, place, '')
    other = make_place(seed=1)
    read_memory(path, other)
    assert other.memory is not None
    assert place.memory is not None
    assert other.memory.moments == place.memory.moments
    assert not other.evidence.of_place.any()
    assert other.following is not None
    assert not other.following.place_logs.any()


def test_a_file_of_another_window_is_refused_by_name(place: Place, tmp_path: Path) -> None:
    path = tmp_path / 'place.memory'
    write_memory(path, place, '')
    with safe_open(str(path), 'np') as file:
        metadata = file.metadata()
    for name, value in (
        ('joints', json.dumps(['Hip'])), ('window', '[25, 50, 50.0]'), ('version', '2'),
        ('format', 'something else'), ('step_s', '0.2'),
    ):  # fmt: skip
        other = tmp_path / f'{name}.memory'
        save_file(load_file(path), other, metadata={**metadata, name: value})
        with pytest.raises(MemoryFileError, match=rf'{name}\.memory: is of {name} ') as refused:
            read_memory(other, make_place())
        assert 'remove it' in str(refused.value)


def resealed(path: Path, change: Callable[[dict[str, np.ndarray]], object], place: Place) -> None:
    """Change what a file holds, with a digest that is right again: as somebody hostile would."""
    from motion_predictor.predict.place.memory_file import _digest, _rows

    arrays = load_file(path)
    with safe_open(str(path), 'np') as file:
        metadata = file.metadata()
    change(arrays)
    hashed = {name: (values.shape, _rows(values)) for name, values in arrays.items()}
    save_file(arrays, path, metadata={**metadata, 'digest': _digest(metadata, hashed)})


@pytest.mark.parametrize(
    'change',
    [
        lambda a: a['poses'].__setitem__((5, 3, 1), np.nan),
        lambda a: a['poses'].__setitem__((5, 3, 1), 1e5),
        lambda a: a['velocities'].__setitem__((5, 3, 1), np.inf),
        lambda a: a['paths'].__setitem__((4, 2), 10**6),
        lambda a: a['paths'].__setitem__((4, 0), 5),
        lambda a: a['paths'].__setitem__((4, 3), -7),
        lambda a: a['stamps'].__setitem__(7, -1),
        lambda a: a['stamps'].__setitem__(7, 2**62 + 1),
        lambda a: a['tracks'].__setitem__(7, 99),
        lambda a: a['evidence'].__setitem__((0, 0, 0), np.nan),
        lambda a: a['scales'].__setitem__(0, 1e9),
        lambda a: a.pop('paths'),
        lambda a: a.update(paths=a['paths'][:, :5].copy()),
        lambda a: a.update(poses=a['poses'][:, :5].copy()),
        lambda a: a.update(stamps=a['stamps'][:-1].copy()),
        lambda a: a.update(extra=np.zeros(3)),
        lambda a: a.update(evidence=np.zeros((1, 1, 1))),
        lambda a: a.update(poses=a['poses'].astype(np.float64)),
    ],
)
def test_a_hostile_file_is_refused_and_changes_nothing(
    place: Place, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], object]
) -> None:
    path = tmp_path / 'place.memory'
    write_memory(path, place, '')
    resealed(path, change, place)
    with pytest.raises(MemoryFileError, match=r'place\.memory: .*remove it'):
        read_memory(path, other := make_place())
    assert other.memory is not None
    assert other.memory.moments == 0
    assert not other.evidence.of_place.any()


def test_damage_anywhere_is_noticed(place: Place, tmp_path: Path) -> None:
    path = tmp_path / 'place.memory'
    write_memory(path, place, '')
    whole = path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], 'little')
    damaged = [whole[:4], whole[:100], whole[:-1], whole + b'x', b'', b'\xff' * 200]
    for at in (0, 9, size + 5, len(whole) // 2, len(whole) - 1):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(MemoryFileError, match=r'place\.memory: '):
            read_memory(path, make_place())
    with pytest.raises(MemoryFileError, match='is a folder'):
        read_memory(tmp_path, make_place())


def test_a_refused_file_is_neither_written_nor_removed_unless_it_is_a_memory(
    place: Place, tmp_path: Path
) -> None:
    foreign, damaged = tmp_path / 'thesis.odt', tmp_path / 'damaged.memory'
    foreign.write_text('years of work')
    write_memory(damaged, place, '')
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for path in (foreign, damaged):
        before = path.read_bytes()
        remembering = Remembering(place, path)
        with pytest.raises(StorageError, match=path.name):
            remembering.read()
        place.evidence.forget()
        remembering.save_at_end()
        with pytest.raises(StorageError, match='nothing is kept there'):
            remembering.save()
        assert path.read_bytes() == before
    with pytest.raises(StorageError, match='is no memory file, and was left'):
        Remembering(place, foreign).forget()
    assert foreign.read_text() == 'years of work'
    assert remembering.forget().endswith('damaged.memory is removed')
    assert not damaged.exists()
    watch(place, range(25, 300, 10))
    assert 'moments written to' in remembering.save()
    assert 'nothing new' in remembering.save()


def test_what_is_forgotten_while_it_is_copied_is_not_written(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.memory is not None
    columns, path = place.memory.columns, tmp_path / 'place.memory'
    lock, forgetting = threading.Lock(), threading.Thread(target=place.forget)

    class LetsForgettingGoFirst:
        """The place's lock, which whoever forgets is given between two pieces."""

        def __enter__(self) -> None:
            if forgetting.ident and threading.current_thread() is not forgetting:
                forgetting.join()
            lock.acquire()

        def __exit__(self, *raised: object) -> None:
            lock.release()

    def copied(first: int, last: int) -> dict[str, np.ndarray]:
        if not forgetting.ident:
            forgetting.start()
        return columns(first, last)

    monkeypatch.setattr(place, '_lock', LetsForgettingGoFirst())
    monkeypatch.setattr(place.memory, 'columns', copied)
    monkeypatch.setattr('motion_predictor.predict.place.place._PIECE', 10)
    assert write_memory(path, place, '') is None
    assert not path.exists()
    assert not place.memory.moments
