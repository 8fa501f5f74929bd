"""VDD in its own domain, behaviour learning: python -m studies avoiding.

A point robot must pass three rows of obstacles by any of 24 ways. For each seed there are scripted
demonstrations of all ways, a diffusion policy trained on them, its students, and mixtures fitted
to the same demonstrations. Then each policy steers robots. Counted are the robots that come
through, and how evenly they use the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import random
import sys
import time
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Circle
import numpy as np
import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from studies.avoiding.avoiding_task import (
    CHUNK,
    CLEARANCE_M,
    demonstrate,
    entropy_of_ways,
    FINISH_M,
    OBSTACLES_M,
    Policy,
    roll_out,
    Rollouts,
    start_positions,
    WALL_M,
    WAYS,
)
from studies.avoiding.planar_policies import (
    Data,
    data_of,
    distil_consistency,
    distil_mixture,
    fit_mixture_by_curriculum,
    fit_mixture_to_data,
    sample_mixture,
    train_teacher,
    vdd_settings,
)
from training.common import provenance
from training.common.options import about, read_options
from training.judge import plots

FORMAT = 'motion_predictor avoiding task'
VERSION = 1
METHODS = {
    'teacher': 'diffusion teacher, many steps',
    'teacher_one': 'diffusion teacher, one step',
    'consistency': 'consistency distillation',
    'em': 'EM mixture on the data',
    'imc': 'IMC mixture on the data',
    'vdd': 'VDD',
}
DRAWN = 48
"""Number of robots of the first seed whose tracks are kept for the plot."""
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies avoiding --json docs/results/data/avoiding.json --plots docs/results/images
  python -m studies report avoiding --json docs/results/data/avoiding.json \\
      --out docs/results/avoiding.md
"""


@dataclass(frozen=True, kw_only=True)
class AvoidingOptions:
    """The options of ``avoiding``."""

    json: Path
    """File for the results."""
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
    runs: Path = Path('runs/avoiding')
    """Folder that keeps the result of each seed."""
    plots: Path | None = None
    """Folder for a plot of the first seed."""
    dry_run: bool = False
    """Print the settings and stop."""
    quiet: bool = False
    """Show no progress bar."""


def train_policies(
    data: Data, seed: int, options: AvoidingOptions
) -> tuple[dict[str, Policy], dict[str, float]]:
    """
    Train every method on one set of demonstrations.

    :returns: the policies by method, and the processor seconds of each training.
    """
    begun = time.process_time()
    took: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal begun
        now = time.process_time()
        took[name] = round(now - begun, 1)
        begun = now

    torch.manual_seed(seed)
    teacher = train_teacher(data, options.teacher_steps, torch.Generator().manual_seed(seed))
    lap('teacher')
    consistency = distil_consistency(
        teacher, data, options.steps, torch.Generator().manual_seed(seed)
    )
    lap('consistency')
    em = fit_mixture_to_data(data, options.experts, options.steps, seed)
    lap('em')
    imc = fit_mixture_by_curriculum(data, options.experts, options.steps, seed)
    lap('imc')
    vdd = distil_mixture(
        teacher, data, options.experts, options.steps, seed, teacher_steps=options.sampling_steps
    )
    lap('vdd')
    chosen: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
        'teacher': lambda c, g: teacher.sample(c, g, options.sampling_steps),
        'teacher_one': lambda c, g: teacher.sample(c, g, 1),
        'consistency': consistency.sample,
        'em': lambda c, g: sample_mixture(em, c, g),
        'imc': lambda c, g: sample_mixture(imc, c, g),
        'vdd': lambda c, g: sample_mixture(vdd, c, g),
    }
    return {name: data.policy(choose) for name, choose in chosen.items()}, took


def times_ms(policies: Mapping[str, Policy], calls: int) -> dict[str, list[float]]:
    """
    Time one choice for one robot, call by call, with all policies in shuffled turns.

    :returns: milliseconds of processor time by method.
    """
    generator = torch.Generator().manual_seed(0)
    turns = list(policies)
    order = random.Random(0)
    position = start_positions(1, generator)
    found: dict[str, list[float]] = {name: [] for name in policies}
    for call in range(calls + 3):
        order.shuffle(turns)
        for name in turns:
            begun = time.process_time()
            policies[name](position, generator)
            if call >= 3:
                found[name].append(1e3 * (time.process_time() - begun))
    return found


