# SPDX-License-Identifier: Apache-2.0
"""Train, score and time the settings that a study tries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TYPE_CHECKING

from torch import nn

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest
from studies.common.kept import digest, read_json, Stopwatch
from studies.common.material import Material
from studies.common.scorer import relative_error, Scorer, Scores, variety_of
from studies.common.students import fresh_model, times_ms, train_student
from studies.tune.search_space import (
    Budget,
)
from training.common import provenance
from training.common.locks import Lock
from training.engine.config import as_plain, ChainConfig

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Judge:
    """Scores students at the temperature at which they vary as the diffusion teacher does."""

    scorer: Scorer
    reference: Scores
    """Scores of the one-step teacher."""
    apd: float
    """APD of the diffusion teacher's samples (DDIM, 100 steps), metres."""

    def __call__(self, student: MotionModel) -> dict[str, Any]:
        """Return ``error``, ``scores`` and the ``temperature`` of the samples."""
        scores, temperature = self.scorer.as_varied(student, self.apd)
        error = round(relative_error(scores, self.reference), 6)
        return {'error': error, 'scores': scores, 'temperature': temperature}


class Bench:
    """Trains and scores settings, and keeps the results in the run folder."""

    def __init__(
        self,
        material: Material,
        scorer: Scorer,
        base: ChainConfig,
        limits: Budget,
        folder: Path,
        teacher: Path,
    ) -> None:
        """
        Score the teachers, with which the students are compared.

        :param material: windows, teacher and pairs.
        :param scorer: scores on val.
        :param base: settings of the preset.
        :param limits: the budget.
        :param folder: run folder.
        :param teacher: weights file of the diffusion teacher, whose variety the students get.
        :raises WeightsError: if it cannot be read.
        :raises ConfigError: if it is not a diffusion teacher of this window.
        """
        self.material = material
        self.base = base
        self.limits = limits
        self.folder = folder
        self.teacher = teacher
        self.judge = self.judge_of(scorer)

    def judge_of(self, scorer: Scorer) -> Judge:
        """Score the teachers on a scorer's windows, or read the result of an earlier call."""
        files = [(file.sha256, len(file.chosen)) for file in scorer.files]
        key = [self.material.digest, file_digest(self.teacher), scorer.samples, files]
        path = self.folder / f'reference_{digest(key)}.json'
        with Lock(path.with_suffix('.lock')):
            found = read_json(path)
            if found is None:
                found = {
                    'scores': scorer(self.material.one_step),
                    'apd': variety_of(self.teacher, self.base, scorer),
                }
                provenance.write_json(path, found)
        return Judge(scorer, found['scores'], found['apd'])

    def latency_ms(self, chain: ChainConfig) -> float:
        """
        Time a Predictor call of a network of this size, one person, one thread.

        It takes turns with the preset's network. The result is the ratio of the medians times that
        network's first measured median, so that a busier hour does not look like a slower network.
        """
        size = chain.swiftdiff.model.denoiser
        path = self.folder / 'latency' / f'{digest(asdict(replace(size, dropout=0.0)))}.json'
        found = read_json(path)
        if found is None:
            base = fresh_model(self.base.model_of('swiftdiff'), self.material.pool)
            mine = fresh_model(chain.model_of('swiftdiff'), self.material.pool)
            base_ms, mine_ms = times_ms(
                [base, mine],
                repetitions=self.limits.repetitions,
                samples=self.limits.samples,
                device=self.material.device,
            )
            unit_path = self.folder / 'latency' / 'unit.json'
            unit = read_json(unit_path)
            if unit is None:
                unit = {'base_ms': base_ms}
                provenance.write_json(unit_path, unit)
            found = {
                'ms': round(unit['base_ms'] * mine_ms / base_ms, 3),
                'mine_ms': mine_ms,
                'base_ms': base_ms,
                'size': asdict(size),
            }
            provenance.write_json(path, found)
        return float(found['ms'])

    def enough_ms(self) -> float:
        """Return the time in milliseconds below which speed has no further value."""
        return self.limits.enough * self.latency_ms(self.base)

    def train(self, chain: ChainConfig, at_rung: Any = None) -> dict[str, Any]:
        """
        Train and score a student, or read the result of an earlier call.

        :param chain: settings with a trial's budget.
        :param at_rung: called with the rung's number and the error there; may raise an error to
            stop.
        :returns: as :class:`Judge`, with ``rungs`` (errors) and ``cpu_s``.
        """
        settings = as_plain(chain)['swiftdiff']
        names = ('windows', 'pool', 'pairs', 'rungs', 'limit', 'samples')  # not how one searches
        limits = {name: getattr(self.limits, name) for name in names}
        key = digest([settings, chain.seed, limits, self.material.digest, self.judge.apd])
        folder = self.folder / 'trials' / key
        with Lock(folder / 'lock'):  # two studies may begin with the same settings
            return self._train(chain, folder, at_rung)

    def _train(self, chain: ChainConfig, folder: Path, at_rung: Any) -> dict[str, Any]:
        path = folder / 'result.json'
        settings = as_plain(chain)['swiftdiff']
        found = read_json(path) or {'rungs': [], 'cpu_s': 0.0, 'settings': settings}
        watches = Stopwatch()
        spent = found['cpu_s']
        steps = chain.swiftdiff.optim.steps
        rungs = [max(1, round(share * steps)) for share in self.limits.rungs]

        def note() -> None:
            found['cpu_s'] = round(spent + watches.seconds(), 2)
            provenance.write_json(path, found)

        def visit(number: int) -> None:
            if at_rung is not None:
                at_rung(number, found['rungs'][number])

        for number in range(len(found['rungs'])):
            visit(number)
        if 'error' not in found:

            def watch(step: int, averaged: nn.Module) -> None:
                if step in rungs and len(found['rungs']) <= rungs.index(step):
                    student = fresh_model(chain.model_of('swiftdiff'), self.material.pool)
                    student.denoiser.load_state_dict(averaged.state_dict())
                    found['rungs'].append(self.judge(student)['error'])
                    note()
                    visit(rungs.index(step))

            # a checkpoint at every rung: another study may continue one that this study gives up
            optim = replace(chain.swiftdiff.optim, save_every=rungs[0] if rungs else steps)
            whole = replace(chain, swiftdiff=replace(chain.swiftdiff, optim=optim))
            student = train_student(self.material, whole, folder, watch=watch)
            found |= self.judge(student)
            note()
            (folder / 'swiftdiff' / 'checkpoint.pt').unlink(missing_ok=True)
        return found
