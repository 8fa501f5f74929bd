"""
Time one prediction of every model: python -m training benchmark.

A call is timed from NumPy poses to NumPy futures, as a robot makes it. All models take turns in
one run, so that whatever else the machine does falls on each of them; no model finds the caches
as its own last call left them.

Then every one-step model runs in the real node, in a process of its own behind real DDS: from the
stamp of a pose to the publication of its prediction (``python -m tools.measure.node_latency``).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from tqdm import tqdm

from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.config import DenoiserConfig, ENGINES, ModelConfig, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights, weights_folders
from motion_predictor.predict.device import cpu_has_fast_bf16
from motion_predictor.predict.predictor import Predictor
from training.common import provenance
from training.common.stopping import NOTHING
from training.engine.diffusion import sampler_for
from training.judge import plots
from training.judge.evaluate import engine_of
from training.judge.speed.benchmark_weighing import weighing_rows
from training.judge.speed.timing import Case

FORMAT = 'motion_predictor benchmark'
VERSION = 1
LABELS = {
    'one_step': 'one-step teacher',
    'swiftdiff': 'SwiftDiff',
    'moe': 'mixture of experts',
}
PAPER_SIZE = DenoiserConfig(architecture='mixer', width=768, depth=12, hidden_ratio=1.0)
"""SwiftDiff as published for Human3.6M."""
FEWEST = 3
"""Repetitions of the slowest."""
WARM_UP = 3

EXAMPLE = """\
worked example, from the root of the source tree; times every shipped weights file:
  python -m training benchmark --json docs/results/data/benchmark.json --plots docs/results/images
"""


def walking_window(persons: int, window: WindowConfig) -> NDArray[np.float32]:
    """
    Make some people who sway, to have something to predict.

    :returns: metres, z up, ``(P, T_obs, 17, 3)``.
    """
    generator = np.random.default_rng(0)
    pose = generator.uniform(-0.5, 0.5, (persons, 1, H36M17.num_joints, 3))
    pose[..., 2] += 1.0
    time_s = np.arange(window.observed_frames)[None, :, None, None] / window.rate_hz
    sway = 0.1 * np.sin(2.0 * np.pi * time_s + generator.uniform(0.0, 6.0, pose.shape))
    return (pose + sway).astype(np.float32)


def paper_sized_model(window: WindowConfig) -> MotionModel:
    """Make SwiftDiff of the published size with random weights: right for times alone."""
    torch.manual_seed(0)
    config = ModelConfig(role='swiftdiff', denoiser=PAPER_SIZE, window=window)
    return MotionModel(config, H36M17)


def cases_for(
    options: argparse.Namespace, threads: int, persons: int, unavailable: list[str]
) -> list[Case]:
    """
    Load every model for one number of threads and people, and warm it up.

    :param unavailable: gets a line for each engine that cannot be had here.
    """
    cases: list[Case] = []
    window = WindowConfig()
    for path in options.weights:
        loaded = load_weights(path)
        config = loaded.model.config
        window = config.window
        untrained = str(loaded.card.get('what')).startswith('untrained')
        facts = {
            'model': path.stem,
            'label': LABELS.get(config.role, config.role),
            'role': config.role,
            'weights': 'random' if untrained else 'trained',
            'sha256': file_digest(path),
            'parameters': sum(p.numel() for p in loaded.model.denoiser.parameters()),
            'threads': threads,
            'persons': persons,
            'samples': options.samples,
        }
        if config.role == 'teacher':
            facts['label'] = f'teacher, DDIM {options.ddim_steps}'
            cases.append(_teacher_case(path, facts, window, options))
            continue
        for engine in options.engines:
            try:
                predictor = Predictor.load(path, device=options.device, engine=engine)
            except ConfigError as error:
                _note(unavailable, f'{path.stem}, engine {engine}: {error}')
                continue
            cases.append(_predictor_case(predictor, facts, options))
            if options.networks:
                cases.append(_network_case(predictor, facts, options))
    if options.paper_size:
        for engine in options.engines:
            model = paper_sized_model(window)
            facts = {
                'model': f'paper_size_{PAPER_SIZE.depth}x{PAPER_SIZE.width}',
                'label': f'SwiftDiff {PAPER_SIZE.depth} x {PAPER_SIZE.width}, random weights',
                'role': 'swiftdiff',
                'weights': 'random',
                'sha256': None,
                'parameters': sum(p.numel() for p in model.denoiser.parameters()),
                'threads': threads,
                'persons': persons,
                'samples': options.samples,
            }
            try:
                predictor = Predictor(model, {}, device=options.device, engine=engine)
            except ConfigError as error:
                _note(unavailable, f'{facts["model"]}, engine {engine}: {error}')
                continue
            cases.append(_predictor_case(predictor, facts, options))
            if options.networks:
                cases.append(_network_case(predictor, facts, options))
    return cases


def measure(cases: Sequence[Case], budget_s: float, repetitions: int) -> None:
    """
    Time the cases in turns.

    :param cases: warmed up.
    :param budget_s: a case slower than this allows repeats less often, but three times.
    :param repetitions: of the others.
    """
    for case in cases:
        case.run()
        fitting = int(budget_s / max(case.times_s[0], 1e-6))
        case.wanted = min(repetitions, max(FEWEST, fitting))
    for turn in range(1, max((case.wanted for case in cases), default=0)):
        for case in cases:
            # the slow ones' few turns are spread over the whole measurement's first part
            if turn < case.wanted:
                case.run()


def node_rows(options: argparse.Namespace, unavailable: list[str]) -> list[dict[str, Any]]:
    """
    Measure the node with each one-step model, one after another, at 30 frames a second.

    :param unavailable: gets a line where ROS 2 is missing or the node failed.
    :returns: a row for each model: its rates, and latencies from stamp to publication.
    """
    if options.node_seconds <= 0.0:
        return []
    if importlib.util.find_spec('rclpy') is None:
        _note(
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
                _note(unavailable, f'the node with {path.stem}: {last}')
                continue
            found = json.loads(out.read_text())
        found.pop('weights_argument')
        rows.append({'model': path.stem, 'sha256': file_digest(path), **found})
    return rows


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """
    Put beside each row how many times faster it is than the alternatives.

    The alternatives are the first many-step teacher, the first one-step teacher and the first
    SwiftDiff (its fastest engine), with the same threads, people and samples, timed in one run;
    for a mixture of experts every SwiftDiff.
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


