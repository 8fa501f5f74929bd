# SPDX-License-Identifier: Apache-2.0
"""Room for people: who is dropped, or not followed, when there are too many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

from motion_predictor.track.identity.assign import Sighting, Track

LATELY_NS = 500_000_000
"""People who were not seen for longer than this, in nanoseconds, make room for others first."""


@dataclass(frozen=True)
class Room:
    """The bodies that are followed, and where those are that matter most."""

    named: Mapping[str, Track]
    """Who is there, by name."""
    newest: Mapping[str, int]
    """Newest stamp by source, nanoseconds."""
    reference_m: np.ndarray
    """The people nearest to this point matter most, metres (3,)."""
    most: int
    """Greatest number of bodies."""

    def is_crowded_out(self, sighting: Sighting) -> bool:
        """Return whether as many bodies as are kept are nearer, and were seen lately."""
        if len(self.named) < self.most or any(map(self._lateness, self.named.values())):
            return False
        farthest = max(map(self._distance_m, self.named.values()))
        return sighting.distance_m(self.reference_m) >= farthest

    @property
    def one_too_many(self) -> str | None:
        """Return the name of the body to drop first; None if there is room."""
        if len(self.named) <= self.most:
            return None
        ranks = {
            name: (self._lateness(track), self._distance_m(track))
            for name, track in self.named.items()
        }
        return max(ranks, key=ranks.__getitem__)

    def _lateness(self, track: Track) -> int:
        # Return the nanoseconds since the body was seen; 0 if it was seen lately.
        late = self.newest.get(track.source, 0) - track.newest_stamp_ns
        return late if late > LATELY_NS else 0

    def _distance_m(self, track: Track) -> float:
        root = track.history.newest_root
        return math.inf if root is None else float(np.linalg.norm(root - self.reference_m))
