"""The expected next position of one body's joints, from the accepted poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
