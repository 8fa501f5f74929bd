# SPDX-License-Identifier: Apache-2.0
"""Measure the processor time that storing and windows take for each person, and a call's time.

Walkers are given to ``People`` frame by frame: seen whole, half seen (without legs), and with
joints that are missing for a moment. A call is that of the network with an exact engine, from
poses to states. Another checkout can be measured beside this one, in turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
from time import perf_counter, thread_time
from typing import Any

import numpy as np

RATE_HZ = 30.0
WARM_FRAMES, FRAMES = 60, 120
SEEN = ('whole', 'half seen', 'with gaps')
STAGES = ('store', 'window')
CALL = 'call'
EXACT = ('fp32', 'onnx')
WARM_CALLS, CALLS = 10, 60
APART_M = 2.0
_LEGS = [2, 3, 5, 6]
_ARM = [12, 13]


def people_frames(persons: int, seen: str) -> Iterator[list[np.ndarray]]:
    """Return everybody's poses of frame after frame, metres (17, 3), NaN where not seen."""
    from motion_predictor.recordings.walker import walk

    frames = WARM_FRAMES + FRAMES
    walks = []
    for number in range(persons):
        poses = walk(frames / RATE_HZ + 1.0, RATE_HZ, np.random.default_rng((7, number)))
        place = np.array([APART_M * (number % 6), APART_M * (number // 6), 0.0])
        walks.append(poses - poses[:, :1] * [1.0, 1.0, 0.0] + place)
    for frame in range(frames):
        shown = [walked[frame].copy() for walked in walks]
        for number, pose in enumerate(shown):
            if seen == 'half seen':
                pose[_LEGS] = np.nan
            elif seen == 'with gaps' and (frame // 3 + number) % 4 == 0:
                pose[[*_ARM, (number + frame // 9) % 17]] = np.nan
        yield shown


def times_s(persons: int, seen: str) -> dict[str, list[float]]:
    """Return the processor seconds a frame of each stage, by the package that is imported."""
    from motion_predictor.body.skeleton import H36M17
    from motion_predictor.model.config import WindowConfig
    from motion_predictor.sources.observation import Observation
    from motion_predictor.track.people import People

    people = People(WindowConfig(), H36M17, max_persons=persons)
    # As in the node, where larger arrays were freed before: freed memory stays with the process.
    large = np.ones(3 << 20)
    del large
    took: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number, poses in enumerate(people_frames(persons, seen)):
        stamp = 10**18 + round(number * 1e9 / RATE_HZ)
        message = [
            Observation(stamp, 'map', str(person), pose) for person, pose in enumerate(poses)
        ]
        begun_s = thread_time()
        if hasattr(people, 'observe_all'):
            people.observe_all(message)
        else:  # another checkout
            for observation in message:
                people.observe(observation)
        _ = people.counters  # closes the message, which stores its people
        stored_s = thread_time()
        snapshot = people.snapshot()
        ended_s = thread_time()
        if number >= WARM_FRAMES:
            there = 0 if snapshot is None else len(snapshot.persons)
            if there == persons:  # a checkout that gives no windows has no time for them
                took['window'].append(ended_s - stored_s)
            took['store'].append(stored_s - begun_s)
    return took


def calls_s(persons: int) -> dict[str, list[float]]:
    """Return the seconds of calls of the shipped student with the exact engines that are there."""
    from motion_predictor.errors import ConfigError
    from motion_predictor.model.weights import default_weights
    from motion_predictor.predict.device import use_threads
    from motion_predictor.predict.predictor import Predictor

    use_threads(1)
    frames = np.stack([np.stack(people) for people in people_frames(persons, SEEN[0])], axis=1)
    took: dict[str, list[float]] = {}
    for engine in EXACT:
        try:
            predictor = Predictor.load(default_weights(), device='cpu', engine=engine)
        except ConfigError:  # another checkout, or not installed
            continue
        observed = frames[:, : predictor.window.observed_frames].astype(np.float32)
        for number in range(WARM_CALLS + CALLS):
            begun_s = perf_counter()
            predictor.predict(observed, samples=50)
            if number >= WARM_CALLS:
                took.setdefault(engine, []).append(perf_counter() - begun_s)
    return took


def measure(root: Path, persons: int, seen: str) -> dict[str, list[float]]:
    """Return the same of another process, which imports the package of a source tree."""
    from tools.rig import RigError

    environment = os.environ | {'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    python = root / '.venv' / 'bin' / 'python'
    command = [str(python), __file__, '--times', str(persons), seen]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RigError(f'{root}: {done.stderr[-2000:]}')
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.people_cost``."""

    persons: tuple[int, ...] = (1, 3, 10, 30)
    """Numbers of people."""
    rounds: int = 3
    """Number of measurements of each checkout."""
    against: Path | None = None
    """Another source tree with its .venv."""
    json: Path | None = None
    """File for the figures."""


def call_rows(options: Options, checkouts: Sequence[Any]) -> list[dict[str, Any]]:
    """Measure the calls of every checkout in turns; return the figures, milliseconds a call."""
    rows = []
    for persons in options.persons:
        took: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for checkout in checkouts:
                for engine, values in measure(checkout.root, persons, CALL).items():
                    took.setdefault((checkout.name, engine), []).extend(values)
        for (name, engine), values in took.items():
            rows.append(
                {
                    'persons': persons,
                    'checkout': name,
                    'engine': engine,
                    'ms': round(1e3 * float(np.median(values)), 3),
                    'p99_ms': round(1e3 * float(np.quantile(values, 0.99)), 3),
                }
            )
        print(f'call, {persons} people', file=sys.stderr, flush=True)
    return rows


def call_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the calls as a Markdown table, with the ratio to the first engine of the last."""
    persons = list(dict.fromkeys(row['persons'] for row in rows))
    first = {row['persons']: row['ms'] for row in reversed(rows) if row['engine'] == EXACT[0]}
    for row in rows:  # of another checkout, if there is one
        if row['checkout'] == 'that' and row['engine'] == EXACT[0]:
            first[row['persons']] = row['ms']
    lines = [
        f'| ms a call: median, p99 | {" | ".join(map(str, persons))} people |',
        '|---|' + '---:|' * len(persons),
    ]
    for name, engine in dict.fromkeys((row['checkout'], row['engine']) for row in rows):
        cells = [
            f'{row["ms"]:.2f}, {row["p99_ms"]:.2f} ({row["ms"] / first[row["persons"]]:.2f})'
            for row in rows
            if (row['checkout'], row['engine']) == (name, engine)
        ]
        lines.append(f'| {name}, {engine} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def perform(options: Options, arguments: list[str]) -> dict[str, Any]:
    """Measure every checkout in turns; return the figures, microseconds a person and frame."""
    from tools.measure.crowd import Checkout
    from tools.rig import ROOT
    from training.common.provenance import origin

    checkouts = [Checkout('this', ROOT)]
    if options.against:
        checkouts.append(Checkout('that', options.against))
    rows = []
    for seen in SEEN:
        for persons in options.persons:
            took: dict[tuple[str, str], list[float]] = {}
            for _ in range(options.rounds):
                for checkout in checkouts:
                    for stage, values in measure(checkout.root, persons, seen).items():
                        took.setdefault((checkout.name, stage), []).extend(values)
            for (name, stage), values in took.items():
                each = 1e6 * np.array(values) / persons
                row: dict[str, Any] = {
                    'seen': seen, 'persons': persons, 'checkout': name, 'stage': stage,
                }  # fmt: skip
                if len(each):
                    row['us'] = round(float(np.median(each)), 1)
                    row['p99_us'] = round(float(np.quantile(each, 0.99)), 1)
                rows.append(row)
            print(f'{seen}, {persons} people', file=sys.stderr, flush=True)
    return {
        **origin('motion_predictor people cost', 1, 'tools.measure.people_cost', arguments),
        'commits': {each.name: each.commit for each in checkouts},
        'rows': rows,
        'calls': call_rows(options, checkouts),
    }


def table(found: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table, with the ratio of two checkouts."""
    names = list(found['commits'])
    persons = list(dict.fromkeys(row['persons'] for row in found['rows']))
    lines = [
        f'| µs a person and frame: median, p99 | {" | ".join(map(str, persons))} people |',
        '|---|' + '---:|' * len(persons),
    ]
    known = {
        (row['stage'], row['seen'], row['persons'], row['checkout']): row
        for row in found['rows']
        if 'us' in row
    }
    for stage in STAGES:
        for seen in SEEN:
            cells = []
            for count in persons:
                rows = [known.get((stage, seen, count, name)) for name in names]
                cell = ' / '.join(
                    f'{row["us"]:.0f}, {row["p99_us"]:.0f}' if row else 'none' for row in rows
                )
                if len(rows) == 2 and rows[0] and rows[1]:
                    cell += f' ({rows[0]["us"] / rows[1]["us"]:.2f})'
                cells.append(cell)
            lines.append(f'| {stage}, {seen} | {" | ".join(cells)} |')
    return '\n'.join(lines)


EXAMPLE = """example:
  python -m tools.measure.people_cost --persons 1 30 --against ../before
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if a checkout could not be measured."""
    from motion_predictor.errors import MotionPredictorError
    from training.common.options import read_options
    from training.common.provenance import write_json

    given = sys.argv[1:] if arguments is None else arguments
    options = read_options(Options, 'tools.measure.people_cost', __doc__, EXAMPLE, arguments)
    try:
        found = perform(options, given)
    except MotionPredictorError as error:
        print(f'people_cost: {error}', file=sys.stderr)
        return 1
    if options.json:
        write_json(options.json, found)
    print(table(found))
    print()
    print(call_table(found['calls']))
    return 0


if __name__ == '__main__':
    if sys.argv[1:2] == ['--times']:
        people, what = int(sys.argv[2]), sys.argv[3]
        print(json.dumps(calls_s(people) if what == CALL else times_s(people, what)))
    else:
        sys.exit(main())
