"""How a student is adapted to a recording, and what the verb can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from motion_predictor.errors import ConfigError
from training.data.bags import BagOptions


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How a student is adapted."""

    steps: int = 400
    """At most; it ends when validation gets no better."""
    batch: int = 16
    samples: int = 10
    """Noises drawn for each window; the best of them meets the real future."""
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    ema: float = 0.95
    stay: float = 1.0
    """Weight of the mean square distance from the original student's futures, square metres a
    frame; 0 lets go of it."""
    matched: int = 2
    """Noises of each window that this distance is taken at."""
    root: float = 0.5
    """Weight of the root's path beside the pose."""
    frame_stride: int = 4
    every: int = 40
    """Steps from one validation to the next."""
    patience: int = 3
    """Validations without a better one before it stops."""
    pool: int = 2048
    """Varied windows that are drawn once."""
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
    """What ``finetune`` can be told."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    recording: tuple[Path, ...]
    """A rosbag2, .bvh or a folder of them, .npz (cmu17 format), or a store."""
    weights: Path
    """Student to begin with."""
    out: Path
    """Weights file to write; its card goes beside it."""
    hold_back: Literal['end', 'clips'] = 'end'
    """The end of every clip, or whole clips."""
    steps: int = FinetuneConfig.steps
    """At most."""
    batch: int = FinetuneConfig.batch
    """Windows a step."""
    samples: int = FinetuneConfig.samples
    """Futures tried for each window."""
    learning_rate: float = FinetuneConfig.learning_rate
    stay: float = FinetuneConfig.stay
    """How much it stays near the original."""
    seed: int = 0
    """Of windows and noise."""
    mapping: Path | None = None
    """Of BVH: mapping file."""
    up: str = ''
    """Of BVH: vertical axis: x, y, z, or --up=-z; judged by people's motion by default."""
    recorded_rate: float = 0.0
    """Of BVH: frames per second in place of the files' own."""
    also: tuple[Path, ...] = ()
    """Score this before and after, too: what is lost elsewhere."""
    keep_anyway: bool = False
    """Write weights even if they got worse."""
    json: Path | None = None
    """Write the figures."""
    report: Path | None = None
    """Write them as a page."""
    dry_run: bool = False
    """Say what would be held back, and the settings."""
    quiet: bool = False
    """No progress bar."""
