# SPDX-License-Identifier: Apache-2.0
"""The cosine noise schedule and the conversions between eps, x0 and v."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine_alpha_bar(steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """
    Return the cumulative signal share alpha_bar of Nichol and Dhariwal's cosine schedule.

    :param steps: number of diffusion steps.
    :param offset: s in ``cos^2((t + s) / (1 + s) * pi / 2)``.
    :param max_beta: largest beta.
    :returns: float64, shape ``(steps,)``; entry t belongs to step t; the values fall towards 0.
    """

    def share(time: float) -> float:
        return math.cos((time + offset) / (1.0 + offset) * math.pi / 2.0) ** 2

    betas = [min(1.0 - share((i + 1) / steps) / share(i / steps), max_beta) for i in range(steps)]
    return torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float64), dim=0)


def ddim_steps(diffusion_steps: int, sampling_steps: int) -> list[int]:
    """
    Return the steps that DDIM visits, from noisy to clean: 991, 981, ..., 1 for 1000 and 100.

    :param diffusion_steps: length of the schedule.
    :param sampling_steps: number of steps to visit, at most the length of the schedule.
    """
    stride = max(1, diffusion_steps // sampling_steps)
    return [1 + stride * i for i in range(sampling_steps) if 1 + stride * i < diffusion_steps][
        ::-1
    ]


def to_x0(prediction: str, output: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """
    Return the clean state x_0 that follows from a network's output.

    :param prediction: 'eps' (DDPM), 'x0', or 'v' = sqrt(ab) eps - sqrt(1-ab) x_0
        (Salimans and Ho, 2022).
    :param output: output of the network, of the same shape as x_t.
    :param x_t: noisy input.
    :param alpha_bar: value at the step of x_t, broadcastable to x_t.
    """
    if prediction == 'x0':
        return output
    if prediction == 'v':
        return alpha_bar.sqrt() * x_t - (1.0 - alpha_bar).sqrt() * output
    return (x_t - (1.0 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()


def to_eps(x_0: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """
    Return the noise that leads from x_0 to x_t at a level.

    :param x_0: clean state.
    :param x_t: noisy state, of the same shape.
    :param alpha_bar: value at the step of x_t, broadcastable, below 1.
    """
    return (x_t - alpha_bar.sqrt() * x_0) / (1.0 - alpha_bar).sqrt()


def target_of(prediction: str, x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """
    Return the output that a network should have for a known x_0 and noise.

    :param prediction: 'eps', 'x0' or 'v'.
    :param x_0: clean state.
    :param eps: the noise that was added, of the same shape.
    :param alpha_bar: value at the step of the noising, broadcastable.
    """
    if prediction == 'eps':
        return eps
    if prediction == 'x0':
        return x_0
    return alpha_bar.sqrt() * eps - (1.0 - alpha_bar).sqrt() * x_0
