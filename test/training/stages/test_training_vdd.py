# SPDX-License-Identifier: Apache-2.0
"""VDD's updates: what the teacher is, the student becomes."""

import json
import math
from pathlib import Path

import pytest
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.mixture import GaussianMixture
from studies.common.covariances import Full
from studies.toy import fitting, toy_vdd, vdd_results
from studies.toy.fitting import distil_toy, expectation_maximisation, vdd_settings
from studies.toy.teachers import DensityTeacher, ExactTeacher, ToyTeacher
from studies.toy.toy_densities import DENSITIES, grid, Quadrature
from training.stages.mixture.vdd import expert_bound, gate_loss, likelihood, VddConfig


def square_of_gaussians(side: int = 2) -> tuple[GaussianMixture, torch.Tensor]:
    density = grid(side)
    centres = density.parts
    count = len(centres)
    mixture = GaussianMixture(
        torch.full((1, count), -math.log(count)),
        centres[None],
        Full(0.2 * torch.eye(2).expand(1, count, 2, 2)),
    )
    return mixture, centres


def student_at(
    mixture: GaussianMixture, shift: float
) -> tuple[GaussianMixture, torch.Tensor, torch.Tensor]:
    means = (mixture.means + shift).requires_grad_()
    assert isinstance(mixture.covariance, Full)
    tril = mixture.covariance.tril.clone().requires_grad_()
    return GaussianMixture(mixture.log_weights, means, Full(tril)), means, tril


