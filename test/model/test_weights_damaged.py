# SPDX-License-Identifier: Apache-2.0
"""Weights files that are damaged or hostile are refused, and nothing of them is run."""

import copy
import json
import os
from pathlib import Path
import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from random_models import save_random
from safetensors.torch import save_file
import torch
from weights_parts import changed, parts_of

from motion_predictor.errors import MotionPredictorError, WeightsError
from motion_predictor.model.weights import (
    default_weights,
    load_weights,
)


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
