# SPDX-License-Identifier: Apache-2.0
"""The choice of a temperature: what is scored, what is taken, what goes into the file."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
from random_models import observed_people, save_random, save_random_mixture, save_recording
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.predictor import Predictor
from training.judge import calibrate, choose_temperature
from training.judge.accuracy import evaluate
from training.judge.accuracy.evaluate_moe import likelihoods
from training.judge.scoring import load_data
from training.report import results


@pytest.fixture
def val(tmp_path: Path) -> Path:
    return save_recording(tmp_path / 'one' / 'val.npz', (120, 110))


def run(tmp_path: Path, weights: Path, val: Path, *more: str) -> int:
    words = ['--weights', str(weights), '--fit', str(val), '--samples', '8', '--device', 'cpu']
    return choose_temperature.main(
        [*words, '--quiet', '--json', str(tmp_path / 'temperature.json'), *more]
    )


def test_the_samples_differ_more_the_higher_the_temperature_and_the_file_says_which_was_taken(
    tmp_path: Path, val: Path
) -> None:
    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    before = load_weights(weights)
    assert run(tmp_path, weights, val, '--temperatures', '2', '1', '0.5') == 0
    report = json.loads((tmp_path / 'temperature.json').read_text())
    assert [row['temperature'] for row in report['rows']] == [0.5, 1.0, 2.0]
    spread = [row['pose.apd'] for row in report['rows']]
    assert spread[0] < spread[1] < spread[2]
    after = load_weights(weights)
    assert after.model.config.temperature == report['chosen']
    assert after.card == before.card
    for name, value in before.model.state_dict().items():
        assert (after.model.state_dict()[name] == value).all()
    assert Predictor.load(weights, device='cpu', engine='fp32').golden_error_m() < 1e-5
    page = results.SECTIONS[choose_temperature.FORMAT](report, tmp_path, tmp_path / 'page.md')
    assert 'python -m training choose-temperature' in page
    assert '| yes |' in page


def test_the_scores_are_those_of_the_evaluation_with_the_file_that_was_written(
    tmp_path: Path, val: Path
) -> None:
    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    assert run(tmp_path, weights, val, '--temperatures', '1.7') == 0
    (row,) = json.loads((tmp_path / 'temperature.json').read_text())['rows']
    out = tmp_path / 'evaluation.json'
    words = ['--weights', str(weights), '--data', str(val), '--samples', '8', '--device', 'cpu']
    words += ['--json', str(out), '--runs', str(tmp_path / 'runs'), '--quiet']
    assert evaluate.main(words) == 0
    found = next(r for r in json.loads(out.read_text())['rows'] if r['model'] == 'swiftdiff')
    for name in choose_temperature.MEASURES:
        part, measure = name.split('.')
        assert row[name] == pytest.approx(found[part][measure], abs=1e-3)  # kept in half precision


def test_a_calibration_of_the_former_samples_is_dropped(tmp_path: Path, val: Path) -> None:
    weights = save_random(tmp_path / 'swiftdiff.safetensors')
    words = ['--weights', str(weights), '--fit', str(val), '--samples', '8', '--quiet']
    assert calibrate.main([*words, '--json', str(tmp_path / 'c.json')]) == 0
    assert load_weights(weights).calibration is not None
    assert run(tmp_path, weights, val, '--temperatures', '1.5', '--keep-file') == 0
    assert load_weights(weights).calibration is not None
    assert run(tmp_path, weights, val, '--temperatures', '1.5') == 0
    assert load_weights(weights).calibration is None


@pytest.mark.slow
def test_the_lowest_temperature_that_differs_as_much_as_the_teacher_is_taken(
    tmp_path: Path, val: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        save_random(tmp_path / f'{role}.safetensors', role) for role in ('teacher', 'swiftdiff')
    ]
    out = tmp_path / 'evaluation.json'
    words = ['--weights', str(files[0]), '--data', str(val), '--samples', '4', '--quiet']
    words += ['--ddim-steps', '3', '--json', str(out), '--runs', str(tmp_path / 'runs')]
    assert evaluate.main(words) == 0
    wanted = next(
        r['pose']['apd'] for r in json.loads(out.read_text())['rows'] if r['role'] == 'teacher'
    )
    temperatures = [f'{t:g}' for t in np.geomspace(0.2, 8.0, 7)]
    options = ('--as-varied-as', str(out), '--keep-file', '--temperatures', *temperatures)
    assert run(tmp_path, files[1], val, *options) == 0
    report = json.loads((tmp_path / 'temperature.json').read_text())
    rows = {r['temperature']: r for r in report['rows']}
    assert set(temperatures) <= {f'{t:g}' for t in rows}
    apd = [rows[t]['pose.apd'] for t in sorted(rows)]
    assert apd == sorted(apd)
    chosen = report['chosen']
    assert rows[chosen]['pose.apd'] >= wanted > apd[0]
    assert f'{chosen:g}' not in temperatures  # between two of them, in hundredths
    assert chosen == pytest.approx(round(chosen, 2))
    assert rows[chosen]['pose.apd'] == pytest.approx(wanted, rel=0.03)
    assert 'try higher ones' not in capsys.readouterr().out
    low = ('--as-varied-as', str(out), '--keep-file', '--temperatures', '0.2', '0.21')
    assert run(tmp_path, files[1], val, *low) == 0
    assert json.loads((tmp_path / 'temperature.json').read_text())['chosen'] == 0.21
    assert 'try higher ones' in capsys.readouterr().out
    other = save_recording(tmp_path / 'two' / 'val.npz', (80,), seed=9)
    assert run(tmp_path, files[1], other, '--as-varied-as', str(out)) == 2
    assert 'other recordings than two/val' in capsys.readouterr().err


def test_choosing_by_error_and_by_variety() -> None:
    rows = [
        {'temperature': t, 'pose.apd': apd, **dict.fromkeys(choose_temperature.ERRORS, error)}
        for t, apd, error in ((1.0, 3.0, 0.4), (1.5, 4.0, 0.3), (2.0, 5.0, 0.5))
    ]
    assert choose_temperature.choose(rows, None)['temperature'] == 1.5
    assert choose_temperature.choose(rows, 4.5)['temperature'] == 2.0
    assert choose_temperature.choose(rows, 0.0)['temperature'] == 1.0
    assert choose_temperature.choose(rows, 6.0)['temperature'] == 2.0  # the nearest there is


def test_models_without_a_temperature_are_refused(
    tmp_path: Path, val: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save_random(tmp_path / 'teacher.safetensors', 'teacher')
    assert run(tmp_path, teacher, val) == 2
    assert "of role 'teacher'" in capsys.readouterr().err
    swiftdiff = save_random(tmp_path / 'swiftdiff.safetensors')
    assert run(tmp_path, swiftdiff, val, '--temperatures', '20') == 2
    assert 'temperature=20' in capsys.readouterr().err
    assert run(tmp_path, swiftdiff, val, '--spreads', '1.1') == 2
    assert 'no mixture of experts' in capsys.readouterr().err
    with pytest.raises(ConfigError, match='spread=1'):
        replace(load_weights(swiftdiff).model.config, spread=1.1)


@pytest.mark.slow
def test_a_mixture_takes_the_temperature_at_which_what_happened_is_least_unlikely(
    tmp_path: Path, val: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_random_mixture(tmp_path / 'moe.safetensors', threshold=0.5)
    before = load_weights(weights)
    factors = [f'{factor:g}' for factor in np.geomspace(0.02, 20.0, 13)]
    assert run(tmp_path, weights, val, '--temperatures', *factors) == 2
    assert 'temperature=0.02' in capsys.readouterr().err
    factors = [f'{factor:g}' for factor in np.geomspace(0.1, 10.0, 13)]
    assert run(tmp_path, weights, val, '--temperatures', *factors) == 0
    report = json.loads((tmp_path / 'temperature.json').read_text())
    assert len(report['rows']) == 13 * len(choose_temperature.SPREADS)
    best = min(report['rows'], key=lambda row: row['nll'])
    assert (report['chosen'], report['spread']) == (best['temperature'], best['spread'])
    assert report['rows'][0]['nll'] > best['nll'] < report['rows'][-1]['nll']  # within the range
    assert f'{best["nll"]:12.3f}' in capsys.readouterr().out
    after = load_weights(weights)
    assert after.model.config.temperature == best['temperature']
    assert after.model.config.spread == best['spread']
    (file,) = load_data([val], after.model.config.window, None)
    windows = torch.from_numpy(file.windows.poses[file.chosen])
    scored = float(likelihoods(after.model, windows)['nll'].mean())
    assert scored == pytest.approx(best['nll'], abs=1e-5)
    assert 'surprise' in before.card
    assert 'surprise' not in after.card  # its threshold was of the narrower experts
    factors = report['apart_rows']
    assert [row['apart'] for row in factors] == list(choose_temperature.APART)
    apd = [row['pose.apd'] for row in factors]
    assert apd == sorted(apd)
    errors = [
        sum(row[name] / factors[0][name] for name in choose_temperature.ERRORS) for row in factors
    ]
    assert report['apart'] == factors[int(np.argmin(errors))]['apart']
    assert after.model.config.apart == report['apart']
    page = results.SECTIONS[choose_temperature.FORMAT](report, tmp_path, tmp_path / 'page.md')
    assert f'{best["nll"]:.4f} (taken)' in page
    assert f'| {report["apart"]:g} (taken) |' in page
    assert run(tmp_path, weights, val, '--as-varied-as', 'evaluation.json') == 2
    assert 'chosen by its likelihood' in capsys.readouterr().err


def test_a_spread_moves_futures_apart(tmp_path: Path) -> None:
    model = load_weights(save_random_mixture(tmp_path / 'moe.safetensors')).model
    near = Predictor(model, {}, device='cpu').predict(observed_people(2), samples=4)
    model.config = replace(model.config, spread=1.5)
    far = Predictor(model, {}, device='cpu').predict(observed_people(2), samples=4)
    middle = [np.einsum('ps,ps...->p...', p.weights, p.futures) for p in (near, far)]
    np.testing.assert_allclose(middle[1], middle[0], atol=1e-4)
    apart = [p.futures - m[:, None] for p, m in zip((near, far), middle, strict=True)]
    np.testing.assert_allclose(apart[1], 1.5 * apart[0], atol=1e-4)


def test_futures_that_stand_for_experts_are_moved_apart_and_the_density_stays(
    tmp_path: Path,
) -> None:
    model = load_weights(save_random_mixture(tmp_path / 'moe.safetensors')).model
    experts = model.config.denoiser.experts
    plain = replace(model.config, apart=1.0)
    found = {}
    for apart in (1.0, 1.4):
        model.config = replace(plain, apart=apart)
        predictor = Predictor(model, {}, device='cpu')
        found[apart] = [
            predictor.predict(observed_people(2), samples=count)
            for count in (experts - 1, experts, experts + 5)
        ]
    few, all_of_them, more = zip(*found.values(), strict=True)
    np.testing.assert_allclose(few[1].futures, few[0].futures, atol=1e-5)
    near, far = (p.futures for p in all_of_them)
    middle = np.einsum('ps,ps...->p...', all_of_them[0].weights, near)[:, None]
    np.testing.assert_allclose(far - middle, 1.4 * (near - middle), atol=1e-4)
    np.testing.assert_allclose(more[1].futures[:, :experts], far, atol=1e-4)
    drawn = [p.futures[:, experts:] for p in more]
    np.testing.assert_allclose(drawn[1], drawn[0], atol=1e-4)
    moments = [p.moments(np.array([20, 99])) for p in all_of_them]
    np.testing.assert_allclose(moments[1].covariance, moments[0].covariance, atol=1e-6)
    np.testing.assert_allclose(moments[1].mean, moments[0].mean, atol=1e-5)


def test_a_temperature_widens_a_mixture_and_keeps_its_experts(tmp_path: Path) -> None:
    model = load_weights(save_random_mixture(tmp_path / 'moe.safetensors')).model
    observed = torch.from_numpy(observed_people(2))
    history = model.observe(observed)
    narrow = model.mixture(history)
    model.config = replace(model.config, temperature=1.5)
    wide = model.mixture(history)
    assert torch.equal(wide.means, narrow.means)
    assert torch.equal(wide.log_weights, narrow.log_weights)
    torch.testing.assert_close(wide.covariance.matrix(), 2.25 * narrow.covariance.matrix())
    noise = torch.randn(2, 1, 4, narrow.covariance.noise_size)
    torch.testing.assert_close(
        wide.covariance.deviate(noise), 1.5 * narrow.covariance.deviate(noise)
    )
    difference = torch.randn(2, 4, narrow.size)
    expected = narrow.covariance.log_density(difference / 1.5) - narrow.size * np.log(1.5)
    torch.testing.assert_close(wide.covariance.log_density(difference), expected)
