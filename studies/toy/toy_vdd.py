"""
VDD on densities that can be looked at: python -m studies toy.

For each density points are drawn and a diffusion teacher is trained on them; for each seed then
mixtures of equally many experts are fitted by VDD to the teacher, by EM to the points and by EM
to the teacher's samples. Modes found and both Kullback-Leibler divergences come by quadrature.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import hashlib
import json
import math
from pathlib import Path
import sys
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
import numpy as np
from scipy.cluster.vq import kmeans2
import torch
from torch import nn, Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.model.networks.mixture import Full, GaussianMixture
from motion_predictor.model.schedule import cosine_alpha_bar
from studies.toy.toy_densities import DENSITIES, Density, EXTENT, Quadrature
from training.common import provenance
from training.engine.vdd import Batch, distil, ScoreTeacher, VddConfig
from training.judge import plots

FORMAT = 'motion_predictor toy densities'
VERSION = 2
LEVELS = 100
METHODS = {
    'vdd': 'VDD',
    'vdd_paper': 'VDD, un-noised queries',
    'vdd_exact': 'VDD, exact score',
    'em_data': 'EM on the data',
    'em_teacher': "EM on the teacher's samples",
}
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies toy --json docs/results/data/toy_vdd.json --plots docs/results/images
"""


class ToyTeacher(nn.Module):
    """A small denoiser in the plane; gives VDD its score."""

    def __init__(self, width: int = 128) -> None:
        """
        Make one with fresh weights.

        :param width: of its hidden layers.
        """
        super().__init__()
        self.levels = LEVELS
        self.register_buffer('alpha_bar', cosine_alpha_bar(LEVELS).float())
        self.alpha_bar: Tensor
        self.network = nn.Sequential(
            nn.Linear(2 + 20 + 8 + 7, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        alpha_bar = self.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    def velocity(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Predict ``signal * eps - noise * a`` (the v of Salimans and Ho, 2022)."""
        time = (level.float() + 1.0) / LEVELS
        signal, noise = self.scales(level)
        depth = (noise / signal).log()  # at low levels the score changes with this, not with time
        waves = [f(math.pi * k * time) for k in (0.5, 1, 2, 4) for f in (torch.cos, torch.sin)]
        waves += [f(k * depth) for k in (0.5, 1, 2) for f in (torch.cos, torch.sin)]
        waves.append(0.5 * depth.clamp(-4.0, 4.0))
        place = [
            f(math.pi / EXTENT * k * noisy)
            for k in (1, 2, 4, 8, 16)
            for f in (torch.cos, torch.sin)
        ]
        return self.network(torch.cat((noisy, *place, torch.stack(waves, dim=-1)), dim=-1))

    @torch.no_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        flat, levels = noisy.flatten(0, 1), level.repeat(len(noisy))
        signal, noise = (part[:, None] for part in self.scales(levels))
        eps = signal * self.velocity(flat, levels) + noise * flat
        return (-eps / noise).view_as(noisy)

    def fit(self, points: Tensor, steps: int, seed: int) -> ToyTeacher:
        """Train on points ``(N, 2)``."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=4e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group['lr'] = 4e-3 * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            chosen = torch.randint(len(points), (256,), generator=generator)
            share = torch.rand(256, generator=generator).pow(1.5)  # more of the low levels
            level = (LEVELS * share).long().clamp_max(LEVELS - 1)
            eps = torch.randn(256, 2, generator=generator)
            # each with its mirror image, or the little noise of low levels drowns their score
            chosen, level, eps = chosen.repeat(2), level.repeat(2), torch.cat((eps, -eps))
            signal, noise = (part[:, None] for part in self.scales(level))
            clean = points[chosen]
            target = signal * eps - noise * clean
            loss = (self.velocity(signal * clean + noise * eps, level) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.requires_grad_(False)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample by DDPM's ancestral steps, ``(count, 2)``."""
        x = torch.randn(count, 2, generator=generator)
        for number in reversed(range(LEVELS)):
            level = torch.full((count,), number)
            signal, noise = (part[:, None] for part in self.scales(level))
            clean = signal * x - noise * self.velocity(x, level)
            eps = (x - signal * clean) / noise
            if number == 0:
                return clean
            ahead, around = (part[:, None] for part in self.scales(level - 1))
            fresh = around / noise * (1.0 - (signal / ahead).square()).clamp_min(0.0).sqrt()
            kept = (around.square() - fresh.square()).clamp_min(0.0).sqrt()
            x = ahead * clean + kept * eps + fresh * torch.randn(x.shape, generator=generator)
        raise AssertionError('unreachable')

    def log_prob(self, points: Tensor) -> Tensor:
        """
        Give the log density of what the probability flow makes of noise (Song et al., 2021).

        On the circle ``signal^2 + noise^2 = 1`` the flow's velocity by angle is the network's
        own output; Heun's steps from level to level.

        :param points: ``(N, 2)``.
        :returns: ``(N,)``, nats; -10 000 where the path leaves for infinity, far from all points.
        """
        angle = (1.0 - self.alpha_bar).sqrt().asin()
        x, gained = points, torch.zeros(len(points))
        speed, spread = self._velocity_and_divergence(x, 0)
        for level in range(1, LEVELS):
            step = angle[level] - angle[level - 1]
            ahead, ahead_spread = self._velocity_and_divergence(x + step * speed, level)
            x = x + 0.5 * step * (speed + ahead)
            gained = gained + 0.5 * step * (spread + ahead_spread)
            speed, spread = ahead, ahead_spread
        found = -0.5 * x.square().sum(dim=-1) - math.log(2.0 * math.pi) + gained
        return torch.where(found.isfinite(), found, -1e4)

    @torch.enable_grad()
    def _velocity_and_divergence(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        asked = x.detach().requires_grad_()
        speed = self.velocity(asked, torch.full((len(x),), level))
        across, along = (
            torch.autograd.grad(speed[:, i].sum(), asked, retain_graph=i == 0)[0][:, i]
            for i in range(2)
        )
        return speed.detach(), across + along


class DensityTeacher:
    """The exact score of a density of the plane, to set a learned teacher's error aside."""

    def __init__(self, density: Density) -> None:
        self.density = density
        self.levels = LEVELS
        self.alpha_bar = cosine_alpha_bar(LEVELS).float()

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        alpha_bar = self.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        signal, noise = (part[:, None] for part in self.scales(level))
        power = (signal * self.density.width).square() + noise.square()  # (B, 1)
        centres = signal[..., None] * self.density.centres  # (B, C, 2)
        logits = noisy.transpose(0, 1) @ centres.mT - 0.5 * centres.square().sum(dim=-1)[:, None]
        weights = torch.softmax(logits / power[..., None], dim=-1)  # (B, M, C)
        return ((weights @ centres).transpose(0, 1) - noisy) / power


class ExactTeacher:
    """The exact score of a noised mixture of Gaussians, to set a learned teacher's error aside."""

    def __init__(self, mixture: GaussianMixture) -> None:
        self.mixture = mixture
        self.levels = LEVELS
        self.alpha_bar = cosine_alpha_bar(LEVELS).float()

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        alpha_bar = self.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    @torch.enable_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        asked = noisy.detach().requires_grad_()
        log_p = self.mixture.noised(*self.scales(level)).log_prob(asked)
        return torch.autograd.grad(log_p.sum(), asked)[0]


def cluster_centres(points: Tensor, experts: int, seed: int, starts: int = 10) -> Tensor:
    """
    Find centres by k-means++, the start of EM and VDD alike.

    :param points: ``(N, 2)``.
    :param starts: of which the one with the smallest distances is taken.
    :returns: ``(E, 2)``, float64.
    """
    values = points.double().numpy()
    found: list[tuple[float, np.ndarray]] = []
    for number in range(starts):
        centres, nearest = kmeans2(values, experts, minit='++', seed=seed * 1000 + number)
        found.append((float(np.square(values - centres[nearest]).sum()), centres))
    return torch.from_numpy(min(found, key=lambda one: one[0])[1])


def expectation_maximisation(
    points: Tensor, experts: int, seed: int, iterations: int = 100, floor: float = 1e-4
) -> GaussianMixture:
    """
    Fit a mixture by EM from k-means++ (Dempster, Laird and Rubin, 1977).

    :param points: ``(N, 2)``.
    :param floor: added to the covariances' diagonal.
    """
    points = points.double()
    nearest = torch.cdist(points, cluster_centres(points, experts, seed)).argmin(dim=1)
    weights = nn.functional.one_hot(nearest, experts).double()
    mixture = _maximise(points, weights, floor)
    for _ in range(iterations):
        weights = mixture.log_responsibilities(points[:, None]).exp()[:, 0]
        mixture = _maximise(points, weights, floor)
    return GaussianMixture(
        mixture.log_weights.float(),
        mixture.means.float(),
        Full(torch.linalg.cholesky(mixture.covariance.matrix()).float()),
    )


def _maximise(points: Tensor, weights: Tensor, floor: float) -> GaussianMixture:
    mass = weights.sum(dim=0).clamp_min(1e-6)
    means = (weights.T @ points) / mass[:, None]
    apart = points[:, None] - means  # (N, E, 2)
    covariance = torch.einsum('ne,nei,nej->eij', weights, apart, apart) / mass[:, None, None]
    covariance = covariance + floor * torch.eye(2, dtype=points.dtype)
    return GaussianMixture(
        (mass / mass.sum()).log()[None], means[None], Full(torch.linalg.cholesky(covariance)[None])
    )


class FreeExperts(nn.Module):
    """Mixtures that are their own parameters, one for each of B seeds, all trained at once."""

    def __init__(
        self, seeds: Sequence[int], experts: int, drawn: Tensor, scale: float = 0.3
    ) -> None:
        """
        Start every mixture at centres of its samples, by k-means++ as EM does.

        :param drawn: ``(N, B, 2)``.
        """
        super().__init__()
        centres = [cluster_centres(drawn[:, i], experts, seed) for i, seed in enumerate(seeds)]
        means = torch.stack(centres).float()
        self.means = nn.Parameter(means)
        self.log_scale = nn.Parameter(torch.full_like(means, math.log(scale)))
        self.lower = nn.Parameter(torch.zeros(len(seeds), experts, 2, 2))
        self.logits = nn.Parameter(torch.zeros(len(seeds), experts))

    def forward(self, condition: Tensor) -> GaussianMixture:
        """Give all mixtures; the condition is not looked at."""
        tril = self.log_scale.exp().unsqueeze(-1) * (self.lower.tril(-1) + torch.eye(2))
        return GaussianMixture(self.logits.log_softmax(dim=-1), self.means, Full(tril))

    def gate_parameters(self) -> list[nn.Parameter]:
        """See :class:`training.engine.vdd.Student`."""
        return [self.logits]

    def expert_parameters(self) -> list[nn.Parameter]:
        """See :class:`training.engine.vdd.Student`."""
        return [self.means, self.log_scale, self.lower]


def vdd_settings(steps: int, noised: bool) -> VddConfig:
    """Give the toys' settings: the annealed band with noised queries, or the paper's choice."""
    begin, end = ((0.3, 0.6), (0.0, 0.02)) if noised else ((0.02, 0.1), (0.02, 0.1))
    return VddConfig(
        steps=steps,
        samples=4,
        learning_rate=5e-2,
        gate_learning_rate=5e-2,
        noised=noised,
        low_begin=begin[0],
        high_begin=begin[1],
        low_end=end[0],
        high_end=end[1],
        anneal=0.4,
        clip_norm=1e6,
        path_gradient=True,
        warm=0.2 if noised else 0.0,  # or some experts come to span two modes and stay so
    )


def distil_toy(
    teacher: ScoreTeacher,
    drawn: Tensor,
    experts: int,
    config: VddConfig,
    seeds: Sequence[int],
) -> list[GaussianMixture]:
    """
    Distil a teacher of the plane, once for each seed.

    :param drawn: the teacher's samples, for start and gate, ``(N, B, 2)``.
    :returns: B mixtures, each of one condition.
    """
    network = FreeExperts(seeds, experts, drawn)
    nothing = torch.zeros(len(seeds), 1)

    def batches(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(drawn), (128,), generator=generator)
        return Batch(nothing, drawn[chosen])

    distil(network, teacher, batches, config, seed=seeds[0], quiet=True)
    with torch.no_grad():
        mixture = network(nothing).detach()
    assert isinstance(mixture.covariance, Full)
    return [
        GaussianMixture(
            mixture.log_weights[i : i + 1],
            mixture.means[i : i + 1],
            Full(mixture.covariance.tril[i : i + 1]),
        )
        for i in range(len(seeds))
    ]


def train_teacher(density: Density, options: argparse.Namespace) -> tuple[ToyTeacher, Tensor]:
    """
    Train the teacher of a density.

    :returns: the teacher and the points that it was trained on, ``(N, 2)``.
    """
    points = density.sample(options.points, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    return ToyTeacher(options.width).fit(points, options.teacher_steps, 0), points


def run_density(
    density: Density, seeds: Sequence[int], options: argparse.Namespace
) -> tuple[dict[str, GaussianMixture], list[dict[str, Any]], dict[str, Any]]:
    """
    Fit every method to one density with every seed.

    :returns: the first seed's mixtures by method, one row of figures for each method and seed,
        and the teacher's own figures.
    """
    teacher, points = train_teacher(density, options)
    count = density.experts
    drawn = torch.stack(
        [
            teacher.sample(options.samples, torch.Generator().manual_seed(seed + 1))
            for seed in seeds
        ],
        dim=1,
    )
    exact = DensityTeacher(density)
    true = torch.stack(
        [
            density.sample(options.samples, torch.Generator().manual_seed(1000 + seed))
            for seed in seeds
        ],
        dim=1,
    )
    asked: dict[str, tuple[ScoreTeacher, Tensor, bool]] = {
        'vdd': (teacher, drawn, True),
        'vdd_paper': (teacher, drawn, False),
        'vdd_exact': (exact, true, True),
    }
    mixtures = {
        name: distil_toy(of, its, count, vdd_settings(options.steps, noised), seeds)
        for name, (of, its, noised) in asked.items()
    }
    mixtures['em_data'] = [expectation_maximisation(points, count, seed) for seed in seeds]
    mixtures['em_teacher'] = [
        expectation_maximisation(drawn[:, i], count, seed) for i, seed in enumerate(seeds)
    ]
    quadrature = Quadrature.over_the_plane()
    log_p = density.log_prob(quadrature.points)
    modes = int(density.owner.max()) + 1
    rows = []
    for method, of_seeds in mixtures.items():
        for seed, mixture in zip(seeds, of_seeds, strict=True):
            log_q = mixture.log_prob(quadrature.points[:, None])[:, 0]
            rows.append(
                {
                    'density': density.name,
                    'seed': seed,
                    'method': method,
                    'experts': count,
                    'modes': modes,
                    'found': quadrature.modes_found(density, log_q),
                    'kl_q_p': round(quadrature.divergence(log_q, log_p), 5),
                    'kl_p_q': round(quadrature.divergence(log_p, log_q), 5),
                }
            )
    own: dict[str, Any] = {
        'density': density.name,
        'log_p_of_data': round(float(density.log_prob(points).mean()), 4),
        'log_p_of_teacher_samples': round(float(density.log_prob(drawn.flatten(0, 1)).mean()), 4),
    }
    coarse = Quadrature.over_the_plane(100)
    log_p, log_t = density.log_prob(coarse.points), teacher.log_prob(coarse.points)
    own['kl_teacher_p'] = round(coarse.divergence(log_t, log_p), 5)
    own['kl_p_teacher'] = round(coarse.divergence(log_p, log_t), 5)
    own['fitted_at'] = provenance.commit()
    return {name: of_seeds[0] for name, of_seeds in mixtures.items()}, rows, own


def kept_density(
    density: Density, seeds: Sequence[int], options: argparse.Namespace
) -> tuple[dict[str, GaussianMixture], list[dict[str, Any]], dict[str, Any]]:
    """Read what an earlier call with the same settings found, or run a density and keep it."""
    facts = [
        density.name, list(seeds), options.points, options.samples, options.steps,
        options.teacher_steps, options.width,
        *(str(vdd_settings(options.steps, noised)) for noised in (True, False)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = options.runs / f'{density.name}_{digest}.json'
    if not path.is_file():
        mixtures, rows, own = run_density(density, seeds, options)
        parts = {
            name: [
                part.tolist()
                for part in (mixture.log_weights, mixture.means, mixture.covariance.matrix())
            ]
            for name, mixture in mixtures.items()
        }
        provenance.write_json(path, {'mixtures': parts, 'rows': rows, 'teacher': own})
    kept = json.loads(path.read_text())
    pictured = {
        name: GaussianMixture(
            torch.tensor(log_weights),
            torch.tensor(means),
            Full(torch.linalg.cholesky(torch.tensor(covariance).view(1, -1, 2, 2))),
        )
        for name, (log_weights, means, covariance) in kept['mixtures'].items()
    }
    return pictured, kept['rows'], kept['teacher']


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give for each density and method the medians over seeds and how often all was found."""
    found: list[dict[str, Any]] = []
    for density in dict.fromkeys(row['density'] for row in rows):
        paired = {row['seed']: row for row in _of(rows, density, 'em_data')}
        for method in METHODS:
            of = _of(rows, density, method)
            found.append(
                {
                    'density': density,
                    'method': method,
                    'experts': of[0]['experts'],
                    'seeds': len(of),
                    'all_modes_found': sum(row['found'] == row['modes'] for row in of),
                    **{
                        f'{name}_{what}': round(float(function([row[name] for row in of])), 5)
                        for name in ('kl_q_p', 'kl_p_q')
                        for what, function in (('median', np.median), ('worst', np.max))
                    },
                    'closer_than_em_data': sum(
                        row['kl_q_p'] < paired[row['seed']]['kl_q_p'] for row in of
                    ),
                }
            )
    return found


def _of(rows: Sequence[Mapping[str, Any]], density: str, method: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row['density'], row['method']) == (density, method)]


def draw(mixtures: Mapping[str, Mapping[str, GaussianMixture]], folder: Path) -> Path:
    """
    Draw the densities with the experts of each method as ellipses (two deviations).

    :param mixtures: by density, by method.
    :returns: the file written, ``toy_vdd.svg``.
    """
    shown = list(METHODS)
    figure = Figure(figsize=(3 * len(shown), 3.1 * len(mixtures)), layout='constrained')
    grid = figure.subplots(len(mixtures), len(shown), squeeze=False)
    quadrature = Quadrature.over_the_plane(60)
    for row, (name, of_method) in zip(grid, mixtures.items()):
        log_p = DENSITIES[name]().log_prob(quadrature.points).view(60, 60).T
        for axes, method in zip(row, shown):
            mixture = of_method[method]
            axes.imshow(
                log_p.exp(), origin='lower', extent=(-EXTENT, EXTENT) * 2, cmap='Greys',
                interpolation='nearest',
            )  # fmt: skip
            weights = mixture.log_weights[0].exp()
            for weight, mean, matrix in zip(
                weights, mixture.means[0], mixture.covariance.matrix()[0]
            ):
                values, vectors = np.linalg.eigh(matrix.double().numpy())
                angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
                wide, high = 4.0 * np.sqrt(values[::-1])
                opacity = min(1.0, 0.1 + 0.9 * float(weight) * mixture.experts)
                axes.add_patch(
                    Ellipse(
                        tuple(mean.tolist()), wide, high, angle=angle, fill=False, lw=1.2,
                        color='#c2181a', alpha=opacity,
                    )
                )  # fmt: skip
            axes.set(xticks=[], yticks=[], title=f'{name}: {METHODS[method]}')
            axes.title.set_fontsize(9)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'toy_vdd.svg'
    with matplotlib.rc_context({'image.composite_image': True}):
        plots.save(figure, path)
    return path


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m studies toy',
        description=(__doc__ or '').split('\n\n', 1)[1],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add('--json', type=Path, required=True, metavar='OUT', help='where to write the results')
    add('--densities', nargs='+', choices=tuple(DENSITIES), default=list(DENSITIES))
    add('--seeds', type=int, default=10, help='default %(default)s')
    add('--runs', type=Path, default=Path('runs/toy_vdd'), metavar='DIR',
        help='what each density gave is kept here (default %(default)s)')  # fmt: skip
    add('--points', type=int, default=20_000, help='drawn of each density (default %(default)s)')
    add('--samples', type=int, default=20_000, help='of the teacher (default %(default)s)')
    add('--steps', type=int, default=6000, help='of the distillation (default %(default)s)')
    add('--teacher-steps', type=int, default=32_000, help='default %(default)s')
    add('--width', type=int, default=256, help="of the teacher's layers (default %(default)s)")
    add('--plots', type=Path, metavar='DIR', help='draw the first seed into DIR')
    add('--dry-run', action='store_true', help='print the settings and stop')
    add('--quiet', action='store_true', help='no progress bar')
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    if options.dry_run:
        print(vars(options))
        print(vdd_settings(options.steps, True))
        return 0
    require_writable(options.json)
    rows: list[dict[str, Any]] = []
    teachers: list[dict[str, Any]] = []
    pictured: dict[str, Mapping[str, GaussianMixture]] = {}
    seeds = range(options.seeds)
    for name in tqdm(options.densities, unit='density', disable=options.quiet):
        pictured[name], found, own = kept_density(DENSITIES[name](), seeds, options)
        rows += found
        teachers.append(own)
    result = {
        **provenance.origin(FORMAT, VERSION, 'studies toy', words),
        'settings': {
            'points': options.points,
            'samples': options.samples,
            'steps': options.steps,
            'teacher_steps': options.teacher_steps,
            'width': options.width,
        },
        'teachers': teachers,
        'rows': rows,
        'summary': summarise(rows),
    }
    provenance.write_json(options.json, result)
    for row in result['summary']:
        print(row)
    print(f'written: {options.json}')
    if options.plots:
        print(f'drawn: {draw(pictured, options.plots)}')
    return 0
