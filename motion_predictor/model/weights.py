# SPDX-License-Identifier: Apache-2.0
"""Save and load one weights file: safetensors, self-describing, with a golden pair, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open, SafetensorError
from safetensors.torch import save
import torch
from torch import Tensor

from motion_predictor.body.skeleton import skeleton_to_dict
from motion_predictor.bundle import shipped_folders
from motion_predictor.common.files import brief, open_file
from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import MotionPredictorError, StorageError, WeightsError
from motion_predictor.model.calibration import Calibration
from motion_predictor.model.config import to_dict
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights_checks import (
    check_tensors,
    FACTOR,
    FLOATS,
    FORMAT,
    golden_seed,
    read_calibration,
    read_metadata,
    read_weighing,
    ROW_SCALE,
    VERSIONS,
)

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024
SUFFIX = '.safetensors'
_STORED = {**FLOATS, 'I8': torch.int8}


@dataclass(frozen=True)
class GoldenPair:
    """
    An input, and the output that these weights gave for it when they were exported.

    ``observed`` is (T_obs, J, 3) and ``futures`` is (S, T_fut, J, 3), metres, in the same frame.
    """

    observed: np.ndarray
    futures: np.ndarray
    seed: int


@dataclass(frozen=True)
class LoadedWeights:
    """
    The content of a weights file: the model in evaluation mode, its card and its golden pair.

    This record is never changed. Every predictor on any device is made from the same record.
    """

    model: MotionModel
    card: dict[str, Any]
    golden: GoldenPair | None
    path: Path
    calibration: Calibration | None = None
    dtype: torch.dtype = torch.float32
    """Number format in which the file stores the network's matrices."""
    digest: str = ''
    """SHA-256 of tensors and metadata, which the file states and which was checked; '' if the file
    states none, as in earlier releases."""
    weighing: WeighingWeights | None = None
    """Weights that weigh the model against simple candidates and a memory; None: not fitted."""


