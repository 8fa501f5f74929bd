"""Settings of the training verbs and their presets; frozen, checked, written to the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from training.data.random_windows import Augmentation
from training.engine.vdd import VddConfig

PRESETS = ('debug', 'small', 'balance', 'full')
COMPLETIONS = ('none', 'clean', 'noised')
"""How the teacher's DDIM puts the observed history back; see ``diffusion.ddim``."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How one network is fitted."""

    steps: int
    batch: int
    """Windows a step, of all processes together."""
    accumulate: int = 1
    """Parts of a process's share of the batch that are computed one after another."""
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    ema: float = 0.999
    clip_norm: float = 1.0
    """Gradients longer than this are shortened."""
    compile: bool = False
    """Compile the network with torch.compile where a C++ compiler is found."""
    bf16: bool = True
    """Autocast to bfloat16 where the device multiplies it in hardware."""
    log_every: int = 50
    save_every: int = 500

    def __post_init__(self) -> None:
        for name in ('steps', 'batch', 'accumulate', 'log_every', 'save_every'):
            if getattr(self, name) < 1:
                raise ConfigError(f'{name}={getattr(self, name)}: must be at least 1')
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f'ema={self.ema}: must lie in 0..1')
        if not self.learning_rate > 0.0:
            raise ConfigError(f'learning_rate={self.learning_rate}: must be positive')


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The diffusion teacher's training."""

    model: ModelConfig
    optim: OptimConfig
    unconditional: float = 0.0
    """Probability that a whole batch trains without condition (the paper: 0.2)."""
    metric_weight: float = 1.0
    """The loss weighs a coefficient by its scale to this power: 0 alike, 2 as in metres."""
    min_snr: float = 0.0
    """Steps count by the smaller of their signal-to-noise ratio and this, as errors of x0 do in
    Min-SNR weighting (Hang et al., arXiv 2303.09556, gamma); 0: every step alike."""
    velocity: float = 0.0
    """Weight of the mean square of the joints' velocity error in the future, of the x0 that the
    network's output means (MDM, arXiv 2209.14916, equation 5); that of x0 by its signal."""
    completion: str = 'clean'

    def __post_init__(self) -> None:
        if not 0.0 <= self.unconditional <= 1.0:
            raise ConfigError(f'unconditional={self.unconditional}: must lie in 0..1')
        for name in ('metric_weight', 'min_snr', 'velocity'):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must not be negative')
        if self.completion not in COMPLETIONS:
            raise ConfigError(f'completion={self.completion!r}: must be one of {COMPLETIONS}')


@dataclass(frozen=True, kw_only=True)
class OneStepConfig:
    """Stage 1: the teacher's DDIM in one pass of its own architecture."""

    model: ModelConfig
    optim: OptimConfig
    teacher_steps: int = 100
    """DDIM steps behind a target."""
    pairs: int
    """Pairs of noise and DDIM end point, each with its window, that are made once and kept."""
    metric_weight: float = 1.0
    """As the teacher's."""

    def __post_init__(self) -> None:
        if self.pairs < 1 or self.teacher_steps < 1:
            raise ConfigError(
                f'pairs={self.pairs}, teacher_steps={self.teacher_steps}: must be at least 1'
            )


@dataclass(frozen=True, kw_only=True)
class SwiftDiffConfig:
    """Stage 2: the one-step teacher into the MLP-only student, and ahead of it."""

    model: ModelConfig
    optim: OptimConfig
    samples: int
    """Noises drawn for each window, S; the best of them meets the real future."""
    matched: int
    """Of these, how many are matched to the one-step teacher's output from the same noise."""
    match: float = 1.0
    """Weight of the mean square distance to that output, in square metres a frame."""
    match_ddim: float = 0.0
    """Weight of the same distance to the diffusion teacher's own DDIM end points of
    ``one_step.teacher_steps``, from noises drawn once: it passes stage 1 by."""
    pairs: int = 49_152
    """Noises with such an end point, each with its window, that are made once and kept."""
    real: float = 0.0
    """Weight of the best sample's distance from the real future, in metres; 0 is the paper."""
    spread: float = 0.0
    """Weight of the energy score of some samples against the real future: it draws them towards
    it and apart from each other as far as the data say (Gneiting and Raftery, 2007)."""
    spread_samples: int = 4
    """How many samples that is; the matched ones are among them."""
    root: float = 0.5
    """Weight of the root's path beside the pose, in all terms."""
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(bones=0.1, jitter_m=0.02)
    )
    """The student's own: people and trackers that the recordings lack. The teachers know clean
    histories alone and are asked about those alone; what noise hides the real future teaches."""
    frame_stride: int = 4
    """The terms look at every so many future frames, the last one always among them."""
    start: str = ''
    """Weights file of a student of the same size to go on from instead of random weights."""

    def __post_init__(self) -> None:
        if not 1 <= self.matched <= self.samples:
            raise ConfigError(f'matched={self.matched}: must lie in 1..{self.samples} (samples)')
        names = ('match', 'match_ddim', 'real', 'spread', 'root')
        weights = {name: getattr(self, name) for name in names}
        if min(weights.values()) < 0.0:
            found = ', '.join(f'{name}={value}' for name, value in weights.items())
            raise ConfigError(f'{found}: must not be negative')
        if self.spread > 0.0 and not 2 <= self.spread_samples <= self.samples:
            raise ConfigError(
                f'spread_samples={self.spread_samples}: must lie in 2..{self.samples} (samples)'
            )
        if self.frame_stride < 1:
            raise ConfigError(f'frame_stride={self.frame_stride}: must be at least 1')
        if self.pairs < 1:
            raise ConfigError(f'pairs={self.pairs}: must be at least 1')


