# SPDX-License-Identifier: Apache-2.0
"""Measure how the cost of a frame and the memory grow with people, samples, horizon and joints.

Walkers are predicted frame by frame without ROS: what is observed, the model with its weighing,
and the futures and moments at the published instants, each in processor time on one thread. The
memory is what Python and NumPy hold for one person more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import gc
from pathlib import Path
import subprocess
import sys
from time import thread_time
import tracemalloc
from typing import Any

import numpy as np
import torch

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk
from motion_predictor.sources.observation import Observation
from tools.rig import ROOT
from training.common.options import read_options
from training.common.provenance import origin, write_json
from training.judge import plots

RATE_HZ = 30.0
WARM_FRAMES = 45
STAGES = ('people', 'model', 'futures', 'moments')
APART_M = 2.0
AXES = {'people': 'people', 'samples': 'samples', 'horizon_s': 'horizon, s', 'joints': 'joints'}


@dataclass(frozen=True)
class Case:
    """What is measured."""

    people: int = 3
    samples: int = 50
    horizon_s: float = 2.0
    joints: int = 17
    weighing: bool = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.growth``."""

    people: tuple[int, ...] = (1, 3, 10, 20, 30)
    """Numbers of people."""
    samples: tuple[int, ...] = (10, 25, 50, 100, 200)
    """Numbers of futures for each of three people."""
    horizon_s: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """Published horizons."""
    joints: tuple[int, ...] = (7, 17, 34, 51)
    """Numbers of joints; with other than 17, random weights of the same size."""
    frames: int = 30
    """Measured frames of each case and round."""
    rounds: int = 3
    """Number of measurements of each case, in turns."""
    only_peak: int = 0
    """Play so many people, and print the largest memory of the process, MB; 0: measure all."""
    engine: str = 'fp32'
    """Engine of the model."""
    json: Path | None = None
    """File for the figures."""
    plot: Path | None = None
    """File for the plots, .svg."""


def body(joints: int) -> Skeleton:
    """Return a skeleton of so many joints: a person's, cut or with more joints at each joint."""
    if joints == 17:
        return H36M17
    names = tuple(f'{H36M17.joints[j % 17]}{j // 17}' for j in range(joints))
    parents = tuple(H36M17.parents[j] if j < 17 else j - 17 for j in range(joints))
    return Skeleton(f'body{joints}', names, parents, tuple(range(joints)), hips=(1, 4))


