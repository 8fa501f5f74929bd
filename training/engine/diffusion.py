# SPDX-License-Identifier: Apache-2.0
"""Forward noising and many-step sampling of the teacher, as functions on whitened states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.codec import Context
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import ddim_steps, to_eps, to_x0
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.device import cpu_has_fast_bf16
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from training.engine.fitting import compiled_network

COMPLETIONS = ('none', 'clean', 'noised')
"""Ways in which the teacher's DDIM puts the observed history back; see :func:`ddim`."""


def add_noise(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """
    Return noised states: ``sqrt(ab) x_0 + sqrt(1 - ab) eps`` (DDPM, equation 4).

    :param x_0: clean states, ``(B, K, D)``.
    :param eps: noise of the same shape.
    :param alpha_bar: value at each window's step, ``(B, 1, 1)``.
    """
    return alpha_bar.sqrt() * x_0 + (1.0 - alpha_bar).sqrt() * eps


def complete_history(model: MotionModel, x_0: Tensor, padded_state: Tensor) -> Tensor:
    """
    Put the observed frames back into an estimate of x_0, in the time domain.

    The steps are the inverse DCT, replacing the observed frames by those of the padded window, and
    the DCT. They are linear in the difference from the padded window, so one K x K matrix does
    them.

    :param model: the model.
    :param x_0: whitened, ``(B, K, D)``.
    :param padded_state: state of the padded window, broadcastable to x_0.
    """
    past = model.config.window.observed_frames
    future = model.map_full[:, past:]
    scale = model.state_scale
    return padded_state + (future @ future.T) @ ((x_0 - padded_state) * scale) / scale


def padded_state(model: MotionModel, context: Context) -> Tensor:
    """
    Return the state of the window that repeats the last observed pose.

    :returns: whitened, ``(P, K, D)``.
    """
    if model.config.residual:
        return model.state.apply(torch.zeros_like(context.padded))
    return model.state.apply(context.padded)


@torch.no_grad()
def ddim(
    model: MotionModel,
    noise: Tensor,
    condition: Tensor,
    padded: Tensor,
    *,
    steps: int = 100,
    completion: str = 'clean',
) -> Tensor:
    """
    Sample with deterministic DDIM (eta 0): from the same noise, always the same x_0.

    :param model: a teacher; its network runs in the precision of its parameters, all else in
        float32.
    :param noise: x_T, ``(B, K, D)``.
    :param condition: whitened, ``(B, C, D)``.
    :param padded: state of the padded window, broadcastable to the noise.
    :param steps: number of the schedule's steps to visit.
    :param completion: 'clean' puts the history back into every estimate of x_0. 'noised' puts it
        into every x_t, noised to the level of x_t, as TransFusion does. (The window's own x_T
        serves as this noise, so that the same noise leads to the same x_0; the papers draw new
        noise.) In both cases x_0 ends with it. 'none' never does.
    :returns: x_0, ``(B, K, D)`` float32.
    :raises ConfigError: if the completion is unknown.
    """
    if completion not in COMPLETIONS:
        raise ConfigError(f'completion={completion!r}: must be one of {COMPLETIONS}')
    visited = ddim_steps(model.config.diffusion_steps, steps)
    dtype = next(model.denoiser.parameters()).dtype
    condition = condition.to(dtype)
    x_t, x_0 = noise, noise
    for position, step in enumerate(visited):
        alpha_bar = model.alpha_bar[step]
        level = torch.full((len(x_t),), step, device=x_t.device)
        output = model.denoiser(x_t.to(dtype), condition, level).float()
        x_0 = to_x0(model.config.prediction, output, x_t, alpha_bar)
        eps = to_eps(x_0, x_t, alpha_bar)
        if completion == 'clean':
            x_0 = complete_history(model, x_0, padded)
        if position + 1 < len(visited):
            following = model.alpha_bar[visited[position + 1]]
            x_t = add_noise(x_0, eps, following)
            if completion == 'noised':
                x_t = complete_history(model, x_t, add_noise(padded, noise, following))
        elif completion == 'noised':
            x_0 = complete_history(model, x_0, padded)
    return x_0


@dataclass(frozen=True)
class Sampler:
    """A sampler of futures from any weights file; see :func:`sampler_for`."""

    model: MotionModel
    predictor: Predictor | None
    card: dict[str, Any]
    ddim_steps: int
    batch: int
    completion: str

    @property
    def role(self) -> str:
        """Return 'teacher', 'one_step' or 'swiftdiff'."""
        return self.model.config.role

    def sample(
        self,
        observed: np.ndarray,
        *,
        samples: int = 50,
        seed: int = 0,
        first_index: int = 0,
        seen: np.ndarray | None = None,
    ) -> np.ndarray:
        """
        Sample futures; the noise of window i depends only on the seed and ``first_index + i``.

        :param observed: world positions in metres, ``(N, T_obs, J, 3)``.
        :param samples: S.
        :param seed: not negative.
        :param first_index: index of the first of these windows in the whole evaluation.
        :param seen: which joints were seen at all, bool ``(N, J)``; the others are completed.
            None: all.
        :returns: world positions in metres, ``(N, S, T_fut, J, 3)`` float32.
        """
        if self.predictor is not None:
            return self.predict(
                observed, samples=samples, seed=seed, first_index=first_index, seen=seen
            ).futures
        noise = window_noise(self.model, seed, first_index, len(observed), samples)
        device = self.model.alpha_bar.device
        marked = None if seen is None else torch.from_numpy(seen).to(device)
        context = self.model.observe(
            torch.from_numpy(np.ascontiguousarray(observed)).to(device), marked
        )
        flat = torch.from_numpy(noise).to(device).flatten(0, 1)
        condition = context.condition.repeat_interleave(samples, dim=0)
        padded = padded_state(self.model, context).repeat_interleave(samples, dim=0)
        size = -(-len(flat) // -(-len(flat) // self.batch))  # even parts, each within the batch
        parts = [
            ddim(
                self.model,
                flat[i : i + size],
                condition[i : i + size],
                padded[i : i + size],
                steps=self.ddim_steps,
                completion=self.completion,
            )
            for i in range(0, len(flat), size)
        ]
        white = torch.cat(parts).unflatten(0, (-1, samples))
        return self.model.decode(white, context).cpu().numpy()

    def predict(
        self,
        observed: np.ndarray,
        *,
        samples: int = 50,
        seed: int = 0,
        first_index: int = 0,
        seen: np.ndarray | None = None,
    ) -> Prediction:
        """
        Return a one-step model's prediction, with the noise of :meth:`sample`.

        :raises ConfigError: if the model is a many-step teacher.
        """
        if self.predictor is None:
            raise ConfigError('a many-step teacher gives samples alone')
        noise = window_noise(self.model, seed, first_index, len(observed), samples)
        return self.predictor.predict(observed, noise=noise, seen=seen)


def window_noise(
    model: MotionModel, seed: int, first_index: int, windows: int, samples: int
) -> np.ndarray:
    """
    Draw each window's noise from the seed and its index, for any batch.

    :returns: float32 ``(windows, samples, K, D)``.
    """
    shape = (samples, *model.state_scale.shape)
    return np.stack(
        [
            np.random.Generator(np.random.Philox(key=[seed, first_index + i])).standard_normal(
                shape, dtype=np.float32
            )
            for i in range(windows)
        ]
    )


def sampler_for(
    weights: Path | str,
    *,
    device: str = 'auto',
    ddim_steps: int = 100,
    engine: str = 'auto',
    batch: int = 256,
    compiled: bool = False,
) -> Sampler:
    """
    Load any weights file as a sampler.

    :param weights: weights file; a teacher samples by DDIM, one-step models as they are deployed.
    :param device: 'auto', 'cpu' or 'cuda'.
    :param ddim_steps: number of the teacher's sampling steps.
    :param engine: 'auto', 'fp32' or 'bf16', as for the Predictor.
    :param batch: number of the teacher's samples in one call of the network.
    :param compiled: whether to compile the teacher's network if a C++ compiler is found; this is
        worth while from a few thousand samples on.
    :raises WeightsError: if the file is missing or damaged.
    """
    loaded = load_weights(weights)
    where = device
    if device == 'auto':
        where = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = loaded.model.to(where)
    if model.config.role != 'teacher':
        predictor = Predictor(
            model, loaded.card, loaded.golden, device=where, engine=engine, name=str(weights)
        )
        return Sampler(model, predictor, loaded.card, 1, batch, 'clean')
    fast = engine == 'bf16' or (engine == 'auto' and (where == 'cuda' or cpu_has_fast_bf16()))
    if fast:
        model.denoiser.to(torch.bfloat16)
    if compiled:
        model.denoiser = compiled_network(model.denoiser)
    completion = loaded.card.get('completion', 'clean')
    return Sampler(model, None, loaded.card, ddim_steps, batch, completion)
