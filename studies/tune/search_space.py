# SPDX-License-Identifier: Apache-2.0
"""The search space of SwiftDiff's stage 2, its budget, and the rule that ends a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

import numpy as np

from motion_predictor.errors import ConfigError
from studies.common.inputs import within
from studies.common.students import shortened
from studies.tune.options import TuneOptions
from training.engine.config import ChainConfig
from training.engine.overrides import override

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One setting of stage 2 that is searched."""

    name: str
    """Name below ``swiftdiff``, as ``--set`` takes it."""
    low: float
    high: float
    log: bool = False
    step: int = 0
    """Distance of whole numbers; 0: any number."""
    why: str

    def suggest(self, trial: BaseTrial) -> float | int:
        """Ask a trial for a value."""
        if self.step:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=self.step)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a trial, and the rule that ends it early."""

    windows: int
    """Windows in a trial; the number of steps is this over the batch."""
    pool: int
    """Number of augmented windows drawn, the same for all trials."""
    pairs: int
    """Number of noises with the diffusion teacher's end points, if the base settings need them."""
    rungs: tuple[float, ...]
    """Shares of a trial after which its error is checked."""
    keep: float = 0.5
    """A trial continues if it is among this best share of the trials that are no slower."""
    fewest: int = 4
    """Least number of other trials to compare it with."""
    startup: int = 6
    """Trials before the Gaussian process is used: the default settings, then random ones."""
    limit: int
    """Number of scored windows of each file, evenly spread."""
    samples: int = 50
    enough: float = 0.9
    """A trial faster than this share of the default's time is reported to the sampler with this
    time, because otherwise the search pursues speed that nobody needs."""
    repetitions: int = 40
    """Calls per latency."""


def budget(name: str) -> Budget:
    """Return the budget of a preset."""
    if name == 'debug':
        return Budget(
            windows=64, pool=64, pairs=8, rungs=(0.5,), limit=4, samples=4, repetitions=3
        )
    if name == 'full':
        return Budget(windows=1 << 20, pool=1 << 18, pairs=1 << 16, rungs=(0.25, 0.5), limit=400)
    return Budget(windows=128_000, pool=32_768, pairs=16_384, rungs=(0.4,), limit=80)


def space(name: str) -> tuple[Dimension, ...]:
    """
    Return the search space of a preset.

    The following is fixed: ``real`` = 1, because the other weights are relative to it (Adam
    ignores a factor on all of them); the number of samples S, which determines the cost of a step
    more than anything else; t* and the prediction, which ``studies ablate`` measures; the
    augmentation, because all trials share one pool; dropout and weight decay, because such short
    trainings do not overfit and cannot tell.
    """
    teachers: tuple[Dimension, ...] = (
        Dimension(
            name='match_ddim', low=0.03, high=3.0, log=True,
            why="the diffusion teacher's weight beside the data",
        ),
    )  # fmt: skip
    if name == 'full':
        teachers = ()  # the paper's choice: the one-step teacher alone
    return (
        *_sizes(name),
        *teachers,
        Dimension(
            name='optim.learning_rate', low=3e-4, high=1e-2, log=True, why='matters most, mostly'
        ),
        Dimension(
            name='match', low=0.03, high=3.0, log=True,
            why="the one-step teacher's weight beside the data",
        ),
        Dimension(
            name='spread', low=0.0, high=1.0, why='variety against the best sample'
        ),
    )  # fmt: skip


