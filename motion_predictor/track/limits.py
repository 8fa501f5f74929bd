# SPDX-License-Identifier: Apache-2.0
"""Limits on the data of a tracker, and counters of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from motion_predictor.errors import ConfigError


def require_within(record: object, bounds: Mapping[str, tuple[float, float]]) -> None:
    """
    Check the values of a record.

    :param record: an object that has the values as attributes.
    :param bounds: lowest and highest value of each attribute, by name.
    :raises ConfigError: if a value lies outside its bounds or is NaN.
    """
    for name, (low, high) in bounds.items():
        value = getattr(record, name)
        if not low <= value <= high:  # this also refuses NaN
            raise ConfigError(f'{name}={value}: must lie in {low}..{high}')


@dataclass(frozen=True, kw_only=True)
class HistoryLimits:
    """Limits on one person's poses, and conditions for the first window."""

    max_joint_gap_s: float = 0.25
    """Longest time in seconds, beyond the source's own period, for which an unseen joint is filled
    in."""
    min_observed_s: float = 0.25
    """Time in seconds that a person must be seen before the first window; the time before it is
    padded and marked."""
    min_poses: int = 3
    """Number of poses that must be seen before the first window."""
    min_source_rate_hz: float = 4.0
    """Lowest rate in Hz of a source that gives windows."""
    max_source_rate_hz: float = 1000.0
    """Highest rate in Hz: a pose closer in time to a stored one than this rate's period is a
    duplicate."""
    late_periods: float = 2.0
    """A late pose is still inserted if it is late by less than this many periods of the source."""
    min_joints: int = 4
    """Least number of joints of an accepted pose."""
    max_bone_ratio: float = 2.0
    """If two joints are further apart than this multiple of the bones between them,
    one is wrong."""
    max_extent_m: float = 3.0
    """If two joints are further apart than this, in metres, one is wrong."""
    min_extent_m: float = 0.3
    """Smallest size of a body in metres (smaller if all joints lie in one point)."""

    def __post_init__(self) -> None:
        require_within(
            self,
            {
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
            },
        )


@dataclass
class HistoryCounters:
    """Counters of the rules of a history."""

    poses_accepted: int = 0
    poses_inserted_late: int = 0
    """Accepted poses that came out of order and were inserted at their place."""
    poses_duplicate: int = 0
    """Poses that were dropped because a stored one has the same stamp."""
    poses_too_late: int = 0
    """Poses that were dropped because they were late by too many periods."""
    poses_without_body: int = 0
    """Poses that were dropped because too few joints could belong to one body."""
    joints_missing: int = 0
    """Joints that were not seen: NaN, (0, 0, 0), of low confidence, or derived from
    such joints."""
    joints_not_finite: int = 0
    """Joints that were NaN or beyond float32, in poses that no decoder has checked."""
    joints_at_origin: int = 0
    """Joints at exactly (0, 0, 0), in such poses; drivers write this for 'unknown'."""
    joints_off_body: int = 0
    windows_filled: int = 0
    """Windows in which joints were filled in."""
    windows_half_seen: int = 0
    """Such windows in which some joints were never seen, and were completed."""
    windows_padded: int = 0
    """Windows whose beginning repeats the first pose seen."""

    def as_dict(self) -> dict[str, int]:
        """Return every counter by its name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True, kw_only=True)
class PeopleLimits:
    """Limits on a tracker's data, for one person and for all people together."""

    history: HistoryLimits = field(default_factory=HistoryLimits)
    min_confidence: float = 0.2
    """A joint of lower confidence counts as missing; a joint without confidence does not."""
    stale_timeout_s: float = 1.0
    """A person who was not seen for longer than this, in seconds, has departed."""
    max_future_s: float = 0.5
    """An observation stamped further ahead of the clock than this, in seconds, is dropped."""
    jump_back_s: float = 0.5
    """If all stamps fall back by more than this, in seconds, time has begun again (a looped
    recording)."""
    reassociate_within_m: float = 0.5
    """A new id within this distance, in metres, of a place where another id vanished takes over
    its history; 0 for never."""
    reassociate_within_s: float = 0.5
    """Longest time in seconds since that other id vanished."""

    def __post_init__(self) -> None:
        require_within(
            self,
            {
                'min_confidence': (0.0, 1000.0),
                'stale_timeout_s': (0.05, 60.0),
                'max_future_s': (0.0, 3600.0),
                'jump_back_s': (0.1, 60.0),
                'reassociate_within_m': (0.0, 5.0),
                'reassociate_within_s': (0.0, 5.0),
            },
        )


@dataclass
class PeopleCounters:
    """Counters of the rules for several people."""

    observations: int = 0
    observations_malformed: int = 0
    observations_far_future: int = 0
    observations_held: int = 0
    """Observations held back because time may have jumped back."""
    observations_too_late: int = 0
    """Held observations that were dropped because time went on."""
    observations_other_frame: int = 0
    """Observations that were dropped because another source shows people in another frame."""
    joints_low_confidence: int = 0
    resets_jump_back: int = 0
    resets_frame_change: int = 0
    observations_steadied: int = 0
    """Observations whose stamps came in bursts and were replaced by those of an even clock."""
    resets_asked: int = 0
    snapshots: int = 0
