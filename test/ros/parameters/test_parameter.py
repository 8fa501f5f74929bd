# SPDX-License-Identifier: Apache-2.0
"""What a parameter takes, and in which words it refuses the rest."""

from __future__ import annotations

import math

import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters.parameter import AT_START, Parameter

RATE = Parameter(name='rate_hz', default=5.0, description='', minimum=0.1, maximum=9.0)
COUNT = Parameter(name='count', default=2, description='', minimum=0)
POINT = Parameter(name='point_m', default=(0.0, 0.0, 0.0), description='', lengths=(3,))
WORD = Parameter(name='word', default='yes', description='', choices=('yes', 'no'))


def test_a_whole_number_becomes_a_double_and_a_list_a_tuple() -> None:
    assert isinstance(RATE.check(3), float)
    assert POINT.check([1, 2, 3.5]) == (1.0, 2.0, 3.5)


@pytest.mark.parametrize(
    'parameter, value, words',
    [
        (RATE, math.inf, 'rate_hz=inf: must be 0.1 to 9'),
        (RATE, '3', "rate_hz: expected double, got '3'"),
        (COUNT, -1, 'count=-1: must be at least 0'),
        (COUNT, 1.0, 'count: expected integer, got 1.0'),
        (POINT, [1.0], r'point_m=\[1.0\]: must be 3 numbers'),
        (POINT, [1.0, math.nan, 0.0], r'point_m=.*: nan is not allowed in it'),
        (WORD, 'maybe', "word='maybe': must be one of yes, no"),
    ],
)
def test_a_bad_value_is_refused_in_these_words(
    parameter: Parameter, value: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        parameter.check(value)


def test_only_what_is_read_at_the_start_is_read_only() -> None:
    assert not RATE.read_only
    assert Parameter(name='x', default=True, description='', applies=AT_START).read_only
