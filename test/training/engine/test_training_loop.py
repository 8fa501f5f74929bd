# SPDX-License-Identifier: Apache-2.0
"""The one loop: what it skips, when it is over, and that it goes on to the bit."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from training.common.parallel import Shard
from training.engine.checkpoints import Kept, load_checkpoint
from training.engine.curve import CURVE, read_curve
from training.engine.loop import Descent, Draws, FromStep, Loop, OneStream, Plan


class Patience:
    """A judge that has seen enough after some looks."""

    def __init__(self, enough: int) -> None:
        self.enough, self.looks = enough, 0

    @property
    def over(self) -> bool:
        return self.looks >= self.enough

    def look(self, done: int, averaged: nn.Module) -> dict[str, float]:
        self.looks += 1
        return {'looks': float(self.looks)}

    def state(self) -> dict[str, Any]:
        return {'looks': self.looks}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.looks = int(state['looks'])


def loop_of(
    network: nn.Module,
    folder: Path | None,
    draws: Draws,
    *,
    steps: int = 8,
    infinite_at: int = -1,
    killed_at: int = -1,
    judge: Patience | None = None,
) -> Loop[nn.Module]:
    def losses(
        step: int, called: nn.Module, generator: torch.Generator, shard: Shard
    ) -> dict[str, Tensor]:
        if step == killed_at:
            raise RuntimeError('killed')
        values = called(torch.randn(4, 2, generator=generator)) + torch.rand(4, 1)
        first = values[:, 0].square().mean() * (torch.inf if step == infinite_at else 1.0)
        return {'first': first, 'second': values[:, 1].square().mean()}

    def descent(name: str, layer: nn.Parameter, every: int) -> Descent:
        optimizer = torch.optim.Adam([layer], lr=0.1)
        return Descent(
            name=name, loss=name, optimizer=optimizer, rate=lambda step: 0.1 / (1 + step),
            clip_norm=1.0, every=every,
        )  # fmt: skip

    assert isinstance(network, nn.Linear)
    descents = [descent('first', network.weight, 1), descent('second', network.bias, 3)]
    return Loop(
        network, losses, descents, Plan(steps=steps, ema=0.5, save_every=2, log_every=1), draws,
        title='test', kept=Kept(folder / 'checkpoint.pt') if folder else None, folder=folder,
        judge=judge, quiet=True,
    )  # fmt: skip


def fresh() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def test_a_step_whose_gradient_is_infinite_is_left_out() -> None:
    network = fresh()
    before = network.weight.clone()
    loop_of(network, None, FromStep(0, torch.device('cpu')), steps=1, infinite_at=0).run()
    assert torch.equal(network.weight, before)
    assert not torch.equal(network.bias, fresh().bias)  # the other optimiser's loss is finite


def test_every_optimiser_moves_its_own_at_its_own_steps() -> None:
    network = fresh()
    biases = []
    loop = loop_of(network, None, FromStep(0, torch.device('cpu')))
    loop.watch = lambda done, averaged: biases.append(network.bias.detach().clone())
    loop.run()
    moved = [not torch.equal(*pair) for pair in zip([fresh().bias, *biases], biases)]
    assert moved == [step % 3 == 0 for step in range(8)]


@pytest.mark.parametrize('stream', [False, True])
def test_a_killed_training_goes_on_as_the_unbroken_one(stream: bool, tmp_path: Path) -> None:
    def draws() -> Draws:
        if stream:
            return OneStream(torch.Generator().manual_seed(1))
        return FromStep(1, torch.device('cpu'))

    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    for folder in (whole, killed):
        folder.mkdir()
    unbroken = loop_of(fresh(), whole, draws()).run()
    with contextlib.suppress(RuntimeError):
        loop_of(fresh(), killed, draws(), killed_at=5).run()
    saved = load_checkpoint(killed / 'checkpoint.pt')
    assert saved is not None
    assert saved['step'] == 4
    torch.manual_seed(99)
    loop = loop_of(fresh(), killed, draws())
    assert loop.begin == 4
    ended = loop.run()
    assert all(torch.equal(a, b) for a, b in zip(unbroken.parameters(), ended.parameters()))
    assert read_curve(killed / CURVE) == read_curve(whole / CURVE)


def test_a_judge_ends_it_and_says_so_again_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        judge = Patience(4)
        loop_of(fresh(), tmp_path, OneStream(torch.Generator()), judge=judge).run()
        assert judge.looks == 4
        saved = load_checkpoint(tmp_path / 'checkpoint.pt')
        assert saved is not None
        assert saved['step'] == 4


def test_a_kept_state_with_another_key_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / 'checkpoint.pt'
    Kept(path, 'one').save({'step': 3})
    assert Kept(path, 'two').load() is None
    found = Kept(path, 'one').load()
    assert found is not None
    assert found['step'] == 3
    path.write_bytes(b'damaged')
    assert Kept(path, 'one', mended=True).load() is None
    with pytest.raises(ConfigError, match='delete it to start again'):
        Kept(path, 'one').load()
    Kept(path).forget()
    assert not path.exists()
