# SPDX-License-Identifier: Apache-2.0
"""What people did in a place, found again: causal, bounded, and of what was really seen."""

from dataclasses import replace

import numpy as np
from place_people import ARM, asked, BEGIN_NS, swinging, WINDOW, window_at
import pytest
from remembered import (
    after,
    filled_memory,
    FUTURE,
    HOUR_NS,
    mean_of,
    now_of,
    off,
    recalled,
    show,
    WORK,
)

from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.place.memory.nearest import apart
from motion_predictor.predict.place.memory.pending import STEP_S
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.memory.recall import APART_S, Like, occasions


def test_what_was_done_before_is_found_again_with_what_followed_it() -> None:
    memory = filled_memory()
    found = recalled(memory, WORK, 300)
    assert found.known.tolist() == [True]
    assert found.distance_m[0] < 0.03
    assert found.weights.sum(axis=1) == pytest.approx(1.0)
    still = np.linalg.norm(after(WORK, 300) - after(WORK, 300)[:1], axis=-1).mean()
    assert off(memory, WORK, 300) < 0.35 * still


def test_nothing_is_found_before_its_future_is_over() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    for frame in range(24, 24 + FUTURE + 6, 6):  # the first pose remembered is of frame 0
        over = frame * WINDOW.period_s >= WINDOW.horizon_s + 1e-9
        memory.remember([1], [window_at(WORK, frame)], np.zeros(1))
        assert memory.moments == 0 if frame < FUTURE else memory.moments > 0 or not over
        if not memory.moments:
            found = recalled(memory, WORK, frame)
            assert not found.known.any()
            assert found.weights.sum() == 0.0
            assert np.isfinite(found.futures).all()


def test_what_is_remembered_depends_on_the_past_alone() -> None:
    other = WORK.copy()
    other[400:] += 0.5
    first, second = (PlaceMemory(WINDOW, H36M17) for _ in range(2))
    show(first, WORK[:400])
    show(second, other[:400])
    a, b = recalled(first, WORK, 350), recalled(second, WORK, 350)
    assert (a.futures == b.futures).all()
    newest = max(int(stamp) for stamp in first.slots.stamps[np.isfinite(first.slots.norms)])
    assert newest + round(WINDOW.horizon_s * 1e9) <= BEGIN_NS + 20_000_000 * 399


@pytest.mark.parametrize('degrees', [0.0, 75.0])
@pytest.mark.parametrize('offset', [[0.0, 0.0, 0.0], [12.0, -7.0, 0.0]])
def test_turning_and_moving_people_turns_and_moves_what_is_found(
    degrees: float, offset: list[float]
) -> None:
    radians = np.radians(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    there = WORK @ rotation.T + offset
    memory, turned = filled_memory(), PlaceMemory(WINDOW, H36M17)
    show(turned, there)
    for past in (memory, turned):  # where the past was and which way it faced does not matter
        found = mean_of(recalled(past, there, 300))
        assert found == pytest.approx(mean_of(recalled(memory, WORK, 300)) @ rotation.T, abs=2e-4)


def test_somebody_who_does_the_mirrored_thing_is_told_the_mirrored_future() -> None:
    mirror = np.array([1.0, -1.0, 1.0])
    other = WORK[:, list(H36M17.mirror)] * mirror
    memory = filled_memory()
    found, there = recalled(memory, WORK, 300), recalled(memory, other, 300)
    assert there.distance_m == pytest.approx(found.distance_m, abs=1e-3)
    assert mean_of(there) == pytest.approx(
        mean_of(found)[:, list(H36M17.mirror)] * mirror, abs=1e-3
    )


def test_at_map_coordinates_it_is_as_near_as_at_the_origin() -> None:
    memory, far = filled_memory(), PlaceMemory(WINDOW, H36M17)
    there = WORK + [692_000.0, 5_334_000.0, 520.0]
    show(far, there)
    assert mean_of(recalled(far, there, 300)) == pytest.approx(
        mean_of(recalled(memory, WORK, 300)), abs=1e-4
    )


def test_a_frame_that_changes_to_map_coordinates_costs_no_millimetre() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, swinging(4.0, 7), track=1)
    there = WORK + [692_000.0, 5_334_000.0, 520.0]
    show(memory, there, track=2, begin_ns=BEGIN_NS + HOUR_NS)
    assert off(memory, WORK, 300) == pytest.approx(off(filled_memory(), WORK, 300), abs=2e-3)


