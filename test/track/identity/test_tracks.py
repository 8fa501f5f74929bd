# SPDX-License-Identifier: Apache-2.0
"""Who is who: whatever a tracker calls people, and in whatever order it lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from online_people import REST, SECOND, START
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePrediction, LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.sources.observation import Observation
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.identity.assign import clear_owner, Expected, Sighting, Track
from motion_predictor.track.limits import PeopleLimits
from motion_predictor.track.messages import ObserveOutcome


class GoesOn:
    """A model that lets everyone go on as they moved in the last 0.1 s."""

    window = WindowConfig()
    skeleton = H36M17

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Continue straight on, the same in every sample."""
        step = (observed[:, -1] - observed[:, -6]) / 5.0
        ahead = np.arange(1, self.window.future_frames + 1)[None, :, None, None] * step[:, None]
        futures = np.repeat((observed[:, -1, None] + ahead)[:, None], samples, axis=1)
        weights = np.full((len(observed), samples), 1.0 / samples, dtype=np.float32)
        return Prediction(futures.astype(np.float32), weights, self.window.rate_hz)


def walker(at_s: float, place: Sequence[float] = (0.0, 0.0), turn: float = 0.0) -> np.ndarray:
    """Somebody who walks ahead at 1 m/s and swings arms and legs, at any instant, (J, 3)."""
    pose = REST.copy()
    for joint, reach in (('RAnkle', 0.3), ('LAnkle', -0.3), ('LWrist', 0.2), ('RWrist', -0.2)):
        pose[H36M17.index(joint), 0] += reach * np.sin(2.0 * np.pi * at_s)
    pose[:, 0] += at_s
    c, s = np.cos(turn), np.sin(turn)
    return pose @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + [*place, 0.0]


def named_of(online: LivePredictor) -> dict[str, Track]:
    return online.people._tracks.named


def online_with(**settings: object) -> LivePredictor:
    """Online predictor with the model above."""
    return LivePredictor(GoesOn(), samples=2, **settings)


def play(
    online: LivePredictor,
    rate_hz: float,
    seconds: float,
    named: Callable[[int, int], str],
    people: Sequence[Callable[[float], np.ndarray]],
    *,
    order: Callable[[int], Sequence[int]] | None = None,
    identified: bool = True,
    asked: Callable[[int], bool] = lambda frame: True,
) -> list[tuple[float, LivePrediction]]:
    """Show everybody in every frame, ``named(frame, place in the message)``; predict."""
    results = []
    for frame in range(int(seconds * rate_hz)):
        at_s = frame / rate_hz
        listed = list(range(len(people))) if order is None else order(frame)
        for place, index in enumerate(listed):
            name = named(frame, place if order is not None else index)
            stamp = START + round(at_s * SECOND)
            pose = people[index](at_s)
            online.observe(Observation(stamp, 'map', name, pose, identified=identified))
        if asked(frame):
            result = online.predict()
            if result is not None:
                results.append((at_s, result))
    return results


def root_errors(
    at_s: float, result: LivePrediction, people: Sequence[Callable[[float], np.ndarray]]
) -> list[float]:
    """Distance of each predicted root from the nearest real one half a second on."""
    if result.prediction is None:
        return []
    real = np.array([person(at_s + 0.5)[0] for person in people])
    roots = result.prediction.futures[:, 0, 24, 0]
    return [float(np.linalg.norm(root - real, axis=1).min()) for root in roots]


def beside(apart_m: float) -> list[Callable[[float], np.ndarray]]:
    """Two who walk side by side."""
    return [walker, lambda at_s: walker(at_s, (0.0, apart_m))]


@pytest.mark.slow
@pytest.mark.parametrize('identified', [True, False])
@pytest.mark.parametrize(
    'rate_hz,apart_m', [(30, 0.6), (30, 1.0), (30, 2.0), (15, 0.9), (10, 1.2), (5, 2.0)]
)
def test_people_listed_in_any_order_are_never_taken_for_one_another(
    rate_hz: float, apart_m: float, identified: bool
) -> None:
    rng = np.random.default_rng(1)
    people, online = beside(apart_m), online_with()
    results = play(
        online, rate_hz, 6.0, lambda frame, place: str(place), people,
        order=lambda frame: rng.permutation(2).tolist(), identified=identified,
    )  # fmt: skip
    late = [(at_s, result) for at_s, result in results if at_s > 0.7]
    assert all(len(result.persons) == 2 for _, result in late), 'somebody was not predicted'
    errors = [error for at_s, result in late for error in root_errors(at_s, result, people)]
    assert max(errors) < 0.4
    counted = online.counters
    assert counted['observations_elsewhere'] == counted['persons_replaced'] == 0
    assert (counted['persons_switched'] > 0) is identified


