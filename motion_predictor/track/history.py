# SPDX-License-Identifier: Apache-2.0
"""One person's stamped poses become an evenly spaced observed window, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.shapes import require_shape
from motion_predictor.model.config import WindowConfig
from motion_predictor.track.limits import HistoryCounters, HistoryLimits
from motion_predictor.track.one_body import OneBody
from motion_predictor.track.window import NotReady, ObservedWindow
from motion_predictor.track.windows.all_at_once import observed_windows
from motion_predictor.track.windows.missing import following
from motion_predictor.track.windows.stored import StoredPoses

_GOES_ON_S = 0.5  # time for which a body is expected to go on as it moved
_NS = 1e-9


class AddOutcome(Enum):
    """The result of adding a pose."""

    APPENDED = 'appended'
    INSERTED_LATE = 'inserted_late'
    DUPLICATE = 'duplicate'
    TOO_LATE = 'too_late'
    WITHOUT_BODY = 'without_body'
    FROZEN = 'frozen'
    """A person who was moving is shown in exactly the same pose again."""

    @property
    def accepted(self) -> bool:
        """Return whether the pose is in the history."""
        return self in (AddOutcome.APPENDED, AddOutcome.INSERTED_LATE)


class PoseHistory:
    """
    One person's stamped poses in bounded memory.

    Poses are ordered by their stamps, never by their arrival. :meth:`window` returns them evenly
    spaced at the model's rate, and the last frame is exactly at the newest stamp. If the source is
    slower than the model, the poses are interpolated by a cubic. If it is more than 1.5 times
    faster, they are smoothed by local parabolas, which cause no delay, not even at the end. This
    class is not thread-safe.

    A person who has just appeared gets a window once ``min_observed_s`` and ``min_poses`` are
    reached; the frames before the first pose repeat it. The same holds after a gap that is too
    long to fill: the poses before it are not used.
    """

    def __init__(
        self,
        window: WindowConfig | None = None,
        skeleton: Skeleton = H36M17,
        limits: HistoryLimits | None = None,
        counters: HistoryCounters | None = None,
    ) -> None:
        """
        Begin without poses.

        :param window: rate and number of the frames of the window.
        :param skeleton: skeleton of the poses.
        :param limits: limits on the accepted poses.
        :param counters: counters to increase; several histories may share them.
        """
        self.window_config = window or WindowConfig()
        self.skeleton = skeleton
        self.limits = limits or HistoryLimits()
        self.counters = counters or HistoryCounters()
        slowest_s = 1.0 / self.limits.min_source_rate_hz
        kept_s = self.window_config.observed_s + self.limits.max_joint_gap_s + 4.0 * slowest_s
        self._kept_ns = round(kept_s / _NS)
        self._spacing_ns = round(1.0 / self.limits.max_source_rate_hz / _NS)
        limit = int(kept_s * self.limits.max_source_rate_hz) + 2
        self._poses = StoredPoses(skeleton.num_joints, limit)
        self.body = OneBody(skeleton, self.limits, self.counters)
        """Tells which joints of a pose can be stored."""
        self._period_s: float | None = None  # of the raw poses; None: not known yet
        self._joints_seen_ns = np.full(skeleton.num_joints, -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._poses)

    @property
    def stamps_ns(self) -> np.ndarray:
        """Return the stamps of the stored poses, nanoseconds, increasing, int64 (N,)."""
        return self._poses.stamps[self._poses.start : self._poses.stop].copy()

    @property
    def newest_stamp_ns(self) -> int | None:
        """Return the stamp of the newest pose in nanoseconds; None if there is none."""
        return int(self._poses.stamps[self._poses.stop - 1]) if len(self) else None

    @property
    def oldest_stamp_ns(self) -> int | None:
        """Return the stamp of the oldest stored pose in nanoseconds; None if there is none."""
        return int(self._poses.stamps[self._poses.start]) if len(self) else None

    @property
    def period_s(self) -> float | None:
        """Return the median time between stamps, seconds; None before the second pose."""
        if self._period_s is None and len(self) > 1:
            stamps = self._poses.stamps[self._poses.start : self._poses.stop]
            self._period_s = float(_median(stamps[1:] - stamps[:-1])) * _NS
        return self._period_s

    @property
    def longest_gap_s(self) -> float:
        """Return the longest time in seconds that a filled-in joint may be missing."""
        return self.limits.max_joint_gap_s + 1.5 * (self.period_s or 0.0)

    @property
    def newest_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the newest pose, metres (J, 3), and which of its joints were seen, bool (J,)."""
        if not len(self):
            joints = self.skeleton.num_joints
            return np.zeros((joints, 3)), np.zeros(joints, dtype=bool)
        index = self._poses.stop - 1
        return self._poses.xyz[index].copy(), self._poses.valid[index].copy()

    @property
    def oldest_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the oldest stored pose, in the form of :attr:`newest_pose`."""
        if not len(self):
            return self.newest_pose
        index = self._poses.start
        return self._poses.xyz[index].copy(), self._poses.valid[index].copy()

    @property
    def joints_seen_ns(self) -> np.ndarray:
        """Return the stamp at which each joint was last seen, -1 for never, int64 (J,)."""
        return self._joints_seen_ns.copy()

    @property
    def following_joints(self) -> frozenset[int]:
        """Return the joints that follow the torso and therefore need not be seen."""
        return frozenset(following(self.skeleton))

    @property
    def newest_root(self) -> np.ndarray | None:
        """Return the last position of the root, or of the mean of the seen joints; metres (3,)."""
        return self._root(self._poses.stop - 1) if len(self) else None

    @property
    def oldest_root(self) -> np.ndarray | None:
        """Return the same position in the oldest stored pose, as :attr:`newest_root`."""
        return self._root(self._poses.start) if len(self) else None

    def expected(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """
        Return the pose nearest in time to an instant, and the pose expected at that instant.

        :param stamp_ns: the instant, nanoseconds. The body as a whole is expected to go on as it
            moved between the newest two poses. Before the newest pose, it is expected at the pose
            nearest in time.
        :returns: the nearest pose, metres (J, 3); the expected pose, metres (J, 3); which joints
            of it were seen, bool (J,); its stamp. Zeros if there are no poses.
        """
        count, joints = len(self), self.skeleton.num_joints
        if not count:
            return *np.zeros((2, joints, 3)), np.zeros(joints, dtype=bool), 0
        poses = self._poses
        stamps = poses.stamps[poses.start : poses.stop]
        place = min(int(np.searchsorted(stamps, stamp_ns)), count - 1)
        if place and stamp_ns - stamps[place - 1] < abs(stamps[place] - stamp_ns):
            place -= 1
        at = poses.start + place
        xyz, seen, stamp = poses.xyz[at], poses.valid[at], int(poses.stamps[at])
        moved = xyz.copy()
        if place == count - 1 and place and stamp_ns > stamp:
            step_s = (stamp - int(stamps[place - 1])) * _NS
            common = seen & poses.valid[at - 1]
            if step_s <= _GOES_ON_S and common.any():
                step = (xyz[common] - poses.xyz[at - 1][common]).mean(axis=0)
                moved += step * min((stamp_ns - stamp) * _NS, _GOES_ON_S) / step_s
        return xyz.copy(), moved, seen.copy(), stamp

    def _root(self, index: int) -> np.ndarray:
        xyz, valid = self._poses.xyz[index], self._poses.valid[index]
        return xyz[0].copy() if valid[0] else xyz[valid].mean(axis=0)

    def restamp(self, stamps_ns: Mapping[int, int]) -> None:
        """
        Correct the stamps of poses; poses whose order would change keep their stamps.

        :param stamps_ns: correct stamps by the former ones, nanoseconds.
        """
        poses = self._poses
        kept = poses.stamps[poses.start : poses.stop]
        right = np.array([stamps_ns.get(stamp, stamp) for stamp in kept.tolist()], dtype=np.int64)
        if (np.diff(right) > 0).all():
            kept[:] = right
            self._period_s = None

    def swap(self, mirror: np.ndarray) -> None:
        """
        Exchange joints in every pose: left and right were confused so far.

        :param mirror: for each joint, the index of the joint that it replaces, (J,).
        """
        poses = self._poses
        kept = slice(poses.start, poses.stop)
        poses.xyz[kept] = poses.xyz[kept][:, mirror]
        poses.valid[kept] = poses.valid[kept][:, mirror]
        self._joints_seen_ns = self._joints_seen_ns[mirror]

    def clear(self) -> None:
        """Forget all poses; the counters stay."""
        self._poses = StoredPoses(self.skeleton.num_joints, self._poses.limit)
        self._period_s = None
        self._joints_seen_ns[:] = -1

    def add(self, stamp_ns: int, xyz: np.ndarray, valid: np.ndarray | None = None) -> AddOutcome:
        """
        Store a pose.

        :param stamp_ns: time of the measurement, nanoseconds.
        :param xyz: metres, shape ``(J, 3)``; NaN and (0, 0, 0) mean that a joint was not seen.
        :param valid: which joints were seen, bool ``(J,)``; the default is all.
        :returns: whether the pose was stored, and if not, why.
        :raises ShapeError: if an array has another shape.
        """
        joints = self.skeleton.num_joints
        xyz = np.asarray(xyz, dtype=np.float64)
        require_shape('xyz', xyz, (joints, 3))
        told = np.ones(joints, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
        require_shape('valid', told, (joints,))
        seen = told & self.body.joints_shown(xyz)
        kept = self.body.joints_of_one_body(xyz, seen)
        if not self.body.is_body(kept):
            self.counters.poses_without_body += 1
            return AddOutcome.WITHOUT_BODY
        return self.add_body(stamp_ns, xyz, kept)

    def add_body(self, stamp_ns: int, xyz: np.ndarray, kept: np.ndarray) -> AddOutcome:
        """
        Store a pose whose joints have been checked already.

        :param stamp_ns: time of the measurement, nanoseconds.
        :param xyz: metres, float64 (J, 3).
        :param kept: joints from :attr:`body`, enough to form a body, bool (J,).
        :returns: whether the pose was stored, and if not, why.
        """
        stamp_ns = int(stamp_ns)
        refused = self.refusal(stamp_ns)
        if refused is not None:
            late = refused is AddOutcome.TOO_LATE
            self.counters.poses_too_late += late
            self.counters.poses_duplicate += not late
            return refused
        stamps = self._poses.stamps[self._poses.start : self._poses.stop]
        xyz = np.where(kept[:, None], xyz, 0.0)
        if not len(stamps) or stamp_ns > stamps[-1]:
            self.append(stamp_ns, xyz, kept)
            return AddOutcome.APPENDED
        self._insert(int(np.searchsorted(stamps, stamp_ns)), stamp_ns, xyz, kept)
        self.counters.poses_inserted_late += 1
        return AddOutcome.INSERTED_LATE

    def follows(self, stamp_ns: int, latest_ns: tuple[int, int]) -> bool:
        """
        Return whether a pose of this stamp would be stored as the newest, after two others.

        :param stamp_ns: nanoseconds.
        :param latest_ns: stamps of the newest two poses, nanoseconds; False if it has others.
        """
        poses = self._poses
        last = poses.stop - 1
        if last <= poses.start or stamp_ns - latest_ns[1] < self._spacing_ns:
            return False
        before, newest = poses.stamps[last - 1 : last + 1].tolist()
        return (before, newest) == latest_ns

    def append(self, stamp_ns: int, xyz: np.ndarray, kept: np.ndarray) -> None:
        """
        Store a pose that is newer than all others, as :meth:`add_body`.

        :param stamp_ns: time of the measurement, nanoseconds.
        :param xyz: metres, float64 (J, 3); zeros where ``kept`` is False.
        :param kept: joints from :attr:`body`, enough to form a body, bool (J,).
        """
        self._insert(len(self._poses), stamp_ns, xyz, kept)

    def absorb(self, earlier: PoseHistory) -> None:
        """
        Insert another history's poses before this one's: the same person under a former id.

        :param earlier: the other history; its poses that are not older than this one's first pose
            are left out.
        """
        first = self.oldest_stamp_ns
        np.maximum(self._joints_seen_ns, earlier._joints_seen_ns, out=self._joints_seen_ns)
        old = earlier._poses
        self._period_s = None
        for index in range(old.stop - 1, old.start - 1, -1):
            stamp = int(old.stamps[index])
            if first is None or stamp < first:
                self._poses.insert(0, stamp, old.xyz[index], old.valid[index])
        newest = self.newest_stamp_ns
        if newest is not None:
            self._forget(newest - self._kept_ns)

    def window(self) -> ObservedWindow | NotReady:
        """
        Return the observed window that ends at the newest pose, or the reason for having none.

        A joint that was not seen for up to ``max_joint_gap_s`` is filled in. Its bone keeps its
        length and rotates evenly from the direction where it was last seen to that where it is
        seen next, or stays. Spine, nose and head follow the torso and are filled in for any time.
        Other joints that are missing for longer count as never seen, until they have been seen for
        a whole window. They are completed from the others, see
        :func:`motion_predictor.body.completion.complete`, and marked as filled in all frames. If
        the others do not show a torso, there is no window.
        """
        return windows_of_histories([self])[0]

    # Storing

    def _insert(self, place: int, stamp_ns: int, xyz: np.ndarray, kept: np.ndarray) -> None:
        seen_ns = self._joints_seen_ns
        self._period_s = None
        self._poses.insert(place, stamp_ns, xyz, kept)
        np.maximum(seen_ns, stamp_ns, out=seen_ns, where=kept)
        self._forget(int(self._poses.stamps[self._poses.stop - 1]) - self._kept_ns)
        self.counters.poses_accepted += 1

    def refusal(self, stamp_ns: int) -> AddOutcome | None:
        """
        Return why a pose of this stamp would not be stored.

        :param stamp_ns: nanoseconds.
        :returns: DUPLICATE or TOO_LATE; None if it would be stored.
        """
        stamps = self._poses.stamps[self._poses.start : self._poses.stop]
        if not len(stamps) or stamp_ns - int(stamps[-1]) >= self._spacing_ns:
            return None  # newer, as in most cases
        place = int(np.searchsorted(stamps, stamp_ns))
        near = stamps[max(place - 1, 0) : place + 1]
        if len(near) and int(np.abs(near - stamp_ns).min()) < self._spacing_ns:
            return AddOutcome.DUPLICATE
        if place < len(stamps):
            # Before the period is known, allow for the slowest source.
            period = self.period_s if len(stamps) > 2 else 1.0 / self.limits.min_source_rate_hz
            assert period is not None
            if (int(stamps[-1]) - stamp_ns) * _NS >= self.limits.late_periods * period:
                return AddOutcome.TOO_LATE
        return None

    def _forget(self, before_ns: int) -> None:
        poses = self._poses
        if len(poses) and poses.stamps[poses.start] >= before_ns:
            return
        stale = int(np.searchsorted(poses.stamps[poses.start : poses.stop], before_ns))
        poses.start += min(stale, len(poses) - 1)


def windows_of_histories(
    histories: Sequence[PoseHistory],
) -> list[ObservedWindow | NotReady]:
    """
    Return what :meth:`PoseHistory.window` returns for each history, computed together.

    :param histories: histories that were made with the same settings and counters.
    """
    if not histories:
        return []
    one = histories[0]
    stored = [history._poses for history in histories]
    return observed_windows(stored, one.window_config, one.skeleton, one.limits, one.counters)


def _median(values: np.ndarray) -> float:
    # This equals np.median to the bit for a few finite numbers (N,), at a tenth of its cost.
    ordered = np.sort(values)
    return 0.5 * (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2])
