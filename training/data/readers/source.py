"""A source of clips: what a reader found, checked and brought to the rate of a store."""

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
"""Metres, z up, ``(T, J, 3)``, and frames per second."""

MAX_SPEED_M_S = 40.0
"""A joint faster than this is a wrong frame rate, a wrong unit or a jump."""


@dataclass(frozen=True)
class SourceClip:
    """A clip to be stored; ``load`` reads its positions when its turn comes."""

    name: str
    subject: str
    action: str
    split: str
    load: Callable[[], Positions]


@dataclass(frozen=True)
class Source:
    """What a reader found: its clips in order, and what the store says about them."""

    kind: str
    skeleton: Skeleton
    files: tuple[Path, ...]
    root: Path
    clips: tuple[SourceClip, ...]
    stride_s: float | None = 0.5
    start_s: float = 0.0
    remarks: tuple[str, ...] = ()
    judged: Counter[str] = field(default_factory=Counter)
    """How many of the clips loaded so far were read in which unit and with which axis up."""

    def judgements(self) -> list[str]:
        """Say in which units and with which axis up the clips loaded so far were read."""
        return [f'{count} files: {words}' for words, count in self.judged.most_common()]


def given(positions: NDArray[np.float32], rate_hz: float) -> Callable[[], Positions]:
    """Make the ``load`` of a clip that is in memory."""
    return lambda: (positions, rate_hz)


def to_target(name: str, source: Layout, positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """
    Turn another layout's joints into the target's, all of which must come out.

    :raises RecordingError: naming the joint that does not.
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
    Load a clip, check it, and bring it to a store's rate.

    :param rate_hz: of the store.
    :param max_speed_m_s: nothing of it may be faster.
    :param least_hz: slower recordings are refused; None: half of the rate.
    :returns: metres ``(T, J, 3)`` at ``rate_hz``, and the rate it was recorded at.
    :raises RecordingError: naming the clip and what is wrong with it.
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
    """Return the split of a subject: that whose patterns name it, else 'train'."""
    for split, patterns in (('test', test), ('val', val)):
        if any(fnmatchcase(subject, pattern) for pattern in patterns):
            return split
    return 'train'


def in_splits(source: Source) -> Iterator[tuple[str, list[SourceClip]]]:
    """Return the splits that a source has clips of, with these."""
    for split, clips in itertools.groupby(
        sorted(source.clips, key=lambda clip: ('train', 'val', 'test').index(clip.split)),
        key=lambda clip: clip.split,
    ):
        yield split, list(clips)


def renamed(source: Source, split: str) -> Source:
    """Put all clips of a source into one split."""
    return replace(source, clips=tuple(replace(clip, split=split) for clip in source.clips))
