# SPDX-License-Identifier: Apache-2.0
"""Recorded skeleton topics become stores: whole stretches, at an even rate, level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import save_random, walking

pytest.importorskip('rosbags')

from bag_messages import BEGAN_NS, pose_array, STORE
from bvh_texts import bvh_text
from rosbags.rosbag2 import StoragePlugin, Writer

from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.rosbag import BagInput
from training.common.options import read_options
from training.data.bags import bag_reading, read_bags
from training.data.prepare import main
from training.data.readers.source import load_at
from training.data.store import open_store
from training.judge.accuracy import evaluate
from training.judge.scoring import load_data
from training.stages import finetune

STEP_NS = 33_333_333


def tuned(words: list[str]) -> finetune.FinetuneOptions:
    return read_options(finetune.FinetuneOptions, 'training finetune', '', words=words)


def scored(words: list[str]) -> evaluate.EvaluateOptions:
    return read_options(evaluate.EvaluateOptions, 'training evaluate', '', words=words)


def write_bag(
    path: Path,
    frames: np.ndarray,
    *,
    rough: bool = False,
    step_ns: int = STEP_NS,
    stamps: dict[int, int] | None = None,
) -> Path:
    """One person; rough: the tracker's messages come unevenly; odd stamps by frame."""
    generator = np.random.default_rng(0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        kind = 'geometry_msgs/msg/PoseArray'
        connection = writer.add_connection('/skeleton', kind, typestore=STORE)
        for number, pose in enumerate(frames):
            stamp = BEGAN_NS + number * step_ns
            stamp += int(generator.integers(-5_000_000, 5_000_000)) if rough else 0
            message = pose_array((stamps or {}).get(number, stamp), {0: pose})
            writer.write(connection, stamp, STORE.serialize_cdr(message, kind))
    return path


def test_a_recorded_topic_becomes_a_store_at_the_models_rate(tmp_path: Path) -> None:
    fine = walking(900, rate_hz=150.0)  # of which both rates are a part
    bag = write_bag(tmp_path / 'lab', fine[::5])
    assert main(['prepare', 'rosbag', str(bag), '--out', str(tmp_path), '--quiet']) == 0
    store = open_store(tmp_path / 'rosbag' / 'train')
    assert store.facts.rate_hz == 50.0
    assert store.facts.source_rate_hz == pytest.approx((30.0,), abs=0.01)
    assert [clip.subject for clip in store.clips] == ['lab/0']
    expected, found = fine[::3][50:250], store.positions[50:250]
    moved = found[0, 0] - expected[0, 0]  # the walker's path begins after its first step
    np.testing.assert_allclose(found - moved, expected, atol=0.01)


def test_a_long_gap_ends_a_clip_and_a_short_one_is_filled(tmp_path: Path) -> None:
    walk = walking(200, rate_hz=30.0)
    walk[60:63, 5] = np.nan  # a tenth of a second
    walk[120:140, 5] = 0.0  # two thirds
    source = read_bags([write_bag(tmp_path / 'lab', walk)])
    assert len(source.clips) == 2
    assert 'joints unseen for too long left out' in source.remarks[0]
    first, rate_hz = source.clips[0].load()
    assert rate_hz == pytest.approx(30.0, abs=0.01)
    assert len(first) == 120
    assert np.isfinite(first).all()
    whole = walking(200, rate_hz=30.0)
    assert np.abs(first[60:63, 5] - whole[60:63, 5]).max() < 0.05


def test_uneven_stamps_are_placed_where_they_belong(tmp_path: Path) -> None:
    walk = np.zeros((150, 17, 3)) + walking(1)[0]
    generator = np.random.default_rng(0)  # as the writer draws
    late_s = [int(generator.integers(-5_000_000, 5_000_000)) * 1e-9 for _ in range(150)]
    time_s = np.arange(150) * STEP_NS * 1e-9 + np.array(late_s)
    walk[..., 0] += time_s[:, None]  # 1 m/s along x
    source = read_bags([write_bag(tmp_path / 'lab', walk, rough=True)])
    positions, _ = load_at(source.clips[0], 50.0)
    speed = np.diff(positions[10:-10, :, 0], axis=0) * 50.0
    np.testing.assert_allclose(speed, 1.0, atol=0.02)


def test_layout_units_and_rotation_are_those_of_the_node(tmp_path: Path) -> None:
    walk = walking(90, rate_hz=30.0).astype(np.float64)
    optical = np.stack([-walk[..., 1], -walk[..., 2], walk[..., 0]], axis=-1) * 1000.0
    bag = write_bag(tmp_path / 'camera', optical)
    turn = ['--rotation', '-1.5707963', '0', '-1.5707963']
    words = ['prepare', 'rosbag', str(bag), '--out', str(tmp_path), '--units-scale', '0.001']
    assert main([*words, *turn, '--quiet']) == 0
    store = open_store(tmp_path / 'rosbag' / 'train')
    np.testing.assert_allclose(store.positions[0], walk[0], atol=1e-3)
    k4a = np.zeros((90, 32, 3)) + np.arange(32)[:, None] * 0.01 + 1.0
    k4a[..., 0] += np.linspace(0.0, 1.0, 90)[:, None]
    source = read_bags(
        [write_bag(tmp_path / 'k4a', k4a)], BagInput(layout='k4a32'), units_scale=1.0
    )
    expected, _ = LAYOUTS['k4a32'].to_model(k4a[:1])
    np.testing.assert_allclose(source.clips[0].load()[0][:1], expected, atol=1e-5)


def test_a_robots_topic_is_taken_as_it_is_and_its_base_may_be_at_the_origin(
    tmp_path: Path,
) -> None:
    arm = {
        'name': 'arm',
        'joints': ['base', 'elbow', 'tool'],
        'parents': {'elbow': 'base', 'tool': 'elbow'},
        'zero_is_missing': False,
    }
    (tmp_path / 'arm.json').write_text(json.dumps(arm))
    time_s = np.arange(90)[:, None] / 30.0
    frames = np.zeros((90, 3, 3))
    frames[:, 1] = [0.0, 0.0, 0.5]
    frames[:, 2] = frames[:, 1] + np.concatenate([np.cos(time_s), np.sin(time_s), 0 * time_s], 1)
    bag = write_bag(tmp_path / 'robot', frames)
    words = ['prepare', 'rosbag', str(bag), '--out', str(tmp_path), '--quiet']
    words += ['--skeleton', str(tmp_path / 'arm.json')]
    assert main([*words, '--layout', 'identity']) == 0
    store = open_store(tmp_path / 'rosbag' / 'train')
    assert store.facts.skeleton.joints == ('base', 'elbow', 'tool')
    assert not store.positions[:, 0].any()


@pytest.mark.parametrize(
    'options,message',
    [
        ({'topic': '/other'}, "topic='/other' does not name one"),
        ({'layout': 'k4a32'}, 'expected a multiple of 32, the joints of the layout, got 17'),
        ({'layout': 'nothing'}, "layout 'nothing' is not known"),
    ],
)
def test_bags_that_do_not_hold_what_was_asked_for_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    bag = write_bag(tmp_path / 'lab', walking(60, rate_hz=30.0))
    with pytest.raises(Exception, match=message):
        read_bags([bag], BagInput(**options))


def test_a_bag_with_nobody_whole_or_none_at_all_is_refused(tmp_path: Path, capsys: Any) -> None:
    walk = walking(60, rate_hz=30.0)
    walk[:, 3] = np.nan
    bag = write_bag(tmp_path / 'lab', walk)
    with pytest.raises(RecordingError, match='nobody is seen whole for a second'):
        read_bags([bag])
    assert main(['prepare', 'rosbag', str(tmp_path / 'absent'), '--out', str(tmp_path)]) == 2
    assert 'no such bag' in capsys.readouterr().err
    words = ['prepare', 'rosbag', str(bag), '--out', str(tmp_path), '--rotation', '1', '2']
    assert main(words) == 2
    assert 'must be roll pitch yaw' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['walk.mcap', 'walk.db3'])
