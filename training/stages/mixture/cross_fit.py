# SPDX-License-Identifier: Apache-2.0
"""Futures of each person from a diffusion model that has not seen that person.

A teacher that has learnt a recording by heart tells a student nothing new: for the histories it
was trained on, it returns what happened there. So people are divided into folds, and the futures
of each fold come from a teacher trained on the others. These futures are as uncertain as the
teacher is about unknown people, which is what a mixture will meet (cross-fitting; Dao, Kamath,
Syrgkanis and Mackey, "Knowledge Distillation as Semiparametric Inference", arXiv 2104.09732).

These teachers learn only the mixture's own coordinates. They are multilayer perceptrons with the
inputs, outputs and sampler of EDM (Karras et al., arXiv 2206.00364). All signal-to-noise ratios
have equal weight on a logarithmic scale, so that the loss is a negative log likelihood up to a
constant (Guo, Shamai and Verdu, 2005; Kong, Brekelmans and Ver Steeg, arXiv 2302.03792).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from pathlib import Path

from safetensors.torch import load_file, save_file
import torch
from torch import nn, Tensor
from torch.nn import functional
from tqdm import tqdm

from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.layers import FlatBlock
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common.parallel import Shard, WHOLE
from training.engine.config import as_plain, CrossFitConfig, CrossFitOptim, OptimConfig
from training.engine.fitting import fit

WAVES = 32
"""Number of pairs of sine and cosine that encode the noise level."""
TOLD = 128
"""Number of values into which they are transformed."""
BEND = 7.0
"""How much closer the steps are where there is little noise (EDM's rho)."""
DROPOUT = 0.1
"""Dropout of all blocks: hours of motion of a few people are little for a diffusion model."""
LOWEST = 0.003
"""Lowest signal-to-noise ratio on coordinates of the whitened state: almost pure noise."""
HIGHEST = 30_000.0
"""Highest signal-to-noise ratio: the remaining noise is far below that of trackers."""
LEARNING_RATE = 1e-3
PASS = 4096
"""Number of windows that are sampled at once."""
ASKED = 256
"""Approximate number of windows whose coordinates are kept, to identify the futures."""


class CoordinateDenoiser(nn.Module):
    """
    Removes the noise from coordinates of a future, given the history.

    Its output is a linear estimate about a mean that follows the history, with each coordinate's
    own deviation (``unit``), plus the output of a residual network.
    """

    unit: Tensor
    waves: Tensor

    def __init__(self, condition: int, unit: Tensor, size: CrossFitConfig) -> None:
        """
        Make one with fresh weights.

        :param condition: length of the flattened condition, C.
        :param unit: standard deviations of the coordinates, ``(N,)``.
        :param size: size of the network.
        """
        super().__init__()
        values, width, narrow = len(unit), size.width, size.history_width
        self.register_buffer('unit', unit.clone())
        self.register_buffer('waves', torch.linspace(0.0, 4.0, WAVES).exp() / 8.0)
        self.condition = nn.Linear(condition, narrow)
        self.condition_blocks = nn.ModuleList(
            FlatBlock(narrow, narrow, DROPOUT) for _ in range(size.history_depth)
        )
        self.condition_norm = nn.LayerNorm(narrow)
        self.mean = nn.Linear(narrow, values)
        self.level = nn.Linear(2 * WAVES, TOLD)
        self.begin = nn.Linear(values, width)
        self.begin_condition = nn.Linear(narrow, width)
        self.blocks = nn.ModuleList(_Block(width, DROPOUT) for _ in range(size.depth))
        self.shifts = nn.Linear(narrow + TOLD, width * size.depth)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, values)
        for layer in (self.mean, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, condition: Tensor, noise: Tensor) -> Tensor:
        """
        Return the expected coordinates.

        :param noisy: coordinates with white noise added, ``(B, N)``.
        :param condition: ``(B, ...)``, C numbers per row.
        :param noise: standard deviation of the noise, ``(B,)``.
        :returns: ``(B, N)``.
        """
        history = self.condition(condition.flatten(1))
        for block in self.condition_blocks:
            history = block(history)
        history = self.condition_norm(history)
        phase = noise.log()[:, None] * self.waves
        level = functional.gelu(self.level(torch.cat((phase.sin(), phase.cos()), dim=1)))
        shifts = self.shifts(torch.cat((history, level), dim=1)).chunk(len(self.blocks), dim=1)
        deviation = noise[:, None]
        whole = (self.unit.square() + deviation.square()).sqrt()
        mean = self.mean(history) * self.unit
        x = self.begin((noisy - mean) / whole) + self.begin_condition(history)
        for block, shift in zip(self.blocks, shifts, strict=True):
            x = block(x, shift)
        known = (self.unit / whole).square()
        return (
            mean
            + known * (noisy - mean)
            + deviation * (self.unit / whole) * self.out(self.norm(x))
        )


