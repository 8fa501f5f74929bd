# SPDX-License-Identifier: Apache-2.0
"""Check the content of a weights file before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
from pathlib import Path
from typing import Any

import torch

from motion_predictor.body.skeleton import Skeleton, skeleton_from_dict
from motion_predictor.common.files import brief
from motion_predictor.errors import ConfigError, MotionPredictorError, WeightsError
from motion_predictor.model.calibration import Calibration
from motion_predictor.model.config import from_dict, ModelConfig
from motion_predictor.model.weighing_weights import MAX_NUMBERS, PREFIX, WeighingWeights

FORMAT = 'motion_predictor'
VERSIONS = ('1', '2')
"""Versions that can be read. Version 2 has matrices of 8 bits per number; other files are 1."""
GROWN_VERSION = '3'
"""Version whose network earlier releases enlarged when they loaded it; it is no longer read."""
ROW_SCALE = '.row_scale'
"""End of the name of the tensor that holds the value of one unit in each row of an
8-bit matrix."""
FACTOR = 'calibration.factor'
MAX_LEVELS = 16
MAX_FACTOR = 1e4
"""Largest factor of a calibration; it multiplies a spread of centimetres or more."""
FLOATS = {'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16}


def read_metadata(
    path: Path, metadata: Mapping[str, str]
) -> tuple[ModelConfig, Skeleton, dict[str, Any]]:
    """
    Return the settings, the skeleton and the card of a model.

    :param path: path of the file, for messages.
    :param metadata: the file's metadata.
    :raises WeightsError: if something is missing, wrong or of another version.
    """
    if metadata.get('format') != FORMAT:
        found = metadata.get('format')
        raise WeightsError(
            f'{path}: format {brief(repr(found))}; needs a file written by {FORMAT}'
        )
    if metadata.get('version') == GROWN_VERSION:
        raise WeightsError(
            f'{path}: format version {GROWN_VERSION} (a small network that is enlarged when it is '
            f'loaded) is no longer read: use a shipped file (such as swiftdiff), or export the '
            f'smaller network that it was made from'
        )
    if metadata.get('version') not in VERSIONS:
        raise WeightsError(
            f'{path}: format version {brief(repr(metadata.get("version")))}; this release reads '
            f'{" and ".join(VERSIONS)}: export the weights again, or update motion_predictor'
        )
    try:
        config = from_dict(ModelConfig, json.loads(metadata['config']))
        skeleton = skeleton_from_dict(json.loads(metadata['skeleton']))
        card = json.loads(metadata['card'])
    except KeyError as error:
        raise WeightsError(f'{path}: metadata entry {error} is missing; export it again') from None
    except (ConfigError, MotionPredictorError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f'{path}: bad metadata ({brief(error)}); export it again') from None
    if not isinstance(card, dict):
        raise WeightsError(f'{path}: the model card is no JSON object; export it again')
    if skeleton.num_joints > 128:
        raise WeightsError(f'{path}: {skeleton.num_joints} joints; at most 128 are read')
    return config, skeleton, card


def check_tensors(
    path: Path,
    file: Any,
    expected: Mapping[str, tuple[int, ...]],
    config: ModelConfig,
    skeleton: Skeleton,
) -> bool:
    """
    Check the names, shapes and types of a file's tensors before any of them is read.

    :param expected: shapes of the model's own tensors, by name.
    :returns: whether the file has a golden pair.
    :raises WeightsError: naming the tensor.
    """
    names = set(file.keys())
    golden = {'golden.observed', 'golden.futures'}
    optional = golden | ({FACTOR} if FACTOR in names else set())
    optional |= {name for name in names if name.startswith(PREFIX)}
    scales = {
        name + ROW_SCALE: (shape[0], 1)
        for name, shape in expected.items()
        if name in names and len(shape) == 2 and file.get_slice(name).get_dtype() == 'I8'
    }
    wanted_names = set(expected) | set(scales)
    missing, extra = sorted(wanted_names - names), sorted(names - wanted_names - optional)
    if missing or extra:
        raise WeightsError(
            f'{path}: tensors missing {missing[:3]}, unknown {extra[:3]}; '
            f'its configuration and tensors do not belong together'
        )
    for name, shape in {**expected, **scales}.items():
        found = file.get_slice(name)
        if tuple(found.get_shape()) != shape:
            raise WeightsError(
                f'{path}: {name} has shape {tuple(found.get_shape())}; expected {shape}'
            )
        if found.get_dtype() not in FLOATS and name + ROW_SCALE not in scales:
            raise WeightsError(
                f'{path}: {name} is {found.get_dtype()}; expected F32, F16, BF16, or for a matrix '
                f'I8 with its {ROW_SCALE[1:]}'
            )
    present = names & golden
    if present and present != golden:
        raise WeightsError(f'{path}: only {sorted(present)} of the golden pair is there')
    if present:
        joints, window = skeleton.num_joints, config.window
        observed = tuple(file.get_slice('golden.observed').get_shape())
        futures = tuple(file.get_slice('golden.futures').get_shape())
        wanted = (window.observed_frames, joints, 3), (window.future_frames, joints, 3)
        if observed != wanted[0] or len(futures) != 4 or futures[1:] != wanted[1]:
            raise WeightsError(f'{path}: golden pair has shapes {observed} and {futures}')
    return bool(present)


def read_calibration(
    path: Path, file: Any, metadata: Mapping[str, str], config: ModelConfig, skeleton: Skeleton
) -> Calibration | None:
    """
    Return the calibration of a file; None if it has none.

    :raises WeightsError: if it is damaged or belongs to other joints.
    """
    there = FACTOR in set(file.keys())
    if there != ('calibration' in metadata):
        raise WeightsError(f'{path}: only a part of a calibration is there; calibrate it again')
    if not there:
        return None
    found = file.get_slice(FACTOR)
    shape = tuple(found.get_shape())
    wanted = (config.window.future_frames, skeleton.num_joints)
    if len(shape) != 3 or not 1 <= shape[0] <= MAX_LEVELS or shape[1:] != wanted:
        raise WeightsError(
            f'{path}: {FACTOR} has shape {shape}; expected (1..{MAX_LEVELS}, {wanted[0]}, '
            f'{wanted[1]})'
        )
    if found.get_dtype() != 'F32':
        raise WeightsError(f'{path}: {FACTOR} is {found.get_dtype()}; expected F32')
    try:
        facts = json.loads(metadata['calibration'])
        factor = file.get_tensor(FACTOR).numpy()
        if factor.size and factor.max() > MAX_FACTOR:
            raise ConfigError(f'a factor of {factor.max():g}: at most {MAX_FACTOR:g} can be meant')
        return Calibration(
            levels=tuple(float(level) for level in facts['levels']),
            factor=factor,
            floor_m=float(facts['floor_m']),
            samples=int(facts['samples']),
            power=float(facts.get('power', 1.0)),
            fitted_on={str(k): str(v) for k, v in facts['fitted_on'].items()},
        )
    except (MotionPredictorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f'{path}: bad calibration ({brief(repr(error))}); calibrate it again'
        ) from None
    except RecursionError:
        raise WeightsError(f'{path}: bad calibration; calibrate it again') from None


def read_weighing(
    path: Path, file: Any, metadata: Mapping[str, str], config: ModelConfig, skeleton: Skeleton
) -> WeighingWeights | None:
    """
    Return the weights that weigh the candidates; None if the file has none.

    :raises WeightsError: if they are damaged or belong to other joints.
    """
    names = [name for name in sorted(set(file.keys())) if name.startswith(PREFIX)]
    if bool(names) != ('weighing' in metadata):
        raise WeightsError(f'{path}: only a part of a weighing is there; fit it again')
    if not names:
        return None
    for name in names:
        found = file.get_slice(name)
        if found.get_dtype() != 'F32' or math.prod(found.get_shape()) > MAX_NUMBERS:
            raise WeightsError(
                f'{path}: {name[:80]} is {found.get_dtype()} of shape {found.get_shape()}; '
                f'expected F32, at most {MAX_NUMBERS} numbers'
            )
    try:
        described = json.loads(metadata['weighing'])
        tensors = {name: file.get_tensor(name).numpy() for name in names}
        return WeighingWeights.read(tensors, described, config.window, skeleton)
    except (MotionPredictorError, AttributeError, ValueError, RecursionError) as error:
        raise WeightsError(
            f'{path}: bad weighing ({brief(error)}); fit it again with python -m training weighing'
        ) from None


def golden_seed(path: Path, metadata: Mapping[str, str]) -> int:
    """
    Return the seed of the golden pair.

    :raises WeightsError: if it is not a whole number.
    """
    text = metadata.get('golden_seed', '0')
    if not (text.isascii() and text.isdigit()):
        raise WeightsError(
            f'{path}: golden_seed {brief(repr(text))}: expected a whole number, not negative'
        )
    return int(text)
