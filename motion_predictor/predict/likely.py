# SPDX-License-Identifier: Apache-2.0
"""The one future of each person that is shown, and the samples that are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from motion_predictor.predict.prediction import Prediction

EXPECTED, TYPICAL = 'expected', 'typical'
FUTURES = (EXPECTED, TYPICAL)
"""Values of ``output.future``: the weighted mean on the person's own bones, or the medoid."""


def likely_futures(
    prediction: Prediction, future: str = EXPECTED, frames: np.ndarray | None = None
) -> np.ndarray:
    """
    Return the one future of each person, ``(P, F, J, 3)`` metres.

    :param prediction: the prediction.
    :param future: one of :data:`FUTURES`. If the model alone counts, the result is always the most
        typical sample.
    :param frames: indices, F of them; None for all.
    """
    if frames is None:
        frames = np.arange(prediction.future_frames)
    if prediction.mix is not None and future == EXPECTED:
        return prediction.expected_at(frames)
    chosen = prediction.most_likely
    return prediction.futures_at(frames)[np.arange(len(chosen)), chosen]


def drawn_samples(prediction: Prediction, count: int) -> np.ndarray:
    """
    Return the samples to draw for each person; each candidate has as many as its weight says.

    :param prediction: the prediction.
    :param count: greatest number of samples.
    :returns: indices, int64 ``(P, D)``; the first samples if the model alone counts.
    """
    persons, samples = prediction.weights.shape
    count = min(count, samples)
    if prediction.mix is None or not count:
        return np.tile(np.arange(count), (persons, 1))
    return by_weight(prediction.weights, count)


def by_weight(weights: np.ndarray, count: int) -> np.ndarray:
    """
    Return samples at equal steps of the cumulated weight: a sample's number follows its weight.

    :param weights: weights of the samples, ``(P, S)``.
    :param count: number of samples to return, D, at least one.
    :returns: indices, int64 ``(P, D)``, increasing.
    """
    persons, samples = weights.shape
    reached = np.cumsum(weights, axis=1, dtype=np.float64)
    marks = (np.arange(count) + 0.5) / count
    found = [np.searchsorted(row / row[-1], marks) for row in reached]
    return np.minimum(np.array(found, dtype=np.int64).reshape(persons, count), samples - 1)
