# SPDX-License-Identifier: Apache-2.0
"""The mixture of Gaussians against torch.distributions and its own samples."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.covariance import Covariance, LowRank
from motion_predictor.model.networks.mixture import covering, GaussianMixture
from studies.common.covariances import Diagonal, Full
from studies.common.expert_network import ExpertNetwork

B, E, N, R = 3, 4, 5, 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def covariance_of(kind: str) -> Covariance:
    drawn = generator(1)
    scale = 0.5 + torch.rand(B, E, N, generator=drawn, dtype=torch.float64)
    if kind == 'diagonal':
        return Diagonal(scale)
    if kind == 'low_rank':
        return LowRank(scale, torch.randn(B, E, N, R, generator=drawn, dtype=torch.float64))
    if kind == 'shared':
        return LowRank(scale, torch.randn(1, 1, N, R, generator=drawn, dtype=torch.float64))
    if kind == 'conditioned':
        return LowRank(scale, torch.randn(B, 1, N, R, generator=drawn, dtype=torch.float64))
    lower = torch.randn(B, E, N, N, generator=drawn, dtype=torch.float64).tril(-1)
    return Full(lower + torch.diag_embed(scale))


def mixture_of(kind: str) -> GaussianMixture:
    drawn = generator(2)
    logits = torch.randn(B, E, generator=drawn, dtype=torch.float64)
    means = torch.randn(B, E, N, generator=drawn, dtype=torch.float64)
    return GaussianMixture(logits.log_softmax(-1), means, covariance_of(kind))


KINDS = ('diagonal', 'full', 'low_rank', 'shared', 'conditioned')


@pytest.mark.parametrize('kind', KINDS)
def test_the_density_is_that_of_the_written_out_covariance(kind: str) -> None:
    mixture = mixture_of(kind)
    dense = MultivariateNormal(mixture.means, mixture.covariance.matrix())
    values = torch.randn(7, B, N, generator=generator(3), dtype=torch.float64)
    expected = dense.log_prob(values.unsqueeze(-2))
    assert torch.allclose(mixture.expert_log_prob(values), expected)
    whole = torch.logsumexp(mixture.log_weights + expected, dim=-1)
    assert torch.allclose(mixture.log_prob(values), whole)
    assert torch.allclose(mixture.entropies(), dense.entropy())


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_samples_have_the_moments_that_are_claimed(kind: str) -> None:
    mixture = mixture_of(kind)
    drawn = mixture.sample(60_000, generator(4))
    assert torch.allclose(drawn.mean(dim=0), mixture.mean(), atol=0.05)
    apart = drawn - drawn.mean(dim=0)
    found = torch.einsum('mbi,mbj->bij', apart, apart) / len(drawn)
    largest = mixture.total_covariance().abs().max()
    assert torch.allclose(found, mixture.total_covariance(), atol=0.03 * float(largest))


@pytest.mark.parametrize('kind', KINDS)
def test_the_average_is_that_of_the_written_out_covariances(kind: str) -> None:
    weights = torch.rand(B, E, generator=generator(5), dtype=torch.float64).softmax(-1)
    first = torch.zeros(1, dtype=torch.long)
    for covariance in (covariance_of(kind), covariance_of(kind).select(first).condition(slice(1))):
        written = covariance.matrix().expand(B, E, N, N)  # the second one stands for all
        expected = (weights[..., None, None] * written).sum(dim=1)
        assert torch.allclose(covariance.average(weights), expected)


@pytest.mark.parametrize('kind', KINDS)
def test_a_widened_mixture_has_larger_deviations_alone(kind: str) -> None:
    mixture = mixture_of(kind)
    wide = mixture.widened(1.5)
    assert torch.allclose(wide.covariance.matrix(), 2.25 * mixture.covariance.matrix())
    assert torch.equal(wide.means, mixture.means)
    assert torch.equal(wide.log_weights, mixture.log_weights)
    noise = torch.randn(B, E, mixture.covariance.noise_size, dtype=torch.float64)
    assert torch.allclose(wide.covariance.deviate(noise), 1.5 * mixture.covariance.deviate(noise))


def test_a_spread_moves_the_means_apart_about_the_mean_by_weight() -> None:
    mixture = mixture_of('full')
    apart = mixture.spread_out(1.5)
    assert torch.allclose(apart.mean(), mixture.mean())
    assert torch.allclose(
        apart.means - apart.means[:, :1], 1.5 * (mixture.means - mixture.means[:, :1])
    )
    assert apart.covariance is mixture.covariance
    assert torch.equal(apart.log_weights, mixture.log_weights)


@pytest.mark.parametrize('kind', KINDS)
def test_a_noised_mixture_is_the_mixture_of_noised_samples(kind: str) -> None:
    mixture = mixture_of(kind)
    signal = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    noise = (1.0 - signal.square()).sqrt()
    eye = torch.eye(N, dtype=torch.float64)
    expected = (
        signal[:, None, None, None].square() * mixture.covariance.matrix()
        + noise[:, None, None, None].square() * eye
    )
    noised = mixture.noised(signal, noise)
    assert torch.allclose(noised.covariance.matrix(), expected)
    assert torch.allclose(noised.means, signal[:, None, None] * mixture.means)


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_reach_every_parameter_of_the_covariance(kind: str) -> None:
    covariance = covariance_of(kind)
    leaves: list[Tensor] = [
        value.requires_grad_() for value in vars(covariance).values() if isinstance(value, Tensor)
    ]
    mixture = GaussianMixture(mixture_of(kind).log_weights, mixture_of(kind).means, covariance)
    noised = mixture.noised(torch.full((B,), 0.7).double(), torch.full((B,), 0.7).double())
    noised.log_prob(noised.sample_experts(2, generator(5))[:, :, 0]).sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.abs().sum() > 0) for leaf in leaves)


def test_responsibilities_stay_finite_where_densities_underflow() -> None:
    size = 1000
    means = torch.stack((torch.zeros(size), torch.full((size,), 3.0)))[None]
    mixture = GaussianMixture(
        torch.full((1, 2), 0.5).log(),
        means,
        Diagonal(torch.full((1, 1, 1), 0.1).expand(1, 2, size)),
    )
    far = torch.full((1, size), 20.0)
    assert bool((mixture.expert_log_prob(far).exp() == 0.0).all())
    found = mixture.log_responsibilities(far).exp()
    assert torch.allclose(found, torch.tensor([[0.0, 1.0]]))
    tempered = mixture.log_responsibilities(far, temperature=1e8).exp()
    assert 0.0 < float(tempered[0, 0]) < 0.5


def test_selected_experts_are_those_of_the_mixture() -> None:
    mixture = mixture_of('low_rank')
    chosen = torch.tensor([2, 0])
    values = torch.randn(B, N, generator=generator(6), dtype=torch.float64)
    expected = mixture.expert_log_prob(values)[..., chosen]
    assert torch.allclose(mixture.select(chosen).expert_log_prob(values), expected)


@pytest.mark.parametrize('kind,rank', [('diagonal', 0), ('low_rank', 3), ('full', 0)])
def test_the_network_gives_a_mixture_and_keeps_the_gate_apart(kind: str, rank: int) -> None:
    torch.manual_seed(0)
    network = ExpertNetwork(6, N, experts=E, width=16, depth=2, covariance=kind, rank=rank)
    nothing = torch.zeros(B, 2, 3)
    mixture = network(nothing)
    assert mixture.means.shape == (B, E, N)
    assert torch.allclose(mixture.log_weights.exp().sum(-1), torch.ones(B))
    assert mixture.expert_log_prob(torch.zeros(2, B, N)).shape == (2, B, E)
    mixture.log_weights[:, 0].sum().backward()
    assert all(parameter.grad is None for parameter in network.expert_parameters())
    assert all(parameter.grad is not None for parameter in network.gate_parameters())


def test_a_rank_that_means_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match='rank=0'):
        ExpertNetwork(2, 3, experts=2, width=8, depth=1, covariance='low_rank')
    with pytest.raises(ConfigError, match='covariance='):
        ExpertNetwork(2, 3, experts=2, width=8, depth=1, covariance='banded')


def test_points_stand_for_their_experts_and_play_no_part_in_the_density() -> None:
    mixture = mixture_of('low_rank')
    points = mixture.means + 1.0 + torch.rand(mixture.means.shape)
    with_points = replace(mixture, points=points)
    value = torch.randn(mixture.size, dtype=points.dtype).expand(len(points), -1)
    torch.testing.assert_close(with_points.log_prob(value), mixture.log_prob(value))
    size = mixture.covariance.noise_size
    noise = torch.zeros(len(points), 2 * mixture.experts, size, dtype=points.dtype)
    ranked = with_points.ranked(noise)
    heaviest = mixture.log_weights.argmax(dim=1)
    rows = torch.arange(len(points))
    torch.testing.assert_close(ranked.values[:, 0], points[rows, heaviest])
    drawn = slice(mixture.experts, None)  # without noise: the means of what they are drawn from
    means = mixture.means.gather(1, ranked.experts[:, drawn, None].expand(-1, -1, mixture.size))
    torch.testing.assert_close(ranked.values[:, drawn], means)
    few = with_points.ranked(noise[:, :1])
    torch.testing.assert_close(few.values[:, 0], mixture.means[rows, few.experts[:, 0]])
    kept = with_points.condition(slice(0, 1)).select(torch.tensor([1]))
    assert kept.points is not None
    torch.testing.assert_close(kept.points, points[:1, 1:2])


def test_two_that_stand_for_all_are_taken_from_the_two_heaps() -> None:
    places = torch.tensor([[[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]]])
    weights = torch.tensor([[0.2, 0.25, 0.2, 0.16, 0.18, 0.01]])
    chosen, held = covering(weights, places, 2)
    assert chosen.tolist() == [[2, 4]]  # of the first heap the one nearest to the rest
    assert torch.allclose(held, torch.tensor([[0.65, 0.35]]))
    every, _ = covering(torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1, 3, 1), 3)
    assert sorted(every[0].tolist()) == [0, 1, 2]  # none twice, however useless
