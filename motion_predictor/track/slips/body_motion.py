# SPDX-License-Identifier: Apache-2.0
"""The expected next position of one body's joints, from the accepted poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motion_predictor.body.geometry import squares

_NS = 1e-9
_KNOWN_S = 0.3  # seconds: nothing is expected of a joint that was not seen for longer


@dataclass(frozen=True)
class Expectation:
    """Two expected positions of each joint at one instant, as a person may change the motion."""

    with_body: np.ndarray
    """Last position of each joint, moved as the whole body moves, metres (J, 3)."""
    on_its_own: np.ndarray
    """Position of each joint if it continues its own last motion, metres (J, 3)."""
    gap_s: np.ndarray
    """Time since each joint was last seen, seconds; infinite if nothing is known, (J,)."""
    step_s: float
    """Time since the newest pose, seconds."""

    def off_m(self, xyz: np.ndarray) -> np.ndarray:
        """
        Return the distance of joints from the nearer position, metres; infinite if unknown.

        :param xyz: metres (J, 3).
        """
        first, second = xyz - self.with_body, xyz - self.on_its_own
        square = np.minimum((first * first).sum(axis=1), (second * second).sum(axis=1))
        return np.where(np.isfinite(self.gap_s), np.sqrt(square), np.inf)


class BodyMotion:
    """The last two positions of every joint, and the motion of the body as a whole."""

    def __init__(self, joints: int) -> None:
        """
        Begin without poses.

        :param joints: number of joints, J.
        """
        self._last = np.zeros((joints, 3))
        self._last_s = np.full(joints, -np.inf)
        self._before = np.zeros((joints, 3))
        self._before_s = np.full(joints, -np.inf)
        self._velocity = np.zeros(3)
        self._whole = 0  # newest poses in a row with every joint: after two, nothing is masked
        self._base_ns = 0
        self._newest_s = -np.inf
        self.latest_ns = (-1, -1)
        """Stamps of the newest two poses, nanoseconds; -1 for one that there is not."""

    @property
    def speed_m_s(self) -> float:
        """Return the mean speed of the joints between the last two positions, m/s; 0 at first."""
        between_s = self._last_s - np.where(np.isfinite(self._before_s), self._before_s, 0.0)
        moving = np.isfinite(self._before_s) & (between_s > 0.0)
        if not moving.any():
            return 0.0
        moved = np.linalg.norm(self._last - self._before, axis=1)[moving]
        return float((moved / between_s[moving]).mean())

    def expect(self, stamp_ns: int) -> Expectation | None:
        """
        Return where the joints are expected.

        :param stamp_ns: the instant, nanoseconds. The result is None unless it is soon after the
            newest pose.
        """
        now_s = (stamp_ns - self._base_ns) * _NS
        step_s = now_s - self._newest_s
        if not 0.0 < step_s <= _KNOWN_S:
            return None
        if self._whole > 1:
            with_body = self._last + self._velocity * step_s
            apart_s = float(self._last_s[0] - self._before_s[0])
            on_its_own = with_body
            if apart_s <= _KNOWN_S:
                on_its_own = self._last + (self._last - self._before) / apart_s * step_s
            return Expectation(with_body, on_its_own, np.full(len(self._last), step_s), step_s)
        gap_s = now_s - self._last_s
        gap_s = np.where(gap_s <= _KNOWN_S, gap_s, np.inf)
        ahead_s = np.where(np.isfinite(gap_s), gap_s, 0.0)[:, None]
        with_body = self._last + self._velocity * ahead_s
        known = np.isfinite(self._before_s)
        between_s = np.where(known, self._last_s, 1.0) - np.where(known, self._before_s, 0.0)
        moving = known & (between_s <= _KNOWN_S)
        between_s = np.where(moving, between_s, 1.0)[:, None]
        rate = (self._last - self._before) / between_s
        on_its_own = np.where(moving[:, None], self._last + rate * ahead_s, with_body)
        return Expectation(with_body, on_its_own, gap_s, step_s)

    def note(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray) -> None:
        """
        Add an accepted pose; one that is not newer than the last is ignored.

        :param stamp_ns: its stamp, nanoseconds.
        :param xyz: metres (J, 3).
        :param seen: which joints were seen, bool (J,).
        """
        if not np.isfinite(self._newest_s):
            self._base_ns = stamp_ns
        now_s = (stamp_ns - self._base_ns) * _NS
        step_s = now_s - self._newest_s
        if step_s <= 0.0:
            return
        self.latest_ns = (self.latest_ns[1], stamp_ns)
        whole = bool(seen.all())
        if whole and self._whole:
            if step_s <= _KNOWN_S:
                self._velocity = (xyz - self._last).mean(axis=0) / step_s
            else:
                self._velocity = np.zeros(3)
            self._before, self._before_s = self._last, self._last_s
            self._last, self._last_s = xyz.copy(), np.full(len(xyz), now_s)
            self._newest_s = now_s
            self._whole += 1
            return
        self._whole = int(whole)
        both = seen & (self._last_s == self._newest_s)
        if both.any() and step_s <= _KNOWN_S:
            self._velocity = (xyz[both] - self._last[both]).mean(axis=0) / step_s
        else:
            self._velocity = np.zeros(3)
        self._before[seen], self._before_s[seen] = self._last[seen], self._last_s[seen]
        self._last[seen], self._last_s[seen] = xyz[seen], now_s
        self._newest_s = now_s

    def swap(self, mirror: np.ndarray) -> None:
        """
        Exchange joints because left and right were confused.

        :param mirror: for each joint, the index of the joint that it replaces, (J,).
        """
        self._last, self._last_s = self._last[mirror], self._last_s[mirror]
        self._before, self._before_s = self._before[mirror], self._before_s[mirror]


@dataclass(frozen=True)
class Apart:
    """How far P poses are from the poses of P bodies before, and from where they are expected."""

    near_m2: np.ndarray
    """Squared distance of each joint from the nearer of its two expected positions, square
    metres; 0 where it was not seen or nothing is expected, (P, J)."""
    with_body_m: np.ndarray
    """Distance of each joint from where it is if it moves as the whole body, metres, (P, J)."""
    jump_m2: np.ndarray
    """Squared distance of each joint from its last position, square metres, (P, J)."""
    common: np.ndarray
    """Which joints were seen in the pose before and in this one, bool (P, J)."""
    step_s: np.ndarray
    """Time since the pose before, seconds, (P,)."""

    @property
    def soon(self) -> np.ndarray:
        """Return which poses come so soon after the one before that they are expected, (P,)."""
        return np.asarray((self.step_s > 0.0) & (self.step_s <= _KNOWN_S))


class Motions:
    """The motions of several bodies, side by side."""

    def __init__(self, motions: Sequence[BodyMotion]) -> None:
        """
        Copy the motions.

        :param motions: those of P bodies, at least one.
        """
        self._motions = motions
        self._whole = all(each._whole > 1 for each in motions)
        self._last = np.array([each._last for each in motions])
        self._last_s = np.array([each._last_s for each in motions])
        self._before = np.array([each._before for each in motions])
        self._before_s = np.array([each._before_s for each in motions])
        self._velocity = np.array([each._velocity for each in motions])
        self._base_ns = np.array([each._base_ns for each in motions])
        self._newest_s = np.array([each._newest_s for each in motions])

    def apart(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray) -> Apart:
        """
        Compare a pose of each body with what is expected of it; see :meth:`BodyMotion.expect`.

        :param stamp_ns: their stamp, nanoseconds.
        :param xyz: metres (P, J, 3).
        :param seen: which joints were seen, bool (P, J).
        """
        now_s = (stamp_ns - self._base_ns) * _NS
        jump = xyz - self._last
        if self._whole and seen.all():
            return self._apart_whole(now_s - self._newest_s, jump, seen)
        gap_s = now_s[:, None] - self._last_s
        known = gap_s <= _KNOWN_S
        ahead_s = np.where(known, gap_s, 0.0)[..., None]
        with np.errstate(invalid='ignore'):  # of joints that were never seen
            between_s = self._last_s - self._before_s
            moving = known & (between_s <= _KNOWN_S)
        with_body = jump - self._velocity[:, None] * ahead_s
        rate = (self._last - self._before) / np.where(moving, between_s, np.inf)[..., None]
        square = squares(with_body)
        on_its_own = squares(jump - rate * ahead_s)
        nearer = np.where(moving, np.minimum(square, on_its_own), square)
        return Apart(
            np.where(seen & known, nearer, 0.0),
            np.sqrt(square),
            squares(jump),
            seen & (self._last_s == self._newest_s[:, None]),
            now_s - self._newest_s,
        )

    def _apart_whole(self, step_s: np.ndarray, jump: np.ndarray, seen: np.ndarray) -> Apart:
        # The same of bodies with every joint in this pose and in the two before.
        between_s = self._newest_s - self._before_s[:, 0]
        moving_s = np.where(between_s <= _KNOWN_S, step_s, 0.0)
        square = squares(jump - (self._velocity * step_s[:, None])[:, None])
        ahead = (self._last - self._before) * (moving_s / between_s)[:, None, None]
        nearer = squares(jump - ahead)
        if not moving_s.all():
            nearer = np.where(moving_s[:, None] > 0.0, nearer, square)
        return Apart(np.minimum(square, nearer), np.sqrt(square), squares(jump), seen, step_s)

    def note(self, stamp_ns: int, xyz: np.ndarray, seen: np.ndarray, who: np.ndarray) -> None:
        """
        Do :meth:`BodyMotion.note` for some of the bodies.

        :param stamp_ns: stamp of the poses, nanoseconds; they come soon after the poses before,
            see :attr:`Apart.soon`.
        :param xyz: metres (P, J, 3); they are kept.
        :param seen: which joints may be used, bool (P, J).
        :param who: indices of the bodies, (N,).
        """
        now_s = (stamp_ns - self._base_ns) * _NS
        step_s = now_s - self._newest_s
        if self._whole and seen.all():
            velocity = (xyz - self._last).sum(axis=1) / xyz.shape[1] / step_s[:, None]
            last_s = np.where(seen, now_s[:, None], 0.0)
            self._keep(who, stamp_ns, now_s, (self._last, self._last_s, xyz, last_s, velocity))
            return
        both = seen & (self._last_s == self._newest_s[:, None])
        count = both.sum(axis=1)
        moved = np.where(both[..., None], xyz - self._last, 0.0).sum(axis=1)
        velocity = moved / np.maximum(count, 1)[:, None] / np.maximum(step_s, _NS)[:, None]
        velocity[count == 0] = 0.0
        before = np.where(seen[..., None], self._last, self._before)
        before_s = np.where(seen, self._last_s, self._before_s)
        last = np.where(seen[..., None], xyz, self._last)
        last_s = np.where(seen, now_s[:, None], self._last_s)
        self._keep(who, stamp_ns, now_s, (before, before_s, last, last_s, velocity))
        for index in who[~seen[who].all(axis=1)].tolist():
            self._motions[index]._whole = 0

    def _keep(
        self, who: np.ndarray, stamp_ns: int, now_s: np.ndarray, parts: tuple[np.ndarray, ...]
    ) -> None:
        newest_s = now_s.tolist()
        before, before_s, last, last_s, velocity = parts
        for index in who.tolist():
            motion = self._motions[index]
            motion.latest_ns = (motion.latest_ns[1], stamp_ns)
            motion._whole += 1
            motion._before, motion._before_s = before[index], before_s[index]
            motion._last, motion._last_s = last[index], last_s[index]
            motion._velocity, motion._newest_s = velocity[index], newest_s[index]
