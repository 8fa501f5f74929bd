# SPDX-License-Identifier: Apache-2.0
"""Generative motion prediction in one step: where the people beside a robot will be."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TYPE_CHECKING

from motion_predictor.moved import CUT, keep, ROOMS

if TYPE_CHECKING:
    from motion_predictor.body.skeleton import Skeleton as Skeleton
    from motion_predictor.model.weights import load_weights as load_weights
    from motion_predictor.predict.prediction import Prediction as Prediction
    from motion_predictor.predict.predictor import Predictor as Predictor

PUBLIC = {
    'Predictor': 'motion_predictor.predict.predictor',
    'Prediction': 'motion_predictor.predict.prediction',
    'Skeleton': 'motion_predictor.body.skeleton',
    'load_weights': 'motion_predictor.model.weights',
}
"""The names that ``from motion_predictor import ...`` finds; each is imported when it is used."""

keep(__name__, ROOMS, cut=CUT)
if sys.argv[:1] == ['-m'] and {f'{__name__}.node', f'{__name__}.ros.node'} & {*sys.orig_argv}:
    # The node is about to import PyTorch, and may receive a signal to end meanwhile.
    from motion_predictor.signals import leave_at_once_when_asked

    leave_at_once_when_asked()


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
