# SPDX-License-Identifier: Apache-2.0
"""The page of claims: verdicts follow from intervals, and the page from the committed JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motion_predictor.common.files import read_json
from motion_predictor.errors import ConfigError
from studies import claims

DATA = Path(__file__).parents[2] / 'docs/results/data'
PAGE = DATA.parent / 'claims.md'


@pytest.fixture(scope='module')
def results() -> dict[str, Any]:
    return {
        name: read_json(DATA / f'{name}.json', ConfigError) for name in claims.FORMATS.values()
    }


def ablation(better: list[float], worse: list[float]) -> dict[str, Any]:
    """Return an ablation of two rows with these errors, one a seed."""
    return {
        'ablations': {
            'results': [
                {'row': row, 'seed': seed, 'error': {'val': error}}
                for row, errors in (('a', better), ('b', worse))
                for seed, error in enumerate(errors)
            ]
        }
    }


def test_an_interval_of_students_t_is_the_tables() -> None:
    low, high = claims.interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx(
        (2 - 4.3027 / np.sqrt(3), 2 + 4.3027 / np.sqrt(3)), abs=1e-4
    )
    assert claims.interval([0.5, 0.5]) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    'better, worse, expected',
    [
        ([0.90, 0.91, 0.89], [1.00, 1.01, 1.00], 'holds'),
        ([1.00, 1.01, 1.00], [0.90, 0.91, 0.89], 'does not hold'),
        ([0.90, 1.20, 0.80], [1.00, 1.01, 1.00], 'undecided'),
        ([0.90, 0.90], [1.00, 1.00], 'undecided'),  # two seeds decide nothing
        ([0.50], [1.00], 'undecided'),
    ],
)
def test_the_verdict_is_what_the_interval_carries(
    better: list[float], worse: list[float], expected: str
) -> None:
    found = claims.rows_differ('ablations', 'a', 'b')(ablation(better, worse))
    assert found.verdict == expected


def test_a_row_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="rows 'a' and 'c'"):
        claims.rows_differ('ablations', 'a', 'c')(ablation([1.0], [1.0]))


def test_the_page_is_made_of_the_committed_figures(results: dict[str, Any]) -> None:
    text = PAGE.read_text()
    command = text.split('```')[1].strip()
    assert claims.claims_page(results, command) == text.rstrip('\n')


def test_a_study_that_is_missing_is_named(results: dict[str, Any]) -> None:
    without = {name: result for name, result in results.items() if name != 'avoiding'}
    with pytest.raises(ConfigError, match=r'avoiding\.json is missing'):
        claims.claims_page(without, '')


def test_every_claim_that_was_measured_links_to_its_page(results: dict[str, Any]) -> None:
    for claim in claims.CLAIMS:
        if claim.judge is not None:
            assert (PAGE.parent / claim.page).is_file(), claim.text
            assert claim.judge(results).low <= claim.judge(results).high


def test_thirty_runs_without_a_miss_do_not_show_that_one_in_ten_never_misses() -> None:
    rows = [{'method': 'vdd', 'found': 4, 'modes': 4}] * 30
    assert claims.all_modes_found({'toy_vdd': {'rows': rows}}).verdict == 'undecided'
    assert claims.all_modes_found({'toy_vdd': {'rows': rows * 2}}).verdict == 'holds'


def test_a_method_must_be_nearer_on_every_density() -> None:
    rows = [
        {'density': density, 'seed': seed, 'method': method, 'kl_q_p': kl + 0.001 * seed}
        for density, kl_of in (('a', (0.1, 0.3)), ('b', (0.3, 0.1)))
        for method, kl in zip(('x', 'y'), kl_of)
        for seed in range(4)
    ]
    judge = claims.densities_differ('x', 'y')
    assert judge({'toy_vdd': {'rows': rows}}).verdict == 'undecided'
    assert judge({'toy_vdd': {'rows': rows[:8]}}).verdict == 'holds'
