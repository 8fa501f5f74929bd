# SPDX-License-Identifier: Apache-2.0
"""Radii that follow what people really do: the rule, the watch, and both over a stream."""

from dataclasses import replace
import math

import numpy as np
import pytest

from motion_predictor.body.completion import hangs_on
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePrediction, LivePredictor
from motion_predictor.predict.prediction import Prediction, UNSEEN_RADIUS_M
from motion_predictor.predict.radius import (
    checked_instants,
    CoverageWatch,
    MODES,
    NARROWEST,
    PACE,
    RadiusScale,
    WIDEST,
)
from motion_predictor.recordings.walker import walk
from motion_predictor.sources.observation import Observation
from motion_predictor.track.window import ObservedWindow
from training.judge.calibrate import follow

SECOND = 10**9
WINDOW = WindowConfig()
INSTANTS = checked_instants(WINDOW.future_frames)
POSE = walk(0.1, 50.0, np.random.default_rng(0))[0].astype(np.float64)


class Uncertain:
    """Everybody stays where they are; how sure of that it is is known: samples on a sphere."""

    window = WINDOW
    skeleton: Skeleton = H36M17

    def __init__(self, radius_m: float = 0.1) -> None:
        self.radius_m = radius_m

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        del seed
        persons = len(observed)
        way = np.zeros((samples, 3))
        way[::2, 0], way[1::2, 0] = self.radius_m, -self.radius_m
        futures = observed[:, None, -1:] + way[None, :, None, None]
        futures = np.broadcast_to(futures, (persons, samples, WINDOW.future_frames, 17, 3))
        weights = np.full((persons, samples), 1.0 / samples, np.float32)
        return Prediction(futures.astype(np.float32), weights, WINDOW.rate_hz)


def test_a_joint_that_was_never_seen_has_no_small_radius() -> None:
    prediction = Uncertain(0.02).predict(np.stack([POSE[None]] * 2), samples=2, seed=0)
    frames = np.array([0, 99])
    moments = prediction.moments(frames)
    plain = prediction.radius(0.9, moments, frames)
    assert plain.max() < 0.05
    seen = np.ones((2, 17), dtype=bool)
    seen[0, [2, 3]] = False
    half = replace(prediction, hangs_on=hangs_on(seen, H36M17))
    radius = half.radius(0.9, moments, frames)
    np.testing.assert_allclose(radius[0][:, [2, 3]], UNSEEN_RADIUS_M)
    np.testing.assert_array_equal(radius[:, :, seen[0]], plain[:, :, seen[0]])
    np.testing.assert_array_equal(radius[1], plain[1])
    futures = prediction.futures.copy()
    futures[0, 0, :, 1, 2] += 2.0  # the hip from which the leg hangs
    wide = replace(half, sampled=futures)
    moments = wide.moments(frames)
    found = wide.radius(0.9, moments, frames)
    np.testing.assert_allclose(found[0, :, [2, 3]].T, found[0, :, [1, 1]].T)
    assert found[0, 0, 3] > 0.9


def test_the_scale_moves_by_what_was_missed_beyond_what_may_be() -> None:
    scale = RadiusScale(0.9)
    assert scale.value == 1.0
    assert math.isnan(scale.held)
    scale.note(1.0)
    assert scale.value == pytest.approx(math.exp(PACE * 0.9))
    scale.note(0.0, 0.5)
    assert scale.value == pytest.approx(math.exp(PACE * (0.9 - 0.05)))
    assert scale.held == pytest.approx(0.5)
    for _ in range(1000):
        scale.note(1.0)
    assert scale.value == pytest.approx(WIDEST)
    for _ in range(2000):
        scale.note(0.0)
    assert scale.value == pytest.approx(NARROWEST)


