# SPDX-License-Identifier: Apache-2.0
"""Odd stamps of a recorded topic cost themselves, never the rest."""

from __future__ import annotations

from hypothesis import given, settings, strategies
import numpy as np
import pytest

from motion_predictor.recordings.bag.stamps import in_order

STEP = 33_333_333
RECEIVED = 1_700_000_000 * 10**9 + np.arange(300, dtype=np.int64) * STEP
BOOT = 100 * 10**9 + np.arange(300, dtype=np.int64) * STEP


def kept(stamps: np.ndarray, received: np.ndarray = RECEIVED) -> list[int]:
    return [len(clip) for clip in in_order(received, stamps).clips]


def test_stamps_in_order_are_all_kept() -> None:
    for stamps in (RECEIVED, BOOT, np.zeros(300, np.int64)):
        found = in_order(RECEIVED, stamps)
        assert [clip.tolist() for clip in found.clips] == [list(range(300))]
        assert found.left_out == found.unstamped == 0


@pytest.mark.parametrize('place', [0, 1, 60, 150, 298, 299])
@pytest.mark.parametrize('ahead_s', [3600.0, 5.0, 0.5, -0.5, -5.0, -3600.0])
def test_one_stamp_elsewhere_costs_itself(place: int, ahead_s: float) -> None:
    stamps = RECEIVED.copy()
    stamps[place] += int(ahead_s * 1e9)
    found = in_order(RECEIVED, stamps)
    # At an end, half a second ahead or behind is in order: nobody can tell it from a pause.
    at_end = place in (0, 1, 298, 299) and abs(ahead_s) < 1.0
    assert found.left_out <= (2 if at_end else 1)
    assert found.left_out == 1 or at_end
    assert len(found.clips) == 1


def test_stamps_that_fall_back_begin_a_new_clip() -> None:
    loop = np.concatenate([BOOT[:150], BOOT[:150]])
    assert kept(loop) == [150, 150]
    thrice = np.concatenate([BOOT[:100], BOOT[:100], BOOT[:100]])
    assert kept(thrice) == [100, 100, 100]
    loop[140] += 3600 * 10**9
    assert kept(loop) == [149, 150]


def test_a_clock_that_is_set_ahead_begins_a_new_clip_and_a_pause_does_not() -> None:
    set_ahead = np.concatenate([BOOT[:150], RECEIVED[150:]])
    assert kept(set_ahead) == [150, 150]
    pause = np.concatenate([RECEIVED[:150], RECEIVED[150:] + 60 * 10**9])
    assert kept(pause, pause) == [300]


def test_a_message_without_a_stamp_is_placed_on_the_clock_of_the_others() -> None:
    stamps = BOOT.copy()
    stamps[[0, 1, 100]] = 0
    found = in_order(RECEIVED, stamps)
    assert found.unstamped == 3
    assert found.left_out == 0
    np.testing.assert_array_equal(found.stamps_ns, BOOT)


def test_late_and_repeated_messages_are_left_out() -> None:
    stamps = RECEIVED.copy()
    stamps[50] = stamps[48]
    stamps[80] = stamps[77] + 5
    assert in_order(RECEIVED, stamps).left_out == 2


def test_streams_need_not_be_in_order_among_each_other() -> None:
    streams = np.arange(300) % 2
    stamps = BOOT - streams * 5 * STEP  # every other is late by five
    found = in_order(RECEIVED, stamps, streams)
    assert found.left_out == 0
    (clip,) = found.clips
    assert (np.diff(found.stamps_ns[clip]) >= 0).all()
    assert in_order(RECEIVED, stamps).left_out == 150, 'as one stream they would be late'


@settings(max_examples=60, deadline=None)
@given(strategies.lists(strategies.integers(0, 2**62), max_size=40), strategies.data())
def test_whatever_the_stamps_every_message_is_in_one_clip_or_counted(
    stamps: list[int], data: strategies.DataObject
) -> None:
    count = len(stamps)
    received = data.draw(strategies.lists(strategies.integers(0, 2**62), min_size=count,
                                          max_size=count))  # fmt: skip
    found = in_order(np.array(received, np.int64), np.array(stamps, np.int64))
    used = np.concatenate(found.clips) if found.clips else np.zeros(0)
    assert len(set(used.tolist())) == len(used) == count - found.left_out
    for clip in found.clips:
        assert (np.diff(found.stamps_ns[clip]) > 0).all()


def test_stamps_that_are_all_the_same_say_nothing_and_arrivals_do() -> None:
    found = in_order(RECEIVED, np.full(300, BOOT[0]))
    assert found.all_alike
    assert [clip.tolist() for clip in found.clips] == [list(range(300))]
    assert found.left_out == 0
    np.testing.assert_array_equal(found.stamps_ns, RECEIVED)
    several = in_order(np.repeat(RECEIVED[:1], 4), np.full(4, BOOT[0]), np.arange(4))
    assert not several.all_alike, 'people of one message'
