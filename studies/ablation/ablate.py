"""
Measure what each part of the recipe is worth: python -m studies ablate.

Every row is one student trained with the base settings but for what the row changes, with the
same budget and several seeds, and scored on val and test of every set. Rows that are finished are
recalled, a killed one goes on where it stopped. Test is reported and chooses nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
import sys
import time
from typing import Any

import torch
from torch import nn, Tensor
from torch.nn import functional
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from motion_predictor.model.weights import file_digest, load_weights
from studies.ablation import rows
from studies.tune.trials import (
    beside,
    digest,
    found_recordings,
    fresh_model,
    gather,
    Lock,
    Material,
    of_split,
    read_json,
    relative_error,
    require_files,
    require_positive,
    Scorer,
    Scores,
    shortened,
    Stopwatch,
    tempered,
    times_ms,
    train_student,
    variety_of,
    with_ddim,
)
from training.common import provenance
from training.common.parallel import Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.config import as_plain, ChainConfig, override, preset, SwiftDiffConfig
from training.engine.diffusion import Sampler, sampler_for
from training.judge.speed.benchmark import walking_window
from training.stages.distill import Pairs, SwiftDiffLoss

FORMAT = 'motion_predictor ablations'
VERSION = 2
MATCHES = ('mse', 'kl_softmax', 'kl_gaussian')
BATCHES = (1, 8, 32)

EXAMPLE = """\
worked example, from the root of the source tree; it can be killed and given again:
  python -m studies ablate --dry-run
  python -m studies ablate --seeds 2 --json docs/results/data/ablations.json
  python -m studies report recipe --json docs/results/data/ablations.json \\
      --out docs/results/ablations.md
"""


@dataclass(frozen=True, kw_only=True)
class Row(rows.Row):
    """One line of the table; its changes are settings below ``swiftdiff``."""

    match: str = 'mse'
    """Distance to the teacher: 'mse'; 'kl_softmax', the coefficients taken as logits, as in the
    distillation of classifiers (Hinton et al., arXiv 1503.02531); or 'kl_gaussian', between
    Gaussians fitted to the matched samples of teacher and student."""
    target: str = 'fresh'
    """What the student is matched to: 'fresh', the one-step teacher on ever new noise; else the
    fixed pairs of noise and target from 'one_step', the teacher's DDIM 'ddim_N', or 'x0', the
    teacher's own estimate of x_0 from that noise in one evaluation."""

    def __post_init__(self) -> None:
        if self.match not in MATCHES:
            raise ConfigError(f'{self.name}: match={self.match!r}: must be one of {MATCHES}')


TEACHER_ALONE = {'real': '0', 'spread': '0', 'match': '1', 'match_ddim': '0'}

