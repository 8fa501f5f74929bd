"""Gaps in the observation of a person: their length, and the filling of missing joints."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from motion_predictor.body.completion import can_complete, complete, shows_torso
from motion_predictor.body.geometry import TORSO, torso_frame
from motion_predictor.body.layout import HEAD_TOP_M, NOSE_AHEAD_M, NOSE_UP_M, SPINE_FRACTION
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.track.window import hermite

_BONE_ROUNDS = 12  # greatest number of steps of the projection that keeps bone lengths
_BONE_TOLERANCE = 0.005  # of a filled bone's length: an error at which the projection stops


class Known(NamedTuple):
    """A history's N poses, in which joints that were never seen are in their usual places."""

    xyz: np.ndarray
    """Metres, (N, J, 3); joints that were missing for a while may hold anything."""
    valid: np.ndarray
    """Which joints were seen or are made up, bool (N, J)."""
    made_up: np.ndarray
    """Joints that were never seen, bool (J,)."""
    start: int
    """Index of the first pose that may be used."""


class Gaps:
    """Fills in the joints of one person's poses that were not seen."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Find the neighbours of each joint.

        :param skeleton: skeleton of the poses.
        """
        self.skeleton = skeleton
        self.following = _following(skeleton)
        """Joints that follow the torso, so that they need not be seen; where they sit on it."""
        self._above = [_above(skeleton, joint) for joint in range(skeleton.num_joints)]

    def known(
        self,
        times: np.ndarray,
        xyz: np.ndarray,
        valid: np.ndarray,
        *,
        start: int,
        cut: int,
        longest: float,
    ) -> Known | None:
        """
        Return the poses from which a window can be computed.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param xyz: metres, (N, J, 3).
        :param valid: which joints were seen, bool (N, J).
        :param start: index of the first pose after the last gap of the whole body.
        :param cut: index of the first pose that the window needs.
        :param longest: longest time that a joint may be missing, seconds.
        :returns: the poses; None if too many joints are missing.
        """
        unseen = np.zeros(valid.shape[1], dtype=bool)
        if valid[cut:].all():
            return Known(xyz, valid, unseen, start)
        missing = self.never_seen(times[start:], valid[start:], longest, cut - start)
        if can_complete(self.skeleton) and not shows_torso(~missing, self.skeleton):
            shown = self.torso_shown_after(times[start:], valid[start:], longest)
            if shown is None:
                return None
            start += shown
            cut = max(start, cut)
            missing = self.never_seen(times[start:], valid[start:], longest, cut - start)
        if missing.any() and shows_torso(~missing, self.skeleton):
            unseen = missing
            xyz, valid = self.completed(times, xyz, valid, unseen)
        resumed = self.resumed_after(times[start:], valid[start:], longest)
        if resumed is None or (resumed and self.is_unseen(valid[start + resumed :])):
            return None
        return Known(xyz, valid, unseen, start + resumed)

    def resumed_after(self, times: np.ndarray, valid: np.ndarray, longest: float) -> int | None:
        """
        Return the first pose after which no joint is missing for too long.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param valid: which joints were seen, bool (N, J).
        :param longest: longest time that a joint may be missing, seconds.
        :returns: its index; None if a joint is still missing.
        """
        resumed = 0
        for joint in np.flatnonzero(~valid.all(axis=0)):
            if int(joint) in self.following:
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

    def never_seen(
        self, times: np.ndarray, valid: np.ndarray, longest: float, first: int = 0
    ) -> np.ndarray:
        """
        Return the joints that are missing for too long, so that they are made up in all frames.

        Joints that follow the torso are not among them if the torso's frame is known.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param valid: which joints were seen, bool (N, J).
        :param longest: longest time that a joint may be missing, seconds.
        :param first: index of the first pose that matters; gaps that end before it do not count.
        :returns: bool (J,).
        """
        found = np.zeros(valid.shape[1], dtype=bool)
        for joint in np.flatnonzero(~valid[first:].all(axis=0)):
            at = np.concatenate((times[:1], times[valid[:, joint]], times[-1:]))
            late = at[1:] > times[first]
            found[joint] = not valid[:, joint].any() or np.diff(at)[late].max() > longest
        if self.following and not found[list(TORSO)].any():
            found[list(self.following)] = False
        return found

    def torso_shown_after(
        self, times: np.ndarray, valid: np.ndarray, longest: float
    ) -> int | None:
        """
        Return the first pose after which hips and shoulders show a torso without long gaps.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param valid: which joints were seen, bool (N, J).
        :param longest: longest time that a joint may be missing, seconds.
        :returns: its index; None if too little of a torso is seen at the end.
        """
        late = times >= -longest
        gone = np.asarray(~valid[late].any(axis=0))
        if not shows_torso(~gone, self.skeleton):
            return None
        torso = [*(self.skeleton.hips or ()), *(self.skeleton.shoulders or ())]
        matters = np.zeros_like(gone)
        matters[torso] = True
        return self.resumed_after(times, valid | gone | ~matters, longest)

    def completed(
        self, times: np.ndarray, xyz: np.ndarray, valid: np.ndarray, unseen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Place joints that were never seen where they usually are relative to the others.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param xyz: metres, (N, J, 3).
        :param valid: which joints were seen, bool (N, J).
        :param unseen: joints from :meth:`never_seen`; the others show a torso, bool (J,).
        :returns: poses that hold those joints throughout, (N, J, 3), and which joints are known
            then, bool (N, J).
        """
        known = xyz.copy()
        for joint in np.flatnonzero(~unseen & ~valid.all(axis=0)):
            seen = valid[:, joint]
            if seen.any():  # otherwise it follows the torso
                for axis in range(3):
                    known[:, joint, axis] = np.interp(times, times[seen], xyz[seen, joint, axis])
        usable = ~unseen & valid.any(axis=0)
        standing_in = complete(known[None], usable[None], self.skeleton)[0]
        return np.where(unseen[:, None], standing_in, xyz), valid | unseen

    def is_unseen(self, valid: np.ndarray) -> bool:
        """
        Return whether a joint that must be seen is missing in all of these poses.

        :param valid: which joints were seen, bool (N, J).
        """
        unseen = np.flatnonzero(~valid.any(axis=0))
        return any(int(joint) not in self.following for joint in unseen)

    def fill(self, times: np.ndarray, xyz: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """
        Fill in joints that were not seen.

        :param times: times of the poses, seconds, increasing to 0, (N,).
        :param xyz: metres, (N, J, 3).
        :param valid: which joints were seen, bool (N, J).
        :returns: poses without missing joints, (N, J, 3).
        """
        origin = xyz[-1, valid[-1]].mean(axis=0)
        points = np.where(valid[..., None], xyz - origin, 0.0)
        holes = [int(joint) for joint in np.flatnonzero(~valid.all(axis=0))]
        free = [joint for joint in holes if joint not in self.following]
        for joint in free:
            anchor = self._anchor(joint, points, valid)
            offset = points[:, joint] - anchor
            points[:, joint] = anchor + _swing(times, offset, valid[:, joint])
        self._keep_bones(points, valid, [joint for joint in free if joint != 0])
        known = np.ones_like(valid)
        for joint in [joint for joint in holes if joint in self.following]:
            axes, scale, _ = torso_frame(points, known)
            base = points[:, self.following[joint]]
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
        # Return the joint from which a missing joint is filled in: its parent, or the root's
        # neighbours.
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
            and child not in self.following
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


def _following(skeleton: Skeleton) -> dict[int, int]:
    # Return the joints that move with the torso, each with its position in the torso's frame.
    if skeleton.joints != H36M17.joints:
        return {}
    index = skeleton.index
    return {
        index('Spine'): index('Hip'),
        index('Nose'): index('Thorax'),
        index('Head'): index('Thorax'),
    }


def _above(skeleton: Skeleton, joint: int) -> int:
    # Return the nearest joint towards the root that does not just follow the torso; -1 for the
    # root.
    following = _following(skeleton)
    joint = skeleton.parents[joint]
    while joint in following:
        joint = skeleton.parents[joint]
    return joint


def _swing(times: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    # Fill in unseen vectors (N, 3): rotated evenly between seen ones, held at the ends.
    known = np.flatnonzero(seen)
    at = times[known]
    between = np.stack([np.interp(times, at, offsets[known, axis]) for axis in range(3)], axis=1)
    if len(known) > 2:
        # Half of the way to the cubic: the full cubic halves the error on clean motion, but the
        # noise in its slopes grows with the gap.
        between = 0.5 * (between + hermite(at, offsets[known], times))
    lengths = np.sqrt((offsets[known] ** 2).sum(axis=1))
    wanted = np.interp(times, at, lengths)
    found = np.sqrt((between * between).sum(axis=1))
    factor = wanted / np.maximum(found, 1e-6)
    # Opposite directions have no even rotation between them; stay on the straight line near the
    # middle.
    factor = np.where(found > 0.1 * wanted, factor, 1.0)
    return np.where(seen[:, None], offsets, between * factor[:, None])
