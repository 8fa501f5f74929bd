# SPDX-License-Identifier: Apache-2.0
"""Compare a student before and after, on windows that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.predictor import Predictor
from training.engine.diffusion import window_noise
from training.judge import metrics
from training.judge.scoring import bootstrap_interval

MEASURES = ('pose.ade', 'pose.fde', 'world.ade', 'world.fde', 'pose.apd')
TOLERANCE = 1e-9


def score(
    model: MotionModel, windows: NDArray[np.float32], samples: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """
    Score a student as it is deployed, on windows that it did not learn from.

    :param model: the student.
    :param windows: world metres, ``(N, T, J, 3)``.
    :param samples: number of samples.
    :param seed: seed of the samples.
    :returns: for each of :data:`MEASURES` its value for every window, metres, ``(N,)``.
    """
    past = model.config.window.observed_frames
    predictor = Predictor(model, {}, device='cpu', engine='auto')
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for first in range(0, len(windows), 20):
        last = min(first + 20, len(windows))
        observed, future = windows[first:last, :past], torch.from_numpy(windows[first:last, past:])
        noise = window_noise(model, seed, first, last - first, samples)
        futures = torch.from_numpy(predictor.predict(observed, noise=noise).futures)
        origin = torch.from_numpy(observed[:, -1, :1])  # (n, 1, 3): as in evaluate
        world = metrics.world_metrics(futures - origin[:, None, None], future - origin[:, None])
        pose = metrics.pose_metrics(metrics.root_relative(futures), metrics.root_relative(future))
        for name in MEASURES:
            part, measure = name.split('.')
            found[name].append((pose if part == 'pose' else world)[measure])
    return {name: torch.cat(values).double().numpy() for name, values in found.items()}


def compare(
    before: Mapping[str, NDArray[np.float64]],
    after: Mapping[str, NDArray[np.float64]],
    blocks: NDArray[np.int64],
) -> dict[str, dict[str, Any]]:
    """Return means before and after, and their ratio with its 95 % interval over blocks."""
    rows = {}
    for name in MEASURES:
        ratio = after[name].mean() / max(before[name].mean(), TOLERANCE)
        low, high = bootstrap_interval(after[name], np.maximum(before[name], TOLERANCE), blocks)
        rows[name] = {
            'before': round(float(before[name].mean()), 4),
            'after': round(float(after[name].mean()), 4),
            'ratio': round(float(ratio), 4),
            'interval95': [round(low, 4), round(high, 4)],
        }
    return rows


def got_worse(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the errors (ADE, of pose and in the world) that are larger than before."""
    return [name for name in ('pose.ade', 'world.ade') if rows[name]['ratio'] > 1.0]


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a comparison as a Markdown table that is also readable as plain text."""
    names = {
        'pose.ade': 'ADE',
        'pose.fde': 'FDE',
        'world.ade': 'world ADE',
        'world.fde': 'world FDE',
        'pose.apd': 'APD (variety)',
    }
    lines = ['| metres | before | after | after / before | 95 % |', '|---|---|---|---|---|']
    for name, row in rows.items():
        low, high = row['interval95']
        lines.append(
            f'| {names[name]} | {row["before"]:.3f} | {row["after"]:.3f} | {row["ratio"]:.3f} '
            f'| {low:.3f} to {high:.3f} |'
        )
    return '\n'.join(lines)
