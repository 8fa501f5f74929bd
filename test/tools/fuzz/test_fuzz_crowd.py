# SPDX-License-Identifier: Apache-2.0
"""A little of the campaign on crowds and on TF: one good person among bad ones is served."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from ros_harness import write_random_weights
from stands_still import StandsStill

from motion_predictor.predict.live import LivePredictor
from motion_predictor.sources.observation import Observation
from tools.fuzz import fuzz_crowd
from tools.fuzz.fuzz import Findings, walker
from tools.fuzz.fuzz_crowd import FLAWS
from tools.fuzz.fuzz_tf import fuzz_tf


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_weights(tmp_path_factory.mktemp('weights') / 'tiny.safetensors'))


@pytest.mark.parametrize('kind', FLAWS)
def test_the_good_person_is_predicted_from_every_message(kind: str, weights: str) -> None:
    findings = Findings()
    fuzz_crowd.fuzz_crowd(kind, walker(), 150, 4, weights, findings)
    assert findings.found == []
    assert findings.predictions > 100
    assert findings.joints > 150 * 17 * 5, 'a crowd'


def test_the_campaign_would_find_a_good_person_who_is_not_served(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('motion_predictor.sources.observation.MAX_PEOPLE', 5)
    findings = Findings()
    fuzz_crowd.fuzz_crowd('pose_array', walker(), 100, 4, weights, findings)
    assert any('the good person is not predicted' in text for text in findings.found)


@pytest.mark.parametrize('kind', ['tf', 'hri'])
def test_every_pose_of_one_person_is_given_in_a_long_lived_tf(kind: str) -> None:
    findings = Findings()
    fuzz_tf(kind, walker(), 250, 2, findings)
    assert findings.found == []
    assert findings.predictions > 240


def test_old_stamps_of_some_people_of_a_message_are_no_jump_of_its_time() -> None:
    online = LivePredictor(StandsStill(), samples=1)
    pose, start_ns = walker()[0].astype(float), 10**18

    def see(person: str, stamp_ns: int, now_ns: int) -> None:
        seen = pose + [5.0 * (person != 'good'), 3.0 * ord(person[-1]), 0.0]
        online.observe(Observation(stamp_ns, 'map', person, seen), now_ns)

    for frame in range(40):
        now_ns = start_ns + frame * 33_000_000
        see('good', now_ns, now_ns)
        see('late1', now_ns - 5 * 10**9, now_ns)
        see('late2', now_ns - 10**15, now_ns)
        result = online.predict(now_ns)
        if frame > 15:
            assert result is not None
            assert 'good' in result.persons
    assert online.counters['resets_jump_back'] == 0


@pytest.mark.parametrize('latency_s', [0.0, 0.3])
def test_somebody_stamped_ahead_who_leaves_makes_nobody_else_look_lost(latency_s: float) -> None:
    online = LivePredictor(StandsStill(), samples=1)
    pose, begin_ns = walker()[0].astype(float), 10**18
    for frame in range(80):
        stamp_ns = begin_ns + frame * 33_000_000
        now_ns = stamp_ns + round(latency_s * 1e9)
        online.observe(Observation(stamp_ns, 'map', 'good', pose), now_ns)
        if frame % 20 < 2:  # a new id each time, which is somebody else's the next time
            ahead_ns, place = now_ns + 450_000_000, [5.0 + 3.0 * (frame % 2), 0.0, 0.0]
            online.observe(Observation(ahead_ns, 'map', 'ahead', pose + place), now_ns)
        if frame % 20 == 2:
            online.people._tracks.drop('ahead')  # as a crowd does
        result = online.predict(now_ns)
        assert result is not None
        assert frame < 25 or 'good' in result.persons, result.unpredicted


def test_a_flood_is_part_of_the_traffic() -> None:
    from tools.fuzz.fuzz_tf import Traffic

    traffic = Traffic(np.asarray(walker()), 2)
    sizes = [len(traffic.others(number, 10**18)) for number in range(250)]
    assert max(sizes) > 400
