# SPDX-License-Identifier: Apache-2.0
"""A many-step teacher in the form of a predictor for streams."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.futures.sampled import as_futures
from motion_predictor.predict.live import FuturePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from training.engine.diffusion import Sampler, sampler_for


class StreamedPredictor(FuturePredictor, Protocol):
    """The interface of a predictor for streams: a model, and its weights for learning a place."""

    @property
    def weighing(self) -> WeighingWeights | None:
        """Return the weights for weighing its predictions; None: the model alone is published."""


class ManyStepPredictor:
    """Futures of a teacher, which has no weights for weighing."""

    weighing: WeighingWeights | None = None

    def __init__(self, sampler: Sampler) -> None:
        """
        Wrap a sampler.

        :param sampler: sampler of a teacher.
        """
        self._sampler = sampler

    @property
    def window(self) -> WindowConfig:
        """Return the number of frames that the teacher observes and predicts, and their rate."""
        return self._sampler.model.config.window

    @property
    def skeleton(self) -> Skeleton:
        """Return the skeleton; its joints are in the teacher's order."""
        return self._sampler.model.skeleton

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """
        Sample futures, with the same noise in every call, as a node does.

        :param observed: joint positions in metres, gravity along -z, ``(P, T_obs, J, 3)``.
        :param samples: number of futures per person, S.
        :param seed: seed of the noise, not negative.
        :param seen: which joints of each person were seen at all, bool ``(P, J)``; the others are
            completed. None: all.
        :returns: futures in metres, ``(P, S, T_fut, J, 3)``, with equal weights.
        """
        futures = self._sampler.sample(
            observed.astype(np.float32), samples=samples, seed=seed, seen=seen
        )
        weights = np.full(futures.shape[:2], 1.0 / samples, dtype=np.float32)
        return Prediction(as_futures(futures), weights, self.window.rate_hz)


def load_streamed(path: Path, engine: str, ddim_steps: int) -> StreamedPredictor:
    """
    Load any weights file as a predictor for streams on the CPU.

    :param path: weights of a teacher or of a one-step model.
    :param engine: as :meth:`motion_predictor.predict.predictor.Predictor.load` takes it.
    :param ddim_steps: sampling steps of a teacher.
    :raises WeightsError: if the file cannot be used.
    :raises ConfigError: if the engine is unknown or not available.
    """
    loaded = load_weights(path)
    if loaded.model.config.role != 'teacher':
        return Predictor.of(loaded, device='cpu', engine=engine, name=path.stem)
    return ManyStepPredictor(sampler_for(path, device='cpu', ddim_steps=ddim_steps, engine=engine))
