# SPDX-License-Identifier: Apache-2.0
"""Predicted futures on disk, so that a killed evaluation continues where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import hashlib
import json
import os
from pathlib import Path
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motion_predictor.common.whole_files import not_written, write_whole
from motion_predictor.errors import StorageError
from motion_predictor.model.config import WindowConfig
from training.common.locks import hold_folder


class Sampler(Protocol):
    """The interface of a model that samples futures; see :mod:`training.engine.diffusion`."""

    def sample(
        self, observed: NDArray[np.float32], *, samples: int, seed: int, first_index: int
    ) -> NDArray[np.float32]:
        """
        Sample futures of several windows.

        The noise of window i depends on the seed and ``first_index + i`` alone.

        :param observed: world positions in metres, shape ``(N, T_obs, J, 3)``.
        :param samples: S.
        :param seed: seed of the noise.
        :param first_index: index of the first window among all of the file.
        :returns: world positions in metres, shape ``(N, S, T_fut, J, 3)``.
        """
        ...


class PredictionStore:
    """
    The futures that one model predicts for the windows of one file, on disk.

    The root is stored as its displacement from the last observed root (float32), the other joints
    relative to the root (float16: half a millimetre at one metre).
    """

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, Any],
        windows: int,
        samples: int,
        window: WindowConfig,
        joints: int,
        *,
        fresh: bool = False,
    ) -> None:
        """
        Open the store of a key, or make it.

        :param folder: folder with one sub-folder per key.
        :param key: everything that the futures depend on, JSON-able.
        :param windows: number of windows, N.
        :param samples: number of samples, S.
        :param window: gives T_fut.
        :param joints: number of joints, J.
        :param fresh: whether to forget what was stored under this key.
        :raises StorageError: if there is no room for all of it.
        """
        self.key = dict(key)
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()
        self.folder = folder / digest[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(not_written(self.folder, error)) from error
        self._progress_file = self.folder / 'progress.json'
        lead = (windows, samples, window.future_frames)
        self._root = self._open('root.npy', np.float32, (*lead, 3), fresh)
        self._pose = self._open('pose.npy', np.float16, (*lead, joints - 1, 3), fresh)
        self.progress: dict[str, Any] = {'done': 0, 'wall_s': 0.0, 'commits': [], 'key': self.key}
        if self._progress_file.is_file() and not fresh:
            self.progress = _progress(self._progress_file) or self.progress
        self._save_progress()

    @property
    def done(self) -> int:
        """Return the number of predicted windows, counted from the first."""
        return int(self.progress['done'])

    @property
    def complete(self) -> bool:
        """Return whether every window is predicted."""
        return self.done == len(self._root)

    def fill(
        self,
        sampler: Sampler,
        observed: NDArray[np.float32],
        *,
        seed: int,
        batch: int,
        commit: str | None,
        advance: Callable[[int], object] = lambda windows: None,
    ) -> None:
        """
        Predict the windows that are still missing.

        :param sampler: the model.
        :param observed: all windows, world metres, shape ``(N, T_obs, J, 3)``.
        :param seed: seed of the noise.
        :param batch: number of windows per call of the model.
        :param commit: commit of the running code, noted beside the futures.
        :param advance: called with the number of windows after each batch.
        """
        samples = self._root.shape[1]
        if not self.complete:
            hold_folder(self.folder)
        if not self.complete and commit not in self.progress['commits']:
            self.progress['commits'].append(commit)
        while not self.complete:
            first = self.done
            last = min(first + batch, len(observed))
            begun = time.perf_counter()
            futures = sampler.sample(
                observed[first:last], samples=samples, seed=seed, first_index=first
            )
            wall_s = time.perf_counter() - begun
            root = futures[..., 0, :]
            self._root[first:last] = root - observed[first:last, None, None, -1, 0]
            self._pose[first:last] = futures[..., 1:, :] - root[..., None, :]
            self._root.flush()
            self._pose.flush()
            self.progress['done'] = last
            self.progress['wall_s'] += wall_s
            self._save_progress()
            advance(last - first)

    def read(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Return stored futures of some windows.

        :returns: displacement of the root from its last observed position ``(n, S, T_fut, 3)``,
            and the other joints relative to the root ``(n, S, T_fut, J - 1, 3)``; metres.
        """
        root = np.array(self._root[first:last])
        return root, self._pose[first:last].astype(np.float32)

    def _open(
        self, name: str, dtype: type, shape: tuple[int, ...], fresh: bool
    ) -> np.memmap[Any, Any]:
        path = self.folder / name
        if path.is_file() and not fresh:
            stored = np.lib.format.open_memmap(path, mode='r+')
            if stored.shape == shape and stored.dtype == dtype:
                return stored
        try:
            self._progress_file.unlink(missing_ok=True)
            made = np.lib.format.open_memmap(path, mode='w+', dtype=dtype, shape=shape)
            with path.open('r+b') as file:  # a page that no disk takes later would be SIGBUS
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageError(not_written(path, error)) from error
        return made

    def _save_progress(self) -> None:
        write_whole(self._progress_file, json.dumps(self.progress, indent=1))


def _progress(path: Path) -> dict[str, Any] | None:
    # Return the notes; None if the disk left something else: then it is predicted again.
    try:
        found = json.loads(path.read_text())
        return found if {'done', 'wall_s', 'commits', 'key'} <= found.keys() else None
    except (ValueError, AttributeError):
        return None
