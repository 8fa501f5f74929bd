"""Verdicts on claims by the seeds of two rows, and the words that the pages share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TEMPLATES = Path(__file__).parents[1] / 'templates'
"""Of the pages of the studies."""
MEASURES = ('ade', 'fde', 'mmade', 'mmfde', 'apd')


def verdict(better: Sequence[float], worse: Sequence[float]) -> str:
    """
    Judge by the seeds whether one thing's error is below another's.

    :param better: errors of what should be lower, one a seed.
    :param worse: of the other.
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
    """Write a mean and half of the range of the seeds."""
    if len(values) < 2:
        return f'{values[0]:.{digits}f}'
    half = 0.5 * (max(values) - min(values))
    return f'{np.mean(values):.{digits}f} ± {half:.{digits}f}'


def gain(mine: Sequence[float], others: Sequence[float]) -> str:
    """Write by how much one mean error is below another."""
    return f'{100.0 * (np.mean(mine) / np.mean(others) - 1.0):+.1f} %'


def shown(value: Any) -> str:
    """Write a setting."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)