def test_a_joint_that_was_made_up_is_not_learnt_from() -> None:
    filled = np.zeros(WORK.shape[:2], bool)
    filled[:, 16] = True
    wild = WORK.copy()
    wild[:, 16] += 5.0 * np.random.default_rng(0).standard_normal((len(WORK), 3))
    memory, other = PlaceMemory(WINDOW, H36M17), PlaceMemory(WINDOW, H36M17)
    tame = WORK.copy()
    tame[:, 16] = WORK[:, 16]
    show(memory, wild, filled=filled)
    show(other, tame, filled=filled)
    futures = recalled(memory, WORK, 300).futures[0]
    apart = np.linalg.norm(futures[:, :, 16] - WORK[300, 16] + WORK[300, 0], axis=-1)
    assert apart.max() < 1.0  # it goes with the body, not where it was made up


def test_a_pose_of_which_much_was_made_up_breaks_the_moments_around_it() -> None:
    filled = np.zeros(WORK.shape[:2], bool)
    filled[380:440, :6] = True
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, WORK, filled=filled)
    moments = memory.slots.stamps[np.isfinite(memory.slots.norms)]
    frames = (moments - BEGIN_NS) // 20_000_000
    assert memory.moments == len(moments) > 50
    assert not ((frames + FUTURE > 382) & (frames < 438)).any()


def test_a_gap_breaks_moments() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, WORK[:200])
    before = memory.moments
    show(memory, WORK, begin_ns=BEGIN_NS + HOUR_NS)
    first = BEGIN_NS + HOUR_NS
    for at in np.flatnonzero(np.isfinite(memory.slots.norms)):
        stamps = memory.slots.stamps[memory.slots.paths[at]]
        assert np.diff(stamps) == pytest.approx(round(STEP_S * 1e9))
        assert (stamps < first).all() or (stamps >= first).all()
    assert memory.moments > before


def test_what_was_padded_is_not_learnt_from() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    walk = WORK.copy()
    walk += np.arange(len(walk))[:, None, None] * [0.02, 0.0, 0.0]  # a metre a second
    memory.remember([1], [window_at(walk, 24, padded=12)], np.zeros(1))
    pending = memory._pending[1]
    assert min(pending.stamps) == BEGIN_NS + 12 * 20_000_000
    speeds = np.linalg.norm(np.stack(pending.velocities)[:, 0], axis=-1)
    assert speeds == pytest.approx(1.0, abs=0.02)  # those of the first frames too


def test_forgetting_leaves_nothing() -> None:
    memory = filled_memory()
    memory.forget()
    assert memory.moments == 0
    assert memory.megabytes == 0.0
    assert not recalled(memory, WORK, 300).known.any()
    assert not memory._pending
    assert not len(memory.slots.poses)
    show(memory, WORK)
    assert off(memory, WORK, 300) < 0.05


def test_several_people_are_found_at_once_as_one_by_one() -> None:
    memory = filled_memory()
    windows = [window_at(WORK, frame) for frame in (200, 300, 400)]
    together = memory.recall(now_of(windows))
    for person, window in enumerate(windows):
        alone = memory.recall(now_of([window]))
        assert together.distance_m[person] == pytest.approx(alone.distance_m[0], abs=1e-3)
        assert mean_of(together, person) == pytest.approx(mean_of(alone), abs=1e-3)


def test_two_who_are_there_at_once_are_two_pasts() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    other = swinging(16.0, 2)
    for frame in asked(WORK):
        windows = [window_at(WORK, frame), window_at(other, frame)]
        memory.remember([1, 2], windows, np.zeros(2))
    assert off(memory, WORK, 300) < 0.05
    assert off(memory, other, 300) < 0.05


def test_the_moments_found_are_apart_in_time() -> None:
    memory = filled_memory()
    slots, far = memory._search(
        memory.keys(memory.own(*_pose_and_velocity(WORK, 300))[0]), np.ones((1, 17), dtype=bool)
    )
    assert (np.diff(far[0]) >= 0.0).all()
    limit_ns = round(APART_S * 1e9)
    chosen = apart(memory.slots.stamps[slots[0]], memory.slots.tracks[slots[0]], limit_ns, 10)
    stamps = np.sort(memory.slots.stamps[slots[0][chosen]])
    assert len(chosen) >= 3
    assert np.diff(stamps).min() >= limit_ns


