"""Recorded human motion: BVH, clips in npz, DeepMimic; and a synthetic walker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
import re

import numpy as np

from motion_predictor.body import layouts
from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.files import brief
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.bvh import read_bvh
from motion_predictor.recordings.deepmimic import read_deepmimic
from motion_predictor.recordings.npz import check_offsets, read_arrays
from motion_predictor.recordings.recording import in_single, Overrides, Recording, upright
from motion_predictor.recordings.rosbag import BagInput, read_rosbag
from motion_predictor.recordings.walker import walk

BONES = H36M17.bones
CLIP_ARRAYS = ('positions', 'offsets', 'names', 'fps')
SYNTHETIC = 'synthetic'
"""In place of a path: our own synthetic walker; ``synthetic:3`` for three of them."""
MAX_WALKERS = 256

FORMATS = (
    'a .bvh file, an .npz file of clips (FILE.npz:CLIP), a DeepMimic .txt file, a rosbag2 folder, '
    f'an .mcap or .db3 file (also .zstd), or {SYNTHETIC!r}'
)


# --- opening -----------------------------------------------------------------------------------


def open_recording(
    path: str | Path,
    *,
    topic: str = '',
    layout: str = 'auto',
    bag: BagInput | None = None,
    overrides: Overrides | None = None,
) -> Recording:
    """
    Read a recording, whatever its format.

    :param path: see :data:`FORMATS`.
    :param topic: for a rosbag2: which topic; empty takes the only skeleton topic.
    :param layout: for a rosbag2: name of the joint layout its messages hold; 'auto' takes the
        usual one of their type.
    :param bag: for a rosbag2, in place of topic and layout: everything that can be chosen.
    :param overrides: what is known of the recording, in place of what it says or lets judge.
    :raises RecordingError: if it cannot be read, saying why and what would do.
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
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
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
    if suffix == '.npz':
        return _overridden(read_npz(path, clip if mark else ''), given)
    if suffix == '.txt':
        return _overridden(read_deepmimic(path), given)
    raise RecordingError(f'{path}: unknown kind of recording {suffix!r}; wanted {FORMATS}')


def _overridden(recording: Recording, given: Overrides) -> Recording:
    """
    Read a recording as somebody says that it is to be read.

    :param recording: in metres, as far as its format says.
    :param given: units, vertical axis, joints and rate.
    """
    if not given.any:
        return recording
    layout, persons = recording.layout, dict(recording.persons)
    mapping = layouts.layout(given.mapping) if given.mapping else None
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


def read_npz(path: Path, clip: str = '') -> Recording:
    """
    Read clips from an archive of joint positions.

    The archive holds ``positions`` (``(frames, 17, 3)``, z up; integers are millimetres, floats
    metres), ``offsets`` (clip i is ``positions[offsets[i]:offsets[i + 1]]``), ``names``, ``fps``.

    :param clip: a clip's name or number; several joined by ``+`` become people side by side, cut
        to the shortest; empty takes the first.
    :raises RecordingError: if the file or the clip is not there.
    """
    arrays = read_arrays(path, CLIP_ARRAYS, 'an archive of clips')
    positions, offsets, fps = arrays['positions'], arrays['offsets'], arrays['fps']
    if positions.ndim != 3 or positions.shape[1:] != (H36M17.num_joints, 3):
        raise RecordingError(f'{path}: positions: expected (frames, 17, 3), got {positions.shape}')
    if positions.dtype.kind not in 'iuf':
        raise RecordingError(
            f'{path}: positions: expected whole millimetres or metres, got {positions.dtype}'
        )
    check_offsets(path, offsets, len(positions))
    if arrays['names'].shape != (len(offsets) - 1,):
        raise RecordingError(
            f'{path}: names: expected one for each of {len(offsets) - 1} clips, got shape '
            f'{arrays["names"].shape}'
        )
    names = [str(name) for name in arrays['names']]
    if fps.dtype.kind not in 'iuf' or fps.shape not in ((), (1,), (len(names),)):
        raise RecordingError(
            f'{path}: fps: expected a number, or one for each clip, got shape {fps.shape} of '
            f'{fps.dtype}'
        )
    rates = np.broadcast_to(fps, (len(names),))
    found = []
    for wanted in clip.split('+') if clip else [names[0]]:
        if wanted in names:
            index = names.index(wanted)
        elif re.fullmatch(r'[0-9]{1,9}', wanted) and int(wanted) < len(names):
            index = int(wanted)
        else:
            close = [name for name in names if name.startswith(wanted.split('_')[0])][:8]
            raise RecordingError(
                f'{path}: no clip {brief(wanted)!r}; a number in 0..{len(names) - 1} or a name '
                f'such as {brief(", ".join(close or names[:8]))}'
            )
        clip_of = f'{path}: clip {names[index]!r}'
        poses = in_single(positions[offsets[index] : offsets[index + 1]], clip_of)
        if positions.dtype.kind in 'iu':
            poses /= 1000.0
        if np.isinf(poses).any():
            raise RecordingError(f'{path}: clip {names[index]!r} holds infinite coordinates')
        found.append(
            Recording(
                name=names[index],
                layout=H36M17.name,
                rate_hz=float(rates[index]),
                persons={'0': poses},
                source=f'clip {names[index]} of {path.name}',
                unit_m=0.001 if positions.dtype.kind in 'iu' else 1.0,
            )
        )
    return side_by_side(found)