@pytest.mark.slow
@pytest.mark.parametrize('rate_hz,apart_m', [(30, 0.6), (15, 0.9), (10, 1.2), (5, 2.0)])
def test_ids_that_are_switched_once_a_second_lose_no_history(
    rate_hz: float, apart_m: float
) -> None:
    people, online = beside(apart_m), online_with()
    results = play(
        online, rate_hz, 6.0, lambda frame, place: str(place), people,
        order=lambda frame: (1, 0) if int(frame / rate_hz) % 2 else (0, 1),
    )  # fmt: skip
    late = [(at_s, result) for at_s, result in results if at_s > 0.7]
    errors = [error for at_s, result in late for error in root_errors(at_s, result, people)]
    assert len(errors) == 2 * len(late)
    assert max(errors) < 0.4
    assert online.counters['persons_switched'] == 2 * 5


def test_without_ids_a_body_keeps_its_name_in_any_order() -> None:
    rng = np.random.default_rng(2)
    online = online_with()
    results = play(
        online, 30, 3.0, lambda frame, place: str(place), beside(0.8),
        order=lambda frame: rng.permutation(2).tolist() if frame else (0, 1), identified=False,
    )  # fmt: skip
    for at_s, result in results:
        if at_s > 0.7:
            last = dict(zip(result.persons, result.last_poses))
            assert last['0'][0, 1] < last['1'][0, 1], 'the bodies changed names'


@pytest.mark.slow
@pytest.mark.parametrize('silent_s', [0.4, 0.6, 0.9, 1.4])
@pytest.mark.parametrize('goes_on', [True, False])
@pytest.mark.parametrize('settings', [{}, {'reassociate_within_m': 0.0}])
@pytest.mark.parametrize('after', [(1, 0), (1,)])
def test_without_ids_a_body_keeps_its_name_through_a_silence(
    silent_s: float, goes_on: bool, settings: dict[str, float], after: tuple[int, ...]
) -> None:
    limits = PeopleLimits(stale_timeout_s=5.0, **settings)
    people, online = beside(3.0), online_with(limits=limits)
    play(online, 30, 1.0, lambda frame, place: str(place), people, order=lambda frame: (0, 1),
         identified=False)  # fmt: skip
    stamp_ns = START + round((29 / 30 + silent_s) * SECOND)
    for place, index in enumerate(after):
        pose = people[index](29 / 30 + silent_s * goes_on) + [0.01, 0.0, 0.0]  # not frozen
        online.observe(Observation(stamp_ns, 'map', str(place), pose, identified=False))
    online.snapshot()
    there = {n: track.history.newest_pose[0][0, 1] for n, track in named_of(online).items()}
    assert there == {'0': 0.0, '1': 3.0}
    assert named_of(online)['1'].newest_stamp_ns == stamp_ns
    assert online.counters['persons_appeared'] == 2


@pytest.mark.parametrize('silent_s', [0.1, 0.3, 0.6, 1.4])
@pytest.mark.parametrize('after', [(1, 0), (1,)])
def test_without_ids_a_place_counts_for_less_than_where_bodies_are(
    silent_s: float, after: tuple[int, ...]
) -> None:
    """Also where they seemed to run, since the last two stamps were too near to each other."""
    online = online_with(limits=PeopleLimits(stale_timeout_s=5.0))
    people = beside(3.0)
    play(online, 30, 1.0, lambda frame, place: str(place), people, order=lambda frame: (0, 1),
         identified=False)  # fmt: skip
    for at_s, places in ((0.98, (0, 1)), (0.98 + silent_s, after)):
        stamp_ns = START + round(at_s * SECOND)
        for place, index in enumerate(places):
            pose = people[index](29 / 30) + [0.0, 0.05 * min(at_s, 1.0), 0.0]
            online.observe(Observation(stamp_ns, 'map', str(place), pose, identified=False))
    online.snapshot()
    there = {n: track.history.newest_pose[0][0, 1] for n, track in named_of(online).items()}
    assert there == {'0': pytest.approx(0.0, abs=0.1), '1': pytest.approx(3.0, abs=0.1)}
    assert named_of(online)['1'].newest_stamp_ns == stamp_ns


