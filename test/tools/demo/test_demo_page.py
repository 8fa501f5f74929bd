# SPDX-License-Identifier: Apache-2.0
"""The demo's page: what it holds, that it speaks of people, and that it stays small."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
import json
from pathlib import Path
import re
from typing import Any

from demo_runs import collection_of, RATE_HZ, run_of
import numpy as np
import pytest

from motion_predictor.predict.moments import sample_moments
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.walker import synthetic_walkers
from tools.demo import demo_page
from tools.demo.demo_layers import ellipsoids, OCCUPANCY_ROWS, VOXEL_M, voxels
from tools.demo.demo_page import Facts, page_data, write_page
from tools.demo.demo_scores import RUNNING

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module', autouse=True)
def few_predictions() -> Iterator[None]:
    """Let the page keep a prediction a second: its occupancy takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_page, 'PAGE_STEP_S', 1.0)
        yield


@pytest.fixture(scope='module')
def scene() -> Recording:
    return synthetic_walkers(2, 5.0, RATE_HZ)


@pytest.fixture(scope='module')
def data(scene: Recording, few_predictions: None) -> dict[str, Any]:
    return page_data(run_of(collection_of(scene, samples=5, offset_m=0.1)))


def array(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_page_holds_the_motion_and_needs_nothing_else(
    scene: Recording, tmp_path: Path
) -> None:
    collection = collection_of(scene)
    facts = Facts('walk </script>', 'ours', 'swiftdiff', 'fine')
    run = replace(run_of(collection), facts=facts)
    page = write_page(tmp_path / 'index.html', run).read_text()
    assert not re.search(r'https?://|<link|src\s*=|@import|fetch\(', page)
    assert not re.search(r'/\*(STYLE|SCRIPT|DATA)\*/', page)
    embedded = page.split('type="application/json">')[1].split('</script>')[0]
    data = json.loads(embedded)
    assert data == json.loads(json.dumps(page_data(run)))
    assert data['about'][0][1] == 'Played: walk </script>.'
    kept = data['runs'][0]
    futures = array(kept['futures'], '<i2')
    futures = futures.reshape(len(kept['rows']), kept['samples'], 20, 17, 3)
    row = kept['rows'][3]
    place = futures[3] / 1000.0 + np.array(row['o'])
    index = int(np.argmin(np.abs(collection.stamps_s - row['t'])))
    source = np.flatnonzero((collection.message == index) & (collection.person == row['p']))[0]
    np.testing.assert_allclose(place[0], collection.expected[source], atol=1e-3)
    np.testing.assert_allclose(place[1:], collection.futures[source], atol=1e-3)


def test_errors_are_of_joints_and_the_pelvis_at_three_instants(data: dict[str, Any]) -> None:
    table = data['table']
    assert table['at'] == ['0.5 s', '1 s', '2 s']
    rows = {row['name']: row for row in table['rows']}
    assert list(rows) == [
        'expected future', 'damped velocity', 'standing still', 'nearest of 5 samples',
    ]  # fmt: skip
    assert rows['expected future']['joint'] == ['20.0'] * 3  # of 0, 10 .. 40 cm
    assert rows['expected future']['pelvis'] == ['20.0'] * 3
    still = [float(value) for value in rows['standing still']['pelvis']]
    assert still == sorted(still)
    assert still[0] > 20.0
    assert rows['nearest of 5 samples']['joint'] == ['0.0'] * 3
    assert 'Every instant was really recorded.' in table['notes'][0]
    assert 'ADE 0.000 m, FDE 0.000 m' in table['notes'][1]  # about the pelvis all are right
    assert data['cards'][0][:2] == ('a joint, 1 s ahead', '20.0 cm off')


def test_what_is_made_up_is_said_and_not_in_the_figures(scene: Recording) -> None:
    made_up = np.zeros(scene.num_frames, bool)
    made_up[90:110] = True
    collection = collection_of(scene).with_made_up(scene.instants_s, made_up)
    data = page_data(run_of(collection))
    assert data['madeUp'] == [[3.0, pytest.approx(109 / RATE_HZ, abs=1e-3)]]
    assert 'made up' in data['table']['notes'][0]
    nothing = page_data(run_of(collection_of(scene.crop(0.0, 1.5))))
    assert nothing['table'] == nothing['curves'] == nothing['running'] == {}


def test_two_weights_are_shown_beside_each_other(scene: Recording) -> None:
    good, bad = collection_of(scene), collection_of(scene, offset_m=0.1)
    data = page_data(run_of(good, 'good'), run_of(bad, 'bad'))
    assert [run['name'] for run in data['runs']] == ['good', 'bad']
    rows = {row['name']: row['joint'] for row in data['table']['rows']}
    assert rows['expected future, good'] == ['0.0'] * 3
    assert rows['expected future, bad'] == ['15.0'] * 3
    assert list(rows)[2:4] == ['damped velocity', 'standing still']
    assert len(data['runs'][0]['rows']) == len(data['runs'][1]['rows'])


def test_the_page_shows_the_running_error_and_stays_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of(collection_of(synthetic_walkers(1, 20.0, RATE_HZ), samples=8, offset_m=0.02))
    data = page_data(run)
    assert list(data['running']['cm']) == list(RUNNING)
    shown = np.array(data['running']['cm']['expected future'])
    np.testing.assert_allclose(shown, 7.0, rtol=1e-3)  # of 0, 2 .. 14 cm
    assert len(data['running']['at']) == len(shown)
    title, figure, others = data['cards'][-1]
    assert title == '1 s ahead, first → last 9 s'
    assert figure == '7.0 → 7.0 cm'
    assert others.startswith('damped velocity ')
    monkeypatch.setattr(demo_page, 'PAGE_FUTURES', 60)
    small = page_data(run)['runs'][0]
    assert len(small['rows']) * small['samples'] <= 60
    assert 4 <= small['samples'] < 9
    steps = np.diff([row['t'] for row in small['rows']])
    assert steps.min() > 1.2


# --- layers


def test_ellipsoids_have_the_mean_and_the_covariance_of_all_samples(scene: Recording) -> None:
    collection = collection_of(scene, samples=5, offset_m=0.1)
    rows, origins = [0, 7], np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]])
    found = ellipsoids(collection, rows, origins)
    assert found.marks_s == (0.5, 1.0, 1.5, 2.0)
    truth = sample_moments(collection.futures[rows], collection.weights[rows])
    mean = found.values[..., :3] / 1000.0 + origins[:, None, None]
    np.testing.assert_allclose(mean, truth.mean[:, [4, 9, 14, 19]], atol=6e-4)
    factor = np.zeros((*mean.shape, 3))
    row, column = np.tril_indices(3)
    factor[..., row, column] = found.values[..., 3:] / 1000.0
    covariance = factor @ factor.swapaxes(-1, -2)
    np.testing.assert_allclose(covariance, truth.covariance[:, [4, 9, 14, 19]], atol=5e-4)
    assert covariance[..., 0, 0].min() > 0.02  # of 0, 10 .. 40 cm along x


def test_voxels_are_where_the_body_goes_and_each_bin_has_its_own(scene: Recording) -> None:
    collection = collection_of(scene)
    row = 40
    origin = collection.expected[[row], 0, 0].astype(np.float64)
    found = voxels(collection, [row], origin)
    assert found.bins == 4
    assert found.first[0] == 0
    assert found.first[-1] == len(found.values)
    centres = (found.values[:, :3].astype(float) - 127.5) * VOXEL_M + origin[0]
    for number in range(4):
        here = centres[found.first[number] : found.first[number + 1]]
        steps = collection.expected[row, 5 * number : 5 * number + 5]
        apart = np.linalg.norm(here[:, None] - steps.reshape(1, -1, 3), axis=-1)
        assert apart.min(axis=0).max() < VOXEL_M, 'every joint is in a voxel'
    assert found.values[:, 3].max() == 255  # all samples agree
    many = voxels(collection, [row] * (OCCUPANCY_ROWS + 1), origin)
    assert many.first == []
