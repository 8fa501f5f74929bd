# SPDX-License-Identifier: Apache-2.0
"""Find the joints that several people lack, and from which pose on each can be used."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motion_predictor.body.completion import can_complete, complete, shows_torso
from motion_predictor.body.geometry import TORSO
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.track.windows.kernels import between_seen
from motion_predictor.track.windows.stored import SideBySide


@dataclass(frozen=True)
class Known:
    """The poses of P people, in which joints that were never seen are in their usual places."""

    poses: SideBySide
    """Which joints were seen or are made up; those that were missing for a while may hold
    anything. The first place is the first pose that may be used."""
    made_up: np.ndarray
    """Joints that were never seen, bool (P, J)."""
    lacking: np.ndarray
    """Of whom too many joints are missing, bool (P,)."""


class MissingJoints:
    """Tells which joints are missing for too long, and makes up those that were never seen."""

    def __init__(self, skeleton: Skeleton) -> None:
        """
        Find the joints that matter.

        :param skeleton: skeleton of the poses.
        """
        self.skeleton = skeleton
        self._following = np.zeros(skeleton.num_joints, dtype=bool)
        self._following[list(following(skeleton))] = True
        self._torso = np.zeros(skeleton.num_joints, dtype=bool)
        self._torso[[*(skeleton.hips or ()), *(skeleton.shoulders or ())]] = True

    def known(self, poses: SideBySide, cut: np.ndarray, longest: np.ndarray) -> Known:
        """
        Return the poses from which windows can be computed.

        :param poses: all poses of each person.
        :param cut: place of the first pose that each window needs, (P,); the first place that
            counts is after the last gap of the whole body.
        :param longest: longest time that a joint of each person may be missing, seconds, (P,).
        :returns: the same people and places.
        """
        valid, start = poses.valid, poses.first
        missing = self._never_seen(poses, start, cut, longest)
        lacking = np.zeros(len(start), dtype=bool)
        if can_complete(self.skeleton):
            without = ~shows_torso(~missing, self.skeleton)
            if without.any():
                shown, never = self._torso_shown_after(poses, longest)
                lacking = without & never
                start = np.where(without & ~never, shown, start)
                missing = self._never_seen(poses, start, np.maximum(start, cut), longest)
        made_up = missing & (missing.any(axis=1) & shows_torso(~missing, self.skeleton))[:, None]
        made_up[lacking] = False
        xyz = poses.xyz
        if made_up.any():
            xyz, valid = self._completed(poses, made_up)
        resumed, absent = self._resumed_after(poses.times, valid, start, longest)
        places = np.arange(valid.shape[1])
        later = valid & (places >= resumed[:, None])[..., None]
        unseen = (~later.any(axis=1) & ~self._following).any(axis=1)
        lacking |= absent | ((resumed > start) & unseen)
        return Known(replace(poses, xyz=xyz, valid=valid, first=resumed), made_up, lacking)

    def _never_seen(
        self, poses: SideBySide, start: np.ndarray, cut: np.ndarray, longest: np.ndarray
    ) -> np.ndarray:
        # Return the joints that are missing for too long, so that they are made up in all frames,
        # bool (P, J). Gaps that end before the cut do not count. Joints that follow the torso are
        # not among them if the torso's frame is known.
        ended, last_s = _gaps(poses.times, poses.valid, start)
        late = poses.times > poses.times[np.arange(len(cut)), cut][:, None]
        most = np.where(late[..., None], ended, 0.0).max(axis=1)  # (P, J)
        found = np.maximum(most, last_s) > longest[:, None]
        if self._following.any():
            standing = ~found[:, list(TORSO)].any(axis=1)
            found &= ~(standing[:, None] & self._following)
        return found

    def _resumed_after(
        self, times: np.ndarray, valid: np.ndarray, start: np.ndarray, longest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # Return the first place after which no joint is missing for too long, (P,), and who still
        # lacks a joint, bool (P,).
        ended, last_s = _gaps(times, valid, start)
        long = (ended > longest[:, None, None]) & ~self._following
        places = np.where(long.any(axis=2), np.arange(times.shape[1]), 0)
        absent = np.asarray(((last_s > longest[:, None]) & ~self._following).any(axis=1))
        return np.maximum(start, places.max(axis=1)), absent

    def _torso_shown_after(
        self, poses: SideBySide, longest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # Return the first place after which hips and shoulders show a torso without long gaps,
        # (P,), and of whom too little of a torso is seen at the end, bool (P,).
        late = poses.there & (poses.times >= -longest[:, None])
        gone = np.asarray(~(poses.valid & late[..., None]).any(axis=1))
        ignored = gone[:, None] | ~self._torso
        after, absent = self._resumed_after(
            poses.times, poses.valid | ignored, poses.first, longest
        )
        return after, absent | ~shows_torso(~gone, self.skeleton)

    def _completed(self, poses: SideBySide, made_up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Return poses that hold the made-up joints throughout, (P, N, J, 3), and which joints are
        # known then, bool (P, N, J).
        who = np.flatnonzero(made_up.any(axis=1))
        part, unseen = poses.of(who), made_up[who]
        known, usable = part.xyz, ~unseen & part.valid.any(axis=1)
        partly = (usable & ~part.valid.all(axis=1)).any(axis=0)
        if partly.any():
            known = known.copy()
            known[:, :, partly] = between_seen(
                part.times, known[:, :, partly], part.valid[:, :, partly]
            )
        standing_in = np.zeros_like(known)
        places = known.shape[1]
        stored = (part.times > -_LONG_AGO_S).sum(axis=1)  # also those before the first that counts
        for count in np.unique(stored):  # usually one: everybody has been seen for long enough
            same = np.flatnonzero(stored == count)
            since = places - int(count)
            standing_in[same, since:] = complete(known[same, since:], usable[same], self.skeleton)
        xyz, valid = poses.xyz.copy(), poses.valid.copy()
        xyz[who] = np.where(unseen[:, None, :, None], standing_in, part.xyz)
        valid[who] |= unseen[:, None] & (np.arange(places) >= places - stored[:, None])[..., None]
        return xyz, valid


_LONG_AGO_S = 1e5
"""Places without a pose lie further back, see :mod:`motion_predictor.track.windows.stored`."""


def _gaps(
    times: np.ndarray, valid: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Return for each joint the gap that ends at each pose, seconds, (P, N, J), 0 where the joint
    # was not seen; and the time since it was last seen, (P, J), infinite for never. Poses before
    # ``start`` (P,) do not count; the first gap begins there.
    rows = np.arange(len(times))
    counts = np.arange(times.shape[1]) >= start[:, None]
    seen = valid & counts[..., None]
    at = np.where(seen, times[..., None], -np.inf)
    latest = np.maximum.accumulate(at, axis=1)
    begin = times[rows, start][:, None, None]
    before = np.full_like(latest, -np.inf)
    before[:, 1:] = latest[:, :-1]
    ended = np.where(seen, times[..., None] - np.maximum(before, begin), 0.0)
    return ended, -latest[:, -1]


def following(skeleton: Skeleton) -> dict[int, int]:
    """
    Return the joints that follow the torso, so that they need not be seen.

    :param skeleton: the skeleton.
    :returns: for each such joint, the joint on which it sits; none unless it is a person.
    """
    if skeleton.joints != H36M17.joints:
        return {}
    index = skeleton.index
    return {
        index('Spine'): index('Hip'),
        index('Nose'): index('Thorax'),
        index('Head'): index('Thorax'),
    }
