# SPDX-License-Identifier: Apache-2.0
"""How much the memory of a place learns at any rate, and what it keeps of that."""

import numpy as np
from place_people import BEGIN_NS, swinging, WINDOW
import pytest
from remembered import filled_memory, FUTURE, HOUR_NS, off, show, WORK

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.predict.place.memory.pending import STEP_S
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.track.window import ObservedWindow


@pytest.mark.parametrize('source_hz', [10.0, 25.0, 30.0, 200.0])
@pytest.mark.parametrize('asked_hz', [2.0, 10.0])
def test_it_learns_as_much_whatever_the_rates_of_input_and_questions(
    source_hz: float, asked_hz: float
) -> None:
    fine = swinging(12.0, 1)
    memory = PlaceMemory(WINDOW, H36M17)
    due_s, time_s = 0.5, 0.5
    while time_s < 11.9:
        time_s += 1.0 / source_hz
        if time_s + 1e-9 < due_s:
            continue
        due_s += 1.0 / asked_hz
        at = time_s * 50.0 - np.arange(24, -1, -1)
        before = np.clip(at.astype(int), 0, len(fine) - 2)
        share = np.clip(at - before, 0.0, 1.0)[:, None, None]
        poses = fine[before] + share * (fine[before + 1] - fine[before])
        window = ObservedWindow(
            BEGIN_NS + round(time_s * 1e9), poses, np.zeros(poses.shape[:2], bool), 0, 0.02
        )
        memory.remember([1], [window], np.zeros(1))
    assert memory.moments >= 85  # of some 97 poses that have a future
    assert off(memory, fine, 300) < 0.05


def test_a_person_idle_for_long_fills_little_and_what_was_learnt_before_stays() -> None:
    memory = filled_memory()
    before = memory.slots.head
    idle = np.repeat(WORK[-1:], 50 * 60, axis=0)
    idle = idle + 0.002 * np.sin(np.arange(len(idle)) / 40.0)[:, None, None]
    show(memory, idle, 2, BEGIN_NS + HOUR_NS)
    assert memory.slots.head - before < 120  # of 600 poses
    assert off(memory, WORK, 300) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize('noise_m', [0.01, 0.02])
def test_idle_under_noise_fills_little_and_work_under_noise_is_learnt(noise_m: float) -> None:
    generator = np.random.default_rng(0)

    def kept(poses: np.ndarray) -> float:
        # the share of the poses every tenth of a second that has become a moment
        noisy = poses + noise_m * generator.standard_normal(poses.shape)
        memory = PlaceMemory(WINDOW, H36M17)
        show(memory, noisy, jitter=0.75 * noise_m)
        return memory.moments / (len(poses) / 5 - FUTURE / 5)

    idle = np.repeat(WORK[-1:], 50 * 120, axis=0)
    idle = idle + 0.002 * np.sin(np.arange(len(idle)) / 40.0)[:, None, None]
    assert kept(idle) < 0.05
    walk = swinging(20.0, 3) + np.arange(1000)[:, None, None] * [0.02, 0.0, 0.0]
    assert kept(walk) > 0.9


def test_the_same_again_and_again_is_kept_a_few_times_only() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    heads = []
    for turn in range(9):
        show(memory, WORK[:300], turn, BEGIN_NS + turn * HOUR_NS)
        heads.append(memory.slots.head)
    grown = np.diff(heads)
    assert grown[0] > 20
    assert grown[-1] == 0


def test_it_never_takes_more_than_it_was_given_and_the_oldest_gives_way() -> None:
    small = PlaceMemory(WINDOW, H36M17, megabytes=0.4)
    for number in range(12):
        show(small, swinging(14.0, 20 + number), number, BEGIN_NS + number * HOUR_NS)
        assert small.megabytes <= 0.4
        held = sum(
            getattr(small.slots, name).nbytes
            for name in (
                'poses',
                'velocities',
                'headings',
                'seen',
                'keys',
                'norms',
                'paths',
                'stamps',
                'tracks',
            )
        )
        assert held <= 0.4e6
    assert small.slots.head > 3 * small.capacity  # the ring has gone round more than once
    assert small.moments == np.isfinite(small.slots.norms).sum() > 0.5 * small.capacity
    kept = set(small.slots.tracks[np.isfinite(small.slots.norms)].tolist())
    assert 11 in kept
    assert not kept & set(range(6))


def test_what_is_found_is_right_after_the_ring_has_gone_round() -> None:
    small, large = (PlaceMemory(WINDOW, H36M17, megabytes=size) for size in (0.4, 64.0))
    latest = swinging(14.0, 99)
    for number in range(9):
        show(small, swinging(14.0, 20 + number), number, BEGIN_NS + number * HOUR_NS)
    for memory in (small, large):
        show(memory, latest, 50, BEGIN_NS + 50 * HOUR_NS)
    for frame in (200, 300, 400, 500):
        assert off(small, latest, frame) == pytest.approx(off(large, latest, frame), abs=0.03)
    for at in np.flatnonzero(np.isfinite(small.slots.norms)):
        path = small.slots.paths[at] % small.capacity
        assert np.diff(small.slots.stamps[path]) == pytest.approx(round(STEP_S * 1e9))
        assert len({*small.slots.tracks[path].tolist()}) == 1


def test_a_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match='memory'):
        PlaceMemory(WINDOW, H36M17, megabytes=0.01)