def save_weights(
    path: Path | str,
    model: MotionModel,
    card: Mapping[str, Any],
    golden: GoldenPair | None = None,
    dtype: torch.dtype = torch.float32,
    calibration: Calibration | None = None,
    weighing: WeighingWeights | None = None,
) -> None:
    """
    Write a model to one file, whole or not at all.

    :param path: path that ends in ``.safetensors``; a missing folder is made.
    :param model: the model to save.
    :param card: JSON-able facts: data, split, seed, scores, limits.
    :param golden: a pair of input and output that a test replays.
    :param dtype: number format of the network's tensors; statistics stay float32. ``torch.int8``
        stores every matrix in 8 bits with one scale per row (see :func:`quantize_rows`) and the
        rest in float32. It only makes the file smaller: a loaded model is always float32.
    :param calibration: calibrated radii of the model.
    :param weighing: weights of the candidates, from ``training weighing``.
    :raises WeightsError: if the path has another suffix, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f'{path}: a weights file ends in {SUFFIX}')
    tensors = _stored_tensors(model, dtype)
    metadata = {
        'format': FORMAT,
        'version': VERSIONS[1] if dtype == torch.int8 else VERSIONS[0],
        'config': json.dumps(to_dict(model.config)),
        'skeleton': json.dumps(skeleton_to_dict(model.skeleton)),
        'card': json.dumps(dict(card)),
    }
    if golden is not None:
        for part in ('observed', 'futures'):
            values = np.ascontiguousarray(getattr(golden, part), dtype=np.float32)
            tensors[f'golden.{part}'] = torch.from_numpy(values)
        metadata['golden_seed'] = str(golden.seed)
    if calibration is not None:
        tensors[FACTOR] = torch.from_numpy(np.ascontiguousarray(calibration.factor, np.float32))
        metadata['calibration'] = json.dumps(calibration.facts())
    if weighing is not None:
        tensors |= {name: torch.from_numpy(v) for name, v in weighing.tensors().items()}
        metadata['weighing'] = json.dumps(weighing.described())
    metadata['digest'] = _digest(tensors, metadata)
    try:
        content = _in_order(save(tensors, metadata=metadata))
        with written_whole(path) as partial:
            partial.write_bytes(content)
            partial.chmod(0o644)  # installed files are readable by all users
    except (StorageError, SafetensorError) as error:
        raise WeightsError(str(error)) from error


def _stored_tensors(model: MotionModel, dtype: torch.dtype) -> dict[str, Tensor]:
    # Return the tensors in the precision of the file; for 8-bit matrices, their scales too.
    tensors: dict[str, Tensor] = {}
    small = dtype == torch.int8
    for name, value in model.state_dict().items():
        value, network = value.detach().cpu(), name.startswith('denoiser.')
        if small and network and value.ndim == 2:
            tensors[name], tensors[name + ROW_SCALE] = quantize_rows(value)
            continue
        kept = dtype if network and not small else torch.float32
        tensors[name] = value.to(kept).contiguous()
    return tensors


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    # Return the SHA-256 of everything in the file except the digest itself.
    digest = hashlib.sha256()
    for key in sorted(metadata.keys() - {'digest'}):
        digest.update(json.dumps([key, metadata[key]]).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _in_order(file: bytes) -> bytes:
    # safetensors writes metadata in any order: sorted, the same weights give the same bytes.
    size = int.from_bytes(file[:8], 'little')
    text = json.dumps(json.loads(file[8 : 8 + size]), sort_keys=True, separators=(',', ':'))
    header = text.encode()
    header += b' ' * (-len(header) % 8)
    return len(header).to_bytes(8, 'little') + header + file[8 + size :]


def quantize_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """
    Round a matrix to 8 bits, symmetrically, each row by its own largest entry.

    :param matrix: ``(rows, columns)``.
    :returns: int8 ``(rows, columns)`` in -127..127 and float32 ``(rows, 1)``; their product equals
        the matrix to within half of the scale.
    """
    matrix = matrix.float()
    scale = matrix.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127.0
    return torch.round(matrix / scale).to(torch.int8), scale


def load_weights(path: Path | str) -> LoadedWeights:
    """
    Read a weights file; everything is checked before any of it is used.

    Sizes are checked before memory is allocated, and no code from the file runs.

    :param path: a ``.safetensors`` file written by :func:`save_weights`.
    :raises WeightsError: naming the file, the fault and the remedy.
    """
    path = Path(path)
    try:
        _check_size(path)
        return _load(path)
    except MotionPredictorError:
        raise
    except Exception as error:  # any error that a hostile file may cause in torch or Python
        raise WeightsError(
            f'{path}: cannot be read ({type(error).__name__}: {error!s:.200}); export it again'
        ) from error


def _load(path: Path) -> LoadedWeights:
    try:
        with safe_open(str(path), framework='pt', device='cpu') as file:
            metadata = file.metadata() or {}
            config, skeleton, card = read_metadata(path, metadata)
            with torch.device('meta'):  # only shapes: nothing is allocated for a hostile file
                shapes = MotionModel(config, skeleton).state_dict()
            expected = {name: tuple(value.shape) for name, value in shapes.items()}
            golden_shapes = check_tensors(path, file, expected, config, skeleton)
            model = MotionModel(config, skeleton)
            state = {name: file.get_tensor(name).float() for name in expected}
            for name in expected:
                if file.get_slice(name).get_dtype() == 'I8':
                    state[name] *= file.get_tensor(name + ROW_SCALE)
            golden = None
            if golden_shapes:
                golden = GoldenPair(
                    file.get_tensor('golden.observed').float().numpy(),
                    file.get_tensor('golden.futures').float().numpy(),
                    golden_seed(path, metadata),
                )
            calibration = read_calibration(path, file, metadata, config, skeleton)
            names = sorted(file.keys())
            found = _digest({name: file.get_tensor(name) for name in names}, metadata)
            weighing = read_weighing(path, file, metadata, config, skeleton)
            stored = {
                _STORED[file.get_slice(name).get_dtype()]
                for name, shape in expected.items()
                if name.startswith('denoiser.') and len(shape) == 2
            }
            dtype = stored.pop() if len(stored) == 1 else torch.float32
    except SafetensorError as error:
        raise WeightsError(
            f'{path}: truncated or damaged ({brief(error)}); fetch or export it again'
        ) from None
    if golden is not None and not (
        np.isfinite(golden.observed).all() and np.isfinite(golden.futures).all()
    ):
        raise WeightsError(f'{path}: the golden pair holds NaN or infinity; export it again')
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(f'{path}: tensor {name} holds NaN or infinity; export it again')
    if bool((state['state_scale'] <= 0).any() or (state['condition_scale'] <= 0).any()):
        raise WeightsError(f'{path}: a whitening scale is not positive; export it again')
    digest = metadata.get('digest', '')
    if digest and digest != found:
        raise WeightsError(
            f'{path}: damaged: its content has SHA-256 {found[:12]}..., and says '
            f'{brief(digest[:12])}...; fetch or export it again'
        )
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    return LoadedWeights(model, card, golden, path, calibration, dtype, digest, weighing)


def _check_size(path: Path) -> None:
    try:
        found = path.is_file()  # no folder, pipe or device
    except (OSError, ValueError) as error:
        raise WeightsError(f'{str(path)[:200]!r}: no name of a file ({brief(error)})') from None
    if not found:
        raise WeightsError(f'{path}: no such weights file; shipped ones: {_shipped_names()}')
    if not os.access(path, os.R_OK):
        raise WeightsError(f'{path}: not readable by this user; change its permissions')
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise WeightsError(f'{path}: {size} bytes; more than {MAX_FILE_BYTES} are refused')
    with open_file(path, WeightsError) as file:
        header = int.from_bytes(file.read(8), 'little')
    if size < 10 or header > min(size - 8, MAX_HEADER_BYTES):
        raise WeightsError(
            f'{path}: truncated or no safetensors file ({size} bytes, header of {header} '
            f'announced); fetch or export it again'
        )


def file_digest(path: Path | str) -> str:
    """
    Return the SHA-256 of a file in hexadecimal.

    :raises WeightsError: if it is not a plain file that can be read.
    """
    digest = hashlib.sha256()
    with open_file(Path(path), WeightsError) as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def weights_folders() -> list[Path]:
    """Return the folders that shipped weights may lie in, however this package was installed."""
    return shipped_folders()


def default_weights(name: str = 'swiftdiff') -> Path:
    """
    Return the path of a shipped weights file.

    :param name: file name without suffix.
    :raises WeightsError: if there is no file of that name; the error lists the shipped names.
    """
    if not name or set(name) & set('/\\\0') or len(name) > 200:
        raise WeightsError(
            f'{name[:200]!r}: no name of shipped weights; shipped ones: {_shipped_names()}'
        )
    for folder in weights_folders():
        path = folder / f'{name}{SUFFIX}'
        if path.is_file():
            return path
    raise WeightsError(f'no shipped weights named {name!r}; shipped ones: {_shipped_names()}')


def _shipped_names() -> str:
    names = {path.stem for folder in weights_folders() for path in folder.glob(f'*{SUFFIX}')}
    return ', '.join(sorted(names)) or 'none found'
