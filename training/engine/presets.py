# SPDX-License-Identifier: Apache-2.0
"""The presets: named settings of the whole chain."""

from __future__ import annotations

from dataclasses import replace

from motion_predictor.errors import ConfigError
from training.engine.config import (
    ChainConfig,
    CrossFitConfig,
    CrossFitOptim,
    MixtureModel,
    MixtureSize,
    MixtureVdd,
    MoeConfig,
    OneStepConfig,
    OptimConfig,
    StudentModel,
    StudentSize,
    SwiftDiffConfig,
    TeacherConfig,
    TeacherModel,
    TransfusionSize,
)

PRESETS = ('debug', 'small', 'balance', 'full')


def preset(name: str) -> ChainConfig:
    """
    Return the settings of a preset.

    :param name: 'debug' (seconds, for the tests), 'small' (two CPU cores, some hours), 'balance'
        (as 'small', with a SwiftDiff that takes less time) or 'full' (the paper's sizes, one GPU).
    :raises ConfigError: if there is no preset of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f'preset={name!r}: must be one of {PRESETS}')
    made = {'debug': _debug, 'small': _small, 'balance': _balance, 'full': _full}
    return made[name]()


def _debug() -> ChainConfig:
    optim = OptimConfig(
        steps=60, batch=32, warmup_steps=5, ema=0.9, bf16=False, log_every=10, save_every=30
    )
    short = replace(optim, steps=40, batch=8, learning_rate=2e-3)
    return ChainConfig(
        preset='debug',
        pool=256,
        teacher=TeacherConfig(
            model=TeacherModel(denoiser=TransfusionSize(width=32, depth=2, heads=4, dropout=0.0)),
            optim=optim,
        ),
        one_step=OneStepConfig(optim=short, teacher_steps=4, pairs=64),
        swiftdiff=SwiftDiffConfig(
            model=StudentModel(
                denoiser=StudentSize(architecture='mixer', width=32, depth=2, dropout=0.0)
            ),
            optim=short,
            samples=4,
            matched=2,
            match_ddim=0.5,
            pairs=64,
            real=0.5,
        ),
        moe=MoeConfig(
            model=MixtureModel(
                denoiser=MixtureSize(
                    width=16, depth=1, dropout=0.0, condition_width=24, experts=4, latent=8,
                    rank=2, loading_width=8, points_width=8,
                )
            ),
            vdd=MixtureVdd(
                steps=30, samples=1, experts_a_step=2, conditions_a_step=4, save_every=15,
                forward=0.05, forward_end=0.01, real=0.1,
            ),
            batch=8,
            cross_fit=CrossFitConfig(
                folds=2,
                samples=1,
                steps=3,
                width=16,
                depth=1,
                history_width=16,
                history_depth=1,
                optim=CrossFitOptim(steps=4, batch=16, warmup_steps=200, ema=0.999),
            ),
            covariance_last=10,
            together_last=4,
            points_last=3,
            plain_rank=1,
            best=1.0,
        ),
    )  # fmt: skip


def _small() -> ChainConfig:
    return ChainConfig(
        preset='small',
        pool=1 << 17,
        teacher=TeacherConfig(
            model=TeacherModel(denoiser=TransfusionSize(width=128, depth=5, heads=4, dropout=0.0)),
            optim=OptimConfig(steps=10_000, batch=256, learning_rate=1e-3, compile=True),
        ),
        one_step=OneStepConfig(
            optim=OptimConfig(steps=3_000, batch=256, learning_rate=5e-4, compile=True),
            teacher_steps=25,
            pairs=49_152,
        ),
        swiftdiff=SwiftDiffConfig(
            model=StudentModel(
                denoiser=StudentSize(
                    architecture='flat', width=256, depth=5, dropout=0.0, condition_width=256
                )
            ),
            optim=OptimConfig(steps=20_000, batch=64, learning_rate=2.8e-3),
            samples=20,
            matched=1,
            match=0.3,
            match_ddim=0.45,
            real=1.0,
            spread=0.37,
        ),
        moe=MoeConfig(
            model=MixtureModel(
                denoiser=MixtureSize(
                    width=128, depth=3, dropout=0.2, condition_width=384, experts=50, latent=128,
                    rank=32, loading_width=64, points_width=256,
                )
            ),
            vdd=MixtureVdd(steps=0, samples=1, experts_a_step=2, conditions_a_step=8),
            batch=64,
            cross_fit=CrossFitConfig(folds=4),
            drawn=1,
            likelihood_first=20_000,
            covariance_last=4_000,
            together_last=20_000,
            points_last=15_000,
            best=1.0,
            best_end=1.5,
            best_fade=0.0,
        ),
    )  # fmt: skip


def _balance() -> ChainConfig:
    small = _small()
    student = small.swiftdiff
    size = replace(
        student.model.denoiser, width=128, depth=3, condition_width=192, condition_depth=2
    )
    return replace(
        small,
        preset='balance',
        swiftdiff=replace(
            student,
            model=replace(student.model, denoiser=size),
            optim=replace(student.optim, learning_rate=3.1e-3),
            match=0.16,
            match_ddim=0.47,
            spread=0.91,
        ),
    )


def _full() -> ChainConfig:
    long = OptimConfig(steps=200_000, batch=512, learning_rate=3e-4, ema=0.9995, compile=True)
    return ChainConfig(
        preset='full',
        pool=1 << 20,
        teacher=TeacherConfig(
            model=TeacherModel(denoiser=TransfusionSize(width=512, depth=9, heads=8, dropout=0.2)),
            optim=long,
            unconditional=0.2,
        ),
        one_step=OneStepConfig(
            optim=replace(long, steps=50_000, learning_rate=1e-4),
            teacher_steps=100,
            pairs=1 << 19,
        ),
        swiftdiff=SwiftDiffConfig(
            model=StudentModel(
                denoiser=StudentSize(architecture='mixer', width=768, depth=12, dropout=0.2)
            ),
            optim=replace(long, steps=100_000, batch=128),
            samples=50,
            matched=8,
            pairs=1 << 19,
            real=1.0,
        ),
        moe=MoeConfig(
            model=MixtureModel(
                denoiser=MixtureSize(
                    width=512, depth=3, dropout=0.0, condition_width=1024, experts=64, latent=192,
                    rank=32, loading_width=256, points_width=512,
                )
            ),
            vdd=MixtureVdd(steps=0, samples=2),
            batch=512,
            cross_fit=CrossFitConfig(
                folds=4,
                width=1024,
                history_width=768,
                optim=CrossFitOptim(steps=50_000, batch=1024),
            ),
            likelihood_first=100_000,
            covariance_last=20_000,
            together_last=50_000,
            points_last=50_000,
            plain_rank=32,
            best=1.0,
        ),
    )  # fmt: skip
