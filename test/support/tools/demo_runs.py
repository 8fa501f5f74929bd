# SPDX-License-Identifier: Apache-2.0
"""Runs of the demo with known predictions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from motion_predictor.recordings.recording import Recording
from tools.demo.demo_page import Facts, Run
from tools.demo.demo_scores import Collection, score, timing

RATE_HZ = 30.0
Opener = Callable[..., AbstractContextManager[Any]]
"""The fixture ``opened``: a function from a file, a query and settings of the browser's context to
its page."""


def collection_of(scene: Recording, samples: int = 4, offset_m: float = 0.0) -> Collection:
    """Return perfect predictions, up to an offset of each sample."""
    poses = np.stack(list(scene.persons.values()), axis=1)  # (N, P, 17, 3)
    stamps = np.arange(len(poses)) / RATE_HZ
    motion = CubicSpline(stamps, poses, axis=0)
    times_s = 0.1 * np.arange(1, 21)
    message, person, futures = [], [], []
    for index in range(len(poses)):
        future = motion(stamps[index] + times_s)  # (T, P, 17, 3)
        for who in range(poses.shape[1]):
            shift = offset_m * np.arange(samples)[:, None, None, None] * np.array([1.0, 0.0, 0.0])
            futures.append(future[None, :, who] + shift)
            message.append(index)
            person.append(who)
    return Collection(
        pose_stamps_s=stamps,
        poses=poses.astype(np.float32),
        stamps_s=stamps,
        published_s=stamps + 0.010,
        received_s=stamps + 0.012,
        times_s=times_s,
        message=np.array(message),
        person=np.array(person),
        weights=np.full((len(message), samples), 1.0 / samples, np.float32),
        futures=np.array(futures, np.float32),
        expected=np.array(futures, np.float32).mean(axis=1),
    )


def run_of(collection: Collection, weights: str = 'swiftdiff') -> Run:
    """Return a collection scored as a run of the demo."""
    facts = Facts('walk', 'ours', weights, 'fine')
    return Run(collection, timing(collection), score(collection), facts)
