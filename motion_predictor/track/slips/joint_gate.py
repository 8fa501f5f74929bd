"""A joint that leaps from its body for a moment is a slip of the tracker, not motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.slips.body_motion import Expectation

ERROR_M = 0.1
"""A tracker's own, that no joint is suspected for."""
MAX_ACCELERATION_M_S2 = 250.0
MAX_SPEED_M_S = 10.0
"""Nobody's joint gets off the place expected faster than either allows. Of recorded motion
(110 000 frames: salsa, karate, jumps) the joint furthest off is 0.12 m at 50 Hz and 0.38 m at
25 Hz."""
_WITH_BONE = 0.4  # a joint with a bone of wrong length may be off by this much of that
BONE_ERROR_M = 0.12
"""A bone is of the wrong length beyond this error, ..."""
BONE_SHARE = 0.3
"""... and beyond this share of its length. Recorded bones vary by up to 0.14 m, slowly."""
STAYS_POSES = 3
"""A joint that is seen at its new place in so many poses, one after another, ..."""
STAYS_S = 0.08
"""... for so long, is there."""
_PACE_M = 0.01  # a bone's usual length follows by this much a pose
_KNOWN_AFTER = 5  # poses from which on a bone's length is known


@dataclass
class _Withheld:
    """A joint that leapt, since it did."""

    first_s: float  # before now
    place: np.ndarray
    poses: int = 1


class JointGate:
    """Watches the joints of one body."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Begin without knowing the bones.

        :param skeleton: the joints.
        """
        bones = np.array(skeleton.bones)
        self._children, self._parents = bones[:, 0], bones[:, 1]
        self._lengths = np.zeros(len(bones))
        self._measured = np.zeros(len(bones), dtype=np.int64)
        self._withheld: dict[int, _Withheld] = {}

    def leapt(
        self, xyz: np.ndarray, seen: np.ndarray, expected: Expectation, off_m: np.ndarray
    ) -> np.ndarray:
        """
        Find the joints that are nowhere near where they can be, and have not stayed there.

        :param xyz: of a new pose, metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param expected: where the joints are expected.
        :param off_m: how far they are from there, (J,).
        :returns: joints not to be believed, bool (J,); at most half of those seen.
        """
        off = np.where(seen, off_m, 0.0)
        known = np.isfinite(off)
        off = np.where(known, off, 0.0)
        if off.max() <= ERROR_M:
            self._withheld.clear()
            return np.zeros_like(seen)
        waited = np.isin(np.arange(len(seen)), list(self._withheld))
        gap_s = np.where(waited | ~known, expected.step_s, expected.gap_s)
        speed = np.minimum(MAX_ACCELERATION_M_S2 * gap_s * gap_s, MAX_SPEED_M_S * gap_s)
        wrong = off > ERROR_M + np.where(self._bone_is_wrong(xyz, seen), _WITH_BONE, 1.0) * speed
        if 2 * wrong.sum() > seen.sum():  # the body as a whole, then
            wrong[:] = False
        for joint in [joint for joint in self._withheld if not wrong[joint]]:
            del self._withheld[joint]
        for joint in np.flatnonzero(wrong).tolist():
            if self._stays(joint, xyz[joint], speed[joint], expected.step_s):
                wrong[joint] = False
                del self._withheld[joint]
        return wrong

    def learn(self, xyz: np.ndarray, seen: np.ndarray) -> None:
        """
        Take in the bones of a pose.

        :param xyz: metres (J, 3).
        :param seen: joints that were seen and believed, bool (J,).
        """
        both = seen[self._children] & seen[self._parents]
        found = self._lengths_of(xyz)
        change = np.clip(found - self._lengths, -_PACE_M, _PACE_M)
        new = np.where(self._measured == 0, found, self._lengths + change)
        self._lengths = np.where(both, new, self._lengths)
        self._measured += both

    def _lengths_of(self, xyz: np.ndarray) -> np.ndarray:
        bones = xyz[self._children] - xyz[self._parents]
        return np.sqrt((bones * bones).sum(axis=1))

    def _bone_is_wrong(self, xyz: np.ndarray, seen: np.ndarray) -> np.ndarray:
        # Joints at either end of a bone that has another length than usual, (J,).
        error = np.abs(self._lengths_of(xyz) - self._lengths)
        wrong = error > np.maximum(BONE_ERROR_M, BONE_SHARE * self._lengths)
        wrong &= (self._measured >= _KNOWN_AFTER) & seen[self._children] & seen[self._parents]
        ends = np.zeros_like(seen)
        ends[self._children[wrong]] = True
        ends[self._parents[wrong]] = True
        return ends

    def _stays(self, joint: int, place: np.ndarray, speed_m: float, step_s: float) -> bool:
        # Whether a joint that leapt has been at its new place for long enough.
        held = self._withheld.get(joint)
        if held is None or np.linalg.norm(place - held.place) > ERROR_M + speed_m:
            self._withheld[joint] = _Withheld(0.0, place.copy())
            return False
        held.first_s += step_s
        held.place = place.copy()
        held.poses += 1
        return held.poses >= STAYS_POSES and held.first_s >= STAYS_S
