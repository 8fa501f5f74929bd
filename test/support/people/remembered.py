# SPDX-License-Identifier: Apache-2.0
"""People whose past a place remembers, and what is recalled of it."""

from collections.abc import Sequence

import numpy as np
from place_people import asked, BEGIN_NS, swinging, WINDOW, window_at

from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.place.candidates import Stance, stance
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.memory.recall import Recall
from motion_predictor.track.window import ObservedWindow

HOUR_NS = 3600 * 10**9
FUTURE = WINDOW.future_frames


def show(
    memory: PlaceMemory,
    poses: np.ndarray,
    track: int = 1,
    begin_ns: int = BEGIN_NS,
    every: int = 24,
    filled: np.ndarray | None = None,
    jitter: float = 0.0,
) -> None:
    for frame in asked(poses, every):
        window = window_at(poses, frame, begin_ns, filled)
        memory.remember([track], [window], np.array([jitter]))


def now_of(windows: Sequence[ObservedWindow]) -> Stance:
    seen = np.stack([window.poses for window in windows])
    seen = (seen - seen[:, -1:, :1]).astype(np.float32)
    return stance(seen, np.zeros(len(seen)), WINDOW.rate_hz)


def recalled(memory: PlaceMemory, poses: np.ndarray, frame: int) -> Recall:
    return memory.recall(now_of([window_at(poses, frame)]))


def mean_of(found: Recall, person: int = 0) -> np.ndarray:
    return np.einsum('n,ntjd->tjd', found.weights[person], found.futures[person])


def after(poses: np.ndarray, frame: int) -> np.ndarray:
    """Return what followed, from the root of then."""
    return poses[frame + 1 : frame + 1 + FUTURE] - poses[frame, 0]


def off(memory: PlaceMemory, poses: np.ndarray, frame: int) -> float:
    apart = mean_of(recalled(memory, poses, frame)) - after(poses, frame)
    return float(np.linalg.norm(apart, axis=-1).mean())


WORK = swinging(16.0, 1)


def filled_memory() -> PlaceMemory:
    memory = PlaceMemory(WINDOW, H36M17)
    show(memory, WORK)
    return memory