def test_what_may_not_move_does_not() -> None:
    widen, fixed, never_enough = (
        RadiusScale(0.9, 'widen'),
        RadiusScale(0.9, 'fixed'),
        RadiusScale(1),
    )
    for scale in (widen, fixed, never_enough):
        for _ in range(50):
            scale.note(0.0)
        assert scale.value == 1.0
        scale.note(1.0)
    assert widen.value > 1.0
    assert fixed.value == never_enough.value == 1.0
    assert fixed.held == pytest.approx(50 / 51)  # it is counted all the same
    with pytest.raises(ConfigError, match='share=0'):
        RadiusScale(0.0)
    with pytest.raises(ConfigError, match=f'off.*{", ".join(MODES)}'):
        RadiusScale(0.9, 'off')


@pytest.mark.parametrize('share', [0.9, 0.99])
@pytest.mark.parametrize('truth', [0.8, 1.0, 2.5])
def test_in_the_long_run_the_share_asked_is_held_of_anybody(share: float, truth: float) -> None:
    rng = np.random.default_rng(1)
    count = 4000
    real = truth * np.abs(rng.normal(size=(count, 1)))  # radii fitted on somebody with truth = 1
    stated = np.quantile(np.abs(rng.normal(size=100_000)), share)
    scale, missed = RadiusScale(share), []
    for one in real:
        missed.append(float((one > stated * scale.value).mean()))
        scale.note(missed[-1])
    assert 1.0 - np.mean(missed[200:]) == pytest.approx(share, abs=0.006)
    assert 1.0 - np.mean(missed) == pytest.approx(share, abs=0.01)


def glide(online: LivePredictor, speed_m_s: float, seconds: float, begin_s: float = 1.0) -> None:
    """Let one person go straight on; they are where the last pose was, 0.0 s to 2.0 s ahead."""
    for frame in range(round(seconds * 50)):
        at = [speed_m_s * frame / 50.0, 0.0, 0.0]
        online.observe(
            Observation(round((begin_s + frame / 50.0) * SECOND), 'map', 'a', POSE + at)
        )
        online.predict()


@pytest.mark.slow
def test_somebody_who_does_more_than_was_said_widens_the_radius() -> None:
    online = LivePredictor(Uncertain(0.3), samples=4)
    glide(online, 0.5, 1.8)  # 0.15 m to be expected half a second ahead, 0.5 m one second ahead
    assert 0.2 < online.radius_held < 0.8
    before = online.radius_scale
    glide(online, 0.5, 12.0, 3.0)
    assert online.radius_scale > max(before, 1.5)
    calm = LivePredictor(Uncertain(0.3), samples=4)
    glide(calm, 0.0, 12.0)
    assert calm.radius_held == 1.0
    assert NARROWEST < calm.radius_scale < 0.9
    for mode in ('widen', 'fixed'):
        kept = LivePredictor(Uncertain(0.3), samples=4, adapt=mode)
        glide(kept, 0.0, 6.0)
        assert kept.radius_scale == 1.0


def test_predictions_state_the_scaled_radius() -> None:
    online = LivePredictor(Uncertain(0.3), samples=4)
    glide(online, 0.6, 8.0)
    online.observe(Observation(9 * SECOND, 'map', 'a', POSE + [4.8, 0.0, 0.0]))
    result = online.predict()
    assert result is not None
    assert result.prediction is not None
    moments = result.prediction.moments(INSTANTS)
    radius = result.prediction.radius(0.9, moments, INSTANTS)
    np.testing.assert_allclose(radius, 0.3 * online.radius_scale, rtol=1e-4)
    assert online.radius_scale > 1.1


def test_another_share_or_mode_begins_anew() -> None:
    online = LivePredictor(Uncertain(), samples=4)
    glide(online, 1.0, 6.0)
    assert online.radius_scale > 1.0
    online.coverage = 0.5
    glide(online, 1.0, 1.0, 7.0)
    assert online.radius_scale == 1.0 or online.radius_held < 0.5  # of new checks alone
    online.adapt = 'fixed'
    glide(online, 1.0, 4.0, 8.0)
    assert online.radius_scale == 1.0


def window_at(stamp_ns: int, x: float, filled: np.ndarray | None = None) -> ObservedWindow:
    poses = np.repeat(POSE[None] + [x, 0.0, 0.0], WINDOW.observed_frames, axis=0)
    mask = np.zeros(poses.shape[:2], bool) if filled is None else filled
    return ObservedWindow(stamp_ns, poses, mask, 0, 0.02)


