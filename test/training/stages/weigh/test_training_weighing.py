# SPDX-License-Identifier: Apache-2.0
"""Gate and radii are fitted: reproducibly, better than the worst guess, through one verb."""

from dataclasses import replace
from functools import partial
import json
from pathlib import Path

import numpy as np
from place_people import KNOTS, weights_of, WINDOW
import pytest
from random_models import save_random, save_recording

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.candidates import CANDIDATES, MEMORIES, MEMORY
from motion_predictor.model.networks.gate import Described, feature_count, Gate
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.predictor import Predictor
from training.judge.stream.kinds import IDLE, ONSET
from training.stages.weigh import weighing
from training.stages.weigh.fit_gate import fit_gate, GateFit
from training.stages.weigh.fit_radius import fit_radius, RadiusFit, tell_part
from training.stages.weigh.weighing_data import (
    collect,
    fit_basis,
    PLAYS,
    read_records,
    Records,
    save_records,
)

K, C, N = len(KNOTS), len(CANDIDATES), 60
QUICK = GateFit(steps=250, batch=128)


def made_up(laboratory: str, best: int, seed: int = 0) -> Records:
    """Moments in which one candidate is near and the others are not."""
    generator = np.random.default_rng((seed, best))
    truth = generator.standard_normal((N, K, 17, 3))
    noise = np.full(C, 0.4)
    noise[best] = 0.1
    means = truth[:, :, None] + noise[:, None, None] * generator.standard_normal((N, K, C, 17, 3))
    off = np.linalg.norm(means - truth[:, :, None], axis=(-2, -1))
    flat = means.reshape(N, K, C, -1)
    between = np.linalg.norm(flat[:, :, :, None] - flat[:, :, None], axis=-1)
    features = 0.1 * generator.standard_normal((N, K, feature_count(WINDOW)))
    features[..., 0] += best

    def small(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, dtype=np.float32)

    seen = generator.standard_normal((1, 1, 17, 3)) + np.zeros((N, 25, 17, 3))
    return Records(
        laboratory, 0, np.arange(N), small(np.arange(N) / 60.0), np.full(N, 'walking'),
        np.array([f'p{number % 6}' for number in range(N)]), small(features),
        np.ones((N, C), bool), np.zeros((N, K, len(MEMORIES), C), np.float32), small(means),
        small(truth), small(off), small(between), np.full((N, K, C, 17), 0.05, np.float32),
        small(seen), np.zeros((N, 17, 3), np.float32), np.zeros(N, np.float32),
        np.full(N, 0.05, np.float32), np.ones(N, np.int64),
    )  # fmt: skip


PARTS = [made_up('a', 0), made_up('b', 2), made_up('c', MEMORY)]


def errors(gate: Gate, part: Records) -> tuple[float, np.ndarray]:
    weights = gate.weights(Described(part.features, part.means, part.available), part.evidence)
    mean = (weights[..., None, None] * part.means).sum(axis=2)
    each = np.linalg.norm(part.means - part.truth[:, :, None], axis=-1).mean(axis=(0, 1, 3))
    return float(np.linalg.norm(mean - part.truth, axis=-1).mean()), each


@pytest.mark.slow
def test_the_fitted_gate_takes_the_right_guess_in_every_laboratory() -> None:
    gate = fit_gate(PARTS, QUICK)
    for part in (*PARTS, made_up('a', 0, 9), made_up('b', 2, 9)):
        published, each = errors(gate, part)
        assert published < 0.5 * each.max()
    assert gate.trust.shape == (K, len(MEMORIES))
    assert gate.trust.min() >= 0.0


@pytest.mark.slow
def test_fitting_again_gives_the_same_and_another_seed_does_not() -> None:
    first, again = fit_gate(PARTS, QUICK), fit_gate(PARTS, QUICK)
    other = fit_gate(PARTS, replace(QUICK, seed=1))
    for name, value in first.tensors().items():
        assert (again.tensors()[name] == value).all()
    assert any((other.tensors()[name] != value).any() for name, value in first.tensors().items())


@pytest.mark.slow
def test_radii_fitted_on_people_left_out_hold_what_they_say() -> None:
    gate = fit_gate(PARTS, QUICK)
    quick = RadiusFit(steps=40, batch=256, folds=2)
    network = fit_radius(PARTS, gate, H36M17, WINDOW.rate_hz, quick)
    again = fit_radius(PARTS, gate, H36M17, WINDOW.rate_hz, quick)
    assert (network.factor == again.factor).all()
    assert (np.diff(network.levels) > 0.0).all()
    assert network.factor.shape == (len(network.levels), K)
    replace(weights_of(), gate=gate, radius=network).check(WINDOW, H36M17)


