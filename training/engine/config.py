"""Settings of the chain's stages: frozen, checked, written to the run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig, to_dict, WindowConfig
from training.data.random_windows import Augmentation

STAGES = ('teacher', 'one_step', 'swiftdiff', 'moe')
JOIN_S = 0.3
"""Students join the future to the past within this, by a fade; a completion costs a transform."""
JITTER_SHARE = 0.5
"""Share of a student's windows whose history is noised: it has to know both kinds of tracker."""


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
    ema: float = 0.999
    compile: bool = False
    """Compile the network with torch.compile where a C++ compiler is found."""
    bf16: bool = True
    """Autocast to bfloat16 where the device multiplies it in hardware."""
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
    """How all models of a chain see motion: they share one pool, and one is asked for another."""

    window: WindowConfig = field(default_factory=WindowConfig)
    skeleton: str = 'h36m17'
    """Name of the skeleton; that of the recordings, whatever is said here."""
    condition: str = 'observed'
    """'padded': DCT of the window padded with the last pose (TransFusion); 'observed': DCT of
    the observed frames alone."""
    condition_keep: int = 12
    """How many frequencies of the observed part are given when condition is 'observed'."""
    residual: bool = True
    """Diffuse the difference from the padded window instead of the window itself."""
    heading: str = 'own'
    """'own': windows are turned until the person faces +x; 'input': they keep the input's axes,
    and training has to show every heading (``augmentation.turn``)."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How the training windows of all stages are varied."""

    mirror: float = 0.5
    """Probability of mirroring, left and right joints swapped; 0 for a skeleton without sides."""
    scale: float = 0.1
    """Body and path scaled by a factor in 1 - scale .. 1 + scale."""
    speed: float = 0.25
    """Played faster or slower by a factor in 1 / (1 + speed) .. 1 + speed."""
    speed_share: float = 0.5
    """Share of windows played at another speed."""
    turn: float = 0.0
    """Probability of turning the whole window about the vertical, by any angle; of no effect
    where the model turns it back (``encoding.heading`` 'own')."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """People and trackers that the recordings lack, for a student."""

    bones: float = 0.1
    """Every bone scaled by a factor of its own in 1 - bones .. 1 + bones, both sides alike."""
    jitter_m: float = 0.02
    """Largest deviation of the noise on observed joints, in metres."""
    hidden: float = 0.0
    """Share of windows in which some joints are never seen; above 0, the network is told which."""


@dataclass(frozen=True, kw_only=True)
class TransfusionSize:
    """Size of the teacher's network, which is the one-step teacher's too."""

    width: int
    depth: int
    heads: int
    dropout: float


@dataclass(frozen=True, kw_only=True)
class TeacherModel:
    """The teacher's network and what it gives."""

    denoiser: TransfusionSize
    prediction: str = 'v'
    """What the network gives: the noise 'eps', the clean 'x0', or the velocity 'v'."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The diffusion teacher's training."""

    model: TeacherModel
    optim: OptimConfig
    unconditional: float = 0.0
    """Probability that a whole batch trains without condition (the paper: 0.2)."""
    metric_weight: float = 1.0
    """The loss weighs a coefficient by its scale to this power: 0 alike, 2 as in metres; that of
    stage 1 too."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.unconditional <= 1.0:
            raise ConfigError(f'unconditional={self.unconditional}: must lie in 0..1')
        _at_least(self, 0.0, 'metric_weight')


@dataclass(frozen=True, kw_only=True)
class OneStepConfig:
    """Stage 1: the teacher's DDIM in one pass of its own architecture."""

    optim: OptimConfig
    teacher_steps: int = 100
    """DDIM steps behind a target."""
    pairs: int
    """Pairs of noise and DDIM end point, each with its window, that are made once and kept."""
    t_star: int = 991
    """Level at which it starts from pure noise."""

    def __post_init__(self) -> None:
        _at_least(self, 1, 'pairs', 'teacher_steps')


@dataclass(frozen=True, kw_only=True)
class StudentSize:
    """Size of SwiftDiff's network."""

    architecture: str
    """'mixer' (SwiftDiff as published: MLPs over tokens and over channels), or 'flat' (for CPUs:
    MLPs over all coefficients at once, the history embedded once for all samples)."""
    width: int
    depth: int
    dropout: float
    condition_width: int = 384
    """Width of the flat network's branch for the history; a mixer ignores it."""
    condition_depth: int = 2
    """Blocks of that branch."""


@dataclass(frozen=True, kw_only=True)
class StudentModel:
    """SwiftDiff's network and what it gives."""

    denoiser: StudentSize
    prediction: str = 'x0'
    """As the teacher's."""
    t_star: int = 991
    """Level at which it starts from pure noise."""


