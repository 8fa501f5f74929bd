# SPDX-License-Identifier: Apache-2.0
"""The clips of a store, a bag or a file, and the windows on which they are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.bag.files import is_bag
from training.data.bags import BagReading, load_bag
from training.data.clips import Clip, read_clips
from training.data.readers.source import given, Source, SourceClip, split_of
from training.data.store import is_store, open_store

STRIDE_S = 0.5
"""Time in seconds between the starts of windows inside one clip (25 frames at 50 Hz)."""


@dataclass(frozen=True)
class WindowSet:
    """
    The windows of one recording file, in the order of its clips.

    ``poses`` are world positions in metres, float32 ``(N, T_obs + T_fut, J, 3)``. ``clip[i]`` is
    the index in ``clips`` of window i's clip. ``start[i]`` is its first frame there, at the rate
    of the windows.
    """

    poses: NDArray[np.float32]
    clip: NDArray[np.int64]
    start: NDArray[np.int64]
    clips: tuple[Clip, ...]
    skeleton: Skeleton = H36M17
    short: str = ''
    """One line with the number of clips that are too short for a window; '' if there are none."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.poses)

    @property
    def actions(self) -> list[str]:
        """Return the action of each window as its recording names it."""
        return [self.clips[index].action for index in self.clip]

    @property
    def subjects(self) -> list[str]:
        """Return the subject of each window."""
        return [self.clips[index].subject for index in self.clip]


def skeleton_of(path: Path | str, skeleton: Skeleton | None = None) -> Skeleton:
    """
    Return the skeleton of a file of recordings or of a store.

    :param path: the file or store.
    :param skeleton: the user's skeleton, for files, which do not state it themselves.
    :raises RecordingError: if a store states another one.
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
    Read all clips of a store (see :mod:`training.data.store`), a rosbag2 or a file.

    The format of files is that of :func:`training.data.clips.read_clips`.

    :param path: the npz file, or the folder of the store or the bag.
    :param skeleton: skeleton of a file; the default is Human3.6M's 17 joints.
    :param bag: how a bag is read.
    :returns: the clips at the file's own rate, world positions in metres.
    :raises RecordingError: if the file is missing, damaged or not of this format.
    """
    path = Path(path)
    skeleton = skeleton_of(path, skeleton)
    if is_store(path):
        return open_store(path).clips
    if path.exists() and is_bag(path):
        return load_bag(path, skeleton, bag)
    return read_clips(path, skeleton)


def read_clip_files(
    paths: Sequence[Path],
    kind: str,
    skeleton: Skeleton = H36M17,
    *,
    val: Sequence[str] = (),
    test: Sequence[str] = (),
) -> Source:
    """
    Read files in the cmu17 format, or folders of train.npz, val.npz and test.npz.

    A file named after a split belongs to that split. Other clips belong to 'train', except those
    of subjects that ``val`` and ``test`` name.

    :param paths: the files or folders.
    :param kind: name of the data set.
    :param skeleton: skeleton of the positions.
    :param val: patterns of subjects for validation.
    :param test: patterns of subjects for the test.
    :raises RecordingError: if a file is not of the format, or if a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [path / f'{split}.npz' for split in ('train', 'val', 'test')]
            found = [file for file in found if file.is_file()]
            if not found:
                raise RecordingError(f'{path}: has no train.npz, val.npz or test.npz')
            files += found
        else:
            files.append(path)
    clips = []
    for path in files:
        if path.exists() and not is_store(path) and is_bag(path):
            raise RecordingError(
                f'{path}: a rosbag2, no npz archive: `data prepare rosbag` reads it'
            )
        named = path.stem if path.stem in ('train', 'val', 'test') else None
        for clip in load_clips(path, skeleton):
            split = named or split_of(clip.subject, val, test)
            load = given(clip.positions, clip.rate_hz)
            clips.append(SourceClip(clip.name, clip.subject, clip.action, split, load))
    root = paths[0] if paths[0].is_dir() else paths[0].parent
    return Source(kind, skeleton, tuple(files), root, tuple(clips))


def load_window_set(
    path: Path | str,
    window: WindowConfig,
    skeleton: Skeleton | None = None,
    bag: BagReading | None = None,
) -> WindowSet:
    """
    Cut recordings into their evaluation windows: one every half second inside a clip.

    A store may state another spacing if its data set has a protocol of its own.

    :param path: a store, or a file in the cmu17 format; see :func:`load_clips`.
    :param window: rate and lengths of the windows.
    :param skeleton: skeleton of a file.
    :param bag: how a bag is read.
    :returns: the windows, in world metres at ``window.rate_hz``.
    :raises RecordingError: if the file cannot be used, or if no clip is as long as a window.
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
    Return one line with the number of clips too short for a window; '' if there are none.

    :param lengths_s: length of every clip, seconds.
    :param window: the window.
    :param where: words for the origin or the purpose of the clips.
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
    Return the evaluation windows of a recording file as one array.

    :param path: a file in the cmu17 format, see :func:`load_clips`.
    :param window: rate and lengths of the windows.
    :returns: world positions in metres, shape ``(N, T_obs + T_fut, 17, 3)`` float32.
    :raises RecordingError: if the file cannot be used, or if no clip is as long as a window.
    """
    return load_window_set(path, window).poses


def recordings_folder() -> Path | None:
    """
    Return the folder of recordings: ``MOTION_PREDICTOR_DATA``, or ``../shared/data``.

    :returns: the folder, with ``cmu17/test.npz`` and similar files; None if there is none.
    """
    named = os.environ.get('MOTION_PREDICTOR_DATA')
    beside = Path(__file__).resolve().parents[2].parent / 'shared' / 'data'
    folder = Path(named) if named else beside
    return folder if folder.is_dir() else None
