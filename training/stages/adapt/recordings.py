# SPDX-License-Identifier: Apache-2.0
"""Read recordings of any kind, at the rate of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weights import file_digest
from training.data.bags import bag_input, read_bags, rotation_of
from training.data.readers.bvh_folder import read_bvh_folder
from training.data.readers.source import load_at, Source
from training.data.store import data_digest, is_store
from training.data.windows import load_clips
from training.stages.adapt.settings import FinetuneOptions

LEAST_HZ = 10.0
"""Lowest rate of a recording: a slower one does not show the motion of limbs."""


def read_recordings(
    paths: Sequence[Path], window: WindowConfig, skeleton: Skeleton, options: FinetuneOptions
) -> list[NDArray[np.float32]]:
    """
    Read recordings of any kind, at the model's rate.

    :param paths: each a rosbag2, a .bvh or a folder of them, an npz, or a store.
    :param window: gives the rate.
    :param skeleton: the model's skeleton.
    :param options: the options.
    :returns: clips, metres, z up, ``(T, J, 3)``.
    :raises MotionPredictorError: if one cannot be read or holds other joints.
    """
    clips: list[NDArray[np.float32]] = []
    for path in paths:
        source = None
        if not path.exists():
            raise RecordingError(f'--recording {path}: no such file or folder')
        if is_store(path) or path.suffix == '.npz':
            clips += [
                resample(clip.positions, clip.rate_hz, window.rate_hz)
                for clip in load_clips(path, skeleton)
            ]
        elif path.suffix.lower() == '.bvh' or (
            path.is_dir() and any(path.rglob('*.[bB][vV][hH]'))
        ):
            source = read_bvh_folder(
                path,
                mapping=options.mapping,
                skeleton=skeleton,
                units_scale=options.bag.units_scale,
                up=options.up,
                rate_hz=options.recorded_rate,
            )
        else:
            source = _bags(path, skeleton, options)
        if source is not None:
            clips += _at_rate(source, window.rate_hz)
            for remark in (*source.remarks, *source.judgements()):
                print(remark)
    return clips


def _bags(path: Path, skeleton: Skeleton, options: FinetuneOptions) -> Source:
    return read_bags(
        [path],
        bag_input(options.bag),
        skeleton=skeleton,
        units_scale=options.bag.units_scale,
        rotation=rotation_of(options.bag.rotation),
    )


def _at_rate(source: Source, rate_hz: float) -> list[NDArray[np.float32]]:
    loaded = [load_at(clip, rate_hz, least_hz=LEAST_HZ) for clip in source.clips]
    slowest = min(found_hz for _, found_hz in loaded)
    if slowest < rate_hz / 2.0:
        print(
            f'{source.root.name}: recorded at {slowest:.3g} Hz; the frames between, up to the '
            f"model's {rate_hz:g} Hz, are interpolated"
        )
    return [positions for positions, _ in loaded]


def digest_of(path: Path) -> str:
    """Return a recording's identity: digests of a folder's first eight files, or its own."""
    if path.is_dir() and not is_store(path):
        files = sorted(entry for entry in path.rglob('*') if entry.is_file())
        return ' '.join(file_digest(entry)[:16] for entry in files[:8])
    return data_digest(path)
