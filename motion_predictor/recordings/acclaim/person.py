# SPDX-License-Identifier: Apache-2.0
"""Read the motion of a person from an AMC file and the ASF file of its body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.acclaim.body import Body, read_asf
from motion_predictor.recordings.acclaim.motion import read_amc
from motion_predictor.recordings.recording import in_single, Overrides, Recording, upright

RATE_HZ = 120.0
"""Frames per second of an AMC file, which does not state them: those of the CMU database, in which
a few subjects (60 and 61 for example) have 60."""

JOINTS = {
    'RHip': 'rhipjoint', 'RKnee': 'rfemur', 'RAnkle': 'rtibia', 'LHip': 'lhipjoint',
    'LKnee': 'lfemur', 'LAnkle': 'ltibia', 'Spine': 'lowerback', 'Thorax': 'thorax',
    'Nose': 'upperneck', 'Head': 'head', 'LShoulder': 'lclavicle', 'LElbow': 'lhumerus',
    'LWrist': 'lradius', 'RShoulder': 'rclavicle', 'RElbow': 'rhumerus', 'RWrist': 'rradius',
}  # fmt: skip
"""The bone of the CMU database at whose end each joint lies. Hip is the middle of the hips."""


def body_of(path: Path) -> Path:
    """
    Return the ASF file of an AMC file.

    It lies in the same folder: that of the same name, that of the subject (``16.asf`` for
    ``16_02.amc``), or the only one.

    :raises RecordingError: if there is none, or if several could be meant.
    """
    bodies = sorted(each for each in path.parent.iterdir() if each.suffix.lower() == '.asf')
    for stem in (path.stem, path.stem.partition('_')[0]):
        for each in bodies:
            if each.stem == stem:
                return each
    if len(bodies) == 1:
        return bodies[0]
    found = ', '.join(each.name for each in bodies) or 'none'
    raise RecordingError(
        f'{brief(path)}: needs the .asf file of its body beside it, '
        f'{path.stem.partition("_")[0]}.asf or the only one; found {brief(found)}'
    )


def read_acclaim(
    path: Path, overrides: Overrides | None = None, body: Body | None = None
) -> Recording:
    """
    Read an AMC file of one person.

    The unit is that of the ASF file, an inch divided by its ``length``; y is up; 120 frames are a
    second, as in the CMU database. The overrides change each of them.

    :param path: the AMC file.
    :param overrides: known facts; with a mapping file, its ``joints`` are names of bones, at whose
        ends they lie, or 'root'.
    :param body: the body; by default, that of the file which :func:`body_of` finds.
    :raises RecordingError: naming what is malformed, or the bones that are missing.
    :raises SkeletonError: if the mapping file cannot be used.
    """
    given = overrides or Overrides()
    body = body or read_asf(body_of(path))
    ends = body.ends(read_amc(path, body))  # (T, bones, 3), metres
    ends = upright(ends * (given.units_scale / body.unit_m if given.units_scale else 1.0),
                   given.up or 'y')  # fmt: skip
    places = _mapped(path, body, ends, given.mapping) if given.mapping else _cmu(path, body, ends)
    unit, rate_hz = given.units_scale or body.unit_m, given.rate_hz or RATE_HZ
    reading = (
        f'unit {unit:.6g} m{" as given" if given.units_scale else ""}, '
        f'{given.up or "y"} up{" as given" if given.up else ""}, '
        f'{rate_hz:g} Hz{" as given" if given.rate_hz else ", the rate of CMU"}'
    )
    return Recording(
        name=path.stem,
        layout=H36M17.name,
        rate_hz=rate_hz,
        persons={'0': in_single(places, str(path))},
        source=f'AMC {path.name} ({reading})',
        reading=reading,
    )


def _cmu(path: Path, body: Body, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 17 joints by the names of the CMU database's bones, ``(T, 17, 3)``."""
    _check_bones(path, body, JOINTS.values())
    places = np.empty((len(ends), H36M17.num_joints, 3))
    for joint, bone in JOINTS.items():
        places[:, H36M17.index(joint)] = ends[:, body.names.index(bone)]
    hips = [H36M17.index('RHip'), H36M17.index('LHip')]
    places[:, H36M17.index('Hip')] = places[:, hips].mean(axis=1)
    return places


def _mapped(
    path: Path, body: Body, ends: NDArray[np.float64], mapping: str
) -> NDArray[np.float64]:
    """Return the 17 joints by a mapping file, ``(T, 17, 3)``; NaN for those it does not make."""
    source = layout(mapping, replace(H36M17, zero_is_missing=False))
    _check_bones(path, body, source.joints)
    places, known = source.to_model(ends[:, [body.names.index(name) for name in source.joints]])
    return np.where(known[..., None], places, np.nan)


def _check_bones(path: Path, body: Body, wanted: Iterable[str]) -> None:
    missing = [bone for bone in wanted if bone not in body.names]
    if missing:
        raise RecordingError(
            f'{path}: its body has no bone {", ".join(missing)}; it has '
            f'{brief(", ".join(body.names))}; name them in a mapping file'
        )