def walkers(people: int, joints: int, frames: int) -> Iterator[list[np.ndarray]]:
    """Return everybody's poses of frame after frame, metres (J, 3)."""
    walks = []
    for number in range(people):
        poses = walk(frames / RATE_HZ + 1.0, RATE_HZ, np.random.default_rng((7, number)))
        place = np.array([APART_M * (number % 6), APART_M * (number // 6), 0.0])
        walks.append(poses - poses[:, :1] * [1.0, 1.0, 0.0] + place)
    which = np.arange(joints)
    for frame in range(frames):
        yield [walked[frame, which % 17] + 0.02 * (which // 17)[:, None] for walked in walks]


def live_of(case: Case, engine: str) -> LivePredictor:
    """Return a predictor as the node has it; without a weighing for other bodies."""
    shipped = Predictor.load(default_weights('swiftdiff'), device='cpu', engine=engine)
    predictor, place = shipped, None
    if case.weighing:
        place = Place(shipped.window, shipped.skeleton, shipped.weighing)
    if case.joints != 17:
        torch.manual_seed(0)
        model = MotionModel(shipped.model.config, body(case.joints))
        predictor = Predictor(model, {}, device='cpu', engine=engine)
    return LivePredictor(predictor, max_persons=case.people, samples=case.samples, place=place)


def played(
    online: LivePredictor, case: Case, frames: int
) -> Iterator[tuple[float, float, float, float]]:
    """Play walkers; return the processor seconds of each stage for frame after frame."""
    step = round(0.1 * online.predictor.window.rate_hz)
    wanted = np.arange(step - 1, round(case.horizon_s * online.predictor.window.rate_hz), step)
    for number, poses in enumerate(walkers(case.people, case.joints, frames)):
        stamp = 10**18 + round(number * 1e9 / RATE_HZ)
        message = [Observation(stamp, 'map', str(i), pose) for i, pose in enumerate(poses)]
        times = [thread_time()]
        online.observe_all(message)
        snapshot = online.snapshot()
        times.append(thread_time())
        assert snapshot is not None
        found = online.run(snapshot).prediction
        times.append(thread_time())
        if found is None:
            continue
        found.futures_at(wanted)
        times.append(thread_time())
        found.moments(wanted)
        times.append(thread_time())
        people, model, futures, moments = np.diff(times).tolist()
        yield people, model, futures, moments


def times_ms(case: Case, options: Options) -> np.ndarray:
    """Return the processor milliseconds of each frame and stage, (frames, 4)."""
    online = live_of(case, options.engine)
    taken_s = list(played(online, case, WARM_FRAMES + options.frames))
    return 1e3 * np.array(taken_s[-options.frames :])


def figures(case: Case, taken: np.ndarray) -> dict[str, Any]:
    """Return the median milliseconds of each stage, JSON-able."""
    stages = dict(zip(STAGES, np.median(taken, axis=0).round(3).tolist()))
    whole = taken.sum(axis=1)
    return {
        **vars(case),
        'stages_ms': stages,
        'ms': round(float(np.median(whole)), 3),
        'p99_ms': round(float(np.quantile(whole, 0.99)), 3),
    }


def held_mb(people: int, frames: int = 150, samples: int = 50) -> float:
    """
    Return the MB (10^6 bytes) that Python and NumPy hold after some seconds of people.

    The last prediction is let go. The memory of the place is left out: it has a limit of its own
    (``memory.megabytes``).

    :param people: number of people.
    :param frames: number of frames, of 30 Hz.
    :param samples: number of samples.
    """
    case = Case(people=people, samples=samples)
    online = live_of(case, 'fp32')
    assert isinstance(online.predictor, Predictor)
    shipped = online.predictor
    online.place = Place(shipped.window, shipped.skeleton, shipped.weighing, remember=False)
    online.predictor.warm_up(people, samples)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in played(online, case, frames):
            pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1e6
    finally:
        tracemalloc.stop()


def peak_mb(people: int) -> float:
    """Return the largest resident memory of a process that predicts people for 3 s, MB."""
    words = [sys.executable, '-m', 'tools.measure.growth', '--only-peak', str(people)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak_mb(people: int) -> float:
    """Play people in this process; return its largest resident memory so far, MB."""
    torch.set_num_threads(1)
    case = Case(people=people)
    for _ in played(live_of(case, 'fp32'), case, 2 * WARM_FRAMES):
        pass
    # Not getrusage, whose peak a program inherits from the one that started it.
    lines = Path('/proc/self/status').read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith('VmHWM'))
    return int(peak) * 1024 / 1e6


def perform(options: Options, arguments: Sequence[str]) -> dict[str, Any]:
    """Measure every case; return the figures, JSON-able."""
    torch.set_num_threads(1)
    cases = [
        (axis, Case(**{axis: value, 'weighing': axis != 'joints'}))
        for axis in AXES
        for value in getattr(options, axis)
    ]
    taken: list[list[np.ndarray]] = [[] for _ in cases]
    for turn in range(options.rounds):  # in turns: the machine's speed changes
        for (_, case), known in zip(cases, taken, strict=True):
            known.append(times_ms(case, options))
        print(f'round {turn + 1} of {options.rounds}', file=sys.stderr, flush=True)
    rows = [
        {'axis': axis, **figures(case, np.concatenate(known))}
        for (axis, case), known in zip(cases, taken, strict=True)
    ]
    few, many = held_mb(1), held_mb(21)
    low, high = peak_mb(1), peak_mb(31)
    return {
        **origin('motion_predictor growth', 1, 'tools.measure.growth', arguments),
        'settings': {name: getattr(options, name) for name in ('engine', 'frames', 'rounds')},
        'rows': rows,
        'mb_a_person': round((many - few) / 20, 3),
        'peak_mb_a_person': round((high - low) / 30, 3),
    }


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw the cost along each axis, with its stages."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6))
    for place, (axis, label) in enumerate(AXES.items(), 1):
        rows = [row for row in found['rows'] if row['axis'] == axis]
        along = [row[axis] for row in rows]
        plane = figure.add_subplot(2, 2, place)
        below = np.zeros(len(rows))
        for stage in STAGES:
            above = below + [row['stages_ms'][stage] for row in rows]
            plane.fill_between(along, below, above, alpha=0.75, linewidth=0.0, label=stage)
            below = above
        plane.plot(along, [row['p99_ms'] for row in rows], 'k.', label='p99 of the whole')
        plane.set(xlabel=label, ylabel='processor ms a frame', ylim=(0.0, None))
        plane.grid(alpha=0.3)
    figure.axes[0].legend(loc='upper left', fontsize='small')
    figure.tight_layout()
    plots.save(figure, path)


def table(found: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = [f'| | {" | ".join(STAGES)} | whole, p99 | ms a person |', '|---|' + '---:|' * 6]
    for row in found['rows']:
        name = f'{row[row["axis"]]:g} {AXES[row["axis"]]}'.replace('horizon, s', 's of horizon')
        stages = ' | '.join(f'{row["stages_ms"][stage]:.2f}' for stage in STAGES)
        lines.append(
            f'| {name} | {stages} | {row["ms"]:.1f}, {row["p99_ms"]:.1f} '
            f'| {row["ms"] / row["people"]:.2f} |'
        )
    return '\n'.join(lines)


EXAMPLE = """example:
  python -m tools.measure.growth --json docs/results/data/growth.json
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if something could not be measured."""
    options = read_options(Options, 'tools.measure.growth', __doc__, EXAMPLE, arguments)
    if options.only_peak:
        print(own_peak_mb(options.only_peak))
        return 0
    try:
        found = perform(options, sys.argv[1:] if arguments is None else arguments)
    except MotionPredictorError as error:
        print(f'growth: {error}', file=sys.stderr)
        return 1
    if options.json:
        write_json(options.json, found)
    if options.plot:
        draw(found, options.plot)
    print(table(found))
    print(f'\n{found["mb_a_person"]} MB a person, at the peak {found["peak_mb_a_person"]}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
