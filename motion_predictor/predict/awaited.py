"""What was said of a person at a few instants ahead, compared with what then came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from motion_predictor.track.window import ObservedWindow

_NS = 1e-9


@dataclass
class Awaited:
    """Something that waits for the instants that it speaks of; records say what."""

    stamp_ns: int
    """Of the person's newest pose when it was said."""
    come: int = field(default=0, init=False)
    """How many of the instants have come."""

    def outcomes(
        self, window: ObservedWindow, frames: np.ndarray, rate_hz: float
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """
        Return what came at the instants that have come since the last call.

        :param window: what is observed of the person now.
        :param frames: the instants: indices of future frames, rising; always the same.
        :param rate_hz: of window and future.
        :returns: of each instant at which something was seen, its index in ``frames``, the pose,
            metres (J, 3), and which joints were seen, bool (J,).
        """
        last = len(window.poses) - 1
        age = (window.stamp_ns - self.stamp_ns) * _NS * rate_hz  # frames
        while self.come < len(frames):
            number, ahead = self.come, frames[self.come] + 1
            if ahead > age + 0.5:  # within half a frame of the newest it has come
                return
            self.come += 1
            at = min(last - age + ahead, float(last))
            if at < window.padded_frames:
                continue
            real, seen = (values[0] for values in window.between(np.array([at])))
            if seen.any():
                yield number, real, seen
