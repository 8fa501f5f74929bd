# SPDX-License-Identifier: Apache-2.0
"""The demo: what it plays, how it scores, what it shows, and that it leaves nothing running."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

from bvh_person import bvh_text, walking
from demo_runs import collection_of, RATE_HZ
import numpy as np
import pytest
from random_models import save_random

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bag.files import BagFiles
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.scenes import chain, with_seam
from motion_predictor.recordings.walker import synthetic_walkers
from tools.demo import demo, demo_clips
from tools.demo.demo import overrides_of, parse_arguments, summary
from tools.demo.demo_clips import demo_recording, whole_recording
from tools.demo.demo_collector import Collected, save
from tools.demo.demo_page import Facts
from tools.demo.demo_scores import Collection, METHODS, RUNNING, running, score, timing
from tools.demo.demo_still import write_still
from tools.demo.demo_work import synthetic_work

ROOT = Path(__file__).resolve().parents[3]


PATIENCE_S = 240.0


@pytest.fixture(scope='module')
def scene() -> Recording:
    return synthetic_walkers(2, 5.0, RATE_HZ)


def test_a_short_recording_is_repeated_and_says_so() -> None:
    recording = demo_recording('synthetic', 70.0, RATE_HZ)
    assert recording.duration_s == pytest.approx(70.0)
    assert 'not motion capture' in recording.source
    assert 'made-up frames' in recording.source


def test_a_file_is_played_as_its_overrides_say(tmp_path: Path) -> None:
    path = tmp_path / 'walk.bvh'
    walk = walking(40)
    path.write_text(bvh_text(walk, 10.0))  # decimetres, which is no usual unit
    words = ['--units-scale', '0.1', '--up', 'y', '--recorded-rate', '60']
    options = parse_arguments(['--clip', str(path), *words])
    given = overrides_of(options)
    recording = demo_recording(str(path), 0.5, 60.0, given)
    np.testing.assert_allclose(recording.persons['0'], walk.truth()[:31], atol=1e-4)
    assert 'unit 0.1 m as given' in recording.source


def test_an_unknown_clip_lists_the_known_ones() -> None:
    with pytest.raises(RecordingError, match=r"'valk'; clips: exercise, work, medley, walk, run"):
        demo_recording('valk', 10.0, RATE_HZ)


def test_work_is_repeated_never_twice_alike_and_says_that_it_is_synthetic() -> None:
    work = demo_recording('work', 90.0, RATE_HZ)
    assert work.duration_s == pytest.approx(90.0)
    assert 'synthetic work of our own making (not motion capture)' in work.source
    poses = work.persons['0'].astype(np.float64)
    assert np.isfinite(poses).all()
    lengths = np.stack([np.linalg.norm(poses[:, a] - poses[:, b], axis=-1)
                        for a, b in H36M17.bones])  # fmt: skip
    assert np.ptp(lengths, axis=1).max() < 1e-4
    speed = np.linalg.norm(np.diff(poses, axis=0), axis=-1) * RATE_HZ
    assert speed.max() < 4.0
    over = poses[:, H36M17.index('RWrist'), 1] > 0.2  # to the box on the left, once a round
    assert 6 <= np.count_nonzero(np.diff(over.astype(int)) == 1) <= 12
    flat = poses.reshape(len(poses), -1)
    again = min(np.abs(flat[900] - flat[k]).max() for k in range(800))
    assert 0.005 < again < 0.1
    np.testing.assert_array_equal(synthetic_work(90.0, RATE_HZ).persons['0'], work.persons['0'])


def test_all_clips_of_a_recording_are_played_once(tmp_path: Path) -> None:
    walk = synthetic_walkers(1, 6.0, 25.0).persons['0']
    path = tmp_path / 'mine.npz'
    np.savez(path, positions=np.concatenate([walk, walk, walk[:100]]),
             offsets=np.array([0, 150, 300, 400]), names=np.array(['a', 'b', 'c']),
             fps=np.float64(25.0))  # fmt: skip
    options = parse_arguments(['--recording', str(path)])
    assert options.seconds == 900.0
    recording = whole_recording(options.recording, options.seconds, RATE_HZ)
    assert recording.name == 'mine.npz, 3 clips'
    assert recording.duration_s == pytest.approx(15.1, abs=0.1)  # crossfaded twice
    assert recording.invented.sum() == pytest.approx(2 * 12, abs=4)
    named = whole_recording(f'{path}:b', 900.0, RATE_HZ)
    assert named.duration_s == pytest.approx(6.0, abs=0.1)
    assert whole_recording(str(path), 8.0, RATE_HZ).duration_s == pytest.approx(8.0, abs=0.05)
    with pytest.raises(RecordingError, match='no such file'):
        whole_recording(str(tmp_path / 'yours.bvh'), 900.0, RATE_HZ)
    with pytest.raises(SystemExit):
        parse_arguments(['--recording', str(path), '--clip', 'walk'])
    assert parse_arguments([]).clip == 'exercise'
    assert parse_arguments([]).seconds == 900.0
    assert parse_arguments(['--clip', 'work']).seconds == 120.0
    assert parse_arguments(['--clip', 'walk']).seconds == 20.0


def test_a_medley_fills_the_time_and_declares_its_crossfades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = [1.0, 0.0, 0.0, 0.0]
    leg, arm = [*still, -0.1, *still], [*still, 0.2]
    joints = [*still, *still, *still, *leg, *arm, *leg, *arm]
    frames = [[0.05, 0.05 * i, 0.9, 0.0, *joints] for i in range(30)]
    for clip in demo_clips.CLIPS:
        path = tmp_path / f'humanoid3d_{clip}.txt'
        path.write_text(json.dumps({'Loop': 'wrap', 'Frames': frames}))
    monkeypatch.setattr(demo_clips, 'CLIP_FOLDER', tmp_path)
    recording = demo_recording('medley', 12.0, RATE_HZ)
    poses = recording.persons['0']
    assert recording.duration_s == pytest.approx(12.0)
    assert recording.name.startswith('walk, punch, run')
    assert re.search(r'crossfaded over 0.4 s \(\d+% of the time\)', recording.source)
    speed = np.linalg.norm(np.diff(poses[:, 0], axis=0), axis=-1) * RATE_HZ
    np.testing.assert_allclose(speed, 1.0, atol=0.05)  # it goes on through every joint


def test_without_the_package_a_walker_of_our_own_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_clips, 'CLIP_FOLDER', tmp_path / 'nothing')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))
    recording = demo_recording('medley', 6.0, RATE_HZ)
    said = capsys.readouterr().err
    assert 'not motion capture' in recording.source
    assert 'pip could not fetch' in said
    assert 'synthetic walker of our own making' in said


@pytest.mark.parametrize('arguments', [['--seconds', '1'], ['--rate', '500']])
def test_settings_out_of_range_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert 'must lie in' in capsys.readouterr().err


def test_who_knows_the_future_makes_no_error(scene: Recording) -> None:
    collection = collection_of(scene)
    scores = score(collection)
    assert scores is not None
    assert scores.mean_m['best sample'] == pytest.approx(0.0, abs=1e-6)
    assert scores.mean_m['expected future'] == pytest.approx(0.0, abs=1e-6)
    assert scores.mean_m['standing still'] > scores.mean_m['damped velocity'] > 0.3
    assert list(scores.mean_m) == list(METHODS)
    assert all(len(curve) == 20 for curve in scores.curves.values())


def test_only_predictions_whose_future_was_seen_are_scored(scene: Recording) -> None:
    collection = collection_of(scene)
    scores = score(collection)
    assert scores is not None
    stamps = collection.stamps_s[collection.message[scores.rows]]
    assert stamps.min() >= 0.48 - 1e-6  # the baselines see as much as the model
    assert stamps.max() <= collection.pose_stamps_s[-1] - 2.0 + 1e-6
    assert len(scores.rows) == 2 * len(set(stamps.round(4)))
    short = collection_of(scene.crop(0.0, 1.5))
    assert score(short) is None
    assert 'no error' in summary(timing(short), None)


def test_a_known_error_is_measured(scene: Recording) -> None:
    scores = score(collection_of(scene, samples=5, offset_m=0.1))
    assert scores is not None
    assert scores.mean_m['best sample'] == pytest.approx(0.0, abs=1e-6)
    assert scores.mean_m['expected future'] == pytest.approx(0.2, rel=1e-4)  # of 0, 0.1 .. 0.4


def test_joints_that_were_not_seen_are_not_scored(scene: Recording) -> None:
    collection = collection_of(scene)
    expected = collection.expected + np.float32([0.0, 0.0, 0.2])
    expected[:, :, 13] += 9.0  # of which nobody can know
    poses = collection.poses.copy()
    poses[:, :, 13] = np.nan
    poses[40:60, 1] = np.nan
    scores = score(replace(collection, poses=poses, expected=expected))
    assert scores is not None
    assert scores.mean_m['expected future'] == pytest.approx(0.2, rel=1e-4)
    assert scores.mean_m['best sample'] < 0.01
    assert 0.0 < scores.left_out < 0.5
    lost = score(replace(collection, poses=np.full_like(poses, np.nan)))
    assert lost is None


def test_a_sample_that_counts_nothing_is_not_the_best(scene: Recording) -> None:
    collection = collection_of(scene, samples=5, offset_m=0.1)
    weights = collection.weights.copy()
    weights[:, 0] = 0.0
    scores = score(replace(collection, weights=weights))
    assert scores is not None
    assert scores.mean_m['best sample'] == pytest.approx(0.1, rel=1e-4)
    assert set(scores.best.tolist()) == {1}


def test_the_running_error_is_of_what_came_true_lately(scene: Recording) -> None:
    scene = synthetic_walkers(1, 60.0, RATE_HZ)
    collection = collection_of(scene, samples=1)
    better = np.where(collection.stamps_s < 30.0, 0.3, 0.1)  # it learns something at 30 s
    shift = better[collection.message, None, None, None] * np.array([0.0, 0.6, 0.8])
    scores = score(replace(collection, expected=collection.expected + shift))
    assert scores is not None
    found = running(collection, scores)
    assert found is not None
    assert tuple(found.errors_m) == RUNNING
    assert found.ahead_s == pytest.approx(1.0)
    error = found.errors_m['expected future']
    np.testing.assert_allclose(error[found.watched_s < 31.0], 0.3, rtol=1e-4)
    np.testing.assert_allclose(error[found.watched_s > 51.0], 0.1, rtol=1e-4)
    between = (found.watched_s > 31.1) & (found.watched_s < 50.9)
    assert np.all(np.diff(error[between]) < 0.0)
    halfway = np.interp(41.0, found.watched_s, error)  # half of 20 s came before
    assert halfway == pytest.approx(0.2, abs=0.005)
    assert found.ends_m['expected future'] == pytest.approx((0.3, 0.1), rel=1e-4)
    assert '1 s ahead, first -> last 20 s: expected future 30.0 -> 10.0, damped' in summary(
        timing(collection), scores, found
    )
    short = collection_of(scene.crop(0.0, 8.0))
    scores = score(short)
    assert scores is not None
    assert running(short, scores) is None


def test_predictions_without_their_trajectory_are_no_rows(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    futures = np.zeros((1, 3, 2, 17, 3), np.float32)
    data = Collected(
        pose_stamps=[10, 20], poses=[np.zeros((1, 17, 3))] * 2, stamps=[10, 15, 20],
        published=[11, 16, 21], received=[12, 17, 22], kept=[0, 2],
        persons=[np.array([4]), np.array([4])], futures=[futures, futures + 1.0],
        weights=[np.full((1, 3), 1 / 3)] * 2, expected={(20, 4): np.full((2, 17, 3), 7.0)},
        times_s=np.array([0.1, 0.2], np.float32),
    )  # fmt: skip
    save(data, tmp_path / 'collected.npz')
    collection = Collection.load(tmp_path / 'collected.npz')
    assert collection.message.tolist() == [2]
    assert collection.expected.shape == (1, 2, 17, 3)
    assert collection.expected.min() == 7.0
    assert collection.futures.min() == 1.0
    assert len(collection.stamps_s) == 3


def test_latencies_and_rates_are_summed_up(scene: Recording) -> None:
    measured = timing(collection_of(scene))
    assert measured.frames_in == measured.predictions_out == scene.num_frames
    assert measured.rate_out_hz == pytest.approx(RATE_HZ)
    assert measured.published_ms == pytest.approx((10.0, 10.0))
    assert measured.received_ms == pytest.approx((12.0, 12.0))


def test_the_still_is_a_picture(tmp_path: Path) -> None:
    collection = collection_of(synthetic_walkers(1, 14.0, RATE_HZ), offset_m=0.05)
    scores = score(collection)
    assert scores is not None
    assert running(collection, scores) is not None
    still = write_still(tmp_path / 's.png', collection, scores, Facts('walk', 'ours', 'x', 'y'))
    assert still.read_bytes().startswith(b'\x89PNG')


def processes_naming(text: str) -> list[int]:
    """Return processes with this text in their command line."""
    found = []
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / 'cmdline').read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    pytest.importorskip('rclpy')
    return save_random(tmp_path / 'random.safetensors')


def start_demo(tmp_path: Path, weights: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, '-m', 'tools.demo.demo', '--clip', 'synthetic', '--seconds', '5']
    command += ['--weights', str(weights), '--output', str(tmp_path / 'out'), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {'TMPDIR': str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_ends_with_its_page_and_a_summary(tmp_path: Path, weights: Path) -> None:
    process = start_demo(tmp_path, weights)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert 'playing 5 s of SYNTHETIC motion' in output
    last = output.strip().splitlines()[-1]
    assert re.search(
        r'\d+ frames in .* predictions out .* latency p50/p99 .* error of a joint in cm', last
    ), output
    assert (tmp_path / 'out' / 'index.html').stat().st_size > 50_000
    assert processes_naming(str(tmp_path)) == []
    session = tmp_path / 'out' / 'session.mcap'
    assert f'the session, input and predictions: {session}' in output
    recording = open_recording(session)  # as the replay node does
    assert recording.num_frames > 30
    known = np.isfinite(recording.persons['0']).all(axis=(1, 2))
    # at the end a message without anybody says that it is over
    assert known[:-1].all()
    assert not known[-1]
    with BagFiles(session) as bag:
        assert set(bag.topics) == {
            '/skeleton',
            '/motion_predictor/predictions',
            '/motion_predictor/trajectory',
        }


def test_a_session_is_not_recorded_where_it_is_not_wanted_or_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--output', str(tmp_path)]
    assert demo._session_of(parse_arguments(words)) == tmp_path / 'session.mcap'
    elsewhere = str(tmp_path / 'a' / 'b.mcap')
    assert demo._session_of(parse_arguments([*words, '--mcap', elsewhere])) == Path(elsewhere)
    assert demo._session_of(parse_arguments([*words, '--no-mcap'])) is None
    assert capsys.readouterr().out == ''
    monkeypatch.setattr(demo, 'find_spec', lambda name: None)  # as without the package
    assert demo._session_of(parse_arguments(words)) is None
    assert "pip install 'motion-predictor[demo]'" in capsys.readouterr().out
    demo._keep(tmp_path / 'none.mcap', tmp_path / 'session.mcap', tmp_path / 'recorder.log')
    assert f'see {tmp_path}/recorder.log' in capsys.readouterr().err


def test_weights_that_cannot_be_read_end_the_demo_and_say_why(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'\x08\x00')
    process = start_demo(tmp_path, broken)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, output
    assert 'broken.safetensors' in output
    assert 'Traceback' not in output
    assert processes_naming(str(tmp_path)) == []


def test_ctrl_c_stops_everything(tmp_path: Path, weights: Path) -> None:
    process = start_demo(tmp_path, weights, '--seconds', '60')
    deadline = time.monotonic() + PATIENCE_S
    while len(processes_naming(str(weights))) < 2:  # the demo itself and the node
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, output
    assert 'everything is stopped' in output
    assert processes_naming(str(tmp_path)) == []


def marked(scene: Recording) -> Recording:
    """A loop of it twice, and where the made-up frames are."""
    looped = with_seam(scene)
    assert looped.invented.sum() == looped.num_frames - scene.num_frames
    return looped


def test_made_up_frames_are_known_through_joining_looping_cutting_and_resampling() -> None:
    walk = synthetic_walkers(1, 3.0, RATE_HZ)
    assert not walk.invented.any()
    joined = chain([walk, walk], 0.4)
    assert joined.invented.sum() == 12
    assert np.flatnonzero(joined.invented)[0] == walk.num_frames - 12
    again = chain([joined, walk], 0.4)
    assert again.invented.sum() == 24
    looped = with_seam(joined, 0.5)
    assert looped.invented[joined.num_frames :].all()
    assert looped.invented[: joined.num_frames].sum() == 12
    cut = joined.crop(2.0, 1.0)
    np.testing.assert_array_equal(cut.invented, joined.invented[60:91])
    finer = joined.resample(2 * RATE_HZ)
    np.testing.assert_array_equal(finer.invented[::2], joined.invented)
    assert finer.invented.sum() == 25, 'those between, too'
    repeated = demo_recording('synthetic', 70.0, RATE_HZ)
    assert 0 < repeated.invented.sum() < 0.2 * repeated.num_frames


def test_what_is_made_up_is_never_scored_nor_what_comes_after_a_splice(scene: Recording) -> None:
    twice = marked(scene)
    twice = replace(
        twice,
        persons={name: np.tile(poses, (2, 1, 1)) for name, poses in twice.persons.items()},
        made_up=np.tile(twice.invented, 2),
    )
    collection = collection_of(twice, offset_m=0.1)
    instants = twice.instants_s
    made_up_s = instants[twice.invented]
    wrong = collection.futures.copy()  # far off wherever it is made up, and behind a splice
    for row, message in enumerate(collection.message):
        stamp_s = collection.stamps_s[message]
        at_s = stamp_s + collection.times_s
        ahead = made_up_s[(made_up_s > stamp_s - 0.5) & (made_up_s < at_s[-1] + 0.05)]
        if len(ahead):
            wrong[row, :, at_s >= ahead[0] - 0.04] += 50.0
    collection = replace(collection, futures=wrong)
    blind = score(collection)
    assert blind is not None
    assert blind.mean_m['best sample'] > 1.0
    scores = score(collection.with_made_up(instants, twice.invented))
    assert scores is not None
    assert scores.mean_m['best sample'] == pytest.approx(0.0, abs=1e-5)
    assert scores.mean_m['expected future'] < 1.0
    assert np.nanmax(scores.curves['best sample']) == pytest.approx(0.0, abs=1e-5)
    assert 0.0 < scores.left_out < 0.9
    assert 'made up or come after a splice' in summary(timing(collection), scores)


def test_the_cycle_of_one_clip_is_no_splice(scene: Recording) -> None:
    made_up = np.zeros(scene.num_frames, bool)
    made_up[90:92] = True
    collection = collection_of(scene).with_made_up(scene.instants_s, made_up)
    scores = score(collection)
    assert scores is not None
    plain = score(collection_of(scene))
    assert plain is not None
    assert len(scores.rows) == len(plain.rows)
    assert 0.0 < scores.left_out < 0.1
