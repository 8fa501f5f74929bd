"""Why TF has no transform, in words for the log and for the diagnostics; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from enum import Enum
import math
from typing import NamedTuple

SAMPLE_NAMES = 3
MAX_COMPARED = 1_000
"""Names that a wrong one is compared with."""


class Cause(Enum):
    """Why there is no transform."""

    NO_FRAME = 'no_frame'
    NO_TARGET = 'no_target'
    NOT_CONNECTED = 'not_connected'
    TOO_NEW = 'too_new'
    """The newest transform is older than the stamp: it may come yet."""
    TOO_OLD = 'too_old'
    """The oldest transform is younger than the stamp: it will not come any more."""


class Missing(NamedTuple):
    """Why there is no transform, in words for the log."""

    cause: Cause
    text: str
    lag_s: float = 0.0
    """By how much the stamp is newer than the newest transform, or older than the oldest."""


def no_frame(cause: Cause, name: str, known: Sequence[str]) -> Missing:
    """
    Say that TF has no frame of a name.

    :param cause: whether it is that of the input or of ``target_frame``.
    :param known: the names that TF has.
    """
    if cause is Cause.NO_FRAME and not name:
        return Missing(cause, 'the message names no frame; set input.frame_id')
    whose = 'target_frame' if cause is Cause.NO_TARGET else 'the frame_id of the input'
    close = get_close_matches(name, known[:MAX_COMPARED], SAMPLE_NAMES) or list(
        known[:SAMPLE_NAMES]
    )
    has = ', '.join(repr(cut(each)) for each in close)
    return Missing(
        cause,
        f'TF has no frame {cut(name)!r}, which is {whose}'
        + (f'; it has {has}' if has else '; it has none at all: nothing came on /tf'),
    )


def not_connected(frame: str, target: str, root: str = '', other: str = '') -> Missing:
    """
    Say that two frames are in trees of their own.

    :param root: where the tree of the first begins; '' where that is not known.
    :param other: where that of the target does.
    """
    of = [f' (its tree begins at {cut(name)!r})' if name else '' for name in (root, other)]
    return Missing(
        Cause.NOT_CONNECTED,
        f'TF does not connect {cut(frame)!r}{of[0]} with target_frame {cut(target)!r}{of[1]}',
    )


def too_new(
    frame: str, target: str, slow: str, lag_s: float, waited_s: float, period_s: float = 0.0
) -> Missing:
    """
    Say that the newest transform is older than the stamp.

    :param slow: the frame on the way whose transform is; '' where that is not known.
    :param lag_s: by how much.
    :param waited_s: how long it was waited for.
    :param period_s: between transforms; 0 where that is not known.
    """
    of = f' (that of {cut(slow)!r})' if slow else ''
    needed_s = waited_s + max(lag_s, period_s * math.ceil(lag_s / max(period_s, 1e-3)))
    if needed_s < 1.0:
        help_ = f'set tf_timeout_s above {needed_s:.2f}'
    else:
        help_ = (
            'its broadcaster has stopped, or its stamps are of another clock than the input '
            '(for a recording set use_sim_time)'
        )
    return Missing(
        Cause.TOO_NEW,
        f'the newest transform from {cut(frame)!r} to {cut(target)!r}{of} is {lag_s:.3f} s older '
        f'than the stamp of the input; {help_}',
        lag_s,
    )


def too_old(frame: str, target: str, late: str, lag_s: float) -> Missing:
    """
    Say that the oldest transform is younger than the stamp.

    :param late: the frame on the way whose transform is; '' where that is not known.
    :param lag_s: by how much; 0 where that is not known.
    """
    of = f' (that of {cut(late)!r})' if late else ''
    by = f'{lag_s:.3f} s ' if lag_s else ''
    return Missing(
        Cause.TOO_OLD,
        f'the oldest transform from {cut(frame)!r} to {cut(target)!r}{of} is {by}younger than '
        'the stamp of the input: it came too late, before TF did, or its stamps are of another '
        'clock (for a recording set use_sim_time)',
        lag_s,
    )


def cut(name: str, longest: int = 64) -> str:
    """Shorten a name for the log."""
    return name if len(name) <= longest else f'{name[:longest]}... ({len(name)} characters)'
