# SPDX-License-Identifier: Apache-2.0
"""The record of all values: its defaults, its checks, and changes."""

from __future__ import annotations

import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters import PARAMETERS, Settings
from motion_predictor.track.limits import HistoryLimits, PeopleLimits


def test_every_default_passes_its_own_check() -> None:
    settings = Settings.from_values({})
    assert settings.samples == 50
    assert settings.output.step_s == 0.1
    assert settings.input.topics == ('skeleton',)


def test_names_are_unique_and_every_one_is_described() -> None:
    names = [parameter.name for parameter in PARAMETERS]
    assert len(set(names)) == len(names)
    assert all(parameter.description.endswith('.') for parameter in PARAMETERS)


@pytest.mark.parametrize(
    'values, words',
    [
        ({'samples': 0}, ['samples=0', '1 to 1000']),
        ({'samples': 'many'}, ['samples', 'integer', "'many'"]),
        ({'samples': True}, ['samples', 'integer']),
        ({'horizon_s': float('nan')}, ['horizon_s', '0.02 to 60']),
        ({'input.type': 'poses'}, ['input.type', 'pose_array, point_cloud, marker_array']),
        ({'model.engine': 'steam'}, ['model.engine', 'auto, fp32, bf16']),
        ({'input.topics': []}, ['input.topics', 'at least one']),
        ({'input.topics': ['a', 'a']}, ['input.topics', 'twice']),
        ({'input.topics': 'skeleton'}, ['input.topics', 'string array']),
        ({'input.rotation': [0.0, 0.0]}, ['input.rotation', '3 or 4']),
        ({'input.rotation': [0.0, 0.0, 0.0, 2.0]}, ['input.rotation', 'length 1']),
        (
            {'input.rotation': [1.57, 0.0, 0.0], 'target_frame': 'map'},
            ['input.rotation', 'target_frame', 'one of them'],
        ),
        ({'output.step_s': 3.0}, ['output.step_s=3', 'horizon_s=2']),
        ({'sample': 5}, ['sample:', 'did you mean samples?']),
    ],
)
def test_a_bad_value_is_refused_with_name_value_and_remedy(
    values: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings.from_values(values)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_whole_number_will_do_for_a_double() -> None:
    assert Settings.from_values({'rate_limit_hz': 30}).rate_limit_hz == 30.0


def test_defaults_are_those_of_the_histories() -> None:
    settings, online, history = Settings.from_values({}), PeopleLimits(), HistoryLimits()
    for name in ('max_joint_gap_s', 'min_observed_s'):
        assert getattr(settings, name) == getattr(history, name)
    for name in (
        'stale_timeout_s', 'max_future_s', 'jump_back_s', 'reassociate_within_m',
        'reassociate_within_s',
    ):  # fmt: skip
        assert getattr(settings, name) == getattr(online, name)
    assert settings.input.min_confidence == online.min_confidence


def test_a_text_of_absurd_length_is_refused_in_few_words() -> None:
    for name, value in (('target_frame', 'x' * 1_000_000), ('input.topics', ['x' * 5_000])):
        with pytest.raises(ConfigError, match=f'{name}=.*characters; at most 4096') as refused:
            Settings.from_values({name: value})
        assert len(str(refused.value)) < 200


def test_a_change_is_checked_and_leaves_the_former_settings_as_they_were() -> None:
    before = Settings.from_values({'samples': 7})
    after = before.changed({'moments.coverage': 0.5, 'input.topics': ['a', 'b']})
    assert (after.samples, after.moments.coverage, after.input.topics) == (7, 0.5, ('a', 'b'))
    assert before == Settings.from_values({'samples': 7})
    with pytest.raises(ConfigError, match=r'output\.step_s=0.1: must not exceed horizon_s=0.05'):
        after.changed({'horizon_s': 0.05})


def test_values_that_exclude_each_other_make_no_record_at_all() -> None:
    with pytest.raises(ConfigError, match=r'output\.step_s=0.1: must not exceed horizon_s=0.05'):
        Settings(horizon_s=0.05)
