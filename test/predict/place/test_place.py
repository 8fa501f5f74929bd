# SPDX-License-Identifier: Apache-2.0
"""The whole forecast of a place: invariant, causal, bounded, and people apart from each other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from place_people import (
    ARM,
    BEGIN_NS,
    KNOTS,
    LEVELS,
    play,
    predicted,
    sided_weights,
    swinging,
    weights_of,
    WINDOW,
    window_at,
)
import pytest
from random_models import random_model, walking

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.model.candidates import CANDIDATES, DAMPED, MEMORIES, MEMORY, MODEL, STILL
from motion_predictor.model.networks.radius_network import noise_radii
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.place.candidates import NEIGHBOURS
from motion_predictor.predict.place.place import LOST_S, Place
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from motion_predictor.sources.observation import Observation

EVERY = np.arange(WINDOW.future_frames)
FIRST, SECOND = swinging(9.0, 1), swinging(9.0, 2) + [2.0, 0.0, 0.0]
HOUR_NS = 3600 * 10**9


def place_of(
    weights: WeighingWeights | None = None, skeleton: Skeleton = H36M17, remember: bool = True
) -> Place:
    return Place(WINDOW, skeleton, weights or weights_of(skeleton), remember=remember)


def mixed(said: Prediction) -> np.ndarray:
    assert said.mix is not None
    return said.mix.weights_at(KNOTS)


def radii(said: Prediction) -> np.ndarray:
    assert said.mix is not None
    assert said.mix.radii is not None
    return said.mix.radii


def test_every_candidate_is_there_and_all_weights_sum_to_one() -> None:
    said = play(place_of(), [FIRST, SECOND])
    last = said[-1]
    assert np.bincount(last.candidate).tolist() == [4, 1, 1, NEIGHBOURS]
    assert last.futures.shape == (2, 6 + NEIGHBOURS, WINDOW.future_frames, 17, 3)
    for each in said:
        assert np.isfinite(each.futures).all()
        assert each.weights.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert each.weights_at(EVERY).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert each.weights_at(EVERY).min() >= 0.0
        assert (np.diff(radii(each), axis=0) >= 0.0).all()
    assert said[0].weights[:, said[0].candidate == MEMORY].max() == 0.0
    assert last.weights[:, last.candidate == MEMORY].min(axis=1).max() > 0.0


def test_the_expected_future_is_the_weighted_mean_of_all_samples() -> None:
    last = play(place_of(), [FIRST])[-1]
    assert last.mix is not None
    loose = replace(last.mix, firmness=np.zeros(1, np.float32)).expected()
    real = np.einsum('psf,psfjd->pfjd', last.weights_at(EVERY), last.futures)
    assert loose == pytest.approx(real, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('degrees, offset', [(80.0, [0.0, 0.0, 0.0]), (0.0, [7.0, -3.0, 0.4]),
                                             (200.0, [-1.0, 9.0, 0.0])])  # fmt: skip
def test_turning_and_moving_the_people_turns_and_moves_everything(
    degrees: float, offset: list[float]
) -> None:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    people = [FIRST, SECOND]
    before = play(place_of(), people)
    after = play(place_of(), [poses @ rotation.T + offset for poses in people])
    for one, other in zip(before, after, strict=True):
        assert other.futures == pytest.approx(one.futures @ rotation.T + offset, abs=2e-3)
        assert mixed(other) == pytest.approx(mixed(one), abs=2e-3)
        assert other.expected == pytest.approx(one.expected @ rotation.T + offset, abs=1e-3)
        assert radii(other) == pytest.approx(radii(one), rel=0.01, abs=1e-4)


@pytest.mark.slow
def test_mirroring_the_people_mirrors_everything() -> None:
    mirror, swap = np.array([1.0, -1.0, 1.0]), list(H36M17.mirror)
    weights = sided_weights()
    before = play(place_of(weights), [FIRST])
    after = play(place_of(weights), [FIRST[:, swap] * mirror])
    for one, other in zip(before, after, strict=True):
        assert mixed(other) == pytest.approx(mixed(one), abs=2e-3)
        assert other.expected == pytest.approx(one.expected[:, :, swap] * mirror, abs=1e-3)
        assert radii(other) == pytest.approx(radii(one)[..., swap], rel=0.01, abs=1e-4)


def test_the_same_input_gives_the_same_output_to_the_bit() -> None:
    first, second = (play(place_of(), [FIRST, SECOND]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.futures == other.futures).all()
        assert (one.weights == other.weights).all()
        assert (one.expected == other.expected).all()
        assert (radii(one) == radii(other)).all()


@pytest.mark.slow
def test_at_map_coordinates_everything_is_as_near_the_origin() -> None:
    far = np.array([692_000.0, 5_334_000.0, 520.0])
    before, after = play(place_of(), [FIRST]), play(place_of(), [FIRST + far])
    for one, other in zip(before, after, strict=True):
        assert other.futures.dtype == np.float64
        assert other.futures - far == pytest.approx(one.futures, abs=1e-3)
        assert other.expected - far == pytest.approx(one.expected, abs=1e-3)
        assert mixed(other) == pytest.approx(mixed(one), abs=1e-3)
        assert radii(other) == pytest.approx(radii(one), rel=0.01)


def test_what_is_said_depends_on_the_past_alone() -> None:
    other = FIRST.copy()
    other[300:] += 0.3
    first, second = play(place_of(), [FIRST[:300]]), play(place_of(), [other])
    for one, two in zip(first, second):
        assert (one.futures == two.futures).all()
        assert (one.weights == two.weights).all()


def test_no_radius_is_below_the_inputs_own_noise_however_far_scales_have_narrowed() -> None:
    place = place_of()
    assert place.following is not None
    generator = np.random.default_rng(0)
    noisy = FIRST + 0.03 * generator.standard_normal(FIRST.shape)
    for _ in range(500):
        place.following.note(1, np.zeros(len(LEVELS)))
    assert place.following.scales([1])[0, 0] < 0.5
    for said in play(place, [noisy]):
        assert place.working is not None
        assert said.mix is not None
    least = noise_radii(LEVELS, place.working.now.jitter)
    assert (radii(said) >= least[:, :, None, None] - 1e-6).all()
    clean = play(place_of(), [FIRST])[-1]
    assert radii(said).mean() > radii(clean).mean()


def test_somebody_who_walks_into_view_is_not_taken_for_noise() -> None:
    walk = walking(200, 5).astype(np.float64)
    place = place_of()
    for padded in (12, 6, 0):
        window = window_at(walk, 60 - padded, padded=padded)
        place.weigh([1], [window], predicted([window]))
        assert place.working is not None
        assert place.working.now.jitter[0] < 1e-3


@pytest.mark.slow
def test_one_person_changes_anothers_only_by_memory_and_evidence() -> None:
    alone = play(place_of(remember=False), [FIRST])
    both = play(place_of(remember=False), [FIRST, SECOND])
    for one, two in zip(alone, both, strict=True):
        assert two.futures[:1] == pytest.approx(one.futures, abs=1e-5)
    trustless = weights_of(trust=0.0)
    place, other = (Place(WINDOW, H36M17, trustless, remember=False, follow='fixed')
                    for _ in range(2))  # fmt: skip
    alone, both = play(place, [FIRST]), play(other, [FIRST, SECOND])
    for one, two in zip(alone, both, strict=True):
        assert mixed(two)[:1] == pytest.approx(mixed(one), abs=1e-5)
        assert radii(two)[:, :1] == pytest.approx(radii(one), rel=1e-4)


def test_without_memory_there_is_none_and_without_a_gate_the_model_counts_alone() -> None:
    last = play(place_of(remember=False), [FIRST])[-1]
    assert MEMORY not in last.candidate
    bare = Place(WINDOW, H36M17, WeighingWeights(weights_of().basis))
    last = play(bare, [FIRST])[-1]
    assert last.weights[:, last.candidate == MODEL].sum() == pytest.approx(1.0)
    assert last.mix is not None
    assert last.mix.radii is None


def test_a_body_without_sides_or_hips_works_too() -> None:
    arm = FIRST[:, [0, 11, 13]] - FIRST[:, :1]
    last = play(place_of(skeleton=ARM), [arm])[-1]
    assert np.isfinite(last.futures).all()
    assert last.weights.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert last.weights[:, last.candidate == MEMORY].sum() > 0.0
    assert np.isfinite(last.expected).all()


def test_who_is_out_of_sight_for_a_while_keeps_evidence_and_scales_and_who_is_lost_does_not() -> (
    None
):
    place = place_of()
    play(place, [FIRST, SECOND])
    own = place.evidence.of([2])[0, :, :2].copy()
    assert np.abs(own).max() > 0.01
    assert place.following is not None
    scale = place.following.scales([2])
    for frame in (430, 431, 432):  # the second is not predicted
        window = window_at(FIRST, frame)
        place.weigh([1], [window], predicted([window]))
    assert (place.evidence.of([2])[0, :, :2] == own).all()
    assert 2 in place.following._persons
    assert place.following.scales([2]).shape == scale.shape
    later = window_at(FIRST, 432, BEGIN_NS + round((LOST_S + 1.0) * 1e9))
    place.weigh([1], [later], predicted([later]))
    assert (place.evidence.of([2])[0, :, :2] == 0.0).all()
    assert 2 not in place.following._persons
    assert 2 not in place._noise.known
    assert 2 not in place._awaited


@pytest.mark.slow
def test_thousands_of_ids_do_not_fill_the_machine() -> None:
    place = place_of()
    for track in range(400):
        window = window_at(FIRST, 24 + track // 8)
        place.weigh([track], [window], predicted([window], 2))
    for kept in (place._noise.known, place._awaited, place._present, place.evidence._persons):
        assert len(kept) <= 257
    assert place.memory is not None
    assert len(place.memory._pending) <= 258


def test_forgetting_makes_the_place_as_new() -> None:
    place = place_of()
    play(place, [FIRST, SECOND])
    assert place.words(1)
    place.forget()
    assert place.words(1) == ''
    assert place.memory is not None
    assert place.memory.moments == 0
    again = play(place, [FIRST], begin_ns=BEGIN_NS + HOUR_NS, first_track=9)
    fresh = play(place_of(), [FIRST], begin_ns=BEGIN_NS + HOUR_NS, first_track=9)
    for one, two in zip(again, fresh, strict=True):
        assert (one.futures == two.futures).all()
        assert (one.weights == two.weights).all()
        assert (radii(one) == radii(two)).all()


def test_words_say_what_a_future_is_mostly_taken_from_and_how_often_it_was_seen() -> None:
    place = place_of()
    play(place, [FIRST, FIRST])
    shares = place.shares(1)
    assert list(shares) == list(CANDIDATES)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    assert max(shares, key=lambda name: shares[name]) in place.words(1)
    assert 'has seen the like' in place.words(1)
    assert place.words(77) == ''
    assert place.shares(77) == {}


# What a bad past can do


def errors(place: Place, poses: np.ndarray, track: int, begin_ns: int) -> tuple[float, np.ndarray]:
    """Play somebody; return how far off the published future and each candidate were at .5 s."""
    published, each = [], []
    for frame in range(24, len(poses) - 30, 24):
        window = window_at(poses, frame, begin_ns)
        said = place.weigh([track], [window], predicted([window]))
        assert said.mix is not None
        real = poses[frame + 25]
        loose = replace(said.mix, firmness=np.zeros(1, np.float32))  # arms of no fixed length
        apart = loose.expected(np.array([24]))[0, 0] - real
        published.append(np.linalg.norm(apart, axis=-1).mean())
        means = said.mix.means[0, 24] + said.mix.origin[0]
        each.append(np.linalg.norm(means - real, axis=-1).mean(axis=-1))
    return float(np.mean(published)), np.mean(each, axis=0)


def trusting() -> WeighingWeights:
    """Make a gate that says nothing, and believes evidence as much as a fitted one must."""
    made = weights_of(depends=0.0)
    assert made.gate is not None
    trust = np.array([4.0 if memory.kept in (0.6, 0.98) else 0.0 for memory in MEMORIES])
    gate = replace(made.gate, trust=np.tile(trust, (len(KNOTS), 1)).astype(np.float32))
    return replace(made, gate=gate)


def nonsense(seed: int) -> np.ndarray:
    """Somebody who goes through the poses of work at random, and back and forth."""
    generator = np.random.default_rng(seed)
    to = generator.integers(0, 440, 45)
    at = np.interp(np.arange(45 * 20), np.arange(45) * 20, to)
    return swinging(9.0, 1)[at.astype(int)]


def mirrored(poses: np.ndarray) -> np.ndarray:
    """As a tracker shows people that takes left for right."""
    return poses[:, list(H36M17.mirror)]


def swapped(seed: int) -> np.ndarray:
    """Two people under one id, in turn."""
    both = (swinging(18.0, seed), swinging(18.0, seed + 1) + [0.3, 0.0, 0.0])
    return np.concatenate([both[(at // 50) % 2][at : at + 50] for at in range(0, 900, 50)])


@pytest.mark.slow
@pytest.mark.parametrize('past', ['nonsense', 'mirrored', 'swapped'])
def test_a_bad_past_cannot_make_the_published_future_much_worse_than_the_best_guess(
    past: str,
) -> None:
    made = trusting()
    place = place_of(made)
    for number in range(3):
        poses = {
            'nonsense': nonsense(number),
            'mirrored': mirrored(swinging(18.0, 1)),
            'swapped': swapped(number),
        }[past]
        errors(place, poses, number, BEGIN_NS + number * HOUR_NS)
    work = swinging(30.0, 1, pace=1.3)
    now_ns = BEGIN_NS + 50 * HOUR_NS
    published, each = errors(place, work, 50, now_ns)
    clean, _ = errors(place_of(made, remember=False), work, 50, now_ns)
    assert published < 1.15 * each.min()
    assert published < 1.25 * clean


@pytest.mark.slow
def test_a_person_whose_habits_change_every_few_seconds_costs_a_bounded_amount() -> None:
    place = place_of(trusting())
    pieces, at = [], 0
    for number in range(12):  # stands, then works, in turn
        frames = 150
        piece = swinging(60.0, 0)[at : at + frames]
        if number % 2:
            piece = np.repeat(pieces[-1][-1:], frames, axis=0)
        else:
            at += frames
        pieces.append(piece)
    published, each = errors(place, np.concatenate(pieces), 1, BEGIN_NS)
    assert published < 1.12 * each.min()


def test_repeated_work_makes_the_published_future_better_the_longer_it_is_watched() -> None:
    place = place_of(trusting())
    work = swinging(14.0, 6)
    rounds = [errors(place, work, n, BEGIN_NS + n * HOUR_NS)[0] for n in range(4)]
    assert rounds[-1] < 0.6 * rounds[0]
    assert place.working is not None
    weights = place.working.weights[0, 2]
    assert weights.argmax() == MEMORY
    assert weights[[DAMPED, STILL]].max() < 0.3


# Behind the node's own state


def online_with(place: Place | None) -> LivePredictor:
    predictor = Predictor(random_model(), {}, None, device='cpu')
    return LivePredictor(predictor, samples=4, place=place)


def observe(online: LivePredictor, people: Sequence[tuple[str, np.ndarray]], ns: int) -> None:
    for person, pose in people:
        online.observe(Observation(ns, 'world', person, pose), ns)


def test_a_track_that_goes_on_under_a_new_id_keeps_its_evidence() -> None:
    place = place_of()
    online = online_with(place)
    for frame in range(0, 200, 2):
        observe(online, [('a', FIRST[frame])], BEGIN_NS + 20_000_000 * frame)
        if frame % 10 == 0:
            online.predict(BEGIN_NS + 20_000_000 * frame)
    (before,) = place.evidence._persons
    sums = place.evidence._persons[before].sums.copy()
    assert np.abs(sums).max() > 0.0
    for frame in range(204, 260, 2):
        observe(online, [('b', FIRST[frame])], BEGIN_NS + 20_000_000 * frame)
        found = online.predict(BEGIN_NS + 20_000_000 * frame)
    assert found is not None
    assert found.persons == ('b',)
    assert set(place.evidence._persons) == {before}


@pytest.mark.slow
def test_people_late_by_part_of_a_frame_are_shown_where_their_samples_are() -> None:
    place = place_of()
    online = online_with(place)
    for frame in range(0, 100, 2):
        now_ns = BEGIN_NS + 20_000_000 * frame
        observe(online, [('a', FIRST[frame])], now_ns)
        observe(online, [('b', SECOND[frame])], now_ns - 7_000_000)
        found = online.predict(now_ns)
    assert found is not None
    said = found.prediction
    assert said is not None
    assert said.mix is not None
    assert sorted(found.ages_s) == pytest.approx([0.0, 0.007], abs=1e-6)
    loose = replace(said.mix, firmness=np.zeros(2, np.float32)).expected()
    real = np.einsum('psf,psfjd->pfjd', said.weights_at(EVERY), said.futures)
    assert loose == pytest.approx(real, abs=1e-4)
