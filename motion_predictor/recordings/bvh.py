# SPDX-License-Identifier: Apache-2.0
"""Read BVH files of a person, or of any other body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.layout import HEAD_TOP_M, Layout, NOSE_UP_M, SPINE_FRACTION
from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh_file import BvhFile, read_bvh_file
from motion_predictor.recordings.bvh_joints import find_joints
from motion_predictor.recordings.recording import in_single, Overrides, Recording, upright, UPS

MAX_JOINT_SPEED_M_S = 20.0

_UNITS_M = {'m': 1.0, 'cm': 0.01, 'mm': 0.001, 'inch': 0.0254, 'CMU (inch / 0.45)': 0.056444}
_ADULT_LEG_M = 0.85
_LEGS_M = 0.4, 1.05
"""Length in metres from hip to ankle, from a child of three to a very tall man; any other length
makes a unit suspect."""
_LONGEST_LEG_M = 1.3
_HEAD_TOP_M = 0.11
"""Height in metres of the top of the head over the top of the neck, for a file without an end of
the head."""
_NECK_RISE_M = 0.075
"""Height in metres of the neck over the line of the shoulders, for a file without a neck."""
_SPINE_FROM_HIP = 0.3, 0.65
"""Range of positions between hips (0) and neck (1) in which a joint of the back may serve as the
spine."""
_LEAP_M = 0.25
_STEPS_OF_A_LEAP = 3.0
"""The first pose is left out if its distance from the second exceeds both a minimum and this
multiple of any other step: exporters put a T-pose before the motion."""
_LOOKED_AT = 400
"""Number of frames, evenly spread, from which unit, axis and origin are judged."""
_STANDS, _AHEAD = 0.5, 0.3
"""Mean cosine between a standing body and the vertical, and the lead in score of the vertical
axis."""
_ALONG, _ELSEWHERE = 0.8, 0.15
"""A body lies along an axis above this cosine; largest share of frames in which it may lie along
other axes than the vertical."""
_BENT_KNEE_M, _BENT_SHARE = 0.04, 0.02
"""Distance in metres of a bent knee from the line from hip to ankle; share of bent legs from which
left and right can be told."""
_OFF_THE_FLOOR = 0.25
"""Share of the leg's length: ankles lower or higher than this do not stand on the floor."""

_J = H36M17.index
_LIMBS = [
    _J(side + part)
    for side in 'RL'
    for part in ('Hip', 'Knee', 'Ankle', 'Shoulder', 'Elbow', 'Wrist')
]


@dataclass(frozen=True)
class _Judged:
    """A fact that a file does not state, and words that say how it was found."""

    value: str
    words: str


def read_bvh(path: Path, overrides: Overrides | None = None) -> Recording:
    """
    Read a BVH file of one person.

    The names of the joints may be those of CMU (bvh, asf), Mixamo, LaFAN, Xsens, Rokoko,
    Bandai-Namco, Blender, 3ds Max, SMPL, Motive, Unreal and others, behind any prefix. Unit and
    vertical axis are judged from the motion and written into ``source``. Many files begin with a
    T-pose, which is left out if the motion does not start from it.

    :param path: the file.
    :param overrides: known facts; with a mapping file, that file names the joints.
    :raises RecordingError: naming what is malformed, which joints could not be found, or what
        cannot be judged and must be given.
    :raises SkeletonError: if the mapping file cannot be used.
    """
    given = overrides or Overrides()
    bvh = read_bvh_file(path, given.rate_hz)
    remarks = list(bvh.remarks)
    mapping = None
    if given.mapping:  # no joint of a BVH file is missing, not even at its origin
        mapping = layout(given.mapping, replace(H36M17, zero_is_missing=False))

    def body_of(file: BvhFile) -> NDArray:
        if mapping is None:
            return _by_name(path, file)
        return _by_mapping(_points(path, file, mapping), mapping)

    raw = body_of(bvh)  # (T, 17, 3), in the file's units and axes; NaN: derived from others
    looked = _looked_at(path, raw)
    leg = _leg(looked)
    scale, short, unit = _unit(path, leg, given.units_scale)
    up = _Judged(given.up, f'{given.up} up as given')
    if not given.up:
        up = _up(path, looked, leg, lambda: body_of(bvh.at_rest()))
    shift = _root_offset(bvh, upright(looked, up.value), leg, up.value)
    if mapping is None:
        poses = _completed(upright(raw + shift, up.value) * scale)
    else:
        points = _points(path, bvh, mapping) + shift
        poses, known = mapping.to_model(upright(points, up.value) * scale)
        poses = np.where(known[..., None], poses, np.nan)
    poses[np.isnan(poses).any(axis=-1)] = np.nan  # a joint is present in all frames or in none
    if not any(name[1:].lower() == 'position' for name in bvh.channels[0]):
        remarks.append('no position of the root: on the spot')
    if shift.any():
        remarks.append("the root's positions are relative to its OFFSET")
    if _knees_bend_backwards(poses):
        remarks.append('knees bend backwards: left and right look swapped')
    first = _first_pose(poses, bvh.rate_hz)
    if first:
        remarks.append('first pose left out, far from the second')
    return Recording(
        name=path.stem,
        layout=H36M17.name,
        rate_hz=bvh.rate_hz,
        persons={'0': in_single(poses[first:], str(path))},
        source=f'BVH {path.name} ({"; ".join([f"unit {unit}", up.words, *remarks])})',
        reading='; '.join([f'unit {short}', up.words, *remarks]),
    )


