# SPDX-License-Identifier: Apache-2.0
"""How many settings there are, and that those of former releases are read or refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import from_dict
from training.engine.config import as_plain, ChainConfig, STAGES
from training.engine.overrides import CONSTANTS, MOVED, override, renewed, value_now
from training.engine.presets import preset, PRESETS
from training.engine.runs import open_stage, Run

MOST = 130
"""Settings of the chain; there were 273."""
HIDDEN = 0.5
"""Share of a student's windows with hidden joints, which no former release knew."""


def leaves(settings: Mapping[str, Any], above: str = '') -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f'{above}{name}.')
        else:
            yield f'{above}{name}'


def put(settings: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split('.')
    for group in groups:
        settings = settings.setdefault(group, {})
    settings[last] = value


def as_formerly(chain: ChainConfig) -> dict[str, Any]:
    """Write settings as the release before this one did."""
    plain = as_plain(chain)
    for name in (*CONSTANTS, *MOVED):
        put(plain, name, value_now(chain, name)[1])
    del plain['encoding'], plain['one_step']['t_star']
    for student in ('swiftdiff', 'moe'):
        assert plain[student]['augmentation'].pop('hidden') in (0.0, HIDDEN)
    return json.loads(json.dumps(plain))


@pytest.mark.parametrize('name', PRESETS)
def test_the_chain_has_few_settings(name: str) -> None:
    assert len(list(leaves(as_plain(preset(name))))) <= MOST


@pytest.mark.parametrize('name', PRESETS)
def test_settings_of_the_former_release_are_read(name: str) -> None:
    formerly = as_formerly(preset(name))
    assert len(list(leaves(formerly))) == 273
    now = preset(name)
    read = from_dict(ChainConfig, renewed(formerly))
    seen = replace(now.swiftdiff.augmentation, hidden=0.0)  # nobody was half seen then
    assert read == replace(now, swiftdiff=replace(now.swiftdiff, augmentation=seen))


def test_settings_of_this_release_are_left_as_they_are() -> None:
    plain = as_plain(preset('small'))
    assert renewed(plain) == plain


def test_models_of_a_former_chain_that_see_motion_otherwise_move_to_the_encoding() -> None:
    formerly = as_formerly(preset('debug'))
    for stage in STAGES:
        formerly[stage]['model']['condition'] = 'padded'
    assert from_dict(ChainConfig, renewed(formerly)).encoding.condition == 'padded'
    formerly['one_step']['model']['condition'] = 'observed'
    with pytest.raises(ConfigError, match=r"one_step\.model\.condition='observed': is encoding"):
        renewed(formerly)


@pytest.mark.parametrize(
    'name,value',
    [('moe.vdd.noised', False), ('teacher.min_snr', 5.0), ('swiftdiff.model.join_s', 0.1)],
)
def test_another_value_of_what_is_a_constant_now_is_refused_by_name(name: str, value: Any) -> None:
    formerly = as_formerly(preset('debug'))
    put(formerly, name, value)
    with pytest.raises(ConfigError, match=f'{name}={value}: no setting any more'):
        renewed(formerly)


def test_a_former_setting_may_be_named_with_the_value_that_it_has_now() -> None:
    chain = preset('debug')
    same = {
        'moe.vdd.temperature': '30', 'teacher.model.window.rate_hz': '50',
        'one_step.model.denoiser.width': '32', 'moe.augmentation.jitter_share': '0.5',
    }  # fmt: skip
    assert override(chain, same) == chain
    with pytest.raises(ConfigError, match=r'moe\.vdd\.temperature=1\.0: no setting any more'):
        override(chain, {'moe.vdd.temperature': '1'})
    with pytest.raises(ConfigError, match=r'is encoding\.condition_keep now, which is 12'):
        override(chain, {'moe.model.condition_keep': '8'})


def test_a_run_of_the_former_release_goes_on_and_one_with_a_constant_changed_does_not(
    tmp_path: Path,
) -> None:
    chain = preset('debug')
    run = Run(tmp_path, (), 'cpu', ('teacher',))
    open_stage(run, chain, 'teacher')
    file = tmp_path / 'teacher' / 'config.json'
    written = json.loads(file.read_text())
    formerly = {
        name: value
        for name, value in as_formerly(chain).items()
        if name not in ('one_step', 'swiftdiff', 'moe')
    }
    file.write_text(json.dumps({**written, 'settings': {'data': {}, **formerly}}))
    open_stage(run, chain, 'teacher')
    formerly['teacher']['velocity'] = 30.0
    file.write_text(json.dumps({**written, 'settings': {'data': {}, **formerly}}))
    with pytest.raises(ConfigError, match=r'other settings: teacher\.velocity=30\.0'):
        open_stage(run, chain, 'teacher')
