# SPDX-License-Identifier: Apache-2.0
"""Combine recordings: people in one scene, clips in one motion, and seams for loops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from motion_predictor.body.geometry import bone_lengths, heading_rad, turn, with_bones
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.recording import Recording

MAX_SEAM_SPEED_M_S = 1.5


def side_by_side(recordings: Sequence[Recording], spacing_m: float = 2.0) -> Recording:
    """
    Put the people of several recordings into one scene, cut to the shortest.

    :param recordings: at least one; all are resampled to the rate of the first.
    :param spacing_m: distance along y between their first hip positions, metres. A single
        recording stays where it is.
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


def chain(recordings: Sequence[Recording], blend_s: float = 0.4) -> Recording:
    """
    Join recordings of one person into one continuous motion.

    Each is turned and moved so that it begins where the one before ends. Over ``blend_s`` both
    continue while one fades into the other, with the bone lengths kept. Only these frames are
    invented.

    :param recordings: recordings of 17 joints, each longer than twice the blend.
    :param blend_s: length of a blend, seconds.
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
        angle = heading_rad(here, H36M17) - heading_rad(there, H36M17)
        poses = _turned(poses, float(angle), there[0, :2], here[0, :2])
        share = np.linspace(0.0, 1.0, blend + 2)[1:-1]
        share = (share * share * (3 - 2 * share))[:, None, None]
        mixed = (1 - share) * tail + share * poses[:blend]
        mixed = with_bones(mixed, bone_lengths(joined, H36M17), H36M17)
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
    Append invented frames that lead from the last frame back to the first, for a loop.

    Everybody glides back in a straight line over ``blend_s``, or longer if a hip would move faster
    than ``MAX_SEAM_SPEED_M_S``. People missing at either end stay missing meanwhile.

    :param recording: the recording.
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
            bones = bone_lengths(np.stack([last, first]), H36M17)
            seam = with_bones(seam, bones, H36M17)
        persons[person] = np.concatenate([poses, seam.astype(np.float32)])
    times_s = recording.times_s
    if times_s is not None:
        times_s = np.concatenate(
            [times_s, times_s[-1] + np.arange(1, count + 1) * seconds / count]
        )
    made_up = np.concatenate([recording.invented, np.ones(count, bool)])
    return replace(recording, persons=persons, times_s=times_s, made_up=made_up)


def _turned(poses: np.ndarray, angle_rad: float, about: np.ndarray, to: np.ndarray) -> np.ndarray:
    # Turn about the vertical through ``about``, which is moved to ``to`` (x, y).
    places = np.array(poses, np.float64)
    places[..., :2] -= about
    places = turn(places, np.array([np.cos(angle_rad), np.sin(angle_rad)]))
    places[..., :2] += to
    return places.astype(np.float32)


def _counted(names: Iterable[str]) -> list[str]:
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if count == 1 else f'{name} x{count}' for name, count in runs]
