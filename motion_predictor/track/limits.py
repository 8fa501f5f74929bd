"""What is accepted of a tracker, and how often each rule has acted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from motion_predictor.errors import ConfigError


def require_within(record: object, bounds: Mapping[str, tuple[float, float]]) -> None:
    """
    Check settings of a record.

    :param record: that has them as attributes.
    :param bounds: lowest and highest of each, by its name.
    :raises ConfigError: if one lies outside, or is NaN.
    """
    for name, (low, high) in bounds.items():
        value = getattr(record, name)
        if not low <= value <= high:  # NaN fails too
            raise ConfigError(f'{name}={value}: must lie in {low}..{high}')


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
        """Return every counter by its name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True, kw_only=True)
class PeopleLimits:
    """What is accepted of a tracker, for one person and for all together."""

    history: HistoryLimits = field(default_factory=HistoryLimits)
    min_confidence: float = 0.2
    """A joint of lower confidence counts as missing; one without confidence does not."""
    stale_timeout_s: float = 1.0
    """A person not seen for longer has departed."""
    max_future_s: float = 0.5
    """An observation stamped further ahead of the clock is dropped."""
    jump_back_s: float = 0.5
    """Stamps that fall back by more, on everyone, are a new beginning (a recording's loop)."""
    reassociate_within_m: float = 0.5
    """A new id this near to where another vanished takes over its history; 0 for never."""
    reassociate_within_s: float = 0.5
    """As long as the other vanished no longer ago than this."""

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
    """How often each rule for several people has acted."""

    observations: int = 0
    observations_malformed: int = 0
    observations_far_future: int = 0
    observations_held: int = 0
    """Held back as a possible jump back in time."""
    observations_too_late: int = 0
    """Of those held: dropped, since time went on."""
    observations_other_frame: int = 0
    """Dropped: another source shows people in another frame."""
    joints_low_confidence: int = 0
    resets_jump_back: int = 0
    resets_frame_change: int = 0
    observations_steadied: int = 0
    """Stamps that came in bursts, replaced by those of an evenly running clock."""
    resets_asked: int = 0
    snapshots: int = 0