ROWS = (
    Row(name='base', what='the default recipe: both teachers, best of S and energy score'),
    Row(name='teacher_alone', what='matching the one-step teacher alone', changes=TEACHER_ALONE),
    Row(name='no_real', what='no best-of-S term on the real future', changes={'real': '0'}),
    Row(name='no_spread', what='no energy score', changes={'spread': '0'}),
    Row(
        name='no_match',
        what='no teacher: best of S and energy score',
        changes={'match': '0', 'match_ddim': '0'},
    ),
    Row(
        name='base_two_stages',
        what='the default recipe, matched to the one-step teacher alone',
        changes={'match': '0.75', 'match_ddim': '0'},
    ),
    Row(
        name='base_one_stage',
        what="the default recipe, matched to pairs of the teacher's DDIM alone",
        changes={'match': '0', 'match_ddim': '0.75'},
    ),
    Row(
        name='pairs_one_step',
        what='two stages: pairs of the one-step teacher alone',
        changes=TEACHER_ALONE,
        target='one_step',
    ),
    Row(
        name='pairs_ddim_25',
        what="one stage: pairs of the teacher's DDIM, 25 steps, alone",
        changes=TEACHER_ALONE,
        target='ddim_25',
    ),
    Row(
        name='pairs_ddim_100',
        what="one stage: pairs of the teacher's DDIM, 100 steps, alone",
        changes=TEACHER_ALONE,
        target='ddim_100',
    ),
    Row(
        name='pairs_ddim_5',
        what="one stage: pairs of the teacher's DDIM, 5 steps, alone",
        changes=TEACHER_ALONE,
        target='ddim_5',
    ),
    Row(
        name='pairs_x0',
        what="one stage: the teacher's own x0 from the same noise, alone",
        changes=TEACHER_ALONE,
        target='x0',
    ),
    Row(
        name='mse_4',
        what='matching alone, 4 samples a window, mean square',
        changes=TEACHER_ALONE | {'matched': '4'},
    ),
    Row(
        name='kl_gaussian',
        what='matching alone, 4 samples a window, KL of Gaussians fitted to them',
        changes=TEACHER_ALONE | {'matched': '4'},
        match='kl_gaussian',
    ),
    Row(
        name='kl_softmax',
        what='matching alone, KL of softmaxes over the coefficients',
        changes=TEACHER_ALONE,
        match='kl_softmax',
    ),
    Row(name='eps_991', what='the student gives eps, t* 991', changes={'model.prediction': 'eps'}),
    Row(
        name='eps_951',
        what='the student gives eps, t* 951',
        changes={'model.prediction': 'eps', 'model.t_star': '951'},
    ),
    Row(
        name='eps_801',
        what='the student gives eps, t* 801',
        changes={'model.prediction': 'eps', 'model.t_star': '801'},
    ),
    Row(name='width_half', what='width 128', changes={'model.denoiser.width': '128'}),
    Row(name='width_double', what='width 512', changes={'model.denoiser.width': '512'}),
    Row(name='depth_1', what='depth 1', changes={'model.denoiser.depth': '1'}),
    Row(name='depth_3', what='depth 3', changes={'model.denoiser.depth': '3'}),
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a row may cost."""

    windows: int
    pool: int
    pairs: int
    """Noises with their targets behind the rows of fixed pairs."""
    limit: int
    """Windows of each file that are scored, spread evenly."""
    samples: int = 50
    repetitions: int = 20


def budget(name: str) -> Budget:
    """Give the budget of a preset."""
    if name == 'debug':
        return Budget(windows=32, pool=64, pairs=8, limit=3, samples=4, repetitions=2)
    if name == 'full':
        return Budget(windows=1 << 20, pool=1 << 18, pairs=1 << 16, limit=1000)
    return Budget(windows=20_480, pool=16_384, pairs=2048, limit=80)


class AblatedLoss(SwiftDiffLoss):
    """
    Matching alone, with another distance to the teacher than stage 2 has, or to fixed pairs.

    The teachers know clean histories alone: those are all that it is matched on.
    """

    def __init__(
        self,
        config: SwiftDiffConfig,
        student: MotionModel,
        one_step: MotionModel,
        pool: EncodedPool,
        *,
        match: str = 'mse',
        pairs: Pairs | None = None,
    ) -> None:
        """
        Keep what the loss looks at.

        :raises ConfigError: if the settings have more than ``match``, which is all there is here.
        """
        for name in ('real', 'spread', 'match_ddim'):
            if getattr(config, name) > 0.0:
                raise ConfigError(f'{name}={getattr(config, name)}: must be 0 beside this match')
        super().__init__(config, student, one_step, pool, pairs)
        self.match = match
        self.clean = pool.clean.nonzero().squeeze(-1)

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Give one step's losses."""
        if self.pairs is not None:
            match = self.of_pairs(self.pairs, network, generator, shard)
        else:
            match = self._of_samples(network, generator, shard)
        return {'match': match, 'loss': self.config.match * match}

    def _of_samples(self, network: nn.Module, generator: torch.Generator, shard: Shard) -> Tensor:
        size, samples = self.config.optim.batch, self.config.matched
        device = self.pool.state.device
        rows = torch.randint(len(self.clean), (size,), generator=generator, device=device)
        shape = (size, samples, *self.pool.state.shape[1:])
        noise = torch.randn(shape, generator=generator, device=device)
        chosen, noise = self.clean[shard.of(rows)], shard.of(noise)
        condition = self.pool.condition[chosen]
        found = self._x_0(network, noise, condition)
        with torch.no_grad():
            target = self._teachers(noise, condition)
        if self.match == 'kl_softmax':
            return kl_of_softmaxes(found, target)
        if self.match == 'kl_gaussian':
            return kl_of_gaussians(found, target)
        return self._square(found - target).mean()


def kl_of_softmaxes(found: Tensor, target: Tensor) -> Tensor:
    """
    KL(softmax(target) || softmax(found)) over all coefficients of a sample.

    :param found: the student's, whitened, ``(B, M, K, D)``.
    :param target: the teacher's, same shape.
    :returns: mean over samples, a scalar in nats.
    """
    mine = found.flatten(0, 1).flatten(1).log_softmax(dim=-1)
    theirs = target.flatten(0, 1).flatten(1).log_softmax(dim=-1)
    return functional.kl_div(mine, theirs, reduction='batchmean', log_target=True)


def kl_of_gaussians(found: Tensor, target: Tensor, floor: float = 0.05) -> Tensor:
    """
    KL(teacher || student) between Gaussians fitted to each window's samples.

    :param found: the student's, whitened, ``(B, M, K, D)``, M >= 2.
    :param target: the teacher's, same shape.
    :param floor: added to the variances, so that few samples do not make them nothing.
    :returns: mean over windows and coefficients, a scalar in nats.
    """
    mean, variance = found.mean(dim=1), found.var(dim=1) + floor
    their_mean, their_variance = target.mean(dim=1), target.var(dim=1) + floor
    gap = (their_variance + (their_mean - mean).square()) / variance
    return 0.5 * (gap - 1.0 + variance.log() - their_variance.log()).mean()


def pairs_for(
    target: str, chain: ChainConfig, material: Material, teacher: Path, run: Path
) -> Pairs:
    """
    Make fixed pairs, or read those that an earlier call made; the noises are the same for all.

    :param target: 'one_step', 'ddim_N' or 'x0'.
    :param teacher: weights file of the diffusion teacher.
    :raises ConfigError: if 'x0' is wanted and it does not see the coefficients as the one-step
        teacher does.
    """
    kind, _, steps = target.partition('_')
    asked = int(steps) if kind == 'ddim' else 1
    settings = replace(chain, one_step=replace(chain.one_step, teacher_steps=asked))
    pairs = with_ddim(material, settings, teacher, run, chain.swiftdiff.pairs).pairs
    assert pairs is not None
    if kind == 'ddim':
        return pairs
    model = material.one_step if target == 'one_step' else load_weights(teacher).model
    model.to(material.device)
    for name in ('state_mean', 'state_scale', 'condition_mean', 'condition_scale'):
        mine, theirs = getattr(material.one_step, name), getattr(model, name)
        if mine.shape != theirs.shape or not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5):
            raise ConfigError(
                f'--teacher and --one-step differ in {name}: give those of one training'
            )
    parts: list[Tensor] = []
    with torch.no_grad():
        for first in range(0, len(pairs.chosen), 256):
            last = first + 256
            condition = material.pool.condition[pairs.chosen[first:last]]
            parts.append(estimate(model, pairs.noise[first:last], condition))
    return replace(pairs, target=torch.cat(parts))


