# SPDX-License-Identifier: Apache-2.0
"""Settings for adapting a student to a recording, and the options of the verb."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from motion_predictor.errors import ConfigError
from training.data.bags import BagOptions


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings for adapting a student."""

    steps: int = 400
    """Greatest number of steps; it ends when validation stops improving."""
    batch: int = 16
    samples: int = 10
    """Number of noises per window; the best sample is compared with the real future."""
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    ema: float = 0.95
    stay: float = 1.0
    """Weight of the mean square distance from the original student's futures, square metres per
    frame; 0 leaves it out."""
    matched: int = 2
    """Number of noises per window for which this distance is computed."""
    root: float = 0.5
    """Weight of the root's path beside the pose."""
    frame_stride: int = 4
    every: int = 40
    """Number of steps between validations."""
    patience: int = 3
    """Number of validations without improvement before it stops."""
    pool: int = 2048
    """Number of varied windows that are drawn once."""
    hold_back: str = 'end'
    """'end': the last part of every clip; 'clips': whole clips."""
    test_share: float = 0.25
    val_share: float = 0.15
    scored_samples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('steps', 'batch', 'samples', 'every', 'patience', 'pool', 'scored_samples'):
            if getattr(self, name) < 1:
                raise ConfigError(f'{name}={getattr(self, name)}: must be at least 1')
        if not 1 <= self.matched <= self.samples:
            raise ConfigError(f'matched={self.matched}: must lie in 1..{self.samples} (samples)')
        if self.hold_back not in ('end', 'clips'):
            raise ConfigError(f'hold_back={self.hold_back!r}: must be end or clips')
        if min(self.stay, self.root) < 0.0 or not self.learning_rate > 0.0:
            raise ConfigError(
                f'stay={self.stay}, root={self.root}, learning_rate={self.learning_rate}: '
                'must not be negative'
            )
        shares = self.test_share, self.val_share
        if min(shares) <= 0.0 or sum(shares) >= 0.9:
            raise ConfigError(f'shares {shares}: must be positive and leave a tenth to learn from')


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Options of ``finetune``."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    recording: tuple[Path, ...]
    """A rosbag2, .bvh or a folder of them, .npz (cmu17 format), or a store."""
    weights: Path
    """Student to begin from."""
    out: Path
    """Weights file to write; its card goes beside it."""
    hold_back: Literal['end', 'clips'] = 'end'
    """Part to hold back: the end of every clip, or whole clips."""
    steps: int = FinetuneConfig.steps
    """Greatest number of steps."""
    batch: int = FinetuneConfig.batch
    """Windows per step."""
    samples: int = FinetuneConfig.samples
    """Futures per window."""
    learning_rate: float = FinetuneConfig.learning_rate
    stay: float = FinetuneConfig.stay
    """How strongly it stays near the original."""
    seed: int = 0
    """Seed of windows and noise."""
    mapping: Path | None = None
    """For BVH: mapping file."""
    up: str = ''
    """For BVH: vertical axis: x, y, z, or --up=-z; the default judges it by people's motion."""
    recorded_rate: float = 0.0
    """For BVH: frames per second instead of the files' own."""
    also: tuple[Path, ...] = ()
    """Also score these before and after, to see what is lost elsewhere."""
    keep_anyway: bool = False
    """Write the weights even if they got worse."""
    json: Path | None = None
    """File for the figures."""
    report: Path | None = None
    """File for a page of the figures."""
    dry_run: bool = False
    """Print what would be held back, and the settings."""
    quiet: bool = False
    """Show no progress bar."""
