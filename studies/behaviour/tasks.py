# SPDX-License-Identifier: Apache-2.0
"""What a task of behaviour learning is: demonstrations, a robot to steer, and ways to succeed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motion_predictor.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHUNK = 4
"""Number of steps that a policy decides at once, and takes before it decides again."""

Policy = Callable[[Tensor, torch.Generator], Tensor]
"""A function from observations ``(B, O)`` to the next steps ``(B, CHUNK, 2)`` in metres."""


@dataclass(frozen=True)
class Rollouts:
    """
    The outcome of B robots.

    ``positions`` is (T + 1, B, 2) in metres; robots stand still once they have succeeded or
    failed. ``succeeded`` is (B,). ``way`` is (B,), numbered 0..ways - 1, -1 for none.
    """

    positions: Tensor
    succeeded: Tensor
    way: Tensor
    ways: int

    @property
    def success_rate(self) -> float:
        """Return the share that succeeded."""
        return float(self.succeeded.double().mean())

    @property
    def entropy(self) -> float:
        """Return the entropy of the successful ways, 0..1 (1: all alike)."""
        return entropy_of_ways(self.way[self.succeeded], self.ways)


@dataclass(frozen=True)
class Demonstrations:
    """
    Scripted successful runs, the same number for each way.

    ``rollouts`` are the runs. ``observations`` (N, O) are those at which a choice was made, and
    ``chunks`` (N, CHUNK, 2) the steps taken from there, in metres.
    """

    rollouts: Rollouts
    observations: Tensor
    chunks: Tensor


@dataclass(frozen=True)
class Task:
    """A task whose robot makes steps in the plane."""

    name: str
    about: str
    """What has to be done, for the page."""
    ways: int
    """Number of ways to succeed."""
    demonstrate: Callable[[int, torch.Generator], Demonstrations]
    """Makes as many demonstrations of each way."""
    roll_out: Callable[[Policy, int, torch.Generator], Rollouts]
    """Lets a policy steer as many robots."""
    begin: Callable[[int, torch.Generator], Tensor]
    """Draws observations of the start, ``(count, O)``."""
    features: Callable[[Tensor], Tensor]
    """Turns observations ``(B, O)`` into inputs of a network, ``(B, F)``."""
    paint: Callable[[Axes], None]
    """Draws what stands still, and sets the limits of the axes."""


TASKS = {
    'avoiding': 'studies.behaviour.avoiding',
    'pushing': 'studies.behaviour.pushing',
}
"""Modules of the tasks by their names; each has its TASK."""


def task_of(name: str) -> Task:
    """
    Return a task by its name.

    :raises ConfigError: if there is none of that name.
    """
    if name not in TASKS:
        raise ConfigError(f'task={name!r}: must be one of {", ".join(TASKS)}')
    task = import_module(TASKS[name]).TASK
    assert isinstance(task, Task)
    return task


def entropy_of_ways(ways: Tensor, count: int) -> float:
    """
    Return the entropy of ways to the base of their number; 0 if there are none.

    :param ways: numbers in 0..count - 1, ``(N,)``.
    :param count: number of the ways there are.
    """
    share = torch.bincount(ways, minlength=count).double() / max(1, len(ways))
    return float(torch.special.entr(share).sum() / math.log(count))


def waves_of(scaled: Tensor, waves: int) -> Tensor:
    """
    Return values and waves of them, so that a small network can turn sharply.

    :param scaled: values of about -1..1, ``(B, O)``.
    :param waves: number of octaves.
    :returns: ``(B, O (1 + 2 waves))``.
    """
    of = [f(math.pi * 2**k * scaled) for k in range(waves) for f in (torch.sin, torch.cos)]
    return torch.cat((scaled, *of), dim=-1)


def chunks_of(positions: Tensor, going: Tensor) -> Tensor:
    """
    Return the steps that follow each moment, the last step repeated after the end.

    :param positions: tracks in metres, ``(T + 1, B, 2)``.
    :param going: whether a robot still moved, ``(T, B)``, true from the first step on.
    :returns: ``(T, B, CHUNK, 2)``.
    """
    steps = positions.diff(dim=0)
    last = going.sum(dim=0) - 1
    final = steps[last, torch.arange(steps.shape[1])]
    steps = torch.where(going[..., None], steps, final)
    steps = torch.cat((steps, final.expand(CHUNK, -1, -1)))
    return steps.unfold(0, CHUNK, 1)[: len(going)].movedim(-1, -2)
