# SPDX-License-Identifier: Apache-2.0
"""The networks: sizes as published, shapes, and the shared condition."""

from dataclasses import replace

import pytest
from random_models import random_model
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.networks.build import build_denoiser
from motion_predictor.model.networks.transfusion import step_embedding


@pytest.mark.parametrize(
    'role,shape,width,depth,ratio,joints,millions',
    [
        ('teacher', 'transfusion', 512, 9, 2.0, 16, 19.7),
        ('teacher', 'transfusion', 512, 13, 2.0, 21, 28.3),
        ('swiftdiff', 'mixer', 768, 12, 1.0, 16, 15.0),
        ('swiftdiff', 'mixer', 896, 16, 1.0, 21, 27.0),
        ('swiftdiff', 'mixer', 768, 10, 1.0, 16, 12.7),
        ('swiftdiff', 'mixer', 896, 10, 1.0, 21, 17.4),
    ],
)
def test_published_settings_give_about_the_published_sizes(
    role: str,
    shape: str,
    width: int,
    depth: int,
    ratio: float,
    joints: int,
    millions: float,
) -> None:
    size = DenoiserConfig(architecture=shape, width=width, depth=depth, hidden_ratio=ratio)
    with torch.device('meta'):
        network = build_denoiser(ModelConfig(role=role, denoiser=size, condition='padded'), joints)
    found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert found == pytest.approx(millions, rel=0.05)


@pytest.mark.parametrize('role', ['teacher', 'one_step', 'swiftdiff'])
def test_a_fresh_network_predicts_zero_and_keeps_the_shape(role: str) -> None:
    config = random_model(role).config
    network = build_denoiser(config, 17).eval()
    x = torch.randn(6, 20, 51)
    output = network(x, torch.randn(6, config.condition_rows, 51), torch.full((6,), 500))
    assert output.shape == x.shape
    assert not output.any()


@pytest.mark.parametrize('role', ['teacher', 'one_step', 'swiftdiff'])
def test_what_comes_out_depends_on_noise_and_condition(role: str) -> None:
    network = random_model(role).denoiser
    x, condition, step = torch.randn(2, 20, 51), torch.randn(2, 12, 51), torch.full((2,), 500)
    output = network(x, condition, step)
    assert (network(x + 0.1, condition, step) - output).abs().max() > 1e-4
    assert (network(x, condition + 0.1, step) - output).abs().max() > 1e-4
    moved = (network(x, condition, step + 100) - output).abs().max()
    assert moved == 0 if role == 'swiftdiff' else moved > 1e-5


@pytest.mark.parametrize('architecture', ['mixer', 'flat'])
def test_a_condition_serves_all_samples_of_its_person(architecture: str) -> None:
    network = random_model('swiftdiff', architecture=architecture).denoiser
    x, condition, step = torch.randn(6, 20, 51), torch.randn(2, 12, 51), torch.full((6,), 991)
    together = network(x, condition, step)
    spread = network(x, condition.repeat_interleave(3, dim=0), step)
    torch.testing.assert_close(together, spread)


def test_a_fresh_flat_network_predicts_zero_and_a_trained_one_sees_noise_and_history() -> None:
    config = random_model('swiftdiff', architecture='flat').config
    x, condition = torch.randn(6, 20, 51), torch.randn(3, 12, 51)
    fresh = build_denoiser(config, 17).eval()
    fresh.shared.weight.data.zero_()  # type: ignore[union-attr, operator]
    fresh.shared.bias.data.zero_()  # type: ignore[union-attr, operator]
    assert not fresh(x, condition).any()
    network = random_model('swiftdiff', architecture='flat').denoiser
    output = network(x, condition)
    assert output.shape == x.shape
    assert (network(x + 0.1, condition) - output).abs().max() > 1e-4
    assert (network(x, condition + 0.1) - output).abs().max() > 1e-4


def test_a_teacher_can_do_without_a_condition() -> None:
    network = random_model('teacher').denoiser
    output = network(torch.randn(2, 20, 51), None, torch.full((2,), 500))
    assert torch.isfinite(output).all()


def test_dropout_acts_in_training_alone() -> None:
    for role, architecture in (('teacher', ''), ('swiftdiff', 'mixer'), ('swiftdiff', 'flat')):
        network = random_model(role, architecture=architecture).denoiser
        given = torch.randn(2, 20, 51), torch.randn(2, 12, 51), torch.full((2,), 500)
        torch.testing.assert_close(network(*given), network(*given), rtol=0, atol=0)
        network.train()
        assert (network(*given) - network(*given)).abs().max() > 0


def test_steps_have_embeddings_of_their_own() -> None:
    embedding = step_embedding(torch.arange(1000), 64)
    assert embedding.shape == (1000, 64)
    gaps = torch.cdist(embedding, embedding) + 10.0 * torch.eye(1000)
    assert gaps.min() > 1e-2


@pytest.mark.parametrize('architecture', ['mixer', 'flat'])
def test_an_mlp_cannot_be_a_many_step_teacher(architecture: str) -> None:
    config = replace(random_model('swiftdiff', architecture=architecture).config, role='teacher')
    with pytest.raises(ConfigError, match='time step'):
        build_denoiser(config, 17)
