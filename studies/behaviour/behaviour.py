# SPDX-License-Identifier: Apache-2.0
"""VDD in its own domain, behaviour learning: python -m studies behaviour --task avoiding.

A task has several ways to succeed. For each seed there are scripted demonstrations of all ways, a
diffusion policy trained on them, its students, and mixtures fitted to the same demonstrations or
to the policy's samples. Then each policy steers robots. Counted are the robots that succeed, and
how evenly they use the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import hashlib
import json
from pathlib import Path
import random
import sys
import time
from typing import Any, Literal

from matplotlib.figure import Figure
import numpy as np
import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from studies.behaviour.diffusion_policy import Data, data_of, train_teacher
from studies.behaviour.mixtures import (
    distil_mixture,
    draw_chunks,
    Drawn,
    fit_mixture_by_curriculum,
    fit_mixture_to_chunks,
    sample_mixture,
    vdd_settings,
)
from studies.behaviour.path_students import distil_consistency, distil_trajectories
from studies.behaviour.tasks import (
    CHUNK,
    entropy_of_ways,
    Policy,
    Rollouts,
    Task,
    task_of,
    TASKS,
)
from training.common import provenance
from training.common.options import about, read_options
from training.judge import plots

FORMATS = {name: f'motion_predictor {name} task' for name in TASKS}
VERSION = 2
METHODS = {
    'teacher': 'diffusion teacher, many steps',
    'teacher_one': 'diffusion teacher, one step',
    'consistency': 'consistency distillation, CD',
    'ctm': 'consistency trajectories, CTM',
    'em': 'EM mixture on the data',
    'em_teacher': "EM mixture on the teacher's samples",
    'imc': 'IMC mixture on the data',
    'vdd_paper': 'VDD as published',
    'vdd': 'VDD with our additions',
    'vdd_bound': 'VDD, the bound alone',
}
VDDS = ('vdd_paper', 'vdd', 'vdd_bound')
DRAWN = 48
"""Number of robots of the first seed whose tracks are kept for the plot."""
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies behaviour --task avoiding --json docs/results/data/avoiding.json \\
      --plots docs/results/images
  python -m studies report behaviour --json docs/results/data/avoiding.json \\
      --out docs/results/behaviour.md
"""


@dataclass(frozen=True, kw_only=True)
class BehaviourOptions:
    """The options of ``behaviour``."""

    json: Path
    """File for the results."""
    task: Literal['avoiding', 'pushing'] = 'avoiding'
    """What the robot has to do."""
    seeds: int = 5
    demonstrations: int = 10
    """Demonstrations of each way."""
    teacher_steps: int = 4000
    """Training steps of the teacher."""
    steps: int = 2000
    """Training steps of every student."""
    experts: int = 8
    """Experts of every mixture."""
    sampling_steps: int = 20
    """Sampling steps of the many-step teacher."""
    robots: int = 480
    """Robots per policy."""
    calls: int = 200
    """Timed calls per policy."""
    threads: int = 1
    """Processor threads."""
    runs: Path = Path('runs/behaviour')
    """Folder that keeps the result of each seed."""
    plots: Path | None = None
    """Folder for a plot of the first seed."""
    dry_run: bool = False
    """Print the settings and stop."""
    quiet: bool = False
    """Show no progress bar."""


