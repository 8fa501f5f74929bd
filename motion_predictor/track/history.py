"""One person's stamped poses → evenly spaced observed window, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum

import numpy as np

from motion_predictor.body.layouts import (
    FLOAT32_MOST,
    HEAD_TOP_M,
    joints_there,
    NOSE_AHEAD_M,
    NOSE_UP_M,
    SPINE_FRACTION,
    torso_frame,
)
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig


@dataclass(frozen=True, kw_only=True)
class HistoryLimits:
    """What is accepted of a tracker, and from when on a window is given."""

    max_joint_gap_s: float = 0.25
    """A joint that was not seen for longer (beyond the source's own period) is not filled in."""
    min_observed_s: float = 0.25
    """Motion to be seen before the first window; the time before it is padded, and marked."""
    min_poses: int = 3
    """Poses to be seen before the first window."""
    min_source_rate_hz: float = 4.0
    """A source slower than this gives no window."""
    max_source_rate_hz: float = 1000.0
    """A pose nearer in time to a stored one than this rate's period counts as its duplicate."""
    late_periods: float = 2.0
    """A pose late by less than this many periods of the source is put in its place."""
    min_joints: int = 4
    """A pose of fewer joints is refused."""
    max_bone_ratio: float = 2.0
    """Joints further apart than this many times the bones between them: one is off the body."""
    max_extent_m: float = 3.0
    """Joints further apart than this: one is off the body."""
    min_extent_m: float = 0.3
    """A body smaller than this is no body (all joints in one point)."""

    def __post_init__(self) -> None:
        bounds = {
            'max_joint_gap_s': (0.0, 2.0),
            'min_observed_s': (0.02, 10.0),
            'min_poses': (2, 1000),
            'min_source_rate_hz': (0.5, 100.0),
            'max_source_rate_hz': (100.0, 10_000.0),
            'late_periods': (0.0, 10.0),
            'min_joints': (1, 1000),
            'max_bone_ratio': (1.2, 10.0),
            'max_extent_m': (1.0, 10.0),
            'min_extent_m': (0.0, 0.9),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN fails too
                raise ConfigError(f'{name}={value}: must lie in {low}..{high}')


@dataclass
class HistoryCounters:
    """How often each rule of a history has acted."""

    poses_accepted: int = 0
    poses_inserted_late: int = 0
    """Of those accepted: out of order, put in their place."""
    poses_duplicate: int = 0
    """Dropped: the same stamp as one stored."""
    poses_too_late: int = 0
    """Dropped: late by too many periods."""
    poses_without_body: int = 0
    """Dropped: too few joints left that could belong to one body."""
    joints_missing: int = 0
    """Not seen: NaN, (0, 0, 0), of low confidence, or made of joints that were not."""
    joints_not_finite: int = 0
    """NaN, or beyond float32, in poses that no decoder has looked at; so below."""
    joints_at_origin: int = 0
    """Exactly (0, 0, 0): what drivers write for 'unknown'."""
    joints_off_body: int = 0
    windows_filled: int = 0
    """Windows with joints filled in."""
    windows_padded: int = 0
    """Windows whose beginning repeats the first pose seen."""

    def as_dict(self) -> dict[str, int]:
        """Give every counter by its name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


class AddOutcome(Enum):
    """What became of a pose."""

    APPENDED = 'appended'
    INSERTED_LATE = 'inserted_late'
    DUPLICATE = 'duplicate'
    TOO_LATE = 'too_late'
    WITHOUT_BODY = 'without_body'
    FROZEN = 'frozen'
    """Somebody who moved is shown in the same pose again, to the bit."""

    @property
    def accepted(self) -> bool:
        """Tell whether the pose is in the history."""
        return self in (AddOutcome.APPENDED, AddOutcome.INSERTED_LATE)


class NotReady(Enum):
    """Why there is no window."""

    NO_POSES = 'no_poses'
    TOO_FEW_POSES = 'too_few_poses'
    TOO_SHORT = 'too_short'
    """Seen for less than min_observed_s."""
    GAP_TOO_LONG = 'gap_too_long'
    """Nothing was seen of the person for too long, and not enough since."""
    JOINT_MISSING = 'joint_missing'
    """Some joint was not seen for too long, and not enough since."""
    SOURCE_TOO_SLOW = 'source_too_slow'


@dataclass(frozen=True)
class ObservedWindow:
    """
    What was observed of one person, evenly spaced, its last frame at ``stamp_ns``.

    ``poses`` float64 (T_obs, J, 3), metres, in the source's frame, always finite. ``filled``
    bool (T_obs, J) marks joints that were not seen and filled in. The first ``padded_frames``
    frames lie before anything was seen and repeat the first pose: no motion is made up.
    """

    stamp_ns: int
    poses: np.ndarray
    filled: np.ndarray
    padded_frames: int
    source_period_s: float

    def between(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Give poses at instants between frames.

        :param frames: instants in frames, 0 for the first to T_obs - 1 for the last, (N,).
        :returns: poses (N, J, 3), straight between the two frames; and which joints were seen in
            both of these, bool (N, J).
        """
        before = np.minimum(np.floor(frames).astype(np.int64), len(self.poses) - 2)
        share = (frames - before)[:, None, None]
        poses = self.poses[before] + share * (self.poses[before + 1] - self.poses[before])
        return poses, ~(self.filled[before] | self.filled[before + 1])


# Bones of a tall adult; what is much longer is a mistake of the tracker.
_BONES_M = {
    'RHip': 0.16, 'LHip': 0.16, 'RKnee': 0.50, 'LKnee': 0.50, 'RAnkle': 0.50, 'LAnkle': 0.50,
    'Spine': 0.30, 'Thorax': 0.35, 'Nose': 0.20, 'Head': 0.20, 'LShoulder': 0.25,
    'RShoulder': 0.25, 'LElbow': 0.35, 'RElbow': 0.35, 'LWrist': 0.32, 'RWrist': 0.32,
}  # fmt: skip
_OTHER_BONE_M = 0.5
_LOW_PASS_FROM = 1.5  # sources this many times faster than the window are low-passed
_LOW_PASS_REACH = 1.6  # half-width of the low-pass kernel, in periods of the window
_BONE_ROUNDS = 12  # of the projection that keeps bone lengths, at most
_BONE_TOLERANCE = 0.005  # of its length: as near as a filled-in bone comes to it
_FAR_M = 1e3  # from the rest of the body: no number that could drown the others
_BEYOND_M = 1e8  # from the frame's origin: no place on Earth, in no frame of reference
_UNEVEN = 3.0  # steps in time whose lengths differ by more have no slope in common
_GOES_ON_S = 0.5  # for so long a body is taken to go on as it moved
_NS = 1e-9


@dataclass
class _Poses:
    """Poses in the order of their stamps, in arrays that grow up to a limit."""

    joints: int
    limit: int
    stamps: np.ndarray = field(init=False)  # (room,) int64 ns
    xyz: np.ndarray = field(init=False)  # (room, J, 3)
    valid: np.ndarray = field(init=False)  # (room, J)
    start: int = 0
    stop: int = 0

    def __post_init__(self) -> None:
        self._make_room(64)

    def _make_room(self, room: int) -> None:
        old = (self.stamps, self.xyz, self.valid) if self.stop else None
        begin, end = self.start, self.stop
        self.stamps = np.empty(room, dtype=np.int64)
        self.xyz = np.zeros((room, self.joints, 3))
        self.valid = np.zeros((room, self.joints), dtype=bool)
        self.start, self.stop = 0, end - begin
        if old is not None:
            for new, kept in zip((self.stamps, self.xyz, self.valid), old):
                new[: self.stop] = kept[begin:end]

    def __len__(self) -> int:
        return self.stop - self.start

    def insert(self, place: int, stamp_ns: int, xyz: np.ndarray, valid: np.ndarray) -> None:
        """Put a pose before the one at ``place``, counted from the oldest."""
        if self.stop == len(self.stamps):
            # Half empty: move to the front. Else: grow.
            room = len(self.stamps)
            self._make_room(room if 2 * len(self) <= room else 2 * room)
        at = self.start + place
        for array, value in ((self.stamps, stamp_ns), (self.xyz, xyz), (self.valid, valid)):
            if at < self.stop:
                array[at + 1 : self.stop + 1] = array[at : self.stop].copy()
            array[at] = value
        self.stop += 1
        if len(self) > self.limit:
            self.start += 1


class PoseHistory:
    """
    One person's stamped poses in bounded memory.

    Poses are placed by their stamps, never by their arrival. :meth:`window` gives them evenly
    spaced at the model's rate, ending exactly at the newest stamp: interpolated by a cubic
    through the poses where the source is slower, smoothed by local parabolas (no delay, also at
    the end) where it is more than 1.5 times faster. Not thread-safe.

    A person who has just appeared gets a window once ``min_observed_s`` and ``min_poses`` are
    there; frames before the first pose repeat it. The same holds after a gap too long to fill:
    what lies before it is not used.
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

        :param window: rate and number of the frames to give.
        :param skeleton: joints of the poses.
        :param limits: what is accepted.
        :param counters: to be counted into, shared with other people's histories if need be.
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
        self._poses = _Poses(skeleton.num_joints, limit)
        self._near_m2 = _reach(skeleton, self.limits) ** 2
        self._min_extent_m = self.limits.min_extent_m
        if skeleton.bones_m is not None:  # of a robot smaller than people
            self._min_extent_m = min(self._min_extent_m, 0.3 * max(skeleton.bones_m))
        self._following = _following(skeleton)
        self._period_s: float | None = None  # of the poses as they are; None: not known
        self._joints_seen_ns = np.full(skeleton.num_joints, -1, dtype=np.int64)
        self._above = [_above(skeleton, joint) for joint in range(skeleton.num_joints)]
        self._grid_s = (
            np.arange(1 - self.window_config.observed_frames, 1) / self.window_config.rate_hz
        )

    def __len__(self) -> int:
        return len(self._poses)

    @property
    def stamps_ns(self) -> np.ndarray:
        """Stamps of the stored poses, increasing, int64 (N,)."""
        return self._poses.stamps[self._poses.start : self._poses.stop].copy()

    @property
    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest pose, None when there is none."""
        return int(self._poses.stamps[self._poses.stop - 1]) if len(self) else None

    @property
    def oldest_stamp_ns(self) -> int | None:
        """Stamp of the oldest pose stored, None when there is none."""
        return int(self._poses.stamps[self._poses.start]) if len(self) else None

    @property
    def period_s(self) -> float | None:
        """Give the source's period, the median between stamps; None before the second pose."""
        if self._period_s is None and len(self) > 1:
            stamps = self._poses.stamps[self._poses.start : self._poses.stop]
            self._period_s = float(_median(stamps[1:] - stamps[:-1])) * _NS
        return self._period_s

    @property
    def newest_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the newest pose, metres (J, 3), and which of its joints were seen, bool (J,)."""
        if not len(self):
            joints = self.skeleton.num_joints
            return np.zeros((joints, 3)), np.zeros(joints, dtype=bool)
        index = self._poses.stop - 1
        return self._poses.xyz[index].copy(), self._poses.valid[index].copy()

    @property
    def oldest_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the oldest pose stored, as :attr:`newest_pose`."""
        if not len(self):
            return self.newest_pose
        index = self._poses.start
        return self._poses.xyz[index].copy(), self._poses.valid[index].copy()

    @property
    def joints_seen_ns(self) -> np.ndarray:
        """Stamp at which each joint was seen last, -1 for never, int64 (J,)."""
        return self._joints_seen_ns.copy()

    @property
    def following_joints(self) -> frozenset[int]:
        """Joints that follow the torso, so that they need not be seen."""
        return frozenset(self._following)

    @property
    def newest_root(self) -> np.ndarray | None:
        """Where the person was last: the root joint, or the mean of those seen; metres (3,)."""
        return self._root(self._poses.stop - 1) if len(self) else None

    @property
    def oldest_root(self) -> np.ndarray | None:
        """Where the person was in the oldest pose stored, as :attr:`newest_root`."""
        return self._root(self._poses.start) if len(self) else None

    def expected(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """
        Return where the body was nearest in time to an instant, and where it is expected then.

        :param stamp_ns: the instant. A body goes on as a whole as it moved between the newest two
            poses; before the newest pose it is expected where it was.
        :returns: the pose nearest in time, metres (J, 3); the same moved on; which joints of it
            were seen, bool (J,); its stamp. Without poses, zeros.
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
        Correct the stamps of poses; those whose order would change stay as they are.

        :param stamps_ns: right stamps by the former ones.
        """
        poses = self._poses
        kept = poses.stamps[poses.start : poses.stop]
        right = np.array([stamps_ns.get(stamp, stamp) for stamp in kept.tolist()], dtype=np.int64)
        if (np.diff(right) > 0).all():
            kept[:] = right
            self._period_s = None

    def swap(self, mirror: np.ndarray) -> None:
        """
        Exchange joints of every pose: left and right were taken for one another so far.

        :param mirror: the joint whose place each takes, (J,).
        """
        poses = self._poses
        kept = slice(poses.start, poses.stop)
        poses.xyz[kept] = poses.xyz[kept][:, mirror]
        poses.valid[kept] = poses.valid[kept][:, mirror]
        self._joints_seen_ns = self._joints_seen_ns[mirror]

    def clear(self) -> None:
        """Forget every pose; counters stay."""
        self._poses = _Poses(self.skeleton.num_joints, self._poses.limit)
        self._period_s = None
        self._joints_seen_ns[:] = -1

    def add(self, stamp_ns: int, xyz: np.ndarray, valid: np.ndarray | None = None) -> AddOutcome:
        """
        Store a pose.

        :param stamp_ns: when it was measured, nanoseconds.
        :param xyz: metres, shape ``(J, 3)``; NaN and (0, 0, 0) mean not seen.
        :param valid: which joints were seen, bool ``(J,)``; all by default.
        :returns: whether it was stored, and why not.
        :raises ShapeError: if an array has another shape.
        """
        joints = self.skeleton.num_joints
        xyz = np.asarray(xyz, dtype=np.float64)
        require_shape('xyz', xyz, (joints, 3))
        told = np.ones(joints, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
        require_shape('valid', told, (joints,))
        seen = told & self.joints_shown(xyz)
        kept = self.joints_of_one_body(xyz, seen)
        if not self.is_body(kept):
            self.counters.poses_without_body += 1
            return AddOutcome.WITHOUT_BODY
        return self.add_body(stamp_ns, xyz, kept)

    def is_body(self, kept: np.ndarray) -> bool:
        """
        Tell whether enough joints are left to be somebody.

        :param kept: joints from :meth:`joints_of_one_body`, bool (J,).
        """
        return bool(kept.sum() >= min(self.limits.min_joints, self.skeleton.num_joints))

    def add_body(self, stamp_ns: int, xyz: np.ndarray, kept: np.ndarray) -> AddOutcome:
        """
        Store a pose whose joints were looked at already.

        :param stamp_ns: when it was measured, nanoseconds.
        :param xyz: metres, float64 (J, 3).
        :param kept: joints from :meth:`joints_of_one_body`, enough to be a body, bool (J,).
        :returns: whether it was stored, and why not.
        """
        stamp_ns = int(stamp_ns)
        refused = self.refusal(stamp_ns)
        if refused is not None:
            late = refused is AddOutcome.TOO_LATE
            self.counters.poses_too_late += late
            self.counters.poses_duplicate += not late
            return refused
        stamps = self._poses.stamps[self._poses.start : self._poses.stop]
        in_order = not len(stamps) or stamp_ns > stamps[-1]
        place = len(stamps) if in_order else int(np.searchsorted(stamps, stamp_ns))
        self._period_s = None
        self._poses.insert(place, stamp_ns, np.where(kept[:, None], xyz, 0.0), kept)
        self._joints_seen_ns[kept] = np.maximum(self._joints_seen_ns[kept], stamp_ns)
        self._forget(int(self._poses.stamps[self._poses.stop - 1]) - self._kept_ns)
        self.counters.poses_accepted += 1
        if in_order:
            return AddOutcome.APPENDED
        self.counters.poses_inserted_late += 1
        return AddOutcome.INSERTED_LATE

    def absorb(self, earlier: PoseHistory) -> None:
        """
        Put another history's poses before this one's: the same person under a former id.

        :param earlier: its poses not older than this one's first are left out.
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
        Give the observed window that ends at the newest pose, or say why there is none.

        A joint that was not seen for up to ``max_joint_gap_s`` is filled in: its bone swings
        evenly from where it was last seen to where it is seen next (or stays as it was), at its
        length. Spine, nose and head, which follow the torso, are filled in for any time.
        """
        if not len(self):
            return NotReady.NO_POSES
        poses, limits = self._poses, self.limits
        if len(self) < limits.min_poses:
            return NotReady.TOO_FEW_POSES
        stamps = poses.stamps[poses.start : poses.stop]
        newest = int(stamps[-1])
        times = (stamps - newest) * _NS  # (N,) <= 0
        steps = times[1:] - times[:-1]
        period = float(_median(steps))
        if period > 1.0 / limits.min_source_rate_hz:
            return NotReady.SOURCE_TOO_SLOW
        longest = limits.max_joint_gap_s + 1.5 * period
        breaks = np.flatnonzero(steps > longest) + 1
        start = int(breaks[-1]) if len(breaks) else 0  # what lies before a gap is not used
        reason = NotReady.GAP_TOO_LONG if start else None
        # Poses before the window matter only through the shape of the interpolation.
        cut = max(start, int(np.searchsorted(times, self._grid_s[0] - 2.5 * period)) - 1)
        xyz = poses.xyz[poses.start : poses.stop]
        valid = poses.valid[poses.start : poses.stop]
        if not valid[cut:].all():
            resumed = self._resumed_after_gap(times[start:], valid[start:], longest)
            if resumed is None:
                return NotReady.JOINT_MISSING
            if resumed:
                start, reason = start + resumed, NotReady.JOINT_MISSING
                if self._is_unseen(valid[start:]):
                    return NotReady.JOINT_MISSING
            cut = max(start, cut)
        few = len(times) - start < limits.min_poses
        if few or -times[start] < limits.min_observed_s - 1e-6:
            return reason or (NotReady.TOO_FEW_POSES if few else NotReady.TOO_SHORT)
        used = xyz[cut:]
        if not valid[cut:].all():
            used = self._fill(times[start:], xyz[start:], valid[start:])[cut - start :]
        return self._resample(newest, times[cut:], used, valid[cut:], period)

    # Storing

    def refusal(self, stamp_ns: int) -> AddOutcome | None:
        """
        Tell why a pose of this stamp would not be stored.

        :param stamp_ns: nanoseconds.
        :returns: DUPLICATE or TOO_LATE; None where it would be stored.
        """
        stamps = self._poses.stamps[self._poses.start : self._poses.stop]
        if not len(stamps) or stamp_ns - int(stamps[-1]) >= self._spacing_ns:
            return None  # newer, as nearly always
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

    def joints_shown(self, xyz: np.ndarray) -> np.ndarray:
        """
        Tell which joints are there in a pose that no decoder has looked at.

        :param xyz: as they came, (J, 3), of whatever layout.
        :returns: bool (J,); the others are counted.
        """
        shown = joints_there(xyz, self.skeleton)
        if not shown.all():
            finite = (np.abs(xyz) <= FLOAT32_MOST).all(axis=1)
            self.counters.joints_not_finite += int((~finite).sum())
            self.counters.joints_at_origin += int((finite & ~shown).sum())
        return shown

    def joints_of_one_body(self, xyz: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """
        Find the joints that are there, and near enough to one another to be of one body.

        :param xyz: metres, float64 (J, 3).
        :param seen: which of them are really shown, bool (J,); these are finite.
        :returns: which can be used, bool (J,); the others are counted.
        """
        kept = seen.copy()
        if not kept.all():
            self.counters.joints_missing += int((~seen).sum())
        if not kept.any():
            return kept
        # About a point on the body, as coordinates in a map may be large; what is absurdly far
        # must not drown the rest.
        if kept.all():
            points = xyz - np.sort(xyz, axis=0)[len(xyz) // 2]
            if np.abs(points).max() <= _FAR_M and np.abs(xyz).max() <= _BEYOND_M:
                square = (points * points).sum(axis=1)
                apart = square[:, None] + square - 2.0 * points @ points.T
                if apart.max() >= self._min_extent_m**2 and (apart <= self._near_m2).all():
                    return kept  # as nearly always
        points = np.where(kept[:, None], xyz, 0.0)
        with np.errstate(over='ignore'):
            points = points - np.sort(points[kept], axis=0)[np.count_nonzero(kept) // 2]
        far = kept & ((np.abs(points) > _FAR_M) | (np.abs(xyz) > _BEYOND_M)).any(axis=1)
        if far.any():
            self.counters.joints_off_body += int(far.sum())
            kept &= ~far
            if not kept.any():
                return kept
        points = np.where(kept[:, None], points, 0.0)
        square = (points * points).sum(axis=1)
        apart = square[:, None] + square - 2.0 * points @ points.T
        both = kept[:, None] & kept
        if np.where(both, apart, 0.0).max() < self._min_extent_m**2 and kept.sum() > 2:
            self.counters.joints_off_body += int(kept.sum())
            return np.zeros_like(kept)
        conflicts = (apart > self._near_m2) & both
        while conflicts.any():
            # The joint at odds with most others goes first; of equals, the one further away.
            votes = conflicts.sum(axis=1)
            worst = np.flatnonzero(votes == votes.max())
            far = np.where(both[worst], apart[worst], 0.0).sum(axis=1)
            off = int(worst[far.argmax()])
            kept[off] = False
            both[off], both[:, off] = False, False
            conflicts &= both
            self.counters.joints_off_body += 1
        return kept

    # The window

    def _resumed_after_gap(
        self, times: np.ndarray, valid: np.ndarray, longest: float
    ) -> int | None:
        # The first pose from which on no joint is missing for too long; None if one still is.
        resumed = 0
        for joint in np.flatnonzero(~valid.all(axis=0)):
            if int(joint) in self._following:
                continue
            seen = np.flatnonzero(valid[:, joint])
            if not len(seen) or -times[seen[-1]] > longest:
                return None
            if times[seen[0]] - times[0] > longest:
                resumed = max(resumed, int(seen[0]))
            gaps = np.flatnonzero(np.diff(times[seen]) > longest)
            if len(gaps):
                resumed = max(resumed, int(seen[gaps[-1] + 1]))
        return resumed

    def _is_unseen(self, valid: np.ndarray) -> bool:
        # Whether some joint that must be seen is in none of these poses.
        unseen = np.flatnonzero(~valid.any(axis=0))
        return any(int(joint) not in self._following for joint in unseen)

    def _fill(self, times: np.ndarray, xyz: np.ndarray, valid: np.ndarray) -> np.ndarray:
        # Put joints where they were not seen: (N, J, 3) in, the same without holes out.
        origin = xyz[-1, valid[-1]].mean(axis=0)
        points = np.where(valid[..., None], xyz - origin, 0.0)
        holes = [int(joint) for joint in np.flatnonzero(~valid.all(axis=0))]
        free = [joint for joint in holes if joint not in self._following]
        for joint in free:
            anchor = self._anchor(joint, points, valid)
            offset = points[:, joint] - anchor
            points[:, joint] = anchor + _swing(times, offset, valid[:, joint])
        self._keep_bones(points, valid, [joint for joint in free if joint != 0])
        known = np.ones_like(valid)
        for joint in [joint for joint in holes if joint in self._following]:
            axes, scale, _ = torso_frame(points, known)
            base = points[:, self._following[joint]]
            if valid[:, joint].any():
                local = np.einsum('nij,ni->nj', axes, points[:, joint] - base)
                local = _swing(times, local, valid[:, joint])
            elif joint == self.skeleton.joints.index('Spine'):
                points[:, joint] = base + SPINE_FRACTION * (points[:, 8] - base)
                continue
            else:
                nose = self.skeleton.joints[joint] == 'Nose'
                rest = (NOSE_AHEAD_M, 0.0, NOSE_UP_M) if nose else (0.0, 0.0, HEAD_TOP_M)
                local = scale[:, None] * np.array(rest)
            points[:, joint] = base + np.einsum('nij,nj->ni', axes, local)
        return points + origin

    def _anchor(self, joint: int, points: np.ndarray, valid: np.ndarray) -> np.ndarray:
        # What a joint that was not seen is filled in from: its parent, or the root's neighbours.
        parent = self._above[joint]
        if parent >= 0:
            return points[:, parent]
        steady = [int(other) for other in np.flatnonzero(np.all(valid, axis=0))]
        near = [child for child in steady if self._above[child] == joint] or steady
        return points[:, near].mean(axis=1) if near else np.zeros_like(points[:, joint])

    def _keep_bones(self, points: np.ndarray, valid: np.ndarray, movable: list[int]) -> None:
        # Move filled joints until the bones to their neighbours have the person's lengths.
        bones = [
            (child, parent)
            for child, parent in enumerate(self._above)
            if parent >= 0
            and child not in self._following
            and (child in movable or parent in movable)
            and (valid[:, child] & valid[:, parent]).any()
        ]
        if not bones:
            return
        children, parents = np.array(bones).T
        rows = np.flatnonzero(~valid[:, movable].all(axis=1))
        along = points[:, children] - points[:, parents]
        both = valid[:, children] & valid[:, parents]
        found = np.where(both, np.sqrt((along * along).sum(axis=2)), np.nan)
        wanted = np.nanmedian(found, axis=0)  # (bones,)
        free = np.zeros(valid.shape, dtype=bool)
        free[:, movable] = ~valid[:, movable]
        move_child, move_parent = free[rows][:, children], free[rows][:, parents]  # (rows, bones)
        shares = np.maximum(move_child + 0.0 + move_parent, 1.0)
        ends = np.zeros((valid.shape[1], 2 * len(bones)))
        ends[children, np.arange(len(bones))] = -1.0
        ends[parents, np.arange(len(bones)) + len(bones)] = 1.0
        ends /= np.maximum(0.7 * np.abs(ends).sum(axis=1, keepdims=True), 1.0)
        moved = points[rows]
        for _ in range(_BONE_ROUNDS):
            along = moved[:, children] - moved[:, parents]
            length = np.maximum(np.sqrt((along * along).sum(axis=2)), 1e-6)
            excess = (length - wanted) / (length * shares)  # (rows, bones)
            pull = np.concatenate((move_child * excess, move_parent * excess), axis=1)
            if np.abs(pull).max() < _BONE_TOLERANCE:
                break
            moved += ends @ (pull[..., None] * np.concatenate((along, along), axis=1))
        points[rows] = moved

    def _resample(
        self,
        newest: int,
        times: np.ndarray,
        xyz: np.ndarray,
        valid: np.ndarray,
        period: float,
    ) -> ObservedWindow:
        grid = self._grid_s
        padded = int((grid < times[0] - 1e-6).sum())
        at = np.maximum(grid, times[0])
        origin = xyz[-1, 0].copy()
        values = (xyz - origin).reshape(len(times), -1)  # (N, 3J)
        poses = _hermite(times, values, at)
        if self.window_config.rate_hz * period * _LOW_PASS_FROM < 1.0:
            reach = _LOW_PASS_REACH * self.window_config.period_s
            _smooth(times, values, at, reach, period, poses)
        if padded:
            self.counters.windows_padded += 1
        filled = np.zeros((len(grid), self.skeleton.num_joints), dtype=bool)
        if not valid.all():
            # A frame is filled if a neighbour it is made of is.
            right = np.clip(np.searchsorted(times, at - 1e-9), 0, len(times) - 1)
            left = np.clip(np.searchsorted(times, at + 1e-9, side='right') - 1, 0, right)
            filled = ~(valid[left] & valid[right])
            self.counters.windows_filled += int(filled.any())
        poses = poses.reshape(len(grid), -1, 3) + origin
        return ObservedWindow(newest, poses, filled, padded, period)


def _reach(skeleton: Skeleton, limits: HistoryLimits) -> np.ndarray:
    # Furthest apart that two joints can be, along the bones between them: (J, J) metres.
    count = skeleton.num_joints
    reach = np.full((count, count), np.inf)
    np.fill_diagonal(reach, 0.0)
    for child, parent in skeleton.bones:
        length = _BONES_M.get(skeleton.joints[child], _OTHER_BONE_M)
        if skeleton.bones_m is not None:
            length = max(skeleton.bones_m[child], 0.01)
        reach[child, parent] = reach[parent, child] = limits.max_bone_ratio * length
    for middle in range(count):
        reach = np.minimum(reach, reach[:, middle, None] + reach[middle])
    if skeleton.bones_m is None:
        reach = np.minimum(reach, limits.max_extent_m)
    np.fill_diagonal(reach, np.inf)
    return reach


def _following(skeleton: Skeleton) -> dict[int, int]:
    # Joints that move with the torso, and where they sit on it: {joint: base}.
    if skeleton.joints != H36M17.joints:
        return {}
    index = skeleton.index
    return {
        index('Spine'): index('Hip'),
        index('Nose'): index('Thorax'),
        index('Head'): index('Thorax'),
    }


def _above(skeleton: Skeleton, joint: int) -> int:
    # The nearest joint towards the root that does not merely follow the torso; -1 for the root.
    following = _following(skeleton)
    joint = skeleton.parents[joint]
    while joint in following:
        joint = skeleton.parents[joint]
    return joint


def _median(values: np.ndarray) -> float:
    # As np.median, to the bit, of a few finite numbers (N,), at a tenth of its cost.
    ordered = np.sort(values)
    return 0.5 * (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2])


def _swing(times: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    # Vectors (N, 3) where not seen: turned evenly between those seen, held at the ends.
    known = np.flatnonzero(seen)
    at = times[known]
    between = np.stack([np.interp(times, at, offsets[known, axis]) for axis in range(3)], axis=1)
    if len(known) > 2:
        # Halfway to the cubic: alone it halves the error on clean motion, but noise in its slopes
        # grows with the gap.
        between = 0.5 * (between + _hermite(at, offsets[known], times))
    lengths = np.sqrt((offsets[known] ** 2).sum(axis=1))
    wanted = np.interp(times, at, lengths)
    found = np.sqrt((between * between).sum(axis=1))
    factor = wanted / np.maximum(found, 1e-6)
    # Opposite directions have no even swing between them; keep the straight way near the middle.
    factor = np.where(found > 0.1 * wanted, factor, 1.0)
    return np.where(seen[:, None], offsets, between * factor[:, None])


def _hermite(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    # Cubic through values (N, D) with slopes of the parabola through three neighbours. Measured
    # on recorded motion it is as good as a spline at 10 to 120 Hz, better at 5 Hz and with noise.
    steps = np.diff(times)
    slopes = np.diff(values, axis=0) / steps[:, None]
    tangents = np.empty_like(values)
    if len(times) > 2:
        share = (steps[1:] / (steps[1:] + steps[:-1]))[:, None]
        tangents[1:-1] = share * slopes[:-1] + (1.0 - share) * slopes[1:]
        tangents[0] = 2.0 * slopes[0] - tangents[1]
        tangents[-1] = 2.0 * slopes[-1] - tangents[-2]
    else:
        tangents[:] = slopes[0]
    left = np.clip(np.searchsorted(times, at, side='right') - 1, 0, len(times) - 2)
    width = steps[left]
    u = np.clip((at - times[left]) / width, 0.0, 1.0)
    v = 1.0 - u
    # Beside a much shorter step a slope says little: two poses almost at once, a little apart,
    # must not throw the curve off. So nothing strays further than such neighbours are apart.
    chord = slopes[left]
    before = np.minimum(_UNEVEN * steps[np.maximum(left - 1, 0)] / width, 1.0)
    after = np.minimum(_UNEVEN * steps[np.minimum(left + 1, len(steps) - 1)] / width, 1.0)
    begin = (width * u * v * v * before)[:, None] * (tangents[left] - chord)
    end = (-width * u * u * v * after)[:, None] * (tangents[left + 1] - chord)
    return values[left] + (u * width)[:, None] * chord + begin + end


def _smooth(
    times: np.ndarray,
    values: np.ndarray,
    at: np.ndarray,
    reach: float,
    period: float,
    result: np.ndarray,
) -> None:
    # Where enough poses lie around, replace result (T, D) by weighted local parabolas through
    # them: a low-pass without delay, that keeps any parabola, also at the window's end.
    # Towards the end the kernel is one-sided and reaches back further, to as many poses.
    room = times[-1] - at
    reaches = reach + np.maximum(reach - room, 0.0)
    distance = (times - at[:, None]) / reaches[:, None]  # (T, N)
    weights = np.maximum(1.0 - distance * distance, 0.0) ** 2
    enough = (weights > 0.0).sum(axis=1) >= np.maximum(4, 0.4 * reach / period)
    # Powers of the distance under the weights give the normal equations of all frames at once.
    moments = np.empty((5, len(at)))
    columns = np.empty((3, *weights.shape))
    term = weights
    for power in range(5):
        if power < 3:
            columns[power] = term
        moments[power] = term.sum(axis=1)
        term = term * distance
    order = np.arange(3)
    normal = moments[order[:, None] + order].transpose(2, 0, 1).copy()  # (T, 3, 3)
    normal += 1e-9 * np.eye(3) * np.maximum(moments[0], 1.0)[:, None, None]
    first = np.zeros((len(at), 3, 1))
    first[:, 0] = 1.0
    solved = np.linalg.solve(normal, first)[..., 0]  # (T, 3)
    kernel = np.einsum('tp,ptn->tn', solved, columns)  # (T, N)
    # Poses all to one side can make a parabola that amplifies their noise: leave that alone.
    enough &= (kernel * kernel).sum(axis=1) <= 1.0
    result[enough] = (kernel @ values)[enough]
