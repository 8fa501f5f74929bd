# SPDX-License-Identifier: Apache-2.0
"""Human motion from files: npz, BVH, ASF/AMC, rosbag2, DeepMimic; and a synthetic walker."""

from __future__ import annotations

import importlib
from typing import Any
import warnings

FORMER = {
    'bvh': ('read_bvh',),
    'deepmimic': ('read_deepmimic',),
    'rosbag': ('BagInput', 'read_rosbag'),
    'open': ('FORMATS', 'MAX_WALKERS', 'open_recording', 'SYNTHETIC'),
    'npz_clips': ('CLIP_ARRAYS', 'read_npz'),
    'recording': ('Overrides', 'Recording'),
    'scenes': ('MAX_SEAM_SPEED_M_S', 'chain', 'side_by_side', 'with_seam'),
    'walker': ('synthetic_walkers', 'walk'),
}
"""Names that the module ``motion_predictor.recordings`` had before release 0.2, by
their module."""


def __getattr__(name: str) -> Any:
    for module, names in FORMER.items():
        if name in names:
            new = f'{__name__}.{module}'
            warnings.warn(f'{__name__}.{name} is now in {new}', DeprecationWarning, stacklevel=2)
            return getattr(importlib.import_module(new), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
