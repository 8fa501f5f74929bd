# SPDX-License-Identifier: Apache-2.0
"""A point robot that passes three rows of obstacles, with the geometry of D3IL's Avoiding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.patches import Circle
import torch
from torch import Tensor

from studies.behaviour.tasks import (
    CHUNK,
    chunks_of,
    Demonstrations,
    Policy,
    Rollouts,
    Task,
    waves_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBSTACLES_M: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.6, (0.0,)),
    (1.3, (-0.292, 0.292)),
    (2.0, (-0.583, 0.0, 0.583)),
)
"""
Rows of obstacles: their y, and the x of each from left to right.

They are D3IL's six (0.18 m from row to row, 0.15 m from one to the next), enlarged by 35/9, as are
the walls, the start and the finish.
"""
GAPS_M: tuple[tuple[float, ...], ...] = (
    (-0.28, 0.28),
    (-0.6, 0.0, 0.6),
    (-0.875, -0.292, 0.292, 0.875),
)
"""Points at which a demonstration passes each row: 2 x 3 x 4 ways."""
WAYS = math.prod(len(row) for row in GAPS_M)
CLEARANCE_M = 0.13
"""A smaller distance from the middle of an obstacle than this, in metres, is a collision; ours."""
WALL_M = 1.167
"""A larger distance from the middle line than this, in metres, is a collision."""
BEGIN_M = (0.097, -0.1)
"""Middle of the start positions."""
FINISH_M = 2.35
"""The y coordinate, in metres, at which the robot is through."""
STEP_M = 0.05
"""Length of a demonstration's step in metres."""
LONGEST_STEP_M = 0.1
"""Longest step in metres; a longer step of a policy is cut to it."""
LIMIT_STEPS = 150
WAVES = 4


def collides(positions: Tensor) -> Tensor:
    """
    Return whether positions are within an obstacle or a wall.

    :param positions: metres, ``(..., 2)``.
    :returns: ``(...)``.
    """
    middles = torch.tensor([(x, y) for y, row in OBSTACLES_M for x in row])
    distance = (positions.unsqueeze(-2) - middles).norm(dim=-1)
    return (distance < CLEARANCE_M).any(dim=-1) | (positions[..., 0].abs() > WALL_M)


def ways_of(positions: Tensor) -> Tensor:
    """
    Return the way of each robot, by the gap of every row.

    :param positions: metres, ``(T, B, 2)``.
    :returns: ``(B,)``; -1 if the last row was not passed.
    """
    way = torch.zeros(positions.shape[1], dtype=torch.long)
    passed = torch.ones(positions.shape[1], dtype=torch.bool)
    for y, row in OBSTACLES_M:
        beyond = positions[..., 1] >= y
        first = beyond.int().argmax(dim=0)  # (B,)
        x = positions[first, torch.arange(len(first)), 0]
        way = way * (len(row) + 1) + torch.bucketize(x, torch.tensor(row))
        passed = passed & beyond.any(dim=0)
    return torch.where(passed, way, -1)


def start_positions(count: int, generator: torch.Generator) -> Tensor:
    """Draw the start positions of robots, metres, ``(count, 2)``."""
    spread = torch.tensor([0.05, 0.02])
    return torch.tensor(BEGIN_M) + spread * torch.randn(count, 2, generator=generator)


@torch.no_grad()
def roll_out(policy: Policy, count: int, generator: torch.Generator) -> Rollouts:
    """
    Let a policy steer robots until they are through, hit something or run out of time.

    :param policy: uses positions alone.
    :param count: number of robots, B.
    :param generator: source of the start positions and of the policy's own choices.
    """
    position = start_positions(count, generator)
    track = [position]
    running = torch.ones(count, dtype=torch.bool)
    succeeded = torch.zeros(count, dtype=torch.bool)
    while bool(running.any()) and len(track) <= LIMIT_STEPS:
        steps = torch.zeros(count, CHUNK, 2)
        steps[running] = policy(position[running], generator)
        for step in steps.unbind(dim=1):
            length = step.norm(dim=-1, keepdim=True).clamp_min(1e-9)
            step = step * (LONGEST_STEP_M / length).clamp_max(1.0)
            position = torch.where(running[:, None], position + step, position)
            track.append(position)
            hit = running & ~(position.isfinite().all(dim=-1) & ~collides(position))
            through = running & ~hit & (position[:, 1] >= FINISH_M)
            succeeded = succeeded | through
            running = running & ~hit & ~through
    positions = torch.stack(track[: LIMIT_STEPS + 1])
    arrived = succeeded & (positions[-1, :, 1] >= FINISH_M)
    return Rollouts(positions, arrived, ways_of(positions), WAYS)