def test_a_bag_is_no_archive_of_clips(tmp_path: Path, name: str, capsys: Any) -> None:
    (tmp_path / name).write_bytes(b'of a bag')
    assert main(['prepare', 'npz', str(tmp_path / name), '--out', str(tmp_path / 'out')]) == 2
    assert f'{name}: a rosbag2, no npz archive: `data prepare rosbag`' in capsys.readouterr().err


def test_fine_tuning_reads_a_bag_as_it_was_recorded(tmp_path: Path, capsys: Any) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    walk = walking(450, rate_hz=30.0).astype(np.float64)
    optical = np.stack([-walk[..., 1], -walk[..., 2], walk[..., 0]], axis=-1) * 1000.0
    bag = write_bag(tmp_path / 'lab', optical)
    words = ['--recording', str(bag), '--weights', str(weights), '--dry-run']
    words += ['--out', str(tmp_path / 'mine.safetensors'), '--units-scale', '0.001']
    assert finetune.main([*words, '--rotation', '-1.5707963', '0', '-1.5707963']) == 0
    assert '1 clips: 9 s to learn from, 2 s to stop by, 4 s' in capsys.readouterr().out
    options = tuned([*words, '--rotation', '-1.5707963', '0', '-1.5707963'])
    clips = finetune.read_recordings([bag], WindowConfig(), H36M17, options)
    np.testing.assert_allclose(clips[0][0], walk[0], atol=1e-3)


