# SPDX-License-Identifier: Apache-2.0
"""Choose the fastest engine of a model by a short measurement on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from time import perf_counter

import numpy as np

from motion_predictor.errors import ConfigError
from motion_predictor.predict.predictor import Predictor

LOOSE_GAIN = 0.75
"""bf16 moves futures by millimetres. So it must take at most this share of the time of the fastest
engine that does not."""
_MOST_PEOPLE = 8
_CALLS = 5


def fastest(
    predictor: Predictor,
    samples: int,
    max_persons: int,
    require_wanted: Callable[[], None] = lambda: None,
) -> tuple[Predictor, str]:
    """
    Return the predictor with the engine that is the fastest here.

    Each engine predicts one person and several, in turns with the others; its shortest time
    counts, and :func:`best` decides.

    :param predictor: on the CPU; it is returned if there is nothing to choose from.
    :param samples: number of samples.
    :param max_persons: greatest number of people; at most eight are measured.
    :param require_wanted: called between the measurements; raises an error to give up.
    :returns: the predictor, and in words what was measured; '' if nothing was.
    """
    found: dict[str, Predictor] = {}
    for engine in ('fp32', 'bf16', 'onnx'):
        if engine == 'bf16' and predictor.engine != 'bf16':
            continue  # no hardware for it
        try:
            same = engine == predictor.engine
            found[engine] = predictor if same else _with_engine(predictor, engine)
        except ConfigError:  # not installed, or not for this model
            continue
        require_wanted()
    if len(found) < 2:
        return predictor, ''
    counts = sorted({1, min(max_persons, _MOST_PEOPLE)})
    taken_s = {count: _times_s(found, count, samples, require_wanted) for count in counts}
    words = '; '.join(
        f'{engine} {", ".join(f"{1e3 * times[engine]:.1f}" for times in taken_s.values())}'
        for engine in found
    )
    people = ', '.join(map(str, counts))
    return found[best(taken_s)], f'{words} ms for {people} people'


def best(taken_s: Mapping[int, Mapping[str, float]]) -> str:
    """
    Return the engine that costs least: the sum over the numbers of people of its shares of fp32.

    :param taken_s: seconds of each engine, by the number of people.
    """
    engines = next(iter(taken_s.values()))
    cost = {
        engine: sum(times[engine] / times['fp32'] for times in taken_s.values())
        for engine in engines
    }
    exact = min((engine for engine in engines if engine != 'bf16'), key=cost.__getitem__)
    return 'bf16' if cost.get('bf16', math.inf) <= LOOSE_GAIN * cost[exact] else exact


def _with_engine(predictor: Predictor, engine: str) -> Predictor:
    return Predictor.of(predictor.weights, device='cpu', engine=engine, name=predictor.name)


def _times_s(
    found: dict[str, Predictor], people: int, samples: int, require_wanted: Callable[[], None]
) -> dict[str, float]:
    # Return the shortest time of each engine: other programs only make a call longer.
    window, joints = next(iter(found.values())).window, next(iter(found.values())).skeleton
    standing = np.zeros((people, window.observed_frames, joints.num_joints, 3), dtype=np.float32)
    standing[..., 2] = np.linspace(0.0, 1.0, joints.num_joints, dtype=np.float32)
    taken_s = dict.fromkeys(found, math.inf)
    for _ in range(_CALLS):
        for engine, predictor in found.items():
            require_wanted()
            begun_s = perf_counter()
            predictor.predict(standing, samples=samples)
            taken_s[engine] = min(taken_s[engine], perf_counter() - begun_s)
    return taken_s
