# SPDX-License-Identifier: Apache-2.0
"""Time one prediction of every model: python -m training benchmark.

A call is timed from NumPy poses to NumPy futures, as a robot makes it. All models take turns in
one run. So other load on the machine affects all of them, and no model finds the caches as its own
last call left them.

Then every one-step model runs in the real node, in a process of its own over real DDS: from the
stamp of a pose to the publication of its prediction (``python -m tools.measure.node_latency``).
At last every stage of a frame is timed in the node, for a few people and for a crowd (``python -m
tools.measure.crowd``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.weights import file_digest, load_weights
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import NOTHING
from training.judge import plots
from training.judge.speed.benchmark_options import BenchmarkOptions, checked
from training.judge.speed.benchmark_weighing import weighing_rows
from training.judge.speed.cases import cases_for, note
from training.judge.speed.crowd import crowd
from training.judge.speed.timing import Case

FORMAT = 'motion_predictor benchmark'
VERSION = 1
FEWEST = 3
"""Number of repetitions of the slowest calls."""

EXAMPLE = """\
worked example, from the root of the source tree; times every shipped weights file:
  python -m training benchmark --json docs/results/data/benchmark.json --plots docs/results/images
"""


def measure(cases: Sequence[Case], budget_s: float, repetitions: int) -> None:
    """
    Time the cases in turns.

    :param cases: cases that are warmed up.
    :param budget_s: time in seconds; a slower case repeats less often, but at least three times.
    :param repetitions: number of repetitions of the others.
    """
    for case in cases:
        case.run()
        fitting = int(budget_s / max(case.times_s[0], 1e-6))
        case.wanted = min(repetitions, max(FEWEST, fitting))
    for turn in range(1, max((case.wanted for case in cases), default=0)):
        for case in cases:
            # the slow cases' few turns are spread over the first part of the measurement
            if turn < case.wanted:
                case.run()


def node_rows(options: BenchmarkOptions, unavailable: list[str]) -> list[dict[str, Any]]:
    """
    Measure the node with each one-step model, one after another, at 30 frames per second.

    :param options: the options.
    :param unavailable: receives a line if ROS 2 is missing or the node failed.
    :returns: a row for each model: its rates, and latencies from stamp to publication.
    """
    if options.node_seconds <= 0.0:
        return []
    if importlib.util.find_spec('rclpy') is None:
        note(
            unavailable, 'the node: rclpy is not installed; source a ROS 2 or run scripts/prepare'
        )
        return []
    rows: list[dict[str, Any]] = []
    root = Path(__file__).resolve().parents[3]
    for path in options.weights:
        model = load_weights(path).model
        if model.config.role == 'teacher':
            continue
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / 'latency.json'
            words = ['--weights', str(path.resolve()), '--seconds', str(options.node_seconds)]
            done = subprocess.run(
                [sys.executable, '-m', 'tools.measure.node_latency', *words, '--json', str(out)],
                cwd=root,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ['no message'])[-1]
                note(unavailable, f'the node with {path.stem}: {last}')
                continue
            found = json.loads(out.read_text())
        found.pop('weights_argument')
        rows.append({'model': path.stem, 'sha256': file_digest(path), **found})
    return rows


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """
    Add to each row how many times faster it is than the alternatives.

    The alternatives are the first many-step teacher, the first one-step teacher and the first
    SwiftDiff (its fastest engine), with the same threads, people and samples, timed in one run.
    For a mixture of experts they are all SwiftDiffs.
    """
    for row in rows:
        row['times_faster_than'] = {}
        for role in ('teacher', 'one_step', 'swiftdiff'):
            others = [
                other
                for other in rows
                if other['role'] == role
                and (other['threads'], other['persons']) == (row['threads'], row['persons'])
            ]
            names = list(dict.fromkeys(other['model'] for other in others))
            for name in names if (row['role'], role) == ('moe', 'swiftdiff') else names[:1]:
                if name == row['model']:
                    continue
                fastest = min(o['median_ms'] for o in others if o['model'] == name)
                row['times_faster_than'][name] = round(fastest / row['median_ms'], 3)


def benchmark(options: BenchmarkOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Run a benchmark.

    :param options: the options.
    :param arguments: the words that were parsed, to be recorded.
    :returns: the results, JSON-able.
    :raises MotionPredictorError: if a weights file cannot be used.
    """
    unavailable: list[str] = []
    rows: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    load_before = os.getloadavg()[0] if hasattr(os, 'getloadavg') else None
    threads_before = torch.get_num_threads()
    groups = [(threads, persons) for threads in options.threads for persons in options.persons]
    try:
        for threads, persons in tqdm(groups, unit='setting', disable=options.quiet):
            torch.set_num_threads(threads)
            cases = cases_for(options, threads, persons, unavailable)
            measure(cases, options.budget_s, options.repetitions)
            for case in cases:
                (networks if 'part' in case.facts else rows).append(case.row())
    finally:
        torch.set_num_threads(threads_before)
    add_ratios(rows)
    add_ratios(networks)
    weighing = weighing_rows(options) if options.weighing_minutes > 0.0 else []
    node = node_rows(options, unavailable)
    people = crowd(options, unavailable)
    origin = provenance.origin(FORMAT, VERSION, 'training benchmark', arguments)
    return {
        **origin,
        'machine': {**origin['machine'], 'load_before': load_before},
        'settings': {
            'samples': options.samples,
            'repetitions': options.repetitions,
            'budget_s': options.budget_s,
            'ddim_steps': options.ddim_steps,
        },
        'unavailable': unavailable,
        'rows': rows,
        'networks': networks,
        'weighing': weighing,
        'node': node,
        'crowd': people,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the results as plain text."""
    lines = [
        f'{"model":<44}{"engine":>7}{"thr":>4}{"pers":>5}{"n":>5}{"median":>10}{"p99":>10} ms'
        '  times faster than'
    ]
    for row in [*result['rows'], *result['networks']]:
        ratios = ', '.join(f'{name} {x:.4g}' for name, x in row['times_faster_than'].items())
        lines.append(
            f'{plots.shown_name(row) + (", " + row["part"] if "part" in row else ""):<44}'
            f'{row["engine"]:>7}{row["threads"]:>4}'
            f'{row["persons"]:>5}{row["repetitions"]:>5}'
            f'{row["median_ms"]:>10.2f}{row["p99_ms"]:>10.2f}     {ratios}'
        )
    for row in result['weighing']:
        lines.append(
            f'weighing, {row["model"]}: {row["call"]}, {row["persons"]} people, '
            f'{row["remembered_min"]:g} min remembered: median {row["median_ms"]:.2f}, '
            f'p99 {row["p99_ms"]:.2f} ms, {row["of_model"]:.2f} of the model alone'
        )
    for row in result['node']:
        lines.append(
            f'node over DDS, {row["model"]}: {row["rate_in_hz"]:.1f} Hz in, '
            f'{row["rate_out_hz"]:.1f} Hz out; stamp to publication median '
            f'{row["median_ms"]:.2f}, p99 {row["p99_ms"]:.2f} ms, one frame '
            f'{row["frame_period_ms"]:.2f} ms; last third less first {row["drift_ms"]:+.2f} ms'
        )
    if result.get('crowd'):
        lines += ['', 'a frame in the node:', result['crowd']['text']]
    lines += [f'not available: {line}' for line in result['unavailable']]
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training benchmark``.
    :returns: the exit code: 0, or 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(BenchmarkOptions, 'training benchmark', about(__doc__), EXAMPLE, words)
    try:
        options = checked(options)
        if options.dry_run:
            print(f'threads {options.threads}, people {options.persons}, '
                  f'{options.samples} samples, engines {", ".join(options.engines)}')  # fmt: skip
            for path in options.weights:
                print(f'{path.name}: {load_weights(path).model.config.role}')
            return 0
        require_writable(options.json)
        result = benchmark(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or NOTHING, file=sys.stderr)
        return 130
    provenance.write_json(options.json, result)
    print(table(result))
    print(f'written: {options.json}')
    if options.plots:
        for path in plots.draw_latencies(result, options.plots):
            print(f'drawn: {path}')
    return 0
