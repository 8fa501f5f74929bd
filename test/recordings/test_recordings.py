# SPDX-License-Identifier: Apache-2.0
"""Readers of recorded motion, and what is made of several recordings."""

from __future__ import annotations

import json
from pathlib import Path
import warnings

from bvh_texts import bvh_text, JOINT
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.body.geometry import bone_lengths, heading_rad, turn
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh import read_bvh
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Overrides, Recording
from motion_predictor.recordings.scenes import (
    chain,
    MAX_SEAM_SPEED_M_S,
    side_by_side,
    with_seam,
)
from motion_predictor.recordings.walker import synthetic_walkers


def write_npz(path: Path, clips: dict[str, np.ndarray], fps: int = 25) -> Path:
    arrays = [np.round(poses * 1000).astype(np.int16) for poses in clips.values()]
    np.savez_compressed(
        path,
        positions=np.concatenate(arrays),
        offsets=np.cumsum([0] + [len(poses) for poses in arrays]),
        names=np.array(list(clips)),
        fps=np.int16(fps),
    )
    return path


def walk(frames: int = 120, people: int = 1) -> Recording:
    return synthetic_walkers(people, duration_s=frames / 50.0)


def one(recording: Recording) -> np.ndarray:
    (poses,) = recording.persons.values()
    return poses


# --- BVH


@pytest.mark.parametrize('prefix', ['', 'mixamorig:', 'Character1_'])
def test_a_bvh_at_rest_stands_upright_in_metres(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / 'rest.bvh'
    path.write_text(bvh_text([{1: 17.0}, {1: 17.0}], prefix))
    recording = open_recording(path)
    pose = one(recording)[0]
    scale = 0.056444
    assert recording.rate_hz == pytest.approx(120, rel=1e-4)
    assert 'CMU' in recording.source
    assert 'y up' in recording.source
    np.testing.assert_allclose(pose[JOINT('Hip')], [0, 0, (17 - 1.8) * scale], atol=1e-5)
    assert pose[JOINT('RAnkle'), 2] == pytest.approx((17 - 1.8 - 14.6) * scale, abs=1e-5)
    assert pose[JOINT('Head'), 2] == pytest.approx((17 + 11.9) * scale, abs=1e-5)
    assert pose[JOINT('Spine'), 2] == pytest.approx((17 + 2.3) * scale, abs=1e-5)
    # left is left: seen from above, left hip counter-clockwise from ahead (+z in the file = +x)
    assert heading_rad(pose, H36M17) == pytest.approx(0.0, abs=1e-5)
    assert pose[JOINT('LWrist'), 1] == pytest.approx(12 * scale, abs=1e-5)


def test_bvh_rotations_apply_in_the_order_of_the_channels(tmp_path: Path) -> None:
    path = tmp_path / 'turned.bvh'
    # the root turned by 90 degrees about y (up), and the left thigh lifted about its own x
    path.write_text(bvh_text([{1: 17.0, 4: 90.0, 11: -90.0}]))
    pose = one(open_recording(path))[0]
    assert heading_rad(pose, H36M17) == pytest.approx(np.pi / 2, abs=1e-5)
    thigh = pose[JOINT('LKnee')] - pose[JOINT('LHip')]
    np.testing.assert_allclose(thigh, [0, 7.2 * 0.056444, 0], atol=1e-5)  # ahead, after turning


def test_a_t_pose_before_the_motion_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'posed.bvh'
    path.write_text(bvh_text([{}, {1: 17.0}, {1: 17.1}, {1: 17.2}]))
    recording = open_recording(path)
    assert recording.num_frames == 3
    assert 'first pose left out' in recording.source
    path.write_text(bvh_text([{1: 17.0}, {1: 17.1}, {1: 17.2}]))
    assert open_recording(path).num_frames == 3


def test_units_of_a_bvh_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / 'rest.bvh'
    path.write_text(bvh_text([{1: 17.0}]))
    pose = one(read_bvh(path, Overrides(units_scale=0.1)))[0]
    assert pose[JOINT('Hip'), 2] == pytest.approx(1.52, abs=1e-5)


def test_a_bvh_with_legs_of_no_usual_unit_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / 'tiny.bvh'
    path.write_text(bvh_text([{}]).replace('-7.2', '-90000').replace('-7.4', '-90000'))
    with pytest.raises(RecordingError, match='give units_scale'):
        open_recording(path)


def test_a_bvh_without_a_head_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / 'odd.bvh'
    path.write_text(bvh_text([{}]).replace('Head', 'Giraffe'))
    with pytest.raises(RecordingError, match=r'no joint found for Nose .*the file has .*Giraffe'):
        open_recording(path)


def test_a_truncated_bvh_is_refused_with_counts(tmp_path: Path) -> None:
    path = tmp_path / 'short.bvh'
    path.write_text(bvh_text([{}, {}]).rsplit(' ', 3)[0])
    with pytest.raises(RecordingError, match=r'2 frames of .* numbers, got'):
        open_recording(path)


# --- npz


def test_clips_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    clips = {'01_01': one(walk(80)), '01_02@5': one(walk(90)) + 1.0}
    path = write_npz(tmp_path / 'clips.npz', clips)
    np.testing.assert_allclose(one(open_recording(path)), clips['01_01'], atol=6e-4)
    for key in ('01_02@5', '1'):
        recording = open_recording(f'{path}:{key}')
        assert (recording.name, recording.rate_hz) == ('01_02@5', 25.0)
        np.testing.assert_allclose(one(recording), clips['01_02@5'], atol=6e-4)


def test_clips_joined_by_plus_stand_side_by_side(tmp_path: Path) -> None:
    path = write_npz(tmp_path / 'c.npz', {'a': one(walk(80)), 'b': one(walk(60))})
    recording = open_recording(f'{path}:a+b')
    assert list(recording.persons) == ['0', '1']
    assert recording.num_frames == 60
    first, second = (poses[0, 0, :2] for poses in recording.persons.values())
    np.testing.assert_allclose(second - first, [0.0, 2.0], atol=1e-5)


def test_an_unknown_clip_lists_what_there_is(tmp_path: Path) -> None:
    path = write_npz(tmp_path / 'c.npz', {'walk_1': one(walk(60))})
    with pytest.raises(
        RecordingError, match=r'no clip .run.; a number in 0..0 or a name such as walk_1'
    ):
        open_recording(f'{path}:run')


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / 'other.npz', weights=np.zeros(3))
    with pytest.raises(RecordingError, match='not an archive of clips'):
        open_recording(tmp_path / 'other.npz')


