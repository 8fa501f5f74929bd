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
    """These alone; all by default, see --dry-run."""
    seeds: int = 2
    """Trainings a row."""
    data: tuple[Path, ...] = ()
    """To train on; train.npz of every set by default."""
    scored: tuple[Path, ...] = ()
    """By default the val.npz, of SwiftDiff the test.npz too, beside each of --data."""
    run: Path
    """Rows and their weights."""
    device: Literal['cpu', 'cuda'] = 'cpu'
    """To train and to score or time on."""
    json: Path | None = None
    """Write the results of all finished rows."""
    dry_run: bool = False
    """Print the rows and the budget, and stop."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True, kw_only=True)
class StageOptions(AblationOptions):
    """The options of the ablation of a stage: its budget, by default the preset's."""

    steps: int | None = None
    """Of a training."""
    batch: int | None = None
    """Windows a step."""
    pool: int | None = None
    """Windows drawn."""
    limit: int | None = None
    """Windows of each file that are scored."""
    samples: int | None = None
    """Futures of each."""


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(StageOptions):
    """The options of ``ablate-mixture``."""

    run: Path = Path('runs/ablate_mixture')
    """Rows and their weights."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(StageOptions):
    """The options of ``ablate-teacher``."""

    run: Path = Path('runs/ablate_teacher')
    """Rows and their weights."""
    ddim_steps: int | None = None
    """Of sampling."""


@dataclass(frozen=True, kw_only=True)
class SwiftDiffOptions(AblationOptions):
    """The options of ``ablate``; numbers are the preset's by default."""

    run: Path = Path('runs/ablate')
    """Rows and their weights."""
    teacher: Path = Path('resource/weights/teacher.safetensors')
    """The diffusion teacher."""
    one_step: Path = Path('resource/weights/one_step.safetensors')
    """The one-step teacher."""
    shipped: Path | None = None
    """A student of full length, scored on the same windows beside the rows."""
    windows: int | None = None
    """That a row looks at."""
    pool: int | None = None
    """Windows drawn."""
    pairs: int | None = None
    """Noises with a fixed target."""
    limit: int | None = None
    """Windows of each file that are scored."""
    repetitions: int | None = None
    """Calls behind a latency."""
    as_varied: bool = False
    """Score students at the temperature at which they vary as the diffusion teacher does on val;
    trainings of a few hundred steps cannot be brought there."""
    no_times: bool = False
    """Time nothing."""
    finished: bool = False
    """Train nothing, take what is finished."""
