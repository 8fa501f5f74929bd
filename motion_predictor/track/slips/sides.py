# SPDX-License-Identifier: Apache-2.0
"""Correct poses in which left and right are exchanged for some time."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.slips.body_motion import Expectation

SUSPECTED_M = 0.1
"""Sides with a smaller mean distance from the expected positions than this, in metres, are not
suspected."""
BETTER = 0.5
"""With the sides exchanged, the distance (torso included) must be below this share. No frame of
550 000 of recorded motion at 5 to 50 Hz is taken for exchanged; of exchanged ones, none is taken
for correct at 25 Hz."""
REVERSED = -0.3
"""If the lines across hips and shoulders have all turned around, by a cosine below this,"""
REVERSED_BETTER = 0.9
"""then this share is enough: between slow poses (5 Hz) a person moves far but does not turn around
so quickly. Of 132 000 frames of recorded motion at 5 to 25 Hz none is taken for exchanged. Of
exchanged ones, 0.2 % are taken for correct at 5 Hz, and 4 % without this rule."""
BELIEVED_S = 1.0
"""Sides that are exchanged for longer than this, in seconds, are accepted: then the earlier poses
were wrong."""
STRAY_M = 0.15
"""A middle joint further away than this, in metres, was derived from the wrong sides."""
_MOST_M = 1.0


class SideWatch:
    """Watches the sides of one body."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Begin with the sides as the tracker sends them.

        :param skeleton: the skeleton.
        """
        mirror = np.array(skeleton.mirror)
        self.mirror = mirror
        self._sided = mirror != np.arange(len(mirror))
        self._torso = np.zeros(len(mirror), dtype=bool)
        for pair in (skeleton.hips, skeleton.shoulders):
            self._torso[list(pair or ())] = True
        self._torso &= self._sided
        self._lines = [pair for pair in (skeleton.hips, skeleton.shoulders) if pair is not None]
        self._exchanged_s = 0.0

    @property
    def persists(self) -> bool:
        """Return whether the sides have been exchanged for so long that they are accepted."""
        return self._exchanged_s > BELIEVED_S

    def are_exchanged(
        self, xyz: np.ndarray, seen: np.ndarray, expected: Expectation, off_m: np.ndarray
    ) -> bool:
        """
        Return whether the last poses fit with left and right exchanged, and do not fit as sent.

        :param xyz: a new pose, metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param expected: expected positions of the joints.
        :param off_m: distances of the joints from these, metres (J,).
        """
        known = seen & seen[self.mirror] & np.isfinite(expected.gap_s)
        sided, torso = known & self._sided, known & self._torso
        exchanged = False
        if torso.sum() >= 2:
            here = np.minimum(off_m, _MOST_M)
            suspected_m = here[sided].mean()
            if suspected_m > SUSPECTED_M:
                there = np.minimum(expected.off_m(xyz[self.mirror]), _MOST_M)
                better_m = there[sided].mean()
                exchanged = bool(
                    better_m < BETTER * suspected_m
                    and there[torso].mean() < BETTER * here[torso].mean()
                ) or bool(
                    better_m < REVERSED_BETTER * suspected_m
                    and self._are_reversed(xyz, known, expected.with_body)
                )
        self._exchanged_s = self._exchanged_s + expected.step_s if exchanged else 0.0
        return exchanged

    def _are_reversed(self, xyz: np.ndarray, known: np.ndarray, expected: np.ndarray) -> bool:
        # Return whether every line across the torso points the other way; False if one is not
        # known.
        for first, second in self._lines:
            if not (known[first] and known[second]):
                return False
            here, there = xyz[second] - xyz[first], expected[second] - expected[first]
            long = np.sqrt((here @ here) * (there @ there))
            if here @ there > REVERSED * max(float(long), 1e-9):
                return False
        return bool(self._lines)

    def believe(self) -> None:
        """Accept the sides as the tracker sends them from now on."""
        self._exchanged_s = 0.0

    def pass_one(self) -> None:
        """Note a pose whose sides are not suspected."""
        self._exchanged_s = 0.0

    def put_right(
        self, xyz: np.ndarray, seen: np.ndarray, off_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Exchange left and right of a pose.

        :param xyz: metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param off_m: distances of its joints from their expected positions, metres (J,).
        :returns: the pose, and which of its joints may be used. Middle joints that were derived
            from the wrong sides (a nose that was not sent) may not be used.
        """
        stray = ~self._sided & (off_m > STRAY_M)
        return xyz[self.mirror], seen[self.mirror] & ~stray
