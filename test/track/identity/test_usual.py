# SPDX-License-Identifier: Apache-2.0
"""People of a message stored together are those stored one by one, by the rules for one."""

from collections.abc import Iterator

import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.walker import walk
from motion_predictor.sources.observation import Observation
from motion_predictor.track.identity.usual import UsualSightings
from motion_predictor.track.one_body import OneBody
from motion_predictor.track.people import People

PEOPLE, FRAMES, RATE_HZ = 5, 90, 30.0
LEGS = [2, 3, 5, 6]
MIRROR = list(H36M17.mirror)


def slip(rng: np.random.Generator, poses: np.ndarray, frame: int) -> None:
    """Make one of a tracker's errors in the last of some frames of people, (T, P, 17, 3)."""
    person, other = rng.choice(PEOPLE, 2, replace=False)
    kind, now = rng.integers(9), poses[frame]
    if kind == 0:  # left and right for some time
        poses[frame : frame + 5, person] = poses[frame : frame + 5, person][:, MIRROR]
    elif kind == 1:  # a joint
        now[person, rng.integers(17)] += rng.normal(0.0, 0.5, 3)
    elif kind == 2:
        now[person, rng.choice(17, 4, replace=False)] = np.nan
    elif kind == 3:  # the ids
        poses[frame:, [person, other]] = poses[frame:, [other, person]]
    elif kind == 4:  # the same pose again
        poses[frame, person] = poses[frame - 1, person]
    elif kind == 5:  # elsewhere
        now[person] += [30.0, 0.0, 0.0]
    elif kind == 6:  # nothing is seen of somebody
        now[person] = np.nan
    elif kind == 7:
        poses[frame:, person, LEGS] = np.nan
    else:
        now[person] = now[person] + rng.normal(0.0, 0.02, (17, 3))


def messages(seed: int, identified: bool) -> Iterator[tuple[int, list[Observation]]]:
    """Return frames of people who walk, and their tracker's errors, each with its stamp."""
    rng = np.random.default_rng(seed)
    walks = [walk(FRAMES / RATE_HZ + 1.0, RATE_HZ, rng)[:FRAMES] for _ in range(PEOPLE)]
    apart = np.array([[1.2 * person, 0.0, 0.0] for person in range(PEOPLE)])
    poses = np.stack(walks, axis=1) + apart[:, None]
    for frame in np.flatnonzero(rng.random(FRAMES) < 0.4)[1:]:
        slip(rng, poses, frame)
    stamp = 10**18
    for people in poses:
        stamp += round(1e9 / RATE_HZ * rng.choice([1.0, 1.0, 1.0, 0.9, 1.1, 3.0, 15.0]))
        confidence = rng.uniform(0.1, 9.0, (PEOPLE, 17))
        there = [
            Observation(
                stamp, 'map', str(number), pose, sure, ~np.isnan(pose).any(axis=1), 'camera',
                identified,
            )
            for number, (pose, sure) in enumerate(zip(people, confidence))
            if rng.random() > 0.03
        ]  # fmt: skip
        yield stamp, there


@pytest.mark.parametrize('identified', [True, False])
@pytest.mark.parametrize(
    'seed', [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_together_is_one_by_one(
    seed: int, identified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, alone = (People(WindowConfig(), H36M17, max_persons=4) for _ in range(2))
    usual = unusual = 0
    for stamp, there in messages(seed, identified):
        results = together.observe_all(there, stamp)
        with monkeypatch.context() as rules_for_one:
            rules_for_one.setattr(UsualSightings, '_are_usual', lambda self: np.zeros(1, bool))
            rules_for_one.setattr(
                OneBody, 'are_clearly_bodies', lambda self, xyz, seen: np.zeros(len(xyz), bool)
            )
            assert results == [alone.observe(each, stamp) for each in there]
            expected = alone.snapshot(stamp)
            counters = alone.counters
        (message,) = list(together._messages._open.values()) or [None]
        owners = message.usual.owners if message and message.usual else []
        usual += sum(owner is not None for owner in owners)
        unusual += sum(owner is None for owner in owners)
        found = together.snapshot(stamp)
        assert together.counters == counters
        assert found is not None
        assert expected is not None
        assert found.persons == expected.persons
        assert dict(found.unpredicted) == dict(expected.unpredicted)
        for one, two in zip(found.windows, expected.windows):
            np.testing.assert_array_equal(one.poses, two.poses)
            np.testing.assert_array_equal(one.filled, two.filled)
    assert min(usual, unusual) > 30


def test_people_who_walk_are_stored_together() -> None:
    people, usual = People(WindowConfig(), H36M17), []
    walks = [walk(2.0, RATE_HZ, np.random.default_rng(seed)) for seed in range(PEOPLE)]
    for frame in range(40):
        stamp = 10**18 + round(frame * 1e9 / RATE_HZ)
        there = [
            Observation(stamp, 'map', str(number), poses[frame] + [2.0 * number, 0.0, 0.0])
            for number, poses in enumerate(walks)
        ]
        assert all(result.stored for result in people.observe_all(there))
        message = people._messages._open['']
        assert message.usual is not None
        usual += [owner is not None for owner in message.usual.owners]
    assert np.mean(usual[2 * PEOPLE :]) > 0.95