@dataclass(frozen=True, kw_only=True)
class CrossFitConfig:
    """Diffusion models that draw each person's futures without having seen that person."""

    folds: int = 0
    """Parts that people are shared out among, each drawn for by a model trained on the others; 0:
    none of this."""
    samples: int = 2
    """Futures drawn for each window of the pool."""
    steps: int = 30
    """Levels of noise that each is drawn in, two passes a step (Heun)."""
    width: int = 512
    depth: int = 4
    history_width: int = 384
    history_depth: int = 3
    dropout: float = 0.1
    lowest: float = 0.003
    """Lowest signal-to-noise ratio, on coordinates of the whitened state."""
    highest: float = 30_000.0
    """Highest one."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            steps=5_000, batch=512, learning_rate=1e-3, warmup_steps=500, ema=0.9995
        )
    )

    def __post_init__(self) -> None:
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f'folds={self.folds}: must be 0, or at least 2')
        if self.samples < 1 or self.steps < 2:
            raise ConfigError(
                f'samples={self.samples}, steps={self.steps}: must be at least 1 and 2'
            )
        if not 0.0 < self.lowest < self.highest:
            raise ConfigError(f'lowest={self.lowest}, highest={self.highest}: must rise, above 0')


MOE_METHODS = ('vdd', 'em_data', 'em_teacher', 'winner')


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """The mixture of experts: VDD, or one of the methods it is compared with."""

    model: ModelConfig
    vdd: VddConfig
    batch: int
    """Windows a step."""
    cross_fit: CrossFitConfig = field(default_factory=CrossFitConfig)
    """Where it has folds, 'vdd' learns from these futures instead of the one-step teacher's."""
    drawn: int = 2
    """Samples of the one-step teacher for each window of the pool, made once and kept."""
    method: str = 'vdd'
    """'vdd', or the same network by maximum likelihood on recordings ('em_data') or on the
    teacher's samples ('em_teacher'), or by the nearest expert alone, on recordings ('winner')."""
    likelihood_first: int = 0
    """Steps of maximum likelihood on recordings before the method's own ('em_teacher': on the
    teacher's samples): experts that a likelihood has shared the recordings out among keep that,
    and a better likelihood, while the method moves them. With ``vdd.steps`` of 0 the method has
    the last steps of all, ``together_last``, alone."""
    likelihood_rate: float = 2e-3
    """Adam's in those steps, falling linearly to zero."""
    likelihood_temperature: float = 30.0
    """Of the responsibilities at the start of those steps; falls geometrically to 1."""
    covariance_last: int = 0
    """Steps, after all others, in which the covariances and the gate alone learn, by likelihood of
    recordings ('em_teacher': of the teacher's samples). Covariances that follow the history and
    learn beside the means take over what the means could tell."""
    plain_rank: int = 8
    """Of the covariances before that: their low-rank part is the same under all histories, and is
    made anew for those steps, with the rank and ``loading_width`` of the model."""
    together_last: int = 0
    """Steps, after those, in which everything learns together once more, at a low rate."""
    together_rate: float = 4e-4
    """Adam's in those steps, falling linearly to zero."""
    together_best: float = 1.0
    """``best`` in those steps."""
    together_best_end: float = 1.5
    """``best_end`` in those steps."""
    together_fade: float = 1.0
    """``best_fade`` in those steps."""
    points_last: int = 0
    """Steps, after those, in which the experts' points alone learn, by the nearest one, weighed as
    before; only where the model has a ``points_width``. The density stays as it is."""
    points_rate: float = 2e-3
    """Adam's in those steps, falling linearly to zero."""
    best: float = 0.0
    """Weight of the nearest expert's distance from the real future, in metres, by its mean: what
    best-of-S errors measure. Not in the paper; 'em_data' and 'em_teacher' go without."""
    best_all: float = 0.05
    """Share of that which all experts get (relaxed winner-takes-all), lest some never win."""
    best_end: float = 0.0
    """As ``best``, at the last instant, by the expert that is the nearest there."""
    best_fade: float = 1.0
    """Both fall linearly to this share of themselves at the last step: early the nearest expert's
    term helps the likelihood of people not seen, late it is in its way."""
    root: float = 0.5
    """Weight of the root's path beside the pose in that term."""
    frame_stride: int = 4
    """That term looks at every so many future frames, the last one always among them."""
    start: str = ''
    """Weights file to begin from instead of fresh experts, of the same size."""
    without: str = ''
    """Recordings whose action contains this are left out of the training."""
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(bones=0.1, jitter_m=0.02)
    )
    """The mixture's own, as SwiftDiff's: behind noise the recording stands in for the teachers."""

    def __post_init__(self) -> None:
        if self.method not in MOE_METHODS:
            raise ConfigError(f'method={self.method!r}: must be one of {MOE_METHODS}')
        if self.batch < 1 or self.drawn < 1:
            raise ConfigError(f'batch={self.batch}, drawn={self.drawn}: must be at least 1')
        for part in ('likelihood_first', 'together_last', 'points_last'):
            name = f'{part.split("_")[0]}_rate'
            steps, rate = getattr(self, part), getattr(self, name)
            if steps < 0 or not rate > 0.0:
                raise ConfigError(
                    f'{part}={steps}, {name}={rate}: must not be negative, and positive'
                )
        if self.covariance_last < 0 or self.plain_rank < 1:
            raise ConfigError(
                f'covariance_last={self.covariance_last}, plain_rank={self.plain_rank}: must not '
                'be negative, and at least 1'
            )
        if not self.likelihood_temperature >= 1.0:
            raise ConfigError(
                f'likelihood_temperature={self.likelihood_temperature}: must be at least 1'
            )
        for name in ('best_fade', 'together_fade'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must lie in 0..1')
        if min(self.together_best, self.together_best_end) < 0.0:
            raise ConfigError(
                f'together_best={self.together_best}, together_best_end='
                f'{self.together_best_end}: must not be negative'
            )
        if self.frame_stride < 1 or min(self.best, self.best_all, self.best_end, self.root) < 0.0:
            raise ConfigError(
                f'frame_stride={self.frame_stride}: must be at least 1; best={self.best}, '
                f'best_all={self.best_all}, best_end={self.best_end}, root={self.root}: '
                'must not be negative'
            )


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """The whole chain with what its stages share."""

    preset: str
    """Sizes and budgets: debug, small, balance or full."""
    pool: int
    """Augmented windows that are drawn and encoded once, and trained on again and again."""
    augmentation: Augmentation
    teacher: TeacherConfig
    one_step: OneStepConfig
    swiftdiff: SwiftDiffConfig
    moe: MoeConfig
    whiten: bool = True
    """Scale every coefficient to unit variance (the paper: no)."""
    seed: int = 0
    """Of all that is drawn."""


ENCODING = ('window', 'skeleton', 'condition', 'condition_keep', 'residual', 'heading')
"""Settings of a model that teacher and students have to share, as they share the pool."""


def require_same_encoding(chain: ChainConfig) -> None:
    """
    Check that the students of stages 1 and 2 see motion as the teacher does.

    :raises ConfigError: if one of them does not.
    """
    for stage in ('one_step', 'swiftdiff'):
        require_encoding_of(stage, getattr(chain, stage).model, chain.teacher.model)


def require_encoding_of(
    stage: str, model: ModelConfig, teacher: ModelConfig, where: str = 'teacher.model.'
) -> None:
    """
    Check that a student sees motion as its teacher does.

    :param stage: of the student, for the error.
    :param where: of the teacher's settings, for the error: before their names.
    :raises ConfigError: if it does not, naming the setting.
    """
    for name in ENCODING:
        found, wanted = getattr(model, name), getattr(teacher, name)
        if found != wanted:
            raise ConfigError(
                f"{stage}.model.{name}={found!r}: must be the teacher's ({where}{name}={wanted!r})"
            )


def preset(name: str) -> ChainConfig:
    """
    Give the settings of a preset.

    :param name: 'debug' (seconds, for the tests), 'small' (two CPU cores, some hours), 'balance'
        ('small' but for a SwiftDiff that takes less time) or 'full' (the paper's sizes, one GPU).
    :raises ConfigError: if there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f'preset={name!r}: must be one of {PRESETS}')
    made = {'debug': _debug, 'small': _small, 'balance': _balance, 'full': _full}
    return made[name]()


def _debug() -> ChainConfig:
    size = DenoiserConfig(architecture='transfusion', width=32, depth=2, heads=4, dropout=0.0)
    model = ModelConfig(role='teacher', denoiser=size)
    optim = OptimConfig(
        steps=60, batch=32, warmup_steps=5, ema=0.9, bf16=False, log_every=10, save_every=30
    )
    mixer = DenoiserConfig(architecture='mixer', width=32, depth=2, hidden_ratio=1.0, dropout=0.0)
    short = replace(optim, steps=40, batch=8, learning_rate=2e-3)
    return ChainConfig(
        preset='debug',
        pool=256,
        augmentation=Augmentation(),
        teacher=TeacherConfig(model=model, optim=optim),
        one_step=OneStepConfig(
            model=replace(model, role='one_step'),
            optim=short,
            teacher_steps=4,
            pairs=64,
        ),
        swiftdiff=SwiftDiffConfig(
            model=replace(model, role='swiftdiff', denoiser=mixer, prediction='x0', join_s=0.3),
            optim=short,
            samples=4,
            matched=2,
            match_ddim=0.5,
            pairs=64,
            real=0.5,
        ),
        moe=MoeConfig(
            model=replace(
                model,
                role='moe',
                denoiser=_experts(16, 24, 4, 8, 2, 8, points_width=8),
                join_s=0.3,
            ),
            vdd=_vdd(steps=30, samples=1, experts_a_step=2, conditions_a_step=4, save_every=15),
            batch=8,
            cross_fit=CrossFitConfig(
                folds=2,
                samples=1,
                steps=3,
                width=16,
                depth=1,
                history_width=16,
                history_depth=1,
                optim=OptimConfig(steps=4, batch=16),
            ),
            covariance_last=10,
            together_last=4,
            points_last=3,
            plain_rank=1,
            best=1.0,
        ),
    )


def _small() -> ChainConfig:
    size = DenoiserConfig(architecture='transfusion', width=128, depth=5, heads=4, dropout=0.0)
    model = ModelConfig(role='teacher', denoiser=size)
    flat = DenoiserConfig(
        architecture='flat',
        width=256,
        depth=5,
        hidden_ratio=1.0,
        dropout=0.0,
        condition_width=256,
        condition_depth=2,
    )
    return ChainConfig(
        preset='small',
        pool=1 << 17,
        augmentation=Augmentation(),
        teacher=TeacherConfig(
            model=model,
            optim=OptimConfig(steps=10_000, batch=256, learning_rate=1e-3, compile=True),
        ),
        one_step=OneStepConfig(
            model=replace(model, role='one_step'),
            optim=OptimConfig(steps=3_000, batch=256, learning_rate=5e-4, compile=True),
            teacher_steps=25,
            pairs=49_152,
        ),
        swiftdiff=SwiftDiffConfig(
            model=replace(model, role='swiftdiff', denoiser=flat, prediction='x0', join_s=0.3),
            optim=OptimConfig(steps=20_000, batch=64, learning_rate=2.8e-3),
            samples=20,
            matched=1,
            match=0.3,
            match_ddim=0.45,
            real=1.0,
            spread=0.37,
        ),
        moe=MoeConfig(
            model=replace(
                model,
                role='moe',
                denoiser=_experts(
                    128, 384, 50, 128, 32, 64, dropout=0.2, depth=3, points_width=256
                ),
                join_s=0.3,
            ),
            vdd=_vdd(
                steps=0,
                samples=1,
                experts_a_step=2,
                conditions_a_step=8,
                real=2.0,
                forward=0.4,
                forward_end=0.4,
            ),
            batch=64,
            drawn=1,
            cross_fit=CrossFitConfig(folds=4),
            likelihood_first=20_000,
            covariance_last=4_000,
            together_last=20_000,
            points_last=15_000,
            best=1.0,
            best_end=1.5,
            best_fade=0.0,
        ),
    )


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
    size = DenoiserConfig(architecture='transfusion', width=512, depth=9, heads=8, dropout=0.2)
    model = ModelConfig(role='teacher', denoiser=size)
    mixer = DenoiserConfig(
        architecture='mixer', width=768, depth=12, hidden_ratio=1.0, dropout=0.2
    )
    return ChainConfig(
        preset='full',
        pool=1 << 20,
        augmentation=Augmentation(),
        teacher=TeacherConfig(
            model=model,
            optim=OptimConfig(
                steps=200_000, batch=512, learning_rate=3e-4, ema=0.9995, compile=True
            ),
            unconditional=0.2,
        ),
        one_step=OneStepConfig(
            model=replace(model, role='one_step'),
            optim=OptimConfig(
                steps=50_000, batch=512, learning_rate=1e-4, ema=0.9995, compile=True
            ),
            teacher_steps=100,
            pairs=1 << 19,
        ),
        swiftdiff=SwiftDiffConfig(
            model=replace(model, role='swiftdiff', denoiser=mixer, prediction='x0', join_s=0.3),
            optim=OptimConfig(
                steps=100_000, batch=128, learning_rate=3e-4, ema=0.9995, compile=True
            ),
            samples=50,
            matched=8,
            pairs=1 << 19,
            real=1.0,
        ),
        moe=MoeConfig(
            model=replace(
                model,
                role='moe',
                denoiser=_experts(512, 1024, 64, 192, 32, 256, depth=3, points_width=512),
                join_s=0.3,
            ),
            vdd=_vdd(
                steps=0,
                samples=2,
                experts_a_step=0,
                conditions_a_step=0,
                real=2.0,
                forward=0.4,
                forward_end=0.4,
            ),
            batch=512,
            cross_fit=CrossFitConfig(
                folds=4,
                width=1024,
                history_width=768,
                optim=OptimConfig(
                    steps=50_000, batch=1024, learning_rate=1e-3, warmup_steps=500, ema=0.9995
                ),
            ),
            likelihood_first=100_000,
            covariance_last=20_000,
            together_last=50_000,
            points_last=50_000,
            plain_rank=32,
            best=1.0,
        ),
    )


def _experts(
    width: int,
    condition_width: int,
    experts: int,
    latent: int,
    rank: int,
    loading_width: int,
    dropout: float = 0.0,
    depth: int = 1,
    points_width: int = 0,
) -> DenoiserConfig:
    return DenoiserConfig(
        architecture='experts', width=width, depth=depth, heads=1, hidden_ratio=1.0,
        dropout=dropout, condition_width=condition_width, condition_depth=2, experts=experts,
        latent=latent, rank=rank, loading_width=loading_width, points_width=points_width,
    )  # fmt: skip


def _vdd(
    *,
    steps: int,
    samples: int,
    experts_a_step: int,
    conditions_a_step: int,
    save_every: int = 500,
    real: float = 0.1,
    forward: float = 0.05,
    forward_end: float = 0.01,
) -> VddConfig:
    return VddConfig(
        steps=steps, samples=samples, experts_a_step=experts_a_step,
        conditions_a_step=conditions_a_step, save_every=save_every, learning_rate=2e-3,
        noised=True, low_begin=0.3, high_begin=0.6, low_end=0.1, high_end=0.3, temperature=30.0,
        anneal=0.5, warm=0.0, reverse=0.05, forward=forward, forward_end=forward_end, real=real,
        ema=0.998, clip_norm=30.0, path_gradient=True,
    )  # fmt: skip


def override(config: Any, settings: Mapping[str, str]) -> Any:
    """
    Change settings by dotted names, as ``teacher.optim.steps=100``.

    :param config: a settings dataclass, possibly nested.
    :param settings: dotted name -> value as text, read as the present value's type.
    :returns: a changed copy, checked again.
    :raises ConfigError: on an unknown name or a value that cannot be read.
    """
    for name, text in settings.items():
        config = _override_one(config, name, name.split('.'), text)
    return config


def _override_one(config: Any, name: str, path: list[str], text: str) -> Any:
    head, *rest = path
    if not hasattr(config, '__dataclass_fields__') or head not in config.__dataclass_fields__:
        known = sorted(getattr(config, '__dataclass_fields__', {}))
        raise ConfigError(f'{name}: no setting {head!r}; there are {known}')
    old = getattr(config, head)
    if rest:
        return replace(config, **{head: _override_one(old, name, rest, text)})
    try:
        new: Any = text if isinstance(old, str) else None
        if isinstance(old, bool):
            new = {'true': True, 'false': False}[text.lower()]
        elif isinstance(old, int):
            new = int(text)
        elif isinstance(old, float):
            new = float(text)
    except (KeyError, ValueError):
        raise ConfigError(f'{name}={text!r}: must be a {type(old).__name__}') from None
    if new is None:
        raise ConfigError(f'{name}: a group of settings; name one of its parts')
    return replace(config, **{head: new})


def as_plain(config: Any) -> dict[str, Any]:
    """Turn settings into JSON-able values for the run folder."""
    return asdict(config)
