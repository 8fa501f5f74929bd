# SPDX-License-Identifier: Apache-2.0
"""Verdicts on claims by the seeds of two rows, and formatting for the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TEMPLATES = Path(__file__).parents[1] / 'templates'
"""Folder of the studies' templates."""
MEASURES = ('ade', 'fde', 'mmade', 'mmfde', 'apd')


def verdict(better: Sequence[float], worse: Sequence[float]) -> str:
    """
    Return by the seeds whether the error of one row is below that of another.

    :param better: errors that should be lower, one per seed.
    :param worse: errors of the other row.
    :returns: 'holds', 'does not hold' or 'undecided': the seeds overlap, or are too few.
    """
    if min(len(better), len(worse)) < 2:
        return 'undecided (one seed)'
    if max(better) < min(worse):
        return 'holds'
    if min(better) > max(worse):
        return 'does not hold'
    return 'undecided (seeds overlap)'


def with_spread(values: Sequence[float], digits: int = 3) -> str:
    """Return a mean and half of the range of the seeds as text."""
    if len(values) < 2:
        return f'{values[0]:.{digits}f}'
    half = 0.5 * (max(values) - min(values))
    return f'{np.mean(values):.{digits}f} ± {half:.{digits}f}'


def gain(mine: Sequence[float], others: Sequence[float]) -> str:
    """Return as text by how much one mean error is below another."""
    return f'{100.0 * (np.mean(mine) / np.mean(others) - 1.0):+.1f} %'


def shown(value: Any) -> str:
    """Return a setting as text."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)
