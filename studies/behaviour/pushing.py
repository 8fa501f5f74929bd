# SPDX-License-Identifier: Apache-2.0
"""A round pusher on a table that moves two blocks into two zones, simulated by pymunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle
import numpy as np
import pymunk
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

BLOCK_M = 0.10
"""Edge of a block."""
PUSHER_M = 0.03
"""Radius of the pusher."""
BLOCKS_M = np.array([[-0.2, 0.0], [0.2, 0.0]])
"""Where the blocks begin, but for a random shift."""
ZONES_M = np.array([[-0.25, 0.45], [0.25, 0.45]])
NEAR_M = 0.06
"""A block is in a zone at a smaller distance of its middle than this."""
BEGIN_M = np.array([0.0, -0.25])
WALL_M = 0.6
"""Largest distance of the pusher from the table's middle, (0, 0.1), along an axis."""
STEP_M = 0.02
LONGEST_STEP_M = 0.04
LIMIT_STEPS = 200
SUBSTEPS = 4
WAYS = 4
"""Which block goes first, and whether the blocks cross to the other block's zone."""


class Table:
    """
    The pusher and the blocks; a step of the pusher takes one unit of time.

    Blocks slide with friction that stops them at once when nobody pushes.
    """

    def __init__(self, draws: np.ndarray) -> None:
        """
        Set the blocks on the table.

        :param draws: eight normal numbers: shifts of the pusher and blocks, turns of the blocks.
        """
        self.space = pymunk.Space()
        self.space.damping = 1e-4
        self.pusher = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self.pusher.position = tuple(BEGIN_M + 0.02 * draws[:2])
        round_ = pymunk.Circle(self.pusher, PUSHER_M)
        round_.friction = 0.6
        self.space.add(self.pusher, round_)
        self.blocks = []
        for number, middle in enumerate(BLOCKS_M):
            size = (BLOCK_M, BLOCK_M)
            body = pymunk.Body(1.0, pymunk.moment_for_box(1.0, size))
            body.position = tuple(middle + 0.02 * draws[2 + 2 * number : 4 + 2 * number])
            body.angle = 0.2 * float(draws[6 + number])
            shape = pymunk.Poly.create_box(body, size)
            shape.friction = 0.6
            self.space.add(body, shape)
            self.blocks.append(body)
        self.first = -1
        """Number of the block that was first in a zone."""

    def observe(self) -> np.ndarray:
        """Return the pusher (2), each block's middle (2) and cosine and sine of four turns (2)."""
        values = [*self.pusher.position]
        for body in self.blocks:
            values += [*body.position, np.cos(4.0 * body.angle), np.sin(4.0 * body.angle)]
        return np.array(values)

    def zones(self) -> list[int]:
        """Return the zone of each block, -1 for none."""
        found = []
        for body in self.blocks:
            away = np.linalg.norm(ZONES_M - np.array(body.position), axis=1)
            found.append(int(away.argmin()) if away.min() < NEAR_M else -1)
        return found

    def move(self, step: np.ndarray) -> bool:
        """Move the pusher by a step in metres; return whether it is still on the table."""
        if not np.isfinite(step).all():
            return False
        length = float(np.linalg.norm(step))
        step = step * min(1.0, LONGEST_STEP_M / max(length, 1e-9))
        for _ in range(SUBSTEPS):
            self.pusher.velocity = tuple(step)
            self.space.step(1.0 / SUBSTEPS)
        self.pusher.velocity = (0.0, 0.0)
        if self.first < 0:
            inside = [number for number, zone in enumerate(self.zones()) if zone >= 0]
            self.first = inside[0] if inside else -1
        away = np.abs(np.array(self.pusher.position) - np.array([0.0, 0.1]))
        return bool((away < WALL_M).all())

    def done(self) -> bool:
        """Return whether the blocks are in different zones."""
        zones = self.zones()
        return min(zones) >= 0 and zones[0] != zones[1]

    def way(self) -> int:
        """Return the number of the way of a table that is done."""
        return 2 * self.first + self.zones()[0]


def script(table: Table, first: int, zone: int) -> np.ndarray:
    """
    Return the next step of the expert.

    :param first: number of the block that goes first.
    :param zone: zone of block 0; the other block goes to the other zone.
    """
    goals = (zone, 1 - zone)
    order = (first, 1 - first)
    inside = [
        float(np.linalg.norm(np.array(table.blocks[n].position) - ZONES_M[goals[n]]))
        < 0.6 * NEAR_M
        for n in order
    ]
    number = order[1] if inside[0] else order[0]
    block = np.array(table.blocks[number].position)
    other = np.array(table.blocks[1 - number].position)
    here = np.array(table.pusher.position)
    along = ZONES_M[goals[number]] - block
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    across = np.array([-along[1], along[0]])
    apart = here - block
    behind, beside = float(apart @ along), float(apart @ across)
    touch = 0.5 * BLOCK_M + PUSHER_M
    if behind < -0.6 * touch and abs(beside) < 0.35 * BLOCK_M:
        return STEP_M * along - 0.5 * np.clip(beside, -0.02, 0.02) * across
    aim = block - (touch + 0.05) * along
    return _around(here, aim, (block, other), touch + 0.02)


