# SPDX-License-Identifier: Apache-2.0
"""Settings of the chain's stages: frozen, checked, written to the run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig, to_dict, WindowConfig
from training.data.random_windows import Augmentation

STAGES = ('teacher', 'one_step', 'swiftdiff', 'moe')
JOIN_S = 0.3
"""Time constant in seconds of the fade that joins a student's future to the past."""
JITTER_SHARE = 0.5
"""Share of a student's windows with noise on the history: it must know both kinds of tracker."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Settings for fitting one network."""

    steps: int
    batch: int
    """Windows per step, of all processes together."""
    accumulate: int = 1
    """Number of parts of a process's share of the batch that are computed one after another."""
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    ema: float = 0.999
    compile: bool = False
    """Whether the network is compiled with torch.compile if a C++ compiler is found."""
    bf16: bool = True
    """Whether to use autocast to bfloat16 if the device has hardware for it."""
    log_every: int = 50
    save_every: int = 500

    def __post_init__(self) -> None:
        _at_least(self, 1, 'steps', 'batch', 'accumulate', 'log_every', 'save_every')
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f'ema={self.ema}: must lie in 0..1')
        if not self.learning_rate > 0.0:
            raise ConfigError(f'learning_rate={self.learning_rate}: must be positive')


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The encoding of motion that all models of a chain share, so that they can share one pool."""

    window: WindowConfig = field(default_factory=WindowConfig)
    skeleton: str = 'h36m17'
    """Name of the skeleton; the recordings' skeleton replaces it."""
    condition: str = 'observed'
    """'padded': the DCT of the window padded with the last pose (TransFusion); 'observed': the DCT
    of the observed frames alone."""
    condition_keep: int = 12
    """Number of frequencies of the observed frames that an 'observed' condition has."""
    residual: bool = True
    """Whether the difference from the padded window is diffused instead of the window itself."""
    heading: str = 'own'
    """'own': windows are turned so that the person faces +x; 'input': windows keep the input's
    axes, and the training has to show every heading (``augmentation.turn``)."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How the training windows of all stages are varied."""

    mirror: float = 0.5
    """Probability of mirroring left and right joints; 0 for a skeleton without sides."""
    scale: float = 0.1
    """Body and path are scaled by a factor in 1 - scale .. 1 + scale."""
    speed: float = 0.25
    """Motion is played faster or slower by a factor in 1 / (1 + speed) .. 1 + speed."""
    speed_share: float = 0.5
    """Share of windows that are played at another speed."""
    turn: float = 0.0
    """Probability of turning the whole window about the vertical by any angle; without effect if
    the model turns it back (``encoding.heading`` 'own')."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """Variation for a student: people and trackers that the recordings lack."""

    bones: float = 0.1
    """Every bone is scaled by a factor in 1 - bones .. 1 + bones, the same on both sides."""
    jitter_m: float = 0.02
    """Largest standard deviation of the noise on observed joints, in metres."""
    hidden: float = 0.0
    """Share of windows in which some joints are never seen; above 0, the network is told which."""


@dataclass(frozen=True, kw_only=True)
class TransfusionSize:
    """Size of the networks of the teacher and the one-step teacher."""

    width: int
    depth: int
    heads: int
    dropout: float


@dataclass(frozen=True, kw_only=True)
class TeacherModel:
    """The teacher's network and its output."""

    denoiser: TransfusionSize
    prediction: str = 'v'
    """Output of the network: the noise 'eps', the clean state 'x0', or the velocity 'v'."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Training of the diffusion teacher."""

    model: TeacherModel
    optim: OptimConfig
    unconditional: float = 0.0
    """Probability that a whole batch trains without condition (the paper: 0.2)."""
    metric_weight: float = 1.0
    """Exponent of a coefficient's scale as its weight in the loss: 0 weighs all alike, 2 as in
    metres; also for stage 1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.unconditional <= 1.0:
            raise ConfigError(f'unconditional={self.unconditional}: must lie in 0..1')
        _at_least(self, 0.0, 'metric_weight')


@dataclass(frozen=True, kw_only=True)
class OneStepConfig:
    """Stage 1: the teacher's DDIM in one pass of the same architecture."""

    optim: OptimConfig
    teacher_steps: int = 100
    """Number of DDIM steps of a target."""
    pairs: int
    """Number of pairs of noise and DDIM end point, computed once for windows and kept."""
    t_star: int = 991
    """Diffusion step at which it starts from pure noise."""

    def __post_init__(self) -> None:
        _at_least(self, 1, 'pairs', 'teacher_steps')


