# SPDX-License-Identifier: Apache-2.0
"""Measure the effect of each part of the mixture's training: python -m studies ablate-mixture.

Every row is one mixture of experts, trained with the base settings except for what the row
changes, with the same budget and several seeds, and scored on val of every set. Finished rows are
read again, and a killed one continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.ablation import rows
from studies.ablation.options import MixtureOptions
from studies.ablation.rows import Budget, Place, Row
from studies.common.kept import Stopwatch
from training.engine.config import ChainConfig, MoeConfig
from training.engine.overrides import override
from training.engine.runs import Run
from training.judge.accuracy.evaluate_moe import likelihoods, perplexity
from training.stages.distill_moe import distil_moe

FORMAT = 'motion_predictor mixture ablations'
VERSION = 1
EXAMPLE = """\
worked example, from the root of the source tree; it can be killed and given again:
  python -m studies ablate-mixture --dry-run
  python -m studies ablate-mixture --seeds 2 --json docs/results/data/moe_ablations.json
  python -m studies report recipe --json docs/results/data/moe_ablations.json \\
      --out docs/results/moe_ablations.md
"""
NO_SCORE = {'moe.vdd.reverse': '0'}
NO_SAMPLES = {'moe.vdd.forward': '0', 'moe.vdd.forward_end': '0'}
NO_BEST = {'moe.best': '0', 'moe.best_end': '0'}
NO_REAL = {
    'moe.vdd.real': '0',
    'moe.covariance_last': '0',
    'moe.likelihood_first': '0',
}

ROWS = (
    Row(
        name='base',
        what="the default: VDD's bound with noised queries in a falling band, likelihood of "
        "recordings and of futures by diffusion models that have not seen the person, nearest "
        "expert",
    ),
    Row(name='experts_10', what='10 experts', changes={'moe.model.denoiser.experts': '10'}),
    Row(name='experts_25', what='25 experts', changes={'moe.model.denoiser.experts': '25'}),
    Row(name='experts_100', what='100 experts', changes={'moe.model.denoiser.experts': '100'}),
    Row(
        name='unnoised',
        what='un-noised queries at the lowest tenth of the levels (the paper)',
        changes={
            'moe.switches.noised': 'false',
            'moe.switches.low_begin': '0.01',
            'moe.switches.high_begin': '0.1',
            'moe.switches.low_end': '0.01',
            'moe.switches.high_end': '0.1',
        },
    ),
    Row(
        name='uniform_gate',
        what='all experts weigh alike',
        changes={'moe.switches.gate': 'uniform'},
    ),
    Row(name='no_score', what="nothing of the teacher's score", changes=NO_SCORE),
    Row(name='no_teacher', what='nothing of any teacher', changes=NO_SCORE | NO_SAMPLES),
    Row(
        name='one_step',
        what="the one-step teacher's samples, which knows the person, instead of those futures",
        changes={'moe.cross_fit.folds': '0'},
    ),
    Row(
        name='no_points',
        what='no points of their own: the nearest expert moves the means in the last part too',
        changes={'moe.model.denoiser.points_width': '0'},
    ),
    Row(
        name='at_once',
        what='no likelihood first: bound, futures and nearest expert from the first step on',
        changes={'moe.likelihood_first': '0'},
    ),
    Row(name='no_real', what='no likelihood of recordings', changes=NO_REAL),
    Row(name='no_best', what='no nearest expert', changes=NO_BEST),
    Row(
        name='score_alone',
        what='the bound alone: nothing of the recordings, no samples but for the gate',
        changes=NO_SAMPLES | NO_BEST | NO_REAL | {'moe.vdd.reverse': '1'},
    ),
    Row(
        name='no_dropout', what='no dropout', changes={'moe.model.denoiser.dropout': '0'}
    ),
    Row(
        name='one_covariance',
        what='the same low-rank part of the covariances under all histories',
        changes={'moe.covariance_last': '0', 'moe.model.denoiser.loading_width': '0',
                 'moe.model.denoiser.rank': '8'},
    ),
    Row(
        name='together',
        what='covariances that follow the history, learnt beside the means',
        changes={'moe.covariance_last': '0'},
    ),
    Row(
        name='rank_8', what='covariances of rank 8', changes={'moe.model.denoiser.rank': '8'}
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Switches of :class:`~training.stages.mixture.vdd.VddConfig`; by default the mixture's."""

    noised: bool = True
    low_begin: float = 0.3
    high_begin: float = 0.6
    low_end: float = 0.1
    high_end: float = 0.3
    gate: str = 'learned'


