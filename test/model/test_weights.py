# SPDX-License-Identifier: Apache-2.0
"""Weights files: the round trip, the golden pair, and names that are refused."""

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from random_models import observed_people, random_model
from safetensors.torch import save_file
import torch
from weights_parts import changed, parts_of

from motion_predictor.errors import WeightsError
from motion_predictor.model.calibration import Calibration
from motion_predictor.model.weights import (
    default_weights,
    file_digest,
    GoldenPair,
    load_weights,
    save_weights,
    weights_folders,
)
from motion_predictor.predict.predictor import Predictor

SHIPPED = sorted(weights_folders()[0].glob('*.safetensors'))


def with_golden(path: Path) -> Path:
    model = random_model()
    observed = observed_people(1)[0]
    predictor = Predictor(model, {}, device='cpu', engine='fp32')
    futures = predictor.predict(observed, samples=3, seed=11).futures[0]
    save_weights(path, model, {'what': 'a test'}, GoldenPair(observed, futures, 11))
    return path


@pytest.mark.parametrize('role', ['teacher', 'one_step', 'swiftdiff'])
def test_a_file_gives_back_the_model_the_settings_and_the_card(tmp_path: Path, role: str) -> None:
    model = random_model(role, t_star=951, prediction='eps', condition='padded')
    card = {'what': 'a test', 'scores': {'ade': 0.4}, 'seed': 3}
    path = tmp_path / 'new' / 'model.safetensors'
    save_weights(path, model, card)
    loaded = load_weights(path)
    assert loaded.model.config == model.config
    assert loaded.model.skeleton == model.skeleton
    assert loaded.card == card
    assert loaded.golden is None
    assert not loaded.model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], value, rtol=0, atol=0)
    assert not list(path.parent.glob('*.partial'))


def test_half_precision_files_are_half_as_large_and_nearly_the_same(tmp_path: Path) -> None:
    model = random_model()
    whole, half = tmp_path / 'whole.safetensors', tmp_path / 'half.safetensors'
    save_weights(whole, model, {})
    save_weights(half, model, {}, dtype=torch.float16)
    assert half.stat().st_size < 0.8 * whole.stat().st_size
    kept = load_weights(half).model.state_dict()
    for name, value in model.state_dict().items():
        assert kept[name].dtype == torch.float32
        torch.testing.assert_close(kept[name], value, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(kept['state_scale'], model.state_scale, rtol=0, atol=0)


@pytest.mark.parametrize('architecture', ['mixer', 'flat'])
def test_eight_bit_files_are_a_quarter_and_within_half_a_unit(
    tmp_path: Path, architecture: str
) -> None:
    model = random_model(architecture=architecture)
    whole, small = tmp_path / 'whole.safetensors', tmp_path / 'small.safetensors'
    save_weights(whole, model, {})
    save_weights(small, model, {}, dtype=torch.int8)
    assert parts_of(whole)[1]['version'] == '1'
    assert parts_of(small)[1]['version'] == '2'
    weights = [name for name in model.state_dict() if name.startswith('denoiser.')]
    bytes_of = [sum(parts_of(p)[0][n].nbytes for n in weights) for p in (small, whole)]
    assert bytes_of[0] < 0.4 * bytes_of[1]  # these matrices are small, biases stay float32
    kept = load_weights(small).model.state_dict()
    for name, value in model.state_dict().items():
        assert kept[name].dtype == torch.float32
        rounded = name.startswith('denoiser.') and value.ndim == 2
        unit = value.abs().amax(dim=1, keepdim=True) / 127.0 if rounded else torch.zeros(())
        assert ((kept[name] - value).abs() <= 0.501 * unit).all(), name


def test_an_eight_bit_matrix_without_its_scale_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'small.safetensors'
    save_weights(path, random_model(), {}, dtype=torch.int8)
    tensors, metadata = parts_of(path)
    for name in [name for name in tensors if name.endswith('.row_scale')]:
        del tensors[name]
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(WeightsError, match='row_scale'):
            load_weights(path)


def test_a_vector_of_eight_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'small.safetensors'
    save_weights(path, random_model(), {}, dtype=torch.int8)
    tensors, metadata = parts_of(path)
    tensors['denoiser.out.bias'] = tensors['denoiser.out.bias'].to(torch.int8)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(WeightsError, match='I8'):
        load_weights(path)


def test_the_golden_pair_is_replayed(tmp_path: Path) -> None:
    path = with_golden(tmp_path / 'golden.safetensors')
    predictor = Predictor.load(path, device='cpu', engine='fp32')
    assert predictor.golden is not None
    assert predictor.golden.seed == 11
    assert predictor.golden_error_m() < 1e-5


def test_a_golden_pair_with_a_seed_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = changed(with_golden(tmp_path / 'golden.safetensors'), golden_seed='-1')
    with pytest.raises(WeightsError, match="golden_seed '-1'"):
        load_weights(path)


def test_the_golden_pair_tells_when_weights_have_changed(tmp_path: Path) -> None:
    path = with_golden(tmp_path / 'golden.safetensors')
    tensors, metadata = parts_of(path)
    tensors['denoiser.out.weight'] = tensors['denoiser.out.weight'] + 0.1
    del metadata['digest']  # of a file of an earlier release
    save_file(tensors, path, metadata=metadata)
    for engine in ('fp32', 'bf16'):
        predictor = Predictor.load(path, device='cpu', engine=engine)
        assert predictor.golden_error_m() > 0.01
        with pytest.raises(WeightsError, match=r'golden: damaged: its golden pair is off by 0\.'):
            predictor.require_golden()


def flipped(content: bytes, byte: int, bit: int) -> bytes:
    """Return a file with one bit the other way round."""
    return content[:byte] + bytes([content[byte] ^ (1 << bit)]) + content[byte + 1 :]


@pytest.mark.slow
def test_one_flipped_bit_anywhere_in_the_tensors_is_refused(tmp_path: Path) -> None:
    factor = np.full((1, 100, 17), 2.0, np.float32)
    held = Calibration((0.9,), factor, 0.01, 3, {'of': 'a test'})
    path = tmp_path / 'whole.safetensors'
    save_weights(path, random_model(), {}, calibration=held)
    content = path.read_bytes()
    assert load_weights(path).digest
    begin = 8 + int.from_bytes(content[:8], 'little')
    rng = np.random.default_rng(0)
    for byte in rng.integers(begin, len(content), 40).tolist():
        path.write_bytes(flipped(content, byte, int(rng.integers(8))))
        with pytest.raises(WeightsError, match=r'whole\.safetensors: '):
            load_weights(path)


def test_metadata_that_were_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'whole.safetensors'
    save_weights(path, random_model(), {'surprise': {'threshold': 1.5}})
    tensors, metadata = parts_of(path)
    metadata['card'] = metadata['card'].replace('1.5', '9.5')
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(WeightsError, match='damaged: its content has SHA-256'):
        load_weights(path)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['swiftdiff', 'moe'])