def benchmark(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Run a benchmark.

    :param options: as parsed by :func:`parser`.
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
    }


def fast_engines(device: str) -> list[str]:
    """List the engines worth timing: without hardware for it, bfloat16 is far slower."""
    on_cuda = device != 'cpu' and torch.cuda.is_available()
    fast = torch.cuda.is_bf16_supported() if on_cuda else cpu_has_fast_bf16()
    return ['fp32', 'bf16'] if fast else ['fp32']


def shipped_weights() -> list[Path]:
    """List the weights files that come with the package, in the order of their names."""
    return sorted(
        path for folder in weights_folders()[:1] for path in folder.glob('*.safetensors')
    )


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m training benchmark',
        description=(__doc__ or '').split('\n\n', 1)[1],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add('--weights', type=Path, nargs='*', metavar='FILE',
        help='weights files (default: all that are shipped)')  # fmt: skip
    add('--json', type=Path, required=True, metavar='OUT', help='where to write the results')
    add('--persons', type=int, nargs='+', default=[1, 2, 4, 10], help='default %(default)s')
    add('--samples', type=int, default=50, help='futures a person (default %(default)s)')
    add('--threads', type=int, nargs='+', default=[1, 2], help='default %(default)s')
    add('--engines', nargs='+', choices=ENGINES,
        help='of the one-step models (default: fp32, and bf16 where that is fast)')  # fmt: skip
    add('--device', default='auto', choices=('auto', 'cpu', 'cuda'), help='default %(default)s')
    add('--ddim-steps', type=int, default=100, help='of the teacher (default %(default)s)')
    add('--repetitions', type=int, default=200, help='of each call (default %(default)s)')
    add('--budget-s', type=float, default=10.0,
        help=f'a slow call repeats until this is spent, {FEWEST} times at least '
             '(default %(default)s)')  # fmt: skip
    add('--paper-size', action=argparse.BooleanOptionalAction, default=True,
        help='time the published SwiftDiff size too, with random weights')  # fmt: skip
    add('--networks', action='store_true',
        help='time the networks of one-step models alone too: from the embedded history to the '
             'states, without decoding')  # fmt: skip
    add('--node-seconds', type=float, default=20.0,
        help='how long each one-step model is measured in the node over DDS; 0 leaves that out '
             '(default %(default)s)')  # fmt: skip
    add('--weighing-minutes', type=float, default=60.0,
        help='the largest memory that weighing is timed with, minutes of one person; 0 leaves '
             'weighing out (default %(default)s)')  # fmt: skip
    add('--plots', type=Path, metavar='DIR', help='draw the times into DIR')
    add('--dry-run', action='store_true', help='say what would be timed')
    add('--quiet', action='store_true', help='no progress bar')
    return made


