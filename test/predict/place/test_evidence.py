# SPDX-License-Identifier: Apache-2.0
"""What guesses turned out to be worth: regret, forgetting, and whose it is."""

from collections.abc import Callable
import math

import numpy as np
from place_people import KNOTS, swinging, WINDOW, window_at
import pytest

from motion_predictor.model.candidates import CANDIDATES, DAMPED, MEMORIES, MEMORY, MODEL, STILL
from motion_predictor.predict.place.evidence import EVERY_S, Evidence, relative_losses, WORST
from motion_predictor.track.window import ObservedWindow

C = len(CANDIDATES)
ALL = np.ones(C, bool)
POSES = np.repeat(swinging(0.02), 3000, axis=0)  # stands
FRAMES = round(EVERY_S * WINDOW.rate_hz)


def guesses(window: ObservedWindow, errors: np.ndarray) -> np.ndarray:
    """Means (K, C, J, 3) from the root that will be off by so many metres, (C,)."""
    still = (window.poses[-1] - window.poses[-1, 0])[None, None]
    offset = errors[None, :, None, None] * np.array([1.0, 0.0, 0.0])
    return np.broadcast_to(still + offset, (len(KNOTS), C, 17, 3))


def live(
    evidence: Evidence,
    errors_at: Callable[[int], np.ndarray],
    count: int,
    track: int = 1,
    begin: int = 24,
    available: np.ndarray = ALL,
    every: int = FRAMES,
) -> None:
    """One person, whose candidates are off by `errors_at` the number of the question."""
    for number in range(count):
        window = window_at(POSES, begin + every * number)
        evidence.update([track], [window])
        if evidence.due([track], [window]):
            means = guesses(window, errors_at(number))
            evidence.keep(track, window, window.poses[-1, 0], means, available, means[:, 0])


def test_losses_are_relative_to_the_mean_so_that_hard_moments_count_no_more() -> None:
    easy, hard = np.array([0.01, 0.02, 0.03, 0.04]), np.array([1.0, 2.0, 3.0, 4.0])
    assert relative_losses(hard, ALL) == pytest.approx(
        relative_losses(100.0 * hard, ALL), abs=0.01
    )
    assert relative_losses(easy, ALL).sum() == pytest.approx(0.0, abs=1e-9)
    assert relative_losses(np.array([0.0, 0.0, 0.0, 9.0]), ALL).max() <= WORST
    assert relative_losses(np.zeros(4), ALL) == pytest.approx(0.0)
    without = ALL.copy()
    without[MEMORY] = False
    found = relative_losses(np.array([0.1, 0.2, 0.3, np.inf]), without)
    assert found[MEMORY] == 0.0
    assert found[:3].sum() == pytest.approx(0.0, abs=1e-9)


REGIMES: dict[str, Callable[[int], np.ndarray]] = {
    'changes every four': lambda i: np.eye(C)[(i // 4) % C] * -0.3 + 0.4,
    'changes each time': lambda i: np.eye(C)[i % C] * -0.3 + 0.4,
    'right and then wrong': lambda i: np.array([0.05 if i < 40 else 1.0, 0.3, 0.3, 0.3]),
    'two in turn': lambda i: np.array([0.02, 1.0, 0.5, 0.5])[[i % 2, 1 - i % 2, 2, 3]],
    'random': lambda i: np.random.default_rng(i).uniform(0.0, 1.0, C) ** 3,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('stream', REGIMES)
@pytest.mark.parametrize('trust', [0.5, 2.0, 8.0])
@pytest.mark.parametrize('memory', range(len(MEMORIES)))
def test_the_regret_is_within_the_stated_bound_on_streams_made_to_hurt(
    stream: str, trust: float, memory: int
) -> None:
    kept = MEMORIES[memory].kept
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    sums = np.zeros(C)
    whole, each, worst = 0.0, np.zeros(C), -math.inf
    for number in range(300):
        weights = prior * np.exp(-trust * sums)
        weights /= weights.sum()
        losses = relative_losses(REGIMES[stream](number), ALL)
        whole = kept * whole + (1.0 - kept) * float(weights @ losses)
        each = kept * each + (1.0 - kept) * losses
        sums = each.copy()
        bound = kept * np.log(1.0 / prior) / trust
        bound += trust * (1.0 - kept) * (1.0 + WORST) ** 2 / (8.0 * kept)
        worst = max(worst, float((whole - each - bound).max()))
    assert worst <= 1e-9


def test_the_sums_are_the_discounted_relative_losses_of_what_came_true() -> None:
    errors = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.1, 0.1, 0.1])]
    evidence = Evidence(WINDOW)
    live(evidence, lambda i: errors[min(i, 1)], 12)
    found = evidence.of([1])[0]  # (K, E, C)
    first_knot, seen = 0, 11  # .1 s: all but the last have come true
    for index, memory in enumerate(MEMORIES):
        sums = np.zeros(C)
        for number in range(seen):
            losses = relative_losses(errors[min(number, 1)], ALL)
            sums = memory.kept * sums + (1.0 - memory.kept) * losses
        assert found[first_knot, index] == pytest.approx(sums, abs=1e-4)


