# SPDX-License-Identifier: Apache-2.0
"""Short fine-tunings on synthetic walks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from random_models import walking

from motion_predictor.model.config import WindowConfig
from training.stages.adapt.settings import FinetuneConfig

WINDOW = WindowConfig()


QUICK = FinetuneConfig(
    steps=30, batch=8, samples=4, matched=1, every=10, pool=64, learning_rate=3e-3, stay=0.0
)


def walks(count: int, seconds: float = 12.0) -> list[np.ndarray]:
    return [walking(round(50 * seconds), seed) for seed in range(count)]


def command(tmp_path: Path, recording: Path, weights: Path, *more: str) -> list[str]:
    return [
        '--recording', str(recording), '--weights', str(weights), '--quiet', '--steps', '20',
        '--batch', '8', '--samples', '4', '--stay', '0', '--learning-rate', '3e-3',
        '--out', str(tmp_path / 'mine.safetensors'), *more,
    ]  # fmt: skip
