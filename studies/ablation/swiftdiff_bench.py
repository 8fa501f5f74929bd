# SPDX-License-Identifier: Apache-2.0
"""Training, scoring and timing of the rows of ``studies ablate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
import time
from typing import Any

import torch

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights
from studies.ablation.ablated_loss import AblatedLoss, pairs_for
from studies.ablation.swiftdiff_rows import Budget, question, Row, settings_of
from studies.common.kept import digest, read_json, Stopwatch
from studies.common.material import Material
from studies.common.scorer import of_split, relative_error, Scorer, Scores, tempered, variety_of
from studies.common.students import fresh_model, times_ms, train_student
from training.common import provenance
from training.common.locks import Lock
from training.engine.config import as_plain, ChainConfig
from training.engine.diffusion import Sampler, sampler_for
from training.judge.speed.cases import walking_window

BATCHES = (1, 8, 32)


class SwiftDiffBench:
    """Trains and scores rows, and keeps the results in the run folder."""

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
        Score the one-step teacher, which is the reference.

        :param material: windows and teachers.
        :param scorers: scorers by split; the first decides the students' temperatures.
        :param base: settings of the preset.
        :param limits: the budget.
        :param teacher: weights file of the diffusion teacher.
        :param run: run folder.
        :param as_varied: whether students are scored where they vary as the teacher on the first
            split.
        :raises WeightsError: if the diffusion teacher cannot be read.
        :raises ConfigError: if it has another window.
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
        """Train and score a row with a seed, or read the result of an earlier call."""
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
        Score a finished student on the same windows, or read the result of an earlier call.

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


def latencies(bench: SwiftDiffBench, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """
    Time the rows' sizes, the one-step teacher and the teacher for 1, 8 and 32 people.

    All but the teacher take turns. Its DDIM is slow and is called once, for 1 person.

    :returns: rows of model, people and milliseconds of processor time.
    """
    path = bench.run / f'latency_{digest([bench.key, [row.name for row in rows]])}.json'
    found = read_json(path)
    if found is not None:
        return found['rows']
    sizes = [row for row in rows if row.name == 'base' or question(row) == 'size']
    models = [
        fresh_model(
            settings_of(row, bench.base, bench.limits, 0).model_of('swiftdiff'),
            bench.material.pool,
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