def test_a_horizon_counts_when_it_has_come_and_not_before() -> None:
    evidence = Evidence(WINDOW)
    wrong = np.array([1.0, 0.0, 0.0, 0.0])
    window = window_at(POSES, 24)
    evidence.update([1], [window])
    means = guesses(window, wrong)
    evidence.keep(1, window, window.poses[-1, 0], means, ALL, means[:, 0])
    for frame in range(25, 24 + WINDOW.future_frames + 5):
        evidence.update([1], [window_at(POSES, frame)])
        come = frame - 24 >= KNOTS + 1
        assert ((evidence.of([1])[0, :, 0, MODEL] > 0.0) == come).all()


def test_a_persons_evidence_goes_with_their_track_and_a_new_one_starts_from_the_places() -> None:
    evidence = Evidence(WINDOW)
    live(evidence, lambda _: np.array([1.0, 0.1, 0.1, 0.1]), 20, track=1)
    mine = evidence.of([1])[0]
    own = np.array([not memory.of_place for memory in MEMORIES])
    assert (mine[:-1, own, MODEL] > 0.1).all()
    newcomer = evidence.of([2])[0]
    assert (newcomer[:, own] == 0.0).all()
    assert (newcomer[:, ~own] == mine[:, ~own]).all()
    window = window_at(POSES, 600)
    evidence.update([2], [window], absent=[1])  # out of sight, not lost
    assert (evidence.of([1])[0][:, own] == mine[:, own]).all()
    evidence.update([2], [window])  # lost for good
    assert (evidence.of([1])[0][:, own] == 0.0).all()


def test_one_person_says_nothing_of_another_but_by_the_place() -> None:
    evidence = Evidence(WINDOW)
    for number in range(20):
        windows = [window_at(POSES, 24 + FRAMES * number)] * 2
        evidence.update([1, 2], windows)
        for index in evidence.due([1, 2], windows):
            errors = np.array([1.0, 0.1, 0.1, 0.1]) if index else np.array([0.0, 0.1, 0.1, 0.1])
            means = guesses(windows[0], errors)
            track, origin = index + 1, windows[0].poses[-1, 0]
            evidence.keep(track, windows[0], origin, means, ALL, means[:, 0])
    found = evidence.of([1, 2])[:, 0]
    assert (found[0, :2, MODEL] < -0.3).all()
    assert (found[1, :2, MODEL] > 0.3).all()
    assert (found[0, 2:] == found[1, 2:]).all()


def test_questions_are_kept_every_half_second_at_whatever_rate_they_come() -> None:
    for every in (1, 2, 5, 25):
        evidence = Evidence(WINDOW)
        kept = 0
        for frame in range(24, 1024, every):
            window = window_at(POSES, frame)
            evidence.update([1], [window])
            kept += len(evidence.due([1], [window]))
        assert kept == pytest.approx(1000 / max(FRAMES, every), abs=2)


def test_what_was_not_seen_when_it_came_true_does_not_count() -> None:
    evidence = Evidence(WINDOW)
    filled = np.zeros(POSES.shape[:2], bool)
    filled[30:] = True
    window = window_at(POSES, 24)
    evidence.update([1], [window])
    means = guesses(window, np.array([1.0, 0.0, 0.0, 0.0]))
    evidence.keep(1, window, window.poses[-1, 0], means, ALL, means[:, 0])
    for frame in range(30, 200, 5):
        evidence.update([1], [window_at(POSES, frame, filled=filled)])
    assert (evidence.of([1])[0, 1:] == 0.0).all()
    assert np.isnan(evidence.errors_m[1:]).all()


def test_the_running_error_is_that_of_late_in_metres() -> None:
    evidence = Evidence(WINDOW)
    assert np.isnan(evidence.errors_m).all()
    live(evidence, lambda _: np.array([0.3, 0.1, 0.2, 0.4]), 20)
    assert evidence.errors_m[:, :C] == pytest.approx(
        np.tile([0.3, 0.1, 0.2, 0.4], (5, 1)), abs=1e-3
    )
    assert evidence.errors_m[:, C] == pytest.approx(0.3, abs=1e-3)  # the first was published


def test_forgetting_leaves_nothing() -> None:
    evidence = Evidence(WINDOW)
    live(evidence, lambda _: np.array([1.0, 0.1, 0.1, 0.1]), 20)
    evidence.forget()
    assert (evidence.of([1, 2]) == 0.0).all()
    assert np.isnan(evidence.errors_m).all()


def test_a_gap_in_which_it_came_true_does_not_count() -> None:
    evidence = Evidence(WINDOW)
    window = window_at(POSES, 24)
    evidence.update([1], [window])
    means = guesses(window, np.array([1.0, 0.0, 0.0, 0.0]))
    evidence.keep(1, window, window.poses[-1, 0], means, ALL, means[:, 0])
    evidence.update([1], [window_at(POSES, 24 + 2900)])
    assert (evidence.of([1]) == 0.0).all()
    assert not evidence._persons[1].waiting


def test_who_is_right_gets_ahead_within_seconds_and_who_then_fails_falls_back() -> None:
    evidence = Evidence(WINDOW)
    good, bad = np.array([0.5, 0.1, 0.5, 0.5]), np.array([0.5, 1.5, 0.1, 0.5])
    live(evidence, lambda _: good, 10)
    sums = evidence.of([1])[0, 0]
    assert (sums.argmin(axis=-1) == DAMPED).all()
    live(evidence, lambda _: bad, 6, begin=24 + 10 * FRAMES)
    assert evidence.of([1])[0, 0, 0].argmin() == STILL
