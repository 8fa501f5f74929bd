"""The options of ``studies tune``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The options of ``tune``."""

    preset: Literal['debug', 'small', 'balance', 'full'] = 'small'
    """Base settings, space and budget."""
    sampler: tuple[Literal['gp', 'random'], ...] = ('gp',)
    """A study each; random is the control."""
    trials: int = 20
    """Trials that the study ends with, pruned ones among them."""
    data: tuple[Path, ...] = ()
    """To train on; train.npz of every set by default, as train swiftdiff."""
    val: tuple[Path, ...] = ()
    """To choose by; val.npz beside each of --data by default."""
    teacher: Path = Path('resource/weights/teacher.safetensors')
    """The diffusion teacher."""
    one_step: Path = Path('resource/weights/one_step.safetensors')
    """The one-step teacher."""
    run: Path = Path('runs/tune')
    """Journal, trials and their weights."""
    storage: str | None = None
    """Of the studies: a path or an URL; RUN/journal.log by default."""
    seed: int = 0
    """Of the samplers and trainings."""
    device: Literal['cpu', 'cuda'] = 'cpu'
    """To train and to time on."""
    windows: int | None = None
    """That a trial looks at; this and the next five are the preset's by default."""
    pool: int | None = None
    """Windows drawn."""
    pairs: int | None = None
    """Noises with the diffusion teacher's end points."""
    limit: int | None = None
    """Windows of each file that are scored in a trial."""
    startup: int | None = None
    """Trials before the Gaussian process is asked."""
    repetitions: int | None = None
    """Calls behind a latency."""
    balance: float = 0.7
    """Share of swiftdiff's time for swiftdiff_balance."""
    confirm: int | None = None
    """Train default and best again, with so many fresh seeds."""
    confirm_limit: int | None = None
    """Windows of each file that are then scored; all by default."""
    report: Path | None = None
    """Write what was found, and its figures."""
    export: bool = False
    """Print the settings off the front."""
    dry_run: bool = False
    """Print space and budget, and stop."""
    quiet: bool = False
    """No progress bars."""
