# SPDX-License-Identifier: Apache-2.0
"""The temperature at which a model's samples differ as asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from random_models import save_random, save_recording

from motion_predictor.model.weights import load_weights
from studies.common.scorer import Scorer
from training.judge.temperature import HIGHEST, LOWEST, temperature_for


@pytest.mark.parametrize('wanted', [0.7, 1.0, 2.345, 4.0])
def test_the_lowest_in_hundredths_at_which_samples_differ_enough(wanted: float) -> None:
    asked: list[float] = []

    def apd(temperature: float) -> float:
        asked.append(temperature)
        return 2.0 * temperature**0.8

    found = temperature_for(apd, wanted)
    assert apd(found) >= wanted > apd(found - 0.011)
    assert found == pytest.approx(round(found, 2))
    assert len(asked) < 16  # each costs a scoring


def test_what_cannot_be_reached_ends_at_the_bounds() -> None:
    assert temperature_for(lambda t: t, 100.0) == HIGHEST
    assert temperature_for(lambda t: t, 0.01) == LOWEST


def test_students_are_scored_with_the_variety_asked_for_and_left_as_they_were(
    tmp_path: Path,
) -> None:
    val = save_recording(tmp_path / 'one' / 'val.npz', (120, 110))
    model = load_weights(save_random(tmp_path / 'swiftdiff.safetensors')).model
    model.config = replace(model.config, temperature=1.3)
    scorer = Scorer([val], model.config.window, limit=5, samples=8)
    own = scorer.variety(model)
    assert scorer(model)['one/val']['apd'] == pytest.approx(own, rel=1e-5)
    scores, temperature = scorer.as_varied(model, own)
    assert temperature == pytest.approx(1.3, abs=0.011)
    assert scores['one/val']['apd'] >= own * (1.0 - 1e-6)
    less, lower = scorer.as_varied(model, 0.8 * own)
    assert less['one/val']['apd'] == pytest.approx(0.8 * own, rel=0.02)
    assert lower < temperature
    assert model.config.temperature == 1.3
    assert scorer.variety(model) == own


def test_a_teachers_samples_have_a_variety_too(tmp_path: Path) -> None:
    val = save_recording(tmp_path / 'one' / 'val.npz', (120,))
    model = load_weights(save_random(tmp_path / 'teacher.safetensors', 'teacher')).model
    scorer = Scorer([val], model.config.window, limit=3, samples=4)
    apd = scorer(model, ddim_steps=3)['one/val']['apd']
    assert scorer.variety(model, ddim_steps=3) == pytest.approx(apd, rel=1e-5)
    assert apd > 0.0
