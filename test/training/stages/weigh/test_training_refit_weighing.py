# SPDX-License-Identifier: Apache-2.0
"""Gate and radii of a fine-tuned model go on from the original's, on what it has not learnt."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import walking

from motion_predictor.model.weights import default_weights, load_weights
from training.stages.weigh.refit_weighing import FEWEST, refit


@pytest.mark.slow
def test_a_short_recording_keeps_gate_and_radii_as_they_were() -> None:
    loaded = load_weights(default_weights())
    found, moments = refit(loaded.model, loaded.weighing, [walking(400, 0)], samples=4)
    assert moments == 0
    assert found is loaded.weighing
    assert refit(loaded.model, None, [walking(4000, 0)]) == (None, 0)


@pytest.mark.slow
def test_a_longer_one_moves_them_a_little_and_never_narrows_what_is_rare() -> None:
    loaded = load_weights(default_weights())
    before = loaded.weighing
    assert before is not None
    assert before.gate is not None
    assert before.radius is not None
    clips = [walking(1400, seed) for seed in range(3)]
    found, moments = refit(loaded.model, before, clips, samples=4)
    assert moments >= FEWEST
    assert found is not None
    assert found.gate is not None
    assert found.radius is not None
    moved = np.abs(found.gate.output - before.gate.output)
    assert 0.0 < moved.max() < 1.0
    assert (found.gate.mean == before.gate.mean).all()
    assert (found.gate.trust >= 0.0).all()
    levels = np.array(found.radius.levels)
    rare = levels >= 0.99
    assert (found.radius.factor[rare] >= before.radius.factor[rare]).all()
    assert found.facts['refitted_on_own_moments'] == moments
    found.check(loaded.model.config.window, loaded.model.skeleton)
