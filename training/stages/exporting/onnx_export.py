# SPDX-License-Identifier: Apache-2.0
"""Write a one-step model as ONNX, and see that ONNX Runtime computes what torch does."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
import tempfile
from typing import Any
import warnings

import numpy as np
import torch
from torch import nn, Tensor

from motion_predictor.body.skeleton import skeleton_to_dict
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import to_dict
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import LoadedWeights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.without_torch.noise import sample_noise
from motion_predictor.without_torch.onnx_predictor import FORMAT, OnnxPredictor, VERSION
from training.engine.weights_file import golden_input

ROLES = ('swiftdiff', 'moe')
OPSET = 18
TOLERANCE_M = 1e-4
"""Largest difference of a coordinate from torch's that an exported file may have, metres. The
shipped models differ by 2e-6 to 4e-6 m."""
PEOPLE = (1, 3)
"""Numbers of people that an exported file is tried with."""


class WholeModel(nn.Module):
    """From observed poses and noise to futures and weights, as ``Predictor.predict`` does it."""

    def __init__(self, model: MotionModel) -> None:
        """Wrap a model of role 'swiftdiff' or 'moe'."""
        super().__init__()
        self.model = model

    def forward(self, observed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """
        Predict.

        :param observed: metres, ``(P, T_obs, J, 3)``.
        :param noise: standard normal, shared by everybody, ``(1, S, K, D)``.
        :returns: futures ``(P, S, T_fut, J, 3)``, metres, and weights ``(P, S)``.
        """
        model = self.model
        context = model.observe(observed)
        drawn = noise.expand(len(observed), -1, -1, -1)
        if model.config.role == 'moe':
            white, weights = model.ranked(model.mixture(context), drawn)
        else:
            white = model.one_step(drawn, context.condition)
            samples = noise.shape[1]
            weights = torch.full((len(observed), samples), 1.0 / samples)
        return model.decode(white, context), weights


def export_onnx(weights: LoadedWeights, out: Path, samples: int) -> float:
    """
    Write a model as one ONNX file that carries what ``OnnxPredictor`` must know.

    :param weights: of role 'swiftdiff' or 'moe'.
    :param out: file to write; it is written only if it computes what torch does.
    :param samples: number of samples, S; the number of people stays free.
    :returns: largest difference from torch of a coordinate, metres.
    :raises ConfigError: if the model has another role, if a package is absent, if there are fewer
        samples than experts, or if the file differs from torch by more than ``TOLERANCE_M``.
    """
    config = weights.model.config
    if config.role not in ROLES:
        raise ConfigError(f'{weights.path}: role {config.role!r}; ONNX is for {", ".join(ROLES)}')
    least = max(1, config.denoiser.experts)
    if not least <= samples <= 10_000:
        raise ConfigError(f'samples={samples}: must lie in {least}..10000 for this model')
    if out.suffix != '.onnx':
        raise ConfigError(f'{out}: an ONNX file ends in .onnx')
    onnx = _packages()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / out.name
        _trace(weights.model, scratch, samples)
        made = onnx.load(scratch)
        told = {
            'format': FORMAT,
            'version': str(VERSION),
            'window': json.dumps(to_dict(config)['window']),
            'skeleton': json.dumps(skeleton_to_dict(weights.model.skeleton)),
            'samples': str(samples),
            'card': json.dumps({**weights.card, 'sha256_of_weights': weights.digest}),
        }
        onnx.helper.set_model_props(made, told)
        onnx.save(made, scratch)
        off_m = difference_m(weights, OnnxPredictor.load(scratch))
        if not off_m <= TOLERANCE_M:
            raise ConfigError(
                f'{out}: not written: it differs from torch by {off_m:.3g} m, at most '
                f'{TOLERANCE_M:g} m is allowed'
            )
        write_whole(out, scratch.read_bytes())
    return off_m


def difference_m(weights: LoadedWeights, onnx: OnnxPredictor) -> float:
    """
    Compare an ONNX file with torch, in fp32 on the CPU.

    :returns: largest difference of a coordinate of all futures, metres; infinite if the weights
        of the samples differ by more than 1e-4.
    """
    predictor = Predictor.of(weights, device='cpu', engine='fp32')
    worst = 0.0
    for people in PEOPLE:
        observed = np.stack([golden_input(weights.model, seed) for seed in range(people)])
        expected = predictor.predict(observed, samples=onnx.facts.samples, seed=1)
        found = onnx.predict(observed, seed=1)
        if np.abs(found.weights - expected.weights).max() > 1e-4:
            return float('inf')
        worst = max(worst, float(np.abs(found.futures - expected.futures).max()))
    return worst


def _trace(model: MotionModel, out: Path, samples: int) -> None:
    window, joints = model.config.window, model.skeleton.num_joints
    observed = torch.from_numpy(np.stack([golden_input(model, seed) for seed in (0, 1)])).float()
    noise = torch.from_numpy(sample_noise(0, samples, window.dct_keep, 3 * joints).copy())[None]
    whole = WholeModel(model).eval()
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of packages that nobody needs here
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            torch.onnx.export(
                whole, (observed, noise), out, dynamo=True, external_data=False, verbose=False,
                opset_version=OPSET, input_names=['observed', 'noise'],
                output_names=['futures', 'weights'],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC}, None),
            )  # fmt: skip
    finally:
        logger.setLevel(level)


def _packages() -> Any:
    with contextlib.suppress(ImportError):
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        return onnx
    raise ConfigError(
        "ONNX needs more packages: pip install 'motion-predictor[onnx]' (onnx, onnxruntime, "
        'onnxscript)'
    )
