# SPDX-License-Identifier: Apache-2.0
"""The noise of each person's input, measured over some seconds; absent people's is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
import math

import numpy as np

from motion_predictor.predict.place.candidates import jitter_m
from motion_predictor.track.window import ObservedWindow

JITTER_S = 3.0
"""Time in seconds over which the noise of the input is measured."""
_NS = 1e-9


@dataclass
class _Noise:
    jitter: float
    stamp_ns: int


class NoiseWatch:
    """Measures the noise of each person's input."""

    def __init__(self) -> None:
        """Begin without people."""
        self.known: dict[int, _Noise] = {}

    def judge(
        self,
        tracks: Sequence[int],
        windows: Sequence[ObservedWindow],
        seen: np.ndarray,
        absent: Sequence[int],
    ) -> np.ndarray:
        """
        Return the present noise; people in neither list of tracks are forgotten.

        :param tracks: numbers of the P people's histories.
        :param windows: their observed windows.
        :param seen: the same windows, metres from any origin near to the person, (P, T_obs, J, 3).
        :param absent: tracks of people who may come back.
        :returns: metres per coordinate, (P,).
        """
        found = jitter_m(seen)
        for index, window in enumerate(windows):
            if window.padded_frames:  # the edges of gaps are no noise
                found[index] = jitter_m(seen[index, None, window.padded_frames :])[0]
        kept = {track: self.known[track] for track in absent if track in self.known}
        for index, (track, window) in enumerate(zip(tracks, windows, strict=True)):
            before = self.known.get(track)
            value = float(found[index])
            if before is not None:
                passed = max((window.stamp_ns - before.stamp_ns) * _NS, 0.0)
                value = before.jitter + (1.0 - math.exp(-passed / JITTER_S)) * (
                    value - before.jitter
                )
            kept[track] = _Noise(value, window.stamp_ns)
        self.known = kept
        return np.array([kept[track].jitter for track in tracks])

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget some people."""
        for track in tracks:
            self.known.pop(track, None)
