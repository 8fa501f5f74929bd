# SPDX-License-Identifier: Apache-2.0
"""Calibrated radii: their arithmetic, their place in a weights file, and how they are fitted."""

from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import observed_people, random_model, save_random, save_recording
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motion_predictor.errors import ConfigError, MotionPredictorError, ShapeError, WeightsError
from motion_predictor.model.calibration import Calibration, spread_m
from motion_predictor.model.weights import load_weights, save_weights
from motion_predictor.predict.moments import holding_radius
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from training.judge import calibrate
from training.report import results


def calibration(levels: tuple[float, ...] = (0.9, 0.99), **changed: Any) -> Calibration:
    factor = np.random.default_rng(0).uniform(1.0, 3.0, (len(levels), 100, 17))
    values = {'factor': factor.astype(np.float32), 'floor_m': 0.02, 'samples': 50}
    return Calibration(levels=levels, **{**values, 'fitted_on': {'x/val.npz': 'abc'}, **changed})


def test_the_radius_is_the_factor_times_the_spread_of_the_samples() -> None:
    rng = np.random.default_rng(1)
    futures = rng.normal(size=(2, 30, 100, 17, 3)).astype(np.float32)
    weights = np.full((2, 30), 1.0 / 30.0, np.float32)
    stated = calibration()
    prediction = Prediction(futures, weights, 50.0, calibration=stated)
    frames = np.array([4, 99])
    moments = prediction.moments(frames)
    radius = prediction.radius(0.9, moments, frames)
    spread = np.sqrt(np.var(futures[:, :, frames], axis=1, ddof=1).sum(axis=-1) + 0.02**2)
    np.testing.assert_allclose(radius, stated.factor[0][frames] * spread, rtol=1e-4)
    above = prediction.radius(0.95, moments, frames)  # the next level that is not below
    np.testing.assert_allclose(above, stated.factor[1][frames] * spread, rtol=1e-4)
    beyond = prediction.radius(1.0, moments, frames)  # no level says that: the samples do
    np.testing.assert_allclose(
        beyond, holding_radius(futures[:, :, frames], weights, moments.mean, 1.0)
    )


def test_later_futures_take_the_factor_of_the_next_later_frame() -> None:
    stated = calibration()
    late = stated.later(np.array([0.0, 1.5, 200.0]))
    assert late.factor.shape == (2, 3, 100, 17)
    np.testing.assert_array_equal(late.factor[:, 0], stated.factor)
    np.testing.assert_array_equal(late.factor[:, 1, :98], stated.factor[:, 2:])
    np.testing.assert_array_equal(late.factor[:, 2], stated.factor[:, [99] * 100])
    covariance = np.broadcast_to(np.eye(3), (3, 100, 17, 3, 3))
    radius = late.radius(1, covariance, np.arange(100))
    np.testing.assert_allclose(radius[1, 0], stated.factor[1, 2] * np.sqrt(3.0004), rtol=1e-5)


def test_a_calibration_that_cannot_be_is_refused() -> None:
    for levels in ((), (0.9, 0.8), (0.0,), (0.5, 1.0)):
        with pytest.raises(ConfigError, match='levels'):
            calibration(levels, factor=np.ones((len(levels), 100, 17), np.float32))
    with pytest.raises(ShapeError, match='factor'):
        calibration(factor=np.ones((3, 100, 17), np.float32))
    for bad in (np.nan, -1.0):
        with pytest.raises(ConfigError, match='finite'):
            calibration(factor=np.full((2, 100, 17), bad, np.float32))
    with pytest.raises(ConfigError, match='floor_m=0'):
        calibration(floor_m=0.0)


@pytest.mark.slow
def test_a_weights_file_keeps_its_calibration_and_predictions_carry_it(tmp_path: Path) -> None:
    path, stated = tmp_path / 'model.safetensors', calibration()
    save_weights(path, random_model(), {}, calibration=stated)
    kept = load_weights(path).calibration
    assert kept is not None
    np.testing.assert_array_equal(kept.factor, stated.factor)
    assert kept.facts() == stated.facts()
    prediction = Predictor.load(path, device='cpu').predict(observed_people(1), samples=3)
    assert prediction.calibration is not None
    plain = Predictor.load(save_random(tmp_path / 'plain.safetensors'), device='cpu')
    assert plain.predict(observed_people(1), samples=3).calibration is None


