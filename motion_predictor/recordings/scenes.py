"""Several people in one scene, several clips in one motion, and seams for playing in a loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recording import Recording

BONES = H36M17.bones
MAX_SEAM_SPEED_M_S = 1.5


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
