# SPDX-License-Identifier: Apache-2.0
"""People who change from one kind of motion to another, for judging what follows them."""

import itertools

import numpy as np
import pytest
from random_models import walking

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from training.data.clips import Clip
from training.judge.stream.regimes import LONGEST_S, regime_takes, SEAM_S, SHORTEST_S


def clips() -> list[Clip]:
    walks = [walking(600, seed, 25.0).astype(np.float32) for seed in (0, 1)]
    standing = np.repeat(walking(1)[:1], 900, axis=0).astype(np.float32)
    return [
        Clip('a_1', 'a', 'walk', walks[0], 25.0),
        Clip('a_2', 'a', 'idle', standing, 25.0),
        Clip('b_1', 'b', 'walk', walks[1], 25.0),
        Clip('b_2', 'b', 'walk', walks[1][:60], 25.0),  # shorter than a piece
    ]


def test_pieces_last_5_to_20_s_and_the_kind_changes_while_there_is_another() -> None:
    takes = regime_takes(clips(), H36M17)
    assert [take.subject for take in takes] == ['a', 'b']
    for take in takes:
        ends = [*take.begins_s[1:], take.duration_s + 0.02]
        lengths = np.array(ends) - np.array(take.begins_s)
        assert lengths.min() >= SHORTEST_S - 0.03
        assert lengths.max() <= LONGEST_S + 0.03
    first = takes[0].actions
    assert {'walk', 'idle'} == set(first)
    fewest = min(first.count('walk'), first.count('idle'))
    changes = sum(a != b for a, b in itertools.pairwise(first))
    assert changes >= 2 * fewest - 1


def test_nobody_leaps_where_one_piece_passes_into_the_next() -> None:
    for take in regime_takes(clips(), H36M17):
        speed = np.linalg.norm(np.diff(take.positions, axis=0), axis=-1).max(axis=1) * 50.0
        assert speed.max() < 6.0
        for begin, end in take.seams_s:
            assert end - begin == pytest.approx(SEAM_S + 0.02)
            assert take.touches_seam(begin - 1.0, begin + 0.01)
            assert not take.touches_seam(end, end + 2.0)
        for child, parent in H36M17.bones[:6]:  # outside of the seams bodies are as recorded
            lengths = np.linalg.norm(take.positions[:, child] - take.positions[:, parent], axis=-1)
            at_s = np.arange(len(lengths)) / 50.0
            outside = ~np.any([(at_s >= a) & (at_s <= b) for a, b in take.seams_s], axis=0)
            assert np.ptp(lengths[outside]) < 0.02


def test_the_same_seed_makes_the_same_people() -> None:
    one, two = regime_takes(clips(), H36M17, seed=3), regime_takes(clips(), H36M17, seed=3)
    other = regime_takes(clips(), H36M17, seed=4)
    np.testing.assert_array_equal(one[0].positions, two[0].positions)
    assert one[0].begins_s != other[0].begins_s


def test_a_long_day_is_several_takes_of_one_person() -> None:
    takes = regime_takes(clips(), H36M17, lasts_s=20.0)
    assert [take.subject for take in takes].count('a') > 1
    assert [take.clip for take in takes] == list(range(len(takes)))


def test_clips_too_short_for_a_piece_are_refused() -> None:
    with pytest.raises(ConfigError, match='no clip lasts 5 s'):
        regime_takes([clips()[3]], H36M17)
