# SPDX-License-Identifier: Apache-2.0
"""Export a run's weights with golden pairs and model cards: python -m training export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import sys
from typing import Literal

import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.common.files import read_json
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import (
    default_weights,
    load_weights,
    save_weights,
    SUFFIX,
)
from training.common.options import read_options, refuse
from training.engine.presets import preset
from training.engine.weights_file import (
    export,
    golden_pair,
    surprise_facts,
    write_cards,
)

EXAMPLE = """
example, what a run made, as the package ships it:
  python -m training export --run runs/small --out resource/weights
example, an untrained network for trying things out:
  python -m training export --random /tmp/random.safetensors
example, for a machine without torch:
  python -m training export --onnx swiftdiff.onnx --weights swiftdiff
"""


DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'int8': torch.int8}


Role = Literal['teacher', 'one_step', 'swiftdiff', 'moe']
ROLES: tuple[Role, ...] = ('teacher', 'one_step', 'swiftdiff')


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of ``export``."""

    run: Path | None = None
    """Run folder of the training verbs."""
    out: Path | None = None
    """Folder for the files."""
    only: tuple[Role, ...] = ROLES
    """Export only the weights of these roles."""
    name: str | None = None
    """Name of the file, if --only names one role; the default is the role's."""
    dtype: Literal['float32', 'float16', 'int8'] | None = None
    """Number format of the files; int8 has one scale per row; the default is float32 for
    swiftdiff, otherwise float16."""
    scores: Path | None = None
    """JSON with scores for the cards, by role."""
    cards: Path | None = None
    """Write the scores of this evaluation (JSON) into the cards of the files in --out, and do
    nothing else."""
    surprise: Path | None = None
    """JSON of evaluate-mixture; its threshold goes into the mixture's card and serves the node's
    flag."""
    random: Path | None = None
    """File for an untrained SwiftDiff, which is written instead."""
    preset: Literal['debug', 'small', 'balance', 'full'] = 'small'
    """Its size."""
    onnx: Path | None = None
    """Write --weights as this ONNX file instead, for machines without torch."""
    weights: str | None = None
    """For --onnx: a weights file, or the name of shipped weights."""
    samples: int = 50
    """Number of samples of the ONNX file; a mixture needs as many as it has experts or more."""
    skeleton: Path | None = None
    """Skeleton file (JSON) for --random; runs state their own."""
    dry_run: bool = False
    """Print what would be written."""


def export_run(options: ExportOptions, run: Path, out: Path) -> None:
    """
    Export a run's weights of the requested roles.

    :raises MotionPredictorError: if a file cannot be used or written.
    """
    scores = read_json(options.scores, ConfigError) if options.scores else {}
    for role in options.only:
        source = run / f'{role}.safetensors'
        target = out / f'{options.name or role}.safetensors'
        if options.dry_run:
            print(f'would write {target} from {source}')
            continue
        stated = None
        if role == 'moe' and options.surprise is not None:
            stated = surprise_facts(options.surprise, source)
        dtype = None if options.dtype is None else DTYPES[options.dtype]
        export(source, target, dtype, scores.get(role), stated)
        print(f'wrote {target}')


def export_untrained(options: ExportOptions, target: Path) -> None:
    """
    Write an untrained network for trials.

    :raises MotionPredictorError: if the skeleton cannot be read, or if the file cannot be written.
    """
    if options.dry_run:
        print(f'would write {target}')
        return
    torch.manual_seed(0)
    config = preset(options.preset).model_of('swiftdiff')
    skeleton = read_skeleton(options.skeleton) if options.skeleton else H36M17
    model = MotionModel(replace(config, skeleton=skeleton.name), skeleton)
    torch.nn.init.normal_(model.denoiser.get_parameter('out.weight'), std=0.01)
    card = {'what': 'untrained weights, for trying things out'}
    save_weights(target, model, card, golden_pair(model))
    print(f'wrote {target}')


def export_as_onnx(options: ExportOptions, target: Path, name: str) -> None:
    """
    Write weights as ONNX.

    :param name: a weights file, or the name of shipped weights.
    :raises MotionPredictorError: if they cannot be loaded or exported.
    """
    path = Path(name) if name.endswith(SUFFIX) else default_weights(name)
    if options.dry_run:
        print(f'would write {target} from {path}')
        return
    from training.stages.exporting.onnx_export import export_onnx, TOLERANCE_M

    off_m = export_onnx(load_weights(path), target, options.samples)
    print(
        f'wrote {target}: {target.stat().st_size / 1e6:.1f} MB, differs from torch by '
        f'{off_m:.1e} m at most (allowed: {TOLERANCE_M:g} m)'
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the verb.

    :raises SystemExit: with a message or code 2 if something cannot be used.
    """
    options = read_options(ExportOptions, 'training export', __doc__, EXAMPLE, arguments)
    try:
        if options.cards is not None and options.out is not None and options.run is None:
            written = [] if options.dry_run else write_cards(options.out, options.cards)
            print('\n'.join(f'wrote {path}' for path in written) or 'no card written')
            return
        if options.name is not None and len(options.only) != 1:
            names = ', '.join((*ROLES, 'moe'))
            refuse('training export', f'--name {options.name}: --only has to name one of {names}')
        if (options.onnx is None) != (options.weights is None):
            refuse('training export', '--onnx and --weights go together')
        if options.onnx is not None and options.weights is not None:
            export_as_onnx(options, options.onnx, options.weights)
            return
        whole = options.run is not None and options.out is not None
        if options.random is not None and not whole:
            export_untrained(options, options.random)
        elif options.random is None and options.run is not None and options.out is not None:
            export_run(options, options.run, options.out)
        else:
            refuse('training export', 'give --run and --out, --random, or --onnx and --weights')
    except MotionPredictorError as error:
        sys.exit(f'training export: {error}')
