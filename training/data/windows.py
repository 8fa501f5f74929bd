"""Recordings in the cmu17 format, and the windows they are evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.bag_files import is_bag
from motion_predictor.recordings.npz import check_offsets, read_arrays
from training.data.store import is_store, MotionStore, open_store

if TYPE_CHECKING:
    from training.data.bags import BagReading

MILLIMETRES_PER_METRE = 1000.0
STRIDE_S = 0.5
"""A window starts every half second (25 frames at 50 Hz) inside one clip."""
HALF_WIDTH = 16
"""Frames of the recording on each side of an instant that its interpolation looks at."""
KAISER_BETA = 8.0

REQUIRED_ARRAYS = ('positions', 'offsets', 'names', 'subjects', 'actions', 'fps')


@dataclass(frozen=True)
class Clip:
    """
    One uninterrupted recording of one person.

    ``positions`` are world positions in metres, z up, shape ``(T, J, 3)`` float32, at ``rate_hz``.
    """

    name: str
    subject: str
    action: str
    positions: NDArray[np.float32]
    rate_hz: float


@dataclass(frozen=True)
class WindowSet:
    """
    The windows of one recording file, in the order of its clips.

    ``poses`` holds world positions in metres, shape ``(N, T_obs + T_fut, J, 3)`` float32;
    ``clip[i]`` is the index in ``clips`` of the clip that window ``i`` was taken from, and
    ``start[i]`` its first frame there, at the rate of the windows.
    """

    poses: NDArray[np.float32]
    clip: NDArray[np.int64]
    start: NDArray[np.int64]
    clips: tuple[Clip, ...]
    skeleton: Skeleton = H36M17
    short: str = ''
    """How many clips are too short for a window, in a line; '' where none is."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.poses)

    @property
    def actions(self) -> list[str]:
        """Give the action of each window, as its recording names it."""
        return [self.clips[index].action for index in self.clip]

    @property
    def subjects(self) -> list[str]:
        """Give the subject of each window."""
        return [self.clips[index].subject for index in self.clip]


def skeleton_of(path: Path | str, skeleton: Skeleton | None = None) -> Skeleton:
    """
    Tell whose joints a file of recordings or a store holds.

    :param skeleton: what the user says they are: for files, which do not say it themselves.
    :raises RecordingError: if a store says something else.
    """
    if not is_store(path):
        return skeleton or H36M17
    found = open_store(path).facts.skeleton
    if skeleton is not None and skeleton.joints != found.joints:
        raise RecordingError(f'{path}: holds the joints of {found.name}, not of {skeleton.name}')
    return found


