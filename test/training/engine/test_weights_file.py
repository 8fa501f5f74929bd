# SPDX-License-Identifier: Apache-2.0
"""Model cards: what they say of a student's loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from motion_predictor.model.weights import default_weights, load_weights
from training.engine.presets import preset
from training.engine.weights_file import card_text
from training.stages.swiftdiff import title_of


def test_a_card_names_the_terms_of_its_loss_the_largest_first() -> None:
    """The shipped student learns from real futures most."""
    path = default_weights()
    loaded = load_weights(path)
    text = card_text(path, loaded.model, loaded.card)
    terms = text.split('The terms of its loss by weight: ')[1].split('.\n')[0].split('; ')
    weights = [float(term.split(' for ')[0]) for term in terms]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == 4
    assert 'real future' in terms[0]


@pytest.mark.parametrize('name, first', [('moe', 'recordings'), ('teacher', None)])
def test_a_card_names_no_terms_that_its_model_does_not_have(name: str, first: str | None) -> None:
    """A mixture has VDD's terms; a teacher learns by no terms but its own."""
    path = Path(default_weights()).with_name(f'{name}.safetensors')
    loaded = load_weights(path)
    told = card_text(path, loaded.model, loaded.card).partition('by weight: ')[2]
    assert told.partition(';')[0] == (f'2 for the log likelihood of the {first}' if first else '')


def test_a_student_without_teachers_is_not_called_distilled() -> None:
    """The title follows the weights of the loss."""
    config = preset('small').swiftdiff
    assert title_of(config).endswith('distilled from its teachers')
    alone = replace(config, match=0.0, match_ddim=0.0)
    assert title_of(alone).endswith('trained without a teacher')
