# SPDX-License-Identifier: Apache-2.0
"""Behaviour learning: the avoiding task, the policies that learn it, and the command."""

import json
import math
from pathlib import Path

import pytest
import torch

from motion_predictor.errors import ConfigError
from studies.behaviour import behaviour, behaviour_results
from studies.behaviour.avoiding import (
    collides,
    demonstrate,
    FINISH_M,
    LONGEST_STEP_M,
    OBSTACLES_M,
    roll_out,
    TASK,
    WAYS,
    ways_of,
)
from studies.behaviour.diffusion_policy import Data, data_of, DiffusionPolicy, train_teacher
from studies.behaviour.mixtures import (
    Drawn,
    fit_mixture_by_curriculum,
    fit_mixture_to_chunks,
    sample_mixture,
    vdd_settings,
)
from studies.behaviour.path_students import (
    ConsistencyStudent,
    distil_consistency,
    distil_trajectories,
    TrajectoryStudent,
)
from studies.behaviour.tasks import CHUNK, Demonstrations, entropy_of_ways, task_of


@pytest.fixture(scope='module')
def shown() -> Demonstrations:
    return demonstrate(3, torch.Generator().manual_seed(0))


@pytest.fixture(scope='module')
def data(shown: Demonstrations) -> Data:
    return data_of(TASK, shown)


def test_demonstrations_go_every_way_as_often_and_touch_nothing(shown: Demonstrations) -> None:
    assert torch.bincount(shown.rollouts.way).tolist() == [3] * WAYS
    assert not collides(shown.rollouts.positions).any()
    assert bool((shown.rollouts.positions[-1, :, 1] >= FINISH_M).all())


def test_a_chunk_is_what_the_demonstration_did_next(shown: Demonstrations) -> None:
    tracks = shown.rollouts.positions
    number = int((shown.observations == tracks[5, 7]).all(dim=1).nonzero()[0, 0])
    assert torch.allclose(shown.chunks[number], tracks[5 : 6 + CHUNK, 7].diff(dim=0), atol=1e-6)


