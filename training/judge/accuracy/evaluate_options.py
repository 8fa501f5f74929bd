# SPDX-License-Identifier: Apache-2.0
"""Options of ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import ConfigError
from training.data.bags import BagOptions
from training.judge.hiding import Hidden


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of ``evaluate``."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    weights: tuple[Path, ...] = ()
    """Weights files; without any, only the baselines are scored."""
    data: tuple[Path, ...]
    """Stores, recordings in the cmu17 format, or bags (rosbag2)."""
    skeleton: Path | None = None
    """Skeleton file, for recordings of bodies that are not people; stores state their own."""
    neighbours: tuple[Path, ...] = ()
    """Training recordings: also score the futures of their most similar moments."""
    json: Path
    """File for the results."""
    samples: int = 50
    """Futures per window."""
    seed: int = 0
    """Seed of the noise."""
    ddim_steps: int = 100
    """Sampling steps of a teacher."""
    batch: int | None = None
    """Windows per call (default 20, with CUDA 160)."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device; the default takes CUDA if there is one."""
    engine: str = 'auto'
    """Engine of one-step models, as Predictor.load takes it."""
    limit: int | None = None
    """Score N windows of each file, evenly spread: rough figures in a short time."""
    tracker_noise: float = 0.0
    """Standard deviation of white noise on every observed joint, metres; futures are compared with
    the motion without noise."""
    hidden: tuple[Hidden, ...] = ()
    """Hide these parts of the body and judge the joints that are seen alone, beside the same with
    all seen; nothing else is scored then."""
    plots: Path | None = None
    """Folder for plots of the error over the horizon."""
    runs: Path = Path('runs/evaluate')
    """Folder that keeps predicted futures."""
    take_over: Path | None = None
    """Earlier evaluation whose rows of the same weights, data and settings are not predicted
    again; weights that are not available are found by name."""
    fresh: bool = False
    """Predict again what the run folder already holds."""
    dry_run: bool = False
    """Print what would be done, and how much."""
    quiet: bool = False
    """Show no progress bars."""


def given_skeleton(options: EvaluateOptions) -> Skeleton | None:
    """
    Return the skeleton of the named file, if any.

    :raises SkeletonError: if it cannot be read.
    """
    return read_skeleton(options.skeleton) if options.skeleton else None


def check(options: EvaluateOptions) -> None:
    """
    Check the options.

    :raises ConfigError: if options cannot be used.
    """
    for name in ('samples', 'ddim_steps', 'batch'):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: must be at least 1')
    if not 0.0 <= options.tracker_noise <= 1.0:
        raise ConfigError(f'--tracker-noise {options.tracker_noise}: must lie in 0..1 metres')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    if options.hidden and (not options.weights or options.take_over or options.neighbours):
        raise ConfigError(
            '--hidden: judges weights alone; name --weights, and neither --take-over nor '
            '--neighbours'
        )
    if not options.data:
        raise ConfigError('--data: name at least one file of recordings')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no CUDA device here; use cpu')
