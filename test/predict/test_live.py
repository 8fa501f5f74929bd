# SPDX-License-Identifier: Apache-2.0
"""Several people, and one call of the model for all of them."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from online_people import (
    expected_futures,
    GoesOn,
    online_with,
    pose_at,
    predicted,
    SECOND,
    see,
    stamps,
    START,
)
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.sources.observation import Observation
from motion_predictor.track.states import Excluded
from motion_predictor.track.window import NotReady


def test_one_person_is_predicted_from_their_newest_pose() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    result = predicted(online)
    assert result.persons == ('ada',)
    assert result.stamp_ns == stamps(0, 30)[-1]
    assert result.frame_id == 'map'
    assert result.prediction.futures.shape == (1, 2, 100, 17, 3)
    np.testing.assert_allclose(
        result.prediction.futures[0, 0], expected_futures(result, 2.0), atol=1e-3
    )
    np.testing.assert_allclose(result.last_poses[0], pose_at(result.stamp_ns), atol=1e-9)
    assert result.horizon_frames.tolist() == [100]
    assert result.padded_frames.tolist() == [0]


def test_nothing_new_gives_nothing() -> None:
    online = online_with()
    assert online.predict() is None
    see(online, 'ada', stamps(0, 30))
    predicted(online)
    assert online.predict() is None
    see(online, 'ada', stamps(29, 30))  # a duplicate is no news
    assert online.predict() is None


def test_everyone_ready_shares_one_call_of_the_model() -> None:
    online = online_with()
    for index, name in enumerate(('ada', 'bob', 'cyd')):
        see(online, name, stamps(0, 30), place=2.0 + index)
    see(online, 'dan', stamps(28, 30), place=1.0)
    result = predicted(online)
    assert online.predictor.batches == [3]
    assert result.persons == ('ada', 'bob', 'cyd')  # the nearest first
    assert result.unpredicted == {'dan': NotReady.TOO_FEW_POSES}
    assert online.counters['left_out_too_few_poses'] == 1


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(lag_ms=st.floats(0.0, 200.0))
def test_a_person_seen_a_little_earlier_is_right_at_the_outputs_own_times(lag_ms: float) -> None:
    online = online_with()
    lag = round(lag_ms * 1e6)
    for index in range(30):
        see(online, 'ada', stamps(index, index + 1))
        see(online, 'bob', stamps(index, index + 1, -lag), place=4.0)
    result = predicted(online)
    assert result.stamp_ns == stamps(0, 30)[-1]
    assert dict(zip(result.persons, result.ages_s))['bob'] == pytest.approx(lag / SECOND)
    frames = dict(zip(result.persons, result.horizon_frames))
    assert frames['ada'] == 100
    assert frames['bob'] == pytest.approx(100 - lag_ms / 20.0, abs=1.0)
    futures = dict(zip(result.persons, result.prediction.futures))
    for name, place in (('ada', 2.0), ('bob', 4.0)):
        count = frames[name]
        expected = expected_futures(result, place)[:count]
        np.testing.assert_allclose(futures[name][0, :count], expected, atol=2e-3)
    tail = futures['bob'][0, frames['bob'] :]
    assert len(tail) == 0 or np.ptp(tail, axis=0).max() < 1e-6  # held, not made up


def test_far_from_the_origin_of_the_map_nothing_is_lost() -> None:
    online = online_with()
    far = 5_334_000.0  # UTM: float32 knows half metres there
    see(online, 'ada', stamps(0, 30), place=far)
    futures = predicted(online).prediction.futures[0, 0, :, 0]
    assert futures[-1, 1] - futures[0, 1] == pytest.approx(99 / 50, abs=1e-3)
    assert futures[:, 0] == pytest.approx(far, abs=1e-4)
    assert np.diff(futures[:, 1]) == pytest.approx(1 / 50, abs=1e-4)


def test_the_nearest_people_are_kept_when_there_are_too_many() -> None:
    online = online_with(max_persons=2, reference_point_m=(6.0, 0.0, 0.0))
    for place in (2.0, 3.0, 4.0, 5.0):
        see(online, f'at {place:.0f}', stamps(0, 30), place=place)
    result = predicted(online)
    assert result.persons == ('at 5', 'at 4')
    assert set(result.unpredicted.values()) == {Excluded.TOO_MANY_PERSONS}


@pytest.mark.slow
def test_observing_from_threads_while_predicting_keeps_every_pose() -> None:
    online = online_with()

    def watch(name: str, place: float) -> None:
        see(online, name, stamps(0, 200), place=place)

    threads = [threading.Thread(target=watch, args=(f'{i}', 2.0 + 3.0 * i)) for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        online.predict()
        online.counters  # noqa: B018
    for thread in threads:
        thread.join()
    counted = online.counters
    assert counted['observations'] == 800
    assert counted['poses_accepted'] + counted['observations_held'] >= 800


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 100_000))
def test_whatever_arrives_predictions_are_finite_and_newest_stamped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    online = online_with(max_persons=2)
    now = START
    for _ in range(150):
        now += int(rng.choice([5, 33, 33, 33, 120])) * 1_000_000
        stamp = now - int(rng.choice([0, 0, 0, 30, 700, -900])) * 1_000_000
        name = f'{rng.choice(4)}'
        pose = pose_at(now, 2.0 + 3.0 * int(name))
        pose[rng.random(17) < 0.1] = rng.choice([np.nan, 0.0, 1e20])
        frame = 'map' if rng.random() < 0.99 else 'odom'
        if rng.random() < 0.05:
            online.observe_nobody(stamp, frame, now)
        else:
            online.observe(Observation(stamp, frame, name, pose), now)
        result = online.predict(now) if rng.random() < 0.5 else None
        if result is None:
            continue
        assert len(result.persons) <= 2
        assert not set(result.persons) & (set(result.departed) | set(result.unpredicted))
        assert (result.ages_s >= 0.0).all()
        if result.prediction is not None:
            assert np.isfinite(result.prediction.futures).all()
            newest_ns = int(result.stamps_ns.max())
            assert result.stamp_ns == online.people._stamps.given(newest_ns), 'as given'
            assert len(result.persons) == len(result.prediction.futures)


def test_the_real_predictor_fits() -> None:
    config = ModelConfig(
        role='swiftdiff', denoiser=DenoiserConfig(architecture='mixer', width=16, depth=1)
    )
    online = LivePredictor(
        Predictor(MotionModel(config, H36M17), {}, device='cpu'), samples=3, seed=7
    )
    see(online, 'ada', stamps(0, 30))
    see(online, 'bob', stamps(0, 30, -5_000_000), place=4.0)
    result = predicted(online)
    assert result.prediction.futures.shape == (2, 3, 100, 17, 3)
    assert np.isfinite(result.prediction.futures).all()
    alone = LivePredictor(online.predictor, samples=3, seed=7)
    see(alone, 'ada', stamps(0, 30))
    np.testing.assert_allclose(
        predicted(alone).prediction.futures[0], result.prediction.futures[0], atol=1e-5
    )


@pytest.mark.parametrize(
    'broken', [{'max_persons': 0}, {'seed': -1}, {'reference_point_m': (0.0, float('nan'), 0.0)}]
)
def test_settings_that_cannot_work_are_refused(broken: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(broken))):
        LivePredictor(GoesOn(), **broken)
