# SPDX-License-Identifier: Apache-2.0
"""Fill in the joints of several people that were not seen for a while."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.geometry import torso_frame
from motion_predictor.body.layout import HEAD_TOP_M, NOSE_AHEAD_M, NOSE_UP_M, SPINE_FRACTION
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.windows.kernels import between_seen, cubic
from motion_predictor.track.windows.missing import following
from motion_predictor.track.windows.stored import SideBySide

_BONE_ROUNDS = 12  # greatest number of steps of the projection that keeps bone lengths
_BONE_TOLERANCE = 0.005  # of a filled bone's length: an error at which the projection stops
_THORAX = 8


class Filling:
    """
    Fills in joints that were seen before or after.

    A bone keeps its length and rotates evenly from the direction where it was last seen to that
    where it is seen next, or stays. Joints that follow the torso are filled in for any time.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Find the neighbours of each joint.

        :param skeleton: skeleton of the poses.
        """
        self._skeleton = skeleton
        self._following = following(skeleton)
        above = [_above(skeleton, joint) for joint in range(skeleton.num_joints)]
        depth = np.zeros(len(above), dtype=np.int64)
        for joint, parent in enumerate(above[1:], 1):
            depth[joint] = depth[parent] + 1
        self._outwards = [np.flatnonzero(depth == steps) for steps in range(1, depth.max() + 1)]
        self._anchors = np.array(above)
        """The joint from which each missing joint is filled in; -1 for the root."""
        bones = [
            (child, parent)
            for child, parent in enumerate(above)
            if parent >= 0 and child not in self._following
        ]
        self._children, self._parents = np.array(bones, dtype=np.int64).reshape(-1, 2).T
        number = np.arange(len(bones))
        self._ends = np.zeros((skeleton.num_joints, 2 * len(bones)))
        self._ends[self._children, number] = -1.0
        self._ends[self._parents, number + len(bones)] = 1.0

    def fill(self, poses: SideBySide) -> np.ndarray:
        """
        Fill in joints that were not seen.

        :param poses: every joint that does not follow the torso was seen at least once.
        :returns: poses without missing joints, (P, N, J, 3); zero before the first that counts.
        """
        valid, there = poses.valid, poses.there
        seen_last = valid[:, -1, :, None]
        origin = np.where(seen_last, poses.xyz[:, -1], 0.0).sum(axis=1) / seen_last.sum(axis=1)
        origin = origin[:, None, None]
        points = np.where(valid[..., None], poses.xyz - origin, 0.0)
        holes = (~valid & there[..., None]).any(axis=1)  # (P, J)
        free = holes.copy()
        free[:, list(self._following)] = False
        if free[:, 0].any():
            self._swing_root(points, poses, holes)
        for joints in self._outwards:
            who, which = np.nonzero(free[:, joints])
            if len(who):
                joint = joints[which]
                anchor = points[who, :, self._anchors[joint]]
                offset = points[who, :, joint] - anchor
                swung = _swing(poses.times[who], offset, valid[who, :, joint])
                points[who, :, joint] = anchor + swung
        free[:, 0] = False
        who = np.flatnonzero(free.any(axis=1))
        if len(who) and len(self._children):
            points[who] = self._with_bones(points[who], poses.of(who), free[who])
        self._place_following(points, poses, holes)
        return np.asarray(np.where(there[..., None, None], points + origin, 0.0))

    def _swing_root(self, points: np.ndarray, poses: SideBySide, holes: np.ndarray) -> None:
        # Fill in the root from the mean of its neighbours, or of all others, that are seen.
        who = np.flatnonzero(holes[:, 0])
        near = ~holes[who] & (self._anchors == 0)
        used = np.where(near.any(axis=1, keepdims=True), near, ~holes[who])
        count = np.maximum(used.sum(axis=1), 1)[:, None, None]
        anchor = np.einsum('nj,ntjc->ntc', used.astype(np.float64), points[who]) / count
        offset = points[who, :, 0] - anchor
        points[who, :, 0] = anchor + _swing(poses.times[who], offset, poses.valid[who, :, 0])

    def _place_following(self, points: np.ndarray, poses: SideBySide, holes: np.ndarray) -> None:
        # Put the joints that follow the torso where they were on it, or where they usually are.
        there = [joint for joint in self._following if holes[:, joint].any()]
        if not there:
            return
        axes, scale, _ = torso_frame(points, np.ones_like(poses.valid))
        for joint in there:
            who = np.flatnonzero(holes[:, joint])
            base, own = points[who][:, :, self._following[joint]], axes[who]
            seen = poses.valid[who, :, joint]
            ever = np.asarray(seen.any(axis=1))
            name = self._skeleton.joints[joint]
            nose = (NOSE_AHEAD_M, 0.0, NOSE_UP_M)
            local = scale[who, :, None] * np.array(nose if name == 'Nose' else (0, 0, HEAD_TOP_M))
            if ever.any():
                offset = (points[who, :, joint] - base)[ever]
                offset = np.einsum('pnij,pni->pnj', own[ever], offset)
                local[ever] = _swing(poses.times[who[ever]], offset, seen[ever])
            placed = base + np.einsum('pnij,pnj->pni', own, local)
            if name == 'Spine':
                straight = base + SPINE_FRACTION * (points[who][:, :, _THORAX] - base)
                placed = np.where(ever[:, None, None], placed, straight)
            points[who, :, joint] = placed

    def _with_bones(
        self, points: np.ndarray, poses: SideBySide, movable: np.ndarray
    ) -> np.ndarray:
        # Move filled joints until the bones to their neighbours have the person's lengths. All
        # frames with filled joints are moved at once, and each person's stop by themselves.
        valid, (children, parents) = poses.valid, (self._children, self._parents)
        both = valid[:, :, children] & valid[:, :, parents]
        bones = (movable[:, children] | movable[:, parents]) & both.any(axis=1)  # (P, B)
        along = points[:, :, children] - points[:, :, parents]
        wanted = _median_where(np.sqrt((along * along).sum(axis=3)), both)
        free = movable[:, None] & ~valid & poses.there[..., None]
        owner, frame = np.nonzero(free.any(axis=2))
        owners, begins = np.unique(owner, return_index=True)
        wanted, used = wanted[owner], bones[owner]  # (rows, B)
        move = free[owner, frame]
        pulled = np.concatenate((move[:, children] & used, move[:, parents] & used), axis=1)
        count = len(children)
        shares = np.maximum(pulled[:, :count] + 0.0 + pulled[:, count:], 1.0)
        degree = bones.astype(np.float64) @ np.abs(self._ends).reshape(-1, 2, count).sum(axis=1).T
        slowed = np.maximum(0.7 * degree, 1.0)[owner][:, None]
        rows = points[owner, frame].transpose(0, 2, 1)  # (rows, 3, J)
        for _ in range(_BONE_ROUNDS):
            along = rows[..., children] - rows[..., parents]
            length = np.maximum(np.sqrt((along * along).sum(axis=1)), 1e-6)
            excess = (length - wanted) / (length * shares)
            pull = pulled * np.concatenate((excess, excess), axis=1)
            most = np.maximum.reduceat(np.abs(pull).max(axis=1), begins)
            live = most >= _BONE_TOLERANCE
            if not live.any():
                break
            pull *= live[np.searchsorted(owners, owner)][:, None]
            step = pull[:, None] * np.concatenate((along, along), axis=2)  # (rows, 3, 2 B)
            pushed = step.reshape(-1, 2 * count) @ self._ends.T
            rows += pushed.reshape(rows.shape) / slowed
        moved = points.copy()
        moved[owner, frame] = rows.transpose(0, 2, 1)
        return moved


def _above(skeleton: Skeleton, joint: int) -> int:
    # Return the nearest joint towards the root that does not just follow the torso; -1 for the
    # root.
    joint = skeleton.parents[joint]
    while joint in following(skeleton):
        joint = skeleton.parents[joint]
    return joint


def _median_where(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    # Return the median over the frames of values (P, N, B) where they count; 0 where none does.
    ordered = np.sort(np.where(which, values, np.inf), axis=1)
    count = which.sum(axis=1)
    ends = np.stack(((np.maximum(count, 1) - 1) // 2, count // 2), axis=1)
    middle = np.take_along_axis(ordered, ends, axis=1).mean(axis=1)
    return np.where(count > 0, middle, 0.0)


def _swing(times: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    # Fill in unseen vectors (n, N, 3): rotated evenly between seen ones, held at the ends.
    values = np.concatenate((offsets, np.sqrt((offsets**2).sum(axis=2))[..., None]), axis=2)
    held = between_seen(times, values[:, :, None], seen[..., None])[:, :, 0]
    between, wanted = held[..., :3], held[..., 3]
    many = np.flatnonzero(seen.sum(axis=1) > 2)
    if len(many):
        # Half of the way to the cubic: the full cubic halves the error on clean motion, but the
        # noise in its slopes grows with the gap.
        between[many] = 0.5 * (between[many] + _curve(times[many], offsets[many], seen[many]))
    found = np.sqrt((between * between).sum(axis=2))
    factor = wanted / np.maximum(found, 1e-6)
    # Opposite directions have no even rotation between them; stay on the straight line near the
    # middle.
    factor = np.where(found > 0.1 * wanted, factor, 1.0)
    return np.where(seen[..., None], offsets, between * factor[..., None])


def _curve(times: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    # Return the cubic through the seen vectors at all instants, (n, N, 3).
    order = np.argsort(seen, axis=1, kind='stable')  # the seen ones come last
    row, places = np.arange(len(times))[:, None], times.shape[1]
    first = places - seen.sum(axis=1)
    at = times[row, order]
    before = np.arange(places) - first[:, None]  # places before the first, negative
    begin = at[np.arange(len(at)), first][:, None]
    at = np.where(before < 0, begin + before, at)
    left = first[:, None] - 1 + np.cumsum(seen, axis=1)
    return cubic(at, first, times, left).of(offsets[row, order])