def train_policies(
    data: Data, seed: int, options: BehaviourOptions
) -> tuple[dict[str, Policy], dict[str, float]]:
    """
    Train every method on one set of demonstrations.

    :returns: the policies by method, and the processor seconds of each training. Those of the
        chunks that were drawn from the teacher count for each method that uses them.
    """
    begun = time.process_time()
    took: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal begun
        now = time.process_time()
        took[name] = round(now - begun, 1)
        begun = now

    def source() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    torch.manual_seed(seed)
    count, steps = options.experts, options.steps
    teacher = train_teacher(data, options.teacher_steps, source())
    lap('teacher')
    consistency = distil_consistency(teacher, data, steps, source())
    lap('consistency')
    ctm = distil_trajectories(teacher, data, steps, source())
    lap('ctm')
    shown = Drawn(data.features, data.chunks)
    mixtures = {'em': fit_mixture_to_chunks(data, shown, count, steps, seed)}
    lap('em')
    mixtures['imc'] = fit_mixture_by_curriculum(data, count, steps, seed)
    lap('imc')
    drawn = draw_chunks(teacher, data, seed, options.sampling_steps)
    lap('drawn')
    mixtures['em_teacher'] = fit_mixture_to_chunks(data, drawn, count, steps, seed)
    lap('em_teacher')
    for name in VDDS:
        config = vdd_settings(steps, name)
        mixtures[name] = distil_mixture(teacher, data, drawn, config, experts=count, seed=seed)
        lap(name)
    extra = took.pop('drawn')
    took |= {name: round(took[name] + extra, 1) for name in ('em_teacher', *VDDS)}
    chosen: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
        'teacher': lambda c, g: teacher.sample(c, g, options.sampling_steps),
        'teacher_one': lambda c, g: teacher.sample(c, g, 1),
        'consistency': consistency.sample,
        'ctm': ctm.sample,
        **{name: partial(sample_mixture, network) for name, network in mixtures.items()},
    }
    return {name: data.policy(chosen[name]) for name in METHODS}, took


def times_ms(task: Task, policies: Mapping[str, Policy], calls: int) -> dict[str, list[float]]:
    """
    Time one choice for one robot, call by call, with all policies in shuffled turns.

    :returns: milliseconds of processor time by method.
    """
    generator = torch.Generator().manual_seed(0)
    turns = list(policies)
    order = random.Random(0)
    seen = task.begin(1, generator)
    found: dict[str, list[float]] = {name: [] for name in policies}
    for call in range(calls + 3):
        order.shuffle(turns)
        for name in turns:
            begun = time.process_time()
            policies[name](seen, generator)
            if call >= 3:
                found[name].append(1e3 * (time.process_time() - begun))
    return found


def run_seed(seed: int, options: BehaviourOptions) -> dict[str, Any]:
    """
    Train and evaluate every method with one seed.

    :returns: rows of figures, times of calls, and tracks for the plot.
    """
    task = task_of(options.task)
    generator = torch.Generator().manual_seed(seed)
    demonstrations = task.demonstrate(options.demonstrations, generator)
    data = data_of(task, demonstrations)
    policies, took = train_policies(data, seed, options)
    rows, tracks = [], {'demonstrations': _kept_tracks(demonstrations.rollouts, seed)}
    for name, policy in policies.items():
        rollouts = task.roll_out(policy, options.robots, torch.Generator().manual_seed(seed + 1))
        rows.append(
            {
                'method': name,
                'seed': seed,
                'success_rate': round(rollouts.success_rate, 4),
                'entropy': round(rollouts.entropy, 4),
                'ways': len(rollouts.way[rollouts.succeeded].unique()),
                'trained_cpu_s': took.get(name),
            }
        )
        tracks[name] = _kept_tracks(rollouts, seed)
    return {
        'rows': rows,
        'times_ms': times_ms(task, policies, options.calls),
        'tracks': tracks,
        'pairs': len(data.chunks),
        'fitted_at': provenance.commit(),
    }


def _kept_tracks(rollouts: Rollouts, seed: int) -> list[list[list[float]]]:
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(rollouts.positions.shape[1], generator=generator)[:DRAWN]
    tracks = rollouts.positions[:, some].transpose(0, 1)  # (DRAWN, T + 1, 2)
    return [(track * 1e3).round().div(1e3).unique_consecutive(dim=0).tolist() for track in tracks]


