# SPDX-License-Identifier: Apache-2.0
"""Former names of modules go on working in this release, with a warning."""

from __future__ import annotations

import importlib

import pytest

from motion_predictor import Prediction

FORMER = {
    'decoded': ('InputFormat',),
    'history': ('HistoryLimits',),
    'tf_input': ('TfSource', 'HriSource', 'TransformTree', 'MAX_FRAMES', 'TRACKED_TOPIC'),
    'layouts': ('layout', 'LAYOUTS', 'Layout', 'read_layout', 'joints_there', 'torso_frame'),
    'skeleton': ('H36M17', 'Skeleton', 'read_skeleton', 'skeleton_from_dict'),
    'node': ('MotionPredictorNode',),
    'online': (
        'OnlinePredictor', 'OnlineLimits', 'OnlinePrediction', 'Observation', 'ObserveOutcome',
    ),
    'outputs': ('decode_moments', 'Outlook', 'SUMMARIES', 'SummaryPublishers'),
    'predictor': ('Prediction', 'Predictor', 'use_threads', 'cpu_has_fast_bf16'),
    'summaries': (
        'Moments', 'sample_moments', 'holding_radius', 'keyframes', 'poses_at', 'Occupancy',
        'occupancy', 'MAX_VOXELS',
    ),
    'weights': ('load_weights', 'save_weights'),
}  # fmt: skip
"""Modules of the last release, and what others may have imported from them."""


@pytest.mark.parametrize('former', FORMER)
def test_what_was_imported_from_a_former_module_is_there(former: str) -> None:
    if former in ('node', 'outputs'):
        pytest.importorskip('rclpy')
    with pytest.warns(DeprecationWarning, match=f'motion_predictor.{former} is now motion_pred'):
        module = importlib.import_module(f'motion_predictor.{former}')
    assert importlib.import_module(f'motion_predictor.{former}') is module
    for name in FORMER[former]:
        assert getattr(module, name) is not None


def test_a_former_name_is_the_new_one() -> None:
    from motion_predictor import predictor

    assert predictor.Prediction is Prediction


def test_the_former_module_of_recordings_is_a_folder_with_its_names() -> None:
    with pytest.warns(DeprecationWarning, match=r'recordings\.open_recording is now in .*open'):
        from motion_predictor.recordings import open_recording
    for name in ('read_npz', 'side_by_side', 'chain', 'with_seam', 'synthetic_walkers'):
        with pytest.warns(DeprecationWarning, match=name):
            assert getattr(importlib.import_module('motion_predictor.recordings'), name)
    assert open_recording('synthetic').num_frames > 0
    with pytest.raises(ImportError):
        from motion_predictor.recordings import nothing_of_the_kind  # type: ignore # noqa: F401
