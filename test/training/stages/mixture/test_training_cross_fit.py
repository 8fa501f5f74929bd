# SPDX-License-Identifier: Apache-2.0
"""Futures of each person from a diffusion model that was trained on the others."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from training.data.random_windows import Augmentation, TrainingWindows
from training.engine.config import CrossFitConfig, CrossFitOptim
from training.engine.fitting import fit
from training.engine.overrides import override
from training.engine.presets import preset
from training.stages.mixture.cross_fit import (
    CoordinateDenoiser,
    cross_fitted_samples,
    DenoisingLoss,
    optim_of,
    sample,
    share_out,
)

SMALL = CrossFitConfig(
    folds=2, samples=1, steps=16, width=32, depth=1, history_width=16, history_depth=1,
    optim=CrossFitOptim(steps=300, batch=256, ema=0.98),
)  # fmt: skip


OPTIM = replace(optim_of(SMALL.optim), learning_rate=5e-3, warmup_steps=200)


def linear_people(count: int) -> tuple[Tensor, Tensor]:
    """Make coordinates that follow a history linearly, with a known deviation."""
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(count, 3, generator=generator)
    noise = torch.randn(count, 2, generator=generator)
    return condition[:, :2] + torch.tensor([0.3, 0.6]) * noise, condition


@pytest.mark.slow
def test_it_learns_a_conditional_density_and_draws_from_it(tmp_path: Path) -> None:
    real, condition = linear_people(8192)
    torch.manual_seed(0)
    begun = CoordinateDenoiser(3, real.std(dim=0), SMALL)
    loss = DenoisingLoss(SMALL, real, condition)
    before = float(loss(begun, torch.Generator().manual_seed(1))['loss'].detach())
    made = fit(begun, loss, OPTIM, tmp_path, seed=0, title='test')
    assert isinstance(made, CoordinateDenoiser)
    assert float(loss(made, torch.Generator().manual_seed(1))['loss']) < before - 0.3
    asked = torch.tensor([1.0, -1.0, 0.0]).expand(4096, -1)
    drawn = sample(made, asked, SMALL, torch.Generator().manual_seed(2))
    assert (drawn.mean(dim=0) - torch.tensor([1.0, -1.0])).abs().max() < 0.15
    assert (drawn.std(dim=0).log() - torch.tensor([0.3, 0.6]).log()).abs().max() < 0.3


@pytest.mark.slow
def test_what_is_drawn_for_a_person_does_not_depend_on_what_that_person_did(
    tmp_path: Path,
) -> None:
    real, condition = linear_people(512)
    fold = (torch.arange(512) >= 200).long()
    config = replace(SMALL, optim=replace(SMALL.optim, steps=5))

    def draw(real: Tensor, where: str, run: str = 'run') -> Tensor:
        kept, folder = tmp_path / where, tmp_path / where / run
        return cross_fitted_samples(
            config, real, condition, fold, seed=0, kept=kept, folder=folder
        )

    first = draw(real, 'first')
    assert first.shape == (1, 512, 2)
    assert torch.equal(draw(real, 'first'), first)  # read again
    assert torch.equal(
        draw(real * (1.0 + 1e-6), 'first', 'new'), first
    )  # as another machine has them
    assert not torch.equal(draw(real * 1.2, 'first', 'new'), first)  # other coordinates
    changed = real.clone()
    changed[:200] *= 3.0
    second = draw(changed, 'second')
    assert torch.equal(second[:, :200], first[:, :200])
    assert not torch.equal(second[:, 200:], first[:, 200:])


def test_folds_hold_whole_people_and_are_about_alike_in_size() -> None:
    person = torch.tensor([0] * 50 + [1] * 30 + [2] * 25 + [3] * 5)
    clip = torch.arange(110) // 5
    fold = share_out(person, clip, 2)
    assert all(len(fold[person == number].unique()) == 1 for number in range(4))
    assert sorted(fold.bincount().tolist()) == [55, 55]
    alone = share_out(torch.zeros(110, dtype=torch.int64), clip, 3)  # one person: by recordings
    assert all(len(alone[clip == number].unique()) == 1 for number in range(22))
    assert alone.bincount().max() - alone.bincount().min() <= 5
    with pytest.raises(ConfigError, match='only 1 recordings'):
        share_out(torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.int64), 2)


def test_settings_that_cannot_be_are_named() -> None:
    for words, found in ((('folds', '1'), 'folds=1'), (('steps', '1'), 'steps=1')):
        with pytest.raises(ConfigError, match=found):
            override(preset('debug'), {f'moe.cross_fit.{words[0]}': words[1]})


def test_windows_know_their_recording_and_its_person() -> None:
    window = WindowConfig()
    clips = [torch.full((window.total_frames + n, 17, 3), float(n)).numpy() for n in (1, 2, 3)]
    windows = TrainingWindows(clips, window)
    generator = torch.Generator().manual_seed(0)
    drawn, clip = windows.draw_known(64, generator)
    assert torch.equal(drawn[:, 0, 0, 0].long() - 1, clip)
    assert windows.person_of_clip.tolist() == [0, 1, 2]
    same = windows.draw(64, torch.Generator().manual_seed(0), Augmentation(scale=0.0))
    assert torch.equal(same[:, 0, 0, 0].long() - 1, clip)
