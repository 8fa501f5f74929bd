# SPDX-License-Identifier: Apache-2.0
"""The basis, the round trips, and the window's maps against the time domain."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import scipy.fft
import torch

from motion_predictor.model.config import WindowConfig
from motion_predictor.model.dct import dct_matrix, decode, encode, WindowTransform

WINDOW = WindowConfig()


def some_poses(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 6, generator=torch.Generator().manual_seed(seed)).double()


@given(st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_the_basis_is_orthonormal(frames: int) -> None:
    basis = dct_matrix(frames)
    torch.testing.assert_close(basis @ basis.T, torch.eye(frames, dtype=torch.float64))


def test_the_basis_is_the_usual_dct() -> None:
    poses = some_poses(125)
    expected = scipy.fft.dct(poses.numpy(), type=2, norm='ortho', axis=0)
    np.testing.assert_allclose(encode(poses, dct_matrix(125), 125).numpy(), expected, atol=1e-12)


@given(st.integers(1, 150), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_all_coefficients_give_the_poses_back(frames: int, seed: int) -> None:
    poses, basis = some_poses(frames, seed), dct_matrix(frames)
    torch.testing.assert_close(decode(encode(poses, basis, frames), basis), poses)


def test_a_still_pose_needs_one_coefficient() -> None:
    poses, basis = some_poses(1).expand(125, -1), dct_matrix(125)
    coefficients = encode(poses, basis, 20)
    torch.testing.assert_close(coefficients[1:], torch.zeros(19, 6).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(decode(coefficients[:1], basis), poses)


def test_keeping_more_coefficients_never_loses_more() -> None:
    poses, basis = some_poses(60), dct_matrix(60)
    errors = [
        (decode(encode(poses, basis, keep), basis) - poses).norm().item() for keep in range(1, 61)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10


def test_what_was_decoded_once_survives_another_round() -> None:
    basis = dct_matrix(125)
    smooth = decode(encode(some_poses(125), basis, 20), basis)
    torch.testing.assert_close(decode(encode(smooth, basis, 20), basis), smooth)


def test_leading_axes_are_kept() -> None:
    poses = torch.randn(2, 3, 125, 6)
    basis = dct_matrix(125)
    coefficients = encode(poses, basis, 20)
    assert coefficients.shape == (2, 3, 20, 6)
    torch.testing.assert_close(coefficients[1, 2], encode(poses[1, 2], basis, 20))


def test_pad_encodes_the_window_padded_with_its_last_pose() -> None:
    maps, basis = WindowTransform.build(WINDOW, 12), dct_matrix(WINDOW.total_frames)
    observed = some_poses(WINDOW.observed_frames).float()
    padded = torch.cat((observed, observed[-1:].expand(WINDOW.future_frames, -1)))
    torch.testing.assert_close(maps.pad @ observed, encode(padded, basis, 20))


def test_full_and_observe_encode_the_window_and_its_observed_part() -> None:
    maps = WindowTransform.build(WINDOW, 12)
    window = some_poses(WINDOW.total_frames).float()
    past = WINDOW.observed_frames
    torch.testing.assert_close(maps.full @ window, encode(window, dct_matrix(125), 20))
    torch.testing.assert_close(
        maps.observe @ window[:past], encode(window[:past], dct_matrix(past), 12)
    )


def test_the_future_is_that_of_the_completed_history_step_by_step() -> None:
    maps, basis = WindowTransform.build(WINDOW, 12), dct_matrix(WINDOW.total_frames).float()
    past = WINDOW.observed_frames
    observed, coefficients = some_poses(past, 1).float(), some_poses(20, 2).float()
    window = decode(coefficients, basis)
    window[:past] = observed
    again = decode(encode(window, basis, 20), basis)
    torch.testing.assert_close(
        maps.future(coefficients, observed), again[past:], atol=1e-5, rtol=1e-5
    )


def test_somebody_who_stands_still_is_continued_standing_still() -> None:
    maps = WindowTransform.build(WINDOW, 12)
    observed = some_poses(1).float().expand(WINDOW.observed_frames, -1)
    future = maps.future(maps.pad @ observed, observed)
    torch.testing.assert_close(future, observed[:1].expand(100, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'past,ahead,keep', [(25, 100, 20), (30, 120, 20), (15, 60, 75), (2, 2, 1)]
)
def test_the_maps_have_the_shapes_of_their_window(past: int, ahead: int, keep: int) -> None:
    window = WindowConfig(observed_frames=past, future_frames=ahead, dct_keep=keep)
    maps = WindowTransform.build(window, 2)
    assert maps.pad.shape == (keep, past)
    assert maps.observe.shape == (2, past)
    assert maps.complete.shape == (ahead, keep)
    assert maps.recall.shape == (ahead, past)
    assert maps.full.shape == (keep, past + ahead)
    assert all(getattr(maps, name).dtype == torch.float32 for name in maps.__annotations__)