def kept_seed(seed: int, options: BehaviourOptions) -> dict[str, Any]:
    """Read the results of an earlier call with the same settings, or run a seed and keep them."""
    facts = [
        options.task, seed, options.demonstrations, options.teacher_steps, options.steps,
        options.experts, options.sampling_steps, options.robots, options.calls,
        str([vdd_settings(options.steps, name) for name in VDDS]),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = options.runs / f'{options.task}{seed}_{digest}.json'
    if not path.is_file():
        provenance.write_json(path, run_seed(seed, options))
    return json.loads(path.read_text())


def summarise(seeds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each method's mean, spread and minimum over the seeds, and its times."""
    found = []
    for method in METHODS:
        rows = [row for seed in seeds for row in seed['rows'] if row['method'] == method]
        calls = [ms for seed in seeds for ms in seed['times_ms'][method]]
        many = [ms for seed in seeds for ms in seed['times_ms']['teacher']]
        summary: dict[str, Any] = {'method': method, 'seeds': len(rows)}
        for name in ('success_rate', 'entropy'):
            values = np.array([row[name] for row in rows])
            summary[f'{name}_mean'] = round(float(values.mean()), 4)
            summary[f'{name}_spread'] = round(float(values.std()), 4)
            summary[f'{name}_least'] = round(float(values.min()), 4)
        trained = [row['trained_cpu_s'] for row in rows if row['trained_cpu_s'] is not None]
        summary['trained_cpu_s'] = round(float(np.mean(trained)), 1) if trained else None
        summary['call_median_ms'] = round(float(np.median(calls)), 3)
        summary['call_p99_ms'] = round(float(np.percentile(calls, 99)), 3)
        summary['times_as_fast_as_teacher'] = round(float(np.median(many) / np.median(calls)), 1)
        found.append(summary)
    return found


def entropy_of_even_use(robots: int, ways: int, draws: int = 200) -> float:
    """Return the mean entropy if the given number of robots choose among all ways evenly."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(ways, (draws, robots), generator=generator)
    return float(np.mean([entropy_of_ways(row, ways) for row in drawn]))


def draw(
    task: Task, tracks: Mapping[str, Sequence[Sequence[Sequence[float]]]], folder: Path
) -> Path:
    """
    Draw robots' tracks for each method.

    :param tracks: by method, in metres.
    :returns: the file written, named after the task.
    """
    columns = -(-len(tracks) // 2)
    figure = Figure(figsize=(2.1 * columns, 7.4), layout='constrained')
    for axes, (name, of) in zip(figure.subplots(2, columns, squeeze=False).flat, tracks.items()):
        task.paint(axes)
        for track in of:
            points = np.array(track)[::2] if len(track) > 4 else np.array(track)
            points = np.concatenate((points, np.array(track)[-1:]))
            axes.plot(*points.T, lw=0.6, color='#0571b0', alpha=0.6)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect('equal')
        axes.set_title(METHODS.get(name, name).replace(', ', ',\n'), fontsize=7)
    for axes in figure.axes[len(tracks) :]:
        axes.set_axis_off()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{task.name}.svg'
    plots.save(figure, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(BehaviourOptions, 'studies behaviour', about(__doc__), EXAMPLE, words)
    if options.dry_run:
        print(vars(options))
        print(*(vdd_settings(options.steps, name) for name in VDDS), sep='\n')
        return 0
    require_writable(options.json)
    torch.set_num_threads(options.threads)
    task = task_of(options.task)
    seeds = [
        kept_seed(seed, options)
        for seed in tqdm(range(options.seeds), unit='seed', disable=options.quiet)
    ]
    result = {
        **provenance.origin(FORMATS[task.name], VERSION, 'studies behaviour', words),
        'threads': torch.get_num_threads(),
        'settings': {
            **{
                name: getattr(options, name)
                for name in (
                    'demonstrations', 'teacher_steps', 'steps', 'experts', 'sampling_steps',
                    'robots', 'calls',
                )
            },
            'chunk': CHUNK,
            'ways': task.ways,
            'entropy_of_even_use': round(entropy_of_even_use(options.robots, task.ways), 4),
        },
        'rows': [row for seed in seeds for row in seed['rows']],
        'summary': summarise(seeds),
        'fitted_at': [seed['fitted_at'] for seed in seeds],
    }  # fmt: skip
    provenance.write_json(options.json, result)
    for row in result['summary']:
        print(row)
    print(f'written: {options.json}')
    if options.plots:
        print(f'drawn: {draw(task, seeds[0]["tracks"], options.plots)}')
    return 0
