# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from random_models import random_model

from motion_predictor.errors import ConfigError, ShapeError, WeightsError
from motion_predictor.model.weights import load_weights, save_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.without_torch.onnx_predictor import OnnxPredictor, read_facts
from training.engine.weights_file import golden_input
from training.stages import export
from training.stages.exporting.onnx_export import export_onnx, TOLERANCE_M

for package in ('onnx', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(package)
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 7
NO_TORCH = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] == 'torch':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
from motion_predictor.without_torch.onnx_predictor import OnnxPredictor
observed = np.load(sys.argv[2])
np.save(sys.argv[3], OnnxPredictor.load(sys.argv[1]).predict(observed, seed=3).futures)
assert 'torch' not in sys.modules
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with weights and their ONNX file."""
    made = tmp_path_factory.mktemp('onnx')
    save_weights(made / 'flat.safetensors', random_model(architecture='flat', temperature=1.3), {})
    export_onnx(load_weights(made / 'flat.safetensors'), made / 'flat.onnx', SAMPLES)
    return made


@pytest.mark.slow
def test_without_torch_the_futures_are_those_of_torch(folder: Path) -> None:
    predictor = Predictor.load(folder / 'flat.safetensors', device='cpu', engine='fp32')
    observed = np.stack([golden_input(predictor.model, seed) for seed in range(4)])
    np.save(folder / 'observed.npy', observed)
    words = [str(folder / name) for name in ('flat.onnx', 'observed.npy', 'futures.npy')]
    subprocess.run([sys.executable, '-c', NO_TORCH, *words], check=True, cwd=ROOT)
    expected = predictor.predict(observed, samples=SAMPLES, seed=3).futures
    found = np.load(folder / 'futures.npy')
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE_M


@pytest.mark.slow
def test_the_file_says_what_it_is_of(folder: Path) -> None:
    weights = load_weights(folder / 'flat.safetensors')
    facts = OnnxPredictor.load(folder / 'flat.onnx').facts
    assert facts.skeleton == weights.model.skeleton
    assert (facts.rate_hz, facts.samples) == (weights.model.config.window.rate_hz, SAMPLES)
    assert facts.card['sha256_of_weights'] == weights.digest


@pytest.mark.slow
def test_bad_input_is_refused_by_name(folder: Path) -> None:
    predictor = OnnxPredictor.load(folder / 'flat.onnx')
    frames, joints = predictor.facts.observed_frames, predictor.facts.skeleton.num_joints
    with pytest.raises(ShapeError, match='observed'):
        predictor.predict(np.zeros((frames, joints + 1, 3)))
    with pytest.raises(ShapeError, match='axis of people'):
        predictor.predict(np.zeros((frames, 3)))
    with pytest.raises(ConfigError, match='NaN'):
        predictor.predict(np.full((frames, joints, 3), np.nan))
    with pytest.raises(ConfigError, match='seed'):
        predictor.predict(np.zeros((frames, joints, 3)), seed=-1)


@pytest.mark.slow
def test_damaged_files_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    whole = (folder / 'flat.onnx').read_bytes()
    for name, content in (('half', whole[: len(whole) // 2]), ('text', b'not ONNX')):
        path = tmp_path / f'{name}.onnx'
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=path.name):
            OnnxPredictor.load(path)
    with pytest.raises(WeightsError, match='no such file'):
        OnnxPredictor.load(tmp_path / 'none.onnx')
    with pytest.raises(WeightsError, match='not written by'):
        read_facts(Path('other.onnx'), {})
    with pytest.raises(WeightsError, match='damaged'):
        read_facts(Path('other.onnx'), {'format': 'motion_predictor.onnx', 'version': '1'})


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    for role, said in (('one_step', 'ONNX is for'), ('swiftdiff', 'samples=0')):
        save_weights(tmp_path / 'some.safetensors', random_model(role), {})
        with pytest.raises(ConfigError, match=said):
            export_onnx(load_weights(tmp_path / 'some.safetensors'), tmp_path / 'a.onnx', 0)
    with pytest.raises(ConfigError, match='ends in'):
        export_onnx(load_weights(tmp_path / 'some.safetensors'), tmp_path / 'a.bin', 5)


@pytest.mark.slow
def test_the_verb_writes_the_shipped_mixture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main(['--onnx', str(tmp_path / 'moe.onnx'), '--weights', 'moe'])
    assert 'differs from torch by' in capsys.readouterr().out
    found = OnnxPredictor.load(tmp_path / 'moe.onnx')
    weights = found.predict(np.random.default_rng(0).normal(size=(25, 17, 3))).weights
    assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert np.all(np.diff(weights) <= 0.0), 'in order of weight'