def _around(
    here: np.ndarray, aim: np.ndarray, middles: tuple[np.ndarray, ...], clear: float
) -> np.ndarray:
    """Return a step to a point that slides along circles about the blocks."""
    step = aim - here
    length = float(np.linalg.norm(step))
    step = step * min(1.0, STEP_M / max(length, 1e-9))
    for middle in middles:
        out = here - middle
        away = max(float(np.linalg.norm(out)), 1e-9)
        out = out / away
        inward = -float(step @ out)
        if away < clear + STEP_M and inward > 0.0 and length > 0.02:
            side = np.array([-out[1], out[0]])
            turn = 1.0 if float(side @ (aim - here)) >= 0.0 else -1.0
            step = STEP_M * turn * side + max(0.0, clear - away) * out
    return step


def demonstrate(
    each_way: int, generator: torch.Generator, *, shake: float = 0.15
) -> Demonstrations:
    """
    Make demonstrations by all ways; one that fails is made again.

    :param each_way: number of demonstrations of each of the WAYS ways.
    :param generator: source of randomness.
    :param shake: standard deviation of a step's noise, in lengths of a step.
    """
    tracks, seen, ways = [], [], []
    for way in range(WAYS):
        done = 0
        while done < each_way:
            table = Table(torch.randn(8, generator=generator).numpy())
            observed = [table.observe()]
            while len(observed) <= LIMIT_STEPS and not table.done():
                noise = torch.randn(2, generator=generator).numpy()
                if not table.move(script(table, way // 2, way % 2) + shake * STEP_M * noise):
                    break
                observed.append(table.observe())
            if table.done() and table.way() == way:
                done += 1
                ways.append(way)
                seen.append(np.stack(observed))
                tracks.append(seen[-1][:, :2])
    length = max(len(track) for track in tracks)
    padded = [np.pad(track, ((0, length - len(track)), (0, 0)), 'edge') for track in tracks]
    positions = torch.from_numpy(np.stack(padded, axis=1)).float()  # (T + 1, B, 2)
    steps = torch.tensor([len(track) - 1 for track in tracks])
    going = torch.arange(length - 1)[:, None] < steps
    chunks = chunks_of(positions, going)
    rollouts = Rollouts(
        positions, torch.ones(len(tracks), dtype=torch.bool), torch.tensor(ways), WAYS
    )
    moments = [chunks[: int(count), number] for number, count in enumerate(steps)]
    observations = torch.from_numpy(np.concatenate([each[:-1] for each in seen])).float()
    return Demonstrations(rollouts, observations, torch.cat(moments))


@torch.no_grad()
def roll_out(policy: Policy, count: int, generator: torch.Generator) -> Rollouts:
    """
    Let a policy steer pushers until the blocks are in the zones, or time has run out.

    :param policy: uses observations alone.
    :param count: number of tables, B.
    :param generator: source of the starts and of the policy's own choices.
    """
    tables = [Table(draws) for draws in torch.randn(count, 8, generator=generator).numpy()]
    running = list(range(count))
    track = [np.stack([table.observe()[:2] for table in tables])]
    while running and len(track) <= LIMIT_STEPS:
        observed = np.stack([tables[number].observe() for number in running])
        chosen = policy(torch.from_numpy(observed).float(), generator).double().numpy()
        plans = dict(zip(running, chosen))
        for turn in range(CHUNK):
            for number in tuple(plans):
                if not tables[number].move(plans[number][turn]) or tables[number].done():
                    del plans[number]
            track.append(np.stack([table.observe()[:2] for table in tables]))
        running = list(plans)
    succeeded = [table.done() for table in tables]
    ways = [table.way() if done else -1 for table, done in zip(tables, succeeded)]
    positions = torch.from_numpy(np.stack(track)).float()
    return Rollouts(positions, torch.tensor(succeeded), torch.tensor(ways), WAYS)


def begin(count: int, generator: torch.Generator) -> Tensor:
    """Draw observations of the start, ``(count, 10)``."""
    draws = torch.randn(count, 8, generator=generator).numpy()
    return torch.from_numpy(np.stack([Table(each).observe() for each in draws])).float()


def features_of(seen: Tensor) -> Tensor:
    """Return the inputs of a network at observations ``(B, 10)``: ``(B, F)``."""
    pusher, first, second = seen[:, :2], seen[:, 2:4], seen[:, 6:8]
    middle = torch.tensor([0.0, 0.1])
    places = torch.cat([(each - middle) / WALL_M for each in (pusher, first, second)], dim=1)
    apart = torch.cat(((pusher - first) / 0.3, (pusher - second) / 0.3), dim=1)
    turns = torch.cat((seen[:, 4:6], seen[:, 8:10]), dim=1)
    return torch.cat((waves_of(torch.cat((places, apart), dim=1), 2), turns), dim=1)


def paint(axes: Axes) -> None:
    """Draw the zones, and the blocks where they begin."""
    for middles, colour in ((ZONES_M, '#7fbf7b'), (BLOCKS_M, '#999999')):
        for x, y in middles - 0.5 * BLOCK_M:
            axes.add_patch(Rectangle((x, y), BLOCK_M, BLOCK_M, color=colour))
    axes.set(xlim=(-WALL_M, WALL_M), ylim=(0.1 - WALL_M, 0.1 + WALL_M))


TASK = Task(
    name='pushing',
    about=(
        f'a round pusher moves two square blocks into two zones, one each, {WAYS} ways in all: '
        "which block goes first, and whether they cross. Friction and contacts are pymunk's. It "
        'sees the pusher, and the places and turns of the blocks'
    ),
    ways=WAYS,
    demonstrate=demonstrate,
    roll_out=roll_out,
    begin=begin,
    features=features_of,
    paint=paint,
)