def _sizes(name: str) -> tuple[Dimension, ...]:
    """Return the sizes of the network, and of the batch."""
    if name == 'debug':
        return (
            Dimension(name='model.denoiser.width', low=16, high=48, step=16, why='size'),
            Dimension(name='model.denoiser.depth', low=1, high=3, step=1, why='size'),
            Dimension(name='optim.batch', low=4, high=8, step=4, why='noise of the gradient'),
        )
    if name == 'full':
        return (
            Dimension(name='model.denoiser.width', low=256, high=1024, step=128, why='size'),
            Dimension(name='model.denoiser.depth', low=4, high=16, step=2, why='size'),
            Dimension(name='optim.batch', low=64, high=512, step=64, why='noise of the gradient'),
        )
    return (
        Dimension(
            name='model.denoiser.width', low=128, high=448, step=64,
            why="the samples' branch: cost grows with S",
        ),
        Dimension(name='model.denoiser.depth', low=1, high=5, step=1, why='likewise'),
        Dimension(
            name='model.denoiser.condition_width', low=192, high=576, step=64,
            why="the history's branch: cost once a person",
        ),
        Dimension(
            name='model.denoiser.condition_depth', low=1, high=4, step=1, why='likewise'
        ),
        Dimension(
            name='optim.batch', low=32, high=128, step=32,
            why='against the number of steps: the windows of a trial are fixed',
        ),
    )  # fmt: skip


def setting_of(settings: Any, name: str) -> Any:
    """Return the value of a dotted setting."""
    for part in name.split('.'):
        settings = getattr(settings, part)
    return settings


def default_of(base: ChainConfig, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """
    Return the preset's own settings as a point of the space.

    :raises ConfigError: if a value lies outside of the space.
    """
    point = {one.name: setting_of(base.swiftdiff, one.name) for one in dimensions}
    for one in dimensions:
        value = point[one.name]
        on_grid = not one.step or (value - one.low) % one.step == 0
        if not (one.low <= value <= one.high and on_grid):
            raise ConfigError(
                f'swiftdiff.{one.name}={value}: the default lies outside of the search space '
                f'{one.low}..{one.high}{f" by {one.step}" if one.step else ""}'
            )
    return point


def suggest(
    trial: BaseTrial, base: ChainConfig, dimensions: Sequence[Dimension], limits: Budget
) -> ChainConfig:
    """
    Return the settings of a trial.

    :param trial: the trial.
    :param base: settings of the preset.
    :param dimensions: the space.
    :param limits: the budget.
    :returns: settings with the budget of a trial.
    """
    return at_point(base, {one.name: one.suggest(trial) for one in dimensions}, limits)


def at_point(base: ChainConfig, point: Mapping[str, Any], limits: Budget | None) -> ChainConfig:
    """
    Return the settings with stage 2 at a point of the space.

    :param base: settings of the preset.
    :param point: the point.
    :param limits: budget of a trial; None for as many windows as the preset's own full training.
    """
    optim = base.swiftdiff.optim
    texts = {f'swiftdiff.{name}': str(value) for name, value in point.items()}
    chain = override(base, texts)
    if limits is not None:
        return shortened(chain, limits.windows, limits.pool)
    steps = max(1, round(optim.steps * optim.batch / chain.swiftdiff.optim.batch))
    return override(chain, {'swiftdiff.optim.steps': str(steps)})


def falls_behind(
    error: float, latency_ms: float, others: Sequence[tuple[float, float]], limits: Budget
) -> bool:
    """
    Return whether a trial is given up at a rung: successive halving along the front.

    Optuna prunes by one objective alone. The latency is known before training, so a trial is
    compared with those that are no slower: a small network is not given up for the error of a
    large one.

    :param error: error at this rung.
    :param latency_ms: latency of the trial.
    :param others: error at this rung and latency of the study's other trials that reached it.
    :param limits: the budget.
    """
    rivals = [theirs for theirs, ms in others if ms <= 1.02 * latency_ms]
    if len(rivals) < limits.fewest:
        return False
    better = sum(theirs <= error for theirs in rivals)
    return better >= limits.keep * len(rivals)


def extrapolated(error: float, number: int, finished: Sequence[Sequence[float]]) -> float:
    """
    Return the estimated final error of a trial that was given up at a rung.

    :param error: error at that rung.
    :param number: number of the rung.
    :param finished: errors of complete trials: at every rung, then the last.
    :returns: the error times the median of their ratios; the error itself if no trial is complete.
    """
    ratios = [errors[-1] / errors[number] for errors in finished if len(errors) > number + 1]
    return error * (float(np.median(ratios)) if ratios else 1.0)


def limits_of(options: TuneOptions) -> Budget:
    """Return the preset's budget with the changes of the command line."""
    return within(budget(options.preset), options)
