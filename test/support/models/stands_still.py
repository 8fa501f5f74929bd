# SPDX-License-Identifier: Apache-2.0
"""A predictor without cost."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.prediction import Prediction


class StandsStill:
    """A model in which everybody stands still."""

    window, skeleton = WindowConfig(), H36M17

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Repeat the last pose."""
        shape = (len(observed), samples, self.window.future_frames, 17, 3)
        futures = np.broadcast_to(observed[:, -1, None, None], shape).astype(np.float32)
        weights = np.full(shape[:2], 1.0 / samples, dtype=np.float32)
        return Prediction(futures, weights, self.window.rate_hz)