def _pose_and_velocity(poses: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
    now = now_of([window_at(poses, frame)])
    return now.pose, now.velocity


def test_a_projection_finds_what_all_numbers_find() -> None:
    keys = swinging(20.0, 3).reshape(1000, -1)
    rank = np.linalg.svd(keys - keys.mean(axis=0), full_matrices=False)[2][:20]
    both = np.zeros((102, 40), np.float32)
    both[:51, :20], both[51:, 20:] = rank.T, rank.T
    memory = PlaceMemory(WINDOW, H36M17, both)
    show(memory, WORK)
    assert off(memory, WORK, 300) < 0.08


def test_a_body_without_sides_or_hips_is_remembered_too() -> None:
    arm = WORK[:, [0, 11, 13]] - WORK[:, :1]
    memory = PlaceMemory(WINDOW, ARM)
    show(memory, arm)
    assert off(memory, arm, 300) < 0.05


def test_time_that_begins_anew_is_learnt_from_as_well() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, swinging(6.0, 4), 1, BEGIN_NS + HOUR_NS)
    show(memory, WORK, 1, BEGIN_NS)
    assert off(memory, WORK, 300) < 0.05


def test_joints_in_the_same_place_and_nothing_finite_are_no_reason_to_fail() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    flat = np.zeros((300, 17, 3))
    show(memory, flat)
    found = recalled(memory, flat, 200)
    assert np.isfinite(found.futures).all()
    assert memory.moments > 0


def test_how_often_the_like_was_seen_counts_occasions_and_not_moments() -> None:
    second = 10**9
    close = [k * second // 10 for k in range(30)]  # three seconds of it
    again = [60 * second + stamp for stamp in close]
    for stamps, tracks, seen in (
        ([], [], 0),
        (close, [1] * 30, 1),
        (close[::-1] + again, [1] * 60, 2),
        (close + close, [1] * 30 + [2] * 30, 2),
        ([0, second, 2 * second], [5, 5, 5], 3),
        ([0, second - 1], [5, 5], 1),
    ):
        like = Like(np.array(stamps, np.int64), np.array(tracks, np.int64))
        assert occasions(like) == seen, (stamps, tracks)
    memory = PlaceMemory(WINDOW, H36M17)
    turns = 4
    for turn in range(turns):
        show(memory, WORK[:300], turn, BEGIN_NS + turn * HOUR_NS)
    found = recalled(memory, WORK, 150)
    assert occasions(found.like[0]) == turns
    slow = PlaceMemory(WINDOW, H36M17)
    show(slow, swinging(8.0, 1, pace=0.05))
    (like,) = recalled(slow, swinging(8.0, 1, pace=0.05), 150).like
    assert len(like.stamps) > 3  # moments a tenth of a second apart
    assert occasions(like) == 1


def test_many_moments_at_once_are_judged_as_one_after_the_other() -> None:
    # eight people do the same at once: whether a moment is known depends on those just stored
    together, alone = (PlaceMemory(WINDOW, H36M17) for _ in range(2))
    tracks = list(range(8))
    for frame in asked(WORK[:300]):
        window = window_at(WORK, frame)
        together.remember(tracks, [window] * 8, np.zeros(8))
        for track in tracks:
            alone.remember([track], [window], np.zeros(1))
    assert together.moments == alone.moments
    assert together.slots.head == alone.slots.head
    held = np.isfinite(together.slots.norms[: together.slots.head])
    assert (held == np.isfinite(alone.slots.norms[: alone.slots.head])).all()
    assert np.bincount(together.slots.tracks[: together.slots.head][held]).max() < 70
    assert together.moments <= 6 * 60  # five of each moment, not eight


def test_the_same_past_gives_the_same_to_the_bit() -> None:
    first, second = filled_memory(), filled_memory()
    a, b = (recalled(memory, WORK, 333) for memory in (first, second))
    assert (a.futures == b.futures).all()
    assert (a.weights == b.weights).all()


def test_somebody_faster_than_then_goes_on_faster_for_a_moment() -> None:
    memory = filled_memory()
    now = now_of([window_at(WORK, 300)])
    same = memory.recall(now)
    pushed = replace(now, velocity=now.velocity + np.float32([0.3, 0.0, 0.0]))
    faster = memory.recall(pushed)
    way = (mean_of(faster) - mean_of(same))[:, 0, 0]
    assert way[4] > 0.01
    assert abs(way[-1] - way[24]) < 0.05
