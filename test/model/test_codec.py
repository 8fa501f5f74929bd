# SPDX-License-Identifier: Apache-2.0
"""Encoding without a network: whitening and states, each with its inverse."""

from dataclasses import replace

import pytest
from random_models import observed_people, random_model
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.codec import Codec, Whitening


def test_a_models_codec_encodes_as_the_model_does() -> None:
    model = random_model('swiftdiff')
    codec = Codec(model.config, model.skeleton, model.state, model.condition)
    assert not list(codec.parameters())
    window = model.config.window
    people = torch.from_numpy(observed_people(3))
    moving = torch.cat((people, people[:, -1:].expand(-1, window.future_frames, -1, -1)), dim=1)
    mine, theirs = codec.observe(people), model.observe(people)
    for name in ('features', 'padded', 'condition'):
        assert torch.equal(getattr(mine, name), getattr(theirs, name))
    white = codec.encode(moving, mine)
    assert torch.equal(white, model.encode(moving, theirs))
    assert torch.equal(codec.decode(white[:, None], mine), model.decode(white[:, None], theirs))


@pytest.mark.parametrize('residual', [False, True])
def test_decoding_undoes_encoding_of_smooth_motion(residual: bool) -> None:
    config = replace(random_model('swiftdiff').config, residual=residual)
    codec = Codec(config, H36M17)
    window = config.window
    time = torch.linspace(0.0, 1.0, window.total_frames)
    people = torch.from_numpy(observed_people(1))[:, -1:]
    slow = torch.stack((0.3 * time, 0.1 * torch.cos(torch.pi * time), 0.0 * time), dim=-1)
    whole = people + slow[None, :, None]
    context = codec.observe(whole[:, : window.observed_frames])
    futures = codec.decode(codec.encode(whole, context)[:, None], context)
    wanted = whole[:, None, window.observed_frames :]
    torch.testing.assert_close(futures, wanted, atol=5e-3, rtol=0)
    inside = codec.decode_features(codec.encode(whole, context)[:, None], context)
    roots = context.frame.enter(wanted[:, 0])[..., 0, :]
    torch.testing.assert_close(inside[:, 0, :, :3], roots, atol=5e-3, rtol=0)


def test_whitening_gives_unit_variance_and_its_inverse_undoes_it() -> None:
    values = 3.0 + 0.2 * torch.randn(500, 20, 6, generator=torch.Generator().manual_seed(0))
    whitening = Whitening.fit(values)
    white = whitening.apply(values)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(20, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.std(dim=0), torch.ones(20, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(whitening.undo(white), values, atol=1e-5, rtol=1e-5)


def test_a_coefficient_that_never_changes_does_not_blow_up() -> None:
    whitening = Whitening.fit(torch.zeros(10, 2, 3), floor_m=1e-3)
    assert whitening.scale.min() == pytest.approx(1e-3)


def test_identity_whitening_changes_nothing() -> None:
    values = torch.randn(4, 20, 6)
    torch.testing.assert_close(Whitening.identity(20, 6).apply(values), values)
