# SPDX-License-Identifier: Apache-2.0
"""One person is forgotten: of them nothing is left, of everybody else all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import time

import numpy as np
from place_people import asked, BEGIN_NS, play, swinging, weights_of, WINDOW, window_at
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import StorageError
from motion_predictor.model.candidates import MEMORIES
from motion_predictor.predict.place.candidates import stance
from motion_predictor.predict.place.known_people import KnownPeople, UnknownPersonError
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.memory_file import read_memory
from motion_predictor.predict.place.place import Place
from motion_predictor.ros.memory.remembering import Remembering

ONE, TWO = swinging(16.0, 1), swinging(16.0, 2, 1.3)


def show(memory: PlaceMemory, people: dict[int, np.ndarray], frames: Sequence[int]) -> None:
    for frame in frames:
        windows = [window_at(poses, frame) for poses in people.values()]
        memory.remember(list(people), windows, np.zeros(len(people)))


def held(memory: PlaceMemory) -> dict[str, np.ndarray]:
    first, last = memory.span
    found = memory.columns(first, last)
    found['paths'] = np.where(found['paths'] >= 0, found['paths'] - first, -1)
    return found


def recalled(memory: PlaceMemory, poses: np.ndarray, frame: int) -> tuple[np.ndarray, ...]:
    seen = window_at(poses, frame).poses[None]
    now = stance((seen - seen[:, -1:, :1]).astype(np.float32), np.zeros(1), WINDOW.rate_hz)
    found = memory.recall(now)
    return found.futures, found.weights, found.distance_m, found.alike


def test_who_is_forgotten_might_never_have_been_there() -> None:
    both, alone = PlaceMemory(WINDOW, H36M17), PlaceMemory(WINDOW, H36M17)
    frames = asked(ONE)
    early, late = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    show(both, {1: ONE, 2: TWO}, early)
    show(alone, {2: TWO}, early)
    forgotten = both.moments - alone.moments
    assert forgotten > 20
    assert both.forget_tracks([1]) == forgotten
    assert both.tracks == {2}
    for _ in range(2):  # at once, and after the other person went on
        assert both.moments == alone.moments
        for name, values in held(both).items():
            np.testing.assert_array_equal(values, held(alone)[name], err_msg=name)
        for found, wanted in zip(recalled(both, TWO, 300), recalled(alone, TWO, 300)):
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        show(both, {2: TWO}, late)
        show(alone, {2: TWO}, late)
    assert both.forget_tracks([1]) == 0


def test_no_pose_of_theirs_is_left_in_the_nodes_memory() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, {1: ONE, 2: TWO + [50.0, 0.0, 0.0]}, asked(ONE))
    memory.forget_tracks([2])
    shown = memory.slots.poses + 0.0
    assert len(shown) > memory.span[1]
    assert (shown[memory.span[1] :] == 0.0).all()
    assert set(memory.slots.tracks[: memory.span[1]].tolist()) == {1}
    memory.forget_tracks([1])
    assert memory.span == (0, 0)
    assert memory.moments == 0
    assert not any(getattr(memory.slots, name).any() for name in ('poses', 'velocities', 'keys'))


def test_a_full_memory_forgets_somebody_too(tmp_path: Path) -> None:
    place = Place(WINDOW, H36M17, weights_of(), memory_mb=0.35)
    memory = place.memory
    assert memory is not None
    people = {1: swinging(40.0, 1), 2: swinging(40.0, 2, 1.3), 3: swinging(40.0, 3, 0.8)}
    show(memory, people, asked(people[1]))
    assert memory.span[0] > 0, 'the oldest gave way'
    before = memory.moments
    assert 0 < place.forget_tracks([2]) < before
    assert place.remembered_tracks() == {1, 3}
    keeps = Remembering(place, tmp_path / 'place.memory')
    keeps.save()
    again = Place(WINDOW, H36M17, weights_of(), memory_mb=0.35)
    read_memory(tmp_path / 'place.memory', again)  # it checks every path
    assert again.memory is not None
    assert again.memory.moments == memory.moments > 0
    more = {1: swinging(60.0, 1), 3: swinging(60.0, 3, 0.8)}
    show(memory, more, range(2004, 3000, 24))
    assert memory.span[0] > 0, 'it fills up again'
    memory.forget_tracks([1])
    assert set(held(memory)['tracks'].tolist()) == {3}
    assert np.isfinite(recalled(memory, people[3], 900)[0]).all()


def test_of_somebody_who_is_still_here_only_what_comes_is_learnt() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, {1: ONE}, range(24, 300, 6))
    memory.forget_tracks([1])
    show(memory, {1: ONE}, range(300, 700, 6))
    stamps = held(memory)['stamps']
    assert len(stamps) > 20
    assert stamps.min() > BEGIN_NS + 294 * 20_000_000
    assert set(np.diff(stamps).tolist()) == {100_000_000}


def test_evidence_of_a_forgotten_person_goes_and_that_of_others_stays() -> None:
    place = Place(WINDOW, H36M17, weights_of())
    play(place, [ONE, TWO])
    own = [not memory.of_place for memory in MEMORIES]
    one, two = place.evidence.of([1, 2])
    assert np.abs(one[:, own]).max() > 0.01
    assert place.following is not None
    scale = place.following.scales([1, 2])
    place.forget_tracks([1])
    after = place.evidence.of([1, 2])
    assert not after[0][:, own].any()
    np.testing.assert_array_equal(after[1], two)
    np.testing.assert_array_equal(place.following.scales([2]), scale[:, 1:])
    np.testing.assert_allclose(place.following.scales([1])[:, 0], place.following.place_scales)
    assert place.words(1) == ''
    assert place.words(2)
    play(place, [ONE, TWO], begin_ns=BEGIN_NS + 16 * 10**9)  # and it goes on


def remembering(path: Path) -> Remembering:
    place = Place(WINDOW, H36M17, weights_of())
    play(place, [ONE, TWO])
    keeps = Remembering(place, path)
    keeps.known.note({'ann': 1, 'bob': 2}, {'ann': 0, 'bob': 7})
    return keeps


def test_the_file_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / 'place.memory'
    keeps = remembering(path)
    assert keeps.place.memory is not None
    all_moments = keeps.place.memory.moments
    assert not path.exists()
    keeps.save()
    said = keeps.forget_person('7')
    left = keeps.place.memory.moments
    assert f"'7' is forgotten: {all_moments - left} moments; {left} moments written" in said
    again = Place(WINDOW, H36M17, weights_of())
    read_memory(path, again)
    assert again.memory is not None
    assert again.memory.moments == left
    stored = held(again.memory)['poses']
    np.testing.assert_array_equal(stored, held(keeps.place.memory)['poses'])
    told = keeps.values({})
    assert told['memory forgotten (people)'] == '1'
    assert told['memory forgotten (moments)'] == str(all_moments - left)
    assert keeps.complaints == []


def test_whoever_forgets_everybody_forgets_their_names(tmp_path: Path) -> None:
    keeps = remembering(tmp_path / 'place.memory')
    keeps.forget()
    with pytest.raises(UnknownPersonError, match='predicted were: nobody'):
        keeps.forget_person('ann')


def test_without_a_file_none_is_written(tmp_path: Path) -> None:
    keeps = remembering(tmp_path / 'place.memory')
    assert keeps.forget_person('ann').endswith('moments')
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_complained_of_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / 'place.memory'
    keeps = remembering(path)
    keeps.save()
    folder, kept = tmp_path / 'place.memory.aside', path.read_bytes()
    path.unlink()
    path.mkdir()  # nothing can be renamed onto it
    (path / 'in the way').write_bytes(b'')
    with pytest.raises(StorageError, match='still holds them'):
        keeps.forget_person('ann')
    assert 'but not in memory.file' in keeps.complaints[0]
    assert keeps.place.remembered_tracks() == {2}
    path.rename(folder)
    path.write_bytes(kept)
    keeps.save_if_due(10.0)  # at once, not in three minutes
    while keeps._background.busy:
        time.sleep(0.01)
    assert keeps.complaints == []
    again = Place(WINDOW, H36M17, weights_of())
    read_memory(path, again)
    assert again.memory is not None
    assert keeps.place.memory is not None
    assert again.memory.moments == keeps.place.memory.moments


def test_somebody_is_found_by_every_name_and_number_they_had() -> None:
    known = KnownPeople(set)
    known.note({'ann': 1, '3': 2}, {'ann': 0, '3': 3})
    known.note({'ann': 1, '5': 2}, {'ann': 0, '5': 3})  # the tracker calls the same body 5 now
    known.note({'3': 4}, {'3': 5})  # and gives its 3 to somebody new
    assert known.find('5') == {2}, 'a name is meant rather than a number'
    assert known.find('3') == {2, 4}, 'both had the id'
    assert known.find('ann') == known.find(' ann ') == known.find('0') == {1}
    known.drop({1})
    with pytest.raises(UnknownPersonError, match=r"'ann': nobody .* \(predicted were: 3, 5\)"):
        known.find('ann')
    known.note({'ann': 1}, {'ann': 0})  # still here
    assert known.find('ann') == {1}


def test_names_of_whom_nothing_is_remembered_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('motion_predictor.predict.place.known_people.MOST_TRACKS', 100)
    known = KnownPeople(lambda: {3, 50})
    for track in range(1000):
        known.note({f'p{track}': track}, {f'p{track}': track})
    assert len(known._words) <= 101
    assert known.find('p50') == {50}
    assert known.find('p999') == {999}
    with pytest.raises(UnknownPersonError, match='predicted were: p3, p50, p9'):
        known.find('p4')
