# SPDX-License-Identifier: Apache-2.0
"""Parameters that dataclass fields declare, and records of their values."""

from __future__ import annotations

from dataclasses import dataclass, FrozenInstanceError

import pytest

from motion_predictor.ros.parameters import PARAMETERS, Settings
from motion_predictor.ros.parameters.fields import (
    group,
    parameter,
    parameters_of,
    replaced,
    value_of,
)
from motion_predictor.ros.parameters.parameter import ALWAYS


@dataclass(frozen=True, kw_only=True)
class Wheel:
    radius_m: float = parameter(0.3, unit='m', minimum=0.1, applies=ALWAYS)
    """
    From the axle
    to the ground.
    """
    spokes: int = parameter(36)


@dataclass(frozen=True, kw_only=True)
class Bicycle:
    bell: bool = parameter(True)
    """Whether it rings."""
    front: Wheel = group(Wheel)
    rear: Wheel = group(Wheel)


def test_names_are_dotted_and_descriptions_stand_below_the_fields() -> None:
    found = {p.name: p for p in parameters_of(Bicycle)}
    assert list(found) == [
        'bell', 'front.radius_m', 'front.spokes', 'rear.radius_m', 'rear.spokes',
    ]  # fmt: skip
    assert found['bell'].description == 'Whether it rings.'
    radius = found['rear.radius_m']
    assert radius.description == 'From the axle to the ground.'
    assert (radius.default, radius.unit, radius.minimum) == (0.3, 'm', 0.1)
    assert radius.applies == ALWAYS
    assert found['rear.spokes'].description == ''


def test_a_change_makes_another_record() -> None:
    before = Bicycle()
    after = replaced(before, {'bell': False, 'rear.spokes': 32})
    assert (after.bell, after.rear.spokes, after.front.spokes) == (False, 32, 36)
    assert before == Bicycle()
    assert after.front is before.front
    assert value_of(after, 'rear.spokes') == 32


def test_nothing_of_the_settings_can_be_set() -> None:
    settings = Settings()
    for declared in PARAMETERS:
        of: object = settings
        *groups, last = declared.name.split('.')
        for name in groups:
            of = getattr(of, name)
        with pytest.raises(FrozenInstanceError):
            setattr(of, last, declared.default)
