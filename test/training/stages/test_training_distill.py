# SPDX-License-Identifier: Apache-2.0
"""A student that goes on from earlier weights."""

from dataclasses import replace
from pathlib import Path

import pytest
from random_models import random_model, save_random
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import load_weights
from training.stages.swiftdiff import begin_from


def test_a_student_goes_on_from_weights_of_the_same_data_alone(tmp_path: Path) -> None:
    earlier = load_weights(save_random(tmp_path / 'earlier.safetensors')).model
    student = random_model('swiftdiff')
    begin_from(student, earlier, 'earlier')
    for name, value in earlier.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], value, rtol=0, atol=0)
    student.state_scale.mul_(1.1)
    with pytest.raises(ConfigError, match='state_scale'):
        begin_from(student, earlier, 'earlier')


def test_a_student_of_another_size_is_refused() -> None:
    earlier = random_model('swiftdiff')
    size = replace(earlier.config.denoiser, width=32)
    student = MotionModel(replace(earlier.config, denoiser=size), earlier.skeleton)
    student.load_state_dict(
        {k: v for k, v in earlier.state_dict().items() if not k.startswith('denoiser.')},
        strict=False,
    )
    with pytest.raises(ConfigError, match=r'swiftdiff.start=earlier.*of the same size'):
        begin_from(student, earlier, 'earlier')