def table(result: Mapping[str, Any]) -> str:
    """Write the results as plain text."""
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
    lines += [f'not available: {line}' for line in result['unavailable']]
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training benchmark``.
    :returns: the exit code: 0, or 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        if options.weights is None:
            options.weights = shipped_weights()
        if options.engines is None:
            options.engines = fast_engines(options.device)
        _check_options(options)
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


def _predictor_case(
    predictor: Predictor, facts: Mapping[str, Any], options: argparse.Namespace
) -> Case:
    observed = walking_window(facts['persons'], predictor.window)

    def call() -> object:
        return predictor.predict(observed, samples=options.samples)

    for _ in range(WARM_UP):
        call()
    own = {'engine': predictor.engine, 'device': str(predictor.device)}
    return Case({**facts, **own}, call, 0, [])


def _network_case(
    predictor: Predictor, facts: Mapping[str, Any], options: argparse.Namespace
) -> Case:
    model, device = predictor.model, predictor.device
    observed = torch.from_numpy(walking_window(facts['persons'], predictor.window)).to(device)
    shape = (options.samples, *model.state_scale.shape)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    noise = noise.to(device).expand(facts['persons'], *shape)  # as the Predictor does
    with torch.inference_mode():
        context = model.observe(observed)

    def call() -> object:
        with torch.inference_mode():
            if model.config.role == 'moe':
                white = model.ranked(model.mixture(context), noise)[0]
            else:
                white = model.one_step(noise, context.condition)
            return float(white[0, 0, 0, 0])  # waits for a GPU

    for _ in range(WARM_UP):
        call()
    own = {'engine': predictor.engine, 'device': str(device), 'part': 'network'}
    return Case({**facts, **own}, call, 0, [])


def _teacher_case(
    path: Path, facts: Mapping[str, Any], window: WindowConfig, options: argparse.Namespace
) -> Case:
    sampler = sampler_for(path, device=options.device, ddim_steps=options.ddim_steps)
    observed = walking_window(facts['persons'], window)
    short = replace(sampler, ddim_steps=2)
    short.sample(observed, samples=options.samples, seed=0)

    def call() -> object:
        return sampler.sample(observed, samples=options.samples, seed=0)

    own = {
        'engine': engine_of(sampler),
        'device': str(sampler.model.alpha_bar.device),
    }
    return Case({**facts, **own}, call, 0, [])


def _note(lines: list[str], line: str) -> None:
    if line not in lines:
        lines.append(line)


def _check_options(options: argparse.Namespace) -> None:
    for name in ('samples', 'ddim_steps', 'repetitions'):
        if getattr(options, name) < 1:
            raise ConfigError(
                f'--{name.replace("_", "-")} {getattr(options, name)}: must be at least 1'
            )
    for name in ('threads', 'persons'):
        if min(getattr(options, name)) < 1:
            raise ConfigError(f'--{name} {min(getattr(options, name))}: must be at least 1')
    if not options.weights and not options.paper_size:
        raise ConfigError('--weights: no weights file given, and none is shipped')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no CUDA device here; use cpu')
