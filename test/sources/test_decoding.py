# SPDX-License-Identifier: Apache-2.0
"""One decoder for the node and for bags: whom a message shows, and which of their joints."""

from __future__ import annotations

from types import SimpleNamespace
import warnings

import numpy as np
from online_people import GoesOn, pose_at, stamps
import pytest
from tracker_people import source_pose

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MessageError
from motion_predictor.predict.live import LivePredictor
from motion_predictor.sources.decoding import Decoded, Decoder
from motion_predictor.sources.observation import Observation
from motion_predictor.sources.registry import make_source
from motion_predictor.track.checks.body_checks import BodyChecks

WRIST = H36M17.index('LWrist')


def decode(*people: np.ndarray, name: str = 'h36m17', stamp_ns: int = 10**9) -> Decoded:
    """Read a PoseArray of these people, each (J, 3)."""
    chosen = layout(name)
    poses = [
        SimpleNamespace(position=SimpleNamespace(x=x, y=y, z=z))
        for x, y, z in np.concatenate(people).tolist()
    ]
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    message = SimpleNamespace(poses=poses, header=SimpleNamespace(stamp=stamp, frame_id='map'))
    found = Decoder(make_source('pose_array', chosen), chosen).decode('/people', message, 1)
    assert found is not None
    return found


def test_a_decoder_tells_once_which_joints_are_seen_and_counts_the_others() -> None:
    pose = pose_at(0)
    pose[1], pose[2], pose[3] = np.nan, 0.0, [np.inf, 0.0, 0.0]
    found = decode(pose, pose_at(0, 5.0))
    first, second = found.people
    assert first.seen is not None
    assert np.flatnonzero(~first.seen).tolist() == [1, 2, 3]
    assert second.seen is not None
    assert second.seen.all()
    assert found.counts == {
        'joints_not_finite': 2, 'joints_at_origin': 1, 'joints_beyond_float32': 0,
    }  # fmt: skip
    assert decode(pose_at(0)).counts == {}


def test_everything_that_comes_after_reads_seen() -> None:
    online = LivePredictor(GoesOn(), layout=layout('h36m17'), samples=2)
    seen = np.ones(17, dtype=bool)
    hidden = seen.copy()
    hidden[WRIST] = False
    for stamp in stamps(0, 30):
        pose = pose_at(stamp)
        at_origin = pose - pose[WRIST]  # whoever says that it is seen there is believed
        online.observe(Observation(stamp, 'map', 'ada', at_origin, None, seen))
        online.observe(Observation(stamp, 'map', 'bo', pose, None, hidden if stamp else seen))
    snapshot = online.snapshot()
    assert snapshot is not None
    assert snapshot.persons == ('ada', 'bo')  # a torso is enough
    ada, bo = (window.filled for window in snapshot.windows)
    assert not ada.any()
    assert bo.all(axis=0).nonzero()[0].tolist() == [WRIST]
    assert bo.any(axis=0).sum() == 1


def test_a_joint_made_of_others_may_lie_at_the_origin() -> None:
    online = LivePredictor(GoesOn(), layout=layout('coco17'), samples=2)
    for stamp in stamps(0, 30):
        pose = pose_at(stamp)
        pose -= 0.5 * (pose[H36M17.index('LHip')] + pose[H36M17.index('RHip')])
        sent = source_pose(layout('coco17'), pose)
        (person,) = decode(sent, name='coco17', stamp_ns=stamp + 10**9).people
        online.observe(person)
    snapshot = online.snapshot()
    assert snapshot is not None
    assert not snapshot.windows[0].filled[:, 0].any()
    assert online.counters['joints_missing'] == 0


@pytest.mark.parametrize('value', [1e300, -1e300, 3.5e38])
def test_a_coordinate_that_float32_cannot_hold_is_missing_by_name(value: float) -> None:
    pose = pose_at(0)
    pose[WRIST, 1] = value
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = decode(pose, pose_at(0, 5.0))
        checks = BodyChecks(layout('h36m17'))
        checks.look_at(0.0, found.people)
        layout('h36m17').to_model(pose)
    assert found.counts['joints_beyond_float32'] == 1
    assert found.people[0].seen is not None
    assert np.flatnonzero(~found.people[0].seen).tolist() == [WRIST]
    for part in ("person '0'", 'LWrist', f'{value:.3g}', 'float32', 'metres?'):
        assert part in found.beyond
    pose[WRIST, 1] = 3.3e38
    assert decode(pose).counts == {}


def test_somebody_of_a_message_who_cannot_be_used_is_told_beside_the_others() -> None:
    marker = SimpleNamespace(
        action=0, type=7, ns='', id=0, points=[],
        header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id='map'),
    )  # fmt: skip
    chosen = layout('h36m17')
    decoder = Decoder(make_source('marker_array', chosen), chosen)
    with pytest.raises(MessageError, match='expected 17 points'):
        decoder.decode('/people', SimpleNamespace(markers=[marker]), 1)
    still = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    whole = SimpleNamespace(
        action=0, type=7, ns='', id=1, header=marker.header,
        pose=SimpleNamespace(orientation=still, position=still),
        points=[SimpleNamespace(x=x, y=y, z=z) for x, y, z in pose_at(0).tolist()],
    )  # fmt: skip
    found = decoder.decode('/people', SimpleNamespace(markers=[marker, whole]), 1)
    assert found is not None
    assert [person.person for person in found.people] == ['1']
    assert [(person.person, bool(person.flaw)) for person in found.flawed] == [('0', True)]