@dataclass(frozen=True, kw_only=True)
class StudentSize:
    """Size of SwiftDiff's network."""

    architecture: str
    """'mixer' (SwiftDiff as published: MLPs over tokens and over channels), or 'flat' (for CPUs:
    MLPs over all coefficients at once, which embed the history once for all samples)."""
    width: int
    depth: int
    dropout: float
    condition_width: int = 384
    """Width of the flat network's branch for the history; a mixer ignores it."""
    condition_depth: int = 2
    """Number of blocks of that branch."""


@dataclass(frozen=True, kw_only=True)
class StudentModel:
    """SwiftDiff's network and its output."""

    denoiser: StudentSize
    prediction: str = 'x0'
    """The quantity that the network outputs, as the teacher's."""
    t_star: int = 991
    """Diffusion step at which it starts from pure noise."""


@dataclass(frozen=True, kw_only=True)
class SwiftDiffConfig:
    """Stage 2: the MLP-only student of the one-step teacher, which also learns real futures."""

    model: StudentModel
    optim: OptimConfig
    samples: int
    """Number of noises per window, S; the best sample is compared with the real future."""
    matched: int
    """Number of these samples that are matched to the one-step teacher's from the same noise."""
    match: float = 1.0
    """Weight of the mean square distance from that output, in square metres per frame."""
    match_ddim: float = 0.0
    """Weight of the same distance from the diffusion teacher's own DDIM end points of
    ``one_step.teacher_steps``, for noises drawn once; this does without stage 1."""
    pairs: int = 49_152
    """Number of noises with such an end point, computed once for windows and kept."""
    real: float = 0.0
    """Weight of the best sample's distance from the real future, in metres; 0 as in the paper."""
    spread: float = 0.0
    """Weight of the energy score of some samples: it draws them to the real future, and apart from
    each other as far as the data require (Gneiting and Raftery, 2007)."""
    augmentation: Unknown = field(default_factory=Unknown)
    """The student's own variation, in addition to the chain's. The teachers know only clean
    histories and are asked only about those; the real future teaches the rest."""
    start: str = ''
    """Weights file of a student of the same size to continue from, instead of random weights."""

    def __post_init__(self) -> None:
        if not 1 <= self.matched <= self.samples:
            raise ConfigError(f'matched={self.matched}: must lie in 1..{self.samples} (samples)')
        _at_least(self, 0.0, 'match', 'match_ddim', 'real', 'spread')
        _at_least(self, 1, 'pairs')


@dataclass(frozen=True, kw_only=True)
class CrossFitOptim:
    """Settings for fitting each fold's diffusion model."""

    steps: int = 5_000
    batch: int = 512
    warmup_steps: int = 500
    ema: float = 0.9995

    def __post_init__(self) -> None:
        _at_least(self, 1, 'steps', 'batch')


@dataclass(frozen=True, kw_only=True)
class CrossFitConfig:
    """Diffusion models that sample each person's futures without having seen that person."""

    folds: int = 0
    """Number of parts into which people are divided; a model trained on the other parts samples
    each part's futures. 0: no such models."""
    samples: int = 2
    """Number of futures sampled for each window of the pool."""
    steps: int = 30
    """Number of noise levels of the sampling, two passes per step (Heun)."""
    width: int = 512
    depth: int = 4
    history_width: int = 384
    history_depth: int = 3
    optim: CrossFitOptim = field(default_factory=CrossFitOptim)

    def __post_init__(self) -> None:
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f'folds={self.folds}: must be 0, or at least 2')
        if self.samples < 1 or self.steps < 2:
            raise ConfigError(
                f'samples={self.samples}, steps={self.steps}: must be at least 1 and 2'
            )


