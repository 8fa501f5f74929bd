# SPDX-License-Identifier: Apache-2.0
"""The engine of the node is the fastest of those that this machine has."""

import sys

import numpy as np
import pytest
from random_models import observed_people

from motion_predictor.model.weights import default_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.engines import best, fastest


def loaded(name: str = 'swiftdiff', engine: str = 'fp32') -> Predictor:
    return Predictor.load(default_weights(name), device='cpu', engine=engine)


def test_the_chosen_engine_was_measured_beside_the_others_and_predicts_the_same() -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    exact = loaded()
    chosen, words = fastest(exact, 10, 3)
    assert chosen.engine in ('fp32', 'onnx')
    assert 'fp32' in words
    assert 'onnx' in words
    assert words.endswith('ms for 1, 3 people')
    observed = observed_people(3)
    for engine in ('fp32', 'onnx'):
        found = loaded(engine=engine).predict(observed, samples=10).futures
        wanted = exact.predict(observed, samples=10).futures
        np.testing.assert_allclose(found, wanted, atol=0.0005)


def test_where_one_engine_alone_works_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = loaded('moe')
    assert fastest(mixture, 10, 3) == (mixture, '')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    exact = loaded()
    assert fastest(exact, 10, 3) == (exact, '')


def test_a_loose_engine_must_be_much_faster_than_the_fastest_exact_one() -> None:
    assert best({1: {'fp32': 4.0, 'onnx': 2.0}, 8: {'fp32': 9.0, 'onnx': 10.0}}) == 'onnx'
    assert best({1: {'fp32': 2.0, 'onnx': 2.2}, 8: {'fp32': 9.0, 'onnx': 9.5}}) == 'fp32'
    close = {
        1: {'fp32': 4.0, 'bf16': 3.0, 'onnx': 2.0},
        8: {'fp32': 9.0, 'bf16': 6.0, 'onnx': 8.0},
    }
    assert best(close) == 'onnx', 'bf16 is off by millimetres'
    assert best({1: {'fp32': 4.0, 'bf16': 2.0, 'onnx': 4.0}}) == 'bf16'
