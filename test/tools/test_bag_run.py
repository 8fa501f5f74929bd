# SPDX-License-Identifier: Apache-2.0
"""
A bag with /clock, recorded from our replay of real motion, played through the node process.

The motion is a validation clip of the shared data where that is there, else a synthetic walker;
the identifier of the tests says which.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from motion_predictor.model.weights import default_weights
from motion_predictor.predict.keyframes import keyframes
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.moments import holding_radius
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.publish.outputs import DecodedMoments
from motion_predictor.sources.observation import Observation
from tools.demo.ssm_demo import compare, in_the_way, report
from tools.measure.bag_record import record
from tools.measure.bag_run import BagRun, play, share_held
from training.judge.calibrate import main as calibrate

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'cmu17' / 'val.npz'
KIND = 'real' if REAL.is_file() else 'synthetic'
RATE_HZ = 25.0
SAMPLES = 20

PARAMETERS = {
    'samples': SAMPLES, 'model.threads': 1, 'model.engine': 'fp32', 'weighing.enabled': False
}  # fmt: skip
"""The model alone: what it says of one frame does not depend on those before."""


def motion() -> Recording:
    """Nine seconds of somebody who walks."""
    source = f'{REAL}:03_04' if KIND == 'real' else 'synthetic'
    return open_recording(source).resample(RATE_HZ).crop(2.0, 9.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Calibrate the shipped weights' radius on other walks: the subject's, or synthetic ones.

    By the same command that calibrates what is shipped; it never sees the motion in the bag.
    """
    folder = tmp_path_factory.mktemp('weights')
    copied = folder / 'swiftdiff.safetensors'
    copied.write_bytes(default_weights().read_bytes())
    others = folder / 'others.npz'
    if KIND == 'real':
        with np.load(REAL) as stored:
            archive = dict(stored)
        names, offsets = archive['names'].tolist(), archive['offsets']
        kept = [names.index(name) for name in ('03_01', '03_03')]
        clips = [archive['positions'][offsets[i] : offsets[i + 1]] for i in kept]
        per_clip = ('names', 'subjects', 'actions', 'skeletons', 'source_fps')
        np.savez(
            others,
            positions=np.concatenate(clips),
            offsets=np.cumsum([0, *(len(clip) for clip in clips)]),
            fps=archive['fps'],
            **{name: archive[name][kept] for name in per_clip},
        )
    else:
        # The first one is in the bag. From three the tail of the errors cannot be told.
        walkers = list(synthetic_walkers(13).persons.values())[1:]
        clips = [np.rint(1000.0 * walk[::2]).astype(np.int16) for walk in walkers]  # 50 to 25 Hz
        count = len(clips)
        np.savez(
            others,
            positions=np.concatenate(clips),
            offsets=np.cumsum([0, *(len(clip) for clip in clips)]),
            names=np.array([f'walker_{i}' for i in range(count)]),
            subjects=np.array([f'walker {i}' for i in range(count)]),
            actions=np.array(['walk'] * count),
            skeletons=np.array(['made up'] * count),
            source_fps=np.array([50] * count, dtype=np.int16),
            fps=np.int16(25),
        )
    arguments = ['--weights', str(copied), '--fit', str(others), '--samples', str(SAMPLES)]
    assert calibrate([*arguments, '--json', str(folder / 'calibration.json'), '--quiet']) == 0
    return copied


@pytest.fixture(scope='module', params=[KIND])
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> BagRun:
    recording = motion()
    bag = tmp_path_factory.mktemp('bag') / 'walk'
    written = record(recording, bag, storage='sqlite3', speed=3.0)
    assert written['/skeleton'] == written['/clock']
    # the replay leaves a frame out when the machine makes it late, as a camera would
    assert 0.8 * recording.num_frames <= written['/skeleton'] <= recording.num_frames + 1
    return play(bag, weights=weights, parameters=PARAMETERS)


def test_every_frame_that_was_asked_for_is_predicted_once(run: BagRun) -> None:
    first_ns = run.stamps_ns[0]
    asked = [stamp for stamp in run.stamps_ns if stamp - first_ns >= 250_000_000]
    assert run.asked_ns == asked
    assert set(asked) <= set(run.predictions)
    assert set(run.predictions) <= set(run.stamps_ns), 'no stamp that was not given'
    assert run.repeated == 0
    for stamp, decoded in run.predictions.items():
        assert decoded.frame_id == run.moments[stamp].frame_id == 'map'
        assert decoded.futures.shape == (1, SAMPLES, 20, 17, 3)
        assert np.isfinite(decoded.futures).all()


