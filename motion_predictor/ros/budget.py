# SPDX-License-Identifier: Apache-2.0
"""Refuse parameters whose product would cost too much memory or time; no ROS."""

from __future__ import annotations

import math

from motion_predictor.errors import ConfigError
from motion_predictor.model.candidates import DAMPED, STILL
from motion_predictor.predict.occupancy import MAX_VOXELS
from motion_predictor.predict.place.candidates import NEIGHBOURS
from motion_predictor.ros.parameters import Settings

MAX_BYTES = 2**31
"""Greatest memory in bytes for the futures of everybody and everything made of them."""
MAX_LOOKS = 5e10
"""Greatest number of voxel checks for one cloud of ~/occupancy: most of a minute of one core."""
WORD_SAMPLES = 64
BODY_M = (0.8, 0.8, 2.0)
"""Size in metres of the box that contains a person during a time bin."""
FUTURE_BYTES = 36
"""Bytes per joint position of a future: three copies in float32."""
ROW_BYTES = 200
"""Bytes per published row: of ~/predictions with its copies on the way to DDS, and of
~/moments."""


def futures_of(settings: Settings) -> int:
    """Return the number of futures per person: the model's, and those of the other candidates."""
    count = settings.samples
    if settings.weighing.enabled:
        count += len((DAMPED, STILL)) + NEIGHBOURS * settings.memory.enabled
    return count


def prediction_bytes(
    settings: Settings, *, rate_hz: float, future_frames: int, joints: int
) -> float:
    """
    Return the estimated memory in bytes for predicting ``max_persons`` people.

    :param settings: the node's parameters.
    :param rate_hz: rate of the model's futures in frames per second.
    :param future_frames: number of the model's future frames.
    :param joints: number of the model's joints.
    """
    stride = max(1, round(settings.output.step_s * rate_hz))
    last = min(future_frames, int(settings.horizon_s * rate_hz + 1e-6))
    triples = settings.max_persons * futures_of(settings) * joints
    published = settings.publish.predictions * ROW_BYTES
    return float(triples * (FUTURE_BYTES * future_frames + published * (last // stride)))


def require_budget(
    settings: Settings, *, rate_hz: float = 50.0, future_frames: int = 100, joints: int = 17
) -> None:
    """
    Refuse parameters whose product takes more memory or time than a robot has.

    :param settings: the node's parameters.
    :param rate_hz: rate of the model's futures in frames per second.
    :param future_frames: number of the model's future frames.
    :param joints: number of the model's joints.
    :raises ConfigError: naming the parameters, their cost and the limit.
    """
    needed = prediction_bytes(
        settings, rate_hz=rate_hz, future_frames=future_frames, joints=joints
    )
    if needed > MAX_BYTES:
        raise ConfigError(
            f'samples={settings.samples}, max_persons={settings.max_persons}, '
            f'horizon_s={settings.horizon_s:g} and output.step_s={settings.output.step_s:g}: '
            f'together take {needed / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:g} GiB. '
            'Lower one of them'
        )
    if settings.publish.occupancy:
        _require_occupancy(settings, future_frames / rate_hz)


def _require_occupancy(settings: Settings, longest_s: float) -> None:
    wanted = settings.occupancy
    voxel_m, radius_m, bin_s = wanted.voxel_m, wanted.body_radius_m, wanted.bin_s
    horizon_s = min(settings.horizon_s, longest_s)
    persons = settings.max_persons
    boxes = persons * math.ceil(horizon_s / bin_s - 1e-6)
    cells = math.prod(edge + 2.0 * radius_m for edge in BODY_M) / voxel_m**3
    ball = 8.0 * 4.0 / 3.0 * math.pi * (radius_m / voxel_m + 1.0) ** 3
    words = math.ceil(futures_of(settings) / WORD_SAMPLES)
    voxels, looks = cells * boxes, cells * boxes * ball * words
    if voxels > MAX_VOXELS or looks > MAX_LOOKS:
        raise ConfigError(
            f'occupancy.voxel_m={voxel_m:g}, occupancy.body_radius_m={radius_m:g}, '
            f'occupancy.bin_s={bin_s:g}, samples={settings.samples} and '
            f'max_persons={persons}: together are up to {voxels:.2g} voxels and {looks:.2g} '
            f'looks at one; at most {MAX_VOXELS:.2g} and {MAX_LOOKS:.2g}. Raise '
            'occupancy.voxel_m, or set publish.occupancy to false'
        )
