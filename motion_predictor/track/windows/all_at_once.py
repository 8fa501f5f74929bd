# SPDX-License-Identifier: Apache-2.0
"""The observed windows of several people, computed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import WindowConfig
from motion_predictor.track.limits import HistoryCounters, HistoryLimits
from motion_predictor.track.window import grid_s, NotReady, ObservedWindow
from motion_predictor.track.windows.filling import Filling
from motion_predictor.track.windows.kernels import cubic, local_parabolas, LOW_PASS_FROM
from motion_predictor.track.windows.missing import MissingJoints
from motion_predictor.track.windows.one_whole import window_of_whole_body
from motion_predictor.track.windows.stored import (
    SideBySide,
    StoredPoses,
    times_of,
    valid_of,
    xyz_of,
)

_LOW_PASS_REACH = 1.6  # half-width of the filter's kernel in periods of the window

Found = list[ObservedWindow | NotReady]


def observed_windows(
    stored: Sequence[StoredPoses],
    config: WindowConfig,
    skeleton: Skeleton,
    limits: HistoryLimits,
    counters: HistoryCounters,
) -> Found:
    """
    Return the window of each person that ends at the newest pose, or the reason for having none.

    The rules are those of :meth:`motion_predictor.track.history.PoseHistory.window`.

    :param stored: the poses of each person, (P,).
    :param config: rate and number of the frames.
    :param skeleton: skeleton of the poses.
    :param limits: limits on gaps and on what is too short.
    :param counters: counters to increase.
    """
    if len(stored) == 1:
        whole = window_of_whole_body(stored[0], config, limits)
        if whole is not None:
            counters.windows_padded += whole.padded_frames > 0
            return [whole]
    found: Found = [NotReady.NO_POSES] * len(stored)
    alike: dict[int, list[int]] = {}  # people with about as many poses, so that little is padded
    for index, each in enumerate(stored):
        if len(each) < limits.min_poses:
            found[index] = NotReady.TOO_FEW_POSES if len(each) else NotReady.NO_POSES
        else:
            alike.setdefault(len(each).bit_length(), []).append(index)
    half_seen = filled = padded = 0
    for people in alike.values():
        together = _Together([stored[index] for index in people], config, skeleton, limits)
        for index, window in zip(people, together.windows()):
            found[index] = window
        half_seen += together.half_seen
        filled += together.filled
        padded += together.padded
    counters.windows_half_seen += half_seen  # at the end: an error counts nothing
    counters.windows_filled += filled
    counters.windows_padded += padded
    return found


class _Together:
    """People with about as many poses each."""

    def __init__(
        self,
        stored: Sequence[StoredPoses],
        config: WindowConfig,
        skeleton: Skeleton,
        limits: HistoryLimits,
    ) -> None:
        self._stored, self._config, self._limits = stored, config, limits
        self._missing, self._filling = _parts(skeleton)
        self._times, first, self._newest = times_of(stored)
        places = np.arange(self._times.shape[1])
        steps = self._times[:, 1:] - self._times[:, :-1]
        after = places[1:] > first[:, None]
        if first.any():
            steps[~after] = np.inf
        self._period = _median_step(steps, self._times.shape[1] - first)
        self._longest = limits.max_joint_gap_s + 1.5 * self._period
        breaks = (steps > self._longest[:, None]) & after
        # Poses before a gap are not used.
        self._start = first
        if breaks.any():
            self._start = np.maximum(first, np.where(breaks, places[1:], 0).max(axis=1))
        self._reason: list[NotReady | None] = [
            NotReady.GAP_TOO_LONG if late else None for late in self._start > first
        ]
        # Poses before the window matter only for the shape of the interpolation.
        before = grid_s(config)[0] - 2.5 * self._period
        cut = (self._times < before[:, None]).sum(axis=1) - 1
        self._cut = np.maximum(self._start, cut)
        self._found: Found = [NotReady.SOURCE_TOO_SLOW] * len(stored)
        self.half_seen = self.filled = self.padded = 0

    def windows(self) -> Found:
        """Return the window of each person, or the reason for having none."""
        slow = self._period > 1.0 / self._limits.min_source_rate_hz
        needed = self._times.shape[1] - int(self._cut.min())
        valid = valid_of(self._stored, needed)
        before = np.arange(self._times.shape[1] - needed, self._times.shape[1])
        whole = (valid.all(axis=2) | (before < self._cut[:, None])).all(axis=1)
        self._of_whole_bodies(np.flatnonzero(whole & ~slow))
        self._of_others(np.flatnonzero(~whole & ~slow))
        return self._found

    def _of_whole_bodies(self, who: np.ndarray) -> None:
        who = who[self._are_long_enough(who, self._start[who])]
        if not len(who):
            return
        cut = self._cut[who]
        places = self._times.shape[1]
        since = places - int(cut.min())
        xyz = xyz_of([self._stored[index] for index in who], since)
        times = self._times[who, places - since :]
        seen = np.ones(xyz.shape[:3], dtype=bool)
        poses = SideBySide(times, xyz, seen, cut - (places - since))
        self._resample(who, poses.since(poses.first))

    def _of_others(self, who: np.ndarray) -> None:
        if not len(who):
            return
        some = [self._stored[index] for index in who]
        places = self._times.shape[1]
        poses = SideBySide(
            self._times[who], xyz_of(some, places), valid_of(some, places), self._start[who]
        )
        known = self._missing.known(poses, self._cut[who], self._longest[who])
        for index in np.flatnonzero(known.lacking):
            self._found[who[index]] = NotReady.JOINT_MISSING
        for index in np.flatnonzero(known.poses.first > self._start[who]):
            self._reason[who[index]] = NotReady.JOINT_MISSING
        kept = np.flatnonzero(~known.lacking)
        kept = kept[self._are_long_enough(who[kept], known.poses.first[kept])]
        if len(kept):
            made_up = known.made_up[kept]
            self.half_seen += int(made_up.any(axis=1).sum())
            poses = self._filled(known.poses.of(kept), made_up, self._cut[who[kept]])
            self._resample(who[kept], poses)

    def _filled(self, poses: SideBySide, made_up: np.ndarray, cut: np.ndarray) -> SideBySide:
        # Return the poses that the windows need, without missing joints.
        cut = np.maximum(poses.first, cut)
        late = np.arange(poses.times.shape[1]) >= cut[:, None]
        holes = np.flatnonzero((late & ~poses.valid.all(axis=2)).any(axis=1))
        xyz = poses.xyz
        if len(holes):
            some = poses.of(holes)
            filled = self._filling.fill(some.since(some.first))
            xyz = xyz.copy()
            xyz[holes, xyz.shape[1] - filled.shape[1] :] = filled
        return replace(poses, xyz=xyz, valid=poses.valid & ~made_up[:, None]).since(cut)

    def _are_long_enough(self, who: np.ndarray, start: np.ndarray) -> np.ndarray:
        # Return who has been seen for long enough, bool; note the reason of the others.
        few = self._times.shape[1] - start < self._limits.min_poses
        short = -self._times[who, start] < self._limits.min_observed_s - 1e-6
        for index in np.flatnonzero(few | short):
            usual = NotReady.TOO_FEW_POSES if few[index] else NotReady.TOO_SHORT
            self._found[who[index]] = self._reason[who[index]] or usual
        return np.asarray(~(few | short))

    def _resample(self, who: np.ndarray, poses: SideBySide) -> None:
        # Resample people to the window's frames.
        period = self._period[who]
        resampled, filled, padded = evenly_spaced(self._config, poses, period)
        self.filled += int(filled.any(axis=(1, 2)).sum())
        self.padded += int((padded > 0).sum())
        entries = zip(
            who.tolist(), self._newest[who].tolist(), resampled, filled, padded.tolist(),
            period.tolist(), strict=True,
        )  # fmt: skip
        for index, newest, *rest in entries:
            self._found[index] = ObservedWindow(newest, *rest)


@lru_cache(maxsize=8)
def _parts(skeleton: Skeleton) -> tuple[MissingJoints, Filling]:
    return MissingJoints(skeleton), Filling(skeleton)


def _median_step(steps: np.ndarray, counts: np.ndarray) -> np.ndarray:
    # Return each person's median time between poses, of steps (P, N - 1) with infinity where there
    # is none, and the numbers of poses (P,).
    ordered = np.sort(steps, axis=1)
    rows, last = np.arange(len(steps)), counts - 2
    return np.asarray(0.5 * (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2]))


def evenly_spaced(
    config: WindowConfig, poses: SideBySide, period: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Resample poses to the window's frames.

    :param config: rate and number of the frames.
    :param poses: without missing joints; ``valid`` tells which were seen.
    :param period: period of each source, seconds, (P,).
    :returns: poses in metres, (P, T_obs, J, 3); which joints were filled in, bool (P, T_obs, J);
        the number of frames before the first pose, (P,).
    """
    people, places, joints = poses.valid.shape
    grid, times = grid_s(config), poses.times
    begin = times[np.arange(people), poses.first][:, None]
    padded = (grid < begin - 1e-6).sum(axis=1)
    at = np.maximum(grid, begin)  # (P, T)
    weights = cubic(times, poses.first, at).dense(places)
    fast = np.flatnonzero(config.rate_hz * period * LOW_PASS_FROM < 1.0)
    if len(fast):
        reach = _LOW_PASS_REACH * config.period_s
        kernel, enough = local_parabolas(times[fast], at[fast], reach, period[fast])
        weights[fast] = np.where(enough[..., None], kernel, weights[fast])
    origin = poses.xyz[:, -1:, :1]  # (P, 1, 1, 3)
    values = (poses.xyz - origin).reshape(people, places, 3 * joints)
    resampled = (weights @ values).reshape(people, len(grid), joints, 3)
    resampled += origin
    filled = np.zeros(resampled.shape[:3], dtype=bool)
    unseen = ~poses.valid
    if unseen.any() and (unseen := unseen & poses.there[..., None]).any():
        # A frame is filled if one of the neighbours that it is computed from is filled.
        later, row = times[:, None], np.arange(people)[:, None]
        right = np.minimum((later < at[..., None] - 1e-9).sum(axis=2), places - 1)
        left = (later <= at[..., None] + 1e-9).sum(axis=2) - 1
        left = np.clip(left, poses.first[:, None], right)
        filled = unseen[row, left] | unseen[row, right]
    return resampled, filled, padded
