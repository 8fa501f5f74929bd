# SPDX-License-Identifier: Apache-2.0
"""Find new ids that belong to bodies which vanished under other ids."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.identity.assign import (
    Expected,
    pair_up,
    Sighting,
    Track,
    TrackRules,
)

_NS = 1e-9


def returned(
    newcomers: Sequence[Track], others: Sequence[Track], skeleton: Skeleton, rules: TrackRules
) -> list[tuple[Track, Track]]:
    """
    Pair new ids with the bodies that vanished where and when these began.

    The sum of the distances is least.

    :param newcomers: bodies under new ids.
    :param others: bodies that they may be.
    :param skeleton: their skeleton.
    :param rules: the caller's limits.
    :returns: each newcomer that is a known body, and that body, in the order of their beginnings.
    """
    if not newcomers or not others or not rules.within_m:
        return []
    newcomers = sorted(newcomers, key=_begin_ns)
    costs = np.array([
        [_distance_m(new, other, skeleton, rules) for other in others] for new in newcomers
    ])  # fmt: skip
    return [(newcomers[row], others[column]) for row, column in pair_up(costs, 1e6)]


def _begin_ns(track: Track) -> int:
    return track.history.oldest_stamp_ns or 0


def _distance_m(new: Track, other: Track, skeleton: Skeleton, rules: TrackRules) -> float:
    # Distance between the first pose of one and the expected pose of the other; infinite if too
    # far.
    begin_ns, vanished = _begin_ns(new), other.history.newest_stamp_ns
    within_ns = round(rules.within_s / _NS)
    if other is new or vanished is None or not 0 < begin_ns - vanished <= within_ns:
        return math.inf
    here, there = new.history.oldest_root, other.history.newest_root
    if here is None or there is None:
        return math.inf
    apart = float(np.linalg.norm(here - there))
    if apart > rules.within_m:
        return math.inf
    first = Sighting(begin_ns, new.source, '', True, *new.history.oldest_pose)
    off = Expected([other], begin_ns, skeleton).distances(first).off_m[0]
    return apart if math.isnan(off) else float(off)