def who_begins_to_move(part: Records) -> Records:
    """One moment of sixty is an onset: nothing tells it, and everybody is then elsewhere."""
    kind = np.where(np.arange(N) == 5, ONSET, IDLE)
    truth = part.truth + np.where(kind == ONSET, 3.0, 0.0)[:, None, None, None]
    return replace(part, kind=kind, truth=truth.astype(np.float32))


@pytest.mark.slow
def test_rare_radii_of_those_who_stand_still_hold_who_begins_to_move() -> None:
    gate = fit_gate(PARTS, QUICK)
    quick = RadiusFit(steps=150, batch=256, folds=2, onset=1.0)
    parts = [made_up('a', 0, seed) for seed in range(4)]
    parts[0] = who_begins_to_move(parts[0])
    network = fit_radius(parts, gate, H36M17, WINDOW.rate_hz, quick)
    assert network.still is not None
    rare = np.array(network.levels) >= 0.99
    assert (network.still[~rare] == 1.0).all()
    assert (network.still >= 1.0).all()
    for part in (who_begins_to_move(made_up('a', 0, 9)), who_begins_to_move(made_up('a', 0, 8))):
        told = tell_part(part, gate, H36M17, WINDOW.rate_hz)
        onset = told.onset
        without = replace(network, still=None)
        held = [
            (told.off[onset] <= each.radii(told.told[onset], part.jitter[onset])[-2]).mean()
            for each in (network, without)
        ]
        assert held[0] >= 0.9
        assert held[0] > held[1]


def test_what_was_collected_goes_through_a_file(tmp_path: Path) -> None:
    save_records(PARTS, tmp_path / 'kept.npz')
    for part, read in zip(PARTS, read_records(tmp_path / 'kept.npz'), strict=True):
        assert read.laboratory == part.laboratory
        assert (read.subject == part.subject).all()
        assert (read.means == part.means).all()


@pytest.mark.slow
def test_the_verb_plays_fits_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = RadiusFit(steps=20, batch=128)
    monkeypatch.setattr(weighing, 'GateFit', partial(GateFit, steps=20, batch=64))
    monkeypatch.setattr(weighing, 'fit_radius', partial(fit_radius, settings=small))
    weights = save_random(tmp_path / 'model.safetensors')
    data = [str(save_recording(tmp_path / lab / 'val.npz', (110, 110), seed))
            for seed, lab in enumerate(('hall', 'yard'))]  # fmt: skip
    out, page = tmp_path / 'weighed.safetensors', tmp_path / 'weighing.json'
    words = ['--weights', str(weights), '--out', str(out), '--json', str(page), '--samples', '4']
    words += ['--plays', '1', '--keep', str(tmp_path / 'kept.npz'), '--data', *data]
    assert weighing.main(words) == 0
    found = json.loads(page.read_text())
    assert found['moments'] > 4
    assert list(found['fitted_on']) == ['hall/val.npz', 'yard/val.npz']
    read = load_weights(out).weighing
    assert read is not None
    assert read.gate is not None
    assert read.radius is not None
    assert read.facts['moments'] == found['moments']
    assert load_weights(weights).weighing is None  # written beside, not over
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize('named', ['hall', 'hall/val.npz'])
def test_people_whom_the_model_knows_are_played_by_weights_made_without_them(
    tmp_path: Path, named: str
) -> None:
    weights = save_random(tmp_path / 'model.safetensors')
    other = save_random(tmp_path / 'other.safetensors', seed=5)
    files = [save_recording(tmp_path / lab / 'val.npz', (130,), 3) for lab in ('hall', 'yard')]
    basis = fit_basis(files, Predictor.load(weights, device='cpu'))
    alone = collect(weights, basis, files, PLAYS[:1], samples=4)
    mixed = collect(weights, basis, files, PLAYS[:1], samples=4, held_out={named: other})
    assert [part.laboratory for part in mixed] == ['hall', 'yard']
    assert (mixed[1].means == alone[1].means).all()
    assert (mixed[0].means != alone[0].means).any()


@pytest.mark.parametrize(
    'more, message',
    [
        (['--plays', '0'], '--plays 0'),
        (['--held-out', 'barn=x.safetensors'], 'barn'),
        (['--held-out', 'barn'], 'expected SET=FILE'),
        (['--weights', 'no.safetensors'], 'no.safetensors'),
        (['--data', 'no.npz'], 'no.npz'),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    weights = save_random(tmp_path / 'model.safetensors')
    data = save_recording(tmp_path / 'lab' / 'val.npz', (110,))
    words = ['--weights', str(weights), '--data', str(data), '--json', str(tmp_path / 'o.json')]
    assert weighing.main([*words, *more]) == 2
    assert message in capsys.readouterr().err


def test_help_says_what_it_does(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        weighing.main(['--help'])
    assert left.value.code == 0
    assert 'laboratory' in capsys.readouterr().out
