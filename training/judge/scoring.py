# SPDX-License-Identifier: Apache-2.0
"""Windows, groups of files, and the scores of predicted futures on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from training.data.bags import BagReading
from training.data.store import data_digest
from training.data.windows import load_window_set, WindowSet
from training.judge import metrics
from training.judge.baselines import Baseline
from training.judge.futures import Sampler

CHUNK = 16
"""Number of windows scored at once."""
NOISE_STREAM = 1 << 32
"""Number added to the seed for a tracker's noise, so that it differs from that of the samples."""
RESAMPLES = 2000
"""Number of bootstrap draws for each confidence interval."""

Futures = Callable[[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""A function from (first, last) to root displacements (n, S, T_fut, 3) and relative poses (n, S,
T_fut, J - 1, 3)."""

Alternatives = Mapping[str, tuple[Tensor, Sequence[NDArray[np.int64]]]]
"""By group: futures of all its windows relative to the root, and the multimodal set of each scored
window."""


@dataclass(frozen=True)
class DataFile:
    """One file of recordings with its scored windows."""

    path: Path
    sha256: str
    set_name: str
    split: str
    windows: WindowSet
    chosen: NDArray[np.int64]
    """Indices of the scored windows: all, or some that are spread evenly."""
    observed_frames: int

    @property
    def label(self) -> str:
        """Return set and split, for example ``cmu17/test``."""
        return f'{self.set_name}/{self.split}'

    @property
    def observed(self) -> NDArray[np.float32]:
        """Return the observed part of the scored windows, world metres, ``(n, T_obs, J, 3)``."""
        return self.windows.poses[self.chosen, : self.observed_frames]

    @property
    def root_future(self) -> NDArray[np.float32]:
        """Return the root's path from its last observed position, metres, ``(n, T_fut, 3)``."""
        root = self.windows.poses[self.chosen, :, 0]
        last = self.observed_frames - 1
        return root[:, self.observed_frames :] - root[:, last : last + 1]

    @property
    def pose_futures(self) -> Tensor:
        """Return futures of ALL windows relative to the root, metres, ``(N, T_fut, J - 1, 3)``."""
        poses = torch.from_numpy(self.windows.poses[:, self.observed_frames :])
        return metrics.root_relative(poses)

    @property
    def last_poses(self) -> Tensor:
        """Return last observed poses of ALL windows relative to the root, metres, ``(N, D)``."""
        last = torch.from_numpy(self.windows.poses[:, self.observed_frames - 1])
        return metrics.root_relative(last).flatten(-2)


@dataclass(frozen=True)
class Group:
    """Files that are scored together: each file alone, and all files of a split."""

    set_name: str
    split: str
    members: tuple[int, ...]

    @property
    def label(self) -> str:
        """Return set and split, for example ``both/test``."""
        return f'{self.set_name}/{self.split}'


@dataclass(frozen=True)
class FileScores:
    """The scores of one model on one file: every measure for every window."""

    values: Mapping[str, NDArray[np.float64]]
    """``pose.ade``, ``world.fde``, ..., each (n,); multimodal ones by group:
    ``pose.mmade@all/val``."""
    curves: Mapping[str, NDArray[np.float64]]
    """``pose.best``, ``world.median``, ... each (n, T_fut)."""


def load_data(
    paths: Sequence[Path],
    window: WindowConfig,
    limit: int | None = None,
    skeleton: Skeleton | None = None,
    bag: BagReading | None = None,
) -> list[DataFile]:
    """
    Load the recordings to score.

    :param paths: stores, bags, or files in the cmu17 format; folder and file stem name the set and
        the split.
    :param window: window of the models.
    :param limit: greatest number of windows of each file, evenly spread.
    :param skeleton: skeleton of the files; the default is Human3.6M's 17 joints.
    :param bag: how bags are read.
    :raises RecordingError: if a file cannot be used.
    :raises ConfigError: if two files have the same set and split, or if limit is not positive.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f'--limit {limit}: must be at least 1')
    files: list[DataFile] = []
    for path in paths:
        windows = load_window_set(path, window, skeleton, bag)
        if windows.short:
            print(windows.short, file=sys.stderr)
        count = len(windows) if limit is None else min(limit, len(windows))
        chosen = np.unique(np.linspace(0, len(windows) - 1, count).round().astype(np.int64))
        set_name = path.resolve().parent.name
        file = DataFile(
            path, data_digest(path), set_name, path.stem, windows, chosen, window.observed_frames
        )
        if any(other.label == file.label for other in files):
            raise ConfigError(f'--data {path}: a second file for {file.label}; give each once')
        files.append(file)
    return files


def make_groups(files: Sequence[DataFile]) -> list[Group]:
    """Return every file alone, then the files of each split together if there are several."""
    groups = [Group(file.set_name, file.split, (i,)) for i, file in enumerate(files)]
    for split in dict.fromkeys(file.split for file in files):
        members = tuple(i for i, file in enumerate(files) if file.split == split)
        if len(members) > 1:
            groups.append(Group('both' if len(members) == 2 else 'all', split, members))
    return groups


def multimodal_sets(files: Sequence[DataFile], group: Group) -> list[list[NDArray[np.int64]]]:
    """
    Return the multimodal set of every scored window of a group.

    :returns: for each member file and each scored window, indices into the group's windows (all
        windows of its files one after another).
    """
    last_poses = torch.cat([files[i].last_poses for i in group.members])
    neighbours = metrics.multimodal_neighbours(last_poses)
    sets: list[list[NDArray[np.int64]]] = []
    begin = 0
    for i in group.members:
        sets.append([neighbours[begin + int(w)].numpy() for w in files[i].chosen])
        begin += len(files[i].windows)
    return sets


def noisy(
    observed: NDArray[np.float32], deviation_m: float, seed: int, first_index: int
) -> NDArray[np.float32]:
    """
    Add white noise to observed joints, like that of a tracker without a filter.

    :param observed: metres, ``(N, T_obs, J, 3)``.
    :param deviation_m: standard deviation of every coordinate; 0 returns the same array.
    :param seed: seed of the noise, together with the index of each window.
    :param first_index: index of the first of these windows in the whole evaluation.
    """
    if deviation_m == 0.0:
        return observed
    noise = [
        np.random.Generator(
            np.random.Philox(key=[seed + NOISE_STREAM, first_index + i])
        ).standard_normal(observed.shape[1:], dtype=np.float32)
        for i in range(len(observed))
    ]
    return observed + np.float32(deviation_m) * np.stack(noise)


@dataclass(frozen=True)
class NoisyTracker:
    """A model that sees people through a noisy tracker."""

    sampler: Sampler
    deviation_m: float

    def sample(
        self, observed: NDArray[np.float32], *, samples: int, seed: int, first_index: int
    ) -> NDArray[np.float32]:
        """Sample as :class:`training.judge.futures.Sampler`, from noisy observations."""
        seen = noisy(observed, self.deviation_m, seed, first_index)
        return self.sampler.sample(seen, samples=samples, seed=seed, first_index=first_index)


def baseline_futures(
    baseline: Baseline,
    file: DataFile,
    window: WindowConfig,
    noise_m: float = 0.0,
    seed: int = 0,
) -> Futures:
    """
    Return a function that predicts the scored windows of a file with a baseline.

    :param baseline: the baseline.
    :param file: the recordings.
    :param window: the window.
    :param noise_m: see :func:`noisy`.
    :param seed: seed of the noise.
    """

    def read(first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        observed = file.observed[first:last]
        seen = noisy(observed, noise_m, seed, first)
        futures = baseline(seen, window.future_frames, window.rate_hz)
        root = futures[..., 0, :]
        displacement = root - observed[:, None, None, -1, 0]
        return displacement, futures[..., 1:, :] - root[..., None, :]

    return read


def score_file(
    file: DataFile,
    futures: Futures,
    alternatives: Alternatives,
) -> FileScores:
    """
    Score the futures of one file.

    :param file: the recordings.
    :param futures: the predicted futures, read a few windows at a time.
    :param alternatives: for each group of the file, futures of all windows of the group relative
        to the root ``(N, T_fut, J - 1, 3)``, and the multimodal set of each scored window.
    """
    root_future = torch.from_numpy(file.root_future)
    pose_future = file.pose_futures[torch.from_numpy(file.chosen)]
    values: dict[str, list[Tensor]] = {}
    curves: dict[str, list[Tensor]] = {}
    for first in range(0, len(file.chosen), CHUNK):
        last = min(first + CHUNK, len(file.chosen))
        root, pose = (torch.from_numpy(array) for array in futures(first, last))
        true_root, true_pose = root_future[first:last], pose_future[first:last]
        world = torch.cat((root[..., None, :], pose + root[..., None, :]), dim=-2)
        true_world = torch.cat(
            (true_root[..., None, :], true_pose + true_root[..., None, :]), dim=-2
        )
        found: dict[str, Tensor] = {}
        for name, value in metrics.pose_metrics(pose, true_pose).items():
            found[f'pose.{name}'] = value
        for name, value in metrics.world_metrics(world, true_world).items():
            found[f'world.{name}'] = value
        for label, (all_futures, sets) in alternatives.items():
            others = [all_futures[torch.from_numpy(index)] for index in sets[first:last]]
            for name, value in metrics.multimodal_metrics(pose, others).items():
                found[f'pose.{name}@{label}'] = value
        for name, value in found.items():
            values.setdefault(name, []).append(value)
        for part, samples, truth in (
            ('pose', pose, true_pose),
            ('world', world, true_world),
        ):
            errors = metrics.frame_errors(samples.flatten(-2), truth.flatten(-2))
            best, median = metrics.horizon_curves(errors)
            curves.setdefault(f'{part}.best', []).append(best)
            curves.setdefault(f'{part}.median', []).append(median)
    return FileScores(_joined(values), _joined(curves))


def summarise(
    group: Group,
    files: Sequence[DataFile],
    scores: Sequence[FileScores],
    times_s: Sequence[float],
) -> dict[str, Any]:
    """
    Return the scores of a group's files as one row.

    :param group: the group.
    :param files: all files.
    :param scores: scores of all files, in the same order.
    :param times_s: time of each future frame after the last observed one, seconds.
    """
    values = group_values(group, scores)
    clusters = group_clusters(group, files)
    row: dict[str, Any] = {
        'set': group.set_name,
        'split': group.split,
        'windows': len(clusters),
        'clips': len(np.unique(clusters)),
        'pose': {},
        'world': {},
        'interval95': {},
    }
    for name, of_windows in values.items():
        part, measure = name.split('.')
        row[part][measure] = rounded(of_windows.mean())
        if measure in ('ade', 'fde', 'energy'):
            low, high = bootstrap_interval(of_windows, np.ones_like(of_windows), clusters)
            row['interval95'][name] = [rounded(low), rounded(high)]
    row['horizon'] = {'times_s': [rounded(time_s) for time_s in times_s]}
    for name in scores[group.members[0]].curves:
        stacked = np.concatenate([scores[i].curves[name] for i in group.members])
        row['horizon'][name] = [round(float(value), 4) for value in stacked.mean(axis=0)]
    actions = np.array([action for i in group.members for action in _actions_scored(files[i])])
    row['actions'] = {
        str(action): {
            'windows': int((actions == action).sum()),
            **{
                name: rounded(values[name][actions == action].mean())
                for name in ('pose.ade', 'pose.fde', 'world.ade', 'world.fde')
            },
        }
        for action in sorted(set(actions.tolist()))
    }
    return row


def group_values(group: Group, scores: Sequence[FileScores]) -> dict[str, NDArray[np.float64]]:
    """Return all measures of a group's windows, multimodal ones over the group's sets."""
    values: dict[str, NDArray[np.float64]] = {}
    for name in scores[group.members[0]].values:
        measure, _, owner = name.partition('@')
        if not owner or owner == group.label:
            values[measure] = np.concatenate([scores[i].values[name] for i in group.members])
    return values


def group_clusters(group: Group, files: Sequence[DataFile]) -> NDArray[np.int64]:
    """Return the number of the clip of each scored window, over all files of a group."""
    numbers: list[NDArray[np.int64]] = []
    begin = 0
    for i in group.members:
        numbers.append(files[i].windows.clip[files[i].chosen] + begin)
        begin += len(files[i].windows.clips)
    return np.concatenate(numbers)


def bootstrap_interval(
    numerator: NDArray[np.float64],
    denominator: NDArray[np.float64],
    clusters: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """
    Return the 95 % interval of a ratio of sums, drawing whole clips with replacement.

    Windows overlap and those of one clip are similar, so clips are drawn and not windows. A mean
    is the ratio to ones.

    :param numerator: for each window, shape ``(N,)``.
    :param denominator: for each window, shape ``(N,)``.
    :param clusters: the clip of each window, shape ``(N,)``.
    :param resamples: number of draws.
    :param seed: seed of the draws.
    """
    _, member = np.unique(clusters, return_inverse=True)
    count = int(member.max()) + 1
    upper = np.bincount(member, weights=numerator, minlength=count)
    lower = np.bincount(member, weights=denominator, minlength=count)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=resamples)
    ratios = (drawn @ upper) / (drawn @ lower)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


COMPARED = ('pose.ade', 'pose.fde', 'pose.mmade', 'pose.mmfde', 'world.ade', 'world.fde')
"""Errors that are compared with another model's."""


def compare_with(
    reference: str,
    values: Mapping[str, NDArray[np.float64]],
    against: Mapping[str, NDArray[np.float64]],
    clusters: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the ratios of mean errors to another model's on the same windows, with intervals."""
    found: dict[str, Any] = {'model': reference}
    for name in COMPARED:
        low, high = bootstrap_interval(values[name], against[name], clusters)
        found[name] = {
            'ratio': rounded(values[name].mean() / against[name].mean()),
            'interval95': [rounded(low), rounded(high)],
        }
    return found


def find_alternatives(
    files: Sequence[DataFile], groups: Sequence[Group]
) -> tuple[Sequence[Alternatives], dict[str, Any]]:
    """
    Return the multimodal sets of every group.

    :returns: for each file, by group, the argument of :func:`score_file`; and for each group the
        mean and median size of its sets, and the share of windows that are alone in theirs.
    """
    of_files: list[dict[str, tuple[Tensor, Sequence[NDArray[np.int64]]]]] = [{} for _ in files]
    statistics: dict[str, Any] = {}
    for group in groups:
        futures = torch.cat([files[i].pose_futures for i in group.members])
        sets = multimodal_sets(files, group)
        for i, of_file in zip(group.members, sets, strict=True):
            of_files[i][group.label] = (futures, of_file)
        sizes = np.array([len(index) for of_file in sets for index in of_file])
        statistics[group.label] = {
            'mean': rounded(sizes.mean()),
            'median': rounded(np.median(sizes)),
            'alone': rounded((sizes == 1).mean()),
        }
    return of_files, statistics


def _actions_scored(file: DataFile) -> Iterator[str]:
    actions = file.windows.actions
    return (actions[int(i)] for i in file.chosen)


def _joined(parts: Mapping[str, Sequence[Tensor]]) -> dict[str, NDArray[np.float64]]:
    return {name: torch.cat(list(of)).double().numpy() for name, of in parts.items()}


def rounded(value: float) -> float:
    """Return a value in metres rounded to micrometres."""
    return round(float(value), 6)
