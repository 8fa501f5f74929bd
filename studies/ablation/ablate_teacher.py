# SPDX-License-Identifier: Apache-2.0
"""Measure the effect of each switch of the teacher: python -m studies ablate-teacher.

Every row is one diffusion teacher, trained with the base settings except for what the row changes,
with the same budget and several seeds, and scored on val of every set. Finished rows are read
again, and a killed one continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studies.ablation import rows
from studies.ablation.options import TeacherOptions
from studies.ablation.rows import Place, Row
from studies.ablation.teacher_switches import switched, SwitchedTeacher, SwitchedTeacherLoss
from studies.common.kept import digest, Stopwatch
from training.data.pool import EncodedPool
from training.engine.config import as_plain, ChainConfig
from training.engine.overrides import override
from training.engine.runs import pool_of, Run
from training.stages.train_teacher import train_teacher

FORMAT = 'motion_predictor teacher ablations'
VERSION = 1
EXAMPLE = """\
worked example, from the root of the source tree; it can be killed and given again:
  python -m studies ablate-teacher --dry-run
  python -m studies ablate-teacher --seeds 2 --json docs/results/data/teacher_ablations.json
  python -m studies report recipe --json docs/results/data/teacher_ablations.json \\
      --out docs/results/teacher_ablations.md
"""
FACTS = ('teacher', 'encoding', 'augmentation', 'whiten', 'pool', 'seed')
"""Facts that a teacher depends on."""
PAPER = {
    'teacher.model.prediction': 'eps',
    'encoding.condition': 'padded',
    'encoding.residual': 'false',
    'teacher.metric_weight': '0',
    'teacher.unconditional': '0.2',
    'teacher.completion': 'noised',
    'whiten': 'false',
}

ROWS = (
    Row(
        name='base',
        what='the default: v, whitened residual of the padded window, condition of the observed '
        "frames, loss weighed by the coefficients' size, heading turned to +x",
    ),
    Row(
        name='paper',
        what="TransFusion's: eps, the whole window unwhitened, condition of the padded window, "
        'a fifth of the batches without condition, history noised in at every step',
        changes=PAPER,
    ),
    Row(name='eps', what='the network gives eps', changes={'teacher.model.prediction': 'eps'}),
    Row(name='x0', what='the network gives x0', changes={'teacher.model.prediction': 'x0'}),
    Row(
        name='whole_window',
        what='the whole window is diffused, not its difference from the padded one',
        changes={'encoding.residual': 'false'},
    ),
    Row(
        name='padded_condition',
        what="the condition is the padded window's DCT",
        changes={'encoding.condition': 'padded'},
    ),
    Row(name='unwhitened', what='coefficients in metres', changes={'whiten': 'false'}),
    Row(
        name='weights_alike',
        what='all whitened coefficients weigh alike',
        changes={'teacher.metric_weight': '0'},
    ),
    Row(
        name='weights_metres',
        what='coefficients weigh as in metres',
        changes={'teacher.metric_weight': '2'},
    ),
    Row(name='min_snr', what='Min-SNR weighting, gamma 5', changes={'teacher.min_snr': '5'}),
    Row(
        name='x0_min_snr',
        what='the network gives x0, Min-SNR weighting, gamma 5',
        changes={'teacher.model.prediction': 'x0', 'teacher.min_snr': '5'},
    ),
    Row(
        name='velocity',
        what='a velocity term of weight 30, about a fifth of the loss',
        changes={'teacher.velocity': '30'},
    ),
    Row(
        name='unconditional',
        what='a fifth of the batches without condition',
        changes={'teacher.unconditional': '0.2'},
    ),
    Row(
        name='completion_noised',
        what='sampling puts the history in noised, at every step',
        changes={'teacher.completion': 'noised'},
    ),
    Row(
        name='completion_none',
        what='sampling does not put the history in',
        changes={'teacher.completion': 'none'},
    ),
    Row(
        name='input_heading',
        what="the input's axes, trained at every heading",
        changes={'encoding.heading': 'input', 'augmentation.turn': '1'},
    ),
    Row(
        name='input_heading_unturned',
        what="the input's axes, headings as recorded",
        changes={'encoding.heading': 'input'},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Budget(rows.Budget):
    """The budget of a row."""

    ddim_steps: int = 25
    """Number of sampling steps; with fewer, the order of the rows can change."""


def budget(name: str) -> Budget:
    """Return the budget of a preset."""
    if name == 'debug':
        return Budget(steps=4, batch=8, pool=32, limit=2, samples=3, ddim_steps=2)
    if name == 'full':
        return Budget(steps=20_000, batch=512, pool=1 << 18, limit=500, ddim_steps=100)
    return Budget(steps=600, batch=64, pool=1 << 15, limit=40)


def settings_of(row: Row, base: ChainConfig, limits: Budget, seed: int) -> ChainConfig:
    """
    Return the settings of a row.

    :raises ConfigError: if a change does not fit the preset.
    """
    chain = override(switched(base), row.changes)
    optim = chain.teacher.optim
    short = replace(
        optim,
        steps=limits.steps,
        batch=limits.batch,
        compile=False,
        warmup_steps=min(optim.warmup_steps, max(1, limits.steps // 10)),
        ema=min(optim.ema, 1.0 - 20.0 / (20.0 + limits.steps)),
    )
    return replace(chain, pool=limits.pool, seed=seed, teacher=replace(chain.teacher, optim=short))


class TeacherBench:
    """Trains teachers and scores their DDIM samples."""

    def __init__(self, place: Place, limits: Budget) -> None:
        """Prepare the bench; rows with the same encoding share a pool, one seed's at a time."""
        self.place = place
        self.limits = limits
        self._pools: dict[str, EncodedPool] = {}

    def __call__(self, folder: Path, chain: ChainConfig) -> dict[str, Any]:
        """See :class:`studies.ablation.rows.Bench`."""
        # changes of the sampling need no training of their own
        teacher_config = chain.teacher
        assert isinstance(teacher_config, SwitchedTeacher)
        trained_as = replace(chain, teacher=replace(teacher_config, completion='clean'))
        plain = as_plain(trained_as)
        facts = [plain[name] for name in FACTS]
        own = self.place.run / 'teachers' / digest([self.place.key, facts])
        run = Run(own, self.place.data, self.place.device, ('teacher',))
        watch = Stopwatch()
        teacher = train_teacher(
            run, trained_as, self._pool(run, trained_as), loss=SwitchedTeacherLoss
        ).eval()
        trained_s = watch.seconds()
        scores = self.place.scorer(
            teacher,
            ddim_steps=self.limits.ddim_steps,
            completion=teacher_config.completion,
        )
        return {'scores': scores, 'cpu_s': round(trained_s, 2)}

    def _pool(self, run: Run, chain: ChainConfig) -> EncodedPool:
        seen = [
            as_plain(chain.encoding),
            as_plain(chain.augmentation),
            chain.whiten,
            chain.pool,
            chain.seed,
        ]
        key = digest(seen)
        if key not in self._pools:
            self._pools = {key: pool_of(run, chain)}
        return self._pools[key]


STUDY = rows.Study(
    program='studies ablate-teacher',
    options=TeacherOptions,
    stage='teacher',
    purpose=(__doc__ or '').split('\n\n', 1)[1],
    example=EXAMPLE,
    form=(FORMAT, VERSION),
    rows=ROWS,
    budget=budget,
    settings_of=settings_of,
    bench=TeacherBench,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`studies.ablation.rows.run`."""
    return rows.run(STUDY, arguments)