def read_bvh_joints(path: Path, rate_hz: float = 0.0) -> tuple[list[str], NDArray, float]:
    """
    Read the joints of a BVH file of any body, by the file's own names.

    :param path: the file.
    :param rate_hz: frames per second instead of the file's own; 0 takes that of the file.
    :returns: names without end sites; positions in the file's units and axes, ``(T, N, 3)``;
        frames per second.
    :raises RecordingError: naming what is malformed.
    """
    bvh = read_bvh_file(path, rate_hz)
    named = [index for index, name in enumerate(bvh.joints) if name]
    return [bvh.joints[index] for index in named], bvh.positions(named), bvh.rate_hz


# --- the joints


def _by_name(path: Path, bvh: BvhFile) -> NDArray:
    """Return a person's joints by the usual names, ``(T, 17, 3)``; NaN for derived joints."""
    found = find_joints(path, bvh)
    back = []  # joints between the neck (or the head) and the hips
    index = bvh.parents[found.get('Thorax', found['Nose'])]
    while index > 0:
        back.append(index)
        index = bvh.parents[index]
    wanted = sorted({*found.values(), *back})
    places = bvh.positions(wanted)
    raw = np.full((len(places), H36M17.num_joints, 3), np.nan)
    for joint, index in found.items():
        raw[:, _J(joint)] = places[:, wanted.index(index)]
    raw[:, _J('Hip')] = (raw[:, _J('RHip')] + raw[:, _J('LHip')]) / 2
    rows = _looked_at_rows(raw)
    if back and len(rows):
        hip, top = raw[rows, _J('Hip')], raw[rows, _J('Thorax' if 'Thorax' in found else 'Nose')]
        trunk = top - hip
        length = np.maximum((trunk * trunk).sum(axis=-1), 1e-12)
        shares = {
            index: float(
                np.median(((places[rows, wanted.index(index)] - hip) * trunk).sum(-1) / length)
            )
            for index in back
        }
        middle = min(back, key=lambda index: abs(shares[index] - SPINE_FRACTION))
        if _SPINE_FROM_HIP[0] <= shares[middle] <= _SPINE_FROM_HIP[1]:
            raw[:, _J('Spine')] = places[:, wanted.index(middle)]
    return raw


def _points(path: Path, bvh: BvhFile, mapping: Layout) -> NDArray:
    """Return the joints that a mapping file reads, ``(T, J, 3)``."""
    missing = [joint for joint in mapping.joints if joint not in bvh.joints]
    if missing:
        listed = brief(', '.join(name for name in bvh.joints if name))
        raise RecordingError(f'{path}: has no joint {", ".join(missing)}; it has {listed}')
    return bvh.positions([bvh.joints.index(joint) for joint in mapping.joints])


def _by_mapping(points: NDArray, mapping: Layout) -> NDArray:
    """Return the joints of a mapping file, ``(T, 17, 3)``; NaN for those to be derived."""
    raw = np.full((len(points), H36M17.num_joints, 3), np.nan)
    for joint, source in mapping.mapping.items():
        weights = {source: 1.0} if isinstance(source, str) else source
        raw[:, _J(joint)] = sum(
            weight * points[:, mapping.joints.index(name)] for name, weight in weights.items()
        )
    return raw