@pytest.mark.slow
def test_a_damaged_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    save_weights(path, random_model(), {}, calibration=calibration())
    tensors = load_file(path)
    with safe_open(str(path), 'pt') as file:
        metadata = dict(file.metadata())

    def refused(what: str, tensors: dict[str, Any], metadata: dict[str, str]) -> None:
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(WeightsError, match=what):
            load_weights(path)

    without = {k: v for k, v in metadata.items() if k != 'calibration'}
    refused('only a part', tensors, without)
    facts = json.loads(metadata['calibration'])
    for changed in ({'levels': [0.9]}, {'floor_m': -1}, {'fitted_on': 3}, {'samples': 'x'}):
        text = json.dumps({**facts, **changed})
        refused('bad calibration', tensors, {**metadata, 'calibration': text})
    short = {**tensors, 'calibration.factor': tensors['calibration.factor'][:, :50]}
    refused('has shape', {k: v.contiguous() for k, v in short.items()}, metadata)


def test_radii_hold_as_many_real_positions_as_they_were_fitted_to_hold() -> None:
    rng = np.random.default_rng(2)
    windows, joints = 600, 3
    size = np.exp(rng.normal(size=(windows, 1, 1)))  # some people move more, and it is known
    distance = size * np.linalg.norm(rng.normal(size=(windows, 100, joints, 3)), axis=-1)
    spread = np.broadcast_to(size * np.sqrt(3.0), distance.shape)
    fitted = calibrate.fit_factor(distance[:300] / spread[:300], (0.9, 0.99))
    for level, factor in zip((0.9, 0.99), fitted):
        inside = distance[300:] <= factor * spread[300:]
        assert abs(inside.mean() - level) < 0.015


def test_a_quantile_is_the_conformal_one_or_the_largest() -> None:
    scores = np.arange(1.0, 100.0)[:, None, None]  # 99 windows
    assert calibrate.fit_factor(scores, (0.9,))[0, 0, 0] == pytest.approx(90.0)  # ceil(100 * 0.9)
    assert calibrate.fit_factor(scores, (0.999,))[0, 0, 0] == pytest.approx(99.0)


@pytest.mark.slow
def test_the_verb_fits_on_some_recordings_and_reports_on_others(tmp_path: Path) -> None:
    val = save_recording(tmp_path / 'one' / 'val.npz', (120, 110))
    test = save_recording(tmp_path / 'one' / 'test.npz', (90,), seed=7)
    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    out = tmp_path / 'out.json'
    words = ['--weights', str(weights), '--fit', str(val), '--report', str(test)]
    words += ['--samples', '8', '--json', str(out), '--device', 'cpu', '--quiet']
    before = load_weights(weights)
    assert calibrate.main([*words, '--dry-run']) == 0
    assert not out.exists()
    assert calibrate.main(words) == 0
    after = load_weights(weights)
    assert after.calibration is not None
    assert after.calibration.samples == 8
    assert list(after.calibration.fitted_on) == ['one/val.npz']
    for name, value in before.model.state_dict().items():
        assert (after.model.state_dict()[name] == value).all()
    assert after.card == before.card
    result = json.loads(out.read_text())
    labels = {row['data'] for row in result['rows']}
    assert labels == {'one/val', 'one/test'}
    for row in result['rows']:
        for level in row['levels']:
            assert 0.0 <= level['held'] <= 1.0
            assert len(level['by_second']) >= 2
            assert len(level['by_joint']) == 17
        if row['data'] == 'one/val':  # what it was fitted to
            assert all(level['held'] >= level['level'] for level in row['levels'])
    page = results.SECTIONS[calibrate.FORMAT](result, tmp_path, tmp_path / 'page.md')
    assert '| one, test |' in page
    assert 'python -m training calibrate' in page
    for level in result['rows'][-1]['levels']:
        assert set(level['followed']) == {'both', 'widen'}
        assert (
            sum(one['windows'] for one in level['by_subject'].values())
            == (result['rows'][-1]['windows'])
        )
        assert level['followed']['widen']['held'] >= level['held']


@pytest.mark.slow
def test_the_page_tells_several_models_apart_and_wants_one_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = save_recording(tmp_path / 'one' / 'val.npz', (90,))
    made = []
    for name in ('one', 'other'):
        weights = save_random(tmp_path / f'{name}.safetensors')
        made.append(str(tmp_path / f'{name}.json'))
        words = ['--weights', str(weights), '--fit', str(val), '--samples', '4', '--quiet']
        assert calibrate.main([*words, '--device', 'cpu', '--json', made[-1]]) == 0
    page = tmp_path / 'page.md'
    assert results.main(['--json', *made, '--out', str(page)]) == 0
    text = page.read_text()
    assert '## Radii that hold: one\n' in text
    assert '## Radii that hold: other\n' in text
    assert results.main(['--json', made[0], made[0], '--out', str(page)]) == 2
    assert "calibration' of one; give one of each" in capsys.readouterr().err