def test_a_shipped_file_with_a_flipped_bit_is_refused_or_predicts_what_it_did(
    name: str, tmp_path: Path
) -> None:
    content = default_weights(name).read_bytes()
    begin = 8 + int.from_bytes(content[:8], 'little')
    path = tmp_path / f'{name}.safetensors'
    rng = np.random.default_rng(1)
    observed, refused = observed_people(2), 0
    sound = Predictor.load(default_weights(name), device='cpu', engine='fp32')
    assert sound.require_golden()
    expected = sound.predict(observed, samples=4).futures
    for byte in rng.integers(begin, len(content), 30).tolist():
        path.write_bytes(flipped(content, byte, int(rng.integers(4, 8))))
        try:
            predictor = Predictor.load(path, device='cpu', engine='fp32')
            predictor.require_golden()
        except WeightsError:
            refused += 1
            continue
        apart = np.abs(predictor.predict(observed, samples=4).futures - expected)
        assert apart.max() < 0.05, 'said to be sound'
    assert refused


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_load_and_replay_their_golden_pair(path: Path) -> None:
    loaded = load_weights(path)
    assert loaded.card.get('what')
    assert path.with_suffix('.md').is_file()
    assert default_weights(path.stem) == path
    if loaded.model.config.role == 'teacher':
        assert loaded.golden is None
        return
    predictor = Predictor.load(path, device='cpu', engine='fp32')
    assert predictor.golden_error_m() < 1e-3


def test_a_name_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(WeightsError, match=r"'nobody'.*shipped ones"):
        default_weights('nobody')


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r'\.safetensors'):
        save_weights(tmp_path / 'model.pt', random_model(), {})


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('in the way')
    (tmp_path / 'model.safetensors.partial').mkdir()
    for place in (tmp_path / 'file', tmp_path):
        with pytest.raises(WeightsError, match=r'model\.safetensors: cannot be written'):
            save_weights(place / 'model.safetensors', random_model(), {})


@pytest.mark.slow
def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    model, card = random_model(), {f'fact {number}': number for number in range(20)}
    first, again = tmp_path / 'first.safetensors', tmp_path / 'again.safetensors'
    for path in (first, again):
        save_weights(path, model, card)
    command = (
        'from pathlib import Path; import sys; from motion_predictor.model.weights import *; '
        'kept = load_weights(sys.argv[1]); save_weights(sys.argv[2], kept.model, kept.card)'
    )
    elsewhere = tmp_path / 'elsewhere.safetensors'  # by another process, whose hashes differ
    subprocess.run([sys.executable, '-c', command, str(first), str(elsewhere)], check=True)
    assert first.read_bytes() == again.read_bytes() == elsewhere.read_bytes()
    header = int.from_bytes(first.read_bytes()[:8], 'little')
    assert header % 8 == 0, 'tensors begin at a multiple of 8'


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    path.write_bytes(b'abc')
    assert file_digest(path) == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