def estimate(model: MotionModel, noise: Tensor, condition: Tensor) -> Tensor:
    """
    Give a network's own estimate of x_0 from noise at its t*, in one evaluation.

    :param noise: ``(B, K, D)``.
    :param condition: ``(B, C, D)``.
    """
    config = model.config
    step = torch.full((len(noise),), config.t_star, device=noise.device)
    output = model.denoiser(noise, condition, step).float()
    return to_x0(config.prediction, output, noise, model.alpha_bar[config.t_star])


def settings_of(row: Row, base: ChainConfig, limits: Budget, seed: int) -> ChainConfig:
    """
    Give the settings of a row.

    :param base: the preset.
    :raises ConfigError: if a change does not fit it.
    """
    changes = {f'swiftdiff.{name}': value for name, value in row.changes.items()}
    chain = shortened(override(base, changes), limits.windows, limits.pool)
    return replace(chain, seed=seed, swiftdiff=replace(chain.swiftdiff, pairs=limits.pairs))


def rows_for(names: Sequence[str] | None, name: str) -> list[Row]:
    """
    Give the rows asked for, in that order.

    :param names: None for all.
    :param name: of the preset; the sizes of 'small' do not fit the others, which leave them out.
    :raises ConfigError: on an unknown name.
    """
    fitting = [row for row in ROWS if name == 'small' or 'size' not in question(row)]
    return rows.rows_for(fitting, names)


