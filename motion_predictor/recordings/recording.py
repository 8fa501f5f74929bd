# SPDX-License-Identifier: Apache-2.0
"""The record of people's motion: positions by person on one clock, with cutting and resampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from motion_predictor.body.layout import FLOAT32_MOST
from motion_predictor.body.resampling import between, sampled_at
from motion_predictor.errors import RecordingError

UPS = ('x', 'y', 'z', '-x', '-y', '-z')


@dataclass(frozen=True)
class Overrides:
    """Facts that the user gives a reader, instead of what the file states or lets judge."""

    units_scale: float = 0.0
    """Metres per unit of the file; 0 takes the file's own unit."""
    up: str = ''
    """The file's axis that points up, one of :data:`UPS`; empty judges it, or takes that of the
    format."""
    mapping: str = ''
    """A mapping file from the file's joints to the model's, as ``input.skeleton`` takes it."""
    rate_hz: float = 0.0
    """Frames per second; 0 takes the file's own rate."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.units_scale <= 1000.0:
            raise RecordingError(
                f'units_scale={self.units_scale:g}: must be the metres in a unit, at most 1000, '
                f'or 0'
            )
        if self.up and self.up not in UPS:
            raise RecordingError(f'up={self.up!r}: must be one of {", ".join(UPS)}, or empty')
        if self.rate_hz and not 1.0 <= self.rate_hz <= 1000.0:
            raise RecordingError(f'rate_hz={self.rate_hz:g}: must be 0 or lie in 1..1000')

    @property
    def any(self) -> bool:
        """Return whether anything is overridden."""
        return self != Overrides()


def upright(places: np.ndarray, up: str) -> np.ndarray:
    """
    Turn positions so that one of their axes becomes z; left and right stay.

    :param places: ``(..., 3)``.
    :param up: one of :data:`UPS`.
    """
    axis = 'xyz'.index(up[-1])
    turned = places[..., [(axis + 1) % 3, (axis + 2) % 3, axis]]  # a cyclic change mirrors nothing
    return turned * np.array([1.0, -1.0, -1.0]) if up[0] == '-' else turned


def in_single(poses: np.ndarray, of: str) -> np.ndarray:
    """
    Return recorded positions as float32.

    :param poses: metres, ``(T, J, 3)``.
    :param of: name of the person or clip, for the error.
    :raises RecordingError: if float32 cannot hold a number; the error names it.
    """
    wide = poses.dtype.kind == 'f' and poses.dtype.itemsize > 4
    far = (np.abs(poses) > FLOAT32_MOST) & np.isfinite(poses) if wide else np.zeros(0, bool)
    if far.any():
        frame, joint, axis = np.argwhere(far)[0].tolist()
        raise RecordingError(
            f'{of}: frame {frame}, joint {joint}: {"xyz"[axis]} is '
            f'{float(poses[frame, joint, axis]):.3g}, which float32 cannot hold; are these metres?'
        )
    return poses.astype(np.float32)


@dataclass(frozen=True)
class Recording:
    """
    Motion of one or several people on one clock.

    If a person is absent in a frame, or a joint is unseen, the frame holds NaN.
    """

    name: str
    layout: str
    """Name of the joint layout: 'h36m17', or that of a recorded topic."""
    rate_hz: float
    """Frames per second (the mean, if ``times_s`` says that they are uneven)."""
    persons: Mapping[str, np.ndarray]
    """Joint positions by person, each ``(T, J, 3)`` float32, metres, z up unless the source
    recorded in a sensor's own frame."""
    source: str
    """Origin of the recording, in words."""
    times_s: np.ndarray | None = None
    """Instants of the frames after the first, seconds, ``(T,)``; None if they are
    evenly spaced."""
    frame_id: str = ''
    """Recorded frame of reference; empty if the format has none."""
    reading: str = ''
    """How a reader that had to judge interpreted the numbers, in the same words for files of a
    kind."""
    unit_m: float = 1.0
    """Metres per unit of the file's numbers, for callers who know it better."""
    made_up: np.ndarray | None = None
    """Invented frames, ``(T,)`` bool: those between clips that were joined, and those at the seam
    of a loop. None: no frame is invented."""

    def __post_init__(self) -> None:
        if not self.persons:
            raise RecordingError(f'{self.name}: nobody in it')
        if not 1.0 <= self.rate_hz <= 1000.0:
            raise RecordingError(f'{self.name}: rate_hz={self.rate_hz:g}: must lie in 1..1000')
        shape = next(iter(self.persons.values())).shape
        for person, poses in self.persons.items():
            if poses.ndim != 3 or poses.shape[-1] != 3 or poses.shape != shape or not len(poses):
                raise RecordingError(
                    f'{self.name}: person {person!r}: expected (T, J, 3) with T >= 1, alike for '
                    f'everybody, got {poses.shape}'
                )
        if self.times_s is not None and (
            self.times_s.shape != shape[:1] or (np.diff(self.times_s) <= 0).any()
        ):
            raise RecordingError(f'{self.name}: times_s must be {shape[0]} increasing instants')
        if self.made_up is not None and self.made_up.shape != shape[:1]:
            raise RecordingError(f'{self.name}: made_up must say it of {shape[0]} frames')

    @property
    def num_frames(self) -> int:
        """Return the number of frames, T."""
        return next(iter(self.persons.values())).shape[0]

    @property
    def num_joints(self) -> int:
        """Return the number of joints of the layout, J."""
        return next(iter(self.persons.values())).shape[1]

    @property
    def instants_s(self) -> np.ndarray:
        """Return the instants of the frames after the first, seconds, ``(T,)``."""
        if self.times_s is not None:
            return self.times_s
        return np.arange(self.num_frames) / self.rate_hz

    @property
    def invented(self) -> np.ndarray:
        """Return which frames are invented, ``(T,)`` bool."""
        return np.zeros(self.num_frames, bool) if self.made_up is None else self.made_up

    @property
    def duration_s(self) -> float:
        """Return the time from the first frame to the last, seconds."""
        return float(self.instants_s[-1])

    def crop(self, start_s: float = 0.0, duration_s: float | None = None) -> Recording:
        """
        Return a part of the recording.

        :param start_s: seconds after the first frame.
        :param duration_s: seconds to keep; None keeps the rest.
        :raises RecordingError: if nothing would be left.
        """
        instants = self.instants_s
        end_s = np.inf if duration_s is None else start_s + duration_s
        keep = (instants >= start_s - 1e-9) & (instants <= end_s + 1e-9)
        if not keep.any():
            raise RecordingError(
                f'{self.name}: nothing between {start_s:g} s and {end_s:g} s; '
                f'it lasts {self.duration_s:.2f} s'
            )
        persons = {person: poses[keep] for person, poses in self.persons.items()}
        times = None if self.times_s is None else self.times_s[keep] - self.times_s[keep][0]
        made_up = None if self.made_up is None else self.made_up[keep]
        return replace(self, persons=persons, times_s=times, made_up=made_up)

    def resample(self, rate_hz: float) -> Recording:
        """
        Return the same motion at another, even rate.

        Motion with even frames and no gaps is interpolated by
        :func:`motion_predictor.body.resampling.sampled_at`. If frames are uneven or joints are
        missing, it is interpolated linearly between neighbours.
        """
        if self.times_s is None and abs(rate_hz - self.rate_hz) < 1e-9:
            return self
        count = int(np.floor(self.duration_s * rate_hz + 1e-6)) + 1
        instants = np.arange(count) / rate_hz
        persons = {}
        for person, poses in self.persons.items():
            if self.times_s is None and len(poses) > 1 and np.isfinite(poses).all():
                band = min(1.0, rate_hz / self.rate_hz)
                persons[person] = sampled_at(poses, instants * self.rate_hz, band)
            else:
                persons[person] = between(poses, self.instants_s, instants)
        made_up = None
        if self.made_up is not None:  # of a frame, to either side
            after = np.searchsorted(self.instants_s, instants - 1e-9)
            after = np.minimum(after, self.num_frames - 1)
            before = np.maximum(after - (self.instants_s[after] > instants + 1e-9), 0)
            made_up = self.made_up[before] | self.made_up[after]
        return replace(
            self, rate_hz=float(rate_hz), persons=persons, times_s=None, made_up=made_up
        )