class _Block(FlatBlock):
    """A residual MLP whose hidden values are shifted."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(width, width, dropout)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
        """Map ``(B, width)``, shifted by ``(B, width)``, to the same shape."""
        hidden = functional.gelu(self.expand(self.norm(x)) + shift)
        return x + self.contract(functional.dropout(hidden, self.dropout, self.training))


def optim_of(config: CrossFitOptim) -> OptimConfig:
    """Return the complete settings for fitting a fold's model."""
    return OptimConfig(
        steps=config.steps,
        batch=config.batch,
        learning_rate=LEARNING_RATE,
        warmup_steps=config.warmup_steps,
        ema=config.ema,
    )


class DenoisingLoss:
    """The squared error of a denoiser, scaled to nats per coordinate."""

    def __init__(self, config: CrossFitConfig, real: Tensor, condition: Tensor) -> None:
        """
        Prepare the loss.

        :param config: gives the batch.
        :param real: coordinates of the training windows, ``(N, V)``.
        :param condition: conditions of the same windows.
        """
        self.config, self.real, self.condition = config, real, condition

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Return one step's loss."""
        size = self.config.optim.batch
        device = self.real.device
        chosen = torch.randint(len(self.real), (size,), generator=generator, device=device)
        share = torch.rand(size, generator=generator, device=device)
        eps = torch.randn(size, self.real.shape[1], generator=generator, device=device)
        chosen, share, eps = shard.of(chosen), shard.of(share), shard.of(eps)
        width = math.log(HIGHEST / LOWEST)
        noise = (-0.5 * (math.log(LOWEST) + width * share)).exp()
        real = self.real[chosen]
        found = network(real + noise[:, None] * eps, self.condition[chosen], noise).float()
        error = ((found - real) / noise[:, None]).square()
        return {'loss': 0.5 * width * error.mean()}


