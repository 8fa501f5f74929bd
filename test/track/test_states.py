# SPDX-License-Identifier: Apache-2.0
"""Who is seen and not predicted, and that one person's trouble is nobody else's."""

from __future__ import annotations

from dataclasses import replace
import math
from typing import Any

import numpy as np
from online_people import (
    GoesOn,
    online_with,
    PERIOD,
    pose_at,
    predicted,
    REST,
    SECOND,
    see,
    stamps,
)
import pytest

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.sources.observation import Observation
from motion_predictor.track.clock import stamped_ahead, Timing
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.observed_pose import measured_pose
from motion_predictor.track.states import Excluded, OtherPerson, PersonState, Refusal, sentence
from motion_predictor.track.window import NotReady

ANKLES = [H36M17.index('RAnkle'), H36M17.index('LAnkle')]
SHOULDERS = [H36M17.index('LShoulder'), H36M17.index('RShoulder')]


def observe(online: LivePredictor, name: str, stamp_ns: int, xyz: np.ndarray, **more: Any) -> None:
    """Observe anybody, anywhere, at the time of the stamp."""
    now_ns = more.pop('now_ns', stamp_ns)
    online.observe(Observation(stamp_ns, more.pop('frame_id', 'map'), name, xyz, **more), now_ns)


def hidden(stamp_ns: int, joints: list[int], place: float = 2.0) -> np.ndarray:
    """Make the pose without some of its joints."""
    pose = pose_at(stamp_ns, place)
    pose[joints] = np.nan
    return pose


# Seen and not predicted


def test_hidden_ankles_are_completed_and_marked_in_every_frame() -> None:
    online = online_with()
    for stamp in stamps(0, 150):
        observe(online, 'ada', stamp, hidden(stamp, ANKLES))
        observe(online, 'bob', stamp, pose_at(stamp, 5.0))
    result = predicted(online)
    assert result.persons == ('ada', 'bob')
    ada, bob = result.windows
    np.testing.assert_array_equal(np.flatnonzero(~ada.seen), ANKLES)
    assert bob.seen.all()
    assert result.half_seen.keys() == {'ada'}
    half = result.half_seen['ada']
    assert (half.joints, half.words) == (('RAnkle', 'LAnkle'), 'RAnkle, LAnkle never seen')
    np.testing.assert_array_equal(result.prediction.hangs_on[0].any(axis=1), ~ada.seen)
    seen = np.setdiff1d(np.arange(17), ANKLES)
    newest = pose_at(stamps(0, 150)[-1])
    np.testing.assert_allclose(ada.poses[-1][seen], newest[seen], atol=1e-6)
    assert np.abs(ada.poses[-1][ANKLES] - newest[ANKLES]).max() < 0.15, 'where ankles usually are'


def test_without_a_torso_one_is_seen_only_with_the_joints_named_and_every_point_measured() -> None:
    online = online_with()
    for stamp in stamps(0, 150):
        observe(online, 'ada', stamp, hidden(stamp, SHOULDERS))
        observe(online, 'bob', stamp, pose_at(stamp, 5.0))
    result = predicted(online)
    assert result.persons == ('bob',), 'beside a whole person'
    ada = result.others['ada']
    assert (ada.state, ada.reason) == (PersonState.SEEN, NotReady.JOINT_MISSING)
    assert ada.joints == ('LShoulder', 'RShoulder')
    assert ada.words == 'LShoulder, RShoulder never seen'
    seen = np.setdiff1d(np.arange(17), SHOULDERS)
    newest = pose_at(stamps(0, 150)[-1])
    np.testing.assert_allclose(ada.pose[seen], newest[seen])
    found = ada.pose[SHOULDERS][:, None] - newest[seen]
    assert np.linalg.norm(found, axis=-1).min(axis=1).max() < 1e-6, 'a place that was measured'


def test_joints_that_were_seen_once_are_missing_for_as_long_as_they_are() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 90), now=True)
    for stamp in stamps(90, 240):
        observe(online, 'ada', stamp, hidden(stamp, SHOULDERS))
    assert predicted(online).others['ada'].words == 'LShoulder, RShoulder not seen for 5.0 s'


