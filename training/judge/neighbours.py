# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours in the training set: a baseline that only remembers its data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.person_frame import PersonFrame, to_features
from training.data.store import data_digest
from training.data.windows import load_window_set, WindowSet

NEIGHBOURS = 50
OF_ONE_CLIP = 8
"""Greatest number of neighbours from one clip, because windows overlap."""
DIRECTIONS = 96
"""Number of main directions of the observation by which the search narrows down before it
measures."""
SHORTLIST = 1024
"""Number of windows that are measured completely; all windows if a neighbour could be missed."""


@dataclass(frozen=True)
class TrainingNeighbours:
    """
    Windows of the training set, found by their observations.

    Distance is the L2 norm of the difference of all observed features in the person's own frame. A
    neighbour's future is turned to the person's heading and moved so that it begins at their last
    pose, joint by joint.
    """

    skeleton: Skeleton
    observed: Tensor
    """Features in the own frame, metres, ``(N, T_obs * 3J)``."""
    moves: Tensor
    """Futures minus the last observed pose in the own frame, float16 metres, ``(N,
    T_fut, J, 3)``."""
    clip: NDArray[np.int64]
    """Clip of each window, over all files, ``(N,)``."""
    subject: NDArray[np.str_]
    """Subject of each window, ``(N,)``."""
    directions: Tensor
    """Orthonormal directions, ``(T_obs * 3J, D)``: a distance along them never exceeds the whole
    distance."""
    along: Tensor
    """``observed`` along these directions, ``(N, D)``."""

    @classmethod
    def of(cls, sets: Sequence[WindowSet], window: WindowConfig) -> TrainingNeighbours:
        """
        Collect the windows of training files.

        :param sets: window sets with the same joints.
        :param window: the window.
        :raises ConfigError: if there are no files, or if they hold different joints.
        """
        if not sets:
            raise ConfigError('neighbours: name at least one file of training recordings')
        skeleton = sets[0].skeleton
        observed, moves, clip, subject = [], [], [], []
        clips = 0
        for windows in sets:
            if windows.skeleton.joints != skeleton.joints:
                raise ConfigError(
                    f'neighbours: {windows.skeleton.name} beside {skeleton.name}; '
                    'give files of one set of joints'
                )
            poses = torch.from_numpy(windows.poses)
            seen = poses[:, : window.observed_frames]
            frame = PersonFrame.of(seen, skeleton)
            own = frame.enter(seen)
            observed.append(to_features(own).flatten(1))
            ahead = frame.enter(poses[:, window.observed_frames :]) - own[:, -1:]
            moves.append(ahead.half())
            clip.append(windows.clip + clips)
            subject.append(np.array(windows.subjects))
            clips += len(windows.clips)
        features = torch.cat(observed)
        directions = _main_directions(features)
        return cls(
            skeleton,
            features,
            torch.cat(moves),
            np.concatenate(clip),
            np.concatenate(subject),
            directions,
            features @ directions,
        )

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.clip)

    def futures(
        self,
        observed: NDArray[np.float32],
        *,
        count: int = NEIGHBOURS,
        without_subject: str | None = None,
    ) -> NDArray[np.float32]:
        """
        Return the futures of the most similar moments of the training set, the nearest first.

        :param observed: metres in the world, ``(N, T_obs, J, 3)``.
        :param count: number of neighbours; fewer if there are not so many.
        :param without_subject: subject to leave out, so that nobody is their own neighbour.
        :returns: metres in the world, ``(N, count, T_fut, J, 3)``.
        :raises ConfigError: if there are only windows of this subject.
        """
        poses = torch.from_numpy(np.ascontiguousarray(observed, dtype=np.float32))
        frame = PersonFrame.of(poses, self.skeleton)
        own = to_features(frame.enter(poses)).flatten(1)
        others = np.ones(len(self), dtype=bool)
        if without_subject is not None:
            others &= self.subject != without_subject
        nearest = np.stack([self._nearest(one, others, count) for one in own])
        if not nearest.shape[1]:
            raise ConfigError(
                f"neighbours: every window is of {without_subject}, who is nobody's neighbour"
            )
        moves = self.moves[torch.from_numpy(nearest)].float()  # (n, count, T_fut, J, 3)
        back = frame.rotation.transpose(-1, -2)[:, None, None]
        return (poses[:, -1:][:, None] + moves @ back).numpy()

    def _nearest(self, own: Tensor, others: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
        bounds = (self.along - own @ self.directions).norm(dim=-1).numpy()
        bounds[~others] = np.inf
        if len(bounds) > SHORTLIST:
            short = np.argpartition(bounds, SHORTLIST)
            chosen, farthest = self._measured(own, short[:SHORTLIST], others, count)
            if len(chosen) == count and farthest <= bounds[short[SHORTLIST]]:
                return chosen
        return self._measured(own, np.arange(len(bounds)), others, count)[0]

    def _measured(
        self, own: Tensor, among: NDArray[np.int64], others: NDArray[np.bool_], count: int
    ) -> tuple[NDArray[np.int64], float]:
        # Return the nearest of some windows, a few of each clip, and the distance of the last of
        # them.
        among = np.sort(among[others[among]])
        apart = (self.observed[torch.from_numpy(among)] - own).norm(dim=-1).numpy()
        taken: dict[int, int] = {}
        chosen: list[int] = []
        farthest = 0.0
        for place in np.argsort(apart, kind='stable'):
            clip = int(self.clip[among[place]])
            if taken.get(clip, 0) < OF_ONE_CLIP:
                taken[clip] = taken.get(clip, 0) + 1
                chosen.append(int(among[place]))
                farthest = float(apart[place])
                if len(chosen) == count:
                    break
        return np.array(chosen, dtype=np.int64), farthest


def _main_directions(features: Tensor) -> Tensor:
    away = (features - features.mean(dim=0)).double()
    axes = torch.linalg.eigh(away.T @ away / len(away)).eigenvectors
    return axes[:, -DIRECTIONS:].float().contiguous()


def load_neighbours(
    paths: Sequence[Path],
    window: WindowConfig,
    skeleton: Skeleton | None = None,
    judged: Collection[str] = (),
) -> TrainingNeighbours:
    """
    Read the training files whose windows are neighbours.

    :param paths: stores, or files in the cmu17 format.
    :param window: the window.
    :param skeleton: skeleton of the files.
    :param judged: digests of the files that are scored; none of them may be among the neighbours.
    :raises ConfigError: if a file is also scored.
    """
    for path in paths:
        if data_digest(path) in judged:
            raise ConfigError(
                f'--neighbours {path}: is judged as well, and would be its own neighbour; '
                'name training files that are not in --data'
            )
    return TrainingNeighbours.of(
        [load_window_set(path, window, skeleton) for path in paths], window
    )
