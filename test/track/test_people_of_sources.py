# SPDX-License-Identifier: Apache-2.0
"""Several sources: each has a clock of its own, and none resets another."""

from __future__ import annotations

from online_people import (
    online_with,
    PERIOD,
    pose_at,
    predicted,
    SECOND,
    see,
    stamps,
    START,
)
import pytest

from motion_predictor.predict.live import LivePredictor
from motion_predictor.sources.observation import Observation
from motion_predictor.track.messages import ObserveOutcome
from motion_predictor.track.states import Excluded


def see_from(
    online: LivePredictor, source: str, stamps_: range, place: float, frame_id: str = 'map'
) -> list[ObserveOutcome]:
    """Observe somebody of one source at every stamp."""
    return [
        online.observe(
            Observation(stamp, frame_id, f'{source}/0', pose_at(stamp, place), source=source)
        ).outcome
        for stamp in stamps_
    ]


@pytest.mark.parametrize('behind_frames', [12, 30, 90, 900])
def test_sources_with_skewed_clocks_do_not_reset_each_other(behind_frames: int) -> None:
    online = online_with()
    predicted_of: list[str] = []
    for index in range(1000, 1040):
        see_from(online, 'left', stamps(index, index + 1), 2.0)
        # twice as fast, so that two of these follow each other
        for offset in (0, PERIOD // 2):
            behind = index - behind_frames
            see_from(online, 'right', stamps(behind, behind + 1, offset), 4.0)
        result = online.predict()
        if result is not None:
            predicted_of += result.persons
            assert result.departed == ()
    counted = online.counters
    assert counted['resets_jump_back'] == counted['observations_held'] == 0
    assert predicted_of[-20:] == ['left/0'] * 20
    assert counted['left_out_source_behind'] > 0


def test_a_source_behind_is_predicted_when_the_other_shows_nobody() -> None:
    online = online_with()
    for index in range(100, 130):
        online.observe_nobody(stamps(index, index + 1)[0], 'map', source='left')
        see_from(online, 'right', stamps(index - 90, index - 89), 4.0)
    result = predicted(online)
    assert result.persons == ('right/0',)
    assert result.stamp_ns == stamps(39, 40)[0]


def test_one_source_that_begins_anew_leaves_the_other_alone() -> None:
    online = online_with()
    see_from(online, 'left', stamps(100, 130), 2.0)
    see_from(online, 'right', stamps(100, 130), 4.0)
    see_from(online, 'right', stamps(0, 20), 4.0)
    see_from(online, 'left', stamps(130, 132), 2.0)
    result = predicted(online)
    assert online.counters['resets_jump_back'] == 1
    assert result.persons == ('left/0',)
    assert result.padded_frames.tolist() == [0], 'its history was lost'
    assert result.unpredicted == {'right/0': Excluded.SOURCE_BEHIND}


def test_sources_in_different_frames_do_not_reset_each_other() -> None:
    online = online_with()
    for index in range(30):
        see_from(online, 'left', stamps(index, index + 1), 2.0)
        (outcome,) = see_from(online, 'right', stamps(index, index + 1), 4.0, 'cell')
        assert outcome is ObserveOutcome.OTHER_FRAME
    assert predicted(online).persons == ('left/0',)
    counted = online.counters
    assert (counted['resets_frame_change'], counted['observations_other_frame']) == (0, 30)


def test_a_source_in_another_frame_is_heard_once_the_first_is_gone() -> None:
    online = online_with()
    see_from(online, 'left', stamps(0, 30), 2.0)
    predicted(online)
    for index in range(30, 90):
        online.observe_nobody(stamps(index, index + 1)[0], 'map', source='left')
        online.predict()
    see_from(online, 'right', stamps(90, 110), 4.0, 'cell')
    result = predicted(online)
    assert (result.persons, result.frame_id) == (('right/0',), 'cell')


def test_an_empty_message_from_the_future_is_counted_and_changes_nothing() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    online.observe_nobody(START + 3600 * SECOND, 'map', START + SECOND)
    assert predicted(online, START + SECOND).persons == ('ada',)
    assert online.counters['observations_far_future'] == 1
