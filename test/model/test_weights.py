"""Weights files: the round trip, the golden pair, and what is refused."""

import copy
import json
import os
from pathlib import Path
import pickle
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from random_models import observed_people, random_model, save_random
from safetensors import safe_open
from safetensors.torch import save_file
import torch

from motion_predictor.errors import MotionPredictorError, WeightsError
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


def parts_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(str(path), framework='pt') as file:
        names: list[str] = file.keys()
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata())


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


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / 'none.safetensors', tmp_path):
        with pytest.raises(WeightsError, match='no such weights file'):
            load_weights(path)


@pytest.mark.parametrize('share', [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save_random(tmp_path / 'model.safetensors')
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r'model\.safetensors: .*(truncated|no safetensors)'):
        load_weights(path)


def test_a_header_that_announces_too_much_is_refused(tmp_path: Path) -> None:
    path = save_random(tmp_path / 'model.safetensors')
    content = bytearray(path.read_bytes())
    content[:8] = (2**62).to_bytes(8, 'little')
    path.write_bytes(content)
    with pytest.raises(WeightsError, match='truncated'):
        load_weights(path)


class Trap:
    """Raises when somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise AssertionError('code from the file ran')",)


def test_nothing_pickled_is_ever_run(tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    path.write_bytes(pickle.dumps(Trap()) + bytes(1000))
    with pytest.raises(WeightsError):
        load_weights(path)


def changed(path: Path, **metadata_changes: str | None) -> Path:
    tensors, metadata = parts_of(path)
    for name, value in metadata_changes.items():
        if value is None:
            del metadata[name]
        else:
            metadata[name] = value
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'format': 'other'}, "format 'other'"),
        ({'format': None}, 'format None'),
        ({'version': '99'}, "version '99'"),
        ({'version': '3'}, 'version 3 .* no longer read: use a shipped file'),
        ({'version': None}, 'version None'),
        ({'config': None}, "'config' is missing"),
        ({'config': '{'}, 'bad metadata'),
        ({'config': '[]'}, 'bad metadata'),
        ({'config': '{"role": "swiftdiff"}'}, 'bad metadata'),
        ({'skeleton': '{"name": "x"}'}, 'bad metadata'),
        ({'card': '3'}, 'card is no JSON object'),
    ],
)
def test_metadata_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    path = changed(save_random(tmp_path / 'model.safetensors'), **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert 'model.safetensors' in str(caught.value)


def test_a_network_of_absurd_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = save_random(tmp_path / 'model.safetensors')
    _, metadata = parts_of(path)
    config = json.loads(metadata['config'])
    config['denoiser']['width'] = 10**7
    with pytest.raises(WeightsError, match='width'):
        load_weights(changed(path, config=json.dumps(config)))


def test_tensors_that_do_not_belong_to_the_settings_are_refused(tmp_path: Path) -> None:
    original = save_random(tmp_path / 'model.safetensors')
    tensors, metadata = parts_of(original)
    weight = tensors['denoiser.out.weight']
    lacking = {name: value for name, value in tensors.items() if name != 'denoiser.out.weight'}
    scale = tensors['state_scale'].clone()
    scale[0, 0] = 0.0
    for broken, message in (
        (lacking, 'missing'),
        ({**tensors, 'more': torch.zeros(1)}, 'unknown'),
        ({**lacking, 'denoiser.out.weight': weight[:-1].contiguous()}, 'has shape'),
        ({**lacking, 'denoiser.out.weight': weight.to(torch.int32)}, 'expected F32'),
        ({**lacking, 'denoiser.out.weight': weight * torch.nan}, 'NaN'),
        ({**tensors, 'state_scale': scale}, 'not positive'),
        ({**tensors, 'golden.observed': torch.zeros(25, 17, 3)}, 'golden pair'),
        (
            {
                **tensors,
                'golden.observed': torch.zeros(25, 17, 3),
                'golden.futures': torch.zeros(2, 99, 17, 3),
            },
            'golden pair',
        ),
    ):
        path = tmp_path / 'broken.safetensors'
        save_file(broken, path, metadata=metadata)
        with pytest.raises(WeightsError, match=message):
            load_weights(path)


@pytest.mark.slow
@given(
    place=st.floats(0.0, 1.0, exclude_max=True),
    value=st.integers(0, 255),
    in_header=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_damaged_byte_is_refused_or_harmless_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int, in_header: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    original = folder / 'whole.safetensors'
    if not original.is_file():
        save_random(original)
    content = bytearray(original.read_bytes())
    header = 8 + int.from_bytes(content[:8], 'little')
    content[int(place * (header if in_header else len(content)))] = value
    path = folder / 'damaged.safetensors'
    path.write_bytes(content)
    try:
        loaded = load_weights(path)
    except MotionPredictorError:
        return
    assert all(np.isfinite(value.numpy()).all() for value in loaded.model.state_dict().values())


def leaves(values: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Places of everything in nested dicts and lists, the inner nodes too."""
    if not isinstance(values, dict | list):
        return [path]
    items = values.items() if isinstance(values, dict) else enumerate(values)
    return [path, *(leaf for key, value in items for leaf in leaves(value, (*path, key)))]


NASTY = (
    None, True, -1, 0, 1, 3, 2**31, 2**63, 10**400, 1.5, -0.0, 1e300, float('nan'), float('inf'),
    '', 'x', '9' * 5000, [], [1, 2], {}, {'a': 1}, [[[]]],
)  # fmt: skip


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_metadata_of_any_value_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    original = tmp_path_factory.getbasetemp() / 'for_metadata.safetensors'
    if not original.is_file():
        save_random(original)
    tensors, metadata = parts_of(original)
    entry = data.draw(st.sampled_from(['config', 'skeleton']))
    content = json.loads(metadata[entry])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(leaves(content)[1:] or [('x',)]))
        value = copy.deepcopy(data.draw(st.sampled_from(NASTY)))  # the next may change it
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    metadata[entry] = json.dumps(content) if data.draw(st.integers(0, 20)) else '[' * 50_000
    path = original.with_name('nasty.safetensors')
    save_file(tensors, path, metadata=metadata)
    try:
        loaded = load_weights(path)
    except WeightsError as error:
        assert 'nasty.safetensors' in str(error)  # noqa: PT017
        assert len(str(error)) < 5000  # noqa: PT017
        return
    assert loaded.model.config.window.total_frames < 4001


