# SPDX-License-Identifier: Apache-2.0
"""Score a one-step student while it learns: curves and a drawn future in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.without_torch.noise import sample_noise
from training.common.logs import Logs
from training.common.parallel import current
from training.data.windows import load_window_set

SAMPLES = 10
MAX_WINDOWS = 64
"""Windows that are scored, spread evenly over all; a score should cost little of the training."""
DRAWN = 3
"""Windows that are drawn."""
AHEAD_S = (0.5, 1.0, 2.0)


class Watching:
    """
    A watch of :class:`training.engine.loop.Loop` that scores the moving average on recordings.

    It draws nothing from torch's generators, so the training is the same with it and without.
    """

    def __init__(
        self,
        model: MotionModel,
        recordings: Sequence[Path],
        every: int,
        folder: Path,
        skeleton: Skeleton | None = None,
    ) -> None:
        """
        Load the windows.

        :param model: a model with the codec of the training; its network is replaced.
        :param recordings: stores, bags or files of recordings.
        :param every: number of steps from one score to the next, at least 1.
        :param folder: the stage's folder; the logs go into ``tensorboard/validation``.
        :param skeleton: skeleton of recordings that do not state it.
        :raises RecordingError: if a recording cannot be used.
        :raises ConfigError: if its joints are not the model's.
        """
        window = model.config.window
        found = []
        for path in recordings:
            windows = load_window_set(path, window, skeleton)
            if windows.skeleton.joints != model.skeleton.joints:
                raise ConfigError(
                    f'--val {path}: its joints are {", ".join(windows.skeleton.joints)}; expected '
                    f'{", ".join(model.skeleton.joints)}'
                )
            found.append(windows.poses)
        poses = np.concatenate(found)
        chosen = np.unique(np.linspace(0, len(poses) - 1, MAX_WINDOWS).round().astype(int))
        self.poses = poses[chosen]
        self.model, self.every, self.folder = model.eval(), every, folder

    def __call__(self, done: int, averaged: nn.Module) -> None:
        """Score the average of the network after some steps, if it is time; see ``Watch``."""
        if done % self.every or not current().is_main:
            return
        futures = self.predicted(averaged)
        observed = self.model.config.window.observed_frames
        truth = self.poses[:, observed:]
        logs = Logs(self.folder / 'tensorboard' / 'validation', purge_step=done)
        try:
            for name, value in scores(futures, truth, self.model.config.window.rate_hz).items():
                logs.add_scalar(f'validation/{name}', value, done)
            figure = draw(
                self.poses[:DRAWN, observed - 1], futures[:DRAWN], truth[:DRAWN], self.model
            )
            logs.add_figure('validation/future', figure, done)
        finally:
            logs.close()

    @torch.no_grad()
    def predicted(self, network: nn.Module) -> NDArray[np.float32]:
        """Return the futures of all windows, ``(M, S, T_fut, J, 3)``, metres."""
        self.model.denoiser = network
        device = next(network.parameters()).device
        window, joints = self.model.config.window, self.model.skeleton.num_joints
        noise = sample_noise(0, SAMPLES, window.dct_keep, 3 * joints)
        observed = torch.from_numpy(self.poses[:, : window.observed_frames].copy()).to(device)
        context = self.model.to(device).observe(observed)
        drawn = torch.from_numpy(noise.copy()).to(device).expand(len(observed), -1, -1, -1)
        white = self.model.one_step(drawn, context.condition)
        futures: NDArray[np.float32] = self.model.decode(white, context).cpu().numpy()
        return futures


def scores(
    futures: NDArray[np.float32], truth: NDArray[np.float32], rate_hz: float
) -> dict[str, float]:
    """
    Score futures.

    :param futures: metres, ``(M, S, T_fut, J, 3)``.
    :param truth: metres, ``(M, T_fut, J, 3)``.
    :returns: centimetres a joint: the error of the samples' mean at the instants of AHEAD_S that
        the model predicts, and the mean error of the best sample over all frames.
    """
    mean = np.linalg.norm(futures.mean(axis=1) - truth, axis=-1).mean(axis=(0, 2))  # (T_fut,)
    found = {
        f'mean_error_cm_at_{ahead_s:g}_s': 100.0 * float(mean[frame_at(ahead_s, rate_hz)])
        for ahead_s in AHEAD_S
        if frame_at(ahead_s, rate_hz) < len(mean)
    }
    each = np.linalg.norm(futures - truth[:, None], axis=-1).mean(axis=(2, 3))  # (M, S)
    found[f'best_of_{futures.shape[1]}_error_cm'] = 100.0 * float(each.min(axis=1).mean())
    return found


def frame_at(ahead_s: float, rate_hz: float) -> int:
    """Return the index of the future frame at some seconds after the last observed one."""
    return round(ahead_s * rate_hz) - 1


def draw(
    last: NDArray[np.float32],
    futures: NDArray[np.float32],
    truth: NDArray[np.float32],
    model: MotionModel,
) -> Figure:
    """
    Draw futures from the side: a row for each window, a column for each instant.

    :param last: last observed poses, metres, ``(M, J, 3)``.
    :param futures: ``(M, S, T_fut, J, 3)``.
    :param truth: ``(M, T_fut, J, 3)``.
    :param model: names rate and skeleton.
    """
    frames = [frame_at(s, model.config.window.rate_hz) for s in AHEAD_S]
    frames = [frame for frame in frames if frame < truth.shape[1]] or [truth.shape[1] - 1]
    figure = Figure(figsize=(3.0 * len(frames), 3.0 * len(last)), layout='constrained')
    axes = figure.subplots(len(last), len(frames), squeeze=False)
    for row in range(len(last)):
        for column, frame in enumerate(frames):
            area = axes[row][column]
            for sample in futures[row, :, frame]:
                _bones(area, sample - last[row, :1], model.skeleton, 'tab:blue', 0.3)
            _bones(area, last[row] - last[row, :1], model.skeleton, 'tab:gray', 0.6)
            _bones(area, truth[row, frame] - last[row, :1], model.skeleton, 'black', 1.0)
            area.set_aspect('equal')
            area.set_title(f'{(frame + 1) / model.config.window.rate_hz:g} s', fontsize=9)
            area.tick_params(labelsize=7)
    figure.suptitle('gray: last seen, black: what happened, blue: samples; m', fontsize=9)
    return figure


def _bones(
    area: object, pose: NDArray[np.float32], skeleton: Skeleton, color: str, alpha: float
) -> None:
    for child, parent in skeleton.bones:
        ends = pose[[child, parent]]
        area.plot(ends[:, 0], ends[:, 2], color=color, alpha=alpha, linewidth=1)  # type: ignore[attr-defined]
