# SPDX-License-Identifier: Apache-2.0
"""Groups of parameters: ``moments.coverage`` is the field ``coverage`` of :class:`Moments`."""

from __future__ import annotations

from dataclasses import dataclass

from motion_predictor.model.config import ENGINES
from motion_predictor.predict.likely import EXPECTED, FUTURES
from motion_predictor.predict.radius import MODES
from motion_predictor.ros.parameters.fields import group, parameter
from motion_predictor.ros.parameters.parameter import ALWAYS, AT_START
from motion_predictor.sources.registry import STANDARD
from motion_predictor.sources.source import AUTO
from motion_predictor.sources.trackers import TRACKERS

INPUT_TYPES = (*STANDARD, 'tf', 'hri', *TRACKERS)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The weights file, and how the model is run."""

    path: str = parameter('swiftdiff')
    """Weights file: the name of a shipped model, or the path of a .safetensors file."""
    device: str = parameter(
        'auto',
        choices=('auto', 'cpu', 'cuda'),
    )
    """Device of the model; auto takes a CUDA GPU if there is one."""
    engine: str = parameter(
        'auto',
        choices=ENGINES,
    )
    """How the network is run: in fp32 or bf16 by torch, or in fp32 by ONNX Runtime; auto takes the
    fastest that works here."""
    threads: int = parameter(
        0,
        minimum=0,
        maximum=64,
    )
    """Number of processor threads of the model; 0 takes half of the cores, at least 1 and at most
    4."""


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """Weighing of the model against other candidates."""

    enabled: bool = parameter(True)
    """Weigh the model against standing still, damped velocity and the memory, if the weights file
    has the weights for it; false: the model counts alone, and nothing is remembered.
    """


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of the people who were here."""

    enabled: bool = parameter(
        True,
    )
    """Remember what people did here, and expect it again from anybody who moves in the
    same way."""
    megabytes: float = parameter(
        64.0,
        unit='MB',
        minimum=1.0,
        maximum=4096.0,
    )
    """Greatest size of the memory; beyond it the oldest moments are dropped."""
    file: str = parameter(
        '',
    )
    """File that keeps the memory over restarts. It is read in configure and written every few
    minutes, when the node is deactivated and when it ends; empty: none.
    """


@dataclass(frozen=True, kw_only=True)
class InputFields:
    """Names of the fields of a point cloud."""

    person: str = parameter('person')
    """point_cloud: name of the field with the person, if the cloud has it."""
    joint: str = parameter('joint')
    """point_cloud: name of the field with the joint index, if the cloud has it."""
    confidence: str = parameter('confidence')
    """point_cloud: name of the field with the confidence, if the cloud has it."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """The input of skeletons, and how it is read."""

    type: str = parameter(
        'pose_array',
        choices=INPUT_TYPES,
    )
    """Kind of input: a type of message, a tracker, or frames of TF."""
    topics: tuple[str, ...] = parameter(('skeleton',))
    """Topics with skeletons; if there are several, people are told apart by topic. tf (/tf,
    /tf_static) and hri (these and /humans/bodies/tracked) ignore it.
    """
    skeleton: str = parameter(AUTO)
    """Joint layout of the input, a mapping file, or 'identity' for the model's own joints; auto
    takes the usual layout of input.type, and identity for messages that any program may send.
    """
    pattern: str = parameter(AUTO)
    """Pattern of the names of frames, rigid bodies or labelled markers, with {joint} as in the
    layout and {person}; auto takes {joint}_{person} for tf and hri, {person}.{joint} for
    mocap4r2_bodies, {joint} for mocap4r2.
    """
    units_scale: float = parameter(
        1.0,
        unit='m per unit',
        minimum=1e-6,
        maximum=1e6,
    )
    """Metres per unit of the input; 0.001 for millimetres."""
    rotation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 1.0),
        lengths=(3, 4),
    )
    """Rotation that makes the input level, z up: quaternion x y z w, or roll pitch yaw in rad;
    futures are rotated back. [-1.5708, 0, 0] for an optical frame that looks ahead.
    """
    frame_id: str = parameter('')
    """Frame of messages that have no frame."""
    min_confidence: float = parameter(
        0.2,
        minimum=0.0,
        maximum=100.0,
    )
    """Joints of lower confidence count as missing."""
    fields: InputFields = group(InputFields)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The published part of the futures."""

    step_s: float = parameter(
        0.1,
        unit='s',
        minimum=0.001,
        maximum=10.0,
        applies=ALWAYS,
    )
    """Time between published steps, a multiple of the model's frame (0.02 s publishes every
    frame)."""
    future: str = parameter(
        EXPECTED,
        choices=FUTURES,
        applies=ALWAYS,
    )
    """The one future in ~/trajectory, ~/poses and ~/markers: the weighted mean on the person's own
    bones, or the most typical sample; if the model counts alone, it is always the most typical
    one.
    """


