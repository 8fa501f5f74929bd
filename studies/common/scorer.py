# SPDX-License-Identifier: Apache-2.0
"""The scores of a model, as in ``training evaluate``, and one error computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.predictor import Predictor
from studies.common.material import load_teacher
from training.engine.config import ChainConfig
from training.engine.diffusion import Sampler
from training.judge import metrics
from training.judge.scoring import (
    CHUNK,
    DataFile,
    find_alternatives,
    Futures,
    group_values,
    load_data,
    make_groups,
    score_file,
)
from training.judge.temperature import temperature_for

ERRORS = ('ade', 'fde', 'mmade', 'mmfde')
"""Errors of the pose relative to the root; a student's error is the mean ratio to the
reference's."""
Scores = Mapping[str, Mapping[str, float]]
"""By set and split (``cmu17/val``): ERRORS and ``apd``, metres."""


def variety_of(path: Path, chain: ChainConfig, scorer: Scorer) -> float:
    """
    Return the APD of a diffusion teacher's samples (DDIM, 100 steps), metres.

    :param path: its weights file.
    :param chain: settings whose window it must have.
    :raises WeightsError: if that cannot be read.
    :raises ConfigError: if it is not a diffusion teacher of this window, or if its samples are not
        poses.
    """
    model = load_teacher(path, 'teacher', chain).to(scorer.device).eval()
    apd = scorer.variety(model)
    if not np.isfinite(apd):
        raise ConfigError(f'{path}: its samples are not finite; train it for longer')
    return round(apd, 6)


class Scorer:
    """Scores a model as ``training evaluate`` does, each file with its own sets."""

    def __init__(
        self,
        paths: Sequence[Path],
        window: WindowConfig,
        *,
        limit: int | None = None,
        samples: int = 50,
        device: str = 'cpu',
        skeleton: Skeleton | None = None,
    ) -> None:
        """
        Load the recordings and find their multimodal sets.

        :param limit: number of scored windows of each file, evenly spread; None: all.
        :param samples: futures per window.
        """
        self.files = load_data(paths, window, limit, skeleton)
        self.groups = [group for group in make_groups(self.files) if len(group.members) == 1]
        self.alternatives, _ = find_alternatives(self.files, self.groups)
        self.samples = samples
        self.device = device

    def __call__(
        self, model: MotionModel, *, ddim_steps: int = 100, completion: str = 'clean'
    ) -> dict[str, dict[str, float]]:
        """
        Score a model.

        :param model: of any role; it is not changed.
        :param ddim_steps: sampling steps of a teacher.
        :param completion: completion of a teacher's sampling.
        :returns: see :data:`Scores`.
        """
        sampler = self._sampler(model, ddim_steps, completion)
        scores = [
            score_file(file, self._futures(sampler, file), sets)
            for file, sets in zip(self.files, self.alternatives)
        ]
        found: dict[str, dict[str, float]] = {}
        for group in self.groups:
            values = group_values(group, scores)
            found[group.label] = {
                name: float(values[f'pose.{name}'].mean()) for name in (*ERRORS, 'apd')
            }
        return found

    def variety(
        self, model: MotionModel, *, ddim_steps: int = 100, completion: str = 'clean'
    ) -> float:
        """
        Return the APD of a model's samples over all scored windows, metres.

        :param model: of any role; it is not changed.
        :param ddim_steps: sampling steps of a teacher.
        :param completion: completion of a teacher's sampling.
        """
        sampler = self._sampler(model, ddim_steps, completion)
        parts = []
        for file in self.files:
            read = self._futures(sampler, file)
            for first in range(0, len(file.chosen), CHUNK):
                _, pose = read(first, min(first + CHUNK, len(file.chosen)))
                parts.append(metrics.apd(torch.from_numpy(pose).flatten(-2)))
        return float(torch.cat(parts).double().mean())

    def as_varied(
        self, model: MotionModel, apd: float
    ) -> tuple[dict[str, dict[str, float]], float]:
        """
        Score a one-step model at the temperature at which its samples differ as requested.

        The best of many samples gains from variety, and students differ in it. The temperature of
        a shipped model is chosen too (``training choose-temperature``), so this compares what
        would be shipped.

        :param model: the model; its own temperature has no effect; it is not changed.
        :param apd: see :meth:`variety`, metres.
        :returns: see :data:`Scores`; and the temperature.
        """
        found = temperature_for(lambda t: self.variety(tempered(model, t)), apd)
        return self(tempered(model, found)), found

    def _sampler(self, model: MotionModel, ddim_steps: int, completion: str) -> Sampler:
        predictor = None
        if model.config.role != 'teacher':
            predictor = Predictor(model, {}, device=self.device)
        return Sampler(model, predictor, {}, ddim_steps, 256, completion)

    def _futures(self, sampler: Sampler, file: DataFile) -> Futures:
        def read(first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            observed = file.observed[first:last]
            futures = sampler.sample(observed, samples=self.samples, first_index=first)
            root = futures[..., 0, :]
            shift = root - observed[:, None, None, -1, 0]
            return shift, futures[..., 1:, :] - root[..., None, :]

        return read


def tempered(model: MotionModel, temperature: float) -> MotionModel:
    """Return the same network with another temperature."""
    same = copy.copy(model)
    same.config = replace(model.config, temperature=temperature)
    return same


def relative_error(scores: Scores, reference: Scores) -> float:
    """
    Return a student's error as one number: below 1 is better than the reference.

    :param scores: scores of the student.
    :param reference: scores of the one-step teacher, on the same windows.
    :returns: mean ratio over files and :data:`ERRORS`.
    """
    ratios = [
        scores[label][name] / theirs[name]
        for label, theirs in reference.items()
        for name in ERRORS
    ]
    return float(np.mean(ratios))


def of_split(scores: Scores, split: str) -> Scores:
    """Return the scores of one split."""
    return {label: of for label, of in scores.items() if label.endswith(f'/{split}')}