# --- several people, several clips -------------------------------------------------------------


def side_by_side(recordings: Sequence[Recording], spacing_m: float = 2.0) -> Recording:
    """
    Put people of several recordings into one scene, cut to the shortest.

    :param recordings: at least one; all are brought to the first one's rate.
    :param spacing_m: how far apart their first hip positions are set, along y. A single recording
        stays where it is.
    """
    if len(recordings) == 1:
        return recordings[0]
    rate_hz = recordings[0].rate_hz
    people = [
        poses for recording in recordings for poses in recording.resample(rate_hz).persons.values()
    ]
    frames = min(len(poses) for poses in people)
    persons = {}
    for index, poses in enumerate(people):
        place = np.array([0.0, (index - (len(people) - 1) / 2) * spacing_m], np.float32)
        moved = poses[:frames].copy()
        moved[..., :2] += place - moved[0, 0, :2]
        persons[str(index)] = moved
    return Recording(
        name=' + '.join(_counted(recording.name for recording in recordings)),
        layout=recordings[0].layout,
        rate_hz=rate_hz,
        persons=persons,
        source='side by side: ' + '; '.join(dict.fromkeys(each.source for each in recordings)),
        unit_m=recordings[0].unit_m,
    )


def heading_rad(pose: np.ndarray) -> np.ndarray:
    """
    Which way somebody faces about the vertical, from the hips; 0 along +x.

    :param pose: 17 joints, z up, ``(..., 17, 3)``.
    :returns: ``(...)`` radians.
    """
    right, left = H36M17.index('RHip'), H36M17.index('LHip')
    across = pose[..., left, :] - pose[..., right, :]
    return np.arctan2(-across[..., 0], across[..., 1])


