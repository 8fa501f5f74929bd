# SPDX-License-Identifier: Apache-2.0
"""The noise schedule and the conversions between what a network may predict."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import torch

from motion_predictor.model.schedule import cosine_alpha_bar, ddim_steps, target_of, to_eps, to_x0

ALPHA_BAR = cosine_alpha_bar(1000)


def test_the_signal_share_falls_from_one_to_almost_nothing() -> None:
    assert ALPHA_BAR.shape == (1000,)
    assert torch.all(ALPHA_BAR[1:] < ALPHA_BAR[:-1])
    assert ALPHA_BAR[0] > 0.9999
    assert 0 < ALPHA_BAR[-1] < 1e-6


@pytest.mark.parametrize(
    'step,factor', [(801, 3.3), (901, 6.6), (951, 13.4), (981, 35.7), (991, 80.0)]
)
def test_an_error_of_the_noise_is_amplified_as_published(step: int, factor: float) -> None:
    assert 1.0 / math.sqrt(ALPHA_BAR[step]) == pytest.approx(factor, rel=0.03)


def test_ddim_visits_the_steps_of_the_reference() -> None:
    steps = ddim_steps(1000, 100)
    assert steps == list(range(991, 0, -10))
    assert len(steps) == 100


@given(st.integers(10, 2000), st.integers(1, 2000))
@settings(max_examples=50, deadline=None)
def test_ddim_steps_fall_within_the_schedule(total: int, wanted: int) -> None:
    steps = ddim_steps(total, wanted)
    assert 1 <= len(steps) <= wanted
    assert steps == sorted(set(steps), reverse=True)
    assert all(0 < step < total for step in steps)


@pytest.mark.parametrize('prediction', ['eps', 'x0', 'v'])
@given(step=st.integers(1, 900), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_the_right_output_gives_back_the_clean_state(
    prediction: str, step: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_0 = torch.randn(3, 20, 51, generator=generator, dtype=torch.float64)
    eps = torch.randn(3, 20, 51, generator=generator, dtype=torch.float64)
    alpha_bar = ALPHA_BAR[step]
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps
    output = target_of(prediction, x_0, eps, alpha_bar)
    torch.testing.assert_close(to_x0(prediction, output, x_t, alpha_bar), x_0)
    torch.testing.assert_close(to_eps(x_0, x_t, alpha_bar), eps)
