# SPDX-License-Identifier: Apache-2.0
"""People: their comings and goings, stamps, frames and ids, told from what is predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from online_people import (
    expected_futures,
    GoesOn,
    online_with,
    PERIOD,
    pose_at,
    predicted,
    REST,
    SECOND,
    see,
    stamps,
    START,
)
import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.predict.live import LivePredictor
from motion_predictor.sources.observation import Observation
from motion_predictor.track.limits import HistoryLimits, PeopleLimits
from motion_predictor.track.messages import ObserveOutcome
from motion_predictor.track.states import Excluded, Refusal
from motion_predictor.track.window import NotReady


def test_ever_new_ids_do_not_fill_the_memory() -> None:
    online = online_with(max_persons=2)
    for index, stamp in enumerate(stamps(0, 300)):
        see(online, f'id {index}', [stamp], place=2.0 + 5.0 * (index % 7))
    assert len(online.people._tracks.named) <= 16
    assert online.counters['persons_reassociated'] > 200


def test_a_person_who_is_gone_departs_once() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    end = stamps(0, 30)[-1]
    assert predicted(online, end).persons == ('ada',)
    assert online.predict(end + SECOND // 2) is None
    gone = predicted(online, end + 11 * SECOND // 10)
    assert gone.departed == ('ada',)
    assert gone.persons == ()
    assert gone.prediction is None
    assert gone.stamp_ns == end
    assert online.predict(end + 2 * SECOND) is None
    assert online.counters['persons_departed'] == 1


def test_an_empty_message_lets_time_pass_without_a_clock() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    predicted(online)
    end = stamps(0, 30)[-1]
    online.observe_nobody(end + SECOND // 2, 'map')
    absent = predicted(online)
    assert absent.persons == ()
    assert absent.unpredicted == {'ada': Excluded.NOT_SEEN_LATELY}
    online.observe_nobody(end + 2 * SECOND, 'map')
    assert predicted(online).departed == ('ada',)


def test_one_leaves_while_another_stays() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    see(online, 'bob', stamps(0, 30), place=4.0)
    assert set(predicted(online).persons) == {'ada', 'bob'}
    see(online, 'ada', stamps(30, 45))
    result = predicted(online)
    assert result.persons == ('ada',)
    assert result.unpredicted == {'bob': Excluded.NOT_SEEN_LATELY}
    see(online, 'ada', stamps(45, 65))
    assert predicted(online).departed == ('bob',)


def test_a_tracker_whose_clock_is_behind_is_not_always_stale() -> None:
    online = online_with()
    for stamp in stamps(0, 30):
        online.observe(Observation(stamp, 'map', 'ada', pose_at(stamp)), stamp + 20 * SECOND)
    assert predicted(online, stamps(0, 30)[-1] + 20 * SECOND).persons == ('ada',)


def test_a_person_departs_though_the_clock_was_set_back() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    back = START - 3600 * SECOND
    assert predicted(online, back).persons == ('ada',)
    assert predicted(online, back + 2 * SECOND).departed == ('ada',)


def test_an_observation_far_in_the_future_is_dropped() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    ahead = Observation(START + 60 * SECOND, 'map', 'ada', REST + 1.0)
    assert online.observe(ahead, START + SECOND).outcome is ObserveOutcome.FAR_FUTURE
    assert predicted(online).stamp_ns == stamps(0, 30)[-1]
    assert online.counters['observations_far_future'] == 1


def test_without_a_clock_one_stamp_from_the_future_does_not_last() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 10))
    see(online, 'ada', [START + 3600 * SECOND])
    see(online, 'ada', stamps(10, 40))
    assert predicted(online).stamp_ns == stamps(0, 40)[-1]
    assert online.counters['resets_jump_back'] == 1


def test_a_recording_that_begins_anew_resets_and_loses_nothing() -> None:
    online = online_with()
    see(online, 'ada', stamps(100, 130))
    see(online, 'bob', stamps(100, 130), place=4.0)
    predicted(online)
    outcomes = see(online, 'ada', stamps(0, 1)) + see(online, 'bob', stamps(0, 1), place=4.0)
    assert outcomes == [ObserveOutcome.HELD] * 2
    again = Observation(stamps(0, 2)[1], 'map', 'ada', pose_at(stamps(0, 2)[1]))
    result = online.observe(again)
    assert result.reset
    assert result.stored
    see(online, 'ada', stamps(2, 30))
    see(online, 'bob', stamps(1, 30), place=4.0)
    result = predicted(online)
    assert set(result.persons) == {'ada', 'bob'}
    assert result.stamp_ns == stamps(0, 30)[-1]
    assert result.padded_frames.tolist() == [0, 0]
    assert result.departed == ()
    assert online.counters['resets_jump_back'] == 1


def test_new_ids_after_a_jump_back_reset_too_and_the_old_ones_depart() -> None:
    online = online_with()
    see(online, 'ada', stamps(100, 130))
    predicted(online)
    see(online, 'eve', stamps(0, 20))
    result = predicted(online)
    assert result.persons == ('eve',)
    assert result.departed == ('ada',)


def test_a_single_straggler_is_no_new_beginning() -> None:
    online = online_with()
    see(online, 'ada', stamps(30, 60))
    assert see(online, 'ada', stamps(10, 11)) == [ObserveOutcome.HELD]
    see(online, 'ada', stamps(60, 62))
    assert see(online, 'ada', stamps(10, 11)) == [ObserveOutcome.HELD]
    see(online, 'ada', stamps(62, 63))
    assert online.counters['resets_jump_back'] == 0
    assert online.counters['observations_too_late'] == 2
    assert predicted(online).persons == ('ada',)


def test_one_person_far_behind_does_not_reset_the_others() -> None:
    online = online_with()
    for index in range(30):
        see(online, 'ada', stamps(100 + index, 101 + index))
        see(online, 'bob', stamps(index, index + 1), place=4.0)
    assert online.counters['resets_jump_back'] == 0
    assert predicted(online).persons == ('ada',)


def test_another_frame_resets() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    predicted(online)
    moved = Observation(stamps(0, 31)[-1], 'odom', 'ada', pose_at(START) + 5.0)
    assert online.observe(moved).reset
    result = predicted(online)
    assert result.frame_id == 'odom'
    assert result.unpredicted == {'ada': NotReady.TOO_FEW_POSES}
    assert online.counters['resets_frame_change'] == 1


def test_resetting_forgets_everyone() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    online.reset()
    result = predicted(online)
    assert result.persons == ()
    assert result.departed == ('ada',)
    assert online.predict() is None


@pytest.mark.parametrize('within_m,takes_over', [(0.5, True), (0.0, False)])
def test_a_new_id_where_another_vanished_takes_over(within_m: float, takes_over: bool) -> None:
    online = online_with(limits=PeopleLimits(reassociate_within_m=within_m))
    see(online, '17', stamps(0, 30))
    predicted(online)
    see(online, '18', stamps(32, 36))
    result = predicted(online)
    if takes_over:
        assert result.persons == ('18',)
        assert result.reassociated == {'18': '17'}
        assert result.departed == ('17',)
        assert result.padded_frames.tolist() == [0]
        assert online.counters['persons_reassociated'] == 1
    else:
        assert '18' not in result.persons
        assert not result.reassociated


def test_someone_new_beside_a_person_who_is_still_there_is_someone_else() -> None:
    online = online_with()
    for index in range(40):
        if index >= 30:
            see(online, 'bob', stamps(index, index + 1), place=2.4)
            online.snapshot()  # even in the middle of a message
        see(online, 'ada', stamps(index, index + 1))
    assert set(predicted(online).persons) == {'ada', 'bob'}
    assert online.counters['persons_reassociated'] == 0


def test_someone_new_elsewhere_is_someone_else() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    see(online, 'bob', stamps(32, 45), place=4.0)
    result = predicted(online)
    assert result.persons == ('bob',)
    assert result.padded_frames[0] > 0


def test_an_id_that_goes_on_elsewhere_is_somebody_new() -> None:
    online = online_with()
    see(online, '0', stamps(0, 30))
    see(online, '1', stamps(0, 30), place=4.0)
    predicted(online)
    # The first has left, and the tracker counts anew: the second is now number 0.
    outcomes = see(online, '0', stamps(30, 36), place=4.0)
    assert outcomes == [ObserveOutcome.STORED] * 6
    result = predicted(online)
    assert result.reassociated == {'0': '1'}
    np.testing.assert_allclose(
        result.prediction.futures[0, 0], expected_futures(result, 4.0), atol=1e-3
    )
    assert online.counters['persons_replaced'] == 1


def test_two_ids_that_are_switched_go_on_with_each_others_histories() -> None:
    online = online_with()
    places = {'ada': 2.0, 'bob': 4.0}
    for index in range(30):
        for name, place in places.items():
            see(online, name, stamps(index, index + 1), place=place)
    predicted(online)
    switched = {'ada': 4.0, 'bob': 2.0}
    for index in range(30, 33):
        for name, place in switched.items():
            see(online, name, stamps(index, index + 1), place=place)
    result = predicted(online)
    assert set(result.persons) == {'ada', 'bob'}
    assert result.padded_frames.tolist() == [0, 0], 'nobody begins anew'
    for name, place in switched.items():
        futures = result.prediction.futures[result.persons.index(name), 0]
        np.testing.assert_allclose(futures, expected_futures(result, place), atol=1e-3)
    counted = online.counters
    assert (counted['persons_replaced'], counted['persons_switched']) == (0, 2)
    assert counted['observations_elsewhere'] == 0
    assert not online.people._tracks.unnamed


@pytest.mark.slow
def test_ids_that_are_switched_without_end_do_not_fill_the_memory() -> None:
    online = online_with(limits=PeopleLimits(reassociate_within_m=0.0))
    for index in range(200):
        for name, place in (('ada', 2.0), ('bob', 40.0), ('cyd', 80.0)):
            away = 500.0 * (index // 2)
            see(online, name, stamps(index, index + 1), place=place + away)
        if index % 50 == 49:
            online.snapshot()
    assert len(online.people._tracks.unnamed) <= 32
    assert online.counters['persons_replaced'] > 100
    assert online.counters['persons_sharing_id'] == 0
    see(online, 'ada', stamps(260, 262))
    online.snapshot()
    assert not online.people._tracks.unnamed, 'what is old is let go'


def test_an_id_that_comes_back_is_somebody_who_has_just_appeared() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    predicted(online, START + 30 * PERIOD)
    gone = predicted(online, START + 90 * PERIOD)
    assert gone.departed == ('ada',)
    see(online, 'ada', stamps(120, 123), now=True)
    result = predicted(online, START + 123 * PERIOD)
    assert result.unpredicted == {'ada': NotReady.TOO_SHORT}
    see(online, 'ada', stamps(123, 130), now=True)
    result = predicted(online, START + 130 * PERIOD)
    assert result.persons == ('ada',)
    assert result.padded_frames[0] > 0, 'nothing from before the absence is used'
    assert online.counters['persons_appeared'] == 2


def test_one_slip_of_the_tracker_is_dropped() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    assert see(online, 'ada', stamps(30, 31), place=8.0) == [ObserveOutcome.ELSEWHERE]
    see(online, 'ada', stamps(31, 32))
    result = predicted(online)
    np.testing.assert_allclose(
        result.prediction.futures[0, 0], expected_futures(result, 2.0), atol=1e-3
    )
    counted = online.counters
    assert (counted['observations_elsewhere'], counted['persons_replaced']) == (1, 0)


@pytest.mark.parametrize(
    'zero_is_missing,outcome',
    [(True, ObserveOutcome.WITHOUT_BODY), (False, ObserveOutcome.ELSEWHERE)],
)
def test_a_joint_at_the_origin_tells_who_is_elsewhere_only_where_it_is_a_joint(
    zero_is_missing: bool, outcome: ObserveOutcome
) -> None:
    model = GoesOn()
    model.skeleton = replace(H36M17, zero_is_missing=zero_is_missing)
    online = LivePredictor(model, samples=2)
    few = np.isin(np.arange(17), (0, 1, 4, 8))[:, None]  # as many as a body takes
    for stamp in stamps(0, 10):
        online.observe(
            Observation(stamp, 'map', 'arm', np.where(few, REST + [8.0, 0.0, 0.0], np.nan))
        )
    (last,) = stamps(10, 11)
    there = Observation(last, 'map', 'arm', np.where(few, REST - REST[0], np.nan))
    assert online.observe(there).outcome is outcome


def test_joints_of_low_confidence_are_missing_and_unknown_confidence_is_not_low() -> None:
    online = online_with(limits=PeopleLimits(min_confidence=0.3))
    confidence = np.full(17, np.nan)
    confidence[:3] = (0.9, 0.3, 0.1)
    for stamp in stamps(0, 30):
        online.observe(Observation(stamp, 'map', 'ada', pose_at(stamp), confidence))
    assert online.counters['joints_low_confidence'] == 30
    assert online.counters['joints_missing'] == 30
    (window,) = predicted(online).windows
    np.testing.assert_array_equal(np.flatnonzero(~window.seen), [2])


def test_another_publishers_joints_are_mapped() -> None:
    source = layout('coco17')
    online = online_with(layout=source)
    places = {
        'nose': (0.1, 0.0, 1.55), 'eye': (0.09, 0.03, 1.6), 'ear': (0.02, 0.07, 1.57),
        'shoulder': (0.0, 0.18, 1.34), 'elbow': (0.0, 0.18, 1.06), 'wrist': (0.0, 0.18, 0.81),
        'hip': (0.0, 0.1, 0.9), 'knee': (0.0, 0.1, 0.5), 'ankle': (0.0, 0.1, 0.1),
    }  # fmt: skip
    sides = {'l': 1.0, 'r': -1.0, 'e': 1.0}
    standing = np.array([
        np.array(places[joint.split('_')[0]]) * [1.0, sides[joint[-1]], 1.0]
        for joint in source.joints
    ])  # fmt: skip
    for stamp in stamps(0, 30):
        online.observe(Observation(stamp, 'map', 'ada', standing + [2.0, 0.0, 0.0]))
    last = predicted(online).last_poses[0]
    for joint in ('Hip', 'LWrist', 'RAnkle', 'LShoulder'):
        index = H36M17.index(joint)
        np.testing.assert_allclose(last[index], REST[index] + [2.0, 0.0, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    'broken',
    [
        {'xyz': np.zeros((16, 3))},
        {'xyz': np.zeros(51)},
        {'xyz': REST, 'confidence': np.ones(3)},
        {'xyz': REST, 'seen': np.ones(16, dtype=bool)},
    ],
)
def test_a_malformed_observation_is_counted_and_dropped(broken: dict) -> None:
    online = online_with()
    result = online.observe(Observation(START, 'map', 'ada', **broken))
    assert result.outcome is ObserveOutcome.MALFORMED
    assert online.counters['observations_malformed'] == 1
    result = predicted(online)
    assert (result.persons, result.prediction, result.unpredicted) == ((), None, {})
    assert result.others['ada'].reason is Refusal.MALFORMED


def test_a_person_without_a_body_is_seen_and_has_no_history() -> None:
    online = online_with()
    nothing = Observation(START, 'map', 'ada', np.full((17, 3), np.nan))
    assert online.observe(nothing).outcome is ObserveOutcome.WITHOUT_BODY
    result = predicted(online)
    assert (result.persons, result.unpredicted) == ((), {})
    assert result.others['ada'].reason is Refusal.NO_JOINTS
    assert online.predict() is None
    assert online.counters['poses_without_body'] == 1
    assert online.counters['persons_appeared'] == 0


@pytest.mark.parametrize('name', ['stale_timeout_s', 'jump_back_s', 'max_future_s'])
def test_limits_that_cannot_work_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        PeopleLimits(**{name: -1.0})
    with pytest.raises(ConfigError, match='max_joint_gap_s'):
        PeopleLimits(history=HistoryLimits(max_joint_gap_s=float('nan')))


def test_source_rates_are_told() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    assert online.source_rates_hz['ada'] == pytest.approx(30.0, rel=0.01)