@pytest.mark.slow
def test_a_bag_of_15_hz_is_enough_to_fine_tune_on_and_one_of_5_is_not(
    tmp_path: Path, capsys: Any
) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    words = ['--weights', str(weights), '--out', str(tmp_path / 'mine.safetensors'), '--dry-run']
    fine = walking(4500, rate_hz=150.0)
    walk = fine[::5]
    bag = write_bag(tmp_path / 'slow', walk[::2], step_ns=2 * STEP_NS)
    assert finetune.main([*words, '--recording', str(bag)]) == 0
    said = capsys.readouterr().out
    assert 'recorded at 15 Hz; the frames between' in said
    options = tuned([*words, '--recording', str(bag)])
    (clip,) = finetune.read_recordings([bag], WindowConfig(), H36M17, options)
    whole = fine[::3]
    between = clip[100:1300]
    assert np.linalg.norm(between - whole[100:1300], axis=-1).mean() < 0.02
    slower = write_bag(tmp_path / 'slower', walk[::6], step_ns=6 * STEP_NS)
    assert finetune.main([*words, '--recording', str(slower)]) == 2
    assert 'recorded at 5 Hz, less than 10 Hz; record faster' in capsys.readouterr().err


def test_a_bag_is_scored_as_the_clips_it_was_made_of(tmp_path: Path, capsys: Any) -> None:
    walk = walking(450, rate_hz=30.0).astype(np.float64)
    optical = np.stack([-walk[..., 1], -walk[..., 2], walk[..., 0]], axis=-1) * 1000.0
    bag = write_bag(tmp_path / 'lab', optical)
    words = ['--data', str(bag), '--json', str(tmp_path / 'x.json'), '--units-scale', '0.001']
    words += ['--rotation', '-1.5707963', '0', '-1.5707963']
    assert evaluate.main([*words, '--dry-run']) == 0
    assert f'{tmp_path.name}/lab: 25 windows' in capsys.readouterr().out
    reading = bag_reading(scored(words).bag)
    (file,) = load_data([bag], WindowConfig(), bag=reading)
    expected = resample(walk.astype(np.float32), 1e9 / STEP_NS, 50.0)
    start = int(file.windows.start[3])
    np.testing.assert_allclose(
        file.windows.poses[3], expected[start : start + WindowConfig().total_frames], atol=5e-3
    )
    with pytest.raises(RecordingError, match='must be roll pitch yaw'):
        bag_reading(scored([*words[:4], '--rotation', '0', '0', '0', '0']).bag)


def test_what_is_odd_about_a_bag_is_printed_and_costs_itself(tmp_path: Path, capsys: Any) -> None:
    walk = walking(180, rate_hz=30.0)
    bag = write_bag(tmp_path / 'lab', walk, stamps={60: BEGAN_NS + 3600 * 10**9, 90: 0})
    assert main(['prepare', 'rosbag', str(bag), '--out', str(tmp_path), '--quiet']) == 0
    said = capsys.readouterr().out
    assert '1 messages with odd stamps left out' in said
    assert '1 messages without a stamp placed by their arrival' in said
    store = open_store(tmp_path / 'rosbag' / 'train')
    assert len(store.positions) == 299


def test_a_bvh_of_24_hz_is_enough_to_fine_tune_on(tmp_path: Path, capsys: Any) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    still = [{0: 0.001 * frame} for frame in range(24 * 24)]
    text = bvh_text(still).replace('0.00833333', f'{1 / 24:.7f}')
    (tmp_path / 'walk.bvh').write_text(text)
    words = ['--weights', str(weights), '--out', str(tmp_path / 'mine.safetensors'), '--dry-run']
    assert finetune.main([*words, '--recording', str(tmp_path / 'walk.bvh')]) == 0
    assert 'recorded at 24 Hz; the frames between' in capsys.readouterr().out