@dataclass(frozen=True, kw_only=True)
class SwitchedMixture(MoeConfig):
    """The mixture's settings, with switches that only this study has."""

    switches: Switches = field(default_factory=Switches)


def switched(chain: ChainConfig) -> ChainConfig:
    """Return the chain with a mixture that has the switches, at the mixture's own choice."""
    same = {part.name: getattr(chain.moe, part.name) for part in fields(MoeConfig)}
    return replace(chain, moe=SwitchedMixture(**same))


def budget(name: str) -> Budget:
    """Return the budget of a preset."""
    if name == 'debug':
        return Budget(steps=3, batch=4, pool=16, limit=2, samples=16)
    if name == 'full':
        return Budget(steps=20_000, batch=512, pool=1 << 18, limit=500)
    return Budget(steps=2000, batch=64, pool=1 << 15, limit=80)


def settings_of(row: Row, base: ChainConfig, limits: Budget, seed: int) -> ChainConfig:
    """
    Return the settings of a row.

    :raises ConfigError: if a change does not fit the preset.
    """
    chain = override(switched(base), row.changes)
    share = limits.steps / (base.moe.likelihood_first + base.moe.vdd.steps)  # of all parts
    first = math.ceil(share * chain.moe.likelihood_first)
    moe = replace(
        chain.moe,
        vdd=replace(chain.moe.vdd, steps=limits.steps - first),
        batch=limits.batch,
        drawn=1,
        likelihood_first=first,
        covariance_last=math.ceil(share * chain.moe.covariance_last),
        together_last=math.ceil(share * chain.moe.together_last),
        points_last=math.ceil(share * chain.moe.points_last),
    )
    return replace(chain, pool=limits.pool, seed=seed, moe=moe)


class MixtureBench:
    """Trains mixtures and scores futures and likelihood."""

    def __init__(self, place: Place, limits: Budget) -> None:
        """Prepare the bench; rows share their windows and the teacher's samples."""
        self.place = place

    def __call__(self, folder: Path, chain: ChainConfig) -> dict[str, Any]:
        """See :class:`studies.ablation.rows.Bench`."""
        run = Run(folder, self.place.data, self.place.device, ('moe',))
        assert isinstance(chain.moe, SwitchedMixture)
        kept = self.place.run / 'moe_samples'
        watch = Stopwatch()
        model = distil_moe(run, chain, kept=kept, switches=asdict(chain.moe.switches)).eval()
        trained_s = watch.seconds()
        scores: dict[str, dict[str, float]] = self.place.scorer(model)
        for file in self.place.scorer.files:
            found = likelihoods(model, torch.from_numpy(file.windows.poses[file.chosen]))
            won = np.bincount(found['nearest'].numpy()) / len(found['nearest'])
            scores[file.label] |= {
                'nll': float(found['nll'].mean()),
                'used': perplexity(won),
            }
        (folder / 'moe' / 'checkpoint.pt').unlink(missing_ok=True)
        return {'scores': scores, 'cpu_s': round(trained_s, 2)}


STUDY = rows.Study(
    program='studies ablate-mixture',
    options=MixtureOptions,
    stage='moe',
    purpose=(__doc__ or '').split('\n\n', 1)[1],
    example=EXAMPLE,
    form=(FORMAT, VERSION),
    rows=ROWS,
    budget=budget,
    settings_of=settings_of,
    bench=MixtureBench,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`studies.ablation.rows.run`."""
    return rows.run(STUDY, arguments)
