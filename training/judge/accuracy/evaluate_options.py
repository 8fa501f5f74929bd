"""What ``evaluate`` can be told."""

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


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What ``evaluate`` can be told."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    weights: tuple[Path, ...] = ()
    """Weights files; none: the baselines alone."""
    data: tuple[Path, ...]
    """Stores, recordings in the cmu17 format, or bags (rosbag2)."""
    skeleton: Path | None = None
    """Skeleton file of recordings that are no person; stores know their own."""
    neighbours: tuple[Path, ...] = ()
    """Training recordings: also score what followed their most alike moments."""
    json: Path
    """Where to write the results."""
    samples: int = 50
    """Futures a window."""
    seed: int = 0
    """Of the noise."""
    ddim_steps: int = 100
    """Steps of a many-step teacher."""
    batch: int | None = None
    """Windows in one call (default 20, with CUDA 160)."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """CUDA where there is one, by default."""
    engine: str = 'auto'
    """Of one-step models, as Predictor.load takes it."""
    limit: int | None = None
    """Score N windows of each file, spread evenly: rough figures, soon."""
    tracker_noise: float = 0.0
    """Deviation of white noise on every observed joint, metres; what then happens is scored
    without it."""
    plots: Path | None = None
    """Draw the error over the horizon into this folder."""
    runs: Path = Path('runs/evaluate')
    """Predicted futures are kept here."""
    take_over: Path | None = None
    """Rows of the same weights, data and settings from this earlier evaluation, not predicted
    again; weights that are not at hand are looked for by name."""
    fresh: bool = False
    """Predict again what the run folder already holds."""
    dry_run: bool = False
    """Say what would be done, and how much."""
    quiet: bool = False
    """No progress bars."""


def given_skeleton(options: EvaluateOptions) -> Skeleton | None:
    """
    Read the skeleton file that was named, if any.

    :raises SkeletonError: if it cannot be read.
    """
    return read_skeleton(options.skeleton) if options.skeleton else None


def check(options: EvaluateOptions) -> None:
    """
    Check what is asked for.

    :raises ConfigError: on options that cannot be used.
    """
    for name in ('samples', 'ddim_steps', 'batch'):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: must be at least 1')
    if not 0.0 <= options.tracker_noise <= 1.0:
        raise ConfigError(f'--tracker-noise {options.tracker_noise}: must lie in 0..1 metres')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    if not options.data:
        raise ConfigError('--data: name at least one file of recordings')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no CUDA device here; use cpu')
