"""The guesses of a person's future that are weighed, at which horizons, and by which evidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from motion_predictor.model.config import WindowConfig

MODEL, DAMPED, STILL, MEMORY = range(4)
CANDIDATES = ('model', 'damped velocity', 'standing still', 'memory')
"""By their number in ~/predictions."""
KNOTS_S = (0.1, 0.26, 0.5, 1.0, 2.0)
"""Horizons at which candidates are weighed; between them weights change evenly."""


def knot_frames(window: WindowConfig) -> np.ndarray:
    """Return the indices of the future frames at which candidates are weighed, rising."""
    frames = np.rint(np.array(KNOTS_S) * window.rate_hz).astype(np.int64) - 1
    return np.unique(np.clip(frames, 0, window.future_frames - 1))


class Memory(NamedTuple):
    """One way to forget: ``kept`` of the former sum at every outcome."""

    kept: float
    of_place: bool


MEMORIES = (
    Memory(0.6, False),
    Memory(0.9, False),
    Memory(0.9, True),
    Memory(0.98, True),
)
"""A person's last second and last five, the place's last five outcomes and last fifty."""