@pytest.mark.parametrize('after', [(1, 0), (1,)])
def test_without_ids_a_body_has_its_name_again_after_it_was_given_up(
    after: tuple[int, ...],
) -> None:
    people, online = beside(3.0), online_with()
    play(online, 30, 1.0, lambda frame, place: str(place), people, order=lambda frame: (0, 1),
         identified=False)  # fmt: skip
    online.observe_nobody(START + 3 * SECOND, 'map')
    result = online.predict()
    assert result is not None
    assert set(result.departed) == {'0', '1'}
    for place, index in enumerate(after):
        pose = people[index](1.5)
        stamp_ns = START + round(3.5 * SECOND)
        online.observe(Observation(stamp_ns, 'map', str(place), pose, identified=False))
    online.snapshot()
    there = {n: track.history.newest_pose[0][0, 1] for n, track in named_of(online).items()}
    assert there == {str(index): 3.0 * index for index in after}


def test_without_ids_who_leaves_does_not_hand_their_name_on() -> None:
    online = online_with()
    results = play(
        online, 30, 2.0, lambda frame, place: str(place), beside(0.8),
        order=lambda frame: (0, 1) if frame < 30 else (1,), identified=False,
    )  # fmt: skip
    assert results[-1][1].persons == ('1',)
    assert online.counters['persons_switched'] == 0


@pytest.mark.slow
def test_ids_that_are_right_are_believed_when_people_pass_close_by() -> None:
    people = [walker, lambda at_s: walker(at_s, (6.0, 0.35), np.pi)]
    for rate_hz in (5, 8, 15, 30):
        online = online_with()
        play(online, rate_hz, 6.0, lambda frame, index: f'id {index}', people)
        counted = online.counters
        assert counted['persons_switched'] == counted['persons_replaced'] == 0


@pytest.mark.slow
@pytest.mark.parametrize('one_in', [1, 2, 3])
@pytest.mark.parametrize('apart_m', [None, 1.0])
def test_a_new_id_in_every_frame_is_followed_though_few_frames_are_predicted(
    one_in: int, apart_m: float | None
) -> None:
    people = [walker] if apart_m is None else beside(apart_m)
    online = online_with()
    results = play(
        online, 30, 4.0, lambda frame, index: f'{frame}-{index}', people,
        asked=lambda frame: frame % one_in == 0,
    )  # fmt: skip
    late = [(at_s, result) for at_s, result in results if at_s > 0.8]
    for at_s, result in late:
        assert len(result.persons) == len(people)
        assert max(root_errors(at_s - 1 / 30, result, people)) < 0.4
    assert len(late) >= 90 // one_in


def test_former_names_are_told_across_frames_that_were_not_predicted() -> None:
    online = online_with()
    results = play(
        online, 30, 2.0, lambda frame, index: f'{frame}', [walker],
        asked=lambda frame: frame % 3 == 0,
    )  # fmt: skip
    before, after = results[-2][1], results[-1][1]
    assert after.reassociated == {after.persons[0]: before.persons[0]}


@pytest.mark.parametrize('identified', [True, False])
@pytest.mark.parametrize('offset_s', [0.0, 0.011])
def test_two_trackers_that_both_count_from_0_show_two_people(
    identified: bool, offset_s: float
) -> None:
    online = online_with()
    there = [walker, lambda at_s: walker(at_s, (0.0, 3.0))]
    for frame in range(60):
        for index, person in enumerate(there):
            at_s = frame / 30 + index * offset_s
            stamp = START + round(at_s * SECOND)
            online.observe(Observation(stamp, 'map', '0', person(at_s), identified=identified))
    result = online.predict()
    assert result is not None
    assert set(result.persons) == ({'0', '0/2'} if identified else {'0', '1'})
    counted = online.counters
    assert counted['poses_accepted'] == 120, 'an observation was dropped'
    assert counted['persons_sharing_id'] == int(identified)
    assert online.shared_ids == (('0',) if identified else ())