def _completed(poses: NDArray) -> NDArray:
    """Fill in the derived joints, in metres."""
    if np.isnan(poses[:, _J('Thorax')]).all():
        poses = _with_neck(poses)
    hip, thorax = poses[:, _J('Hip')], poses[:, _J('Thorax')]
    if np.isnan(poses[:, _J('Spine')]).all():
        poses[:, _J('Spine')] = hip + SPINE_FRACTION * (thorax - hip)
    if np.isnan(poses[:, _J('Head')]).all():
        nose = poses[:, _J('Nose')]
        poses[:, _J('Head')] = nose + _HEAD_TOP_M * _unit_vectors(nose - thorax)
    return poses


def _with_neck(poses: NDArray) -> NDArray:
    """Set Thorax in a file without a neck: above the line of the shoulders, along the trunk."""
    middle = (poses[:, _J('RShoulder')] + poses[:, _J('LShoulder')]) / 2
    upward = _unit_vectors(middle - poses[:, _J('Hip')])
    thorax = middle + _NECK_RISE_M * upward
    head = poses[:, _J('Nose')]
    if np.nanmedian(np.linalg.norm(head - thorax, axis=-1)) < _NECK_RISE_M:
        # the file's head turns about the base of the neck: this joint is Thorax
        thorax = head
        top = poses[:, _J('Head')]
        if np.isnan(top).all():
            top = head + HEAD_TOP_M * upward
        poses[:, _J('Nose')] = head + NOSE_UP_M / HEAD_TOP_M * (top - head)
        poses[:, _J('Head')] = top
    poses[:, _J('Thorax')] = thorax
    return poses


def _unit_vectors(vectors: NDArray) -> NDArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _knees_bend_backwards(poses: NDArray) -> bool:
    """Return whether bent knees lie behind the line from hip to ankle, as in mirrored files."""
    looked = poses[_looked_at_rows(poses)]
    left = _unit_vectors(looked[:, _J('LHip')] - looked[:, _J('RHip')])
    ahead = np.cross(left, [0.0, 0.0, 1.0])
    bends_m = np.concatenate(
        [
            (
                looked[:, _J(side + 'Knee')]
                - (looked[:, _J(side + 'Hip')] + looked[:, _J(side + 'Ankle')]) / 2
            )
            * ahead
            for side in 'RL'
        ]
    ).sum(axis=-1)
    bent = np.abs(bends_m) > _BENT_KNEE_M
    return bool(bent.sum() > _BENT_SHARE * len(bent) and (bends_m[bent] < 0).mean() > 0.8)


def _first_pose(poses: NDArray, rate_hz: float) -> int:
    """Return 1 if the first pose does not belong to the motion, otherwise 0."""
    if len(poses) < 3:
        return 0
    steps_m = np.nan_to_num(np.linalg.norm(np.diff(poses, axis=0), axis=-1)).max(axis=1)
    leap_m, others_m = float(steps_m[0]), float(steps_m[1:].max())
    return int(
        leap_m > MAX_JOINT_SPEED_M_S / rate_hz
        or (leap_m > _LEAP_M and leap_m > _STEPS_OF_A_LEAP * others_m)
    )


# --- unit, axis, origin


