# SPDX-License-Identifier: Apache-2.0
"""Settings of the window, the networks and a deployed model: frozen and checked when made."""

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
ENGINES = ('auto', 'fp32', 'bf16', 'onnx')
"""Number formats in which a predictor can run its network."""


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ConfigError(f'{name}={value!r}: must {rule}')


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Number of frames that a model observes and predicts, and their rate."""

    rate_hz: float = 50.0
    """Rate of the model in frames per second; poses are resampled to it."""
    observed_frames: int = 25
    """Number of observed frames, T_obs."""
    future_frames: int = 100
    """Number of predicted frames, T_fut."""
    dct_keep: int = 20
    """Number of the lowest temporal frequencies that are kept of the whole window, K."""

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
        """Return the number of frames of the whole window, T = T_obs + T_fut."""
        return self.observed_frames + self.future_frames

    @property
    def period_s(self) -> float:
        """Return the time from one frame to the next, seconds."""
        return 1.0 / self.rate_hz

    @property
    def observed_s(self) -> float:
        """Return the time from the first observed frame to the last, seconds."""
        return (self.observed_frames - 1) / self.rate_hz

    @property
    def horizon_s(self) -> float:
        """Return the time from the last observed frame to the last predicted one, seconds."""
        return self.future_frames / self.rate_hz


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Architecture and size of a network."""

    architecture: str
    """'transfusion' (attention, long skips, time step), 'mixer' (SwiftDiff as published: MLPs over
    tokens and over channels), 'flat' (SwiftDiff for CPUs: MLPs over all coefficients at once,
    which embed the history once for all samples) or 'experts' (an MLP that outputs a mixture of
    Gaussians)."""
    width: int
    depth: int
    heads: int = 8
    """Number of attention heads; the MLPs have none and ignore it."""
    hidden_ratio: float = 2.0
    """Width of the feed-forward layers over the width (TransFusion 2, SwiftDiff 1)."""
    dropout: float = 0.2
    condition_width: int = 384
    """Width of the flat network's branch for the history; the other networks ignore it."""
    condition_depth: int = 2
    """Number of blocks of that branch."""
    experts: int = 0
    """Number of experts of the mixture, E; only 'experts' uses this and the following fields."""
    latent: int = 0
    """Number of main directions of the state in which the mixture is defined, N."""
    rank: int = 0
    """Rank of the low-rank part of the covariances, R; the other part is diagonal."""
    loading_width: int = 0
    """Width of the layer that adapts the low-rank part to the history; 0: the part is the same
    under all histories."""
    points_width: int = 0
    """Width of the layers that give each expert a point of its own, which represents it among the
    futures, while its mean serves the density alone; 0: the mean represents it."""

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
    """All settings that determine a model's arithmetic; they are stored in its weights file."""

    role: str
    """'teacher' (many steps), 'one_step' (the same network in one step), 'swiftdiff', or 'moe' (a
    mixture of experts by Variational Diffusion Distillation)."""
    denoiser: DenoiserConfig
    window: WindowConfig = field(default_factory=WindowConfig)
    skeleton: str = 'h36m17'
    prediction: str = 'v'
    """The quantity that the network outputs: the noise 'eps', the clean state 'x0', or the
    velocity 'v'."""
    condition: str = 'observed'
    """'padded': the DCT of the window padded with the last pose (TransFusion); 'observed': the DCT
    of the observed frames alone."""
    condition_keep: int = 12
    """Number of frequencies of the observed frames in the condition, if condition is
    'observed'."""
    mask: bool = False
    """Whether the condition has one more row, which marks joints that were never seen: 1 in all
    three channels of such a joint, otherwise 0. These joints are completed, see
    :mod:`motion_predictor.body.completion`."""
    residual: bool = True
    """Whether the difference from the padded window is diffused instead of the window itself."""
    heading: str = 'own'
    """'own': windows are turned so that the person faces +x; 'input': windows keep the input's
    axes, and the training has to show every heading (``Augmentation.turn``)."""
    join_s: float = 0.0
    """How the future is joined to the past. 0: by TransFusion's completion. Above 0: the
    difference between the last observed pose and the decoded one fades with this time constant, in
    seconds."""
    diffusion_steps: int = 1000
    t_star: int = 991
    """Diffusion step at which a one-step model starts from pure noise."""
    temperature: float = 1.0
    """Standard deviation of the noise from which a one-step model predicts; for a mixture, a
    factor on the deviations of its experts. Above 1 the samples differ more. It is chosen after
    training, on people that the model was not trained on."""
    spread: float = 1.0
    """Factor on the distances of a mixture's means from their weighted mean; chosen with the
    temperature. 1 for other roles."""
    apart: float = 1.0
    """Further factor on those distances, for the futures that represent a mixture's experts; the
    density stays (:meth:`GaussianMixture.ranked`). 1 for other roles."""

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
        """Return the number of rows of the condition, C."""
        rows = self.window.dct_keep if self.condition == 'padded' else self.condition_keep
        return rows + self.mask


def to_dict(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as plain JSON-able values."""
    return asdict(settings)


def from_dict(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """
    Build a settings dataclass from plain values.

    :raises ConfigError: if names are unknown or missing, or if values are out of range.
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
    # Only plain kinds are accepted; a number in a file may have any size.
    wanted = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(kind)  # type: ignore[call-overload]
    if wanted is None:
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f'{name}={value!r:.60}: expected {kind.__name__}')  # type: ignore[attr-defined]
    if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:  # this also refuses NaN
        raise ConfigError(f'{name}={value!r:.60}: out of range')
