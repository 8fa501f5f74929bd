# SPDX-License-Identifier: Apache-2.0
"""The models that are scored (weights files and baselines), and their common window and joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weights import file_digest, load_weights
from training.common import provenance
from training.engine.diffusion import Sampler
from training.judge.accuracy.evaluate_options import EvaluateOptions
from training.judge.scoring import (
    DataFile,
)

FORMAT = 'motion_predictor evaluation'
VERSION = 1


@dataclass(frozen=True)
class Model:
    """One row of the tables: a weights file, or a baseline."""

    name: str
    label: str
    role: str
    path: Path | None
    sha256: str | None
    parameters: int
    window: WindowConfig
    card: Mapping[str, Any]
    skeleton: Skeleton = H36M17


def describe_weights(path: Path, ddim_steps: int) -> Model:
    """
    Return the facts that a weights file states about itself.

    :raises WeightsError: if it cannot be read.
    """
    loaded = load_weights(path)
    config = loaded.model.config
    labels = {
        'teacher': f'teacher, DDIM {ddim_steps}',
        'one_step': 'one-step teacher',
        'swiftdiff': 'SwiftDiff',
        'moe': 'mixture of experts',
    }
    return Model(
        name=path.stem,
        label=labels[config.role],
        role=config.role,
        path=path,
        sha256=file_digest(path),
        parameters=sum(p.numel() for p in loaded.model.denoiser.parameters()),
        window=config.window,
        card=loaded.card,
        skeleton=loaded.model.skeleton,
    )


def given_models(options: EvaluateOptions) -> tuple[list[Model], WindowConfig]:
    """
    Return the weights that were named, and their common window.

    Weights that are no longer available are described by the earlier evaluation whose rows are
    taken over; they have no path.

    :raises MotionPredictorError: if a file cannot be read and the earlier evaluation does not know
        it.
    """
    at_hand = {
        path: describe_weights(path, options.ddim_steps)
        for path in options.weights
        if path.is_file() or not options.take_over
    }
    window = common_window(list(at_hand.values()))
    models = []
    for path in options.weights:
        if path in at_hand:
            models.append(at_hand[path])
            continue
        assert options.take_over is not None  # otherwise all weights would be available
        known = provenance.read_result(options.take_over, FORMAT, VERSION)['models']
        facts = {facts['model']: facts for facts in known if facts.get('sha256')}
        if path.stem not in facts:
            raise ConfigError(
                f'--weights {path}: no such file; {options.take_over} has rows of {sorted(facts)}'
            )
        said = {name: facts[path.stem][name] for name in ('label', 'role', 'sha256', 'parameters')}
        models.append(Model(name=path.stem, path=None, window=window, card={}, **said))
    return models, window


def check_skeletons(models: Sequence[Model], files: Sequence[DataFile]) -> Skeleton:
    """
    Return the common skeleton of models and recordings.

    :raises ConfigError: if a model predicts other joints than a file holds.
    """
    first = files[0].windows.skeleton
    for file in files:
        found = file.windows.skeleton
        if found.joints != first.joints:
            raise ConfigError(f'{file.path}: holds {found.name}, {files[0].path} {first.name}')
    for model in models:
        if model.path is not None and model.skeleton.joints != first.joints:
            raise ConfigError(
                f'{model.path}: predicts {model.skeleton.name}; the recordings hold {first.name}'
            )
    return first


def common_window(models: Sequence[Model]) -> WindowConfig:
    """
    Return the common window of all models.

    :raises ConfigError: if the models have different windows.
    """
    windows = [model.window for model in models] or [WindowConfig()]
    for model, window in zip(models, windows, strict=False):
        first = windows[0]
        if (window.rate_hz, window.observed_frames, window.future_frames) != (
            first.rate_hz,
            first.observed_frames,
            first.future_frames,
        ):
            raise ConfigError(
                f'{model.path}: window {window} differs from {models[0].path}: {first}; '
                'evaluate them in separate runs'
            )
    return windows[0]


def engine_of(sampler: Sampler) -> str:
    """Return the number format in which a sampler runs its network."""
    if sampler.predictor is not None:
        return sampler.predictor.engine
    dtype = next(sampler.model.denoiser.parameters()).dtype
    return 'bf16' if dtype == torch.bfloat16 else 'fp32'