def question(row: Row) -> str:
    """Name the question that a row belongs to."""
    if row.name.startswith(('width', 'depth')):
        return 'size'
    if row.name.startswith('eps'):
        return 'prediction'
    if row.name.startswith(('kl', 'mse')):
        return 'distance'
    one_or_two = row.target != 'fresh' or row.name in ('base_two_stages', 'base_one_stage')
    return 'stages' if one_or_two else 'terms'


class Bench:
    """Trains and scores rows, and remembers what it found in the run folder."""

    def __init__(
        self,
        material: Material,
        scorers: Mapping[str, Scorer],
        base: ChainConfig,
        limits: Budget,
        teacher: Path,
        run: Path,
        *,
        as_varied: bool = False,
    ) -> None:
        """
        Score the one-step teacher, which is the reference, as it is.

        :param scorers: by split; the first gives the students' temperatures.
        :param as_varied: score students where, on the first split, they vary as the teacher does.
        :raises WeightsError: if the diffusion teacher cannot be read.
        :raises ConfigError: if that is none of this window.
        """
        self.material = material
        self.scorers = scorers
        self.base = base
        self.limits = limits
        self.teacher = teacher
        self.run = run
        files = [file.sha256 for scorer in scorers.values() for file in scorer.files]
        key = [material.digest, file_digest(teacher), asdict(limits), files]
        path = run / f'reference_{digest(key)}.json'
        first = next(iter(scorers.values()))
        with Lock(path.with_suffix('.lock')):
            found = read_json(path) or {}
            known = dict(found)
            if 'scores' not in found:
                found['scores'] = self._score(material.one_step)
            if as_varied and 'apd' not in found:
                found['apd'] = variety_of(teacher, base, first)
            if found != known:
                provenance.write_json(path, found)
        self.reference: Scores = found['scores']
        self.apd: float | None = found['apd'] if as_varied else None
        self.key = [*key, self.apd]

    def row(self, row: Row, seed: int) -> dict[str, Any]:
        """Train and score a row with a seed, or recall what that gave."""
        chain = settings_of(row, self.base, self.limits, seed)
        swiftdiff = as_plain(chain)['swiftdiff']
        key = digest([self.key, swiftdiff, seed, row.match, row.target])
        folder = self.run / 'rows' / f'{row.name}_{seed}_{key}'
        found = read_json(folder / 'result.json')
        if found is not None:
            return found
        watches = Stopwatch()
        loss: Any = None
        material = self.material
        target = row.target
        if chain.swiftdiff.match_ddim > 0.0:
            target = f'ddim_{chain.one_step.teacher_steps}'
        if target != 'fresh':
            pairs = pairs_for(target, chain, material, self.teacher, self.run)
            material = replace(material, pairs=pairs)
        alone = chain.swiftdiff.real == chain.swiftdiff.spread == 0.0
        if alone or row.target != 'fresh' or row.match != 'mse':

            def loss(*given: Any) -> AblatedLoss:
                return AblatedLoss(*given, match=row.match, pairs=material.pairs)

        student = train_student(material, chain, folder, loss=loss)
        trained_s = watches.seconds()
        found = {
            'row': row.name,
            'seed': seed,
            'steps': chain.swiftdiff.optim.steps,
            'parameters': sum(p.numel() for p in student.denoiser.parameters()),
            **self._judged(student),
            'cpu_s': round(trained_s, 2),
        }
        provenance.write_json(folder / 'result.json', found)
        (folder / 'swiftdiff' / 'checkpoint.pt').unlink(missing_ok=True)
        return found

    def shipped(self, path: Path) -> dict[str, Any]:
        """
        Score a finished student on the same windows, or recall what that gave.

        :param path: its weights file.
        :raises WeightsError: if it cannot be read.
        """
        kept = self.run / f'shipped_{digest([self.key, file_digest(path)])}.json'
        found = read_json(kept)
        if found is None:
            found = {
                'weights': provenance.shown_path(path),
                'sha256': file_digest(path),
                **self._judged(load_weights(path).model.to(self.material.device).eval()),
            }
            provenance.write_json(kept, found)
        return found

    def _judged(self, student: MotionModel) -> dict[str, Any]:
        temperature = student.config.temperature
        if self.apd is None:
            scores = self._score(student)
        else:
            first, *others = self.scorers.values()
            scores, temperature = first.as_varied(student, self.apd)
            for scorer in others:
                scores |= scorer(tempered(student, temperature))
        error = {
            split: round(
                relative_error(of_split(scores, split), of_split(self.reference, split)), 6
            )
            for split in self.scorers
        }
        return {'error': error, 'scores': scores, 'temperature': temperature}

    def _score(self, model: MotionModel) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for scorer in self.scorers.values():
            found |= scorer(model)
        return found


