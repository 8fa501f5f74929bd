# SPDX-License-Identifier: Apache-2.0
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
    """Samplers, one study each; random is the control."""
    trials: int = 20
    """Number of trials of the study, pruned ones included."""
    data: tuple[Path, ...] = ()
    """Recordings to train on; the default is train.npz of every set, as for train swiftdiff."""
    val: tuple[Path, ...] = ()
    """Recordings to choose by; the default is val.npz beside each of --data."""
    teacher: Path = Path('resource/weights/teacher.safetensors')
    """The diffusion teacher."""
    one_step: Path = Path('resource/weights/one_step.safetensors')
    """The one-step teacher."""
    run: Path = Path('runs/tune')
    """Folder for journal, trials and their weights."""
    storage: str | None = None
    """Storage of the studies: a path or a URL; the default is RUN/journal.log."""
    seed: int = 0
    """Seed of the samplers and trainings."""
    device: Literal['cpu', 'cuda'] = 'cpu'
    """Device for training and timing."""
    windows: int | None = None
    """Windows in a trial; this and the next five are the preset's by default."""
    pool: int | None = None
    """Number of windows drawn."""
    pairs: int | None = None
    """Number of noises with the diffusion teacher's end points."""
    limit: int | None = None
    """Number of scored windows of each file in a trial."""
    startup: int | None = None
    """Trials before the Gaussian process is used."""
    repetitions: int | None = None
    """Calls per latency."""
    balance: float = 0.7
    """Share of swiftdiff's time for swiftdiff_balance."""
    confirm: int | None = None
    """Train default and best again with this number of fresh seeds."""
    confirm_limit: int | None = None
    """Number of windows of each file scored then; the default is all."""
    report: Path | None = None
    """File for the results; plots go beside it."""
    export: bool = False
    """Print the settings on the front."""
    dry_run: bool = False
    """Print space and budget, and stop."""
    quiet: bool = False
    """Show no progress bars."""