def test_of_whoever_hides_a_joint_it_is_said_for_how_long_until_it_was_seen_for_a_window() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 90), now=True)
    for stamp in stamps(90, 120):
        observe(online, 'ada', stamp, hidden(stamp, ANKLES[:1]))
    assert predicted(online).half_seen['ada'].words == 'RAnkle not seen for 1.0 s'
    see(online, 'ada', stamps(120, 128), now=True)
    assert predicted(online).half_seen['ada'].words == 'RAnkle not seen for long enough'
    see(online, 'ada', stamps(128, 150), now=True)
    assert not predicted(online).half_seen


@pytest.mark.parametrize(
    'broken, reason, placed',
    [
        ({'xyz': np.full((17, 3), np.nan)}, Refusal.NO_JOINTS, False),
        ({'xyz': np.zeros((17, 3))}, Refusal.NO_JOINTS, False),
        ({'xyz': np.full((17, 3), 1e9)}, Refusal.NO_JOINTS, False),
        ({'xyz': hidden(stamps(0, 1)[0], list(range(3, 17)))}, Refusal.NO_BODY, True),
        ({'xyz': 0.001 * REST + 1.0}, Refusal.NO_BODY, True),
        ({'xyz': REST[:16]}, Refusal.MALFORMED, True),
        ({'xyz': REST, 'ahead_s': 0.8}, Refusal.FAR_FUTURE, True),
        ({'xyz': REST, 'source': 'other', 'frame_id': 'lab'}, Refusal.OTHER_FRAME, False),
    ],
)
def test_whoever_is_refused_is_seen_and_the_others_are_predicted(
    broken: dict[str, Any], reason: Refusal, placed: bool
) -> None:
    online = online_with()
    for stamp in stamps(0, 60):
        observe(online, 'bob', stamp, pose_at(stamp, 5.0))
        more = dict(broken)
        ahead = round(more.pop('ahead_s', 0.0) * SECOND)
        observe(online, 'ada', stamp + ahead, more.pop('xyz'), now_ns=stamp, **more)
        result = online.predict(stamp)
        assert result is not None
        assert result.others['ada'].state is PersonState.SEEN
    assert result.persons == ('bob',)
    assert result.others['ada'].reason is reason
    assert (result.others['ada'].pose is not None) == placed
    assert result.others['ada'].stamp_ns <= stamp, 'no stamp from the future goes on'
    assert not result.unpredicted.keys() & {'ada'}
    assert online.counters[f'left_out_{reason.value}'] == 60


def test_low_confidence_makes_nobody_invisible() -> None:
    online = online_with()
    for stamp in stamps(0, 30):
        observe(online, 'ada', stamp, pose_at(stamp), confidence=np.full(17, 0.05))
    result = predicted(online)
    assert result.others['ada'].reason is Refusal.NO_BODY
    np.testing.assert_allclose(result.others['ada'].pose, pose_at(stamps(0, 30)[-1]))


def test_points_that_are_no_joint_of_the_models_still_tell_where_somebody_is() -> None:
    kinect = layout('k4a32', H36M17)
    online = LivePredictor(GoesOn(), samples=2, layout=kinect)
    xyz = np.full((32, 3), np.nan)
    xyz[kinect.index('handtip_l')] = [3.0, 2.0, 1.0]
    online.observe(Observation(stamps(0, 1)[0], 'map', 'ada', xyz))
    np.testing.assert_allclose(predicted(online).others['ada'].pose, np.tile([3.0, 2, 1], (17, 1)))


def test_somebody_known_is_seen_at_their_last_place_when_only_three_joints_are_left() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 60), now=True)
    states = []
    for stamp in stamps(60, 120):
        observe(online, 'ada', stamp, hidden(stamp, list(range(3, 17))))
        result = online.predict(stamp)
        if result is not None:
            states.append('predicted' if result.persons else result.others['ada'].reason)
            other = result.others.get('ada')
            assert result.persons or np.isfinite(other.pose).all()
    assert states[0] == 'predicted', 'for as long as a gap may last'
    assert states[-1] is Refusal.NO_BODY