@pytest.mark.slow
@pytest.mark.parametrize('order', ['nearest first', 'farthest first', 'shuffled'])
@pytest.mark.parametrize('count', [33, 40, 64])
def test_a_crowd_never_costs_the_nearest_person(count: int, order: str) -> None:
    rng = np.random.default_rng(0)
    online = online_with(max_persons=8)
    ids = list(range(count))
    for frame in range(25):
        if order == 'farthest first':
            ids.sort(reverse=True)
        elif order == 'shuffled':
            rng.shuffle(ids)
        stamp = START + frame * SECOND // 30
        for index in ids:
            pose = walker(frame / 30, (1.5 * (index + 1), 0.0))
            online.observe(Observation(stamp, 'map', str(index), pose), stamp)
        result = online.snapshot(stamp)
        assert result is not None
        if frame >= 10:
            assert set(result.persons) == {str(index) for index in range(8)}
    assert online.counters['persons_evicted'] == 0
    assert online.counters['observations_crowded_out'] == 25 * (count - 32)
    assert len(online.people._tracks.named) == 32


def test_who_comes_nearer_than_the_crowd_takes_the_place_of_the_farthest() -> None:
    online = online_with(max_persons=4)
    for frame in range(20):
        stamp = START + frame * SECOND // 30
        for index in range(17 if frame >= 10 else 16):
            place = 0.5 if index == 16 else 3.0 + index
            online.observe(Observation(stamp, 'map', str(index), walker(0.0, (place, 0.0))))
    result = online.predict()
    assert result is not None
    assert result.persons[0] == '16'
    assert online.counters['persons_evicted'] == 1
    assert '15' in result.departed


def test_an_id_is_believed_where_taking_over_is_not_allowed() -> None:
    online = online_with(limits=PeopleLimits(reassociate_within_m=0.0))
    play(
        online, 30, 2.0, lambda frame, place: str(place), beside(0.6),
        order=lambda frame: (1, 0) if frame > 30 else (0, 1),
    )  # fmt: skip
    assert online.counters['persons_switched'] == 0


def test_counters_that_are_read_in_between_leave_a_message_whole() -> None:
    online = online_with()
    for frame in range(30):
        for place, pose in enumerate((walker(frame / 30), walker(frame / 30, (0.0, 3.0)))):
            stamp = START + frame * SECOND // 30
            seen = Observation(stamp, 'map', str(place), pose, identified=False)
            assert online.observe(seen).outcome is ObserveOutcome.STORED
            assert online.counters_so_far['observations_elsewhere'] == 0  # as diagnostics do
    assert online.counters['poses_accepted'] == 60


def test_a_second_body_beside_everybody_seen_is_there_at_once() -> None:
    online = online_with()
    for frame in range(12):
        stamp = START + frame * SECOND // 30
        for place in range(2 if frame >= 10 else 1):
            pose = walker(frame / 30, (0.0, 2.0 * place))
            outcome = online.observe(
                Observation(stamp, 'map', str(place), pose, identified=False)
            ).outcome
            assert outcome is ObserveOutcome.STORED
    assert online.counters['poses_accepted'] == 14


@pytest.mark.parametrize('identified', [True, False])
def test_stamps_that_stand_still_make_nobody_up(identified: bool) -> None:
    online = online_with()
    for frame in range(90):
        pose = walker(frame / 30)
        online.observe(Observation(START, 'map', '0', pose, identified=identified))
    assert list(online.people._tracks.named) == ['0']
    assert online.counters['persons_appeared'] == 1


def test_whoever_is_clearly_where_they_were_is_known_as_by_the_full_comparison() -> None:
    rng, step = np.random.default_rng(4), SECOND // 30
    history = PoseHistory()
    for frame in range(5):
        history.add(START + frame * step, walker(frame * step * 1e-9))
    track = Track(1, history, 'a', '0', name='0')
    found = 0
    for _ in range(300):
        stamp = START + int(rng.integers(3, 12)) * step
        xyz = walker((stamp - START) * 1e-9) + rng.normal(0.0, rng.choice([0.0, 0.1, 0.4]), 3)
        xyz[rng.random(17) < rng.choice([0.0, 0.2])] += rng.choice([0.1, 1.0, 9.0])
        sighting = Sighting(stamp, 'a', '0', True, xyz, rng.random(17) < rng.choice([1.0, 0.4]))
        away = Expected([track], stamp, H36M17).distances(sighting)
        is_there = bool(away.possible[0] and not away.off_m[0] > 0.15)
        assert (clear_owner(sighting, {'0': track}, H36M17) is track) == is_there
        found += is_there
    assert 50 < found < 250
