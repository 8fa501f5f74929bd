# SPDX-License-Identifier: Apache-2.0
"""What a weights file says of weighing: read as it was written, or refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from place_people import weights_of, WINDOW
import pytest
from random_models import random_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ShapeError, WeightsError
from motion_predictor.model.candidates import MEMORIES
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import load_weights, save_weights

E = len(MEMORIES)


def saved(path: Path, weighing: WeighingWeights | None) -> Path:
    save_weights(path, random_model(), {'what': 'untrained weights, for tests'}, weighing=weighing)
    return path


def rewritten(
    path: Path, tensors: dict[str, np.ndarray | None], metadata: dict[str, str] | None = None
) -> Path:
    """Write the file once more with some tensors changed, or left out where None."""
    with safe_open(str(path), 'np') as file:
        facts = dict(file.metadata())
    kept = load_file(str(path)) | {k: v for k, v in tensors.items() if v is not None}
    for name in [name for name, value in tensors.items() if value is None]:
        del kept[name]
    save_file(kept, str(path), facts | (metadata or {}))
    return path


def test_weighing_goes_through_a_weights_file_to_the_bit(tmp_path: Path) -> None:
    made = weights_of()
    read = load_weights(saved(tmp_path / 'w.safetensors', made)).weighing
    assert read is not None
    assert read.facts == made.facts
    assert read.radius is not None
    assert made.radius is not None
    assert read.radius.levels == made.radius.levels
    for name, value in made.tensors().items():
        assert (read.tensors()[name] == value).all()
    assert load_weights(saved(tmp_path / 'n.safetensors', None)).weighing is None


def test_a_part_of_weighing_goes_through_a_file_too(tmp_path: Path) -> None:
    bare = WeighingWeights(weights_of().basis)
    read = load_weights(saved(tmp_path / 'w.safetensors', bare)).weighing
    assert read is not None
    assert read.gate is None
    assert read.radius is None


BROKEN: dict[str, tuple[dict[str, np.ndarray | None], dict[str, str], str]] = {
    'no metadata': ({}, {'weighing': ''}, 'weighing'),
    'not JSON': ({}, {'weighing': '{'}, 'bad weighing'),
    'another version': ({}, {'weighing': '{"version": 99}'}, 'version 99'),
    'a list': ({}, {'weighing': '[]'}, 'bad weighing'),
    'deeply nested': ({}, {'weighing': '[' * 100_000}, 'bad weighing'),
    'no basis': ({'weighing.basis': None}, {}, 'basis'),
    'a basis of others': ({'weighing.basis': np.zeros((60, 8), np.float32)}, {}, 'basis'),
    'NaN': ({'weighing.gate.mean': np.full(25, np.nan, np.float32)}, {}, 'gate mean: holds NaN'),
    'float64': ({'weighing.gate.mean': np.zeros(25)}, {}, 'F64'),
    'a lost part': ({'weighing.gate.trust': None}, {}, 'trust'),
    'a lost radius': ({'weighing.radius.factor': None}, {}, 'factor'),
    'too large': ({'weighing.basis': np.zeros((1100, 1000), np.float32)}, {}, 'at most'),
    'other knots': ({'weighing.gate.trust': np.zeros((3, E), np.float32)}, {}, 'knots'),
    'a stranger': ({'weighing.banana.x': np.zeros(3, np.float32)}, {}, 'banana'),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_damaged_or_foreign_weighing_is_refused_by_name(tmp_path: Path, what: str) -> None:
    tensors, metadata, message = BROKEN[what]
    path = rewritten(saved(tmp_path / 'broken.safetensors', weights_of()), tensors, metadata)
    with pytest.raises(WeightsError, match=message) as refused:
        load_weights(path)
    assert 'broken.safetensors' in str(refused.value)
    assert 'fit it again' in str(refused.value) or 'expected F32' in str(refused.value)


def test_weighing_of_another_skeleton_is_refused() -> None:
    weights_of().check(WINDOW, H36M17)
    two = replace(H36M17, joints=H36M17.joints[:2], parents=(-1, 0), mirror=(0, 1), hips=None,
                  shoulders=None, ahead=None)  # fmt: skip
    with pytest.raises(ShapeError, match='basis'):
        weights_of().check(WINDOW, two)
