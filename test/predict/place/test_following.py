# SPDX-License-Identifier: Apache-2.0
"""Radii that follow people hold the share that was asked, by person and for the place."""

import numpy as np
import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.predict.place.following import Following, NARROWEST, RARE_LEVEL, WIDEST


def drifting(number: int) -> float:
    """Return how wide people spread: it grows fourfold, falls back, and grows at once."""
    return float(2.0 ** np.sin(number / 250.0) * (2.0 if number > 2200 else 1.0))


@pytest.mark.parametrize('level', [0.5, 0.9, 0.99])
def test_following_holds_the_asked_share_on_streams_whose_spread_drifts(level: float) -> None:
    generator = np.random.default_rng(1)
    following, held = Following([level], 'both'), []
    base = float(
        np.quantile(np.linalg.norm(generator.standard_normal((50_000, 3)), axis=1), level)
    )
    for number in range(3000):
        radius = base * following.scales([1])[0, 0]
        off = drifting(number) * np.linalg.norm(generator.standard_normal((17, 3)), axis=1)
        missed = (off > radius).mean()
        held.append(1.0 - missed)
        following.note(1, np.array([missed]))
    if level < RARE_LEVEL:
        assert np.mean(held[200:]) == pytest.approx(level, abs=0.03)
    else:
        assert np.mean(held[200:]) >= level - 0.005
    assert 0.4 < following.held[0] <= 1.0


def test_a_scale_stays_within_its_bounds_and_a_rare_level_never_narrows() -> None:
    following = Following([0.9, 0.99], 'both')
    for _ in range(2000):
        following.note(1, np.zeros(2))
    assert following.scales([1])[:, 0] == pytest.approx([NARROWEST, 1.0])
    for _ in range(2000):
        following.note(1, np.ones(2))
    assert following.scales([1])[:, 0] == pytest.approx(WIDEST)
    assert following.place_scales == pytest.approx(WIDEST)


def test_a_new_person_begins_with_the_places_scale_and_who_stays_away_is_forgotten() -> None:
    following = Following([0.9], 'both')
    for _ in range(5):
        following.note(1, np.ones(1))
    scale = following.scales([1, 2])[0]
    assert scale[0] > scale[1] > 1.0
    assert scale[1] == pytest.approx(following.place_scales[0])
    following.stay([2])
    assert following.scales([1])[0, 0] == pytest.approx(following.place_scales[0])
    following.forget()
    assert following.scales([1])[0, 0] == 1.0
    assert np.isnan(following.held).all()


@pytest.mark.parametrize('mode, lowest, highest', [('widen', 1.0, WIDEST), ('fixed', 1.0, 1.0)])
def test_a_mode_does_what_it_says(mode: str, lowest: float, highest: float) -> None:
    following = Following([0.9], mode)
    for _ in range(500):
        following.note(1, np.zeros(1))
    assert following.scales([1])[0, 0] == pytest.approx(lowest)
    for _ in range(500):
        following.note(1, np.ones(1))
    assert following.scales([1])[0, 0] == pytest.approx(highest)
    assert following.held[0] < 0.5


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match='sideways'):
        Following([0.9], 'sideways')
