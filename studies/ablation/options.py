# SPDX-License-Identifier: Apache-2.0
"""The options of the ablations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AblationOptions:
    """The options of every ablation."""

    preset: Literal['debug', 'small', 'balance', 'full'] = 'small'
    """Base settings and budget."""
    rows: tuple[str, ...] = ()
    """Run only these rows; the default is all, see --dry-run."""
    seeds: int = 2
    """Trainings per row."""
    data: tuple[Path, ...] = ()
    """Recordings to train on; the default is train.npz of every set."""
    scored: tuple[Path, ...] = ()
    """Recordings to score on; the default is val.npz, for SwiftDiff also test.npz, beside each of
    --data."""
    run: Path
    """Folder for rows and their weights."""
    device: Literal['cpu', 'cuda'] = 'cpu'
    """Device for training, scoring and timing."""
    json: Path | None = None
    """File for the results of all finished rows."""
    dry_run: bool = False
    """Print the rows and the budget, and stop."""
    quiet: bool = False
    """Show no progress bars."""


@dataclass(frozen=True, kw_only=True)
class StageOptions(AblationOptions):
    """The options of the ablation of a stage: its budget, which is the preset's by default."""

    steps: int | None = None
    """Steps of a training."""
    batch: int | None = None
    """Windows per step."""
    pool: int | None = None
    """Number of windows drawn."""
    limit: int | None = None
    """Number of scored windows of each file."""
    samples: int | None = None
    """Futures per window."""


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(StageOptions):
    """The options of ``ablate-mixture``."""

    run: Path = Path('runs/ablate_mixture')
    """Folder for rows and their weights."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(StageOptions):
    """The options of ``ablate-teacher``."""

    run: Path = Path('runs/ablate_teacher')
    """Folder for rows and their weights."""
    ddim_steps: int | None = None
    """Sampling steps."""


@dataclass(frozen=True, kw_only=True)
class SwiftDiffOptions(AblationOptions):
    """The options of ``ablate``; numbers are the preset's by default."""

    run: Path = Path('runs/ablate')
    """Folder for rows and their weights."""
    teacher: Path = Path('resource/weights/teacher.safetensors')
    """The diffusion teacher."""
    one_step: Path = Path('resource/weights/one_step.safetensors')
    """The one-step teacher."""
    shipped: Path | None = None
    """A student of full length, scored on the same windows beside the rows."""
    windows: int | None = None
    """Windows in the training of a row."""
    pool: int | None = None
    """Number of windows drawn."""
    pairs: int | None = None
    """Number of noises with a fixed target."""
    limit: int | None = None
    """Number of scored windows of each file."""
    repetitions: int | None = None
    """Calls per latency."""
    as_varied: bool = False
    """Score students at the temperature at which they vary as the diffusion teacher does on val;
    trainings of a few hundred steps cannot reach this."""
    no_times: bool = False
    """Measure no times."""
    finished: bool = False
    """Train nothing and use the finished rows."""
