# SPDX-License-Identifier: Apache-2.0
"""A source of clips: the result of a reader, checked and resampled to the rate of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.layout import Layout
from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import RecordingError
from training.data.store import check_positions

Positions = tuple[NDArray[np.float32], float]
"""Positions in metres, z up, ``(T, J, 3)``, and frames per second."""

MAX_SPEED_M_S = 40.0
"""Highest speed of a joint in m/s; a faster joint means a wrong frame rate, a wrong unit or a
jump."""


@dataclass(frozen=True)
class SourceClip:
    """A clip to store; ``load`` reads its positions when they are needed."""

    name: str
    subject: str
    action: str
    split: str
    load: Callable[[], Positions]


@dataclass(frozen=True)
class Source:
    """The result of a reader: its clips in order, and the facts that the store states on them."""

    kind: str
    skeleton: Skeleton
    files: tuple[Path, ...]
    root: Path
    clips: tuple[SourceClip, ...]
    stride_s: float | None = 0.5
    start_s: float = 0.0
    remarks: tuple[str, ...] = ()
    judged: Counter[str] = field(default_factory=Counter)
    """Number of clips loaded so far by the unit and the vertical axis with which they
    were read."""

    def judgements(self) -> list[str]:
        """Return in words the units and vertical axes with which the clips so far were read."""
        return [f'{count} files: {words}' for words, count in self.judged.most_common()]


def given(positions: NDArray[np.float32], rate_hz: float) -> Callable[[], Positions]:
    """Return the ``load`` function of a clip that is in memory."""
    return lambda: (positions, rate_hz)


def to_target(name: str, source: Layout, positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """
    Convert another layout's joints into the target's, all of which must result.

    :param name: name of the clip, for the error.
    :param source: the layout.
    :param positions: metres, ``(T, J_src, 3)``.
    :raises RecordingError: naming a joint that is missing.
    """
    turned, known = source.to_model(positions)
    if not known.all():
        frame, joint = np.argwhere(~known)[0]
        raise RecordingError(
            f'{name}: frame {frame}: {source.target.joints[joint]} cannot be made from its joints'
        )
    return turned.astype(np.float32)


def load_at(
    clip: SourceClip,
    rate_hz: float,
    max_speed_m_s: float = MAX_SPEED_M_S,
    least_hz: float | None = None,
) -> tuple[NDArray[np.float32], float]:
    """
    Load a clip, check it, and resample it to a store's rate.

    :param clip: the clip.
    :param rate_hz: rate of the store.
    :param max_speed_m_s: highest accepted speed of a joint.
    :param least_hz: lowest accepted recording rate; None: half of ``rate_hz``.
    :returns: metres ``(T, J, 3)`` at ``rate_hz``, and the recording rate.
    :raises RecordingError: naming the clip and the fault.
    """
    positions, found_hz = clip.load()
    least = rate_hz / 2.0 if least_hz is None else least_hz
    if not found_hz >= least - 1e-6:
        what = f'half of {rate_hz:g} Hz' if least_hz is None else f'{least_hz:g} Hz'
        advice = f'give --rate {found_hz:g} or ' if least_hz is None else ''
        raise RecordingError(
            f'{clip.name}: recorded at {found_hz:g} Hz, less than {what}; {advice}record faster'
        )
    check_positions(clip.name, positions)
    if len(positions) > 1:
        speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * found_hz  # (T - 1, J)
        frame, joint = np.unravel_index(int(speed.argmax()), speed.shape)
        if speed[frame, joint] > max_speed_m_s:
            raise RecordingError(
                f'{clip.name}: joint {joint} moves at {speed[frame, joint]:.0f} m/s after frame '
                f'{frame} (allowed: {max_speed_m_s:g}): a wrong frame rate or unit, or a jump'
            )
    return resample(positions, found_hz, rate_hz), found_hz


def split_of(subject: str, val: Sequence[str], test: Sequence[str]) -> str:
    """Return the split of a subject: that whose patterns match it, otherwise 'train'."""
    for split, patterns in (('test', test), ('val', val)):
        if any(fnmatchcase(subject, pattern) for pattern in patterns):
            return split
    return 'train'


def in_splits(source: Source) -> Iterator[tuple[str, list[SourceClip]]]:
    """Yield the splits that have clips, each with its clips."""
    for split, clips in itertools.groupby(
        sorted(source.clips, key=lambda clip: ('train', 'val', 'test').index(clip.split)),
        key=lambda clip: clip.split,
    ):
        yield split, list(clips)


def renamed(source: Source, split: str) -> Source:
    """Return the source with all clips in one split."""
    return replace(source, clips=tuple(replace(clip, split=split) for clip in source.clips))
