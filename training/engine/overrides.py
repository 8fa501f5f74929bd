# SPDX-License-Identifier: Apache-2.0
"""Change settings by their dotted names, and read settings of former releases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from motion_predictor.errors import ConfigError

_SIZES = ('experts', 'latent', 'rank', 'loading_width', 'points_width')
_STAGES = ('teacher', 'one_step', 'swiftdiff', 'moe')
_STUDENTS = ('swiftdiff', 'moe')

CONSTANTS: Mapping[str, Any] = {
    **{
        f'{stage}.model.{name}': value
        for stage in _STAGES
        for name, value in (
            ('role', stage), ('diffusion_steps', 1000), ('temperature', 1.0), ('spread', 1.0),
            ('apart', 1.0), ('join_s', 0.3 if stage in _STUDENTS else 0.0),
        )
    },
    **{
        f'{stage}.model.denoiser.{name}': 0
        for stage in _STAGES if stage != 'moe' for name in _SIZES
    },
    **{
        f'{stage}.model.denoiser.{name}': value
        for stage in ('teacher', 'one_step')
        for name, value in (
            ('architecture', 'transfusion'), ('hidden_ratio', 2.0), ('condition_width', 384),
            ('condition_depth', 2),
        )
    },
    'teacher.model.t_star': 991,
    'swiftdiff.model.denoiser.heads': 8, 'swiftdiff.model.denoiser.hidden_ratio': 1.0,
    'moe.model.denoiser.architecture': 'experts', 'moe.model.denoiser.heads': 1,
    'moe.model.denoiser.hidden_ratio': 1.0, 'moe.model.denoiser.condition_depth': 2,
    'moe.model.prediction': 'v', 'moe.model.t_star': 991,
    **{
        f'{stage}.optim.{name}': value
        for stage in ('teacher', 'one_step', 'swiftdiff', 'moe.cross_fit')
        for name, value in (('weight_decay', 0.01), ('clip_norm', 1.0))
    },
    'augmentation.bones': 0.0, 'augmentation.jitter_m': 0.0, 'augmentation.jitter_share': 0.5,
    **{f'{stage}.augmentation.jitter_share': 0.5 for stage in _STUDENTS},
    'teacher.min_snr': 0.0, 'teacher.velocity': 0.0, 'teacher.completion': 'clean',
    'swiftdiff.spread_samples': 4, 'swiftdiff.root': 0.5, 'swiftdiff.frame_stride': 4,
    **{
        f'moe.vdd.{name}': value
        for name, value in (
            ('learning_rate', 2e-3), ('gate_learning_rate', 1e-3), ('gate_every', 2),
            ('gate', 'learned'), ('noised', True), ('path_gradient', True), ('low_begin', 0.3),
            ('high_begin', 0.6), ('low_end', 0.1), ('high_end', 0.3), ('anneal', 0.5),
            ('temperature', 30.0), ('warm', 0.0), ('winner', False), ('clip_norm', 30.0),
            ('ema', 0.998),
        )
    },
    'moe.cross_fit.dropout': 0.1, 'moe.cross_fit.lowest': 0.003,
    'moe.cross_fit.highest': 30_000.0,
    **{
        f'moe.cross_fit.optim.{name}': value
        for name, value in (
            ('accumulate', 1), ('learning_rate', 1e-3), ('compile', False), ('bf16', True),
            ('log_every', 50), ('save_every', 500),
        )
    },
    'moe.likelihood_rate': 2e-3, 'moe.likelihood_temperature': 30.0,
    'moe.together_rate': 4e-4, 'moe.points_rate': 2e-3,
    'moe.best_all': 0.05, 'moe.root': 0.5, 'moe.frame_stride': 4,
}  # fmt: skip
"""Settings of former releases with one value in all presets, and this value, which is now beside
the code that reads it."""

_ENCODING = (
    'skeleton', 'condition', 'condition_keep', 'residual', 'heading',
    *(f'window.{name}' for name in ('rate_hz', 'observed_frames', 'future_frames', 'dct_keep')),
)  # fmt: skip
MOVED: Mapping[str, str] = {
    **{f'{stage}.model.{name}': f'encoding.{name}' for stage in _STAGES for name in _ENCODING},
    **{
        f'one_step.model.{name}': f'teacher.model.{name}'
        for name in ('prediction', *(
            f'denoiser.{part}' for part in ('width', 'depth', 'heads', 'dropout')
        ))
    },
    'one_step.model.t_star': 'one_step.t_star',
    'one_step.metric_weight': 'teacher.metric_weight',
    **{
        f'{stage}.augmentation.{name}': f'augmentation.{name}'
        for stage in _STUDENTS for name in ('mirror', 'scale', 'speed', 'speed_share', 'turn')
    },
}  # fmt: skip
"""Settings of former releases that several stages had with the same value, each with the name of
the one setting that replaces them."""


def renewed(settings: Mapping[str, Any], config: Any = None) -> dict[str, Any]:
    """
    Convert nested settings of a former release.

    :param settings: the nested settings.
    :param config: further known settings, such as those of a study, which are left as they are.
    :returns: the present settings; settings of this release are left as they are.
    :raises ConfigError: if a setting that no longer exists has another value than all presets had.
    """
    flat = dict(_flat(settings))
    former = [name for name in flat if is_former(name) and not _has(config, name.split('.'))]
    found = {name: value for name, value in flat.items() if name not in former}
    for name in former:
        value = flat[name]
        if name in MOVED:
            _agree(name, value, MOVED[name], found.setdefault(MOVED[name], value))
        elif value != CONSTANTS[name]:
            raise ConfigError(_refusal(name, value))
    nested: dict[str, Any] = {}
    for name, value in found.items():
        *groups, last = name.split('.')
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return nested


def is_former(name: str) -> bool:
    """Return whether only former releases have a setting."""
    return name in CONSTANTS or name in MOVED


def value_now(config: Any, name: str) -> tuple[bool, Any]:
    """
    Return the present value of a setting of a former release.

    :param config: settings of the chain.
    :param name: dotted name of the setting.
    :returns: whether it is known, and its value.
    """
    if name in CONSTANTS:
        return True, CONSTANTS[name]
    if name not in MOVED:
        return False, None
    for part in MOVED[name].split('.'):
        config = getattr(config, part)
    return True, config


def _agree(name: str, value: Any, now: str, other: Any) -> None:
    if value != other:
        raise ConfigError(f'{name}={value!r}: is {now} now, which is {other!r}')


def _refusal(name: str, value: Any) -> str:
    return f'{name}={value!r}: no setting any more; it is {CONSTANTS[name]!r} in all trainings'


def _flat(settings: Mapping[str, Any], above: str = '') -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f'{above}{name}.')
        else:
            yield f'{above}{name}', value


def override(config: Any, settings: Mapping[str, str]) -> Any:
    """
    Change settings by dotted names, for example ``teacher.optim.steps=100``.

    :param config: a settings dataclass, possibly nested.
    :param settings: values as text by dotted name, read as the type of the present value. A
        setting of a former release may be named with the value that it has everywhere now.
    :returns: a changed copy, checked again.
    :raises ConfigError: if a name is unknown or a value cannot be read.
    """
    for name, text in settings.items():
        if is_former(name) and not _has(config, name.split('.')):
            _require_as_now(config, name, text)
        else:
            config = _override_one(config, name, name.split('.'), text)
    return config


def _require_as_now(config: Any, name: str, text: str) -> None:
    _, now = value_now(config, name)
    value = _read(now, name, text)
    if name in MOVED:
        _agree(name, value, MOVED[name], now)
    elif value != now:
        raise ConfigError(_refusal(name, value))


def _has(config: Any, path: list[str]) -> bool:
    head, *rest = path
    known = head in getattr(config, '__dataclass_fields__', ())
    return known and (not rest or _has(getattr(config, head), rest))


def _override_one(config: Any, name: str, path: list[str], text: str) -> Any:
    head, *rest = path
    if not hasattr(config, '__dataclass_fields__') or head not in config.__dataclass_fields__:
        known = sorted(getattr(config, '__dataclass_fields__', {}))
        raise ConfigError(f'{name}: no setting {head!r}; there are {known}')
    old = getattr(config, head)
    if rest:
        return replace(config, **{head: _override_one(old, name, rest, text)})
    return replace(config, **{head: _read(old, name, text)})


def _read(old: Any, name: str, text: str) -> Any:
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
    return new
