# SPDX-License-Identifier: Apache-2.0
"""The teacher's sampler against arithmetic of its own, written out here in NumPy and SciPy."""

import math

import numpy as np
import pytest
from random_models import random_model, walking
from scipy.fft import dct, idct
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import cosine_alpha_bar
from training.data.random_windows import mirror_windows
from training.engine.diffusion import add_noise, complete_history, ddim, padded_state

PAST, FUTURE, KEEP = 25, 100, 20
TOTAL = PAST + FUTURE


def alpha_bar_of_the_paper() -> np.ndarray:
    """Cosine schedule, s = .008, betas clipped at .999 (Nichol and Dhariwal, equation 17)."""
    found, product = [], 1.0
    for t in range(1000):
        f = [math.cos(((t + k) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (0, 1)]
        product *= 1.0 - min(1.0 - f[1] / f[0], 0.999)
        found.append(product)
    return np.array(found)


def to_time(coefficients: np.ndarray) -> np.ndarray:
    """(..., K, D) to (..., T, D): the low rows of an orthonormal DCT-II over the whole window."""
    full = np.zeros((*coefficients.shape[:-2], TOTAL, coefficients.shape[-1]))
    full[..., :KEEP, :] = coefficients
    return idct(full, type=2, norm='ortho', axis=-2)


def to_rows(poses: np.ndarray) -> np.ndarray:
    return dct(poses, type=2, norm='ortho', axis=-2)[..., :KEEP, :]


def history_put_back(x: np.ndarray, other: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the observed frames of x replaced by those of another window, in the time domain."""
    mine, theirs = to_time(x * scale), to_time(other * scale)
    mine[..., :PAST, :] = theirs[..., :PAST, :]
    return to_rows(mine) / scale


def ddim_by_hand(
    model: MotionModel, noise: np.ndarray, condition: torch.Tensor, padded: np.ndarray, how: str
) -> np.ndarray:
    """DDIM, eta 0, over 991, 981, ..., 1 (Song et al., 2021, equation 12)."""
    alpha_bar, scale = alpha_bar_of_the_paper(), model.state_scale.numpy().astype(np.float64)
    x_t, x_0 = noise.astype(np.float64), noise
    for step in range(991, 0, -10):
        level = torch.full((len(noise),), step)
        given = torch.from_numpy(x_t.astype(np.float32))
        out = model.denoiser(given, condition, level).numpy().astype(np.float64)
        signal, rest = math.sqrt(alpha_bar[step]), math.sqrt(1.0 - alpha_bar[step])
        prediction = model.config.prediction
        if prediction == 'eps':
            x_0 = (x_t - rest * out) / signal
        else:
            x_0 = out if prediction == 'x0' else signal * x_t - rest * out
        eps = (x_t - signal * x_0) / rest
        if how == 'clean':
            x_0 = history_put_back(x_0, padded, scale)
        if step == 1:
            break
        signal, rest = math.sqrt(alpha_bar[step - 10]), math.sqrt(1.0 - alpha_bar[step - 10])
        x_t = signal * x_0 + rest * eps
        if how == 'noised':
            x_t = history_put_back(x_t, signal * padded + rest * noise, scale)
    return history_put_back(x_0, padded, scale) if how == 'noised' else x_0


@pytest.mark.slow
@pytest.mark.parametrize('how', ['none', 'clean', 'noised'])
@pytest.mark.parametrize('prediction', ['v', 'x0', 'eps'])
def test_a_hundred_ddim_steps_are_those_written_out_here(prediction: str, how: str) -> None:
    model = random_model('teacher', prediction=prediction, residual=False)
    for parameter in model.denoiser.parameters():
        parameter.mul_(0.3)  # tame, so that rounding does not grow over a hundred steps
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 2.0, model.state_scale.shape).astype(np.float32)
    model.state_scale.copy_(torch.from_numpy(scale))
    noise = rng.normal(size=(3, KEEP, 51)).astype(np.float32)
    padded = rng.normal(size=(3, KEEP, 51)).astype(np.float32)
    condition = torch.randn(3, 12, 51, generator=torch.Generator().manual_seed(1))
    found = ddim(
        model,
        torch.from_numpy(noise),
        condition,
        torch.from_numpy(padded),
        steps=100,
        completion=how,
    ).numpy()
    expected = ddim_by_hand(model, noise, condition, padded.astype(np.float64), how)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_the_schedule_is_the_published_one() -> None:
    np.testing.assert_allclose(cosine_alpha_bar(1000).numpy(), alpha_bar_of_the_paper(), rtol=1e-9)


def test_noise_is_added_as_published() -> None:
    x_0, eps = torch.randn(4, KEEP, 51), torch.randn(4, KEEP, 51)
    share = torch.tensor([1.0, 0.64, 0.36, 0.0])[:, None, None]
    noisy = add_noise(x_0, eps, share)
    torch.testing.assert_close(noisy[0], x_0[0])
    torch.testing.assert_close(noisy[1], 0.8 * x_0[1] + 0.6 * eps[1])
    torch.testing.assert_close(noisy[3], eps[3])


def test_the_history_is_put_back_in_the_time_domain() -> None:
    model = random_model('teacher')
    scale = torch.rand(model.state_scale.shape) + 0.5
    model.state_scale.copy_(scale)
    x_0, padded = torch.randn(2, KEEP, 51), torch.randn(2, KEEP, 51)
    found = complete_history(model, x_0, padded).numpy()
    by_hand = history_put_back(x_0.numpy(), padded.numpy(), scale.numpy())
    np.testing.assert_allclose(found, by_hand, atol=1e-4)


def test_the_padded_state_is_that_of_the_window_padded_with_its_last_pose() -> None:
    poses = torch.from_numpy(walking(PAST))[None]
    for residual in (False, True):
        model = random_model('teacher', residual=residual)
        history = model.observe(poses)
        window = torch.cat((poses, poses[:, -1:].expand(-1, FUTURE, -1, -1)), dim=1)
        torch.testing.assert_close(
            padded_state(model, history), model.encode(window, history), rtol=1e-3, atol=1e-3
        )


def test_a_mirrored_person_turns_the_other_way_with_the_other_hand() -> None:
    model = random_model('teacher')
    walk = torch.from_numpy(walking(TOTAL))[None]
    mirrored = mirror_windows(walk, model.skeleton)
    left, right = model.skeleton.joints.index('LWrist'), model.skeleton.joints.index('RWrist')
    torch.testing.assert_close(mirrored[..., left, 0], walk[..., right, 0])
    torch.testing.assert_close(mirrored[..., left, 1], -walk[..., right, 1])
    torch.testing.assert_close(mirror_windows(mirrored, model.skeleton), walk)


def test_an_unknown_completion_is_refused() -> None:
    model = random_model('teacher')
    x = torch.zeros(1, KEEP, 51)
    with pytest.raises(ConfigError, match="completion='sometimes'"):
        ddim(model, x, torch.zeros(1, 12, 51), x, steps=2, completion='sometimes')
