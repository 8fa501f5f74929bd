# SPDX-License-Identifier: Apache-2.0
"""The rows of ``studies ablate``, their budget and their settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from motion_predictor.errors import ConfigError
from studies.ablation import rows
from studies.common.students import shortened
from training.engine.config import ChainConfig
from training.engine.overrides import override

MATCHES = ('mse', 'kl_softmax', 'kl_gaussian')


@dataclass(frozen=True, kw_only=True)
class Row(rows.Row):
    """One line of the table; its changes are settings below ``swiftdiff``."""

    match: str = 'mse'
    """Distance to the teacher: 'mse'; 'kl_softmax', which takes the coefficients as logits, as in
    the distillation of classifiers (Hinton et al., arXiv 1503.02531); or 'kl_gaussian', between
    Gaussians fitted to the matched samples of teacher and student."""
    target: str = 'fresh'
    """Target of the student: 'fresh', the one-step teacher on ever new noise; or fixed pairs of
    noise and target: 'one_step', the teacher's DDIM 'ddim_N', or 'x0', the teacher's own estimate
    of x_0 from that noise in one evaluation."""

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
    """The budget of a row."""

    windows: int
    pool: int
    pairs: int
    """Number of noises with targets in the rows of fixed pairs."""
    limit: int
    """Number of scored windows of each file, evenly spread."""
    samples: int = 50
    repetitions: int = 20


def budget(name: str) -> Budget:
    """Return the budget of a preset."""
    if name == 'debug':
        return Budget(windows=32, pool=64, pairs=8, limit=3, samples=4, repetitions=2)
    if name == 'full':
        return Budget(windows=1 << 20, pool=1 << 18, pairs=1 << 16, limit=1000)
    return Budget(windows=20_480, pool=16_384, pairs=2048, limit=80)


def settings_of(row: Row, base: ChainConfig, limits: Budget, seed: int) -> ChainConfig:
    """
    Return the settings of a row.

    :param base: settings of the preset.
    :raises ConfigError: if a change does not fit the preset.
    """
    changes = {f'swiftdiff.{name}': value for name, value in row.changes.items()}
    chain = shortened(override(base, changes), limits.windows, limits.pool)
    return replace(chain, seed=seed, swiftdiff=replace(chain.swiftdiff, pairs=limits.pairs))


def rows_for(names: Sequence[str] | None, name: str) -> list[Row]:
    """
    Return the requested rows in their order.

    :param names: names of the requested rows; None for all.
    :param name: name of the preset; other presets leave out the sizes of 'small', which do not
        fit.
    :raises ConfigError: if a name is unknown.
    """
    fitting = [row for row in ROWS if name == 'small' or 'size' not in question(row)]
    return rows.rows_for(fitting, names)


def question(row: Row) -> str:
    """Return the question that a row belongs to."""
    if row.name.startswith(('width', 'depth')):
        return 'size'
    if row.name.startswith('eps'):
        return 'prediction'
    if row.name.startswith(('kl', 'mse')):
        return 'distance'
    one_or_two = row.target != 'fresh' or row.name in ('base_two_stages', 'base_one_stage')
    return 'stages' if one_or_two else 'terms'