def test_who_is_no_longer_shown_is_lost_and_stays_where_they_were_until_forgotten() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30), now=True)
    see(online, 'bob', stamps(0, 50), now=True, place=5.0)
    result = predicted(online, stamps(0, 50)[-1])
    assert result.others['ada'].state is PersonState.LOST
    np.testing.assert_allclose(result.others['ada'].pose, pose_at(stamps(0, 30)[-1]))
    see(online, 'bob', stamps(50, 80), now=True, place=5.0)
    assert predicted(online, stamps(0, 80)[-1]).others == {}


def test_too_many_persons_are_seen() -> None:
    online = online_with(max_persons=1)
    see(online, 'near', stamps(0, 30))
    see(online, 'far', stamps(0, 30), place=9.0)
    result = predicted(online)
    assert result.others['far'].reason is Excluded.TOO_MANY_PERSONS
    np.testing.assert_allclose(result.others['far'].pose, pose_at(result.stamp_ns, 9.0))


def test_nobody_is_there_only_by_the_word_of_every_source() -> None:
    online = online_with()
    assert online.snapshot() is None, 'nobody has said anything'
    for stamp in stamps(0, 30):
        for source, place in (('left', 2.0), ('right', 5.0)):
            pose = pose_at(stamp, place)
            online.observe(Observation(stamp, 'map', f'{source}/0', pose, source=source))
    assert predicted(online).persons == ('left/0', 'right/0')

    def after(said: dict[str, bool], first: int) -> Any:
        for stamp in stamps(first, first + 30):
            for source, there in said.items():
                if there:
                    pose = pose_at(stamp, 5.0)
                    online.observe(Observation(stamp, 'map', f'{source}/0', pose, source=source))
                else:
                    online.observe_nobody(stamp, 'map', source=source)
        return online.snapshot()

    assert not after({'left': False, 'right': True}, 30).nobody
    assert not after({'left': False}, 60).nobody, 'the right one has said nothing more'
    assert not after({'left': False}, 120).nobody, 'nor is it forgotten with its person'
    assert after({'left': False, 'right': False}, 150).nobody
    assert not after({'left': True, 'right': False}, 180).nobody


def test_a_slip_of_one_empty_message_takes_nothing_back() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    predicted(online)
    online.observe_nobody(stamps(30, 31)[0], 'map')
    snapshot = online.snapshot()
    assert snapshot is not None
    assert snapshot.persons == ('ada',)


def test_after_the_trackers_word_that_nobody_is_there_the_lost_have_no_place() -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    for stamp in stamps(30, 50):
        online.observe_nobody(stamp, 'map')
    snapshot = online.snapshot()
    assert snapshot is not None
    assert snapshot.nobody
    assert snapshot.others['ada'].state is PersonState.LOST
    assert snapshot.others['ada'].pose is None


def test_a_model_that_gives_no_numbers_for_one_person_leaves_the_others() -> None:
    class NanBeyond(GoesOn):
        def predict(
            self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
        ) -> Prediction:
            prediction = super().predict(observed, samples=samples, seed=seed)
            prediction.futures[observed[:, -1, 0, 0] > 4.0, :, 7, 3] = np.nan
            return prediction

    online = LivePredictor(NanBeyond(), samples=2)
    see(online, 'near', stamps(0, 30))
    see(online, 'far', stamps(0, 30), place=9.0)
    result = predicted(online)
    assert result.persons == ('near',)
    assert np.isfinite(result.prediction.futures).all()
    assert result.others['far'].reason is Excluded.NOT_FINITE
    assert result.unpredicted == {'far': Excluded.NOT_FINITE}
    np.testing.assert_allclose(result.others['far'].pose, pose_at(result.stamp_ns, 9.0))
    assert online.counters['predictions_not_finite'] == 1
    see(online, 'far', stamps(30, 60), place=9.0)
    assert predicted(online).prediction is None, 'nobody is left'