def test_a_teacher_and_missing_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = save_recording(tmp_path / 'one' / 'val.npz', (80,))
    teacher = save_random(tmp_path / 'teacher.safetensors', 'teacher')
    words = ['--fit', str(val), '--json', str(tmp_path / 'x.json')]
    assert calibrate.main(['--weights', str(teacher), *words]) == 2
    assert 'one-step' in capsys.readouterr().err
    assert calibrate.main(['--weights', str(tmp_path / 'no.safetensors'), *words]) == 2
    assert issubclass(WeightsError, MotionPredictorError)


def test_the_spread_has_a_floor() -> None:
    np.testing.assert_allclose(spread_m(np.zeros((1, 2, 3, 3, 3)), 0.02), 0.02)
    assert replace(calibration(), floor_m=0.5).floor_m == 0.5


def test_the_power_is_that_with_which_errors_grow() -> None:
    rng = np.random.default_rng(3)
    spread = np.exp(rng.normal(size=(400, 5, 2)))
    subjects = np.array(['calm'] * 200 + ['wild'] * 200)
    spread[200:] *= 4.0  # of whom the samples say that they move more
    for power in (1.0, 2.0):
        distance = spread**power * np.abs(rng.normal(size=spread.shape))
        found, quantiles, tried = calibrate.hold_the_left_out(distance, spread, subjects, (0.9,))
        assert found == power
        assert quantiles[0] == pytest.approx(0.9, abs=0.03)
        assert [row['power'] for row in tried] == list(calibrate.POWERS)
    few = np.array(['calm'] * 390 + ['wild'] * 10)
    assert calibrate.hold_the_left_out(distance, spread, few, (0.9,)) == (1.0, (0.9,), [])


def test_a_power_with_which_no_score_holds_a_level_is_not_taken() -> None:
    rng = np.random.default_rng(5)
    spread = np.exp(0.1 * rng.normal(size=(400, 5, 2)))
    subjects = np.array(['calm'] * 200 + ['wild'] * 200)
    spread[200:] *= 16.0
    distance = spread * np.abs(rng.normal(size=spread.shape))
    rare = rng.random(200) < 0.03
    distance[200:][rare] = 5.0 * spread[200:][rare]  # more than anything the calm one does
    assert calibrate.hold_the_left_out(distance, spread, subjects, (0.9,))[0] == 1.0
    power, quantiles, tried = calibrate.hold_the_left_out(distance, spread, subjects, (0.9, 0.99))
    assert power > 1.0
    taken = [row for row in tried if row['power'] == power]
    assert [row['quantile'] for row in taken] == list(quantiles)
    for row in taken:
        assert np.mean(list(row['held'].values())) >= row['level']


def test_quantiles_are_raised_until_a_new_subject_is_held_as_often_as_asked() -> None:
    rng = np.random.default_rng(4)
    people, windows = 40, 60
    own = np.exp(0.5 * rng.normal(size=(people, 1, 1, 1)))  # nobody's spread tells of it
    distance = own * np.abs(rng.normal(size=(people, windows, 3, 2)))
    spread = np.ones((people * windows, 3, 2))
    subjects = np.repeat([f'p{i:02}' for i in range(people)], windows)
    flat = distance.reshape(people * windows, 3, 2)
    half = people // 2 * windows
    levels = (0.9, 0.99)
    _, quantiles, tried = calibrate.hold_the_left_out(
        flat[:half], spread[:half], subjects[:half], levels
    )
    assert quantiles[0] >= 0.9
    assert quantiles[1] >= 0.99
    first = next(row for row in tried if row['level'] == 0.9)
    assert np.mean(list(first['held'].values())) >= 0.9 - 1e-3
    factor = calibrate.fit_factor(flat[:half], quantiles)
    for level, radius in zip(levels, factor):
        assert (flat[half:] <= radius).mean() == pytest.approx(level, abs=0.05)


def test_the_radius_goes_with_the_power_of_the_spread(tmp_path: Path) -> None:
    covariance = np.broadcast_to(np.eye(3) * 0.12, (1, 2, 17, 3, 3))
    frames = np.array([3, 9])
    plain, squared = calibration(), calibration(power=2.0)
    spread = np.sqrt(0.36 + plain.floor_m**2)
    ratio = squared.radius(0, covariance, frames) / plain.radius(0, covariance, frames)
    np.testing.assert_allclose(ratio, spread, rtol=1e-6)
    path = tmp_path / 'model.safetensors'
    save_weights(path, random_model(), {}, calibration=squared)
    kept = load_weights(path).calibration
    assert kept is not None
    assert kept.power == 2.0
    with pytest.raises(ConfigError, match='power'):
        calibration(power=float('nan'))