def test_a_setting_of_another_type_is_named(tmp_path: Path) -> None:
    path = save_random(tmp_path / 'model.safetensors')
    _, metadata = parts_of(path)
    for name, value in (('observed_frames', 25.0), ('dct_keep', True), ('rate_hz', 'fast')):
        config = json.loads(metadata['config'])
        config['window'][name] = value
        with pytest.raises(WeightsError, match=rf'WindowConfig\.{name}=.*expected'):
            load_weights(changed(path, config=json.dumps(config)))


def test_tensors_announced_beyond_the_file_or_over_each_other_are_refused(tmp_path: Path) -> None:
    path = save_random(tmp_path / 'model.safetensors')
    content = path.read_bytes()
    length = int.from_bytes(content[:8], 'little')
    header = json.loads(content[8 : 8 + length])
    names = [name for name in header if name != '__metadata__']
    for offsets, shape in (
        ([0, 2**60], [2**58]), ([0, 4], [1]), ([2**62, 2**62 + 4], [1]), ([8, 4], [1]),
        ([0, 4], [2**62, 2**62]), ([-4, 0], [1]), ([0, 2**40], [0]),
    ):  # fmt: skip
        bad = {**header, names[0]: {'dtype': 'F32', 'shape': shape, 'data_offsets': offsets}}
        text = json.dumps(bad).encode()
        path.write_bytes(len(text).to_bytes(8, 'little') + text + content[8 + length :])
        with pytest.raises(WeightsError):
            load_weights(path)


def test_metadata_that_swell_are_refused_by_their_size(tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    save_random(path)
    tensors, metadata = parts_of(path)
    save_file(tensors, path, metadata={**metadata, 'card': json.dumps({'a': 'x' * 5_000_000})})
    with pytest.raises(WeightsError, match='header of'):
        load_weights(path)


@pytest.mark.parametrize(
    'name', ['', '..', '../weights/swiftdiff', 'a\0b', '\\x', 'x' * 5000, '.']
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(WeightsError):
        default_weights(name)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe.safetensors'
    os.mkfifo(pipe)
    for path in (pipe, Path('/dev/zero'), tmp_path / ('x' * 5000), Path('a\0b')):
        with pytest.raises(WeightsError):
            load_weights(path)
