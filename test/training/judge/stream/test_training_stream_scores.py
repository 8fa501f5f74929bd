# SPDX-License-Identifier: Apache-2.0
"""What one prediction of a stream scores, and the tables made of many."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_models import random_model, walking

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.futures.sampled import as_futures
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from training.data.clips import Clip
from training.judge.stream import stream_tables
from training.judge.stream.kinds import IDLE, WALKING
from training.judge.stream.stream_scores import (
    as_many,
    DAMPED,
    energy_score,
    joined,
    keep_bones,
    MEDOID,
    MEMORY,
    MODEL,
    model_alone,
    PUBLISHED,
    Scores,
    SMOOTHED_DAMPED,
    SMOOTHED_STILL,
    STILL,
    StreamScorer,
)
from training.judge.stream.streams import Moment, Stream, takes_of


@pytest.fixture(scope='module')
def moments() -> list[Moment]:
    predictor = Predictor(random_model(), {}, None, device='cpu')
    clip = Clip('w', 'a', 'walk', walking(120, 0, 25.0).astype(np.float32), 25.0)
    return list(Stream(LivePredictor(predictor, samples=6), takes_of([clip])))


def with_prediction(moment: Moment, prediction: Prediction) -> Moment:
    return replace(moment, prediction=replace(moment.prediction, prediction=prediction))


def scored(*moments: Moment) -> Scores:
    scorer = StreamScorer(H36M17)
    for moment in moments:
        scorer.add(moment)
    assert len(scorer) == len(moments)
    return scorer.scores()


@pytest.mark.slow
def test_the_energy_score_is_its_definition_and_least_for_the_true_distribution() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(5, 2, 3, 3))
    truth = generator.normal(size=(2, 3, 3))
    weights = generator.dirichlet(np.ones(5), size=2).T  # (S, F)
    expected = []
    for f in range(2):
        off = [np.linalg.norm(samples[i, f] - truth[f]) for i in range(5)]
        between = [
            weights[i, f] * weights[j, f] * np.linalg.norm(samples[i, f] - samples[j, f])
            for i in range(5)
            for j in range(5)
        ]
        expected.append(weights[:, f] @ off - 0.5 * sum(between))
    np.testing.assert_allclose(energy_score(samples, weights, truth), expected, rtol=1e-9)
    alone = energy_score(samples[:1], np.ones((1, 2)), truth)
    np.testing.assert_allclose(alone, np.linalg.norm((samples[0] - truth).reshape(2, -1), axis=1))

    def mean_score(deviation: float) -> float:
        spread = deviation * generator.normal(size=(200, 400, 1, 3))
        real = generator.normal(size=(400, 1, 3))
        return float(energy_score(spread, np.full((200, 400), 1 / 200), real).mean())

    assert mean_score(1.0) < min(mean_score(0.5), mean_score(2.0))


def test_poses_get_the_bones_that_were_seen() -> None:
    observed = walking(25, 1).astype(np.float32)
    short = observed[-1] + 0.7 * (observed[-1] - observed[-1, :1])[None] * np.ones((3, 1, 1))
    kept = keep_bones(short, observed, H36M17)
    for child, parent in H36M17.bones:
        seen = np.linalg.norm(observed[:, child] - observed[:, parent], axis=-1).mean()
        lengths = np.linalg.norm(kept[:, child] - kept[:, parent], axis=-1)
        np.testing.assert_allclose(lengths, seen, rtol=1e-5)
    np.testing.assert_allclose(kept[:, 0], short[:, 0])
    whole = np.repeat(observed[:1], 25, axis=0)
    np.testing.assert_allclose(keep_bones(whole, whole, H36M17), whole, atol=1e-6)


def test_who_foresees_the_truth_has_no_error_and_the_candidates_have_their_own(
    moments: list[Moment],
) -> None:
    moment = moments[1]
    prediction = moment.prediction.prediction
    assert prediction is not None
    exact = replace(prediction, sampled=as_futures(np.repeat(moment.truth[None, None], 6, axis=1)))
    scores = scored(with_prediction(moment, exact), moment)
    for name in (PUBLISHED, MODEL, MEDOID):
        assert scores.errors[name][0].max() < 5e-3  # bones of a made-up walk are not quite rigid
        assert scores.errors[name][1].mean() > 0.05
    assert scores.energy[PUBLISHED][0].max() < 1e-5
    assert not scores.best_of[PUBLISHED][0].any()
    last = moment.window.poses[-1]
    frames = [12, 24, 49, 99]
    still = np.linalg.norm(last - moment.truth[frames], axis=-1)
    np.testing.assert_allclose(scores.errors[STILL][0], still, rtol=1e-4)
    velocity = (last - moment.window.poses[-6]) / 0.1
    ahead = 0.2 * (1.0 - np.exp(-np.array([0.26, 0.5, 1.0, 2.0]) / 0.2))
    damped = last + ahead[:, None, None] * velocity - moment.truth[frames]
    np.testing.assert_allclose(
        scores.errors[DAMPED][0], np.linalg.norm(damped, axis=-1), rtol=1e-3
    )
    np.testing.assert_allclose(
        scores.energy[DAMPED][0], np.linalg.norm(damped.reshape(4, -1), axis=-1), rtol=1e-3
    )
    assert scores.radius.shape == (2, 3, 4, 17)
    assert (np.diff(scores.radius[:, :2], axis=1) >= 0.0).all()


def test_the_best_of_the_samples_is_the_fields_ade_and_fde(moments: list[Moment]) -> None:
    moment = moments[0]
    prediction = moment.prediction.prediction
    assert prediction is not None
    off = prediction.futures[0] - moment.truth
    norm = np.linalg.norm(off.reshape(6, 100, -1), axis=-1)
    relative = (off - off[:, :, :1])[:, :, 1:].reshape(6, 100, -1)
    pose = np.linalg.norm(relative, axis=-1)
    expected = [
        pose.mean(axis=1).min(), pose[:, -1].min(), norm.mean(axis=1).min(), norm[:, -1].min(),
    ]  # fmt: skip
    np.testing.assert_allclose(scored(moment).best_of[PUBLISHED][0], expected, rtol=1e-4)


def test_the_nodes_own_candidates_are_scored_and_its_best_samples_are_no_more_than_the_models(
    moments: list[Moment],
) -> None:
    predictor = Predictor(random_model(), {}, None, device='cpu')
    gate = WeighingWeights(basis=np.eye(102, 8, dtype=np.float32))
    place = Place(predictor.window, H36M17, gate)
    clips = [
        Clip('w', 'a', 'walk', walking(150, 2, 25.0).astype(np.float32), 25.0) for _ in range(2)
    ]
    node = LivePredictor(predictor, samples=6, place=place)
    scorer, seen = StreamScorer(H36M17), []
    for moment in Stream(node, takes_of(clips)):
        scorer.add(moment)
        seen.append(moment)
    scores = scorer.scores()
    assert scores.clip.tolist().count(0) == len(scores) / 2
    memory = scores.errors[MEMORY].mean(axis=(1, 2))
    assert np.isnan(memory[0])  # nothing has happened yet
    assert np.isfinite(memory[scores.clip == 1]).all()
    # the same walk again: remembered better than it was guessed the first time
    again = scores.clip == 1
    assert memory[again].mean() < 0.5 * scores.errors[STILL][again].mean()
    assert np.isfinite(scores.energy[MEMORY][again]).all()
    for name, smoothed in ((DAMPED, SMOOTHED_DAMPED), (STILL, SMOOTHED_STILL)):
        np.testing.assert_allclose(
            scores.errors[smoothed].mean(), scores.errors[name].mean(), rtol=0.1
        )
    prediction = seen[-1].prediction.prediction
    assert prediction is not None
    assert prediction.futures.shape[1] > 6
    assert as_many(prediction).shape == (6, 100, 17, 3)
    own = model_alone(prediction)
    assert own.futures.shape[1] == 6
    np.testing.assert_allclose(own.weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(as_many(own), own.futures[0])


def made_up(count: int, published: float, **others: Any) -> Scores:
    """Errors that are the same for all joints and horizons, and twice as large for damped."""
    sizes = {PUBLISHED: published, MODEL: 0.10, DAMPED: 0.20, STILL: 0.05, MEDOID: 0.12}
    errors = {name: np.full((count, 4, 17), size, np.float32) for name, size in sizes.items()}
    values: dict[str, Any] = {
        'clip': np.arange(count) // 10,
        'subject': np.array(['a'] * count),
        'kind': np.array([WALKING] * count),
        'minutes': np.arange(count) * 0.008,
        'on_seam': np.zeros(count, bool),
        'errors': errors,
        'energy': {name: of.mean(axis=2) for name, of in errors.items() if name != MEDOID},
        'best_of': {name: np.full((count, 4), 0.1, np.float32) for name in (PUBLISHED, MODEL)},
        'radius': np.full((count, 3, 4, 17), 0.3, np.float32),
        'apart': np.full((count, 4, 17), 0.2, np.float32),
        'speed': np.full((count, 17), 0.3, np.float32),
    }
    return Scores(**{**values, **others})


def test_the_best_candidate_is_chosen_afterwards_for_each_group_and_horizon() -> None:
    table = made_up(40, 0.06)
    table.errors[MODEL][:, 3] = 0.01  # at 2 s the model is best, else standing still
    table.errors[MODEL][:20, 0] = 0.01  # at .26 s too, in half of the predictions: not enough
    row = stream_tables.error_row(table)
    assert row['error_best'] == [STILL, STILL, STILL, MODEL]
    assert row['error_ratio'] == pytest.approx([1.2, 1.2, 1.2, 6.0])
    assert row['error_cm'][PUBLISHED] == pytest.approx([6.0] * 4)
    assert row['error_ratio_interval95'][0] == pytest.approx([1.2, 1.2])
    assert (row['predictions'], row['clips']) == (40, 4)
    assert stream_tables.joint_row(table, H36M17.joints)['RWrist'] == pytest.approx([6.0] * 4)


def test_groups_are_kinds_laboratories_and_minutes_and_clips_stay_apart() -> None:
    one = made_up(30, 0.06)
    two = made_up(200, 0.06, kind=np.array([IDLE] * 200))
    found = {(by, name): len(of) for by, name, of in stream_tables.groups({'x': one, 'y': two})}
    assert found == {
        ('all', 'all'): 230, ('kind', IDLE): 200, ('kind', WALKING): 30,
        ('laboratory', 'x'): 30, ('laboratory', 'y'): 200,
        ('minutes', '0-1'): 155, ('minutes', '1-5'): 75,
    }  # fmt: skip
    both = joined([one, two])
    assert len(np.unique(both.clip)) == 3 + 20
    rows = [
        {'by': by, 'name': name, **stream_tables.error_row(of)}
        for by, name, of in stream_tables.groups({'x': one, 'y': made_up(50, 0.03)})
    ]
    over = stream_tables.over_laboratories(rows)
    assert over['error_ratio_mean'] == pytest.approx([0.9] * 4)
    assert over['error_ratio_max'] == pytest.approx([1.2] * 4)
    assert over['error_ratio_max_of'] == ['x'] * 4


def test_the_running_error_finds_the_one_bad_minute_of_one_person() -> None:
    minute = stream_tables.MINUTE
    good, short = made_up(3 * minute, 0.05), made_up(minute - 1, 9.0)
    assert stream_tables.running([good])['max'] == pytest.approx([1.0] * 4)
    bad = made_up(3 * minute, 0.05)
    bad.errors[PUBLISHED][minute : 2 * minute, 2] = 0.10
    found = stream_tables.running([good, bad, short])  # the last: not yet there for a minute
    assert found['max'] == pytest.approx([1.0, 1.0, 2.0, 1.0])
    assert (found['persons'], found['minutes']) == (2, 2 * (2 * minute + 1))
    assert 1.0 < found['q99'][2] < 2.0
    assert found['above_by_cm'] == pytest.approx([0.0, 0.0, 5.0, 0.0])
    assert [share > 0.0 for share in found['above']] == [False, False, True, False]
    # between two people nobody's minute goes on
    mixed = joined([bad, good])
    apart = np.array(['a'] * len(bad) + ['b'] * len(good))
    assert stream_tables.running([replace(mixed, subject=apart)])['minutes'] == found['minutes']
    assert stream_tables.running([short])['max'] is None


def test_the_memory_is_a_candidate_of_the_minutes_in_which_it_always_answered() -> None:
    minute = stream_tables.MINUTE
    scores = made_up(2 * minute, 0.05)
    memory = np.full((2 * minute, 4, 17), 0.025, np.float32)
    memory[: minute // 2] = np.nan
    scores = replace(scores, errors={**scores.errors, MEMORY: memory})
    found = stream_tables.running([scores])
    assert found['max'] == pytest.approx([2.0] * 4)
    assert stream_tables.error_row(scores)['error_cm'][MEMORY] == pytest.approx([2.5] * 4)
    silent = replace(scores, errors={**scores.errors, MEMORY: np.full_like(memory, np.nan)})
    assert stream_tables.running([silent])['max'] == pytest.approx([1.0] * 4)
    assert stream_tables.error_row(silent)['error_cm'][MEMORY] is None


def test_radii_are_counted_and_measured_at_equal_coverage() -> None:
    scores = made_up(100, 0.05)
    scores.apart[:10] = 0.5  # a tenth is outside
    scores.errors[DAMPED][:, 2] = np.linspace(0.0, 0.4, 100)[:, None]
    row = stream_tables.radius_row(scores)
    np.testing.assert_allclose(row['held'], 0.9)
    np.testing.assert_allclose(row['radius_m'], 0.3)
    # the simple radius that holds nine tenths as well: the 90 % quantile of what is off
    assert row['simple_radius_1s_m'] == pytest.approx([0.36] * 3, rel=0.02)
    assert row['ratio_1s'] == pytest.approx([0.3 / 0.36] * 3, rel=0.02)
    iso = [(0.3 / (1.6 * h)) ** 3 for h in (0.26, 0.5, 1.0, 2.0)]
    np.testing.assert_allclose(row['volume_of_iso'][0], iso, atol=1e-6)
