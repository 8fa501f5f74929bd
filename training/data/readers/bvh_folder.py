# SPDX-License-Identifier: Apache-2.0
"""Read folders of BVH files, of people or of other bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
import re

import numpy as np

from motion_predictor.body.layout import Layout
from motion_predictor.body.layout_file import layout as layout_of
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh import MAX_JOINT_SPEED_M_S, read_bvh, read_bvh_joints
from motion_predictor.recordings.recording import Overrides, upright
from training.data.readers.source import Positions, Source, SourceClip, split_of, to_target


def read_bvh_folder(
    folder: Path,
    *,
    mapping: Path | None = None,
    skeleton: Skeleton = H36M17,
    units_scale: float = 0.0,
    up: str = '',
    rate_hz: float = 0.0,
    subject_pattern: str = '',
    val: Sequence[str] = (),
    test: Sequence[str] = (),
) -> Source:
    """
    Read every BVH file below a folder (or one file).

    :param folder: the folder or file.
    :param mapping: a mapping file as the node's ``input.skeleton`` takes it; its ``joints`` are
        joints of the BVH files. Without one, the usual names of people's joints are searched.
    :param skeleton: target of the mapping.
    :param units_scale: metres per unit of the files; 0 judges it by the length of people's legs.
    :param up: vertical axis of the files, for example 'y' or '-z'; empty judges it by people's
        motion, and takes y for other skeletons.
    :param rate_hz: frames per second instead of the files' own; 0 takes those of the files.
    :param subject_pattern: regular expression whose first group, searched in the path below the
        folder, is the subject. Without one, the subject is the sub-folder, or else the file's name
        before the first underscore.
    :param val: patterns of subjects for validation.
    :param test: patterns of subjects for the test.
    :raises RecordingError: if there is no file, or if an option cannot be used.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob('*.[bB][vV][hH]'))
    root = folder.parent if folder.is_file() else folder
    if not files:
        raise RecordingError(f'{folder}: no .bvh file in it')
    given = Overrides(units_scale, up, '' if mapping is None else str(mapping), rate_hz)
    people = skeleton.joints == H36M17.joints
    source = None if mapping is None else layout_of(mapping, skeleton)
    if source is None and not people:
        raise RecordingError(f'joints of {skeleton.name} need a --mapping from those of the BVH')
    if not people and not units_scale > 0.0:
        raise RecordingError('--units-scale: say how many metres a unit of the files is')
    pattern = _subject_pattern(subject_pattern) if subject_pattern else None
    judged: Counter[str] = Counter()
    clips = []
    for path in files:
        below = path.relative_to(root)
        subject = _subject_of(path, below, pattern)
        load = _person_loader(path, given, judged)
        if source is not None and not people:
            load = _bvh_loader(path, source, given, judged)
        split = split_of(subject, val, test)
        clips.append(SourceClip(below.with_suffix('').as_posix(), subject, path.stem, split, load))
    return Source('bvh', skeleton, tuple(files), root, tuple(clips), judged=judged)


def _subject_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise RecordingError(f'--subject {text!r}: {error}') from None
    if pattern.groups < 1:
        raise RecordingError(f'--subject {text!r}: must have a (group)')
    return pattern


def _subject_of(path: Path, below: Path, pattern: re.Pattern[str] | None) -> str:
    """Return the subject of a file, by its path below the folder."""
    if pattern is None:
        return below.parts[0] if len(below.parts) > 1 else path.stem.split('_')[0]
    match = pattern.search(below.as_posix())
    if match is None:
        raise RecordingError(f'{path}: --subject {pattern.pattern!r} is not found in it')
    return match.group(1)


def _person_loader(path: Path, given: Overrides, judged: Counter[str]) -> Callable[[], Positions]:
    def load() -> Positions:
        recording = read_bvh(path, given)
        judged[recording.reading] += 1
        return next(iter(recording.persons.values())).astype(np.float32), recording.rate_hz

    return load


def _bvh_loader(
    path: Path, source: Layout, given: Overrides, judged: Counter[str]
) -> Callable[[], Positions]:
    def load() -> Positions:
        names, places, rate_hz = read_bvh_joints(path, given.rate_hz)
        missing = [joint for joint in source.joints if joint not in names]
        if missing:
            raise RecordingError(
                f'{path}: has no joint {", ".join(missing)}; it has {", ".join(names)}'
            )
        up = given.up or 'y'
        judged[f'unit {given.units_scale:g} m, {up} up' + ('' if given.up else ' by default')] += 1
        chosen = places[:, [names.index(joint) for joint in source.joints]]
        positions = to_target(str(path), source, upright(chosen, up) * given.units_scale)
        if len(positions) > 2:  # a T-pose at the beginning
            leap_m = float(np.linalg.norm(positions[1] - positions[0], axis=-1).max())
            if leap_m > MAX_JOINT_SPEED_M_S / rate_hz:
                positions = positions[1:]
        return positions, rate_hz

    return load
