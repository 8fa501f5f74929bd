# SPDX-License-Identifier: Apache-2.0
"""Options of ``benchmark``, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.weights import weights_folders
from motion_predictor.predict.device import cpu_has_fast_bf16


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of ``benchmark``."""

    weights: tuple[Path, ...] = field(default_factory=lambda: shipped_weights())
    """Weights files; the default is all shipped ones."""
    json: Path
    """File for the results."""
    persons: tuple[int, ...] = (1, 2, 4, 10)
    samples: int = 50
    """Futures per person."""
    threads: tuple[int, ...] = (1, 2)
    engines: tuple[Literal['auto', 'fp32', 'bf16', 'onnx'], ...] = ()
    """Engines of the one-step models; the default is fp32, and bf16 where that is fast."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    ddim_steps: int = 100
    """Sampling steps of the teacher."""
    repetitions: int = 200
    """Repetitions of each call."""
    budget_s: float = 10.0
    """Time for the repetitions of a slow call, of which there are at least three."""
    paper_size: bool = True
    """Also time SwiftDiff of the published size, with random weights."""
    networks: bool = False
    """Also time the networks of one-step models alone: from the embedded history to the states,
    without decoding."""
    node_seconds: float = 20.0
    """Duration of the measurement of each one-step model in the node over DDS; 0 leaves it out."""
    crowd: tuple[int, ...] = (1, 3, 10, 30)
    """Numbers of people with whom every stage of a frame is timed in the node over DDS."""
    crowd_seconds: float = 10.0
    """Seconds for each number of people, twice; 0 skips this."""
    weighing_minutes: float = 60.0
    """Largest memory with which weighing is timed, in minutes of one person; 0 leaves weighing
    out."""
    plots: Path | None = None
    """Folder for plots of the times."""
    dry_run: bool = False
    """Print what would be timed."""
    quiet: bool = False
    """Show no progress bar."""


def shipped_weights() -> tuple[Path, ...]:
    """Return the weights files that come with the package, in the order of their names."""
    folders = weights_folders()[:1]
    return tuple(sorted(path for folder in folders for path in folder.glob('*.safetensors')))


def fast_engines(device: str) -> tuple[Literal['fp32', 'bf16'], ...]:
    """Return the engines worth timing: without hardware for it, bfloat16 is far slower."""
    on_cuda = device != 'cpu' and torch.cuda.is_available()
    fast = torch.cuda.is_bf16_supported() if on_cuda else cpu_has_fast_bf16()
    return ('fp32', 'bf16') if fast else ('fp32',)


def checked(options: BenchmarkOptions) -> BenchmarkOptions:
    """
    Return the options with the engines that are timed.

    :raises ConfigError: if options cannot be used.
    """
    for name in ('samples', 'ddim_steps', 'repetitions'):
        if getattr(options, name) < 1:
            raise ConfigError(
                f'--{name.replace("_", "-")} {getattr(options, name)}: must be at least 1'
            )
    for name in ('threads', 'persons'):
        if min(getattr(options, name)) < 1:
            raise ConfigError(f'--{name} {min(getattr(options, name))}: must be at least 1')
    if options.crowd and min(options.crowd) < 1:
        raise ConfigError(f'--crowd {min(options.crowd)}: must be at least 1')
    if not options.weights and not options.paper_size:
        raise ConfigError('--weights: no weights file given, and none is shipped')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no CUDA device here; use cpu')
    return options if options.engines else replace(options, engines=fast_engines(options.device))