def load_clips(
    path: Path | str, skeleton: Skeleton | None = None, bag: BagReading | None = None
) -> tuple[Clip, ...]:
    """
    Read every clip of a store (see :mod:`training.data.store`), a rosbag2 or a file as cmu17's.

    The format is an npz without pickled objects: ``positions`` (frames, 17, 3) in whole
    millimetres, all clips one after another; ``offsets`` (clips + 1), clip i being
    ``positions[offsets[i]:offsets[i + 1]]``; ``names``, ``subjects`` and ``actions`` (clips);
    ``fps``, a number.

    :param path: the npz file, or the folder of the store or the bag.
    :param skeleton: whose joints a file holds; Human3.6M's 17 by default.
    :param bag: how a bag is read.
    :returns: the clips at the file's own rate, world positions in metres.
    :raises RecordingError: if the file is missing, damaged or not of this format.
    """
    path = Path(path)
    skeleton = skeleton_of(path, skeleton)
    if is_store(path):
        return _clips_of(open_store(path))
    if path.exists() and is_bag(path):
        from training.data.bags import load_bag  # which reads such files too

        return load_bag(path, skeleton, bag)
    arrays = read_arrays(path, REQUIRED_ARRAYS, 'in the cmu17 format')
    positions, offsets, fps = arrays['positions'], arrays['offsets'], arrays['fps']
    joints = skeleton.num_joints
    if positions.ndim != 3 or positions.shape[1:] != (joints, 3):
        raise RecordingError(
            f'{path}: positions: expected (frames, {joints}, 3), got {positions.shape}'
        )
    if positions.dtype.kind not in 'iu':
        raise RecordingError(
            f'{path}: positions: expected whole millimetres (int16), got {positions.dtype}; '
            'convert with np.rint(1000 * metres).astype(np.int16)'
        )
    if fps.ndim != 0 or fps.dtype.kind not in 'iuf' or not np.isfinite(fps) or fps <= 0:
        raise RecordingError(f'{path}: fps: expected one positive number, got {fps!r}')
    check_offsets(path, offsets, len(positions))
    count = len(offsets) - 1
    for name in ('names', 'subjects', 'actions'):
        if arrays[name].shape != (count,):
            raise RecordingError(
                f'{path}: {name}: expected one for each of {count} clips, '
                f'got shape {arrays[name].shape}'
            )
    metres = positions.astype(np.float32) / np.float32(MILLIMETRES_PER_METRE)
    return tuple(
        Clip(
            name=str(arrays['names'][i]),
            subject=str(arrays['subjects'][i]),
            action=str(arrays['actions'][i]),
            positions=metres[begin:end],
            rate_hz=float(fps),
        )
        for i, (begin, end) in enumerate(itertools.pairwise(offsets))
    )