def demonstrate(
    each_way: int, generator: torch.Generator, *, shake: float = 0.15
) -> Demonstrations:
    """
    Make demonstrations by all ways; one that hits something is made again.

    The script steers by points before and behind the gaps of its way. Its velocity follows softly,
    and every step is perturbed, so that the data hold recoveries too.

    :param each_way: number of demonstrations of each of the WAYS ways.
    :param generator: source of randomness.
    :param shake: standard deviation of a step's noise, in lengths of a step.
    """
    wanted = torch.cartesian_prod(*[torch.arange(len(row)) for row in GAPS_M])
    wanted = wanted.repeat(each_way, 1)  # (B, 3)
    done: list[Tensor] = []
    while len(wanted):
        positions = _script(wanted, generator, shake)  # (T, B, 2)
        through = (positions[-1, :, 1] >= FINISH_M) & ~collides(positions).any(dim=0)
        number = torch.zeros(len(wanted), dtype=torch.long)
        for row, gaps in enumerate(GAPS_M):
            number = number * len(gaps) + wanted[:, row]
        good = through & (ways_of(positions) == number)
        done.append(positions[:, good])
        wanted = wanted[~good]
    positions = torch.cat(done, dim=1)
    began = positions[:-1, :, 1] < FINISH_M
    # after the end the last step is repeated, or the robot would learn to stop at the line
    chunks = chunks_of(positions, began)  # (T, B, CHUNK, 2)
    every = torch.ones(positions.shape[1], dtype=torch.bool)
    rollouts = Rollouts(positions, every, ways_of(positions), WAYS)
    return Demonstrations(rollouts, positions[:-1][began], chunks[began])


def _script(wanted: Tensor, generator: torch.Generator, shake: float) -> Tensor:
    count = len(wanted)
    points: list[Tensor] = []
    for row, (y, _) in enumerate(OBSTACLES_M):
        x = torch.tensor(GAPS_M[row])[wanted[:, row]]
        x = x + 0.04 * torch.randn(count, generator=generator)
        for before in (-0.15, 0.1):
            points.append(torch.stack((x, torch.full_like(x, y + before)), dim=1))
    end = points[-1][:, 0]
    points.append(torch.stack((end, torch.full_like(end, FINISH_M + 1.0)), dim=1))
    route = torch.stack(points)  # (W, B, 2)
    every = torch.arange(count)
    position = start_positions(count, generator)
    velocity = torch.zeros(count, 2)
    aim = torch.zeros(count, dtype=torch.long)
    track = [position]
    for _ in range(LIMIT_STEPS):
        apart = route[aim, every] - position
        reached = (apart.norm(dim=-1) < 1.5 * STEP_M) | (apart[:, 1] < 0.0)
        aim = (aim + reached.long()).clamp_max(len(route) - 1)
        apart = route[aim, every] - position
        wished = STEP_M * apart / apart.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        velocity = velocity + 0.5 * (wished - velocity)
        step = velocity + shake * STEP_M * torch.randn(count, 2, generator=generator)
        running = position[:, 1] < FINISH_M
        position = torch.where(running[:, None], position + step, position)
        track.append(position)
    return torch.stack(track)


def features_of(positions: Tensor) -> Tensor:
    """Return the inputs of a network at positions in metres, ``(B, 2)``: ``(B, F)``."""
    scaled = positions / torch.tensor([WALL_M, FINISH_M]) - torch.tensor([0.0, 0.5])
    return waves_of(scaled, WAVES)


def paint(axes: Axes) -> None:
    """Draw the obstacles and the finish."""
    for y, row in OBSTACLES_M:
        for x in row:
            axes.add_patch(Circle((x, y), CLEARANCE_M, color='#555555'))
    axes.axhline(FINISH_M, color='black', lw=0.8, ls=':')
    axes.set(xlim=(-WALL_M, WALL_M), ylim=(-0.25, FINISH_M + 0.15))


TASK = Task(
    name='avoiding',
    about=(
        f'a point robot passes three rows of 1, 2 and 3 obstacles, {WAYS} ways in all, and has to '
        "come through without touching one; obstacles, walls, start and finish are D3IL's, "
        'enlarged. It sees its position'
    ),
    ways=WAYS,
    demonstrate=demonstrate,
    roll_out=roll_out,
    begin=start_positions,
    features=features_of,
    paint=paint,
)