def test_the_books_agree_with_what_was_sent_and_received(run: BagRun) -> None:
    told = run.diagnostics
    assert int(told['predictions']) == len(run.predictions)
    assert run.ahead >= 1
    played = int(told['messages']) - run.ahead
    assert played in (len(run.stamps_ns), len(run.stamps_ns) + 1)  # the empty one
    # Frames before the first answer may be taken in together; after it, each is waited for.
    assert int(told['frames_skipped']) <= len(run.stamps_ns) - len(run.asked_ns)
    for counter in (
        'messages_malformed', 'worker_errors', 'observations_far_future',
        'resets_clock_jump', 'persons_departed',
    ):  # fmt: skip
        assert int(told.get(counter, 0)) == 0, counter
    for stage in ('total', 'model', 'moments'):
        for percentile in ('p50', 'p99'):
            assert np.isfinite(float(told[f'latency {stage} {percentile} (ms)']))
    assert len(run.answered_s) == len(run.asked_ns)


def test_the_node_says_what_the_model_says_of_the_same_frames(run: BagRun, weights: Path) -> None:
    predictor = Predictor.load(weights, engine='fp32')
    online = LivePredictor(predictor, samples=SAMPLES)
    frames = np.arange(4, 100, 5)
    compared, scales = 0, set[float]()
    for stamp, people in zip(run.stamps_ns, run.observed):
        online.observe(Observation(stamp, 'map', '0', people[0]))
        result = online.predict()  # of every frame, as the node: the radius follows what happens
        if stamp not in run.asked_ns[::15]:
            continue
        assert result is not None
        assert result.prediction is not None
        scales.add(result.prediction.radius_scale)
        moments = result.prediction.moments(frames)
        told = run.moments[stamp]
        np.testing.assert_allclose(told.moments.mean[0], moments.mean[0], atol=2e-3)
        np.testing.assert_allclose(
            told.radius_m[0],
            result.prediction.radius(0.9, moments, frames)[0],
            atol=5e-3,
        )
        likely = run.poses[stamp].reshape(-1, 17, 3)
        assert len(likely) == len(keyframes([0.0, 0.25, 0.5, 1.0], 50.0, 100))
        np.testing.assert_allclose(likely[0], people[0], atol=1e-4)
        compared += 1
    assert compared >= 10
    assert len(scales) >= 5, 'it did follow'
    assert float(run.diagnostics['radius scale']) == pytest.approx(online.radius_scale, rel=0.05)
    assert 0.5 < float(run.diagnostics['radius held']) <= 1.0


def test_the_stated_radius_holds_the_hand_as_often_as_it_says(
    run: BagRun, capsys: pytest.CaptureFixture[str]
) -> None:
    found = share_held(run)
    balls = replace(run, moments={stamp: ball_of(run, stamp) for stamp in run.moments})
    uncalibrated = share_held(balls)
    with capsys.disabled():
        print(f'\nRWrist within its radius, {KIND}, {found.frames} frames, 0.9 stated:')
        for each, name in ((found, 'calibrated'), (uncalibrated, 'of the samples')):
            values = list(zip(each.times_s, each.share, each.radius_m))[4::5]
            texts = [f'{share:.2f} at {t:.1f} s ({radius:.2f} m)' for t, share, radius in values]
            print(f'{name}: {", ".join(texts)}; all horizons {each.share.mean():.3f}')
    # Consecutive frames tell little new: of 7 s some 7 are independent, so that 0.9 has a standard
    # error of sqrt(0.9 * 0.1 / 7) = 0.11; what is two of those below fails.
    assert found.share.mean() >= 0.9 - 0.23
    assert (found.radius_m > 0.0).all()
    # our walker is no person, and what no person does is predicted badly: that radius is larger
    limit_m = 1.5 if KIND == 'real' else 4.0
    assert np.median(found.radius_m) < limit_m, 'and not by saying nothing'


def ball_of(run: BagRun, stamp: int) -> DecodedMoments:
    """Return what an uncalibrated radius would say: the ball that holds 0.9 of the samples."""
    told, cloud = run.moments[stamp], run.predictions[stamp]
    radius = holding_radius(cloud.futures, cloud.weights, told.moments.mean, 0.9)
    return replace(told, radius_m=radius)


def test_a_monitor_on_poses_slows_earlier_than_one_on_measured_positions(
    run: BagRun, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(run, in_the_way(run, 0.9))
    with capsys.disabled():
        print(f'\nspeed and separation, {KIND}: {report(found)}')
    assert (found.predicted_m_s <= found.measured_m_s + 1e-6).all(), 'never less careful'
    assert found.measured_m_s[0] == found.full_speed_m_s, 'the person comes from far enough'
    for share in (1.0, 0.5):
        lead_s = found.lead_s(share)
        assert lead_s is not None
        assert lead_s >= 1.0 / RATE_HZ - 1e-6, 'at least one frame earlier'
