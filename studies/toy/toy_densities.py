# SPDX-License-Identifier: Apache-2.0
"""Two-dimensional densities with many modes, known exactly, to see what a mixture misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import torch
from torch import Tensor

EXTENT = 3.0
"""Everything lies within -EXTENT..EXTENT on both axes."""


@dataclass(frozen=True)
class Density:
    """
    A density in the plane.

    ``parts`` (P, 2) are points along it. A cell of the plane belongs to the nearest point. A part
    that gets too little mass from a mixture is a mode that it has missed.
    """

    name: str
    experts: int
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int, torch.Generator], Tensor]
    parts: Tensor
    owner: Tensor
    """Index of the mode that each part belongs to, (P,)."""
    centres: Tensor
    """Centres of equal round Gaussians that form the density, or approximate it
    closely, (C, 2)."""
    width: float
    """Standard deviation of these Gaussians."""


def rings(radii: tuple[float, ...] = (0.9, 2.0), width: float = 0.1) -> Density:
    """Return rings of Gaussian cross-section, each in eight sectors that must be found."""
    sectors = 8

    def log_prob(x: Tensor) -> Tensor:
        radius = x.norm(dim=-1).clamp_min(1e-3)
        of_ring = [
            -0.5 * ((radius - r) / width).square() - math.log(width * math.sqrt(2.0 * math.pi))
            for r in radii
        ]
        mixed = torch.logsumexp(torch.stack(of_ring), dim=0) - math.log(len(radii))
        return mixed - torch.log(2.0 * math.pi * radius)

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(len(radii), (count,), generator=generator)
        angle = 2.0 * math.pi * torch.rand(count, generator=generator)
        radius = torch.tensor(radii)[which] + width * torch.randn(count, generator=generator)
        return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)

    angle = 2.0 * math.pi * (torch.arange(sectors) + 0.5) / sectors
    circle = torch.stack((angle.cos(), angle.sin()), dim=1)
    parts = torch.cat([radius * circle for radius in radii])
    around = 2.0 * math.pi * torch.arange(100) / 100
    fine = torch.stack((around.cos(), around.sin()), dim=1)
    centres = torch.cat([radius * fine for radius in radii])
    owner = torch.arange(len(parts))
    return Density('rings', 16, log_prob, sample, parts, owner, centres, width)


def moons(width: float = 0.1, points: int = 200) -> Density:
    """Return two interleaved blurred half circles, each in four sectors that must be found."""
    angle = math.pi * (torch.arange(points) + 0.5) / points
    upper = torch.stack((1.4 * angle.cos() - 0.7, 1.4 * angle.sin() - 0.35), dim=1)
    lower = torch.stack((-1.4 * angle.cos() + 0.7, -1.4 * angle.sin() + 0.35), dim=1)
    arcs = torch.cat((upper, lower))

    def log_prob(x: Tensor) -> Tensor:
        square = torch.cdist(x, arcs).square()
        inner = torch.logsumexp(-0.5 * square / width**2, dim=-1)
        return inner - math.log(2.0 * math.pi * width**2 * len(arcs))

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(len(arcs), (count,), generator=generator)
        return arcs[which] + width * torch.randn(count, 2, generator=generator)

    owner = torch.arange(len(arcs)) // (points // 4)
    return Density('moons', 10, log_prob, sample, arcs, owner, arcs[::2], width)


def grid(side: int = 3, spacing: float = 1.7, width: float = 0.2) -> Density:
    """Return a square of Gaussians."""
    at = spacing * (torch.arange(side) - (side - 1) / 2.0)
    centres = torch.cartesian_prod(at, at)

    def log_prob(x: Tensor) -> Tensor:
        square = torch.cdist(x, centres).square()
        inner = torch.logsumexp(-0.5 * square / width**2, dim=-1)
        return inner - math.log(2.0 * math.pi * width**2 * len(centres))

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(len(centres), (count,), generator=generator)
        return centres[which] + width * torch.randn(count, 2, generator=generator)

    return Density(
        'grid',
        side * side + side * side // 2,
        log_prob,
        sample,
        centres,
        torch.arange(len(centres)),
        centres,
        width,
    )


DENSITIES: dict[str, Callable[[], Density]] = {'rings': rings, 'moons': moons, 'grid': grid}


@dataclass(frozen=True)
class Quadrature:
    """A square of cells, for integrals over the plane."""

    points: Tensor
    area: float

    @classmethod
    def over_the_plane(cls, cells: int = 200) -> Quadrature:
        """Return a quadrature that covers -EXTENT..EXTENT with ``cells`` by ``cells``."""
        step = 2.0 * EXTENT / cells
        at = -EXTENT + step * (torch.arange(cells) + 0.5)
        return cls(torch.cartesian_prod(at, at), step * step)

    def divergence(self, log_p: Tensor, log_q: Tensor) -> float:
        """
        Return ``KL(p || q)`` in nats.

        :param log_p: at :attr:`points`, ``(C,)``; both are normalised over the cells first.
        :param log_q: likewise.
        """
        p, q = log_p.double().log_softmax(dim=0), log_q.double().log_softmax(dim=0)
        return float((p.exp() * (p - q.clamp_min(-1e4))).sum())

    def modes_found(self, density: Density, log_q: Tensor, share: float = 0.25) -> int:
        """
        Return the number of modes to which a mixture gives at least a share of their mass.

        :param log_q: the mixture at :attr:`points`, ``(C,)``.
        """
        nearest = density.owner[torch.cdist(self.points, density.parts).argmin(dim=1)]
        count = int(density.owner.max()) + 1
        wanted, given = (
            torch.zeros(count, dtype=torch.float64).index_add_(
                0, nearest, log.double().softmax(dim=0)
            )
            for log in (density.log_prob(self.points), log_q)
        )
        return int((given >= share * wanted).sum())
