# SPDX-License-Identifier: Apache-2.0
"""Open recordings of every format with one function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from motion_predictor.body.layout_file import layout as layout_of
from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.acclaim.person import read_acclaim
from motion_predictor.recordings.bvh import read_bvh
from motion_predictor.recordings.deepmimic import read_deepmimic
from motion_predictor.recordings.npz_clips import read_npz
from motion_predictor.recordings.recording import in_single, Overrides, Recording, upright
from motion_predictor.recordings.rosbag import BagInput, read_rosbag
from motion_predictor.recordings.walker import synthetic_walkers

SYNTHETIC = 'synthetic'
"""Instead of a path: our own synthetic walker; ``synthetic:3`` for three walkers."""
MAX_WALKERS = 256

FORMATS = (
    'a .bvh file, an .amc file beside its .asf, an .npz file of clips (FILE.npz:CLIP), a '
    f'DeepMimic .txt file, a rosbag2 folder, an .mcap or .db3 file (also .zstd), or {SYNTHETIC!r}'
)


def open_recording(
    path: str | Path,
    *,
    topic: str = '',
    layout: str = 'auto',
    bag: BagInput | None = None,
    overrides: Overrides | None = None,
) -> Recording:
    """
    Read a recording of any format.

    :param path: see :data:`FORMATS`.
    :param topic: for a rosbag2: the topic; empty takes /skeleton or else the only skeleton topic.
    :param layout: for a rosbag2: name of the joint layout of its messages; 'auto' takes the usual
        one of their type.
    :param bag: for a rosbag2, instead of topic and layout: everything that can be chosen.
    :param overrides: known facts about the recording, instead of what it states or lets judge.
    :raises RecordingError: if it cannot be read; the error says why and what would help.
    :raises SkeletonError: if a layout or mapping file cannot be used.
    """
    text = str(path)
    given = overrides or Overrides()
    kind, _, rest = text.partition(':')
    if kind == SYNTHETIC:
        if rest and not (rest.isascii() and rest.isdigit() and 1 <= int(rest) <= MAX_WALKERS):
            raise RecordingError(
                f'{text[:60]}: after {SYNTHETIC}: comes a number of people, at most {MAX_WALKERS}'
            )
        return _overridden(synthetic_walkers(int(rest or 1)), given)
    archive, mark, clip = text.rpartition('.npz:')
    path = Path(archive + '.npz' if mark else text)
    suffix = path.suffix.lower()
    try:
        found = path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or that contains a NUL
        raise RecordingError(f'{brief(text)!r}: no name of a file ({brief(error)})') from None
    if not found:
        raise RecordingError(f'{brief(path)}: no such file or folder; wanted {FORMATS}')
    if path.is_dir() or suffix in ('.mcap', '.db3', '.zstd', '.bag'):
        wanted = bag or BagInput(topic=topic, layout=layout)
        if given.mapping:
            wanted = replace(wanted, layout=given.mapping)
        return _overridden(read_rosbag(path, wanted=wanted), given)
    if suffix == '.bvh':
        return read_bvh(path, given)
    if suffix == '.amc':
        return read_acclaim(path, given)
    if suffix == '.npz':
        return _overridden(read_npz(path, clip if mark else ''), given)
    if suffix == '.txt':
        return _overridden(read_deepmimic(path), given)
    raise RecordingError(f'{path}: unknown kind of recording {suffix!r}; wanted {FORMATS}')


def _overridden(recording: Recording, given: Overrides) -> Recording:
    """
    Apply the user's facts about a recording.

    :param recording: the recording in metres, as far as its format states the unit.
    :param given: units, vertical axis, joints and rate.
    """
    if not given.any:
        return recording
    layout, persons = recording.layout, dict(recording.persons)
    mapping = layout_of(given.mapping) if given.mapping else None
    if mapping and mapping.num_joints != recording.num_joints:
        raise RecordingError(
            f'{recording.name}: has {recording.num_joints} joints; the mapping {mapping.name} is '
            f'of {mapping.num_joints}'
        )
    for person, poses in persons.items():
        places = poses.astype(np.float64)
        if given.units_scale:
            places = places * (given.units_scale / recording.unit_m)
        if given.up:
            places = upright(places, given.up)
        if mapping:
            places, known = mapping.to_model(places)
            places = np.where(known[..., None], places, np.nan)
            layout = mapping.target.name
        persons[person] = in_single(places, f'{recording.name}: person {person!r}')
    words = [f'{name}={value:g}' for name, value in (
        ('units_scale', given.units_scale), ('rate', given.rate_hz)) if value]  # fmt: skip
    words += [f'{name}={value}' for name, value in (
        ('up', given.up), ('mapping', given.mapping)) if value]  # fmt: skip
    return replace(
        recording,
        layout=layout,
        persons=persons,
        rate_hz=given.rate_hz or recording.rate_hz,
        times_s=None if given.rate_hz else recording.times_s,
        source=f'{recording.source}; as given: {", ".join(words)}',
    )
