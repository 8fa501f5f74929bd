# SPDX-License-Identifier: Apache-2.0
"""People from frames: whose frames are people's, and what is said of names that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tf_people import (
    decode,
    feed,
    frames_of,
    given_without_a_wrist,
    HRI,
    PERIOD_NS,
    STATIC,
    WALKERS,
    XSENS,
)
from tracker_packages import plain
from tracker_people import source_pose, tf, transform

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.sources.decoding import Decoder
from motion_predictor.sources.tf.people import HriSource, TfSource
from motion_predictor.track.states import PersonState


def ids(*bodies: str) -> Any:
    message = plain('hri_msgs/IdsList')
    message.ids = list(bodies)
    return message


def test_only_bodies_on_the_list_are_people() -> None:
    source = HriSource(HRI, '{joint}_{person}')
    assert feed(source, 0) == []
    assert source.decode('/humans/bodies/tracked', ids('ana'), 10**9) is None
    feed(source, 1)
    assert {person.person for person in feed(source, 2)} == {'ana'}
    assert source.decode('/humans/bodies/tracked', ids('bo_2'), 10**9) is None
    feed(source, 3)
    assert {person.person for person in feed(source, 4)} == {'bo_2'}
    assert source.counters['hri_bodies_gone'] == 1


def test_an_empty_list_of_bodies_means_nobody() -> None:
    source = HriSource(HRI, '{joint}_{person}')
    source.decode('/humans/bodies/tracked', ids('ana'), 10**9)
    assert source.decode('/humans/bodies/tracked', ids(), 10**9) == []
    for frame in range(4):
        assert feed(source, frame) == []


def test_fixed_frames_that_came_before_the_list_are_not_lost() -> None:
    source = HriSource(HRI, '{joint}_{person}')
    pose = source_pose(HRI, WALKERS[0][0])
    fixed = [transform(plain, 'world', 'head_q', pose[HRI.index('head')], 0)]
    decode(source, fixed, 0, STATIC)
    source.decode('/humans/bodies/tracked', ids('q'), 10**9)
    given = []
    for frame in range(3):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][0], stamp_ns, 'q', '{joint}_{person}')
        del sent[HRI.index('head')]
        given += decode(source, sent, stamp_ns) or []
    assert len(given) == 3
    np.testing.assert_allclose(given[0].xyz, pose, atol=1e-9)


def test_frames_whose_names_do_not_fit_are_named() -> None:
    source = TfSource(XSENS, '{person}_{joint}')
    assert source.complaints() == []
    for frame in range(3):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(XSENS, WALKERS[0][frame], stamp_ns, 'anna', '{person}/{joint}')
        assert decode(source, sent, stamp_ns) is None
    (text,) = source.complaints()
    assert text.startswith('69 transforms, but no frame is named as')
    assert "'{person}_{joint}'" in text
    assert "'1_pelvis'" in text
    assert "'anna/pelvis'" in text
    assert source.complaints() == [], 'nothing came since'


def test_frames_that_nothing_connects_are_named_beside_people_who_are_well() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(4):
        feed(source, frame)
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'q', '{joint}_{person}', 'body_q')
        decode(source, sent[1:], stamp_ns)
    assert source.complaints() == ["'q': frames hang below 'body_q', which no transform places"]


def test_a_target_frame_that_is_not_connected_is_named() -> None:
    source = TfSource(HRI, '{joint}_{person}', 'map')
    decode(source, [transform(plain, 'map', 'base', (0.0, 0.0, 0.0), 0)], 0, STATIC)
    for frame in range(6):
        feed(source, frame)
    texts = source.complaints()
    assert len(texts) == 2
    assert "TF does not connect 'body_ana' (its tree begins at 'world') with" in texts[0]
    assert "target_frame 'map'" in texts[0]


def test_joints_that_are_missing_are_named() -> None:
    source = TfSource(HRI, '{joint}_{person}')
    for frame in range(4):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'q', '{joint}_{person}')
        decode(source, sent[:4], stamp_ns)
    (text,) = source.complaints()
    assert text.startswith("'q' lacks too many joints: ")


class Unasked:
    """A model that is asked for nothing: nobody can be predicted."""

    window, skeleton = WindowConfig(), H36M17

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Refuse."""
        raise AssertionError('nobody was to be predicted')


@pytest.mark.parametrize('kind,count', [(TfSource, 9), (HriSource, 1)])
def test_somebody_with_too_few_frames_is_seen_and_the_reason_told(
    kind: type[TfSource], count: int
) -> None:
    source = kind(HRI, '{joint}_{person}')
    decode(source, [], 1)
    if kind is HriSource:
        source.decode('/humans/bodies/tracked', ids('q'), 1)
    online = LivePredictor(Unasked(), layout=HRI, samples=1)
    for frame in range(12):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'q', '{joint}_{person}')[:count]
        found = Decoder(source, HRI).decode('/tf', tf(plain, sent), stamp_ns + 10**8)
        for person in found.people if found else []:
            online.observe(person, stamp_ns + 10**8)
    snapshot = online.snapshot(stamp_ns + 10**8)
    assert snapshot is not None
    assert snapshot.persons == ()
    other = snapshot.others['q']
    assert other.state is PersonState.SEEN
    assert other.words
    assert other.pose is not None
    assert source.counters['tf_too_few_joints'] > 0
    assert "'q' lacks too many joints" in source.complaints()[0]


def test_whoever_was_whole_is_still_there_with_few_frames() -> None:
    source, given = TfSource(HRI, '{joint}_{person}'), []
    for frame in range(16):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'q', '{joint}_{person}')
        given = decode(source, sent if frame < 8 else sent[:2], stamp_ns) or given
    (person,) = given
    assert person.stamp_ns > 10**9 + 8 * PERIOD_NS


def test_a_body_that_is_not_listed_is_told_apart_from_one_without_frames() -> None:
    source = HriSource(HRI, '{joint}_{person}')
    feed(source, 0)
    (text,) = source.complaints()
    assert text == (
        "nothing came on /humans/bodies/tracked, though there are frames of 'ana', 'bo_2'"
    )
    source.decode('/humans/bodies/tracked', ids('eve'), 10**9)
    feed(source, 1)
    (text,) = source.complaints()
    assert text == ("/humans/bodies/tracked lists 'eve', though there are frames of 'ana', 'bo_2'")
    source.decode('/humans/bodies/tracked', ids('ana'), 10**9)
    for frame in range(2, 6):
        feed(source, frame)
    assert source.complaints() == [], 'who is not listed may have gone'
    source.decode('/humans/bodies/tracked', ids(), 10**9)
    feed(source, 6)
    assert source.complaints() == [], 'nobody is there'


def test_a_hidden_joint_is_not_waited_for_as_long_as_a_late_root() -> None:
    source = TfSource(HRI, '{joint}_{person}', wait_s=1.0)
    given = given_without_a_wrist(source)
    assert [(person.stamp_ns - 10**9) // PERIOD_NS for person in given] == [3, 4, 5, 6]