@pytest.mark.parametrize('name', ['missing.bvh', 'synthetic:none'])
def test_a_missing_recording_says_what_would_do(name: str) -> None:
    with pytest.raises(RecordingError, match=r'wanted|number of people'):
        open_recording(name)


def test_an_unknown_kind_of_file_says_what_would_do(tmp_path: Path) -> None:
    (tmp_path / 'motion.fbx').touch()
    with pytest.raises(RecordingError, match=r"'.fbx'; wanted a .bvh file"):
        open_recording(tmp_path / 'motion.fbx')


# --- DeepMimic


def deepmimic_file(path: Path, frames: list[list[float]]) -> Path:
    path.write_text(json.dumps({'Loop': 'wrap', 'Frames': frames}))
    return path


def deepmimic_frame(duration: float, position: list[float], knee: float = 0.0) -> list[float]:
    still = [1.0, 0.0, 0.0, 0.0]
    leg, arm = [*still, knee, *still], [*still, 0.0]
    return [duration, *position, *still, *still, *still, *leg, *arm, *leg, *arm]


def test_a_deepmimic_pose_stands_upright_and_faces_ahead(tmp_path: Path) -> None:
    frames = [deepmimic_frame(0.5, [0.0, 0.9, 0.0]), deepmimic_frame(0.0, [1.0, 0.9, 2.0])]
    recording = open_recording(deepmimic_file(tmp_path / 'humanoid3d_stand.txt', frames))
    poses = one(recording)
    assert recording.name == 'stand'
    assert recording.duration_s == pytest.approx(0.5)
    assert heading_rad(poses[0], H36M17) == pytest.approx(0.0)
    np.testing.assert_allclose(poses[0, JOINT('Hip')], [0, 0, 0.9], atol=1e-6)
    np.testing.assert_allclose(poses[-1, JOINT('Hip')], [1, -2, 0.9], atol=1e-5)  # z is right
    assert poses[0, JOINT('RAnkle'), 2] == pytest.approx(0.9 - 0.8314, abs=1e-3)
    assert poses[0, JOINT('RHip'), 1] < 0 < poses[0, JOINT('LHip'), 1]
    assert poses[0, JOINT('Head'), 2] > 1.6