@dataclass(frozen=True, kw_only=True)
class MixtureSize:
    """Size of the mixture's network."""

    width: int
    depth: int
    dropout: float
    condition_width: int
    """Width of the branch for the history."""
    experts: int
    """Number of experts, E."""
    latent: int
    """Number of main directions of the state in which the mixture is defined, N."""
    rank: int
    """Rank of the low-rank part of the covariances, R; the other part is diagonal."""
    loading_width: int = 0
    """As ``DenoiserConfig.loading_width``."""
    points_width: int = 0
    """As ``DenoiserConfig.points_width``."""


@dataclass(frozen=True, kw_only=True)
class MixtureModel:
    """The mixture's network."""

    denoiser: MixtureSize


@dataclass(frozen=True, kw_only=True)
class MixtureVdd:
    """Weights of VDD's terms in the mixture's training, and the work of a step."""

    steps: int
    """Number of VDD steps before the last parts; 0: the training has only the last steps."""
    samples: int
    """Reparametrised samples of an expert per step."""
    experts_a_step: int = 0
    """Experts drawn for each step; 0: all of them."""
    conditions_a_step: int = 0
    """Number of a batch's first conditions for which the score is computed; 0: all of them."""
    reverse: float = 0.05
    """Weight of the experts' bound, which uses the teacher's score."""
    forward: float = 0.4
    """Weight of the log likelihood of the teacher's samples."""
    forward_end: float = 0.4
    """Value to which ``forward`` moves linearly."""
    real: float = 2.0
    """Weight of the log likelihood of the recordings."""
    save_every: int = 500

    def __post_init__(self) -> None:
        _at_least(self, 0, 'steps', 'experts_a_step', 'conditions_a_step')
        _at_least(self, 1, 'samples', 'save_every')
        _at_least(self, 0.0, 'reverse', 'forward', 'forward_end', 'real')


