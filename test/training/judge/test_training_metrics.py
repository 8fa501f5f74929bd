# SPDX-License-Identifier: Apache-2.0
"""The measures against plain loops, small cases worked by hand, and the data's own statistics."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch import Tensor

from motion_predictor.errors import ShapeError
from motion_predictor.model.config import WindowConfig
from training.data.windows import evaluation_windows, recordings_folder
from training.judge import metrics
from training.judge.stream.stream_scores import energy_score

RECORDINGS = recordings_folder()


def some_samples(seed: int = 0, windows: int = 3, samples: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (5, 16, 3)
    return (
        torch.randn(windows, samples, *shape, generator=generator),
        torch.randn(windows, *shape, generator=generator),
    )


def test_every_measure_agrees_with_its_definition_written_as_loops() -> None:
    samples, future = some_samples()
    count, frames = samples.shape[1], samples.shape[2]
    found = metrics.pose_metrics(samples, future)
    for n in range(len(samples)):
        futures = samples[n].numpy().reshape(count, frames, -1).astype(np.float64)
        real = future[n].numpy().reshape(frames, -1).astype(np.float64)
        ades = [np.mean([np.linalg.norm(f[t] - real[t]) for t in range(frames)]) for f in futures]
        fdes = [np.linalg.norm(f[-1] - real[-1]) for f in futures]
        pairs = itertools.combinations(range(count), 2)
        apd = np.mean([np.linalg.norm(futures[i] - futures[j]) for i, j in pairs])
        expected = {
            'apd': apd,
            'ade': min(ades),
            'fde': min(fdes),
            'ade_median': np.median(ades),
            'fde_median': np.median(fdes),
            'ade_worst': max(ades),
            'fde_worst': max(fdes),
        }
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name][n].item() == pytest.approx(value, rel=1e-5), name


def test_multimodal_errors_agree_with_their_definition_written_as_loops() -> None:
    samples, others = some_samples(1)
    flat, alternatives = samples.flatten(-2), others.flatten(-2)
    mmade, mmfde = metrics.multimodal_errors(flat[0], alternatives)
    by_alternative = [
        [(sample - other).norm(dim=-1) for sample in flat[0]] for other in alternatives
    ]
    ades = [min(error.mean().item() for error in errors) for errors in by_alternative]
    fdes = [min(error[-1].item() for error in errors) for errors in by_alternative]
    assert mmade.item() == pytest.approx(np.mean(ades), rel=1e-5)
    assert mmfde.item() == pytest.approx(np.mean(fdes), rel=1e-5)


def test_an_error_is_the_norm_of_the_whole_pose() -> None:
    future = torch.zeros(1, 2, 16, 3)
    samples = future[:, None].clone()
    samples[..., 0] = 0.3  # every joint 0.3 m off: sqrt(16) * 0.3
    found = metrics.pose_metrics(samples, future)
    assert found['ade'].item() == pytest.approx(1.2)
    assert found['fde'].item() == pytest.approx(1.2)


def test_ade_and_fde_may_come_from_different_samples() -> None:
    future = torch.zeros(1, 2, 1, 3)
    samples = torch.zeros(1, 2, 2, 1, 3)
    samples[0, 0, :, 0, 0] = torch.tensor([0.0, 3.0])  # nearest on average
    samples[0, 1, :, 0, 0] = torch.tensor([9.0, 1.0])  # nearest at the end
    found = metrics.pose_metrics(samples, future)
    assert found['ade'].item() == pytest.approx(1.5)
    assert found['fde'].item() == pytest.approx(1.0)


def test_a_perfect_sample_scores_zero_and_the_worst_still_counts() -> None:
    samples, future = some_samples()
    samples[:, 2] = future
    found = metrics.pose_metrics(samples, future)
    assert torch.all(found['ade'] == 0)
    assert torch.all(found['fde'] == 0)
    assert torch.all(found['ade_worst'] > 1.0)


def test_one_sample_has_no_diversity_and_one_error() -> None:
    samples, future = some_samples(samples=1)
    found = metrics.pose_metrics(samples, future)
    assert torch.all(found['apd'] == 0)
    assert torch.equal(found['ade'], found['ade_median'])
    assert torch.equal(found['ade'], found['ade_worst'])


def test_a_multimodal_set_of_the_own_future_alone_gives_ade_and_fde() -> None:
    samples, future = some_samples()
    alone = metrics.multimodal_metrics(samples, [truth[None] for truth in future])
    plain = metrics.pose_metrics(samples, future)
    torch.testing.assert_close(alone['mmade'], plain['ade'])
    torch.testing.assert_close(alone['mmfde'], plain['fde'])


def test_root_relative_poses_forget_where_the_person_is() -> None:
    poses = torch.randn(4, 6, 17, 3, generator=torch.Generator().manual_seed(0))
    moved = metrics.root_relative(poses + torch.tensor([10.0, -3.0, 0.5]))
    assert moved.shape == (4, 6, 16, 3)
    torch.testing.assert_close(moved, metrics.root_relative(poses), atol=1e-5, rtol=0)


def test_world_errors_see_the_root_and_pose_errors_do_not() -> None:
    future = torch.randn(2, 5, 17, 3, generator=torch.Generator().manual_seed(0))
    shifted = future[:, None] + torch.tensor([1.0, 0.0, 0.0])
    world = metrics.world_metrics(shifted, future)
    pose = metrics.pose_metrics(metrics.root_relative(shifted), metrics.root_relative(future))
    torch.testing.assert_close(world['ade'], torch.full((2,), 17**0.5))
    torch.testing.assert_close(pose['ade'], torch.zeros(2), atol=1e-5, rtol=0)


@given(st.permutations(range(6)), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_samples_does_not_matter(order: list[int], seed: int) -> None:
    samples, future = some_samples(seed, samples=6)
    first = metrics.pose_metrics(samples, future)
    second = metrics.pose_metrics(samples[:, order], future)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


@given(st.integers(0, 50), st.floats(-3.1, 3.1))
@settings(max_examples=20, deadline=None)
def test_turning_everything_about_the_vertical_changes_no_measure(seed: int, angle: float) -> None:
    samples, future = some_samples(seed)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    turn = torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    first = metrics.pose_metrics(samples, future)
    second = metrics.pose_metrics(samples @ turn, future @ turn)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5)


def test_more_samples_never_make_the_best_worse() -> None:
    samples, future = some_samples(samples=8)
    few = metrics.pose_metrics(samples[:, :4], future)
    many = metrics.pose_metrics(samples, future)
    for name in ('ade', 'fde'):
        assert torch.all(many[name] <= few[name])
        assert torch.all(many[f'{name}_worst'] >= few[f'{name}_worst'])


def test_neighbours_lie_within_the_threshold_and_include_oneself() -> None:
    last_poses = torch.tensor([[0.0], [0.3], [0.6], [5.0]])
    found = metrics.multimodal_neighbours(last_poses, 0.5)
    assert [index.tolist() for index in found] == [[0, 1], [0, 1, 2], [1, 2], [3]]


def test_horizon_curves_follow_one_sample_each() -> None:
    errors = torch.tensor([[[3.0, 3.0], [0.0, 4.0], [1.0, 1.0]]])  # means 3, 2, 1
    best, median = metrics.horizon_curves(errors)
    assert best.tolist() == [[1.0, 1.0]]
    assert median.tolist() == [[0.0, 4.0]]


def test_arrays_that_do_not_belong_together_are_refused_by_name() -> None:
    samples, future = some_samples()
    with pytest.raises(ShapeError, match='future'):
        metrics.frame_errors(samples.flatten(-2), future.flatten(-2)[:, :-1])


if RECORDINGS is not None:  # these need the recordings; MOTION_PREDICTOR_DATA names their folder

    @pytest.mark.parametrize(
        'sets,count,mean,median,alone',
        [
            (('cmu17',), 462, 36.1, 21, 0.07),
            (('uiprmd17',), 807, 48.2, 48, 0.02),
            (('cmu17', 'uiprmd17'), 1269, 47.0, 42, 0.04),
        ],
    )
    def test_neighbours_of_the_test_windows_are_those_that_the_data_state(
        sets: tuple[str, ...], count: int, mean: float, median: float, alone: float
    ) -> None:
        assert RECORDINGS is not None
        window = WindowConfig()
        windows = torch.from_numpy(
            np.concatenate(
                [evaluation_windows(RECORDINGS / name / 'test.npz', window) for name in sets]
            )
        )
        last = metrics.root_relative(windows[:, window.observed_frames - 1]).flatten(-2)
        sizes = np.array([len(index) for index in metrics.multimodal_neighbours(last)])
        assert len(sizes) == count
        assert sizes.mean() == pytest.approx(mean, rel=0.01)
        assert np.median(sizes) == median
        assert (sizes == 1).mean() == pytest.approx(alone, abs=0.006)


def test_the_energy_score_is_that_of_the_streams_over_all_frames() -> None:
    generator = torch.Generator().manual_seed(3)
    samples = torch.randn(2, 7, 5, 17, 3, generator=generator)
    future = torch.randn(2, 5, 17, 3, generator=generator)
    equal = np.full((7, 5), 1.0 / 7.0)
    expected = [
        energy_score(drawn.numpy(), equal, truth.numpy()).mean()
        for drawn, truth in zip(samples, future)
    ]
    found = metrics.world_metrics(samples, future)['energy']
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_the_energy_score_of_one_sample_is_its_error() -> None:
    samples, future = torch.ones(1, 1, 4, 17, 3), torch.zeros(1, 4, 17, 3)
    found = metrics.world_metrics(samples, future)
    torch.testing.assert_close(found['energy'], found['ade'])
