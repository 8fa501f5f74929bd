"""Settings of the window, the networks and a deployed model: frozen, checked once when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints, TypeVar

from motion_predictor.errors import ConfigError

Settings = TypeVar('Settings')

ROLES = ('teacher', 'one_step', 'swiftdiff', 'moe')
ARCHITECTURES = ('transfusion', 'mixer', 'flat', 'experts')
PREDICTIONS = ('eps', 'x0', 'v')
CONDITIONS = ('padded', 'observed')
HEADINGS = ('own', 'input')
ENGINES = ('auto', 'fp32', 'bf16')
"""How a predictor executes its network."""


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ConfigError(f'{name}={value!r}: must {rule}')


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """What a model sees and predicts, in frames at its own rate."""

    rate_hz: float = 50.0
    """Frames per second after resampling."""
    observed_frames: int = 25
    """T_obs."""
    future_frames: int = 100
    """T_fut."""
    dct_keep: int = 20
    """K, the lowest temporal frequencies kept of the whole window."""

    def __post_init__(self) -> None:
        _require(1.0 <= self.rate_hz <= 1000.0, 'rate_hz', self.rate_hz, 'lie in 1..1000')
        for name in ('observed_frames', 'future_frames'):
            value = getattr(self, name)
            _require(2 <= value <= 2000, name, value, 'lie in 2..2000')
        _require(
            1 <= self.dct_keep <= self.total_frames,
            'dct_keep',
            self.dct_keep,
            f'lie in 1..{self.total_frames}',
        )

    @property
    def total_frames(self) -> int:
        """T = T_obs + T_fut."""
        return self.observed_frames + self.future_frames

    @property
    def period_s(self) -> float:
        """Seconds from one frame to the next."""
        return 1.0 / self.rate_hz

    @property
    def observed_s(self) -> float:
        """Seconds from the first observed frame to the last."""
        return (self.observed_frames - 1) / self.rate_hz

    @property
    def horizon_s(self) -> float:
        """Seconds from the last observed frame to the last predicted one."""
        return self.future_frames / self.rate_hz


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Size of a network."""

    architecture: str
    """'transfusion' (attention, long skips, time step), 'mixer' (SwiftDiff as published: MLPs
    over tokens and over channels), 'flat' (SwiftDiff for CPUs: MLPs over all coefficients at
    once, the history embedded once for all samples) or 'experts' (an MLP that gives a mixture
    of Gaussians)."""
    width: int
    depth: int
    heads: int = 8
    """Attention heads; the MLPs have none and ignore it."""
    hidden_ratio: float = 2.0
    """Feed-forward width over width (TransFusion 2, SwiftDiff 1)."""
    dropout: float = 0.2
    condition_width: int = 384
    """Width of the flat network's branch for the history; the others ignore it."""
    condition_depth: int = 2
    """Blocks of that branch."""
    experts: int = 0
    """Experts E of the mixture; this and the following belong to 'experts' alone."""
    latent: int = 0
    """N, main directions of the state that the mixture is over."""
    rank: int = 0
    """R of the covariances, diagonal plus low rank."""
    loading_width: int = 0
    """Width of the layer by which their low-rank part follows the history; 0: it is the same under
    all histories."""
    points_width: int = 0
    """Width of the layers that give each expert a point that stands for it among the futures, its
    mean being the density's alone; 0: the mean stands for it."""

    def __post_init__(self) -> None:
        _require(
            self.architecture in ARCHITECTURES,
            'architecture',
            self.architecture,
            f'be one of {ARCHITECTURES}',
        )
        _require(8 <= self.width <= 4096, 'width', self.width, 'lie in 8..4096')
        _require(1 <= self.depth <= 64, 'depth', self.depth, 'lie in 1..64')
        _require(
            self.heads >= 1 and self.width % self.heads == 0,
            'heads',
            self.heads,
            f'divide width={self.width}',
        )
        _require(
            0.1 <= self.hidden_ratio <= 8.0, 'hidden_ratio', self.hidden_ratio, 'lie in .1..8'
        )
        _require(0.0 <= self.dropout < 1.0, 'dropout', self.dropout, 'lie in 0..1')
        width, depth = self.condition_width, self.condition_depth
        _require(8 <= width <= 4096, 'condition_width', width, 'lie in 8..4096')
        _require(0 <= depth <= 64, 'condition_depth', depth, 'lie in 0..64')
        mixture = self.architecture == 'experts'
        for name, largest in (('experts', 1024), ('latent', 4096), ('rank', 256)):
            value = getattr(self, name)
            low, high = (1, largest) if mixture else (0, 0)
            rule = f'lie in {low}..{high} with architecture={self.architecture!r}'
            _require(low <= value <= high, name, value, rule)
        largest = 4096 if mixture else 0
        rule = f'lie in 0..{largest} with architecture={self.architecture!r}'
        _require(0 <= self.loading_width <= largest, 'loading_width', self.loading_width, rule)
        _require(0 <= self.points_width <= largest, 'points_width', self.points_width, rule)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes a model's arithmetic; travels in its weights file."""

    role: str
    """'teacher' (many steps), 'one_step' (same network, one step), 'swiftdiff', or 'moe' (a
    mixture of experts by Variational Diffusion Distillation)."""
    denoiser: DenoiserConfig
    window: WindowConfig = field(default_factory=WindowConfig)
    skeleton: str = 'h36m17'
    prediction: str = 'v'
    """What the network gives: the noise 'eps', the clean 'x0', or the velocity 'v'."""
    condition: str = 'observed'
    """'padded': DCT of the window padded with the last pose (TransFusion); 'observed': DCT of
    the observed frames alone."""
    condition_keep: int = 12
    """How many frequencies of the observed part are given when condition is 'observed'."""
    mask: bool = False
    """Whether the condition has one row more, which marks the joints that were never seen: 1 in
    all three of such a joint's channels, else 0. Those joints are completed, see
    :mod:`motion_predictor.body.completion`."""
    residual: bool = True
    """Diffuse the difference from the padded window instead of the window itself."""
    heading: str = 'own'
    """'own': windows are turned until the person faces +x; 'input': they keep the input's axes,
    and training has to show every heading (``Augmentation.turn``)."""
    join_s: float = 0.0
    """How the future is joined to the past. 0: by TransFusion's completion, once. Above 0: the
    difference between the last observed pose and the decoded one fades within this time."""
    diffusion_steps: int = 1000
    t_star: int = 991
    """Level at which a one-step model starts from pure noise."""
    temperature: float = 1.0
    """Deviation of the noise that a one-step model starts from when it predicts; of a mixture,
    what its experts' deviations are multiplied by. Above 1 the samples differ more; chosen after
    training, on people it was not trained on."""
    spread: float = 1.0
    """What the distances of a mixture's means from their mean by weight are multiplied by; chosen
    with the temperature. 1 for other roles."""
    apart: float = 1.0
    """What those of a mixture's futures that stand for its experts are moved apart by beyond that,
    the density staying as it is (:meth:`GaussianMixture.ranked`). 1 for other roles."""

    def __post_init__(self) -> None:
        _require(self.role in ROLES, 'role', self.role, f'be one of {ROLES}')
        _require(
            self.prediction in PREDICTIONS,
            'prediction',
            self.prediction,
            f'be one of {PREDICTIONS}',
        )
        _require(
            self.condition in CONDITIONS, 'condition', self.condition, f'be one of {CONDITIONS}'
        )
        _require(self.heading in HEADINGS, 'heading', self.heading, f'be one of {HEADINGS}')
        _require(
            1 <= self.condition_keep <= self.window.observed_frames,
            'condition_keep',
            self.condition_keep,
            f'lie in 1..{self.window.observed_frames} (observed_frames)',
        )
        _require(0.0 <= self.join_s <= 10.0, 'join_s', self.join_s, 'lie in 0..10 seconds')
        _require(
            10 <= self.diffusion_steps <= 10_000,
            'diffusion_steps',
            self.diffusion_steps,
            'lie in 10..10000',
        )
        _require(
            0 < self.t_star < self.diffusion_steps,
            't_star',
            self.t_star,
            f'lie in 1..{self.diffusion_steps - 1}',
        )

        _require(0.1 <= self.temperature <= 10.0, 'temperature', self.temperature, 'lie in .1..10')
        mixture = self.denoiser.architecture == 'experts'
        low, high = (0.1, 10.0) if mixture else (1.0, 1.0)
        rule = f'lie in {low:g}..{high:g} with role={self.role!r}'
        _require(low <= self.spread <= high, 'spread', self.spread, rule)
        _require(low <= self.apart <= high, 'apart', self.apart, rule)
        _require(
            mixture == (self.role == 'moe'),
            'role',
            self.role,
            f"be 'moe' with architecture 'experts' alone, found {self.denoiser.architecture!r}",
        )

    @property
    def condition_rows(self) -> int:
        """Rows C of the condition."""
        rows = self.window.dct_keep if self.condition == 'padded' else self.condition_keep
        return rows + self.mask