@pytest.mark.parametrize('noised', [False, True])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(noised: bool) -> None:
    mixture, _ = square_of_gaussians()
    teacher = ExactTeacher(mixture)
    level = torch.zeros(1, dtype=torch.long) if not noised else torch.full((1,), 40)
    norms = []
    for shift in (0.0, 0.3):
        student, means, tril = student_at(mixture, shift)
        bound = expert_bound(
            student, teacher, torch.zeros(1, 1), level, samples=4000, noised=noised,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        grads = torch.autograd.grad(bound.sum(), (means, tril))
        norms.append(math.sqrt(sum(float(grad.square().sum()) for grad in grads)))
    assert norms[0] < 0.1 * norms[1]


def test_the_path_gradient_has_no_noise_where_the_student_is_the_teacher() -> None:
    mixture, _ = square_of_gaussians()
    norms = {}
    for path_gradient in (False, True):
        student, means, tril = student_at(mixture, 0.0)
        bound = expert_bound(
            student, ExactTeacher(mixture), torch.zeros(1, 1), torch.full((1,), 20), samples=2,
            noised=True, path_gradient=path_gradient, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        grads = torch.autograd.grad(bound.sum(), (means, tril))
        norms[path_gradient] = math.sqrt(sum(float(grad.square().sum()) for grad in grads))
    assert norms[True] < 1e-3 * norms[False]


def test_the_path_gradient_is_the_closed_forms_on_average() -> None:
    mixture, _ = square_of_gaussians()
    found = []
    for path_gradient in (False, True):
        student, means, tril = student_at(mixture, 0.2)
        bound = expert_bound(
            student, ExactTeacher(mixture), torch.zeros(1, 1), torch.full((1,), 20),
            samples=20_000, noised=True, path_gradient=path_gradient,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        grads = torch.autograd.grad(bound.sum(), (means, tril))
        found.append(torch.cat([grad.flatten() for grad in grads]))
    assert float((found[0] - found[1]).norm()) < 0.03 * float(found[0].norm())


def test_the_exact_score_of_a_density_is_that_of_its_gaussians() -> None:
    density = grid(3)
    count = len(density.centres)
    mixture = GaussianMixture(
        torch.full((1, count), -math.log(count)),
        density.centres[None],
        Full(density.width * torch.eye(2).expand(1, count, 2, 2)),
    )
    noisy = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0))
    level = torch.tensor([3, 60])
    found = DensityTeacher(density).score(noisy, torch.zeros(2, 1), level)
    wanted = [
        ExactTeacher(mixture).score(noisy[:, i : i + 1], torch.zeros(1, 1), level[i : i + 1])
        for i in range(2)
    ]
    assert torch.allclose(found, torch.cat(wanted, dim=1), atol=1e-3)


@pytest.mark.slow
def test_a_teacher_that_predicts_no_velocity_has_the_density_of_its_noise() -> None:
    teacher = ToyTeacher()
    for parameter in teacher.parameters():
        parameter.requires_grad_(False).zero_()
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    wanted = -0.5 * points.square().sum(dim=-1) - math.log(2.0 * math.pi)
    assert torch.allclose(teacher.log_prob(points), wanted, atol=1e-5)
    teacher.network[-1].bias.copy_(torch.tensor([0.3, 0.0]))  # all drift aside, none spread
    assert float((teacher.log_prob(points) - wanted).abs().max()) > 0.1
    assert float(teacher.log_prob(torch.full((1, 2), torch.inf))) == -1e4  # no density, and no nan


def test_updating_some_experts_gives_their_own_part_of_the_bound() -> None:
    mixture, _ = square_of_gaussians()
    teacher = ExactTeacher(mixture)
    level = torch.full((1,), 30)
    chosen = torch.tensor([2, 1])
    student, means, _ = student_at(mixture, 0.2)
    bound = expert_bound(
        student, teacher, torch.zeros(1, 1), level, samples=8, noised=True, experts=chosen,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert bound.shape == (1, 2)
    (grad,) = torch.autograd.grad(bound.sum(), means)
    moved = grad[0].abs().sum(dim=1) > 0
    assert moved.tolist() == [False, True, True, False]


def test_the_score_is_held_constant_and_the_gate_gets_no_gradient_from_experts() -> None:
    mixture, _ = square_of_gaussians()
    logits = mixture.log_weights.clone().requires_grad_()
    student, _, _ = student_at(mixture, 0.2)
    student = GaussianMixture(logits.log_softmax(-1), student.means, student.covariance)
    level = torch.full((1,), 30)
    bound = expert_bound(
        student, ExactTeacher(mixture), torch.zeros(1, 1), level, samples=2, noised=True
    )
    (grad,) = torch.autograd.grad(bound.sum(), logits, allow_unused=True)
    assert grad is None or float(grad.abs().max()) == 0.0


def test_at_temperature_one_the_likelihood_term_has_the_gradient_of_the_log_likelihood() -> None:
    mixture, _ = square_of_gaussians()
    values = mixture.sample(32, torch.Generator().manual_seed(2)).detach()
    student, means, _ = student_at(mixture, 0.1)
    (found,) = torch.autograd.grad(likelihood(student, values), means)
    (wanted,) = torch.autograd.grad(student.log_prob(values).mean() / student.size, means)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_gate_learns_how_often_each_expert_is_right() -> None:
    mixture, centres = square_of_gaussians()
    logits = torch.zeros(1, 4, requires_grad=True)
    share = torch.tensor([0.1, 0.2, 0.3, 0.4])
    chosen = torch.multinomial(share, 1000, True, generator=torch.Generator().manual_seed(3))
    values = centres[chosen][:, None]
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        student = GaussianMixture(logits.log_softmax(-1), mixture.means, mixture.covariance)
        optimizer.zero_grad()
        gate_loss(student, values).backward()
        optimizer.step()
    assert torch.allclose(logits.softmax(-1)[0], share, atol=0.05)


@pytest.mark.slow
def test_vdd_finds_every_mode_of_a_square_of_gaussians() -> None:
    mixture, _ = square_of_gaussians()
    density = grid(2)
    drawn = torch.stack(
        [density.sample(1000, torch.Generator().manual_seed(seed)) for seed in range(6)], dim=1
    )
    settings = vdd_settings(500, True)
    fitted = distil_toy(ExactTeacher(mixture), drawn, 6, settings, range(6))
    quadrature = Quadrature.over_the_plane(80)
    log_p = density.log_prob(quadrature.points)
    for student in fitted:
        log_q = student.log_prob(quadrature.points[:, None])[:, 0]
        assert quadrature.modes_found(density, log_q) == 4
        assert quadrature.divergence(log_q, log_p) < 0.25
    lost = mixture.select(torch.tensor([0, 1, 2])).log_prob(quadrature.points[:, None])[:, 0]
    assert quadrature.modes_found(density, lost) == 3  # the count can fall


@pytest.mark.slow
@pytest.mark.parametrize('name', DENSITIES)
def test_a_toy_density_is_normalised_and_its_samples_are_its_own(name: str) -> None:
    density = DENSITIES[name]()
    quadrature = Quadrature.over_the_plane(150)
    log_p = density.log_prob(quadrature.points).double()
    assert float(log_p.exp().sum() * quadrature.area) == pytest.approx(1.0, abs=0.01)
    drawn = density.sample(2000, torch.Generator().manual_seed(0))
    entropy = float((log_p.exp() * log_p).sum() * quadrature.area)
    assert float(density.log_prob(drawn).mean()) == pytest.approx(entropy, abs=0.1)


def test_expectation_maximisation_raises_the_likelihood() -> None:
    points = grid(2).sample(600, torch.Generator().manual_seed(0))
    fits = [expectation_maximisation(points, 3, 0, iterations=count) for count in (0, 20)]
    before, after = (float(fit.log_prob(points[:, None]).mean()) for fit in fits)
    assert after > before


@pytest.mark.slow
def test_the_command_writes_figures_a_picture_and_the_page(tmp_path: Path) -> None:
    out, page = tmp_path / 'toy.json', tmp_path / 'vdd.md'
    options = ['--json', str(out), '--runs', str(tmp_path), '--plots', str(tmp_path), '--quiet']
    options += ['--densities', 'grid', '--seeds', '2', '--points', '100', '--steps', '4']
    options += ['--samples', '80', '--width', '16']
    assert toy_vdd.main([*options, '--teacher-steps', '4']) == 0
    written = out.read_text()
    assert len(json.loads(written)['rows']) == 2 * len(fitting.METHODS)
    assert (tmp_path / 'toy_vdd.svg').stat().st_size > 1000
    assert toy_vdd.main([*options, '--teacher-steps', '4']) == 0  # from what was kept
    assert json.loads(out.read_text())['rows'] == json.loads(written)['rows']
    assert vdd_results.main(['--json', str(out), '--out', str(page)]) == 0
    text = page.read_text()
    assert '| grid | VDD | 13 | 2 |' in text
    assert '100 points' in text
    assert 'width 16' in text
    assert 'toy_vdd.svg' in text
    assert vdd_results.main(['--json', str(out), str(out), '--out', str(page)]) == 0
    assert page.read_text().count('toy_vdd.svg') == 1  # the first one's picture alone
    out.write_text(written.replace('"version": 2', '"version": 1'))
    assert vdd_results.main(['--json', str(out), '--out', str(page)]) == 2


@pytest.mark.parametrize(
    'settings,message',
    [
        ({'low_begin': 0.5, 'high_begin': 0.2}, 'noise band'),
        ({'gate': 'none'}, 'gate='),
        ({'temperature': 0.5}, 'temperature='),
        ({'anneal': 0.0}, 'anneal='),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VddConfig(steps=10, **settings)
