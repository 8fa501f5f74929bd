# SPDX-License-Identifier: Apache-2.0
"""Recorded skeleton topics as clips: decoded like in the node, level, complete, evenly timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.body.layout import Layout
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.rosbag import BagInput, fields_of, read_bag
from training.data.clips import Clip
from training.data.readers.source import given, Source, SourceClip, split_of
from training.data.store import check_positions

MAX_GAP_S = 0.25
"""Joints that are unseen for longer than this, in seconds, end a clip; the node's
``max_joint_gap_s``."""
LEAST_S = 1.0
"""Shortest clip in seconds; shorter stretches are left out."""


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """Options for reading a rosbag2."""

    topic: str = ''
    """Skeleton topic; the default is the only one; /tf and /humans/bodies/tracked read people of
    TF."""
    layout: str = 'auto'
    """Joint layout: a name, 'identity', or a mapping file; the default is the usual one of the
    topic's messages."""
    rotation: tuple[float, ...] = ()
    """Rotation that makes the recorded frame level, as input.rotation: roll pitch yaw (rad), or x
    y z w."""
    pattern: str = 'auto'
    """Pattern of names as input.pattern (mocap4r2, tf, hri)."""
    fields: tuple[str, str, str] = BagInput.fields
    """For a cloud: names of its fields for person, joint and confidence."""
    target_frame: str = ''
    """For tf and hri: frame of the people."""
    units_scale: float = 0.0
    """Metres per unit; 0 takes that of the layout. Also for BVH."""


def bag_input(options: BagOptions) -> BagInput:
    """Return the topic of the options and how to read it."""
    return BagInput(
        topic=options.topic,
        layout=options.layout or 'auto',
        pattern=options.pattern,
        fields=fields_of(options.fields),
        target_frame=options.target_frame,
    )


def rotation_of(numbers: Sequence[float] | None) -> NDArray[np.float64] | None:
    """
    Return the matrix that makes a recorded frame level.

    :param numbers: roll, pitch, yaw in radians (about x, then y, then z), or a quaternion x y z w.
    :raises RecordingError: if the numbers are neither.
    """
    if not numbers:
        return None
    if len(numbers) not in (3, 4) or (len(numbers) == 4 and not any(numbers)):
        raise RecordingError(
            f'--rotation {numbers}: must be roll pitch yaw, or a quaternion x y z w'
        )
    return rotation_matrix(numbers)


@dataclass(frozen=True, kw_only=True)
class BagReading:
    """How a bag becomes clips of the model's joints, level and in metres."""

    wanted: BagInput = field(default_factory=BagInput)
    units_scale: float = 0.0
    rotation: NDArray[np.floating] | None = None


def bag_reading(options: BagOptions) -> BagReading:
    """
    Return how bags become clips.

    :raises RecordingError: if the rotation is not valid.
    """
    return BagReading(
        wanted=bag_input(options),
        units_scale=options.units_scale,
        rotation=rotation_of(options.rotation),
    )


def load_bag(
    path: Path, skeleton: Skeleton, reading: BagReading | None = None
) -> tuple[Clip, ...]:
    """
    Read the clips of a bag, and print its faults.

    :raises RecordingError: see :func:`read_bags`.
    """
    reading = reading or BagReading()
    source = read_bags(
        [path],
        reading.wanted,
        skeleton=skeleton,
        units_scale=reading.units_scale,
        rotation=reading.rotation,
    )
    for remark in source.remarks:
        print(remark)
    clips = []
    for clip in source.clips:
        positions, rate_hz = clip.load()
        check_positions(clip.name, positions)
        clips.append(Clip(clip.name, clip.subject, clip.action, positions, rate_hz))
    return tuple(clips)


@dataclass(frozen=True)
class _Stretch:
    # One person, complete and evenly timed.
    person: str
    positions: NDArray[np.float32]
    rate_hz: float


def read_bags(
    paths: Sequence[Path],
    wanted: BagInput | None = None,
    *,
    skeleton: Skeleton = H36M17,
    units_scale: float = 0.0,
    rotation: NDArray[np.floating] | None = None,
    val: Sequence[str] = (),
    test: Sequence[str] = (),
) -> Source:
    """
    Read a skeleton topic of some rosbag2 recordings.

    A clip is a stretch of one person in which no joint is unseen for more than 0.25 s. Shorter
    gaps are filled, and frames are resampled to an even rate by their stamps.

    :param paths: folders of bags, or .mcap or .db3 files.
    :param wanted: topic, layout and similar choices.
    :param skeleton: the model's skeleton.
    :param units_scale: metres per unit of the messages; 0 takes the layout's unit.
    :param rotation: ``(3, 3)`` that makes the recorded frame level, z up.
    :param val: patterns of subjects (``BAG/PERSON``) for validation.
    :param test: patterns of subjects for the test.
    :raises RecordingError: if a bag cannot be read, or if nobody in it is seen long enough.
    """
    clips: list[SourceClip] = []
    files: list[Path] = []
    remarks: list[str] = []
    for path in paths:
        if not path.exists():
            raise RecordingError(f'{path}: no such bag')
        recording, layout = read_bag(path, wanted or BagInput(), skeleton)
        files += [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
        scale = units_scale or (0.001 if layout.units == 'mm' else 1.0)
        found, lost_s = _whole_stretches(recording, layout, scale, rotation)
        for number, stretch in enumerate(found):
            subject = f'{recording.name}/{stretch.person}'
            clips.append(
                SourceClip(
                    f'{subject}@{number}',
                    subject,
                    recording.name,
                    split_of(subject, val, test),
                    given(stretch.positions, stretch.rate_hz),
                )
            )
        if ';' in recording.source:  # there were faults
            remarks.append(recording.source)
        if lost_s > 0.0:
            remarks.append(f'{path}: {lost_s:.1f} s with joints unseen for too long left out')
    if not clips:
        raise RecordingError(
            '; '.join([f'{paths[0]}: nobody is seen whole for a second in it', *remarks])
        )
    parent = paths[0].parent
    return Source('rosbag', skeleton, tuple(files), parent, tuple(clips), remarks=tuple(remarks))


def _whole_stretches(
    recording: Recording,
    layout: Layout,
    units_scale: float,
    rotation: NDArray[np.floating] | None,
) -> tuple[list[_Stretch], float]:
    """Cut a recording where a person is not seen completely; even frames at its own rate."""
    rate_hz = recording.rate_hz
    instants = recording.instants_s
    found: list[_Stretch] = []
    lost_s = 0.0
    for person, poses in recording.persons.items():
        turned = poses.astype(np.float64) * units_scale
        if rotation is not None:
            turned = turned @ np.asarray(rotation, dtype=np.float64).T
        joints, known = layout.to_model(turned)
        seen = np.flatnonzero(known.all(axis=1))
        if not len(seen):
            lost_s += len(instants) / rate_hz
            continue
        breaks = np.flatnonzero(np.diff(instants[seen]) > MAX_GAP_S + 1.5 / rate_hz) + 1
        used = 0
        for stretch in np.split(seen, breaks):
            length_s = float(instants[stretch[-1]] - instants[stretch[0]])
            if length_s < LEAST_S:
                continue
            used += len(stretch)
            at = instants[stretch[0]] + np.arange(int(length_s * rate_hz + 1e-6) + 1) / rate_hz
            even = PchipInterpolator(instants[stretch], joints[stretch], axis=0)(at)
            found.append(_Stretch(person, even.astype(np.float32), rate_hz))
        lost_s += (len(instants) - used) / rate_hz
    return found, lost_s
