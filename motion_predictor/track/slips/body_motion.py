"""Where one body's joints are expected next, from the poses that were believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NS = 1e-9
_KNOWN_S = 0.3  # nothing is expected of a joint that was not seen for longer


@dataclass(frozen=True)
class Expectation:
    """Where joints are expected at one instant, twice: nobody has to go on as they did."""

    with_body: np.ndarray
    """Each joint where it was last seen, moved as the whole body moves, metres (J, 3)."""
    on_its_own: np.ndarray
    """Each joint gone on as it moved last itself, metres (J, 3)."""
    gap_s: np.ndarray
    """Time since each joint was last seen, infinite where nothing is known, (J,)."""
    step_s: float
    """Time since the newest pose."""

    def off_m(self, xyz: np.ndarray) -> np.ndarray:
        """
        Return how far joints are from the nearer of the two places, infinite where not known.

        :param xyz: metres (J, 3).
        """
        first, second = xyz - self.with_body, xyz - self.on_its_own
        square = np.minimum((first * first).sum(axis=1), (second * second).sum(axis=1))
        return np.where(np.isfinite(self.gap_s), np.sqrt(square), np.inf)


class BodyMotion:
    """The last two places of every joint, and how the body moves as a whole."""

    def __init__(self, joints: int) -> None:
        """
        Begin without a pose.

        :param joints: how many, J.
        """
        self._last = np.zeros((joints, 3))
        self._last_s = np.full(joints, -np.inf)
        self._before = np.zeros((joints, 3))
        self._before_s = np.full(joints, -np.inf)
        self._velocity = np.zeros(3)
        self._whole = 0  # newest poses in a row with every joint: after two nothing is masked
        self._base_ns = 0
        self._newest_s = -np.inf

    @property
    def speed_m_s(self) -> float:
        """Mean speed of the joints between their last two places, 0 before there are two."""
        between_s = self._last_s - np.where(np.isfinite(self._before_s), self._before_s, 0.0)
        moving = np.isfinite(self._before_s) & (between_s > 0.0)
        if not moving.any():
            return 0.0
        moved = np.linalg.norm(self._last - self._before, axis=1)[moving]
        return float((moved / between_s[moving]).mean())

    def expect(self, stamp_ns: int) -> Expectation | None:
        """
        Say where the joints are expected.

        :param stamp_ns: when; None is returned unless it is after the newest pose, and soon.
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
        Take in a pose that is believed; one that is not newer than the last is passed over.

        :param stamp_ns: when.
        :param xyz: metres (J, 3).
        :param seen: which joints, bool (J,).
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
        Exchange joints, as when left and right were taken for one another.

        :param mirror: the joint whose place each takes, (J,).
        """
        self._last, self._last_s = self._last[mirror], self._last_s[mirror]
        self._before, self._before_s = self._before[mirror], self._before_s[mirror]
