# SPDX-License-Identifier: Apache-2.0
"""Refuse joints that leap away from their body for a moment: errors of the tracker, not motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.slips.body_motion import Expectation

ERROR_M = 0.1
"""Error of a tracker, in metres, for which no joint is suspected."""
MAX_ACCELERATION_M_S2 = 250.0
MAX_SPEED_M_S = 10.0
"""A joint cannot leave its expected position faster than this (m/s) and this (m/s²) allow. In
recorded motion (110 000 frames: salsa, karate, jumps) the largest distance is 0.12 m at 50 Hz and
0.38 m at 25 Hz."""
_WITH_BONE = 0.4  # share of that distance allowed to a joint with a bone of wrong length
BONE_ERROR_M = 0.12
"""A bone has a wrong length if its error exceeds this, in metres,"""
BONE_SHARE = 0.3
"""and this share of its length. Recorded bones vary slowly by up to 0.14 m."""
STAYS_POSES = 3
"""A joint is accepted at its new position if it is seen there in this many poses in a row,"""
STAYS_S = 0.08
"""for at least this time in seconds."""
_PACE_M = 0.01  # share by which a bone's usual length follows each pose
_KNOWN_AFTER = 5  # number of poses after which a bone's length is known


@dataclass
class _Withheld:
    """A refused joint, since it leapt."""

    first_s: float  # before this pose
    place: np.ndarray
    poses: int = 1


class JointGate:
    """Watches the joints of one body."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Begin without known bones.

        :param skeleton: the skeleton.
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
        Return the joints that are far from any possible position and have not stayed there.

        :param xyz: a new pose, metres (J, 3).
        :param seen: which of its joints were seen, bool (J,).
        :param expected: expected positions of the joints.
        :param off_m: distances of the joints from these, metres (J,).
        :returns: joints to refuse, bool (J,); at most half of those seen.
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
        if 2 * wrong.sum() > seen.sum():  # then the body as a whole has moved
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
        Learn the bone lengths of a pose.

        :param xyz: metres (J, 3).
        :param seen: joints that were seen and accepted, bool (J,).
        """
        both = seen[self._children] & seen[self._parents]
        found = self._lengths_of(xyz)
        change = np.clip(found - self._lengths, -_PACE_M, _PACE_M)
        new = np.where(self._measured == 0, found, self._lengths + change)
        self._lengths = np.where(both, new, self._lengths)
        self._measured += both

    @staticmethod
    def pass_all(gates: Sequence[JointGate], xyz: np.ndarray, seen: np.ndarray) -> None:
        """
        Accept a pose of each of several bodies, none of whose joints leapt, and learn from it.

        :param gates: gates of P bodies with one skeleton, at least one.
        :param xyz: metres (P, J, 3).
        :param seen: joints that were seen, bool (P, J).
        """
        one = gates[0]
        both = seen[:, one._children] & seen[:, one._parents]
        bones = xyz[:, one._children] - xyz[:, one._parents]
        found = np.sqrt((bones * bones).sum(axis=-1))
        lengths = np.array([gate._lengths for gate in gates])
        measured = np.array([gate._measured for gate in gates])
        new = lengths + np.clip(found - lengths, -_PACE_M, _PACE_M)
        new = np.where(both, np.where(measured == 0, found, new), lengths)
        measured += both
        for gate, *known in zip(gates, new, measured):
            gate._lengths, gate._measured = known
            gate._withheld.clear()

    def _lengths_of(self, xyz: np.ndarray) -> np.ndarray:
        bones = xyz[self._children] - xyz[self._parents]
        return np.sqrt((bones * bones).sum(axis=1))

    def _bone_is_wrong(self, xyz: np.ndarray, seen: np.ndarray) -> np.ndarray:
        # Return the joints at either end of a bone of unusual length, (J,).
        error = np.abs(self._lengths_of(xyz) - self._lengths)
        wrong = error > np.maximum(BONE_ERROR_M, BONE_SHARE * self._lengths)
        wrong &= (self._measured >= _KNOWN_AFTER) & seen[self._children] & seen[self._parents]
        ends = np.zeros_like(seen)
        ends[self._children[wrong]] = True
        ends[self._parents[wrong]] = True
        return ends

    def _stays(self, joint: int, place: np.ndarray, speed_m: float, step_s: float) -> bool:
        # Return whether a joint that leapt has been at its new position for long enough.
        held = self._withheld.get(joint)
        if held is None or np.linalg.norm(place - held.place) > ERROR_M + speed_m:
            self._withheld[joint] = _Withheld(0.0, place.copy())
            return False
        held.first_s += step_s
        held.place = place.copy()
        held.poses += 1
        return held.poses >= STAYS_POSES and held.first_s >= STAYS_S