def turned(poses: np.ndarray, angle_rad: float, about: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Turn poses about the vertical through ``about`` and move that point to ``to`` (x, y)."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    out = np.array(poses, np.float64)
    flat = out[..., :2] - about
    out[..., 0] = cos * flat[..., 0] - sin * flat[..., 1] + to[0]
    out[..., 1] = sin * flat[..., 0] + cos * flat[..., 1] + to[1]
    return out.astype(np.float32)


def with_bone_lengths(poses: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """
    Keep every bone's direction and the hip's place, and set the lengths of the bones.

    :param poses: ``(T, 17, 3)``.
    :param lengths: metres, one for each of ``H36M17.bones``, ``(16,)``.
    """
    out = np.array(poses, np.float32)
    for (child, parent), length in zip(BONES, lengths):
        bone = poses[:, child] - poses[:, parent]
        norm = np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9)
        out[:, child] = out[:, parent] + bone / norm * length
    return out


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """Length of each of ``H36M17.bones`` in metres: the median over ``(T, 17, 3)``."""
    children, parents = np.array(BONES).T
    bones = poses[:, children] - poses[:, parents]
    return np.median(np.linalg.norm(bones, axis=-1), axis=0)


def chain(recordings: Sequence[Recording], blend_s: float = 0.4) -> Recording:
    """
    Join one-person recordings into one continuous motion.

    Each is turned and moved so that it takes over where the one before ends; over ``blend_s`` both
    go on and one fades into the other, bone lengths kept. Only these joints are made up.

    :param recordings: of 17 joints, each longer than twice the blend.
    :raises RecordingError: if one is too short or not of one person.
    """
    rate_hz = recordings[0].rate_hz
    blend = max(round(blend_s * rate_hz), 2)
    joined: np.ndarray | None = None
    made_up = np.zeros(0, bool)
    for recording in recordings:
        if len(recording.persons) != 1 or recording.num_joints != H36M17.num_joints:
            raise RecordingError(f'{recording.name}: only one person of 17 joints can be chained')
        recording = recording.resample(rate_hz)
        poses = next(iter(recording.persons.values()))
        if len(poses) < 2 * blend:
            raise RecordingError(
                f'{recording.name}: {len(poses)} frames at {rate_hz:g} Hz are too few for blends '
                f'of {blend}'
            )
        if joined is None:
            joined, made_up = poses, recording.invented
            continue
        tail, head = joined[-blend:], poses[:blend]
        here, there = tail[blend // 2], head[blend // 2]
        angle = float(heading_rad(here) - heading_rad(there))
        poses = turned(poses, angle, there[0, :2], here[0, :2])
        share = np.linspace(0.0, 1.0, blend + 2)[1:-1]
        share = (share * share * (3 - 2 * share))[:, None, None]
        mixed = (1 - share) * tail + share * poses[:blend]
        mixed = with_bone_lengths(mixed, bone_lengths(joined))
        joined = np.concatenate([joined[:-blend], mixed, poses[blend:]])
        between = np.ones(blend, bool)
        made_up = np.concatenate([made_up[:-blend], between, recording.invented[blend:]])
    assert joined is not None
    return Recording(
        name=' > '.join(_counted(recording.name for recording in recordings)),
        layout=H36M17.name,
        rate_hz=rate_hz,
        persons={'0': joined.astype(np.float32)},
        source=recordings[0].source,
        made_up=made_up,
    )


MAX_SEAM_SPEED_M_S = 1.5


def with_seam(recording: Recording, blend_s: float = 0.5) -> Recording:
    """
    Append made-up frames that lead from the last frame back to the first, for playing in a loop.

    Everybody glides back in a straight line over ``blend_s``, longer where a hip would otherwise
    move faster than ``MAX_SEAM_SPEED_M_S``. People missing at either end stay missing meanwhile.

    :param blend_s: seconds; 0 appends nothing, and the loop jumps.
    """
    if blend_s <= 0.0 or recording.num_frames < 2:
        return recording
    ends = [(poses[-1], poses[0]) for poses in recording.persons.values()]
    moved = np.array([np.linalg.norm(first[0] - last[0]) for last, first in ends])
    farthest = float(np.nanmax(moved)) if np.isfinite(moved).any() else 0.0
    seconds = max(blend_s, farthest / MAX_SEAM_SPEED_M_S)
    count = max(round(seconds * recording.rate_hz), 2)
    share = np.linspace(0.0, 1.0, count + 2)[1:-1, None, None]
    persons = {}
    for (person, poses), (last, first) in zip(recording.persons.items(), ends):
        seam = (1 - share) * last + share * first
        if recording.layout == H36M17.name and np.isfinite(seam).all():
            seam = with_bone_lengths(seam, bone_lengths(np.stack([last, first])))
        persons[person] = np.concatenate([poses, seam.astype(np.float32)])
    times_s = recording.times_s
    if times_s is not None:
        times_s = np.concatenate(
            [times_s, times_s[-1] + np.arange(1, count + 1) * seconds / count]
        )
    made_up = np.concatenate([recording.invented, np.ones(count, bool)])
    return replace(recording, persons=persons, times_s=times_s, made_up=made_up)


def _counted(names: Iterable[str]) -> list[str]:
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if count == 1 else f'{name} x{count}' for name, count in runs]


# --- our own motion ----------------------------------------------------------------------------


def synthetic_walkers(
    people: int = 1, duration_s: float = 60.0, rate_hz: float = 50.0, seed: int = 0
) -> Recording:
    """
    Make up people who walk, turn, slow down and now and then wave: not motion capture.

    Bones keep their lengths and the standing foot its place.
    """
    walkers = [
        Recording(
            name='synthetic walker',
            layout=H36M17.name,
            rate_hz=rate_hz,
            persons={'0': walk(duration_s, rate_hz, np.random.default_rng([seed, index]))},
            source='synthetic walking of our own making (not motion capture)',
        )
        for index in range(people)
    ]
    return side_by_side(walkers)