def test_robots_that_follow_the_demonstrations_come_through_by_many_ways(
    shown: Demonstrations,
) -> None:
    def nearest(position: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return shown.chunks[torch.cdist(position, shown.observations).argmin(dim=1)]

    rollouts = roll_out(nearest, 100, torch.Generator().manual_seed(1))
    assert rollouts.success_rate > 0.8
    assert rollouts.entropy > 0.7


def test_a_robot_that_keeps_to_the_middle_hits_the_first_obstacle() -> None:
    def onward(position: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        ahead = torch.stack((-position[:, 0], torch.full((len(position),), 0.3)), dim=1)
        return 20.0 * ahead[:, None].expand(-1, CHUNK, -1)

    rollouts = roll_out(onward, 8, torch.Generator().manual_seed(0))
    assert rollouts.success_rate == 0.0
    assert rollouts.entropy == 0.0
    assert bool((rollouts.positions[-1, :, 1] < OBSTACLES_M[0][0]).all())
    assert float(rollouts.positions.diff(dim=0).norm(dim=-1).max()) <= LONGEST_STEP_M + 1e-6
    assert rollouts.way.tolist() == [-1] * 8


def test_a_policy_gone_mad_is_a_failure_and_no_endless_loop() -> None:
    rollouts = roll_out(
        lambda position, generator: torch.full((len(position), CHUNK, 2), math.nan),
        3,
        torch.Generator().manual_seed(0),
    )
    assert rollouts.success_rate == 0.0


def test_ways_are_told_apart_and_their_entropy_lies_between_nought_and_one() -> None:
    track = torch.tensor([[0.3, 0.7], [0.0, 1.4], [-1.0, 2.1]])[:, None]
    mirrored = track * torch.tensor([-1.0, 1.0])
    both = ways_of(torch.cat((track, mirrored), dim=1)).tolist()
    assert both == [1 * 12 + 1 * 4 + 0, 0 * 12 + 1 * 4 + 3]
    assert entropy_of_ways(torch.arange(WAYS), WAYS) == pytest.approx(1.0)
    assert entropy_of_ways(torch.full((50,), 3), WAYS) == 0.0
    assert entropy_of_ways(torch.tensor([1, 2]), WAYS) == pytest.approx(
        math.log(2) / math.log(WAYS)
    )


def test_a_consistency_function_changes_nothing_at_the_lowest_level(data: Data) -> None:
    torch.manual_seed(0)
    student = ConsistencyStudent(DiffusionPolicy(data.inputs))
    chunks, features = data.chunks[:5], data.features[:5]
    lowest, higher = torch.zeros(5, dtype=torch.long), torch.full((5,), 50)
    assert torch.allclose(student(chunks, features, lowest), chunks)
    assert not torch.allclose(student(chunks, features, higher), chunks, atol=0.1)


def test_a_trajectory_starts_as_the_teachers_step_and_from_a_level_to_itself_changes_nothing(
    data: Data,
) -> None:
    torch.manual_seed(0)
    teacher = DiffusionPolicy(data.inputs)
    student = TrajectoryStudent(teacher)
    chunks, features = data.chunks[:5], data.features[:5]
    level, lower = torch.full((5,), 70), torch.full((5,), 20)
    assert torch.allclose(student(chunks, features, level, level), chunks, atol=1e-6)
    stepped = teacher.step_down(chunks, features, level, lower)
    assert torch.allclose(student(chunks, features, level, lower), stepped, atol=1e-5)


class Certain(DiffusionPolicy):
    """A teacher of which every path ends at one chunk."""

    def velocity(
        self, noisy: torch.Tensor, condition: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        signal, noise = (part[:, None] for part in self.scales(level))
        return (signal * noisy - torch.ones_like(noisy)) / noise + 0.0 * super().velocity(
            noisy, condition, level
        )


def certain(data: Data) -> Certain:
    torch.manual_seed(0)
    return Certain(data.inputs).requires_grad_(False)


def test_consistency_distillation_leaves_the_teacher(data: Data) -> None:
    teacher = certain(data)
    before = [part.clone() for part in teacher.parameters()]
    generator = torch.Generator().manual_seed(0)
    drawn = teacher.sample(data.features[:64], generator, 10)
    assert torch.allclose(drawn, torch.ones_like(drawn), atol=1e-3)
    distil_consistency(teacher, data, 2, generator, batch=32)
    distil_trajectories(teacher, data, 2, generator, batch=32)
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters()))


def test_students_of_a_path_learn_where_it_ends(data: Data) -> None:
    torch.manual_seed(0)
    teacher = train_teacher(data, 150, torch.Generator().manual_seed(0), batch=128)
    features = data.features[:256]
    wanted = teacher.sample(features, torch.Generator().manual_seed(1), 33)
    for distil in (distil_consistency, distil_trajectories):
        errors = []
        for steps in (1, 120):
            student = distil(teacher, data, steps, torch.Generator().manual_seed(0), batch=128)
            found = student.sample(features, torch.Generator().manual_seed(1))
            errors.append(float((found - wanted).square().mean()))
        assert errors[1] < 0.8 * errors[0], f'{distil.__name__}: {errors}'


def test_mixtures_learn_the_demonstrations(data: Data) -> None:
    fresh = fit_mixture_to_chunks(data, Drawn(data.features, data.chunks), 4, 1, 0)
    fitted = {
        'em': fit_mixture_to_chunks(data, Drawn(data.features, data.chunks), 4, 60, 0),
        'imc': fit_mixture_by_curriculum(data, 4, 60, 0, rounds=6),
    }
    chosen = torch.randperm(len(data.chunks), generator=torch.Generator().manual_seed(0))[:500]

    def log_likelihood(network) -> float:
        with torch.no_grad():
            mixture = network(data.features[chosen])
            return float(mixture.log_prob(data.chunks[chosen]).mean())

    for name, network in fitted.items():
        assert log_likelihood(network) > log_likelihood(fresh) + 1.0, name
        drawn = sample_mixture(network, data.features[chosen], torch.Generator().manual_seed(0))
        assert drawn.shape == data.chunks[chosen].shape


def test_the_command_writes_figures_a_picture_and_the_page(tmp_path: Path) -> None:
    out, page = tmp_path / 'avoiding.json', tmp_path / 'avoiding.md'
    options = ['--json', str(out), '--runs', str(tmp_path / 'runs'), '--plots', str(tmp_path)]
    options += ['--seeds', '1', '--demonstrations', '1', '--teacher-steps', '3', '--steps', '3']
    options += ['--experts', '2', '--robots', '4', '--calls', '2', '--sampling-steps', '2']
    assert behaviour.main([*options, '--quiet']) == 0
    written = json.loads(out.read_text())
    assert [row['method'] for row in written['summary']] == list(behaviour.METHODS)
    assert (tmp_path / 'avoiding.svg').stat().st_size > 1000
    assert behaviour.main([*options, '--quiet']) == 0  # from what was kept
    assert json.loads(out.read_text())['rows'] == written['rows']
    assert behaviour_results.main(['--json', str(out), '--out', str(page)]) == 0
    assert '| VDD as published | ' in page.read_text()


def test_published_vdd_has_none_of_our_additions_and_the_bound_alone_no_likelihood() -> None:
    published, ours, bound = (vdd_settings(9, name) for name in behaviour.VDDS)
    assert not published.noised
    assert not published.path_gradient
    assert (published.warm, published.forward) == (bound.warm, bound.forward) == (0.0, 0.0)
    assert bound.noised
    assert bound.path_gradient
    assert ours.warm > 0.0
    assert ours.forward > 0.0


@pytest.mark.parametrize(
    'values, word', [((0.9, 0.91, 0.92), 'ahead'), ((0.5, 0.9, 0.7), 'undecided')]
)
def test_the_page_says_who_is_ahead_by_the_interval(values: tuple[float, ...], word: str) -> None:
    rows = [
        {'method': method, 'seed': seed, 'entropy': entropy}
        for method, of in (('a', values), ('b', (0.6, 0.62, 0.61)))
        for seed, entropy in enumerate(of)
    ]
    assert f'**{word}**' in behaviour_results.comparison(rows, 'a', 'b', 'entropy')
    assert 'too few seeds' in behaviour_results.comparison(
        rows[:2] + rows[3:5], 'a', 'b', 'entropy'
    )
    if word == 'ahead':
        assert '**behind**' in behaviour_results.comparison(rows, 'b', 'a', 'entropy')


def test_the_page_refuses_the_results_of_another_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='format'):
        behaviour_results.page_text([{'format': 'other'}], tmp_path, tmp_path, '')


def test_a_task_that_is_unknown_is_named() -> None:
    with pytest.raises(ConfigError, match='avoiding'):
        task_of('flying')