@dataclass(frozen=True, kw_only=True)
class SwiftDiffConfig:
    """Stage 2: the one-step teacher into the MLP-only student, and ahead of it."""

    model: StudentModel
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
    augmentation: Unknown = field(default_factory=Unknown)
    """The student's own, beside the chain's. The teachers know clean histories alone and are
    asked about those alone; what noise hides the real future teaches."""
    start: str = ''
    """Weights file of a student of the same size to go on from instead of random weights."""

    def __post_init__(self) -> None:
        if not 1 <= self.matched <= self.samples:
            raise ConfigError(f'matched={self.matched}: must lie in 1..{self.samples} (samples)')
        _at_least(self, 0.0, 'match', 'match_ddim', 'real', 'spread')
        _at_least(self, 1, 'pairs')


@dataclass(frozen=True, kw_only=True)
class CrossFitOptim:
    """How each fold's diffusion model is fitted."""

    steps: int = 5_000
    batch: int = 512
    warmup_steps: int = 500
    ema: float = 0.9995

    def __post_init__(self) -> None:
        _at_least(self, 1, 'steps', 'batch')


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
    """Experts E."""
    latent: int
    """N, main directions of the state that the mixture is over."""
    rank: int
    """R of the covariances, diagonal plus low rank."""
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
    """What the terms of VDD weigh in the mixture's training, and what a step costs."""

    steps: int
    """Of the method before the last parts; 0: it has the last steps of all alone."""
    samples: int
    """Reparametrised samples of an expert a step."""
    experts_a_step: int = 0
    """Experts drawn for each step; 0: all of them."""
    conditions_a_step: int = 0
    """Conditions of a batch for which the score is asked, the first ones; 0: all of them."""
    reverse: float = 0.05
    """Weight of the experts' bound, by the teacher's score."""
    forward: float = 0.4
    """Weight of the log likelihood of the teacher's samples."""
    forward_end: float = 0.4
    """It moves linearly to this."""
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
    and a better likelihood, while the method moves them."""
    covariance_last: int = 0
    """Steps, after all others, in which the covariances and the gate alone learn, by likelihood of
    recordings ('em_teacher': of the teacher's samples). Covariances that follow the history and
    learn beside the means take over what the means could tell."""
    plain_rank: int = 8
    """Of the covariances before that: their low-rank part is the same under all histories, and is
    made anew for those steps, with the rank and ``loading_width`` of the model."""
    together_last: int = 0
    """Steps, after those, in which everything learns together once more, at a low rate."""
    together_best: float = 1.0
    """``best`` in those steps."""
    together_best_end: float = 1.5
    """``best_end`` in those steps."""
    together_fade: float = 1.0
    """``best_fade`` in those steps."""
    points_last: int = 0
    """Steps, after those, in which the experts' points alone learn, by the nearest one, weighed as
    before; only where the model has a ``points_width``. The density stays as it is."""
    best: float = 0.0
    """Weight of the nearest expert's distance from the real future, in metres, by its mean: what
    best-of-S errors measure. Not in the paper; 'em_data' and 'em_teacher' go without."""
    best_end: float = 0.0
    """As ``best``, at the last instant, by the expert that is the nearest there."""
    best_fade: float = 1.0
    """Both fall linearly to this share of themselves at the last step before ``covariance_last``:
    early the nearest expert's term helps the likelihood of people not seen, late it is in its
    way."""
    start: str = ''
    """Weights file to begin from instead of fresh experts, of the same size."""
    without: str = ''
    """Recordings whose action contains this are left out of the training."""
    augmentation: Unknown = field(default_factory=Unknown)
    """The mixture's own, as SwiftDiff's: behind noise the recording stands in for the teachers."""

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
    """The whole chain with what its stages share."""

    preset: str
    """Sizes and budgets: debug, small, balance or full."""
    pool: int
    """Augmented windows that are drawn and encoded once, and trained on again and again."""
    encoding: Encoding = field(default_factory=Encoding)
    """How all models of the chain see motion."""
    augmentation: Variation = field(default_factory=Variation)
    """How windows are varied, for all stages."""
    teacher: TeacherConfig
    one_step: OneStepConfig
    swiftdiff: SwiftDiffConfig
    moe: MoeConfig
    whiten: bool = True
    """Scale every coefficient to unit variance (the paper: no)."""
    seed: int = 0
    """Of all that is drawn."""

    def __post_init__(self) -> None:
        for stage in STAGES:  # which checks what they are of
            self.model_of(stage), self.augmentation_of(stage)

    def model_of(self, stage: str) -> ModelConfig:
        """
        Return the settings of a stage's model, as its weights file holds them.

        :param stage: one of STAGES, which are the models' roles.
        :raises ConfigError: if there can be no such model.
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