def latencies(bench: Bench, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """
    Time the rows' sizes, the one-step teacher and the teacher for 1, 8 and 32 people.

    All but the teacher take turns; its DDIM is slow, and is called once, for 1 person.

    :returns: rows of model, people and milliseconds of processor time.
    """
    path = bench.run / f'latency_{digest([bench.key, [row.name for row in rows]])}.json'
    found = read_json(path)
    if found is not None:
        return found['rows']
    sizes = [row for row in rows if row.name == 'base' or question(row) == 'size']
    models = [
        fresh_model(
            settings_of(row, bench.base, bench.limits, 0).swiftdiff.model, bench.material.pool
        )
        for row in sizes
    ]
    names = [*(row.name for row in sizes), 'one_step']
    models.append(bench.material.one_step)
    timed: list[dict[str, Any]] = []
    for persons in BATCHES:
        ms = times_ms(
            models,
            persons=persons,
            repetitions=bench.limits.repetitions,
            samples=bench.limits.samples,
            device=bench.material.device,
            budget_s=5.0,
        )
        for name, model, one in zip(names, models, ms):
            parameters = sum(p.numel() for p in model.denoiser.parameters())
            timed.append({'model': name, 'persons': persons, 'ms': one, 'parameters': parameters})
    sampler = sampler_for(bench.teacher, device=bench.material.device, engine='fp32')
    timed.append(time_teacher(sampler, 1, bench.limits.samples))
    provenance.write_json(path, {'rows': timed})
    return timed


def time_teacher(sampler: Sampler, persons: int, samples: int) -> dict[str, Any]:
    """Time one call of the many-step teacher, one thread, processor time."""
    observed = walking_window(persons, sampler.model.config.window)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begun = time.thread_time()
        sampler.sample(observed, samples=samples)
        ms = 1000.0 * (time.thread_time() - begun)
    finally:
        torch.set_num_threads(before)
    parameters = sum(p.numel() for p in sampler.model.denoiser.parameters())
    return {
        'model': f'teacher, DDIM {sampler.ddim_steps}',
        'persons': persons,
        'ms': round(ms, 3),
        'parameters': parameters,
    }


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = rows.common_parser(
        'studies ablate', (__doc__ or '').split('\n\n', 1)[1], EXAMPLE, 'val.npz and test.npz'
    )
    add = made.add_argument
    add('--teacher', type=Path, default=Path('resource/weights/teacher.safetensors'),
        metavar='FILE', help='the diffusion teacher (default %(default)s)')  # fmt: skip
    add('--one-step', type=Path, default=Path('resource/weights/one_step.safetensors'),
        metavar='FILE', help='the one-step teacher (default %(default)s)')  # fmt: skip
    add('--shipped', type=Path, metavar='FILE',
        help='a student of full length, scored on the same windows beside the rows')  # fmt: skip
    for name, what in (
        ('windows', 'that a row looks at'),
        ('pool', 'windows drawn'),
        ('pairs', 'noises with a fixed target'),
        ('limit', 'windows of each file scored'),
        ('repetitions', 'calls behind a latency'),
    ):
        add(f'--{name}', type=int, metavar='N', help=f'{what} (default: of the preset)')
    add('--as-varied', action='store_true',
        help='score students at the temperature at which they vary as the diffusion teacher '
        'does on val; trainings of a few hundred steps cannot be brought there')  # fmt: skip
    add('--no-times', action='store_true', help='time nothing')
    add('--finished', action='store_true', help='train nothing, take what is finished')
    return made


def limits_of(options: argparse.Namespace) -> Budget:
    """Give the preset's budget with what the command line changes."""
    names = ('windows', 'pool', 'pairs', 'limit', 'repetitions')
    given = {name: getattr(options, name) for name in names}
    return replace(budget(options.preset), **{k: v for k, v in given.items() if v is not None})


def resolve(options: argparse.Namespace) -> None:
    """
    Find the recordings where they were not named, and check what was.

    :raises ConfigError: on options that cannot be used.
    """
    require_positive(options, ('seeds', 'windows', 'pool', 'pairs', 'limit', 'repetitions'))
    options.data = found_recordings(options.data)
    options.scored = options.scored or beside(options.data, 'val', 'test')
    require_files('scored', options.scored)
    if options.shipped:
        require_files('shipped', [options.shipped])


def describe(options: argparse.Namespace, rows: Sequence[Row]) -> str:
    """Write budget and rows as text."""
    limits = limits_of(options)
    base = preset(options.preset)
    lines = [f'{name}: {value}' for name, value in asdict(limits).items()]
    for row in rows:
        steps = settings_of(row, base, limits, 0).swiftdiff.optim.steps
        changes = ' '.join(f'swiftdiff.{name}={value}' for name, value in row.changes.items())
        lines.append(
            f'{row.name}: {row.what}; {options.seeds} x {steps} steps; {changes or "-"}; '
            f'{row.match} to {row.target}'
        )
    return '\n'.join(lines)


def ablate(
    options: argparse.Namespace, rows: Sequence[Row], words: Sequence[str]
) -> dict[str, Any]:
    """
    Run the rows one after another, each with all its seeds.

    :param words: of the command line, to be recorded.
    :returns: JSON-able.
    """
    limits = limits_of(options)
    base = preset(options.preset)
    if options.device == 'cpu':
        torch.set_num_threads(1)
    material = gather(
        options.data, replace(base, pool=limits.pool), options.one_step, options.device
    )
    window = base.swiftdiff.model.window
    splits: dict[str, list[Path]] = {}
    for path in sorted(options.scored, key=lambda path: path.stem != 'val'):
        splits.setdefault(path.stem, []).append(path)
    scorers = {
        split: Scorer(
            paths, window, limit=limits.limit, samples=limits.samples, device=options.device
        )
        for split, paths in splits.items()
    }
    bench = Bench(
        material, scorers, base, limits, options.teacher, options.run, as_varied=options.as_varied
    )
    results: list[dict[str, Any]] = []
    todo = [(row, seed) for row in rows for seed in range(options.seeds)]
    for row, seed in tqdm(todo, desc='rows', disable=options.quiet):
        if options.finished and not list((options.run / 'rows').glob(f'{row.name}_{seed}_*/r*')):
            continue
        found = bench.row(row, seed)
        results.append(found)
        errors = ', '.join(f'{split} {error:.4f}' for split, error in found['error'].items())
        tqdm.write(f'{row.name}, seed {seed}: error {errors}')
    return {
        **provenance.origin(FORMAT, VERSION, 'studies ablate', words),
        'preset': options.preset,
        'budget': asdict(limits),
        'data': [provenance.shown_path(path) for path in options.data],
        'scored': [provenance.shown_path(path) for path in options.scored],
        'teacher': provenance.shown_path(options.teacher),
        'one_step': provenance.shown_path(options.one_step),
        'base': as_plain(settings_of(Row(name='base', what=''), base, limits, 0))['swiftdiff'],
        'rows': [
            {'row': row.name, 'what': row.what, 'question': question(row),
             'changes': dict(row.changes), 'match': row.match, 'target': row.target}
            for row in rows
        ],
        'reference': bench.reference,
        'apd': bench.apd,
        'shipped': bench.shipped(options.shipped) if options.shipped else None,
        'results': results,
        'latency': [] if options.no_times else latencies(bench, rows),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        rows = rows_for(options.rows, options.preset)
        if options.dry_run:
            print(describe(options, rows))
            return 0
        resolve(options)
        if options.json:
            require_writable(options.json)
        result = ablate(options, rows, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or 'stopped; the same command goes on from here', file=sys.stderr)
        return 130
    if options.json:
        provenance.write_json(options.json, result)
        print(f'written: {options.json}')
    return 0
