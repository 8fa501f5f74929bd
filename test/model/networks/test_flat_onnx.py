# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime computes what torch computes, and tells what to install where it is missing."""

import sys

import pytest
from random_models import random_model
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.flat_onnx import OnnxFlatDenoiser
from motion_predictor.model.networks.mlp import FlatDenoiser


@pytest.fixture(scope='module')
def network() -> FlatDenoiser:
    denoiser = random_model('swiftdiff', architecture='flat').denoiser
    assert isinstance(denoiser, FlatDenoiser)
    return denoiser.eval()


@pytest.mark.parametrize('people,samples', [(1, 1), (1, 50), (3, 7), (9, 50)])
def test_both_runtimes_give_the_same_states(
    network: FlatDenoiser, people: int, samples: int
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    generator = torch.Generator().manual_seed(people)
    rows = network.condition.in_features // 51
    noise = torch.randn(people, samples, 20, 51, generator=generator)
    condition = torch.randn(people, rows, 51, generator=generator)
    other = OnnxFlatDenoiser(network)
    with torch.inference_mode():
        for given in (noise, noise[:1].expand(people, -1, -1, -1), noise.flatten(0, 1)):
            wanted = network(given, condition)
            assert float(wanted.std()) > 0.05, 'else nothing is compared'
            torch.testing.assert_close(other(given, condition), wanted, rtol=0.0, atol=2e-4)


def test_without_onnx_runtime_it_says_what_to_install(
    network: FlatDenoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ConfigError, match=r"engine='onnx'.*onnxruntime.*pip install"):
        OnnxFlatDenoiser(network)
