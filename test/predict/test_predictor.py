# SPDX-License-Identifier: Apache-2.0
"""What must hold of any prediction, with weights that mean nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
import math
from pathlib import Path
from typing import Any
import warnings

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from random_models import observed_people, random_model, save_random
import torch

from motion_predictor.errors import ConfigError, MotionPredictorError, ShapeError, WeightsError
from motion_predictor.model.weights import default_weights, load_weights
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor, sample_noise

MODELS = {
    'one_step': random_model('one_step'),
    'mixer': random_model('swiftdiff'),
    'flat': random_model('swiftdiff', architecture='flat'),
}
PREDICTORS = {
    name: Predictor(model, {}, device='cpu', engine='fp32') for name, model in MODELS.items()
}
ANGLES = st.floats(-np.pi, np.pi)
PLACES = st.tuples(st.floats(-50.0, 50.0), st.floats(-50.0, 50.0), st.floats(-2.0, 2.0))


@pytest.fixture(params=sorted(MODELS))
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return PREDICTORS[request.param]


def turn(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def test_a_prediction_has_the_shapes_and_times_it_states(predictor: Predictor) -> None:
    found = predictor.predict(observed_people(3), samples=5)
    assert found.futures.shape == (3, 5, 100, 17, 3)
    assert found.futures.dtype == found.weights.dtype == np.float32
    assert np.isfinite(found.futures).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-6)
    assert found.rate_hz == 50.0
    assert found.times_s[0] == pytest.approx(0.02)
    assert found.times_s[-1] == pytest.approx(2.0)


def test_one_person_may_come_without_an_axis_of_people(predictor: Predictor) -> None:
    observed = observed_people(1)
    one = predictor.predict(observed[0], samples=3).futures
    np.testing.assert_array_equal(one, predictor.predict(observed, samples=3).futures)


@pytest.mark.parametrize('name', sorted(MODELS))
@given(angle=ANGLES, place=PLACES)
@settings(max_examples=25, deadline=None)
def test_turning_and_moving_the_person_turns_and_moves_the_prediction(
    name: str, angle: float, place: tuple[float, float, float]
) -> None:
    observed = observed_people(1)[0].astype(np.float64)
    moved = observed @ turn(angle).T + place
    first = PREDICTORS[name].predict(observed, samples=4).futures
    second = PREDICTORS[name].predict(moved, samples=4).futures
    np.testing.assert_allclose(second, first @ turn(angle).T + place, atol=1e-3)


def test_people_predicted_together_are_predicted_as_if_alone(predictor: Predictor) -> None:
    observed = observed_people(5)
    together = predictor.predict(observed, samples=4).futures
    for person in range(5):
        alone = predictor.predict(observed[person], samples=4).futures
        np.testing.assert_allclose(together[person], alone[0], atol=1e-5)


def test_the_order_of_the_people_is_theirs(predictor: Predictor) -> None:
    observed = observed_people(3)
    first = predictor.predict(observed, samples=2).futures
    second = predictor.predict(observed[::-1], samples=2).futures
    np.testing.assert_allclose(second[::-1], first, atol=1e-5)


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(
    predictor: Predictor,
) -> None:
    observed = observed_people(2)
    first = predictor.predict(observed, samples=4, seed=3).futures
    np.testing.assert_array_equal(first, predictor.predict(observed, samples=4, seed=3).futures)
    assert np.abs(first - predictor.predict(observed, samples=4, seed=4).futures).max() > 0.01


def test_asking_for_more_samples_keeps_the_first(predictor: Predictor) -> None:
    observed = observed_people(1)
    few = predictor.predict(observed, samples=3).futures
    many = predictor.predict(observed, samples=9).futures
    np.testing.assert_allclose(many[:, :3], few, atol=1e-5)


def test_samples_differ_from_each_other(predictor: Predictor) -> None:
    futures = predictor.predict(observed_people(1), samples=4).futures[0]
    for i in range(4):
        for j in range(i):
            assert np.abs(futures[i] - futures[j]).max() > 0.01


def test_what_was_observed_matters(predictor: Predictor) -> None:
    observed = observed_people(2)
    first, second = predictor.predict(observed, samples=1).futures
    shift = observed[:, -1, :1]
    assert np.abs((first - shift[0]) - (second - shift[1])).max() > 0.05


def test_given_noise_is_used_in_place_of_the_seed(predictor: Predictor) -> None:
    observed = observed_people(2)
    noise = np.stack([sample_noise(5, 3, 20, 51)] * 2)
    given_noise = predictor.predict(observed, noise=noise).futures
    seeded = predictor.predict(observed, samples=3, seed=5).futures
    np.testing.assert_allclose(given_noise, seeded, atol=1e-6)


def test_noise_is_normal_and_cannot_be_overwritten() -> None:
    noise = sample_noise(0, 50, 20, 51)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1.0) < 0.02
    with pytest.raises(ValueError, match='read-only'):
        noise[0] = 0.0


@pytest.mark.parametrize('form', ['float64', 'read-only', 'strided', 'whole'])
def test_any_kind_of_array_will_do_and_stays_as_it_was(predictor: Predictor, form: str) -> None:
    plain = np.round(observed_people(1)[0], 2) if form != 'whole' else np.zeros((25, 17, 3))
    observed: np.ndarray = plain.astype(np.float32)
    if form == 'float64':
        observed = observed.astype(np.float64)
    elif form == 'read-only':
        observed = observed.copy()
        observed.setflags(write=False)
    elif form == 'strided':
        observed = np.repeat(observed, 2, axis=0)[::2]
    else:
        observed = observed.astype(np.int64)
    before = observed.copy()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = predictor.predict(observed, samples=2).futures
    expected = predictor.predict(plain.astype(np.float32), samples=2).futures
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(observed, before)


@pytest.mark.parametrize(
    'shape', [(24, 17, 3), (25, 16, 3), (25, 17, 2), (1, 1, 25, 17, 3), (17, 3), (1, 26, 17, 3)]
)
def test_another_shape_is_refused(predictor: Predictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match='observed: expected'):
        predictor.predict(np.zeros(shape, np.float32))


def test_joints_that_were_never_seen_are_completed_where_nothing_stands_in_for_them(
    predictor: Predictor,
) -> None:
    observed, seen = observed_people(2), np.ones((2, 17), dtype=bool)
    seen[1, [2, 3, 5, 6]] = False  # legs
    holes = np.where(seen[:, None, :, None], observed, np.nan)
    found = predictor.predict(holes, samples=3, seen=seen)
    assert np.isfinite(found.futures).all()
    whole = predictor.predict(observed, samples=3)
    np.testing.assert_array_equal(found.futures[0], whole.futures[0])
    seen[1, [11, 14]] = False  # both shoulders: no torso
    with pytest.raises(ConfigError, match='neither both shoulders nor hips'):
        predictor.predict(np.where(seen[:, None, :, None], observed, np.nan), seen=seen)


def test_a_body_that_is_filled_in_needs_no_torso_that_was_seen(predictor: Predictor) -> None:
    # as of a tracker whose shoulders flicker: no frame has both, yet all gaps are short
    observed, seen = observed_people(2), np.ones((2, 17), dtype=bool)
    seen[0, [11, 14]] = False
    found = predictor.predict(observed, samples=3, seen=seen)
    assert np.isfinite(found.futures).all()


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(predictor: Predictor, value: float) -> None:
    observed = observed_people(1)
    observed[0, 3, 4, 1] = value
    with pytest.raises(ConfigError, match='NaN or infinity'):
        predictor.predict(observed)


@pytest.mark.parametrize(
    'arguments', [{'samples': 0}, {'samples': -1}, {'samples': 10**6}, {'seed': -1}]
)
def test_impossible_requests_are_refused(predictor: Predictor, arguments: dict[str, int]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigError, match=name):
        predictor.predict(observed_people(1), **arguments)


def test_noise_of_another_shape_is_refused(predictor: Predictor) -> None:
    with pytest.raises(ShapeError, match='noise'):
        predictor.predict(observed_people(2), noise=np.zeros((1, 3, 20, 51), np.float32))


@pytest.mark.parametrize('name', ['swiftdiff', 'moe'])
@pytest.mark.parametrize(
    'settings_of,message', [({'device': 'tpu'}, 'device'), ({'engine': 'steam'}, 'engine')]
)
def test_an_unknown_device_or_engine_is_refused_with_those_there_are(
    settings_of: dict[str, Any], message: str, name: str
) -> None:
    with pytest.raises(ConfigError, match=f'{message}.*must be one of'):
        Predictor.load(default_weights(name), **{'device': 'cpu', **settings_of})


def test_a_many_step_teacher_cannot_be_deployed() -> None:
    with pytest.raises(WeightsError, match='many-step teacher'):
        Predictor(random_model('teacher'), {}, device='cpu')


def test_half_precision_stays_within_centimetres(predictor: Predictor) -> None:
    observed = observed_people(2)
    half = Predictor(predictor.model, {}, device='cpu', engine='bf16')
    exact = predictor.predict(observed, samples=4).futures
    scale = np.abs(exact - observed[:, None, -1:]).mean()
    assert np.abs(half.predict(observed, samples=4).futures - exact).mean() < 0.02 * scale


def test_noise_that_is_prepared_once_gives_the_same_bits_as_noise_that_is_given() -> None:
    predictor, observed = PREDICTORS['flat'], observed_people(3)
    for samples, seed in ((4, 1), (2, 1), (4, 2), (4, 1)):
        noise = np.repeat(sample_noise(seed, samples, 20, 51)[None], 3, axis=0)
        wanted = predictor.predict(observed, samples=samples, seed=seed).futures
        shared = predictor._drawn(3, samples, seed, None)
        context = predictor.model.observe(torch.from_numpy(observed))
        with torch.inference_mode():
            white = predictor.model.one_step(shared, context.condition)
            futures = predictor.model.decode(white, context).numpy()
        np.testing.assert_array_equal(wanted, futures)
        given = predictor.predict(observed, noise=noise).futures
        np.testing.assert_allclose(wanted, given, atol=1e-5)


@pytest.mark.parametrize('name', ['moe', 'one_step'])
def test_onnx_runtime_runs_the_flat_network_alone(name: str) -> None:
    with pytest.raises(ConfigError, match=r"engine='onnx'.*use .*'auto'"):
        Predictor.load(default_weights(name), device='cpu', engine='onnx')


def test_a_predictor_leaves_the_model_it_was_made_of_as_it_was() -> None:
    model = random_model()
    model.denoiser.requires_grad_(True)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Predictor(model, {}, device='cpu', engine='bf16').predict(observed_people(1), samples=2)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.denoiser.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert bool((value == before[name]).all())


def test_a_loaded_file_predicts_what_its_model_does(tmp_path: Path) -> None:
    path = save_random(tmp_path / 'sway.safetensors')
    loaded = Predictor.load(path, device='cpu', engine='fp32')
    observed = observed_people(1)
    expected = PREDICTORS['mixer'].predict(observed, samples=3).futures
    np.testing.assert_array_equal(loaded.predict(observed, samples=3).futures, expected)
    assert loaded.name == 'sway'
    assert loaded.card['what'] == 'untrained weights, for tests'
    assert (loaded.device, loaded.engine) == ('cpu', 'fp32')
    with pytest.raises(WeightsError, match='no golden pair'):
        loaded.golden_error_m()


def test_several_threads_may_predict_at_once(predictor: Predictor) -> None:
    observed = observed_people(6)
    expected = [predictor.predict(one, samples=2).futures for one in observed]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: predictor.predict(one, samples=2).futures, observed))
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def test_warming_up_changes_no_prediction(predictor: Predictor) -> None:
    observed = observed_people(1)
    before = predictor.predict(observed, samples=2).futures
    predictor.warm_up(persons=2, samples=2)
    np.testing.assert_array_equal(predictor.predict(observed, samples=2).futures, before)


def test_the_sample_to_show_has_the_least_expected_distance_to_what_may_happen() -> None:
    futures = np.random.default_rng(0).normal(size=(2, 7, 10, 17, 3)).astype(np.float32)
    weights = np.full((2, 7), 1.0 / 7.0, np.float32)
    flat = futures.reshape(2, 7, -1)
    gaps = np.linalg.norm(flat[:, :, None] - flat[:, None], axis=-1)
    shown = Prediction(futures, weights, 50.0).most_likely
    assert shown.tolist() == gaps.sum(axis=-1).argmin(axis=1).tolist()
    weights[1] = [0.0, 0.02, 0.02, 0.02, 0.02, 0.9, 0.02]
    assert Prediction(futures, weights, 50.0).most_likely.tolist() == [shown[0], 5]
    line = np.zeros((1, 4, 10, 17, 3), np.float32)
    line[0, :, :, :, 0] = np.array([5.0, 0.0, 0.1, 0.2])[:, None, None]
    weights = np.array([[0.4, 0.2, 0.2, 0.2]], np.float32)
    assert Prediction(line, weights, 50.0).most_likely.tolist() == [3]  # not the heaviest, alone


def test_far_from_the_origin_the_medoid_is_the_same() -> None:
    futures = np.random.default_rng(0).normal(size=(1, 9, 10, 17, 3)).astype(np.float32)
    weights = np.full((1, 9), 1.0 / 9.0, np.float32)
    near = Prediction(futures, weights, 50.0).most_likely
    far = Prediction(futures + np.float32(200.0), weights, 50.0).most_likely
    assert near.tolist() == far.tolist()


@pytest.mark.parametrize('name', ['swiftdiff', 'moe', 'swiftdiff_balance'])
def test_the_radius_is_the_same_before_and_after_a_device_is_lost(name: str) -> None:
    # SIMULATED: the model runs on the CPU under the name of a device that is lost.
    lost = Predictor.load(default_weights(name), device='cpu', engine='fp32')
    frames = np.array([9, 24, 99])

    def radius(predictor: Predictor) -> np.ndarray:
        prediction = predictor.predict(observed_people(2), samples=20)
        return prediction.radius(0.9, prediction.moments(frames), frames)

    before = radius(lost)
    lost.device = 'cuda'
    found = lost.on_cpu()
    np.testing.assert_array_equal(radius(found), before)
    assert (found.device, found.engine, found.name) == ('cpu', 'fp32', name)
    assert found.weights is lost.weights, 'one record'
    assert found.calibration is not None
    assert found.card == lost.card
    assert found.surprise_threshold == lost.surprise_threshold
    assert found.require_golden()


def test_a_record_is_not_changed_by_whoever_uses_it() -> None:
    record = load_weights(default_weights('swiftdiff'))
    before = {name: value.clone() for name, value in record.model.state_dict().items()}
    predictor = Predictor.of(record, device='cpu', engine='bf16')
    predictor.predict(observed_people(1), samples=2)
    for name, value in record.model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    with pytest.raises(FrozenInstanceError):
        record.calibration = None


def test_a_device_that_calculates_wrongly_is_told_from_damaged_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor = Predictor.load(default_weights('swiftdiff'), device='cpu', engine='fp32')
    predictor.device = 'cuda'  # SIMULATED: it is asked for its error alone
    error_of = Predictor.golden_error_m
    wrong_m = [1.0]
    monkeypatch.setattr(
        Predictor,
        'golden_error_m',
        lambda asked: wrong_m[0] if asked is predictor else error_of(asked),
    )
    with pytest.raises(RuntimeError, match='off by 1 m on cuda in fp32') as caught:
        predictor.require_golden()
    assert not isinstance(caught.value, MotionPredictorError)
    wrong_m[0] = math.nan
    with pytest.raises(RuntimeError, match='off by nan m'):
        predictor.require_golden()