def run_seed(seed: int, options: AvoidingOptions) -> dict[str, Any]:
    """
    Train and evaluate every method with one seed.

    :returns: rows of figures, times of calls, and tracks for the plot.
    """
    demonstrations = demonstrate(options.demonstrations, torch.Generator().manual_seed(seed))
    data = data_of(demonstrations)
    policies, took = train_policies(data, seed, options)
    rows, tracks = [], {'demonstrations': _kept_tracks(demonstrations.rollouts, seed)}
    for name, policy in policies.items():
        rollouts = roll_out(policy, options.robots, torch.Generator().manual_seed(seed + 1))
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
        'times_ms': times_ms(policies, options.calls),
        'tracks': tracks,
        'pairs': len(data.chunks),
        'fitted_at': provenance.commit(),
    }


def _kept_tracks(rollouts: Rollouts, seed: int) -> list[list[list[float]]]:
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(rollouts.positions.shape[1], generator=generator)[:DRAWN]
    tracks = rollouts.positions[:, some].transpose(0, 1)  # (DRAWN, T + 1, 2)
    return [(track * 1e3).round().div(1e3).unique_consecutive(dim=0).tolist() for track in tracks]


def kept_seed(seed: int, options: AvoidingOptions) -> dict[str, Any]:
    """Read the results of an earlier call with the same settings, or run a seed and keep them."""
    facts = [
        seed, options.demonstrations, options.teacher_steps, options.steps, options.experts,
        options.sampling_steps, options.robots, options.calls, str(vdd_settings(options.steps)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = options.runs / f'seed{seed}_{digest}.json'
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
        summary['call_median_ms'] = round(float(np.median(calls)), 3)
        summary['call_p99_ms'] = round(float(np.percentile(calls, 99)), 3)
        summary['times_as_fast_as_teacher'] = round(float(np.median(many) / np.median(calls)), 1)
        found.append(summary)
    return found


def entropy_of_even_use(robots: int, draws: int = 200) -> float:
    """Return the mean entropy if the given number of robots choose among all ways evenly."""
    generator = torch.Generator().manual_seed(0)
    ways = torch.randint(WAYS, (draws, robots), generator=generator)
    return float(np.mean([entropy_of_ways(row) for row in ways]))


def draw(tracks: Mapping[str, Sequence[Sequence[Sequence[float]]]], folder: Path) -> Path:
    """
    Draw robots' tracks for each method.

    :param tracks: by method, in metres.
    :returns: the file written, ``avoiding.svg``.
    """
    figure = Figure(figsize=(2.1 * len(tracks), 3.9), layout='constrained')
    for axes, (name, of) in zip(figure.subplots(1, len(tracks), squeeze=False)[0], tracks.items()):
        for y, row in OBSTACLES_M:
            for x in row:
                axes.add_patch(Circle((x, y), CLEARANCE_M, color='#555555'))
        for track in of:
            points = np.array(track)[::2] if len(track) > 4 else np.array(track)
            points = np.concatenate((points, np.array(track)[-1:]))
            through = points[-1, 1] >= FINISH_M
            axes.plot(*points.T, lw=0.6, color='#0571b0' if through else '#c2181a', alpha=0.6)
        axes.axhline(FINISH_M, color='black', lw=0.8, ls=':')
        axes.set(xlim=(-WALL_M, WALL_M), ylim=(-0.15, FINISH_M + 0.15), xticks=[], yticks=[])
        axes.set_aspect('equal')
        axes.set_title(METHODS.get(name, name).replace(', ', ',\n'), fontsize=7)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'avoiding.svg'
    plots.save(figure, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(AvoidingOptions, 'studies avoiding', about(__doc__), EXAMPLE, words)
    if options.dry_run:
        print(vars(options))
        print(vdd_settings(options.steps))
        return 0
    require_writable(options.json)
    torch.set_num_threads(options.threads)
    seeds = [
        kept_seed(seed, options)
        for seed in tqdm(range(options.seeds), unit='seed', disable=options.quiet)
    ]
    result = {
        **provenance.origin(FORMAT, VERSION, 'studies avoiding', words),
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
            'entropy_of_even_use': round(entropy_of_even_use(options.robots), 4),
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
        print(f'drawn: {draw(seeds[0]["tracks"], options.plots)}')
    return 0