def watched() -> tuple[CoverageWatch, Uncertain]:
    watch, model = CoverageWatch(WINDOW, 0.9), Uncertain(0.1)
    tell(watch, model, window_at(SECOND, 0.0))
    return watch, model


def tell(watch: CoverageWatch, model: Uncertain, window: ObservedWindow, track: int = 1) -> float:
    prediction = model.predict(window.poses[None], samples=4, seed=0)
    watch.update((track,), (window,), prediction)
    return watch.held


def test_joints_that_were_not_seen_do_not_count() -> None:
    watch, model = watched()
    unseen = np.ones((WINDOW.observed_frames, 17), bool)
    assert math.isnan(tell(watch, model, window_at(SECOND * 13 // 10, 5.0, unseen)))
    watch, model = watched()
    unseen[:, :3] = False
    assert tell(watch, model, window_at(SECOND * 13 // 10, 5.0, unseen)) == 0.0


def test_what_was_not_observed_does_not_count() -> None:
    watch, model = watched()
    assert math.isnan(tell(watch, model, window_at(SECOND * 12 // 10, 5.0)))  # has not come
    assert math.isnan(tell(watch, model, window_at(4 * SECOND, 5.0)))  # was missed


def moved(
    online: LivePredictor, person: str, frame: int, x: float, frame_id: str = 'map'
) -> LivePrediction | None:
    stamp_ns = 100 * SECOND + frame * (SECOND // 50)
    online.observe(Observation(stamp_ns, frame_id, person, POSE + [x, 0.0, 0.0]))
    return online.predict()


def test_who_gets_a_new_id_is_still_watched() -> None:
    online = LivePredictor(Uncertain(), samples=4)
    renamed = set[str]()
    for frame in range(40):
        result = moved(online, 'a' if frame < 20 else 'b', frame, 0.0)
        renamed |= set(result.reassociated if result else ())
    assert renamed == {'b'}
    assert online.radius_held == 1.0


@pytest.mark.parametrize('how', ['another frame', 'an id that goes elsewhere', 'time begins anew'])
def test_somebody_else_is_not_held_to_what_was_said_of_the_first(how: str) -> None:
    online = LivePredictor(Uncertain(), samples=4)
    for frame in range(24):  # predicted from a quarter of a second on
        moved(online, 'a', frame, 0.0)
    assert math.isnan(online.radius_held)
    frame_id = 'odom' if how == 'another frame' else 'map'
    shift = -20 if how == 'time begins anew' else 0
    for frame in range(24, 60):
        moved(online, 'a', frame + 50 * shift // 10, 30.0, frame_id)
    assert online.radius_held == 1.0  # of the second one's own predictions alone


@pytest.mark.slow
def test_the_report_follows_as_the_node_does() -> None:
    rng = np.random.default_rng(5)
    seconds, model = 40, Uncertain(0.12)
    x = np.cumsum(rng.normal(size=seconds * 50)) * 0.02
    online = LivePredictor(model, samples=4)
    scales: dict[int, float] = {}
    for frame, at in enumerate(x):
        online.observe(
            Observation(SECOND + frame * (SECOND // 50), 'map', 'a', POSE + [at, 0.0, 0.0])
        )
        told_now = online.predict()
        if told_now is not None and told_now.prediction is not None:
            scales[frame] = online.radius_scale
    begun = np.arange(min(scales), len(x), 25)
    whole = begun[begun + WINDOW.future_frames < len(x)]
    ahead = whole[:, None] + 1 + np.arange(WINDOW.future_frames)
    apart = np.abs(x[ahead] - x[whole, None])[:, :, None] / 0.12
    start = whole.astype(np.int64)
    replayed = follow(apart, np.zeros(len(start), np.int64), start, 0.9, 'both')
    told = np.array([scales[frame] for frame in whole])
    assert np.ptp(told) > 0.2
    np.testing.assert_allclose(replayed, told, rtol=1e-6)
    again = follow(apart, np.arange(len(start)), start, 0.9, 'fixed')
    assert (again == 1.0).all()