def resample(poses: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """
    Change the frame rate of a recording by band-limited interpolation.

    A Kaiser-windowed sinc, the recording continued past its ends by point reflection. Going up,
    given frames that fall on an instant of the result are kept; going down, the band is narrowed
    to the new rate first.

    :param poses: any positions over time, shape ``(T, ...)``.
    :param from_hz: frames per second of ``poses``.
    :param to_hz: frames per second wanted.
    :returns: shape ``(T', ...)``, frame i at the instant ``i / to_hz``, none past the last given.
    :raises ConfigError: if a rate is not positive.
    """
    if not (from_hz > 0 and to_hz > 0):
        raise ConfigError(f'resample: rates must be positive, got {from_hz} to {to_hz} Hz')
    frames = len(poses)
    if from_hz == to_hz or frames < 2:
        return np.array(poses, dtype=np.float32)
    band = min(1.0, to_hz / from_hz)
    reach = min(round(HALF_WIDTH / band), frames - 1)
    padded = np.concatenate(
        [
            2 * poses[:1] - poses[reach:0:-1],
            poses,
            2 * poses[-1:] - poses[-2 : -reach - 2 : -1],
        ]
    )
    ratio = from_hz / to_hz
    instants = np.arange(int((frames - 1) / ratio + 1e-9) + 1) * ratio  # in given frames
    before = np.minimum(np.floor(instants + 1e-9).astype(np.int64), frames - 1)
    taps = np.arange(1 - reach, reach + 1)
    distance = (instants - before)[:, None] - taps  # (T', 2 reach)
    if reach == 1:  # two frames: a straight line between them
        weights = np.clip(1.0 - np.abs(distance), 0.0, None)
    else:
        inside = 1.0 - (distance / (reach - 0.5)) ** 2
        kaiser = np.i0(KAISER_BETA * np.sqrt(np.clip(inside, 0.0, None)))
        weights = np.sinc(band * distance) * np.where(inside > -1e-9, kaiser, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    result = np.zeros((len(instants), *poses.shape[1:]), dtype=np.float64)
    trailing = (1,) * (poses.ndim - 1)
    last = len(padded) - 1
    for column, tap in enumerate(taps):
        rows = np.minimum(before + reach + tap, last)
        result += weights[:, column].reshape(-1, *trailing) * padded[rows]
    return result.astype(np.float32)


def _clips_of(store: MotionStore) -> tuple[Clip, ...]:
    rate_hz = store.facts.rate_hz
    return tuple(
        Clip(clip.name, clip.subject, clip.action, positions, rate_hz) for clip, positions in store
    )


def load_window_set(
    path: Path | str,
    window: WindowConfig,
    skeleton: Skeleton | None = None,
    bag: BagReading | None = None,
) -> WindowSet:
    """
    Cut recordings into their evaluation windows: one every half second inside a clip.

    A store may say otherwise, where its data set has a protocol of its own.

    :param path: a store, or a file in the cmu17 format; see :func:`load_clips`.
    :param window: rate and lengths of the windows.
    :param skeleton: whose joints a file holds.
    :param bag: how a bag is read.
    :returns: the windows, in world metres at ``window.rate_hz``.
    :raises RecordingError: if the file is not usable, or no clip is as long as a window.
    """
    clips = load_clips(path, skeleton, bag)
    length = window.total_frames
    stride_s: float | None = STRIDE_S
    begin_s = 0.0
    if is_store(path):
        facts = open_store(path).facts
        stride_s, begin_s = facts.stride_s, facts.start_s
    stride = length if stride_s is None else max(1, round(stride_s * window.rate_hz))
    first = round(begin_s * window.rate_hz)
    poses: list[NDArray[np.float32]] = []
    owners: list[int] = []
    starts: list[int] = []
    lengths_s: list[float] = []
    for index, clip in enumerate(clips):
        even = resample(clip.positions, clip.rate_hz, window.rate_hz)
        lengths_s.append(len(even) / window.rate_hz)
        for start in range(first, len(even) - length + 1, stride):
            end = start + length
            poses.append(even[start:end])
            owners.append(index)
            starts.append(start)
    if not poses:
        longest = max(len(clip.positions) / clip.rate_hz for clip in clips)
        raise RecordingError(
            f'{path}: no window of {length} frames at {window.rate_hz:g} Hz '
            f'({length / window.rate_hz:.2f} s): the longest clip lasts {longest:.2f} s'
        )
    return WindowSet(
        poses=np.stack(poses),
        clip=np.array(owners, dtype=np.int64),
        start=np.array(starts, dtype=np.int64),
        clips=clips,
        skeleton=skeleton_of(path, skeleton),
        short=short_clips(lengths_s, window, str(path)),
    )


def short_clips(lengths_s: Sequence[float], window: WindowConfig, where: str) -> str:
    """
    Say in one line how many clips are too short for a window; '' where none is.

    :param lengths_s: of every clip, seconds.
    :param where: they are from, or what they are for.
    """
    window_s = window.total_frames / window.rate_hz
    short = [length_s for length_s in lengths_s if length_s < window_s - 1e-6]
    if not short:
        return ''
    return (
        f'{where}: {len(short)} of {len(lengths_s)} clips ({sum(short):.0f} of '
        f'{sum(lengths_s):.0f} s) are shorter than a window of {window_s:.2f} s and are not used'
    )


def evaluation_windows(path: Path | str, window: WindowConfig) -> NDArray[np.float32]:
    """
    Give the evaluation windows of a recording file as one array.

    :param path: a file in the cmu17 format, see :func:`load_clips`.
    :param window: rate and lengths of the windows.
    :returns: world positions in metres, shape ``(N, T_obs + T_fut, 17, 3)`` float32.
    :raises RecordingError: if the file is not usable, or no clip is as long as a window.
    """
    return load_window_set(path, window).poses


def recordings_folder() -> Path | None:
    """
    Find the folder of recordings: ``MOTION_PREDICTOR_DATA``, else ``../shared/data``.

    :returns: the folder, or None where there is none; it holds ``cmu17/test.npz`` and the like.
    """
    named = os.environ.get('MOTION_PREDICTOR_DATA')
    beside = Path(__file__).resolve().parents[2].parent / 'shared' / 'data'
    folder = Path(named) if named else beside
    return folder if folder.is_dir() else None
