# SPDX-License-Identifier: Apache-2.0
"""The teacher's switches: each changes what it says, is trained once, and ends in a table."""

import json
from pathlib import Path

import pytest
from random_models import save_recording
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.model.codec import Codec
from motion_predictor.model.motion_model import MotionModel
from studies.ablation import ablate_teacher, recipe_results
from studies.ablation.teacher_switches import min_snr_weight, switched, SwitchedTeacherLoss
from training.data.pool import encode_pool
from training.data.random_windows import Augmentation, TrainingWindows, turn_windows
from training.engine.overrides import override
from training.engine.presets import preset

ROWS = ['base', 'paper', 'min_snr', 'velocity', 'completion_noised', 'input_heading']


@pytest.fixture(scope='module')
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp('ablate_teacher')
    for split, seed in (('train', 0), ('val', 20)):
        save_recording(folder / 'walks' / f'{split}.npz', (100, 90), seed)
    return [
        '--preset', 'debug', '--data', str(folder / 'walks' / 'train.npz'),
        '--run', str(folder / 'run'), '--seeds', '2', '--quiet', '--rows', *ROWS,
    ]  # fmt: skip


def test_rows_are_scored_recalled_and_make_a_page(words: list[str]) -> None:
    run = Path(words[words.index('--run') + 1])
    out, page = run.parent / 'teacher.json', run.parent / 'teacher.md'
    assert ablate_teacher.main([*words, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    assert [found['row'] for found in result['results']] == [*ROWS, *ROWS]
    scores = {str(found['scores']) for found in result['results']}
    assert len(scores) == 2 * len(ROWS), 'each row and seed is a model of its own'
    of_base = [found['error']['val'] for found in result['results'] if found['row'] == 'base']
    assert sum(of_base) / 2 == pytest.approx(1.0, abs=1e-4)
    trained = list((run / 'teachers').glob('*/teacher.safetensors'))
    assert len(trained) == 2 * (len(ROWS) - 1)  # sampling alone differs in completion_noised
    before = [path.stat().st_mtime_ns for path in trained]
    assert ablate_teacher.main([*words, '--json', str(out)]) == 0
    again = json.loads(out.read_text())
    assert again['results'] == result['results']
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert recipe_results.main(['--json', str(out), '--out', str(page)]) == 0
    text = page.read_text()
    assert '(`input_heading`): better than the base **' in text
    assert '(`x0`)' not in text


def test_every_row_fits_the_settings() -> None:
    for name in ('debug', 'small', 'full'):
        base = preset(name)
        plain = {
            str(ablate_teacher.settings_of(row, base, ablate_teacher.budget(name), 0))
            for row in ablate_teacher.ROWS
        }
        alike = 1 if name == 'full' else 0  # its base trains without condition already
        assert len(plain) == len(ablate_teacher.ROWS) - alike


def test_options_that_cannot_be_used_are_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, message in (
        (['--rows', 'nothing'], '--rows: no row nothing'),
        (['--ddim-steps', '0'], '--ddim-steps 0: must be at least 1'),
        (['--scored', 'nowhere.npz'], '--scored: no such file: nowhere.npz'),
        (['--seeds', '0'], '--seeds 0: must be at least 1'),
    ):
        assert ablate_teacher.main([*words, *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize('prediction', ['eps', 'x0', 'v'])
def test_min_snr_makes_all_predictions_count_alike(prediction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    alpha_bar = torch.linspace(0.02, 0.98, 25)[:, None, None]
    x_0, eps, error = (torch.randn(25, 20, 51, generator=generator) for _ in range(3))
    x_t = alpha_bar.sqrt() * x_0 + (1.0 - alpha_bar).sqrt() * eps
    wrong = x_0 + error  # what the network's output means, and the noise that it then means
    implied = (x_t - alpha_bar.sqrt() * wrong) / (1.0 - alpha_bar).sqrt()
    of = {
        'eps': implied - eps,
        'x0': error,
        'v': alpha_bar.sqrt() * (implied - eps) - (1.0 - alpha_bar).sqrt() * error,
    }[prediction]
    found = min_snr_weight(prediction, alpha_bar, 5.0) * of.square()
    snr = alpha_bar / (1.0 - alpha_bar)
    torch.testing.assert_close(found, snr.clamp_max(5.0) * error.square(), rtol=1e-3, atol=1e-5)


def test_the_velocity_term_is_the_velocity_of_decoded_futures(tmp_path: Path) -> None:
    save_recording(tmp_path / 'walk.npz', (200,), 0)
    settings = {'teacher.velocity': '1.0', 'teacher.model.prediction': 'x0', 'pool': '8'}
    chain = override(switched(preset('debug')), settings)
    teacher = chain.model_of('teacher')
    windows = TrainingWindows.load([tmp_path / 'walk.npz'], chain.encoding.window)
    pool = encode_pool(
        windows, Codec(teacher, H36M17), chain.augmentation_of('teacher'), 8, 0, fit=True
    )
    model = MotionModel(teacher, H36M17, pool.state_whitening, pool.condition_whitening)
    losses = SwitchedTeacherLoss(chain.teacher, model, pool)
    off = torch.zeros_like(pool.state[:1])
    off[0, 2, 5] = 1.5  # one coefficient of one channel is wrong

    def network(x_t: torch.Tensor, *_: object) -> torch.Tensor:
        return pool.state[chosen] + off

    generator = torch.Generator().manual_seed(3)
    size = chain.teacher.optim.batch
    chosen = torch.randint(8, (size,), generator=generator)
    step = torch.randint(1, 1000, (size,), generator=generator)
    found = losses(network, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    wave = model.map_full[2] * 1.5 * pool.state_whitening.scale[2, 5]
    past = chain.encoding.window.observed_frames
    velocity = wave.diff()[past - 1 :] * 50.0
    expected = (model.alpha_bar[step].mean() * velocity.square().mean() / 51.0).item()
    assert found['velocity'].item() == pytest.approx(expected, rel=1e-4)


def test_a_model_with_the_inputs_heading_keeps_its_axes(tmp_path: Path) -> None:
    save_recording(tmp_path / 'walk.npz', (200,), 0)
    settings = {'encoding.heading': 'input'}
    config = override(preset('debug'), settings).model_of('teacher')
    windows = TrainingWindows.load([tmp_path / 'walk.npz'], config.window)
    drawn = windows.draw(4, torch.Generator().manual_seed(0))
    model = MotionModel(config, H36M17)
    history = model.observe(drawn[:, :25])
    back = model.decode(model.encode(drawn, history)[:, None], history)
    apart = (back[:, 0] - drawn[:, 25:]).norm(dim=-1).mean()
    assert apart < 0.03  # what the truncated DCT leaves
    turned = turn_windows(drawn, torch.full((4,), 1.0))
    other = model.observe(turned[:, :25])
    assert (other.features - history.features).abs().max() > 0.1
    own = MotionModel(preset('debug').model_of('teacher'), H36M17)
    torch.testing.assert_close(
        own.observe(turned[:, :25]).features, own.observe(drawn[:, :25]).features,
        atol=1e-4, rtol=0,
    )  # fmt: skip


def test_turning_shows_every_heading_and_keeps_bodies(tmp_path: Path) -> None:
    save_recording(tmp_path / 'walk.npz', (200,), 0)
    config = preset('debug').model_of('teacher')
    windows = TrainingWindows.load([tmp_path / 'walk.npz'], config.window)
    still = Augmentation(mirror=0.0, scale=0.0, speed=0.0)
    plain = windows.draw(200, torch.Generator().manual_seed(0), still)
    turned = windows.draw(
        200, torch.Generator().manual_seed(0), Augmentation(0.0, 0.0, 0.0, turn=1.0)
    )
    torch.testing.assert_close(turned[..., 2], plain[..., 2])
    left, before = ((of[:, -1, 4] - of[:, -1, 1])[:, :2] for of in (turned, plain))
    torch.testing.assert_close(left.norm(dim=-1), before.norm(dim=-1), rtol=1e-3, atol=1e-4)
    angle = torch.atan2(left[:, 1], left[:, 0]) - torch.atan2(before[:, 1], before[:, 0])
    counts = torch.histc(angle.remainder(2.0 * torch.pi), 4, 0.0, 2.0 * torch.pi)
    assert counts.min() > 25


@pytest.mark.parametrize(
    'setting,message',
    [
        ('teacher.min_snr=-1', 'min_snr=-1.0: must not be negative'),
        ('teacher.completion=some', 'must be one of'),
        ('teacher.unconditional=2', 'must lie in 0..1'),
        ('encoding.heading=north', 'must be one of'),
        ('augmentation.turn=2', 'turn=2.0: must lie in 0..1'),
    ],
)
def test_bad_switches_are_refused_by_name(setting: str, message: str) -> None:
    name, value = setting.split('=')
    with pytest.raises(ConfigError, match=message):
        override(switched(preset('debug')), {name: value})
