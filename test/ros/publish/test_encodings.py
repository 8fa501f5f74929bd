# SPDX-License-Identifier: Apache-2.0
"""The summaries as messages: what is encoded is read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from rclpy.serialization import deserialize_message
from ros_harness import walker_poses

from motion_predictor.body.geometry import bone_lengths
from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.calibration import Calibration
from motion_predictor.predict.futures.sampled import as_futures
from motion_predictor.predict.likely import drawn_samples, likely_futures, TYPICAL
from motion_predictor.predict.live import LivePrediction
from motion_predictor.predict.moments import Moments
from motion_predictor.predict.place.mix import Mix, overall
from motion_predictor.predict.prediction import Prediction
from motion_predictor.ros.messages import (
    MessageError,
    read_cloud,
    stamp_to_ns,
)
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish import outlook as outlooks
from motion_predictor.ros.publish import outputs
from motion_predictor.ros.publish.outlook import Outlook, turned
from motion_predictor.ros.publish.outputs import (
    decode_moments,
    MOMENTS_DTYPE,
    OCCUPANCY_DTYPE,
)
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.track.window import ObservedWindow

STAMP_NS = 1_700_000_000_123_456_789


FRAMES = np.arange(4, 100, 5)


def outlook(persons: int = 2, turn: np.ndarray | None = None, **stated: Any) -> Outlook:
    """Return what walks do over two seconds, with some spread, of people numbered 7, 8..."""
    walks = walker_poses(persons)
    rng = np.random.default_rng(0)
    spread = rng.normal(0.0, 0.3, (persons, 10, 1, 1, 3)) * np.linspace(0, 1, 100)[:, None, None]
    futures = np.stack([walk[25:125] for walk in walks])[:, None] + spread
    prediction = Prediction(
        futures.astype(np.float32), np.full((persons, 10), 0.1, np.float32), 50.0, **stated
    )
    windows = tuple(
        ObservedWindow(STAMP_NS, walk[:25].astype(np.float64), np.zeros((25, 17), bool), 0, 0.02)
        for walk in walks
    )
    names = tuple(str(index) for index in range(persons))
    result = LivePrediction(
        STAMP_NS, 'hall', names, windows, {}, (), {}, tuple(range(persons)), prediction=prediction
    )
    return Outlook.of(result, list(range(7, 7 + persons)), FRAMES, H36M17, turn)


def typical_of(view: Outlook, frame: int) -> np.ndarray:
    """Return the most typical sample of each person at a frame, (P, J, 3)."""
    return likely_futures(view.prediction, TYPICAL)[:, frame]


def encoded(name: str, view: Outlook, **settings: Any) -> Any:
    message = SUMMARIES[name].encode(view, Settings.from_values(settings))
    if isinstance(message, bytes):
        message = deserialize_message(message, SUMMARIES[name].message_type)
    assert isinstance(message, SUMMARIES[name].message_type)
    assert stamp_to_ns(message.header.stamp) == STAMP_NS
    assert message.header.frame_id == 'hall'
    return message


def test_moments_are_read_back_as_documented() -> None:
    view = outlook()
    message = encoded('moments', view)
    assert message.point_step == MOMENTS_DTYPE.itemsize
    decoded = decode_moments(message)
    assert decoded.persons.tolist() == [7, 8]
    np.testing.assert_allclose(decoded.times_s, 0.1 * np.arange(1, 21), rtol=1e-6)
    futures = view.prediction.futures[:, :, FRAMES]
    np.testing.assert_allclose(decoded.moments.mean, futures.mean(axis=1), atol=1e-5)
    covariance = np.cov(futures[1, :, 19, 16].astype(np.float64).T)
    np.testing.assert_allclose(decoded.moments.covariance[1, 19, 16], covariance, rtol=1e-4)
    distance = np.linalg.norm(futures - decoded.moments.mean[:, None], axis=-1)
    held = (distance <= decoded.radius_m[:, None] + 1e-5).mean(axis=1)
    np.testing.assert_allclose(held, 0.9, atol=1e-6)
    wide = decode_moments(encoded('moments', view, **{'moments.coverage': 1.0}))
    assert (wide.radius_m >= decoded.radius_m).all()


def test_moments_in_closed_form_and_a_calibrated_radius_take_precedence() -> None:
    mean = np.zeros((1, 100, 17, 3)) + np.arange(100)[:, None, None]
    covariance = np.broadcast_to(np.diag([1.0, 4.0, 9.0]), (1, 100, 17, 3, 3))
    stated = Moments(mean, covariance)
    factor = np.full((2, 100, 17), 2.0, np.float32) * np.array([1.0, 3.0])[:, None, None]
    held = Calibration((0.9, 0.99), factor.astype(np.float32), 0.1, 10, {})
    view = outlook(1, closed_form=stated, calibration=held)
    decoded = decode_moments(encoded('moments', view))
    np.testing.assert_allclose(decoded.moments.mean[0, :, 0, 0], FRAMES)
    np.testing.assert_allclose(decoded.moments.covariance[0, 3, 4], np.diag([1.0, 4.0, 9.0]))
    np.testing.assert_allclose(decoded.radius_m, 2.0 * np.sqrt(14.01), rtol=1e-5)
    wide = decode_moments(encoded('moments', view, **{'moments.coverage': 0.95}))
    np.testing.assert_allclose(wide.radius_m, 6.0 * np.sqrt(14.01), rtol=1e-5)
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = decode_moments(encoded('moments', outlook(1, quarter, closed_form=stated)))
    np.testing.assert_allclose(turned.moments.covariance[0, 0, 0], np.diag([4.0, 1.0, 9.0]))
    np.testing.assert_allclose(turned.moments.mean[0, 0, 0], [4.0, -4.0, 4.0])


def test_another_cloud_is_no_cloud_of_moments() -> None:
    with pytest.raises(MessageError, match='fields: expected'):
        decode_moments(encoded('occupancy', outlook()))
    nobody = decode_moments(SUMMARIES['moments'].nobody(STAMP_NS, 'hall'))
    assert not len(nobody.persons)
    assert nobody.stamp_ns == STAMP_NS


def test_the_trajectory_names_everybodys_joints_and_follows_the_likely_future() -> None:
    view = outlook()
    message = encoded('trajectory', view, **{'trajectory.horizons_s': [0.0, 0.5, 2.0]})
    assert len(message.joint_names) == 34
    assert message.joint_names[16] == '7/RWrist'
    assert message.joint_names[17] == '8/Hip'
    times = [point.time_from_start for point in message.points]
    assert [(time.sec, time.nanosec) for time in times] == [(0, 0), (0, 500_000_000), (2, 0)]
    for point, poses in zip(
        message.points, (view.last_poses, typical_of(view, 24), typical_of(view, 99))
    ):
        found = [(t.translation.x, t.translation.y, t.translation.z) for t in point.transforms]
        np.testing.assert_allclose(np.reshape(found, (2, 17, 3)), poses, atol=1e-6)
        assert {t.rotation.w for t in point.transforms} == {1.0}


def weighed(persons: int = 2) -> Prediction:
    """Return the futures of :func:`outlook` beside two simple guesses, as a mix of all."""
    prediction = outlook(persons).prediction
    rng = np.random.default_rng(1)
    still = prediction.futures[:, :1, :1].repeat(100, axis=2)
    futures = np.concatenate((prediction.futures, still + np.float32(0.1), still), axis=1)
    within = np.concatenate((prediction.weights, np.ones((persons, 2), np.float32)), axis=1)
    shares = rng.random((persons, 100, 4)).astype(np.float32)
    shares[..., 3] = 0.0
    shares /= shares.sum(axis=-1, keepdims=True)
    origin = futures[:, 0, 0, 0].astype(np.float64)
    means = np.stack((futures[:, :10].mean(axis=1), *futures[:, 10:].swapaxes(0, 1),
                      futures[:, 11]), axis=2) - origin[:, None, None, None]  # fmt: skip
    candidate = np.array([0] * 10 + [1, 2], dtype=np.uint8)
    bones = bone_lengths(still[:, 0, :1] - origin[:, None, None], H36M17)
    radii = np.stack([np.full((persons, 100, 17), r, np.float32) for r in (0.2, 0.4)])
    mix = Mix(candidate, within, shares, bones, np.ones(persons, np.float32),
              means.astype(np.float32), origin, H36M17, (0.9, 0.99), radii)  # fmt: skip
    return replace(
        prediction,
        sampled=as_futures(futures),
        weights=overall(shares, within, candidate),
        mix=mix,
    )


def test_with_candidates_the_expected_future_is_shown_and_the_radius_is_about_it() -> None:
    prediction = weighed()
    view = replace(outlook(), prediction=prediction)
    horizon = {'trajectory.horizons_s': [0.5], 'poses.horizons_s': [0.5]}
    message = encoded('trajectory', view, **horizon)
    found = [
        (t.translation.x, t.translation.y, t.translation.z) for t in message.points[0].transforms
    ]
    expected = prediction.expected[:, 24]
    np.testing.assert_allclose(np.reshape(found, (2, 17, 3)), expected, atol=1e-6)
    points = [(p.position.x, p.position.y, p.position.z) for p in
              encoded('poses', view, **horizon).poses]  # fmt: skip
    np.testing.assert_allclose(np.reshape(points, (2, 17, 3)), expected, atol=1e-6)
    typical = encoded('poses', view, **horizon, **{'output.future': 'typical'}).poses
    points = [(p.position.x, p.position.y, p.position.z) for p in typical]
    np.testing.assert_allclose(np.reshape(points, (2, 17, 3)), typical_of(view, 24), atol=1e-6)
    decoded = decode_moments(encoded('moments', view))
    np.testing.assert_allclose(decoded.moments.mean, prediction.expected[:, FRAMES], atol=1e-5)
    np.testing.assert_allclose(decoded.radius_m, 0.2)
    wide = decode_moments(encoded('moments', view, **{'moments.coverage': 0.95}))
    np.testing.assert_allclose(wide.radius_m, 0.4)
    own = prediction.moments(FRAMES).covariance
    np.testing.assert_allclose(decoded.moments.covariance, own, rtol=1e-4, atol=1e-6)


def test_all_that_candidates_give_is_turned_with_the_input() -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    view = replace(outlook(), prediction=weighed())
    there = replace(view, prediction=turned(view.prediction, quarter))
    for name, frames in (('mean', [0, 60]), ('covariance', [7])):
        here = getattr(view.prediction.moments(np.array(frames)), name)
        aside = getattr(there.prediction.moments(np.array(frames)), name)
        rotated = here @ quarter.T if name == 'mean' else quarter @ here @ quarter.T
        np.testing.assert_allclose(aside, rotated, atol=1e-5)
    np.testing.assert_allclose(
        there.prediction.expected, view.prediction.expected @ quarter.T, atol=1e-5
    )


def test_occupancy_counts_a_candidate_for_what_it_is_worth_in_each_bin() -> None:
    prediction = weighed(1)
    mix = prediction.mix
    assert mix is not None
    shares = np.zeros_like(mix.shares)
    shares[:, :50, 2], shares[:, 50:, 1] = 1.0, 1.0  # stands still, and later the other guess
    view = replace(outlook(1), prediction=replace(prediction, mix=replace(mix, shares=shares)))
    cloud = read_cloud(encoded('occupancy', view, **{'occupancy.bin_s': 1.0}))
    np.testing.assert_allclose(cloud['probability'], 1.0, atol=1e-6)
    first, later = (cloud[cloud['bin'] == number] for number in (0, 1))
    means = [np.mean([rows[axis].mean() for axis in 'xyz']) for rows in (first, later)]
    assert means[1] - means[0] == pytest.approx(0.1, abs=0.03)


def test_samples_are_drawn_as_the_candidates_count() -> None:
    prediction = weighed(1)
    assert drawn_samples(outlook(1).prediction, 3).tolist() == [[0, 1, 2]]
    weights = np.array([[0.05] * 10 + [0.0, 0.5]], dtype=np.float32)
    found = drawn_samples(replace(prediction, weights=weights), 10)[0]
    assert (found == 11).sum() == 5
    assert 10 not in found
    assert len(set(found.tolist())) == 6
    assert drawn_samples(prediction, 0).shape == (1, 0)


def test_poses_are_finite_points_ordered_by_person_horizon_and_joint() -> None:
    view = outlook()
    message = encoded('poses', view)
    points = np.array([(p.position.x, p.position.y, p.position.z) for p in message.poses])
    grid = points.reshape(2, 4, 17, 3)
    np.testing.assert_allclose(grid[:, 0], view.last_poses, atol=1e-6)
    np.testing.assert_allclose(grid[:, 3], typical_of(view, 49), atol=1e-6)
    seen = replace(view, others=[np.full((17, 3), 9.0), view.last_poses[1]])
    points = np.array([
        (p.position.x, p.position.y, p.position.z) for p in encoded('poses', seen).poses
    ])  # fmt: skip
    both = points.reshape(4, 4, 17, 3)
    np.testing.assert_allclose(both[:2], grid)
    np.testing.assert_allclose(both[2], 9.0)
    np.testing.assert_allclose(both[3], np.tile(view.last_poses[1], (4, 1, 1)), atol=1e-6)


@pytest.mark.parametrize('turned', [False, True])
def test_poses_and_radii_are_exact_at_map_coordinates(turned: bool) -> None:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) if turned else None
    near = outlook(1)
    offset = np.array([691_000.0, 5_334_000.0, 500.0])
    result = replace(
        near.prediction, sampled=as_futures(near.prediction.futures.astype(float) + offset)
    )
    view = replace(near, prediction=result, last_poses=near.last_poses + offset)
    if turn is not None:
        level = replace(result, sampled=as_futures(result.futures @ turn.T))
        view = replace(view, prediction=outlooks.turned(level, turn.T))
    poses = [
        np.array([(p.position.x, p.position.y, p.position.z) for p in message.poses])
        for message in (encoded('poses', near), encoded('poses', view))
    ]
    np.testing.assert_allclose(poses[1] - offset, poses[0], atol=1e-5)
    radii = [decode_moments(encoded('moments', each)).radius_m for each in (near, view)]
    np.testing.assert_allclose(radii[1], radii[0], rtol=1e-3)


@pytest.mark.parametrize('name', ['poses', 'trajectory', 'moments'])
def test_an_output_that_holds_nan_is_not_made(name: str) -> None:
    view = outlook()
    view.prediction.futures[1, :, 24, 3] = np.nan
    with pytest.raises(MessageError, match=f'~/{name}: holds NaN'):
        encoded(name, view)


def test_horizons_end_with_what_is_published() -> None:
    view = outlook()
    short = Outlook(**{**view.__dict__, 'frames': FRAMES[:5]})  # half a second
    message = encoded('trajectory', short)
    assert [p.time_from_start.nanosec for p in message.points] == [240_000_000, 500_000_000]
    assert read_cloud(encoded('occupancy', short))['t_end'].max() == np.float32(0.5)


def test_occupancy_is_where_bodies_will_be() -> None:
    view = outlook(1)
    message = encoded('occupancy', view, **{'occupancy.min_probability': 0.2})
    rows = read_cloud(message)
    assert rows.dtype.names == OCCUPANCY_DTYPE.names
    assert rows['bin'].tolist() == sorted(rows['bin'].tolist())
    assert set(rows['bin']) == {0, 1, 2, 3}
    np.testing.assert_allclose(rows['t'], 0.5 * rows['bin'])
    np.testing.assert_allclose(rows['t_end'] - rows['t'], 0.5)
    assert 0.2 <= rows['probability'].min() < rows['probability'].max() <= 1.0
    voxel = np.floor(view.prediction.futures[0, :, 24, 0] / 0.1)  # the hips half a second ahead
    centres = np.stack([rows[axis] for axis in 'xyz'], axis=-1)[rows['bin'] == 0]
    inside = np.floor(centres / 0.1)
    shares = [float((inside == each).all(axis=1).any()) for each in voxel]
    assert np.mean(shares) > 0.7  # a few samples' own voxels are below the least probability
    # voxels far from everybody are not in
    assert np.abs(centres - view.last_poses[0, 0]).max() < 3.0


@pytest.mark.parametrize('name', ['poses', 'trajectory'])
def test_a_packed_summary_is_its_message(name: str) -> None:
    view, settings = outlook(), Settings.from_values({})
    message = getattr(outputs, f'encode_{name}')(view, settings)
    assert isinstance(message, SUMMARIES[name].message_type)
    packed = getattr(outputs, f'pack_{name}')(view, settings)
    assert deserialize_message(packed, SUMMARIES[name].message_type) == message
