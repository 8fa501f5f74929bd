# SPDX-License-Identifier: Apache-2.0
"""Compare predictions at a few instants with the poses that came later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from motion_predictor.track.window import ObservedWindow

_NS = 1e-9


@dataclass
class Awaited:
    """A prediction that waits for its instants; subclasses say what was predicted."""

    stamp_ns: int
    """Stamp of the person's newest pose when the prediction was made, nanoseconds."""
    known: np.ndarray
    """Joints that were seen then; of the others only guesses were predicted, bool (J,)."""
    come: int = field(default=0, init=False)
    """Number of instants that have come."""

    def outcomes(
        self, window: ObservedWindow, frames: np.ndarray, rate_hz: float
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """
        Yield the poses at the instants that have come since the last call.

        :param window: the person's present observed window.
        :param frames: the instants as indices of future frames, increasing; the same in every
            call.
        :param rate_hz: rate of the window and the future.
        :returns: for each instant at which something was seen: its index in ``frames``, the pose,
            metres (J, 3), and which joints were seen both then and now, bool (J,).
        """
        last = len(window.poses) - 1
        age = (window.stamp_ns - self.stamp_ns) * _NS * rate_hz  # frames
        while self.come < len(frames):
            number, ahead = self.come, frames[self.come] + 1
            if ahead > age + 0.5:  # an instant within half a frame of the newest has come
                return
            self.come += 1
            at = min(last - age + ahead, float(last))
            if at < window.padded_frames:
                continue
            real, seen = (values[0] for values in window.between(np.array([at])))
            seen = seen & self.known
            if seen.any():
                yield number, real, seen