def _looked_at_rows(raw: NDArray) -> NDArray[np.int64]:
    whole = np.flatnonzero(np.isfinite(raw[:, _LIMBS]).all(axis=(1, 2)))
    return whole[:: max(1, len(whole) // _LOOKED_AT)]


def _looked_at(path: Path, raw: NDArray) -> NDArray:
    """Return some whole frames, ``(n, 17, 3)``; a missing Thorax is the shoulders' middle."""
    rows = _looked_at_rows(raw)
    if not len(rows):
        raise RecordingError(f'{path}: no frame of it has numbers for all joints')
    looked = raw[rows].copy()
    middle = (looked[:, _J('RShoulder')] + looked[:, _J('LShoulder')]) / 2
    odd = ~np.isfinite(looked[:, _J('Thorax')]).all(axis=-1)
    looked[odd, _J('Thorax')] = middle[odd]
    return looked


def _leg(looked: NDArray) -> float:
    """Return the length from hip to ankle along the leg, in the file's units."""
    bones = [
        np.linalg.norm(looked[:, _J(side + low)] - looked[:, _J(side + high)], axis=-1)
        for side in 'RL'
        for high, low in (('Hip', 'Knee'), ('Knee', 'Ankle'))
    ]
    return float(np.median(np.sum(bones, axis=0))) / 2


def _unit(path: Path, leg: float, given: float) -> tuple[float, str, str]:
    """Return the metres per unit, and words for it without and with the length of the legs."""
    if given > 0.0:
        return given, f'{given:g} m as given', f'{given:g} m as given, legs of {given * leg:.2f} m'
    lengths = {name: metres * leg for name, metres in _UNITS_M.items()}
    fitting = [name for name in lengths if _LEGS_M[0] <= lengths[name] <= _LEGS_M[1]]
    likely = sorted(
        fitting or [name for name in lengths if _LEGS_M[1] < lengths[name] <= _LONGEST_LEG_M],
        key=lambda name: abs(np.log(lengths[name] / _ADULT_LEG_M)),
    )
    if not likely:
        raise RecordingError(
            f'{path}: hip to ankle measures {leg:g} units, which is a leg in no usual unit; '
            f'give units_scale, metres per unit'
        )
    short, words = likely[0], f'{likely[0]}, judged by legs of {lengths[likely[0]]:.2f} m'
    if not fitting:
        doubt = 'which are long for anybody: give units_scale if that is wrong'
        short, words = f'{short}, by legs {doubt}', f'{words}, {doubt}'
    for name in likely[1:]:
        short += f', or {name}: give units_scale if it is so'
        words += (
            f'; {name} would fit too, with legs of {lengths[name]:.2f} m: give units_scale if '
            f'it is so'
        )
    return _UNITS_M[likely[0]], short, words


def _up(path: Path, looked: NDArray, leg: float, at_rest: Callable[[], NDArray]) -> _Judged:
    """
    Find the vertical axis: bodies stand along it, and their lowest point keeps its height.

    :param path: path of the file, for errors.
    :param looked: frames in the file's axes, ``(n, 17, 3)``.
    :param leg: length of the leg in the file's units.
    :param at_rest: returns the rest pose, ``(1, 17, 3)``, if it is needed.
    :raises RecordingError: if the motion does not decide it and the rest pose does not help.
    """
    along = _along(looked)
    stands = {up: upright(along, up)[:, 2] for up in UPS}
    scores = {}
    for up in UPS:
        lowest = np.nanmin(upright(looked, up)[..., 2], axis=1)
        moved = np.subtract(*np.percentile(lowest, [95, 5])) / max(leg, 1e-9)
        scores[up] = float(stands[up].mean() - min(moved, 1.0))
    first, second = sorted(UPS, key=lambda up: -scores[up])[:2]
    elsewhere = max(float((stands[up] > _ALONG).mean()) for up in UPS if up != first)
    clear = (
        stands[first].mean() > _STANDS
        and scores[first] - scores[second] > _AHEAD
        and elsewhere < _ELSEWHERE
    )
    if clear:
        return _Judged(first, f'{first} up, judged by the motion')
    rest = _along(_looked_at(path, at_rest()))[0]
    upmost = max(UPS, key=lambda up: float(upright(rest, up)[2]))
    if upmost[-1] != 'x' and upright(rest, upmost)[2] > 0.9 and scores[upmost] > -_AHEAD:
        return _Judged(upmost, f'{upmost} up, judged by the rest pose: give up if that is wrong')
    shares = ', '.join(
        f'{axis} in {100 * float((np.abs(along[:, i]) > _ALONG).mean()):.0f} %'
        for i, axis in enumerate('xyz')
    )
    raise RecordingError(
        f'{path}: which axis points up cannot be judged from its motion (of its frames the body '
        f'lies along {shares}); give up, one of {", ".join(UPS)}'
    )


def _along(looked: NDArray) -> NDArray:
    """Return the directions from the ankles to the neck, ``(n, 3)``."""
    ankles = (looked[:, _J('RAnkle')] + looked[:, _J('LAnkle')]) / 2
    return _unit_vectors(looked[:, _J('Thorax')] - ankles)


def _root_offset(bvh: BvhFile, looked: NDArray, leg: float, up: str) -> NDArray:
    """
    Return what must be added if the root's positions are relative to its OFFSET.

    :param bvh: the file.
    :param looked: frames with z up, in the file's units.
    :param leg: length of the leg in the file's units.
    :param up: the vertical axis.
    :returns: ``(3,)`` in the file's axes and units; zeros if people stand on the floor without it.
    """
    moved = {name[0].upper() for name in bvh.channels[0] if name[1:].lower() == 'position'}
    offset = np.where([axis in moved for axis in 'XYZ'], bvh.offsets[0], 0.0)
    ankles = looked[:, [_J('RAnkle'), _J('LAnkle')], 2].min(axis=1)
    floor, rise = float(np.percentile(ankles, 5)), float(upright(offset, up)[2])
    allowed = _OFF_THE_FLOOR * leg
    return offset if abs(floor) > allowed > abs(floor + rise) else np.zeros(3)
