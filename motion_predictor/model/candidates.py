# SPDX-License-Identifier: Apache-2.0
"""The candidate futures of a person: their names, their horizons, and the evidence on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from motion_predictor.model.config import WindowConfig

MODEL, DAMPED, STILL, MEMORY = range(4)
CANDIDATES = ('model', 'damped velocity', 'standing still', 'memory')
"""The candidates, in the order of their numbers in ~/predictions."""
KNOTS_S = (0.1, 0.26, 0.5, 1.0, 2.0)
"""Horizons in seconds at which candidates are weighed; between them the weights are
interpolated."""


def knot_frames(window: WindowConfig) -> np.ndarray:
    """Return the indices of the future frames at which candidates are weighed, increasing."""
    frames = np.rint(np.array(KNOTS_S) * window.rate_hz).astype(np.int64) - 1
    return np.unique(np.clip(frames, 0, window.future_frames - 1))


class Memory(NamedTuple):
    """One rate of forgetting: at every outcome, the share ``kept`` of the former sum is kept."""

    kept: float
    of_place: bool


MEMORIES = (
    Memory(0.6, False),
    Memory(0.9, False),
    Memory(0.9, True),
    Memory(0.98, True),
)
"""The last second and the last five of a person, the last five outcomes and the last fifty of a
place."""