def to_dict(settings: Any) -> dict[str, Any]:
    """Turn a settings dataclass into plain JSON-able values."""
    return asdict(settings)


def from_dict(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """
    Build a settings dataclass from plain values, refusing what it does not know.

    :raises ConfigError: on unknown or missing names, or values out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f'{cls.__name__}: expected named values, got {type(values).__name__}')
    known = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f'{cls.__name__}: unknown settings {unknown}; known are {sorted(known)}')
    kinds = get_type_hints(cls)
    parsed = {
        name: from_dict(kinds[name], value)
        if is_dataclass(kinds[name]) and isinstance(value, Mapping)
        else value
        for name, value in values.items()
    }
    for name, value in parsed.items():
        _require_type(f'{cls.__name__}.{name}', value, kinds[name])
    try:
        return cls(**parsed)
    except TypeError as error:
        raise ConfigError(f'{cls.__name__}: {error}') from None


def _require_type(name: str, value: object, kind: object) -> None:
    # Of the plain kinds alone; what a file gives for a number may be of any size.
    wanted = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(kind)  # type: ignore[call-overload]
    if wanted is None:
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f'{name}={value!r:.60}: expected {kind.__name__}')  # type: ignore[attr-defined]
    if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:  # NaN fails too
        raise ConfigError(f'{name}={value!r:.60}: out of range')
