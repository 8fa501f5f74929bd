# SPDX-License-Identifier: Apache-2.0
"""Draw random training windows from recordings, with augmentation.

As a verb, ``python -m training data``, it prepares stores of motion: see training/data/prepare.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.model.config import WindowConfig
from training.data.store import is_store, open_store
from training.data.windows import load_clips, short_clips, skeleton_of


@dataclass(frozen=True)
class Augmentation:
    """How training windows are varied; every value is drawn anew for every window."""

    mirror: float = 0.5
    """Probability of mirroring, with left and right joints exchanged; 0 for a skeleton without
    sides."""
    scale: float = 0.1
    """Body and path are scaled by a factor in 1 - scale .. 1 + scale."""
    speed: float = 0.25
    """Motion is played faster or slower by a factor in 1 / (1 + speed) .. 1 + speed."""
    speed_share: float = 0.5
    """Share of windows that are played at another speed."""
    turn: float = 0.0
    """Probability of turning the whole window about the vertical by any angle; without effect if
    the model turns it back (``ModelConfig.heading`` 'own')."""
    bones: float = 0.0
    """Every bone is scaled by a factor of its own in 1 - bones .. 1 + bones, the same on both
    sides."""
    jitter_m: float = 0.0
    """Largest standard deviation of the noise on observed joints, in metres; see
    :func:`tracker_noise`."""
    jitter_share: float = 0.5
    """Share of windows with such noise."""
    hidden: float = 0.0
    """Share of windows in which some joints are never seen; see :mod:`training.data.hidden`."""

    def __post_init__(self) -> None:
        for name in ('mirror', 'speed_share', 'turn', 'jitter_share', 'hidden'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must lie in 0..1')
        for name in ('scale', 'bones'):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must be at least 0 and below 1')
        for name in ('speed', 'jitter_m'):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must not be negative')


def mirror_windows(windows: Tensor, skeleton: Skeleton) -> Tensor:
    """
    Mirror people in the x-z plane and exchange left and right joints.

    :param windows: metres, ``(..., J, 3)``.
    :param skeleton: gives the mirror pairs.
    :returns: the same shape; mirroring twice gives the original.
    """
    flipped = windows[..., list(skeleton.mirror), :].clone()
    flipped[..., 1] *= -1.0
    return flipped


def turn_windows(windows: Tensor, angle: Tensor) -> Tensor:
    """
    Turn windows about the vertical through the origin, counterclockwise seen from above.

    :param windows: metres, z up, ``(B, T, J, 3)``.
    :param angle: radians, ``(B,)``.
    :returns: the same shape.
    """
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y, z = windows.unbind(dim=-1)
    return torch.stack((cos * x - sin * y, sin * x + cos * y, z), dim=-1)


def scale_bones(windows: Tensor, skeleton: Skeleton, factors: Tensor) -> Tensor:
    """
    Change the lengths of bones and keep their directions; the root stays where it is.

    :param windows: metres, ``(B, T, J, 3)``.
    :param factors: factor of the bone above each joint, ``(B, J)``; that of the root has no
        effect.
    :returns: the same shape.
    """
    result = windows.clone()
    for child, parent in skeleton.bones:  # parents come first
        bone = windows[:, :, child] - windows[:, :, parent]
        result[:, :, child] = result[:, :, parent] + factors[:, child, None, None] * bone
    return result


SMALLEST_JITTER = 0.05
"""Smallest deviation as a share of the largest; deviations are drawn evenly in their logarithm."""
MOST_COLOURED = 0.9
"""Largest correlation of the noise from one frame to the next."""


def tracker_noise(
    observed: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """
    Add noise like that of trackers to observed joints.

    Each window has its own deviation, the same for all joints, and its own colour: white noise, as
    of a depth camera, or slow wandering, as of a tracker that smooths (a first-order
    autoregression).

    :param observed: metres, ``(B, T_obs, J, 3)``.
    :param augmentation: states the amount and the share of windows.
    :param generator: source of all randomness.
    :returns: observed joints with noise, the same shape, and which windows have no noise, bool
        ``(B,)``.
    """
    count = len(observed)
    if augmentation.jitter_m == 0.0 or augmentation.jitter_share == 0.0:
        return observed, torch.ones(count, dtype=torch.bool)

    def uniform() -> Tensor:
        return torch.rand(count, generator=generator)

    deviation = augmentation.jitter_m * SMALLEST_JITTER ** uniform()
    clean = uniform() >= augmentation.jitter_share
    deviation[clean] = 0.0
    colour = (MOST_COLOURED * uniform())[:, None, None]
    fresh = torch.randn(observed.shape, generator=generator)
    noise = fresh.clone()
    for frame in range(1, observed.shape[1]):
        kept = colour * noise[:, frame - 1]
        noise[:, frame] = kept + (1.0 - colour.square()).sqrt() * fresh[:, frame]
    return observed + deviation[:, None, None, None] * noise, clean


class TrainingWindows:
    """All frames of some recordings at the model's rate, from which any window can be drawn."""

    def __init__(
        self, clips: Sequence[np.ndarray], window: WindowConfig, skeleton: Skeleton = H36M17
    ) -> None:
        """
        Collect clips, each of another person.

        :param clips: world positions in metres, z up, each ``(T, J, 3)`` at ``window.rate_hz``.
        :param window: the model's window; shorter clips are left out.
        :param skeleton: skeleton of the clips.
        :raises RecordingError: if no clip is long enough.
        """
        self.short = short_clips([len(c) / window.rate_hz for c in clips], window, 'training')
        usable = [clip for clip in clips if len(clip) >= window.total_frames]
        parts = []
        if usable:
            offsets = _offsets(usable)
            frames = torch.from_numpy(np.concatenate(usable).astype(np.float32))
            parts.append((frames, offsets))
        self._begin(parts, [str(i) for i in range(len(usable))], window, skeleton, len(clips))

    def _begin(
        self,
        parts: Sequence[tuple[Tensor, np.ndarray]],
        people: Sequence[str],
        window: WindowConfig,
        skeleton: Skeleton,
        clips: int,
    ) -> None:
        # For each part: frames (N, J, 3), and the limits of its clips among them (clips + 1).
        # Person of each clip, over all parts.
        numbers = {label: number for number, label in enumerate(dict.fromkeys(people))}
        self.person_of_clip = torch.tensor([numbers[label] for label in people])
        self.window = window
        self.skeleton = skeleton
        self.parts = [frames for frames, _ in parts]
        self.part_ends = torch.tensor([len(frames) for frames, _ in parts]).cumsum(0)
        starts, rooms, owners, base, clip = [], [], [], 0, 0
        for frames, offsets in parts:
            for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist()):
                last = end - window.total_frames
                if last >= begin:
                    starts.append(np.arange(base + begin, base + last + 1))
                    rooms.append(end - begin - np.arange(last - begin + 1))
                    owners.append(np.full(last - begin + 1, clip))
                clip += 1
            base += len(frames)
        if not starts:
            raise RecordingError(
                f'none of {clips} clips has {window.total_frames} frames at '
                f'{window.rate_hz} Hz; record longer ones'
            )
        self.starts = torch.from_numpy(np.concatenate(starts))  # all parts one after another
        self.room = torch.from_numpy(np.concatenate(rooms))  # frames to the clip's end
        self.clip = torch.from_numpy(np.concatenate(owners))  # number of the clip

    @classmethod
    def load(
        cls,
        paths: Sequence[Path | str],
        window: WindowConfig,
        skeleton: Skeleton | None = None,
        without: str = '',
    ) -> TrainingWindows:
        """
        Read stores, and files in the cmu17 format.

        A store at the model's rate stays on disk; only the frames that are drawn are read.

        :param paths: stores or files, from all of which windows are drawn.
        :param window: the model's window.
        :param skeleton: skeleton of the files; the default is Human3.6M's 17 joints.
        :param without: leave out clips of files whose action contains this text, in upper or lower
            case; '' leaves out none.
        :raises RecordingError: if a file is wrong or holds no clip of sufficient length, or if
            they hold different joints.
        """
        first = skeleton_of(paths[0], skeleton)
        parts: list[tuple[Tensor, np.ndarray]] = []
        loose: list[np.ndarray] = []
        people: list[str] = []
        lengths_s: list[float] = []

        def flush() -> None:
            if loose:
                offsets = _offsets(loose)
                parts.append((torch.from_numpy(np.concatenate(loose)), offsets))
                loose.clear()

        for path in paths:
            found = skeleton_of(path, skeleton)
            if found.joints != first.joints:
                raise RecordingError(
                    f'{path}: holds the joints of {found.name}, {paths[0]} those of {first.name}'
                )
            if is_store(path) and open_store(path).facts.rate_hz == window.rate_hz:
                store = open_store(path)
                flush()
                parts.append((torch.from_numpy(np.asarray(store.positions)), store.offsets))
                people += [f'{path}: {clip.subject}' for clip in store.clips]
                lengths_s += (np.diff(store.offsets) / window.rate_hz).tolist()
                continue
            for clip in load_clips(path, skeleton):
                if without and without.lower() in clip.action.lower():
                    continue
                even = resample(clip.positions, clip.rate_hz, window.rate_hz)
                lengths_s.append(len(even) / window.rate_hz)
                if len(even) >= window.total_frames:
                    loose.append(even)
                    people.append(f'{path}: {clip.subject}')
        flush()
        made = cls.__new__(cls)
        where = ', '.join(map(str, paths[:3])) + (', ...' if len(paths) > 3 else '')
        made.short = short_clips(lengths_s, window, where)
        made._begin(parts, people, window, first, len(lengths_s))
        return made

    def _gather(self, index: Tensor) -> Tensor:
        # Return frames by their number over all parts, (...) -> (..., J, 3).
        if len(self.parts) == 1:
            return self.parts[0][index]
        part = torch.searchsorted(self.part_ends, index, right=True)
        result = self.parts[0].new_empty((*index.shape, *self.parts[0].shape[1:]))
        begin = 0
        for number, frames in enumerate(self.parts):
            mine = part == number
            result[mine] = frames[index[mine] - begin]
            begin += len(frames)
        return result

    def __len__(self) -> int:
        """Return the number of different windows, one per start frame."""
        return len(self.starts)

    def draw(
        self, count: int, generator: torch.Generator, augmentation: Augmentation | None = None
    ) -> Tensor:
        """
        Draw windows at random.

        :param count: number of windows, B.
        :param generator: source of all randomness.
        :param augmentation: None for windows as recorded; its noise is not added here, see
            :func:`tracker_noise`.
        :returns: world positions in metres, float32 ``(B, T, J, 3)``.
        """
        return self.draw_known(count, generator, augmentation)[0]

    def draw_known(
        self, count: int, generator: torch.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Draw windows at random, and return their clips too.

        :returns: the windows of :meth:`draw`, and the numbers of their clips, ``(B,)``;
            ``person_of_clip`` gives the person of a clip.
        """
        chosen = torch.randint(len(self.starts), (count,), generator=generator)
        clip = self.clip[chosen]
        start, room = self.starts[chosen], self.room[chosen]
        total = self.window.total_frames
        if augmentation is None:
            return self._gather(start[:, None] + torch.arange(total)), clip

        def uniform() -> Tensor:
            return torch.rand(count, generator=generator)

        span = np.log1p(augmentation.speed)
        speed = torch.exp((2.0 * uniform() - 1.0) * span)
        speed = torch.where(uniform() < augmentation.speed_share, speed, torch.ones(()))
        speed = torch.minimum(speed, (room - 1) / (total - 1))  # a clip ends where it ends
        instant = speed[:, None] * torch.arange(total)
        before = instant.floor().long().clamp_max(total * 2)
        share = (instant - before)[..., None, None]
        after = torch.minimum(before + 1, room[:, None] - 1)
        first, second = (self._gather(start[:, None] + at) for at in (before, after))
        windows = torch.lerp(first, second, share)
        windows = (
            windows * (1.0 + augmentation.scale * (2.0 * uniform() - 1.0))[:, None, None, None]
        )
        mirror = augmentation.mirror if self.skeleton.has_sides else 0.0
        flip = uniform() < mirror
        windows = torch.where(
            flip[:, None, None, None], mirror_windows(windows, self.skeleton), windows
        )
        if augmentation.turn > 0.0:
            turned = uniform() < augmentation.turn
            angle = torch.where(turned, 2.0 * torch.pi * uniform(), torch.zeros(()))
            windows = turn_windows(windows, angle)
        if augmentation.bones > 0.0:
            factors = torch.rand(count, self.skeleton.num_joints, generator=generator)
            factors = 1.0 + augmentation.bones * (2.0 * factors - 1.0)
            left = [min(j, other) for j, other in enumerate(self.skeleton.mirror)]
            windows = scale_bones(windows, self.skeleton, factors[:, left])
        return windows, clip


def _offsets(clips: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *(len(clip) for clip in clips)])
