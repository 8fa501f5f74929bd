# SPDX-License-Identifier: Apache-2.0
"""What the soak injects and finds; the soak itself is run by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from tools.rig import Heard
from tools.soak.soak import Soak
from tools.soak.soak_faults import FAULTS, shuffled
from tools.soak.soak_hostile import HOSTILE
from tools.soak.soak_record import Frames, Run

STAMP_NS = 10**18


def test_every_kind_comes_once_a_round_and_has_a_name_of_its_own() -> None:
    every = (*FAULTS, *HOSTILE)
    names = [fault.name for fault in shuffled(np.random.default_rng(0), every)]
    assert sorted(names) == sorted({fault.name for fault in every})


def heard_by(soak: Soak, places: list[list[float]]) -> list[str]:
    """Tell a soak that waits for one good frame of a prediction, and give who was not served."""
    soak.frames = Frames()
    soak.frames.sent[STAMP_NS] = True
    soak.frames.waiting.append(STAMP_NS)
    soak.frames.roots[STAMP_NS] = np.array([1.0, 2.0, 0.9])
    soak.frames.frames_given.add('hall')
    where = np.array(places).reshape(-1, 3)
    numbers = tuple(range(len(where)))
    soak._heard(Heard(STAMP_NS, 'hall', STAMP_NS + 10**7, numbers, True, where))
    assert soak.frames.good_answered == 1
    return soak.frames.unserved


def test_a_prediction_without_the_good_person_is_found() -> None:
    soak = object.__new__(Soak)
    soak.unstamped, soak._begun_s, soak._run = [], 0.0, Run('crowd')
    assert heard_by(soak, [[9.0, 9.0, 0.9], [1.1, 2.1, 0.9]]) == []
    assert heard_by(soak, [[9.0, 9.0, 0.9]]) == ['crowd: 10.6 m']
