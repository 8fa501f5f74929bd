# SPDX-License-Identifier: Apache-2.0
"""The mixture of experts as a deployed model: ranks, closed-form moments, surprise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.covariance import LowRank
from motion_predictor.model.networks.experts import CodedExperts, MotionExperts
from motion_predictor.model.weights import load_weights, save_weights
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.mixture_forecast import (
    _log_densities,
    checked_frames,
    FLOOR_M,
    Forecast,
)
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk
from motion_predictor.sources.observation import Observation

EXPERTS, LATENT = 4, 6


@pytest.fixture(scope='module')
def predictor() -> Predictor:
    torch.manual_seed(0)
    size = DenoiserConfig(
        architecture='experts', width=16, depth=1, heads=1, experts=EXPERTS, latent=LATENT, rank=2,
        loading_width=8,
    )  # fmt: skip
    model = MotionModel(ModelConfig(role='moe', denoiser=size, join_s=0.3), H36M17)
    experts = model.denoiser
    assert isinstance(experts, MotionExperts)
    with torch.no_grad():
        encoder = torch.linalg.qr(torch.randn(20 * 51, LATENT))[0]
        experts.set_directions(encoder, encoder.T)
        experts.network.gate_bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
        change = experts.network.loading_change
        assert change is not None
        change[-1].weight.normal_(std=0.3)
    return Predictor(model, {}, device='cpu')


@pytest.fixture(scope='module')
def walks() -> np.ndarray:
    return np.stack([walk(0.5, 50.0, np.random.default_rng(seed))[:25] for seed in range(2)])


def forecast_of(prediction: Prediction) -> Forecast:
    assert isinstance(prediction.closed_form, Forecast)
    return prediction.closed_form


def test_samples_come_in_order_of_weight_and_the_means_first(
    predictor: Predictor, walks: np.ndarray
) -> None:
    means = predictor.predict(walks, samples=EXPERTS)
    many = predictor.predict(walks, samples=40)
    np.testing.assert_allclose(means.futures, many.futures[:, :EXPERTS], atol=1e-5)
    np.testing.assert_allclose(many.weights.sum(axis=1), 1.0, atol=1e-5)
    assert (means.weights[:, :-1] > means.weights[:, 1:]).all()


def test_a_few_samples_stand_for_all_experts_and_hold_all_the_weight(
    predictor: Predictor, walks: np.ndarray
) -> None:
    means = predictor.predict(walks, samples=EXPERTS)
    few = predictor.predict(walks, samples=2)
    np.testing.assert_allclose(few.weights.sum(axis=1), 1.0, atol=1e-5)
    assert (few.weights[:, 0] >= few.weights[:, 1]).all()
    for person in range(len(walks)):
        apart = np.abs(few.futures[person][:, None] - means.futures[person][None]).max((2, 3, 4))
        found = apart.argmin(axis=1)  # whose means the two are
        assert apart.min(axis=1).max() < 1e-5
        assert found[0] != found[1]
        assert few.weights[person].min() >= means.weights[person][found].min() - 1e-6


def test_every_expert_keeps_its_weight_however_many_samples_share_it(
    predictor: Predictor, walks: np.ndarray
) -> None:
    context = predictor.model.observe(torch.from_numpy(walks))
    mixture = predictor.model.mixture(context)
    noise = torch.randn(2, 50, mixture.covariance.noise_size)
    samples = mixture.ranked(noise)
    for expert in range(EXPERTS):
        held = torch.where(samples.experts == expert, samples.weights, 0.0).sum(dim=1)
        assert torch.allclose(held, mixture.log_weights.exp()[:, expert], atol=1e-5)


@pytest.mark.slow
def test_moments_in_closed_form_are_those_of_samples(
    predictor: Predictor, walks: np.ndarray
) -> None:
    prediction = predictor.predict(walks, samples=4)
    frames = np.array([0, 30, 99])
    moments = prediction.moments(frames)
    forecast = forecast_of(prediction)
    model = predictor.model
    drawn = forecast.mixture.sample(20_000, torch.Generator().manual_seed(1))  # (M, P, N)
    experts = model.denoiser
    assert isinstance(experts, MotionExperts)
    white = experts.decode(drawn.transpose(0, 1), 51)
    futures = model.decode(white, forecast.context).numpy()[:, :, frames]
    np.testing.assert_allclose(moments.mean, futures.mean(axis=1), atol=0.02)
    apart = futures - futures.mean(axis=1, keepdims=True)
    found = np.einsum('psfji,psfjk->pfjik', apart, apart) / futures.shape[1]
    np.testing.assert_allclose(moments.covariance, found, atol=0.06 * found.max())


def test_moments_turn_and_move_with_the_prediction(
    predictor: Predictor, walks: np.ndarray
) -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    frames = np.array([10, 50])
    forecast = forecast_of(predictor.predict(walks))
    plain = forecast.at(frames)
    moved = forecast.moved(np.array([1.0, 2.0, 3.0])).turned(quarter).at(frames)
    wanted = plain.moved(np.array([1.0, 2.0, 3.0])).turned(quarter)
    np.testing.assert_allclose(moved.mean, wanted.mean, atol=1e-6)
    np.testing.assert_allclose(moved.covariance, wanted.covariance, atol=1e-6)
    shifted = forecast_of(predictor.predict(walks + np.float32([5.0, 0.0, 0.0]))).at(frames)
    np.testing.assert_allclose(shifted.mean, plain.mean + [5.0, 0.0, 0.0], atol=1e-4)


def test_moments_that_are_seen_later_are_those_of_the_later_frames(
    predictor: Predictor, walks: np.ndarray
) -> None:
    forecast = forecast_of(predictor.predict(walks))
    frames = np.array([0, 40, 98])
    later = forecast.later(np.array([0.0, 3.0])).at(frames)
    plain, third = forecast.at(frames), forecast.at(np.array([3, 43, 99]))
    np.testing.assert_allclose(later.mean[0], plain.mean[0], atol=1e-5)
    np.testing.assert_allclose(later.covariance[0], plain.covariance[0], atol=1e-6)
    np.testing.assert_allclose(later.mean[1], third.mean[1], atol=1e-5)
    np.testing.assert_allclose(later.covariance[1], third.covariance[1], atol=1e-6)


def test_moments_between_two_frames_are_those_of_samples_between_them(
    predictor: Predictor, walks: np.ndarray
) -> None:
    prediction = predictor.predict(walks, samples=EXPERTS)  # the experts' means, no spread
    forecast = forecast_of(prediction).later(np.array([0.25, 1.5])).later(np.array([0.0, 1.0]))
    found = forecast.at(np.array([20]))
    mean = (prediction.weights[:, :, None, None, None] * prediction.futures).sum(axis=1)
    np.testing.assert_allclose(
        found.mean[0, 0], 0.75 * mean[0, 20] + 0.25 * mean[0, 21], atol=1e-5
    )
    np.testing.assert_allclose(found.mean[1, 0], 0.5 * (mean[1, 22] + mean[1, 23]), atol=1e-5)
    # The spread at the middle of a straight line is at most the mean of those at its ends.
    ends = forecast_of(prediction).at(np.array([22, 23])).covariance[1]
    deviation = np.sqrt(np.diagonal(ends, axis1=-2, axis2=-1)).mean(axis=0)
    between = np.sqrt(np.diagonal(found.covariance[1, 0], axis1=-2, axis2=-1))
    assert (between <= deviation + 1e-6).all()
    assert between.mean() > 0.9 * deviation.mean()


def test_who_is_seen_a_little_earlier_keeps_the_closed_form(predictor: Predictor) -> None:
    online = LivePredictor(predictor, samples=2)
    poses = walk(1.0, 50.0, np.random.default_rng(0))
    for index, pose in enumerate(poses[:30]):
        stamp_ns = 10**9 + 20_000_000 * index
        online.observe(Observation(stamp_ns, 'map', 'ann', pose, source='left'))
        beside = pose + [0.0, 3.0, 0.0]
        online.observe(Observation(stamp_ns - 7_000_000, 'map', 'bob', beside, source='right'))
    result = online.predict()
    assert result is not None
    assert result.prediction is not None
    np.testing.assert_allclose(sorted(result.ages_s), [0.0, 0.007], atol=1e-6)
    forecast = forecast_of(result.prediction)
    person = int(result.ages_s.argmax())
    assert forecast.lag is not None
    assert forecast.lag[person] == pytest.approx(0.35)


def test_what_was_expected_surprises_less_than_what_was_not(
    predictor: Predictor, walks: np.ndarray
) -> None:
    prediction = predictor.predict(walks, samples=8)
    forecast = forecast_of(prediction)
    frames = checked_frames(50.0)
    assert frames.tolist() == [9, 24]
    expected = prediction.futures[0, 0, frames]
    calm = forecast.surprise(0, expected, frames)
    assert calm < forecast.surprise(0, expected + 0.5 * np.float32([1, 0, 0]), frames)
    shift = np.array([7.0, -3.0, 0.0])
    moved = forecast.moved(shift)
    assert moved.surprise(0, expected + shift, frames) == pytest.approx(calm, abs=1e-3)
    both = forecast.surprises(
        torch.from_numpy(prediction.futures[:, 0, frames]), torch.from_numpy(frames)
    )
    assert float(both[0]) == pytest.approx(calm, abs=1e-4)


def test_the_same_seed_gives_the_same_futures_and_a_file_keeps_them(
    predictor: Predictor, walks: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / 'moe.safetensors'
    save_weights(path, predictor.model, {})
    again = Predictor(load_weights(path).model, {}, device='cpu')
    first, second = (of.predict(walks, samples=9, seed=3) for of in (predictor, again))
    np.testing.assert_allclose(first.futures, second.futures, atol=1e-5)
    np.testing.assert_allclose(first.weights, second.weights, atol=1e-6)


def test_bf16_is_refused_for_a_mixture(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match='fp32'):
        Predictor(predictor.model, {}, engine='bf16', device='cpu')


def test_a_mixture_network_belongs_to_its_role_alone() -> None:
    size = DenoiserConfig(
        architecture='experts', width=16, depth=1, heads=1, experts=2, latent=4, rank=1
    )
    with pytest.raises(ConfigError, match='role='):
        ModelConfig(role='swiftdiff', denoiser=size)
    with pytest.raises(ConfigError, match='latent=0'):
        DenoiserConfig(architecture='experts', width=16, depth=1, heads=1, experts=2, rank=1)


def test_the_low_rank_part_follows_the_history_where_it_has_a_layer_for_that(
    predictor: Predictor, walks: np.ndarray
) -> None:
    model = predictor.model
    mixture = model.mixture(model.observe(torch.from_numpy(walks)))
    assert isinstance(mixture.covariance, LowRank)
    one, other = mixture.covariance.loading
    assert one.shape == (1, LATENT, 2)  # all experts'
    assert not torch.allclose(one, other, atol=1e-2)
    size = replace(model.config.denoiser, loading_width=0)
    fixed = CodedExperts(12, size)(torch.randn(2, 12)).covariance
    assert isinstance(fixed, LowRank)
    assert fixed.loading.shape == (1, 1, LATENT, 2)
    with pytest.raises(ConfigError, match='loading_width=8'):
        replace(size, architecture='flat', experts=0, latent=0, rank=0, loading_width=8)


@pytest.mark.parametrize('alike', [True, False])
def test_the_density_of_positions_is_that_of_the_written_out_gaussians(alike: bool) -> None:
    drawn = torch.Generator().manual_seed(0)
    experts, values, places = 5, 12, 9
    scale = 0.2 + torch.rand(1, 1, values, generator=drawn)
    gain = 0.5 + torch.rand(1, experts, 1 if alike else values, generator=drawn)
    loading = torch.randn(1, 1, values, 3, generator=drawn)
    covariance = LowRank(scale * gain, loading)
    assert (covariance.gains() is not None) is alike
    flat = 0.1 * torch.randn(values, places, generator=drawn)
    apart = 0.1 * torch.randn(experts, places, generator=drawn)
    spread = flat.T @ covariance.matrix()[0] @ flat + FLOOR_M**2 * torch.eye(places)
    expected = MultivariateNormal(torch.zeros(places), spread).log_prob(apart)
    found = _log_densities(covariance, flat, apart)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
