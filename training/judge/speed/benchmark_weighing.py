# SPDX-License-Identifier: Apache-2.0
"""The cost of weighing beside the model, for training benchmark."""

from __future__ import annotations

from collections.abc import Callable
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from tqdm import tqdm

from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk
from motion_predictor.track.window import ObservedWindow
from training.judge.speed.benchmark_options import BenchmarkOptions
from training.judge.speed.timing import Case

STEP_FRAMES = 2
"""Number of frames between predictions: 25 Hz from windows at 50 Hz."""
_LEARN_FRAMES = 24
_PIECE_S = 60.0
_BEGIN_NS = 1_000_000_000_000
_MOST_SECONDS = 40.0  # frames of motion that are played in turn


class Player:
    """Synthetic people who walk, as one window after another."""

    def __init__(self, persons: int, window: WindowConfig, seed: int = 0) -> None:
        """
        Compute their motion.

        :param persons: number of people.
        :param window: window of the model.
        :param seed: seed of the motion.
        """
        self.window = window
        generators = [np.random.default_rng((seed, number)) for number in range(persons)]
        self.poses = [
            walk(_MOST_SECONDS, window.rate_hz, each).astype(np.float64) for each in generators
        ]
        self._frames = itertools.cycle(
            range(window.observed_frames, len(self.poses[0]), STEP_FRAMES)
        )
        self._count = 0

    def next(self) -> list[ObservedWindow]:
        """Return the windows a moment later."""
        frame = next(self._frames)
        self._count += 1
        stamp_ns = _BEGIN_NS + round(self._count * STEP_FRAMES * self.window.period_s * 1e9)
        return [self.at(poses, frame, stamp_ns) for poses in self.poses]

    def at(self, poses: NDArray[np.float64], frame: int, stamp_ns: int) -> ObservedWindow:
        """Return the window of a person that ends at a frame."""
        seen = poses[frame - self.window.observed_frames : frame]
        filled = np.zeros(seen.shape[:2], dtype=bool)
        return ObservedWindow(stamp_ns, seen, filled, 0, self.window.period_s)


def fill(memory: PlaceMemory, minutes: float) -> None:
    """Show a memory one walking person after another, each for a minute."""
    window = memory.window
    stamp_ns = -round(minutes * 600.0 * 1e9)
    for number in range(round(np.ceil(minutes * 60.0 / _PIECE_S))):
        stamp_ns += round(10.0 * _PIECE_S * 1e9)
        generator = np.random.default_rng((9, number))
        poses = walk(_PIECE_S, window.rate_hz, generator).astype(np.float64)
        # nobody walks the same step twice
        poses += np.cumsum(0.001 * generator.standard_normal(poses.shape), axis=0)
        for frame in range(window.observed_frames, len(poses), _LEARN_FRAMES):
            seen = poses[frame - window.observed_frames : frame]
            filled = np.zeros(seen.shape[:2], dtype=bool)
            now_ns = stamp_ns + round(frame * window.period_s * 1e9)
            memory.remember(
                [-1 - number], [ObservedWindow(now_ns, seen, filled, 0, window.period_s)],
                np.zeros(1),
            )  # fmt: skip


def calls(
    predictor: Predictor, minutes: float, samples: int
) -> list[tuple[dict[str, Any], Callable[[], object]]]:
    """
    Return the calls to time, each with its name, people and size of the memory.

    :param predictor: a model with weighing.
    :param minutes: minutes of the largest memory.
    :param samples: samples of the model.
    """
    window, skeleton = predictor.window, predictor.skeleton
    weights = predictor.weighing
    found: list[tuple[dict[str, Any], Callable[[], object]]] = []
    basis = None if weights is None else weights.basis

    def add(persons: int, remembered_min: float, memory: PlaceMemory) -> None:
        place = Place(window, skeleton, weights)
        place.memory = memory
        player = Player(persons, window)
        tracks = list(range(persons))
        observed = np.stack([each.poses for each in player.next()])
        prediction = predictor.predict(observed, samples=samples)
        facts = {'persons': persons, 'remembered_min': remembered_min}

        def weigh() -> object:
            return place.weigh(tracks, player.next(), prediction)

        def recall() -> object:
            assert place.working is not None
            return memory.recall(place.working.now)

        weigh()
        found.append(({'call': 'weigh', **facts}, weigh))
        found.append(({'call': 'search', **facts}, recall))

    for persons in (1, 8):
        observed = np.stack([each.poses for each in Player(persons, window).next()])

        def alone(observed: NDArray[np.float64] = observed) -> object:
            return predictor.predict(observed, samples=samples)

        found.append(({'call': 'model', 'persons': persons, 'remembered_min': 0.0}, alone))
    for remembered_min in sorted({0.0, min(1.0, minutes), minutes}):
        memory = PlaceMemory(window, skeleton, basis)
        fill(memory, remembered_min)
        add(1, remembered_min, memory)
    add(8, minutes, memory)
    return found


def weighing_rows(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """
    Time the model, the whole weighing and its search of the memory in turns, on one thread.

    :param options: options of the benchmark.
    :returns: a row for each call of each model with weighing; ``of_model`` is its median over that
        of the model alone for as many people.
    """
    rows: list[dict[str, Any]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for path in tqdm(options.weights, unit='model', disable=options.quiet):
            loaded = load_weights(path)
            if loaded.weighing is None or loaded.model.config.role == 'teacher':
                continue
            predictor = Predictor.load(path, device='cpu')
            own = {'model': path.stem, 'sha256': file_digest(path), 'samples': options.samples}
            cases = [
                Case({**own, **facts}, call, options.repetitions, [])
                for facts, call in calls(predictor, options.weighing_minutes, options.samples)
            ]
            for case in cases:
                case.call()
            for _ in range(options.repetitions):
                for case in cases:
                    case.run()
            found = [case.row() for case in cases]
            alone = {row['persons']: row['median_ms'] for row in found if row['call'] == 'model'}
            for row in found:
                row['of_model'] = round(row['median_ms'] / alone[row['persons']], 3)
            rows += found
    finally:
        torch.set_num_threads(threads)
    return rows
