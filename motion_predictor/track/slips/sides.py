"""Left and right that change places for some poses are put right."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.slips.body_motion import Expectation

SUSPECTED_M = 0.1
"""Sides that are off by less on average are not suspected."""
BETTER = 0.5
"""Exchanged, they must be off by less than this share, the torso's and all. No frame of 550 000
of recorded motion at 5 to 50 Hz passes for exchanged so; exchanged, none passes for right at
25 Hz."""
REVERSED = -0.3
"""Where the lines across hips and shoulders have all turned about, by a cosine below this, ..."""
REVERSED_BETTER = 0.9
"""... this share is enough: between slow poses (5 Hz) somebody moves far, but nobody turns so.
Of 132 000 frames of recorded motion at 5 to 25 Hz none passes for exchanged; of those that were
exchanged 0.2 % pass for right at 5 Hz, where without this 4 % do."""
BELIEVED_S = 1.0
"""Sides that were exchanged for longer are believed: then the poses before were wrong."""
STRAY_M = 0.15
"""A joint in the middle that is further off belongs to the wrong sides: made up from them."""
_MOST_M = 1.0


class SideWatch:
    """Watches the sides of one body."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Begin with the sides as they come.

        :param skeleton: the joints.
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
        """Tell whether the sides have been exchanged for so long that they are believed."""
        return self._exchanged_s > BELIEVED_S

    def are_exchanged(
        self, xyz: np.ndarray, seen: np.ndarray, expected: Expectation, off_m: np.ndarray
    ) -> bool:
        """
        Tell whether the other assignment of left and right fits the last poses, and this does not.

        :param xyz: of a new pose, metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param expected: where the joints are expected.
        :param off_m: how far they are from there, (J,).
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
        # Whether every line across the torso points the other way; False where one is not known.
        for first, second in self._lines:
            if not (known[first] and known[second]):
                return False
            here, there = xyz[second] - xyz[first], expected[second] - expected[first]
            long = np.sqrt((here @ here) * (there @ there))
            if here @ there > REVERSED * max(float(long), 1e-9):
                return False
        return bool(self._lines)

    def believe(self) -> None:
        """Take the sides as they come from now on."""
        self._exchanged_s = 0.0

    def put_right(
        self, xyz: np.ndarray, seen: np.ndarray, off_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Exchange left and right of a pose.

        :param xyz: metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param off_m: how far its joints are from where they are expected, (J,).
        :returns: the pose and which joints of it may be used. Joints in the middle that were made
            from the wrong sides (a nose where none was sent) may not.
        """
        stray = ~self._sided & (off_m > STRAY_M)
        return xyz[self.mirror], seen[self.mirror] & ~stray
