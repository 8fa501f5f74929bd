# SPDX-License-Identifier: Apache-2.0
"""Explain in words, for the log and the diagnostics, why TF has no transform; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from enum import Enum
import math
from typing import NamedTuple

SAMPLE_NAMES = 3
MAX_COMPARED = 1_000
"""Number of known names that a wrong name is compared with."""


class Cause(Enum):
    """The reason for a missing transform."""

    NO_FRAME = 'no_frame'
    NO_TARGET = 'no_target'
    NOT_CONNECTED = 'not_connected'
    TOO_NEW = 'too_new'
    """The newest transform is older than the stamp; a newer one may still come."""
    TOO_OLD = 'too_old'
    """The oldest transform is newer than the stamp; an older one will not come any more."""


class Missing(NamedTuple):
    """The reason for a missing transform, with words for the log."""

    cause: Cause
    text: str
    lag_s: float = 0.0
    """Time in seconds by which the stamp is newer than the newest transform, or older than the
    oldest."""


def no_frame(cause: Cause, name: str, known: Sequence[str]) -> Missing:
    """
    Return the explanation that TF has no frame of this name.

    :param cause: says whether it is the frame of the input or ``target_frame``.
    :param name: the missing frame.
    :param known: the frames that TF has.
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
    Return the explanation that two frames are in separate trees.

    :param frame: the frame of the input.
    :param target: the frame to convert to.
    :param root: root of the first frame's tree; '' if it is not known.
    :param other: root of the target's tree; '' if it is not known.
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
    Return the explanation that the newest transform is older than the stamp.

    :param frame: the frame of the input.
    :param target: the frame to convert to.
    :param slow: the frame on the way that has the old transform; '' if it is not known.
    :param lag_s: age of the transform before the stamp, seconds.
    :param waited_s: time that was spent waiting for it, seconds.
    :param period_s: time between transforms, seconds; 0 if it is not known.
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
    Return the explanation that the oldest transform is newer than the stamp.

    :param frame: the frame of the input.
    :param target: the frame to convert to.
    :param late: the frame on the way that has this transform; '' if it is not known.
    :param lag_s: time from the stamp to the transform, seconds; 0 if it is not known.
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
    """Return a name shortened for the log."""
    return name if len(name) <= longest else f'{name[:longest]}... ({len(name)} characters)'
