"""The term that pulls a mixture's denoiser towards the teacher's, and the teacher's tuning."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from random_models import save_random
import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.experts import MotionExperts
from motion_predictor.mixture import Diagonal, GaussianMixture
from motion_predictor.model import MotionModel
from motion_predictor.skeleton import H36M17
from motion_predictor.weights import file_digest, load_weights
from training import distill_moe
from training.config import override, preset
from training.diffusion import LevelsOfRatio
from training.score_teacher import DenoiserMatch, score_config
from training.train_teacher import TeacherLoss
from training.vdd import Batch

ROWS = 4096


class OfNormal(nn.Module):
    """What denoises a normal density with one deviation in the best way."""

    def __init__(self, alpha_bar: Tensor, mean: Tensor, deviation: float) -> None:
        super().__init__()
        self.alpha_bar, self.mean, self.variance = alpha_bar, mean, deviation**2
        self.asked = 0

    def forward(self, x_t: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        self.asked += len(x_t)
        alpha_bar = self.alpha_bar[level][:, None, None]
        gain = alpha_bar.sqrt() * self.variance / (alpha_bar * self.variance + 1.0 - alpha_bar)
        return self.mean + gain * (x_t - alpha_bar.sqrt() * self.mean)


@pytest.fixture
def known() -> tuple[DenoiserMatch, MotionExperts, OfNormal]:
    """Give the term of a teacher whose density is normal, of deviation .6 about ones."""
    torch.manual_seed(0)
    base = preset('debug')
    experts = MotionModel(base.moe.model, H36M17).denoiser
    assert isinstance(experts, MotionExperts)
    encoder = torch.linalg.qr(torch.randn(20 * 51, base.moe.model.denoiser.latent))[0]
    experts.set_directions(encoder, encoder.T)
    teacher = MotionModel(replace(base.teacher.model, prediction='x0'), H36M17)
    normal = OfNormal(teacher.alpha_bar, torch.ones(20, 51), 0.6)
    teacher.denoiser = normal
    config = replace(base.moe, match=2.0, match_low=0.1, match_high=50.0, match_rows=ROWS)
    term = DenoiserMatch(config, teacher, experts, noisy=False)
    assert isinstance(term.teacher.denoiser, OfNormal)
    return term, experts, term.teacher.denoiser


def mixture_about(means: Tensor) -> GaussianMixture:
    """Give a mixture of one expert, of deviation .6, about means ``(B, N)``."""
    log_weights = torch.zeros(len(means), 1)
    return GaussianMixture(log_weights, means[:, None], Diagonal(torch.full((1, 1, 1), 0.6)))


def batch_of(experts: MotionExperts, **more: Any) -> tuple[Batch, Tensor]:
    whole = 1.0 + 0.6 * torch.randn(ROWS, 20, 51)
    real = experts.encode(whole)
    batch = Batch(torch.zeros(ROWS, 12, 51), real[None], real[None], whole, **more)
    return batch, experts.encode(torch.ones(1, 20, 51))


def test_it_is_the_relative_entropy_of_the_two_densities_within_the_band(
    known: tuple[DenoiserMatch, MotionExperts, OfNormal],
) -> None:
    term, experts, _ = known
    batch, mean = batch_of(experts)
    means = mean.repeat(ROWS, 1)
    same = term(mixture_about(means), batch, 0.0)
    assert float(same.detach()) == pytest.approx(0.0, abs=1e-8)
    moved = (means + 0.3).requires_grad_(True)
    mixture = mixture_about(moved)
    found = term(mixture, batch, 0.0)
    # half the integral of (n^2 / (s^2 v + n^2))^2 over the ratio: all of it is 1 / (2 v)
    part = 1.0 / (1.0 + 0.36 * 0.1) - 1.0 / (1.0 + 0.36 * 50.0)
    assert float(found.detach()) == pytest.approx(2.0 * part * 0.3**2 / (2.0 * 0.36), rel=0.05)
    (down,) = torch.autograd.grad(found, moved)
    assert (down.sum(dim=0) > 0.0).all()  # back to the teacher's


def test_histories_behind_noise_are_asked_about_where_the_teacher_knows_them(
    known: tuple[DenoiserMatch, MotionExperts, OfNormal],
) -> None:
    term, experts, normal = known
    batch, mean = batch_of(experts, known=7)
    mixture = mixture_about(mean.repeat(ROWS, 1))
    term(mixture, batch, 0.0)
    assert normal.asked == 7
    assert float(term(mixture, replace(batch, known=0), 0.0)) == 0.0
    assert normal.asked == 7
    term.noisy = True
    term(mixture, batch, 0.0)
    assert normal.asked == 7 + ROWS


def test_levels_are_drawn_alike_over_the_logarithm_of_the_ratio() -> None:
    alpha_bar = MotionModel(preset('debug').teacher.model, H36M17).alpha_bar
    levels = LevelsOfRatio(alpha_bar, 0.1, 100.0)
    drawn = alpha_bar[levels.draw(20_000, torch.Generator().manual_seed(0))]
    ratio = (drawn / (1.0 - drawn)).log10()
    assert float(ratio.min()) > -1.05
    assert float(ratio.max()) < 2.05
    counts = torch.histc(ratio, 3, -1.0, 2.0) / 20_000
    torch.testing.assert_close(counts, torch.full((3,), 1.0 / 3.0), atol=0.02, rtol=0.0)


def test_the_teacher_is_tuned_once_and_the_card_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    words += ['moe.vdd.steps=2', 'moe.adapt_steps=60']
    used: list[DenoiserMatch] = []

    class Watched(DenoiserMatch):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            used.append(self)

    monkeypatch.setattr(distill_moe, 'DenoiserMatch', Watched)
    distill_moe.main(words)
    tuned = load_weights(tmp_path / 'moe_teacher.safetensors')
    before = load_weights(tmp_path / 'teacher.safetensors').model
    assert tuned.model.config == before.config
    name = next(iter(before.denoiser.state_dict()))
    assert torch.equal(
        used[0].teacher.denoiser.state_dict()[name], tuned.model.denoiser.state_dict()[name]
    )
    assert used[0].noisy
    digest = file_digest(tmp_path / 'moe_teacher.safetensors')
    card = load_weights(tmp_path / 'moe.safetensors').card
    assert card['teachers']['adapted'] == digest
    curve = (tmp_path / 'moe' / 'teacher' / 'losses.jsonl').read_text().splitlines()
    assert len(curve) == 6
    distill_moe.main(words)
    assert file_digest(tmp_path / 'moe_teacher.safetensors') == digest
    chain = override(preset('debug'), {'pool': '64', 'moe.adapt_steps': '60'})
    run = distill_moe.Run(tmp_path, (), 'cpu', ('moe',))
    pool = distill_moe.moe_pool(run, chain, before, tmp_path / 'moe_samples')
    losses = [
        float(
            TeacherLoss(score_config(model, chain.teacher.optim), model, pool)(
                model.denoiser, torch.Generator().manual_seed(1)
            )['loss']
        )
        for model in (before, tuned.model)
    ]
    assert losses[1] < losses[0]


def test_as_it_is_the_teacher_is_not_asked_about_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    told: list[bool] = []

    class Watched(DenoiserMatch):
        def __init__(self, *given: Any, noisy: bool) -> None:
            super().__init__(*given, noisy=noisy)
            told.append(noisy)

    monkeypatch.setattr(distill_moe, 'DenoiserMatch', Watched)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    distill_moe.main([*words, 'moe.vdd.steps=2', 'moe.adapt_steps=0'])
    assert told == [False]
    assert not (tmp_path / 'moe_teacher.safetensors').exists()


@pytest.mark.parametrize(
    'name, value',
    [
        ('moe.match', '-1'),
        ('moe.match_rows', '0'),
        ('moe.match_low', '40'),
        ('moe.adapt_steps', '-2'),
        ('teacher.log_ratio', '2'),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f'{name.split(".")[1]}={value}'):
        override(preset('debug'), {name: value})