def test_a_window_that_cannot_be_made_is_one_persons_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    online = online_with()
    see(online, 'ada', stamps(0, 30))
    see(online, 'bob', stamps(0, 30), place=5.0)
    window = PoseHistory.window

    def sometimes(history: PoseHistory) -> Any:
        if history.newest_root[0] > 4.0:
            raise np.linalg.LinAlgError('Singular matrix')
        return window(history)

    def together(histories: list[PoseHistory]) -> list[Any]:
        return [sometimes(history) for history in histories]

    monkeypatch.setattr(PoseHistory, 'window', sometimes)
    monkeypatch.setattr('motion_predictor.track.snapshot.windows_of_histories', together)
    result = predicted(online)
    assert result.persons == ('ada',)
    assert result.others['bob'].reason is Excluded.WINDOW_FAILED


# Stamped ahead


@pytest.mark.slow
@pytest.mark.parametrize('several_sources', [False, True])
@pytest.mark.parametrize('people', [2, 5])
def test_one_person_stamped_ahead_takes_nobody_elses_prediction_away(
    several_sources: bool, people: int
) -> None:
    online = online_with()
    ahead = round(0.45 * SECOND)
    answered = 0
    for stamp in stamps(0, 90):
        for index in range(people):
            shifted = stamp + (ahead if index == 0 else -round(0.05 * SECOND))
            source = f'camera{index}' if several_sources else ''
            pose = pose_at(shifted, 2.0 + 2.0 * index)
            seen = Observation(shifted, 'map', str(index), pose, source=source)
            online.observe(seen, stamp)
        result = online.predict(stamp)
        answered += result is not None and len(result.persons) == people - 1
    assert answered > 75
    assert result.persons == tuple(str(index) for index in range(1, people))
    assert result.stamp_ns == stamp - round(0.05 * SECOND), 'no stamp from the future'
    other = result.others['0']
    assert (other.state, other.reason) == (PersonState.SEEN, Excluded.STAMPED_AHEAD)
    assert other.words == 'is stamped 0.50 s ahead of everybody else: check its clock'
    assert other.stamp_ns == stamp
    assert other.pose is not None


def test_one_stamp_ahead_once_costs_the_others_nothing() -> None:
    online = online_with()
    answered = 0
    for index, stamp in enumerate(stamps(0, 90)):
        see(online, 'bob', [stamp], place=5.0, now=True)
        shifted = stamp + round(0.45 * SECOND) * (index == 60)
        observe(online, 'ada', shifted, pose_at(stamp), now_ns=stamp)
        result = online.predict(stamp)
        answered += result is not None and 'bob' in result.persons
    assert answered == 90 - 8, 'but for those before min_observed_s'


def test_who_is_behind_and_not_ahead_is_told_apart() -> None:
    second = SECOND

    def at(stamp_s: float, arrival_s: float | None, source: str = '') -> Timing:
        lead_s = math.nan if arrival_s is None else stamp_s - arrival_s
        return Timing(source, round(stamp_s * second), lead_s)

    late = {'ada': at(10.0, 10.05), 'bob': at(9.4, 10.05)}
    assert stamped_ahead(late, 0.3) == {}, 'nobody is ahead of the clock'
    gone = {'ada': at(10.45, 10.0), 'bob': at(9.9, 9.45)}
    assert stamped_ahead(gone, 0.3) == {}, 'bob left, and the clock of both is ahead'
    lost = {'ada': at(10.45, 10.0), 'bob': at(9.45, 9.5)}
    assert list(stamped_ahead(lost, 0.3)) == ['ada'], 'though bob was not heard of lately'
    most = {'ada': at(10.45, 10.0), 'bob': at(10.45, 10.0), 'cyd': at(9.9, 10.0)}
    assert stamped_ahead(most, 0.3) == {}, 'the one behind is at fault'
    without_clock = {'ada': at(10.45, None), 'bob': at(10.0, None), 'cyd': at(10.0, None)}
    assert list(stamped_ahead(without_clock, 0.3)) == ['ada'], 'the fewer of one source'
    assert stamped_ahead({**without_clock, 'ada': at(10.45, None, 'x')}, 0.3) == {}
    two = {'ada': at(10.9, 10.0), 'bob': at(10.45, 10.0), 'cyd': at(10.0, 10.0)}
    assert stamped_ahead(two, 0.3) == pytest.approx({'ada': 0.45, 'bob': 0.45})