MOE_METHODS = ('vdd', 'em_data', 'em_teacher', 'winner')


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """The mixture of experts: VDD, or one of the methods it is compared with."""

    model: MixtureModel
    vdd: MixtureVdd
    batch: int
    """Windows per step."""
    cross_fit: CrossFitConfig = field(default_factory=CrossFitConfig)
    """If it has folds, 'vdd' learns from these futures instead of the one-step teacher's."""
    drawn: int = 2
    """Number of the one-step teacher's samples per window of the pool, computed once."""
    method: str = 'vdd'
    """'vdd', or the same network by maximum likelihood on recordings ('em_data') or on the
    teacher's samples ('em_teacher'), or by the nearest expert alone, on recordings ('winner')."""
    likelihood_first: int = 0
    """Steps of maximum likelihood on recordings before the method's own ('em_teacher': on the
    teacher's samples). Experts that a likelihood has divided the recordings among keep this
    division, and a better likelihood, while the method moves them."""
    covariance_last: int = 0
    """Steps, after all others, in which only the covariances and the gate learn, by likelihood of
    recordings ('em_teacher': of the teacher's samples). If covariances that follow the history
    learned beside the means, they would explain what the means could explain."""
    plain_rank: int = 8
    """Rank of the covariances before these steps. It is then the same under all histories; these
    steps replace it by the rank and ``loading_width`` of the model."""
    together_last: int = 0
    """Steps, after those, in which everything learns together again, at a low rate."""
    together_best: float = 1.0
    """``best`` in those steps."""
    together_best_end: float = 1.5
    """``best_end`` in those steps."""
    together_fade: float = 1.0
    """``best_fade`` in those steps."""
    points_last: int = 0
    """Steps, after those, in which only the experts' points learn, by the nearest one; only if the
    model has a ``points_width``. The density stays as it is."""
    best: float = 0.0
    """Weight of the distance in metres of the nearest expert's mean from the real future, which
    best-of-S errors measure. Not in the paper; 'em_data' and 'em_teacher' have none."""
    best_end: float = 0.0
    """Weight of the same distance at the last instant, for the expert that is nearest there."""
    best_fade: float = 1.0
    """Share of themselves to which both weights fall linearly until the last step before
    ``covariance_last``. Early in the training, the nearest expert's term improves the likelihood
    of unseen people; late, it worsens it."""
    start: str = ''
    """Weights file of the same size to begin from, instead of fresh experts."""
    without: str = ''
    """Recordings whose action contains this text are left out of the training."""
    augmentation: Unknown = field(default_factory=Unknown)
    """The mixture's own variation, as SwiftDiff's; noised histories have no teacher."""

    def __post_init__(self) -> None:
        if self.method not in MOE_METHODS:
            raise ConfigError(f'method={self.method!r}: must be one of {MOE_METHODS}')
        _at_least(self, 1, 'batch', 'drawn', 'plain_rank')
        _at_least(self, 0, 'likelihood_first', 'covariance_last', 'together_last', 'points_last')
        for name in ('best_fade', 'together_fade'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must lie in 0..1')
        _at_least(self, 0.0, 'together_best', 'together_best_end', 'best', 'best_end')


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """The whole chain, with the settings that its stages share."""

    preset: str
    """Sizes and budgets: debug, small, balance or full."""
    pool: int
    """Number of augmented windows that are drawn and encoded once, and used again and again."""
    encoding: Encoding = field(default_factory=Encoding)
    """The encoding of motion for all models of the chain."""
    augmentation: Variation = field(default_factory=Variation)
    """Variation of windows for all stages."""
    teacher: TeacherConfig
    one_step: OneStepConfig
    swiftdiff: SwiftDiffConfig
    moe: MoeConfig
    whiten: bool = True
    """Whether every coefficient is scaled to unit variance (the paper: no)."""
    seed: int = 0
    """Seed of everything that is drawn."""

    def __post_init__(self) -> None:
        for stage in STAGES:  # this checks the types of the settings
            self.model_of(stage), self.augmentation_of(stage)

    def model_of(self, stage: str) -> ModelConfig:
        """
        Return the settings of a stage's model, as its weights file holds them.

        :param stage: one of STAGES, which are the models' roles.
        :raises ConfigError: if such a model is not possible.
        """
        seen = {part.name: getattr(self.encoding, part.name) for part in fields(Encoding)}
        size: dict[str, Any]
        more: dict[str, Any]
        if stage in ('teacher', 'one_step'):
            own = self.teacher.model
            size = {'architecture': 'transfusion', 'hidden_ratio': 2.0, **asdict(own.denoiser)}
            more = {'prediction': own.prediction}
            if stage == 'one_step':
                more['t_star'] = self.one_step.t_star
        elif stage == 'swiftdiff':
            student = self.swiftdiff
            size = {'hidden_ratio': 1.0, **asdict(student.model.denoiser)}
            if (kind := size['architecture']) not in ('mixer', 'flat'):
                raise ConfigError(f'architecture={kind!r}: must be mixer or flat')
            more = {
                'prediction': student.model.prediction,
                't_star': student.model.t_star,
                'join_s': JOIN_S,
                'mask': student.augmentation.hidden > 0.0,
            }
        else:
            size = {'architecture': 'experts', 'heads': 1, 'hidden_ratio': 1.0}
            size |= asdict(self.moe.model.denoiser)
            more = {'join_s': JOIN_S, 'mask': self.moe.augmentation.hidden > 0.0}
        return ModelConfig(role=stage, denoiser=DenoiserConfig(**size), **seen, **more)

    def augmentation_of(self, stage: str) -> Augmentation:
        """
        Return how a stage's windows are varied; the teachers' have neither noise nor other bones.

        :param stage: one of STAGES.
        """
        shared = asdict(self.augmentation)
        if stage in ('teacher', 'one_step'):
            return Augmentation(**shared)
        own = asdict(getattr(self, stage).augmentation)
        return Augmentation(**shared, **own, jitter_share=JITTER_SHARE)


as_plain = to_dict


def _at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= least:
            told = 'must not be negative' if least == 0 else f'must be at least {least}'
            raise ConfigError(f'{name}={getattr(config, name)}: {told}')