def test_a_deepmimic_knee_bends_backwards(tmp_path: Path) -> None:
    frames = [deepmimic_frame(d, [0.0, 0.9, 0.0], knee=-1.2) for d in (0.1, 0.1, 0.0)]
    pose = one(open_recording(deepmimic_file(tmp_path / 'bend.txt', frames)))[0]
    assert pose[JOINT('RAnkle'), 0] < pose[JOINT('RKnee'), 0] - 0.3


def test_another_text_file_is_not_taken_for_motion(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(RecordingError, match='not a DeepMimic motion file'):
        open_recording(tmp_path / 'notes.txt')
    with pytest.raises(RecordingError, match='frames of 44 numbers'):
        open_recording(deepmimic_file(tmp_path / 'x.txt', [[0.1, 0.2], [0.1, 0.2]]))


# --- time


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([15.0, 25.0, 50.0, 60.0, 100.0, 120.0]), st.integers(10, 80))
def test_resampling_keeps_the_motion(rate_hz: float, frames: int) -> None:
    recording = walk(frames)
    there = recording.resample(rate_hz)
    assert there.rate_hz == rate_hz
    assert abs(there.duration_s - recording.duration_s) <= 1.0 / rate_hz
    poses, instants = one(recording), there.instants_s
    near = poses[np.clip(np.round(instants * 50).astype(int), 0, frames - 1)]
    assert np.abs(one(there) - near).max() < 0.08  # half a frame of a brisk hand
    if rate_hz in (50.0, 100.0):
        kept = one(there)[:: int(rate_hz // 50)]
        np.testing.assert_allclose(kept, poses[: len(kept)], atol=1e-5)


def test_resampling_does_not_spread_missing_joints() -> None:
    poses = one(walk(50)).copy()
    poses[20:25, 3] = np.nan
    recording = Recording('gap', 'h36m17', 50.0, {'0': poses}, 'test')
    doubled = one(recording.resample(100.0))
    missing = np.isnan(doubled).any(axis=(1, 2))
    assert not np.isnan(doubled[:, 4]).any()
    assert set(np.flatnonzero(missing)) == set(range(39, 50))
    np.testing.assert_array_equal(doubled[::2], poses)


def test_cropping_keeps_what_was_asked_for() -> None:
    recording = walk(100).crop(0.5, 1.0)
    assert recording.num_frames == 51
    np.testing.assert_array_equal(one(recording), one(walk(100))[25:76])
    with pytest.raises(RecordingError, match='nothing between 9 s'):
        walk(100).crop(9.0)


# --- several recordings


def test_a_chain_is_continuous_and_keeps_bone_lengths() -> None:
    first, second = walk(150), synthetic_walkers(1, 3.0, seed=5)
    moved = turn(one(second), np.array([np.cos(2.0), np.sin(2.0)])) + np.float32([7.0, -3.0, 0.0])
    second = Recording('other', 'h36m17', 50.0, {'0': moved}, 'test')
    joined = chain([first, second])
    poses = one(joined)
    assert joined.name == 'synthetic walker > other'
    assert len(poses) == 150 + 150 - 20
    fastest = max(np.abs(np.diff(one(r), axis=0)).max() for r in (first, second))
    assert np.abs(np.diff(poses, axis=0)).max() < 2 * fastest
    lengths = np.linalg.norm(poses[:, 1:] - poses[:, list(H36M17.parents[1:])], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-4)
    np.testing.assert_allclose(poses[:130], one(first)[:130])


def test_a_seam_leads_back_no_faster_than_a_walk() -> None:
    recording = walk(200)
    seamed = one(with_seam(recording, 0.5))
    np.testing.assert_array_equal(seamed[:200], one(recording))
    hip = np.concatenate([seamed[199:, 0], seamed[:1, 0]])
    assert np.linalg.norm(np.diff(hip, axis=0), axis=-1).max() * 50 <= MAX_SEAM_SPEED_M_S * 1.05
    before, after = bone_lengths(seamed[:200], H36M17), bone_lengths(seamed[200:], H36M17)
    np.testing.assert_allclose(after, before, atol=1e-3)
    assert with_seam(recording, 0.0) is recording


def test_somebody_missing_at_the_end_is_missing_at_the_seam() -> None:
    recording = walk(100, people=2)
    recording.persons['1'][60:] = np.nan
    seamed = with_seam(recording, 0.5)
    assert np.isnan(seamed.persons['1'][60:]).all()
    assert np.isfinite(seamed.persons['0']).all()


def test_people_side_by_side_keep_their_motion() -> None:
    first, second = walk(60), synthetic_walkers(1, 2.0, seed=3)
    scene = side_by_side([first, second], spacing_m=3.0)
    for poses, source in zip(scene.persons.values(), (first, second)):
        shift = poses[0, 0] - one(source)[0, 0]
        np.testing.assert_allclose(poses, one(source)[:60] + shift, atol=1e-5)


def test_the_synthetic_walker_walks_like_a_person() -> None:
    recording = open_recording('synthetic')
    poses = one(recording)
    lengths = np.linalg.norm(poses[:, 1:] - poses[:, list(H36M17.parents[1:])], axis=-1)
    assert lengths.std(axis=0).max() < 1e-4
    speed = np.linalg.norm(np.diff(poses, axis=0), axis=-1) * recording.rate_hz
    assert speed.max() < 8.0
    assert 0.4 < speed[:, 0].mean() < 1.8
    assert 1.4 < poses[:, JOINT('Head'), 2].min() <= poses[:, JOINT('Head'), 2].max() < 1.9
    np.testing.assert_array_equal(one(open_recording('synthetic')), poses)


def test_a_recording_checks_what_it_is_given() -> None:
    poses = one(walk(10))
    with pytest.raises(RecordingError, match='nobody'):
        Recording('x', 'h36m17', 50.0, {}, 'test')
    with pytest.raises(RecordingError, match='rate_hz=0'):
        Recording('x', 'h36m17', 0.0, {'0': poses}, 'test')
    with pytest.raises(RecordingError, match="person 'b'"):
        Recording('x', 'h36m17', 50.0, {'a': poses, 'b': poses[:5]}, 'test')
    with pytest.raises(RecordingError, match='10 increasing instants'):
        Recording('x', 'h36m17', 50.0, {'0': poses}, 'test', times_s=np.zeros(10))


def test_coordinates_that_float32_cannot_hold_are_refused_by_name(tmp_path: Path) -> None:
    poses = walk().persons['0'].astype(np.float64)
    poses[7, 3, 1] = 1e300
    file = tmp_path / 'far.npz'
    np.savez(file, positions=poses, offsets=[0, len(poses)], names=['x'], fps=25)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(RecordingError, match=r"clip 'x': frame 7, joint 3: y is 1e\+300"):
            open_recording(file)
        good = tmp_path / 'good.npz'
        poses[7, 3, 1] = 1e36
        np.savez(good, positions=poses, offsets=[0, 120], names=['x'], fps=25)
        with pytest.raises(RecordingError, match='which float32 cannot hold; are these metres'):
            open_recording(good, overrides=Overrides(units_scale=1000.0))
