# SPDX-License-Identifier: Apache-2.0
"""Of people of whom a part is never seen the place learns, and they are helped by their like."""

import numpy as np
from place_people import asked, BEGIN_NS, predicted, swinging, weights_of, WINDOW, window_at
import pytest

from motion_predictor.body.completion import complete
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.place.candidates import stance
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.memory.recall import Recall
from motion_predictor.predict.place.place import Place
from motion_predictor.track.window import ObservedWindow

LATER_NS = BEGIN_NS + 10**11
BELOW = [H36M17.index(joint) for joint in (
    'Hip', 'RHip', 'LHip', 'RKnee', 'RAnkle', 'LKnee', 'LAnkle',
)]  # fmt: skip
SHOWN = np.setdiff1d(np.arange(17), BELOW)
SEEN = ~np.isin(np.arange(17), BELOW)
WORK = swinging(16.0, 1)
FUTURE = WINDOW.future_frames


def behind_a_bench(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the poses as the node completes them, and which joints of them are made up."""
    completed = complete(poses[None], SEEN[None], H36M17)[0]
    return completed, np.broadcast_to(~SEEN, poses.shape[:2]).copy()


def show(
    memory: PlaceMemory, poses: np.ndarray, filled: np.ndarray | None, track: int = 1
) -> None:
    for frame in asked(poses):
        memory.remember([track], [window_at(poses, frame, BEGIN_NS, filled)], np.zeros(1))


def recalled(memory: PlaceMemory, window: ObservedWindow) -> Recall:
    seen = (window.poses - window.poses[-1, 0]).astype(np.float32)[None]
    return memory.recall(stance(seen, np.zeros(1), WINDOW.rate_hz), shown=window.seen[None])


def off(found: Recall, poses: np.ndarray, frame: int) -> float:
    mean = np.einsum('n,ntjd->tjd', found.weights[0], found.futures[0])
    real = poses[frame + 1 : frame + 1 + FUTURE] - poses[frame, 0]
    return float(np.linalg.norm(mean - real, axis=-1)[:, SHOWN].mean())


def still(poses: np.ndarray, frame: int) -> float:
    real = poses[frame + 1 : frame + 1 + FUTURE] - poses[frame]
    return float(np.linalg.norm(real, axis=-1)[:, SHOWN].mean())


def test_the_upper_body_of_a_worker_behind_a_bench_is_learnt_and_found_again() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    poses, filled = behind_a_bench(WORK)
    show(memory, poses, filled)
    assert memory.moments > 50
    found = recalled(memory, window_at(poses, 300, LATER_NS, filled))
    assert found.known.all()
    assert off(found, poses, 300) < 0.35 * still(poses, 300)


def test_a_whole_person_is_not_told_what_somebody_without_legs_did() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    poses, filled = behind_a_bench(WORK)
    show(memory, poses, filled)
    whole = recalled(memory, window_at(poses, 300, LATER_NS))  # the same pose to the bit, all seen
    assert not whole.known.any()
    show(memory, WORK + [3.0, 0.0, 0.0], None, track=2)
    moments = memory.moments
    assert moments > 100, 'the whole person is learnt beside the other, who does the same'
    found = recalled(memory, window_at(WORK, 300, LATER_NS))
    assert found.known.all()
    assert set(found.like[0].tracks.tolist()) == {2}


def test_somebody_half_seen_is_helped_by_whole_people_too() -> None:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, WORK, None)
    poses, filled = behind_a_bench(WORK)
    found = recalled(memory, window_at(poses, 300, LATER_NS, filled))
    assert found.known.all()
    assert off(found, poses, 300) < 0.5 * still(poses, 300)


def test_a_leg_that_appears_is_no_leap_that_is_learnt() -> None:
    hidden, filled = behind_a_bench(WORK)
    up = WORK.copy()
    up[:, BELOW] += [0.0, 0.0, 0.3]  # the guess was far off
    memory = PlaceMemory(WINDOW, H36M17)
    for frame in asked(WORK):  # joints count as unseen until they were seen for a whole window
        shown = window_at(up, frame) if frame >= 400 else window_at(hidden, frame, filled=filled)
        memory.remember([1], [shown], np.zeros(1))
    moments = np.flatnonzero(np.isfinite(memory.slots.norms))
    legs = memory.slots.seen[memory.slots.paths[moments]][:, :, BELOW].all(axis=2)
    assert (legs.any(axis=1) & ~legs.all(axis=1)).sum() > 5, 'moments in which they appear'
    found = recalled(memory, window_at(hidden, 350, LATER_NS, filled))
    assert found.known.all()
    steps = np.abs(np.diff(found.futures[0, found.weights[0] > 0.0], axis=1))
    assert steps[:, :, BELOW].max() < 0.05, 'nobody leaps by the error of the guess'
    assert off(found, hidden, 350) < 0.5 * still(hidden, 350)


def test_the_memory_of_somebody_half_seen_outlives_a_restart() -> None:
    memory, anew = (PlaceMemory(WINDOW, H36M17) for _ in range(2))
    poses, filled = behind_a_bench(WORK)
    show(memory, poses, filled)
    anew.restore(memory.columns(*memory.span))
    window = window_at(poses, 300, LATER_NS, filled)
    same = recalled(memory, window).futures
    np.testing.assert_allclose(recalled(anew, window).futures, same, atol=1e-4)
    assert not recalled(anew, window_at(poses, 300, LATER_NS)).known.any()


@pytest.mark.parametrize('hidden_first', [True, False])
def test_what_was_never_seen_counts_neither_for_nor_against_a_candidate_or_a_radius(
    hidden_first: bool,
) -> None:
    poses, filled = behind_a_bench(WORK)

    def learnt(shift_m: float) -> tuple[np.ndarray, np.ndarray]:
        place = Place(WINDOW, H36M17, weights_of())
        assert place.following is not None
        changed, hidden = poses.copy(), filled.copy()
        half = slice(None, 300) if hidden_first else slice(300, None)
        hidden[:] = False
        hidden[half] = filled[half]
        other = slice(300, None) if hidden_first else slice(None, 300)
        changed[other, BELOW] += [0.0, 0.0, shift_m]
        for frame in (250, 280, 330, 345):
            window = window_at(changed, frame, BEGIN_NS, hidden)
            place.evidence.update([1], [window])
            if frame == 250:
                means = np.repeat((window.poses[-1] - window.poses[-1, 0])[None, None], 4, axis=1)
                means = np.repeat(means, len(place.evidence._frames), axis=0)
                means = means + 0.01 * np.arange(4)[None, :, None, None]
                place.evidence.due([1], [window])
                place.evidence.keep(
                    1, window, window.poses[-1, 0], means, np.ones(4, bool), means[:, 0]
                )
        return place.evidence.of([1]), place.evidence.errors_m

    sums, errors = learnt(0.0)
    shifted_sums, shifted_errors = learnt(0.4)
    assert np.isfinite(errors).any()
    np.testing.assert_allclose(shifted_sums, sums, atol=1e-5)
    np.testing.assert_allclose(shifted_errors, errors, atol=1e-5)


def test_the_place_helps_somebody_half_seen_with_what_was_done_there_before() -> None:
    place = Place(WINDOW, H36M17, weights_of())
    poses, filled = behind_a_bench(WORK)
    for track, begin_ns in ((1, BEGIN_NS), (2, LATER_NS)):
        for frame in asked(poses):
            windows = [window_at(poses, frame, begin_ns, filled)]
            said = place.weigh([track], windows, predicted(windows))
            assert place.working is not None
    assert place.working.recall.known.all()
    assert np.isfinite(said.expected).all()
    whole = [window_at(poses, len(poses) - 1, LATER_NS)]
    place.weigh([3], whole, predicted(whole))
    assert not place.working.recall.known.any()
