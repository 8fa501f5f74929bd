# SPDX-License-Identifier: Apache-2.0
"""
Predict with an ONNX file that ``training export --onnx`` wrote: ONNX Runtime and NumPy, no torch.

It is the model alone: neither the weighing against simple guesses nor the memory of a place, which
need torch and which the node has (docs/design/limits.md).
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import Skeleton, skeleton_from_dict
from motion_predictor.common.files import brief, check_file
from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError, ShapeError, WeightsError
from motion_predictor.without_torch.noise import sample_noise

FORMAT = 'motion_predictor.onnx'
VERSION = 1
MAX_FILE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Futures:
    """
    Sampled futures of P people, S samples each.

    ``futures`` is float32 (P, S, T_fut, J, 3), metres, in the frame of the input. Frame i is
    ``(i + 1) / rate_hz`` seconds after the last observed frame. ``weights`` is (P, S); every row
    sums to one.
    """

    futures: np.ndarray
    weights: np.ndarray
    rate_hz: float


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says of its model."""

    skeleton: Skeleton
    rate_hz: float
    observed_frames: int
    future_frames: int
    rows: int
    """Number of coefficients, K."""
    samples: int
    """Number of samples that the graph was made for, S."""
    card: dict[str, Any]


class OnnxPredictor:
    """A one-step model in ONNX Runtime, on the CPU; see :meth:`load`."""

    def __init__(self, session: Any, facts: OnnxFacts, name: str) -> None:
        """
        Wrap a session.

        :param session: an ``onnxruntime.InferenceSession``.
        :param facts: what the file says of the model.
        :param name: name in messages.
        """
        self._session = session
        self.facts = facts
        self.name = name

    @classmethod
    def load(cls, path: Path | str, threads: int = 1) -> OnnxPredictor:
        """
        Load an ONNX file.

        :param path: file that ``training export --onnx`` wrote.
        :param threads: number of ONNX Runtime's threads, at least 1.
        :raises ConfigError: if the threads are not valid, or if ONNX Runtime is not installed.
        :raises WeightsError: if the file is missing, damaged, or none of this package's.
        """
        path = Path(path)
        if threads < 1:
            raise ConfigError(f'threads={threads}: must be at least 1')
        check_file(path, WeightsError, MAX_FILE_BYTES)
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError('ONNX Runtime is not installed: pip install onnxruntime') from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider']
            )
            told = dict(session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # its errors have no common base but this one
            raise WeightsError(f'{path}: ONNX Runtime cannot load it ({brief(error)})') from None
        return cls(session, read_facts(path, told), path.stem)

    def predict(self, observed: np.ndarray, *, seed: int = 0) -> Futures:
        """
        Sample futures of one or several people, as ``Predictor.predict`` does with the same seed.

        :param observed: joint positions in metres at ``facts.rate_hz``, gravity along -z, any
            origin and heading, ``(T_obs, J, 3)`` or ``(P, T_obs, J, 3)``, finite.
        :param seed: not negative.
        :returns: ``facts.samples`` futures of each person, in the frame of the input.
        :raises ShapeError: if observed has another shape.
        :raises ConfigError: if the seed is not valid, or if observed is not finite.
        """
        facts = self.facts
        frames, joints = facts.observed_frames, facts.skeleton.num_joints
        observed = np.array(observed, dtype=np.float32, order='C')
        if observed.ndim == 3:
            observed = observed[None]
        if observed.ndim != 4:
            raise ShapeError(
                f'observed: expected ({frames}, {joints}, 3) or one axis of people more, got '
                f'{observed.shape}'
            )
        require_shape('observed', observed, ('P', frames, joints, 3))
        if not np.isfinite(observed).all():
            raise ConfigError('observed: holds NaN or infinity; fill or leave out missing joints')
        if seed < 0:
            raise ConfigError(f'seed={seed}: must not be negative')
        noise = sample_noise(seed, facts.samples, facts.rows, 3 * joints)[None]
        futures, weights = self._session.run(
            ['futures', 'weights'], {'observed': observed, 'noise': noise}
        )
        return Futures(futures, weights, facts.rate_hz)


def read_facts(path: Path, told: dict[str, str]) -> OnnxFacts:
    """
    Read what an ONNX file says of its model.

    :param path: for messages.
    :param told: the file's metadata.
    :raises WeightsError: if this package did not write it, or if it is of another version.
    """
    if (told.get('format'), told.get('version')) != (FORMAT, str(VERSION)):
        raise WeightsError(
            f'{path}: not written by `training export --onnx` of this release '
            f'(format {brief(told.get("format"))}, version {brief(told.get("version"))})'
        )
    try:
        window = json.loads(told['window'])
        return OnnxFacts(
            skeleton_from_dict(json.loads(told['skeleton'])),
            float(window['rate_hz']),
            int(window['observed_frames']),
            int(window['future_frames']),
            int(window['dct_keep']),
            int(told['samples']),
            dict(json.loads(told['card'])),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f'{path}: its metadata are damaged ({brief(error)})') from None
