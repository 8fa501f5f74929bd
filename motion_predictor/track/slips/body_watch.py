# SPDX-License-Identifier: Apache-2.0
"""Correct errors of a tracker within one body: exchanged sides and joints that leap away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.slips.body_motion import Apart, BodyMotion, Motions
from motion_predictor.track.slips.joint_gate import ERROR_M, JointGate
from motion_predictor.track.slips.sides import SideWatch, SUSPECTED_M

_MARGIN_M = 1e-6  # so that rounding decides nothing


@dataclass(frozen=True)
class Mended:
    """A corrected pose."""

    xyz: np.ndarray
    """Joints, metres (J, 3)."""
    seen: np.ndarray
    """Which joints may be used, bool (J,)."""
    leapt: np.ndarray
    """Joints that were seen but are refused, bool (J,)."""
    exchanged: bool = False
    """Whether left and right were exchanged."""
    believed: bool = False
    """Whether they stayed exchanged, so that the poses before this one must be exchanged."""


class BodyWatch:
    """Checks every new pose of one body. A pose without an error passes unchanged."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Begin without poses.

        :param skeleton: skeleton of a person.
        """
        self._motion = BodyMotion(skeleton.num_joints)
        self._sides = SideWatch(skeleton)
        self._gate = JointGate(skeleton)

    @property
    def speed_m_s(self) -> float:
        """Return the mean speed of the joints between the last two poses, m/s."""
        return self._motion.speed_m_s

    @property
    def latest_ns(self) -> tuple[int, int]:
        """Return the stamps of the newest two poses, nanoseconds; -1 for one that there is not."""
        return self._motion.latest_ns

    def mend(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray) -> Mended:
        """
        Correct a pose; late poses, and those after a gap, pass unchanged.

        :param stamp_ns: its stamp, nanoseconds.
        :param xyz: metres (J, 3).
        :param seen: which joints were seen, bool (J,).
        """
        expected = self._motion.expect(stamp_ns)
        nothing = np.zeros_like(seen)
        if expected is None:
            return Mended(xyz, seen, nothing)
        off_m = expected.off_m(xyz)
        exchanged = self._sides.are_exchanged(xyz, seen, expected, off_m)
        if exchanged and self._sides.persists:
            self._sides.believe()
            self._motion.swap(self._sides.mirror)
            return Mended(xyz, seen, nothing, believed=True)
        if exchanged:
            xyz, seen = self._sides.put_right(xyz, seen, off_m)
            off_m = expected.off_m(xyz)
        leapt = self._gate.leapt(xyz, seen, expected, off_m)
        return Mended(xyz, seen & ~leapt, leapt, exchanged=exchanged)

    def note(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray) -> None:
        """
        Note a pose that was stored.

        :param stamp_ns: its stamp, nanoseconds.
        :param xyz: metres (J, 3).
        :param seen: which joints may be used, bool (J,).
        """
        self._motion.note(stamp_ns, xyz, seen)
        self._gate.learn(xyz, seen)


class Watches:
    """The watches of several bodies, for poses in which nothing is suspected."""

    def __init__(self, watches: Sequence[BodyWatch]) -> None:
        """
        Copy what the watches know.

        :param watches: those of P bodies with one skeleton, at least one.
        """
        self._watches = watches
        self._motions = Motions([each._motion for each in watches])

    def apart(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray) -> tuple[Apart, np.ndarray]:
        """
        Compare a pose of each body with what is expected of it.

        :param stamp_ns: their stamp, nanoseconds.
        :param xyz: metres (P, J, 3).
        :param seen: which joints were seen, bool (P, J).
        :returns: the distances; and which poses :meth:`BodyWatch.mend` surely passes unchanged,
            bool (P,): those of which no joint is suspected.
        """
        apart = self._motions.apart(stamp_ns, xyz, seen)
        passed = apart.near_m2.max(axis=1) <= (min(ERROR_M, SUSPECTED_M) - _MARGIN_M) ** 2
        return apart, passed & apart.soon

    def note(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray, who: np.ndarray) -> None:
        """
        Mend and note such poses of some of the bodies, as :class:`BodyWatch` does of each.

        :param stamp_ns: their stamp, nanoseconds.
        :param xyz: metres (P, J, 3).
        :param seen: which joints may be used, bool (P, J).
        :param who: indices of the bodies, at least one, (N,).
        """
        self._motions.note(stamp_ns, xyz, seen, who)
        some = [self._watches[index] for index in who.tolist()]
        JointGate.pass_all([each._gate for each in some], xyz[who], seen[who])
        for each in some:
            each._sides.pass_one()