@torch.no_grad()
def sample(
    denoiser: CoordinateDenoiser,
    condition: Tensor,
    config: CrossFitConfig,
    generator: torch.Generator,
) -> Tensor:
    """
    Sample one future for each history, by Heun's steps along the flow (EDM, algorithm 1).

    :param condition: ``(B, C)``.
    :param config: gives ``steps``.
    :param generator: source of randomness, on the histories' device.
    :returns: coordinates, ``(B, N)``.
    """
    device = condition.device
    fast = device.type == 'cuda' or cpu_has_fast_bf16()
    most, least = (ratio ** (-0.5 / BEND) for ratio in (LOWEST, HIGHEST))
    levels = torch.linspace(most, least, config.steps, device=device) ** BEND

    def slope(noisy: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            clean = denoiser(noisy, condition, noise.expand(len(noisy)))
        return (noisy - clean.float()) / noise

    shape = (len(condition), len(denoiser.unit))
    begin = (levels[0].square() + denoiser.unit.square()).sqrt()
    noisy = begin * torch.randn(shape, generator=generator, device=device)
    for noise, after in itertools.pairwise(levels):
        first, way = slope(noisy, noise), after - noise
        noisy = noisy + way * 0.5 * (first + slope(noisy + way * first, after))
    return noisy - levels[-1] * slope(noisy, levels[-1])


def share_out(person: Tensor, clip: Tensor, folds: int) -> Tensor:
    """
    Divide windows into folds of similar size; all windows of a person are in one fold.

    If there are fewer people than folds, all windows of a recording are in one fold.

    :param person: person of each window, ``(N,)``.
    :param clip: recording of each window, ``(N,)``.
    :param folds: number of folds, at least 2.
    :returns: fold of each window, ``(N,)``.
    :raises ConfigError: if there are fewer recordings than folds.
    """
    people, recordings = (len(of.unique()) for of in (person, clip))
    if recordings < folds:
        raise ConfigError(
            f'moe.cross_fit.folds={folds}: only {recordings} recordings with whole windows; '
            'take fewer folds, or 0 for samples of the one-step teacher'
        )
    groups = (person if people >= folds else clip).unique(return_inverse=True)[1]
    counts = groups.bincount()
    filled = torch.zeros(folds, dtype=counts.dtype)
    fold_of = torch.zeros(len(counts), dtype=torch.int64)
    for group in counts.argsort(descending=True, stable=True).tolist():
        least = int(filled.argmin())
        fold_of[group] = least
        filled[least] += counts[group].cpu()
    return fold_of.to(groups.device)[groups]


def cross_fitted_samples(
    config: CrossFitConfig,
    real: Tensor,
    condition: Tensor,
    fold: Tensor,
    *,
    seed: int,
    kept: Path,
    folder: Path,
) -> Tensor:
    """
    Train a diffusion model without each fold and sample that fold's futures, or read them.

    :param config: sizes, steps and the number of samples per window, M.
    :param real: coordinates of the windows, ``(N, V)``, on the device to train on.
    :param condition: conditions of the same windows, ``(N, ...)``.
    :param fold: fold of each window, ``(N,)``.
    :param seed: seed of the whole run.
    :param kept: folder for the file.
    :param folder: folder of this part, for checkpoints.
    :returns: coordinates, half precision, ``(M, N, V)``.
    """
    facts = hashlib.sha256(json.dumps([as_plain(config), seed, list(real.shape)]).encode())
    for values in (condition.half(), fold):
        facts.update(values.cpu().numpy().tobytes())
    path = kept / f'futures_{facts.hexdigest()[:12]}.safetensors'
    asked = real[:: max(1, len(real) // ASKED)].cpu().contiguous()
    if path.is_file():
        read = load_file(path)  # the bits of the coordinates depend on the number of threads
        if torch.allclose(read['asked'], asked, atol=0.01 * float(asked.std())):
            return read['futures'].to(real.device)
    condition = condition.flatten(1)
    futures = torch.zeros(config.samples, *real.shape, dtype=torch.float16, device=real.device)
    for number in range(config.folds):
        held = (fold == number).nonzero().squeeze(1)
        known = (fold != number).nonzero().squeeze(1)
        torch.manual_seed(seed + number)
        begun = CoordinateDenoiser(condition.shape[1], real[known].std(dim=0), config)
        averaged = fit(
            begun,
            DenoisingLoss(config, real[known], condition[known]),
            optim_of(config.optim),
            folder / f'fold_{number}',
            seed=seed + number,
            title=f'diffusion without fold {number + 1} of {config.folds}',
            device=real.device.type,
        )
        assert isinstance(averaged, CoordinateDenoiser)
        generator = torch.Generator(real.device).manual_seed(seed * 1_000_003 + number)
        parts = [(m, rows) for m in range(config.samples) for rows in held.split(PASS)]
        for m, rows in tqdm(parts, desc=f'sample fold {number + 1}', unit='pass'):
            futures[m, rows] = sample(averaged, condition[rows], config, generator).half()
    with written_whole(path) as partial:
        save_file({'futures': futures.cpu(), 'asked': asked}, partial)
    return futures
