"""A many-step teacher as a predictor that streams can be played into."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.live import FuturePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.predict.predictor import Predictor
from training.engine.diffusion import Sampler, sampler_for


class StreamedPredictor(FuturePredictor, Protocol):
    """What a stream is played into: a model, and what it learns of a place."""

    @property
    def weighing(self) -> WeighingWeights | None:
        """Return how its predictions are weighed; None: the model alone is published."""


class ManyStepPredictor:
    """Futures of a teacher; it has nothing to weigh them by."""

    weighing: WeighingWeights | None = None

    def __init__(self, sampler: Sampler) -> None:
        """
        Wrap a sampler.

        :param sampler: of a teacher.
        """
        self._sampler = sampler

    @property
    def window(self) -> WindowConfig:
        """Return what the teacher sees and predicts."""
        return self._sampler.model.config.window

    @property
    def skeleton(self) -> Skeleton:
        """Return the joints, in the teacher's order."""
        return self._sampler.model.skeleton

    def predict(self, observed: np.ndarray, *, samples: int, seed: int) -> Prediction:
        """
        Sample futures, with the same noise in every call, as a node does.

        :param observed: joint positions in metres, gravity along -z, ``(P, T_obs, J, 3)``.
        :param samples: S, futures of each person.
        :param seed: of the noise, not negative.
        :returns: futures in metres, ``(P, S, T_fut, J, 3)``, all of one weight.
        """
        futures = self._sampler.sample(observed.astype(np.float32), samples=samples, seed=seed)
        weights = np.full(futures.shape[:2], 1.0 / samples, dtype=np.float32)
        return Prediction(futures, weights, self.window.rate_hz)


def load_streamed(path: Path, engine: str, ddim_steps: int) -> StreamedPredictor:
    """
    Load any weights file, to be played into on the CPU.

    :param path: weights of a teacher or of one step.
    :param engine: as :meth:`motion_predictor.predict.predictor.Predictor.load` takes it.
    :param ddim_steps: of a teacher.
    :raises WeightsError: if the file cannot be used.
    :raises ConfigError: if the engine is unknown or cannot be had.
    """
    loaded = load_weights(path)
    if loaded.model.config.role != 'teacher':
        return Predictor.of(loaded, device='cpu', engine=engine, name=path.stem)
    return ManyStepPredictor(sampler_for(path, device='cpu', ddim_steps=ddim_steps, engine=engine))
