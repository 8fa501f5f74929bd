# SPDX-License-Identifier: Apache-2.0
"""Recordings are played as a tracker sends them: causally, and judged by the clean truth."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_model, save_recording, walking

from motion_predictor.errors import ConfigError
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from training.data.clips import Clip
from training.data.windows import load_clips, recordings_folder
from training.judge.stream.streams import GAP_S, Moment, SimulatedTracker, Stream, Take, takes_of


@pytest.fixture(scope='module')
def predictor() -> Predictor:
    return Predictor(random_model(), {}, None, device='cpu')


def online(predictor: Predictor) -> LivePredictor:
    return LivePredictor(predictor, samples=3)


def clips(*frames: int) -> tuple[Clip, ...]:
    return tuple(
        Clip(f'w{i}', f'person{i % 2}', 'walk', walking(count, i, 25.0).astype(np.float32), 25.0)
        for i, count in enumerate(frames)
    )


def moments(predictor: Predictor, takes: tuple[Take, ...], **settings: object) -> list[Moment]:
    return list(Stream(online(predictor), takes, **settings))  # type: ignore[arg-type]


def test_a_prediction_every_12_frames_while_two_seconds_of_truth_remain(
    predictor: Predictor,
) -> None:
    found = moments(predictor, takes_of(clips(63, 100)))
    assert [(m.clip, round(m.time_s, 6)) for m in found] == [
        (0, 0.48), (1, 0.48), (1, 0.96), (1, 1.44), (1, 1.92),
    ]  # fmt: skip
    assert [m.minutes for m in found] == pytest.approx(
        [t / 60.0 for t in (0.48, 2.48 + 0.48, 2.48 + 0.96, 2.48 + 1.44, 2.48 + 1.92)]
    )
    assert all(m.prediction.persons == (m.subject,) for m in found)
    assert {m.kind for m in found} == {'walking'}


def test_every_clip_is_a_new_track_and_the_person_departs_between(predictor: Predictor) -> None:
    node = online(predictor)
    list(Stream(node, takes_of(clips(63, 63, 63))))
    assert node.counters['persons_appeared'] == 3
    assert node.counters['persons_departed'] == 3
    assert node.counters['persons_reassociated'] == 0
    assert node.counters['resets_jump_back'] == 0
    assert node.counters['observations_elsewhere'] == 0


@pytest.mark.slow
@pytest.mark.parametrize('rate_hz', [10.0, 15.0, 25.0, 30.0, 60.0])
def test_the_truth_is_the_clean_recording_at_the_instants_predicted(
    predictor: Predictor, rate_hz: float
) -> None:
    time_s = np.arange(150)[:, None, None] / 25.0
    rest = walking(1)[:1]
    phase = np.linspace(0.0, 3.0, 51).reshape(1, 17, 3)
    motion = 0.05 * np.sin(2.0 * np.pi * 1.5 * time_s + phase)
    recording = (rest + motion).astype(np.float32)
    take = Take(0, 'a', recording, 25.0, (0.0,), ('wave',))
    tracker = SimulatedTracker(rate_hz=rate_hz, noise_m=0.01)
    found = moments(predictor, (take,), tracker=tracker)
    assert len(found) == 8
    for moment in found:
        assert 0.48 * (1 + found.index(moment)) - 1.0 / rate_hz < moment.time_s + 1e-6
        assert moment.window.stamp_ns == moment.prediction.stamp_ns
        ahead_s = moment.time_s + np.arange(1, 101)[:, None, None] / 50.0
        real = rest + 0.05 * np.sin(2.0 * np.pi * 1.5 * ahead_s + phase)
        inner = ahead_s[:, 0, 0] < 5.5  # past its ends a recording is continued by guessing
        np.testing.assert_allclose(moment.truth[inner], real[inner], atol=4e-4)
        now = rest + 0.05 * np.sin(2.0 * np.pi * 1.5 * moment.time_s + phase)
        apart = np.linalg.norm(moment.window.poses[-1] - now[0], axis=-1)
        assert 0.002 < apart.mean() < 0.03  # seen through noise


def test_what_comes_later_changes_no_earlier_prediction(predictor: Predictor) -> None:
    whole = clips(200)[0]
    other = whole.positions.copy()
    other[100:] += np.linspace(0.0, 0.5, 100, dtype=np.float32)[:, None, None]
    # between two recorded poses the motion is interpolated, from 16 of them on each side
    for tracker, reach in ((SimulatedTracker(), 0), (SimulatedTracker(rate_hz=10.0), 16)):
        one = moments(predictor, takes_of([whole]), tracker=tracker)
        two = moments(predictor, takes_of([replace(whole, positions=other)]), tracker=tracker)
        same = []
        for a, b in zip(one, two, strict=True):
            assert a.prediction.prediction is not None
            assert b.prediction.prediction is not None
            same.append(
                np.array_equal(a.prediction.prediction.futures, b.prediction.prediction.futures)
            )
        earlier = [m.time_s < (100 - reach) / 25.0 for m in one]
        assert 0 < sum(earlier) < len(earlier)
        assert all(alike for alike, before in zip(same, earlier) if before)
        assert not same[-1]


@pytest.mark.slow
def test_in_another_order_the_same_poses_are_seen_of_each_clip(predictor: Predictor) -> None:
    takes = takes_of(clips(63, 88, 75, 63, 80))
    tracker = SimulatedTracker(noise_m=0.01, wander_m=0.01, missing=0.02)
    given = moments(predictor, takes, tracker=tracker)
    mixed = moments(predictor, takes, tracker=tracker, order='random', seed=0)
    assert [m.clip for m in given] == sorted(m.clip for m in given)
    assert [m.clip for m in mixed] != sorted(m.clip for m in mixed)

    def windows(of: list[Moment]) -> dict[tuple[int, float], np.ndarray]:
        return {(m.clip, m.time_s): m.window.poses for m in of}

    one, two = windows(given), windows(mixed)
    assert one.keys() == two.keys()
    for key, poses in one.items():
        np.testing.assert_array_equal(poses, two[key])
    again = moments(predictor, takes, tracker=tracker, order='random', seed=0)
    assert [m.clip for m in again] == [m.clip for m in mixed]
    seeds = {
        tuple(m.clip for m in moments(predictor, takes, order='random', seed=seed))
        for seed in range(4)
    }
    assert len(seeds) > 1


def test_the_tracker_adds_what_it_says() -> None:
    still = np.ones((20_000, 2, 3), dtype=np.float32)
    generator = np.random.default_rng(0)
    white, _ = SimulatedTracker(noise_m=0.02).see(still, 25.0, generator)
    noise = white - 1.0
    assert noise.std() == pytest.approx(0.02, rel=0.02)
    assert abs(np.corrcoef(noise[1:, 0, 0], noise[:-1, 0, 0])[0, 1]) < 0.03
    slow, _ = SimulatedTracker(wander_m=0.02, wander_s=0.4).see(still, 25.0, generator)
    wander = slow - 1.0
    assert wander.std() == pytest.approx(0.02, rel=0.05)
    apart = np.corrcoef(wander[10:, 0, 0], wander[:-10, 0, 0])[0, 1]
    assert apart == pytest.approx(np.exp(-1.0), abs=0.05)
    exact, seen = SimulatedTracker(missing=0.1, missing_s=0.2).see(still, 25.0, generator)
    np.testing.assert_array_equal(exact, still)
    assert 1.0 - seen.mean() == pytest.approx(0.1, abs=0.01)
    gone = np.flatnonzero(np.diff(seen[:, 0].astype(int)) == -1)
    assert (~seen[:, 0]).sum() / len(gone) / 25.0 == pytest.approx(0.2, rel=0.15)


def test_a_slow_tracker_samples_and_does_not_smooth() -> None:
    recording = walking(100, 0, 25.0).astype(np.float32)
    at_10, _ = SimulatedTracker(rate_hz=10.0).see(recording, 25.0, np.random.default_rng(0))
    np.testing.assert_allclose(at_10[::2], recording[::5], atol=1e-6)


def test_moments_without_a_prediction_are_counted_by_their_reason(predictor: Predictor) -> None:
    tracker = SimulatedTracker(missing=0.5, missing_s=1.0)
    stream = Stream(online(predictor), takes_of(clips(200)), tracker)
    found = list(stream)
    assert stream.not_predicted['joint_missing'] > 0
    assert len(found) + sum(stream.not_predicted.values()) == 12


def test_motion_that_nobody_made_is_marked(predictor: Predictor) -> None:
    recording = walking(250, 0, 25.0).astype(np.float32)
    take = Take(0, 'a', recording, 25.0, (0.0, 5.0), ('walk', 'stroll'), ((4.8, 5.2),))
    found = moments(predictor, (take,))
    marked = [m.time_s for m in found if m.on_seam]
    assert min(marked) == pytest.approx(2.88)  # the first whose future passes 4.8 s
    assert max(marked) == pytest.approx(5.28)  # the last whose window begins before 5.2 s
    assert Counter(m.action for m in found) == {'walk': 10, 'stroll': 6}


def test_settings_that_cannot_work_are_refused(predictor: Predictor) -> None:
    takes = takes_of(clips(63))
    for settings, said in (
        ({'order': 'sideways'}, 'order'),
        ({'gap_s': 0.5}, 'gap_s'),
        ({'every_s': 0.0}, 'every_s'),
    ):
        with pytest.raises(ConfigError, match=said):
            Stream(online(predictor), takes, **settings)  # type: ignore[arg-type]
    for settings in ({'rate_hz': 1.0}, {'noise_m': -1.0}, {'missing': 1.0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            SimulatedTracker(**settings)
    assert LivePredictor(predictor).limits.stale_timeout_s < GAP_S


def test_a_file_is_played_whole(predictor: Predictor, tmp_path: Path) -> None:
    folder = recordings_folder()
    file = folder / 'reactidle17/val.npz' if folder else save_recording(tmp_path / 'a.npz', (90,))
    clips_there = load_clips(file)[:1]
    frames = min(len(clips_there[0].positions), 500)
    cut = replace(clips_there[0], positions=clips_there[0].positions[:frames])
    found = moments(predictor, takes_of([cut]))
    assert len(found) == (frames - 1 - 50) // 12