# In words


def test_the_sentence_names_people_reasons_and_joints_and_stays_short() -> None:
    ada = OtherPerson(PersonState.SEEN, NotReady.JOINT_MISSING, 0, None, ('LAnkle',), 'LAnkle out')
    bob = OtherPerson(PersonState.SEEN, Refusal.NO_JOINTS, 0)
    lost = OtherPerson(PersonState.LOST, Excluded.NOT_SEEN_LATELY, 0)
    assert sentence({}) == sentence({'cyd': lost}) == ''
    assert sentence({'ada': ada, 'bob': bob, 'cyd': lost}) == (
        'seen and not predicted: ada (LAnkle out), bob (has no joint in space)'
    )
    crowd = {f'{index}' + 100 * 'x': bob for index in range(30)}
    assert sentence(crowd).endswith(' and 24 more')
    assert len(sentence(crowd)) < 600


def test_every_reason_has_words() -> None:
    for kind in (NotReady, Excluded, Refusal):
        for reason in kind:
            assert OtherPerson(PersonState.SEEN, reason, 0).words


def test_a_joint_that_was_not_seen_is_put_to_the_nearest_along_the_bones() -> None:
    seen = np.ones(17, bool)
    wrist, elbow = H36M17.index('RWrist'), H36M17.index('RElbow')
    seen[[wrist, elbow]] = False
    pose = measured_pose(np.where(seen[:, None], REST, np.nan), seen, H36M17)
    np.testing.assert_allclose(pose[[wrist, elbow]], REST[[H36M17.index('RShoulder')] * 2])
    assert measured_pose(REST, np.zeros(17, bool), H36M17) is None
    arm = replace(H36M17, zero_is_missing=False)
    assert np.isfinite(measured_pose(np.zeros((17, 3)), np.ones(17, bool), arm)).all()


def test_the_refused_do_not_fill_the_memory() -> None:
    online = online_with()
    for index in range(2000):
        stamp = stamps(0, 1)[0] + index * 1_000_000
        observe(online, f'ghost {index}', stamp, np.full((17, 3), np.nan))
    result = predicted(online, stamp)
    assert len(result.others) <= 512
    online.observe_nobody(stamp + PERIOD, 'map', stamp + PERIOD)
    assert online.snapshot(stamp + PERIOD).others == {}


def test_whoever_is_crowded_out_is_seen() -> None:
    online = online_with(max_persons=2)
    for stamp in stamps(0, 30):
        for index in range(20):
            observe(online, f'{index}', stamp, pose_at(stamp, 2.0 + 2.0 * index))
    result = predicted(online, stamp)
    assert result.persons == ('0', '1')
    assert len(result.others) == 18
    assert {other.reason for other in result.others.values()} == {
        Excluded.TOO_MANY_PERSONS, Refusal.CROWDED_OUT,
    }  # fmt: skip
    places = sorted(float(other.pose[0, 0]) for other in result.others.values())
    np.testing.assert_allclose(places, 2.0 + 2.0 * np.arange(2, 20))


def test_somebody_without_an_id_who_is_refused_is_seen_beside_whoever_has_that_place() -> None:
    online = online_with()

    def block(stamp: int, place: int, xyz: np.ndarray) -> None:
        seen = Observation(stamp, 'map', f'{place}', xyz, identified=False)
        online.observe(seen, stamp)

    for stamp in stamps(0, 30):
        block(stamp, 0, pose_at(stamp))
    for stamp in stamps(30, 60):  # somebody half hidden comes before them in the list
        block(stamp, 0, hidden(stamp, list(range(3, 17)), 5.0))
        block(stamp, 1, pose_at(stamp))
        result = predicted(online, stamp)
        assert result.persons == ('0',)
        (other,) = result.others.values()
        assert other.reason is Refusal.NO_BODY
        assert other.pose[0, 0] == 5.0
    for stamp in stamps(60, 62):
        block(stamp, 0, pose_at(stamp))
    assert predicted(online, stamp).others == {}, 'the next message has nobody else'
