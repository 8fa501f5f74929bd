# SPDX-License-Identifier: Apache-2.0
"""The motion that the demo plays: the shipped recording, one of yours, clips that pip brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

from motion_predictor.errors import RecordingError
from motion_predictor.recordings.deepmimic import read_deepmimic
from motion_predictor.recordings.npz_clips import read_npz
from motion_predictor.recordings.open import open_recording, SYNTHETIC
from motion_predictor.recordings.recording import Overrides, Recording
from motion_predictor.recordings.scenes import chain, with_seam
from tools.demo.demo_work import synthetic_work

CLIP_PACKAGE = 'pybullet==3.2.7'
CLIP_CREDIT = (
    'motion capture retargeted to the DeepMimic humanoid, from the data of the Python package '
    'pybullet 3.2.7 (zlib licence)'
)
CLIP_FOLDER = Path(sys.prefix) / 'share' / 'motion_clips'
CLIPS = (
    'walk', 'run', 'jump', 'kick', 'punch', 'spin', 'spinkick', 'dance_a', 'dance_b', 'roll',
    'crawl', 'cartwheel', 'backflip', 'getup_facedown', 'getup_faceup',
)  # fmt: skip
EXERCISE = 'exercise'
_ROOT = Path(__file__).resolve().parents[2]  # the repository, or what a wheel brings
_RESOURCES = _ROOT / 'resource' if (_ROOT / 'resource').is_dir() else _ROOT
EXERCISE_FILE = _RESOURCES / 'recordings' / 'side_lunge.npz'
EXERCISE_CREDIT = (
    'motion capture of a person whom nothing here was fitted on, no frame made up; UI-PRMD '
    '(Vakanski, Jun, Paul, Baker, Data 3(1):2, 2018; PDDL 1.0), clip u04_m04c'
)
WORK = 'work'
MEDLEY = 'medley'
MEDLEY_CLIPS = (
    'walk', 'walk', 'walk', 'walk', 'punch', 'run', 'run', 'run', 'run', 'walk', 'walk', 'kick',
    'dance_b', 'walk', 'walk', 'jump', 'dance_a', 'dance_a', 'spin',
)  # fmt: skip
BLEND_S = 0.4
CYCLE_BLEND_FRAMES = 2
DOWNLOAD_LIMIT_S = 600.0


def demo_recording(
    clip: str, seconds: float, rate_hz: float, overrides: Overrides | None = None
) -> Recording:
    """
    Return motion of the requested duration, repeated if it is shorter.

    :param clip: ``exercise`` (played once, never repeated), ``work``, ``medley``, one of
        :data:`CLIPS`, ``synthetic``, or what
        :func:`motion_predictor.recordings.open.open_recording` takes.
    :param seconds: how long the result lasts.
    :param rate_hz: of the result.
    :param overrides: what is known of a file, in place of what it says or lets judge.
    :returns: 17 joints in metres, z up; ``source`` says where the motion comes from and what of it
        is made up.
    :raises RecordingError: if there is no such clip.
    """
    if clip == EXERCISE:
        once = whole_recording(str(EXERCISE_FILE), seconds, rate_hz, overrides)
        return replace(once, source=EXERCISE_CREDIT)
    if clip == WORK:
        return synthetic_work(seconds, rate_hz)
    if clip == MEDLEY or clip in CLIPS:
        folder = clip_folder()
        if isinstance(folder, str):
            print(f'demo: no motion capture: {folder}', file=sys.stderr)
            print('demo: playing a synthetic walker of our own making instead', file=sys.stderr)
            clip = SYNTHETIC
        else:
            names = MEDLEY_CLIPS if clip == MEDLEY else (clip,)
            return _chained(folder, names, seconds, rate_hz)
    elif not clip.startswith(SYNTHETIC) and not Path(re.sub(r'(\.npz):.*$', r'\1', clip)).exists():
        raise RecordingError(
            f'no clip or file {clip!r}; clips: {EXERCISE}, {WORK}, {MEDLEY}, {", ".join(CLIPS)}, '
            f'{SYNTHETIC}; '
            f'or a .bvh, a .npz of clips (FILE.npz:CLIP), a rosbag2'
        )
    return _repeated(open_recording(clip, overrides=overrides), seconds, rate_hz)


def whole_recording(
    path: str, seconds: float, rate_hz: float, overrides: Overrides | None = None
) -> Recording:
    """
    Read one long recording; it is not repeated.

    :param path: a path for :func:`motion_predictor.recordings.open.open_recording`; of an archive
        of clips, all are played one after another unless one is named.
    :param seconds: longest duration.
    :param rate_hz: rate of the result.
    :param overrides: known facts about the file, instead of what it states or lets judge.
    :raises RecordingError: if it cannot be read.
    """
    recording = open_recording(path, overrides=overrides)
    if path.endswith('.npz') and not (overrides or Overrides()).any:
        recording = _every_clip(Path(path), seconds, rate_hz)
    recording = recording.resample(rate_hz)
    return recording.crop(0.0, min(seconds, recording.duration_s))


def _every_clip(path: Path, seconds: float, rate_hz: float) -> Recording:
    with np.load(path, allow_pickle=False) as arrays:
        count = len(arrays['names'])
    parts: list[Recording] = []
    for number in range(count):
        clip = read_npz(path, str(number)).resample(rate_hz)
        if clip.duration_s > 4.0 * BLEND_S:
            parts.append(clip)
        if sum(part.duration_s - BLEND_S for part in parts) > seconds:
            break
    if len(parts) < 2:
        return read_npz(path)
    return replace(
        chain(parts, BLEND_S),
        name=f'{path.name}, {len(parts)} clips',
        source=f'{len(parts)} clips of {path.name} one after another, crossfaded over '
        f'{BLEND_S:g} s (not scored)',
    )


def clip_folder() -> Path | str:
    """
    Download the clips' package with pip, once, and extract its motion files.

    :returns: the folder, or in words why there is none.
    """
    if all((CLIP_FOLDER / f'humanoid3d_{clip}.txt').is_file() for clip in CLIPS):
        return CLIP_FOLDER
    print(f'demo: fetching motion capture clips ({CLIP_PACKAGE}, 103 MB, once)', file=sys.stderr)
    # The files are data, so any wheel of the package will do for any interpreter.
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input', 'download']
    wheel_of = ['--platform', 'manylinux2014_x86_64', '--implementation', 'cp']
    wheel_of += ['--python-version', '3.11', '--abi', 'cp311', '--only-binary', ':all:']
    with tempfile.TemporaryDirectory() as folder:
        command = [*pip, '--quiet', '--no-deps', *wheel_of, '--dest', folder, CLIP_PACKAGE]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return f'pip did not fetch {CLIP_PACKAGE} within {DOWNLOAD_LIMIT_S:g} s'
        wheels = list(Path(folder).glob('*.whl'))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ['no wheel'])[-1]
            return f'pip could not fetch {CLIP_PACKAGE}: {reason}'
        CLIP_FOLDER.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            for clip in CLIPS:
                name = f'humanoid3d_{clip}.txt'
                try:
                    content = wheel.read(f'pybullet_data/data/motions/{name}')
                except KeyError:
                    return f'{wheels[0].name} holds no {name}'
                (CLIP_FOLDER / name).write_bytes(content)
    return CLIP_FOLDER


def _chained(folder: Path, names: Sequence[str], seconds: float, rate_hz: float) -> Recording:
    """Join clips until ``seconds`` are full; a repeated clip continues its cycle."""
    groups: list[tuple[str, int]] = []
    length_s = 0.0
    for name in cycle(names):
        clip = read_deepmimic(folder / f'humanoid3d_{name}.txt', rate_hz)
        length_s += clip.duration_s
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1] + 1)
        else:
            groups.append((name, 1))
            length_s -= BLEND_S
        if length_s >= seconds + 1.0:
            break
    parts = []
    for name, count in groups:
        clip = read_deepmimic(folder / f'humanoid3d_{name}.txt', rate_hz)
        parts.append(chain([clip] * count, CYCLE_BLEND_FRAMES / rate_hz))
    joined = chain(parts, BLEND_S).crop(0.0, seconds)
    made_up = 100.0 * BLEND_S * (len(parts) - 1) / length_s
    return Recording(
        name=', '.join(dict.fromkeys(name for name, _ in groups)),
        layout=joined.layout,
        rate_hz=joined.rate_hz,
        persons=joined.persons,
        source=f'{CLIP_CREDIT}; {len(parts)} clips one after another, crossfaded over '
        f'{BLEND_S:g} s ({made_up:.0f}% of the time)',
        made_up=joined.made_up,
    )


def _repeated(recording: Recording, seconds: float, rate_hz: float) -> Recording:
    recording = recording.resample(rate_hz)
    wanted = int(seconds * rate_hz) + 1
    source = recording.source
    if recording.num_frames < wanted:
        looped = with_seam(recording)
        source += (
            f'; repeated, with {looped.num_frames - recording.num_frames} made-up frames from '
            f'each end to the next beginning'
        )
        recording = looped
    repeats = -(-wanted // recording.num_frames)
    return Recording(
        name=recording.name,
        layout=recording.layout,
        rate_hz=recording.rate_hz,
        persons={
            person: np.tile(poses, (repeats, 1, 1))[:wanted]
            for person, poses in recording.persons.items()
        },
        source=source,
        made_up=np.tile(recording.invented, repeats)[:wanted],
    )