@dataclass(frozen=True, kw_only=True)
class Publish:
    """The published topics."""

    predictions: bool = parameter(True)
    """Publish ~/predictions."""
    markers: bool = parameter(
        True,
    )
    """Publish ~/markers; they are built only while someone subscribes."""
    moments: bool = parameter(
        True,
    )
    """Publish ~/moments; this and the topics below are built only while someone subscribes."""
    trajectory: bool = parameter(True)
    """Publish ~/trajectory."""
    poses: bool = parameter(
        True,
    )
    """Publish ~/poses."""
    occupancy: bool = parameter(
        True,
    )
    """Publish ~/occupancy."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The radius in ~/moments."""

    coverage: float = parameter(
        0.9,
        minimum=0.01,
        maximum=1.0,
        applies=ALWAYS,
    )
    """Share of the real positions that the radius of ~/moments must hold, by the calibration in
    the weights file; if no calibrated level is as high, share of the samples.
    """
    adapt: str = parameter(
        'both',
        choices=MODES,
        applies=ALWAYS,
    )
    """Whether this radius follows what the people present really do: both makes it wider and
    narrower, widen never makes it narrower than calibrated, fixed leaves it as calibrated.
    """


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """The keyframes of ~/trajectory."""

    horizons_s: tuple[float, ...] = parameter(
        (0.25, 0.5, 1.0, 1.5, 2.0),
        unit='s',
        minimum=0.0,
        maximum=60.0,
        applies=ALWAYS,
    )
    """Keyframes of ~/trajectory; 0 is the last pose. Each keyframe costs one pose per joint and
    person."""


@dataclass(frozen=True, kw_only=True)
class Poses:
    """The keyframes of ~/poses."""

    horizons_s: tuple[float, ...] = parameter(
        (0.0, 0.25, 0.5, 1.0),
        unit='s',
        minimum=0.0,
        maximum=60.0,
        applies=ALWAYS,
    )
    """Keyframes of ~/poses; 0 is the last pose as it was observed."""


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """The voxels of ~/occupancy."""

    voxel_m: float = parameter(
        0.1,
        unit='m',
        minimum=0.02,
        maximum=2.0,
        applies=ALWAYS,
    )
    """Edge of the voxels of ~/occupancy."""
    bin_s: float = parameter(0.5, unit='s', minimum=0.02, maximum=60.0, applies=ALWAYS)
    """Length of the time bins of ~/occupancy."""
    body_radius_m: float = parameter(
        0.1,
        unit='m',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
    )
    """Radius of the body around its joints and bones."""
    min_probability: float = parameter(
        0.05,
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
    )
    """Voxels of lower probability are left out; 0 leaves out no touched voxel."""
    rate_hz: float = parameter(
        5.0,
        unit='Hz',
        minimum=0.1,
        maximum=1000.0,
        applies=ALWAYS,
    )
    """Greatest number of clouds of ~/occupancy per second."""


@dataclass(frozen=True, kw_only=True)
class Markers:
    """The drawing in ~/markers."""

    rate_hz: float = parameter(
        10.0,
        unit='Hz',
        minimum=0.1,
        maximum=1000.0,
        applies=ALWAYS,
    )
    """Greatest number of updates of ~/markers per second."""
    samples: int = parameter(
        10,
        minimum=0,
        maximum=1000,
        applies=ALWAYS,
    )
    """Number of sampled futures that are drawn as thin lines for each person."""


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """The messages on /diagnostics."""

    period_s: float = parameter(
        1.0,
        unit='s',
        minimum=0.1,
        maximum=60.0,
        applies=AT_START,
    )
    """Time between messages on /diagnostics."""
