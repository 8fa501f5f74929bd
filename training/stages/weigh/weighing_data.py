# SPDX-License-Identifier: Apache-2.0
"""The data of gate and radius fits: candidates and what then happened, played as streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.resampling import resample
from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.model.candidates import CANDIDATES, knot_frames
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.place.candidates import stance
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.npz import Npz
from training.data.clips import Clip
from training.data.windows import load_clips
from training.judge.stream.streams import Moment, SimulatedTracker, Stream, takes_of

ONE_LABORATORY = {'cmu13more17': 'cmu17'}
"""Sets that come from the same laboratory as another set."""
RANK = 32
"""Length of a key of the memory."""


@dataclass(frozen=True)
class Play:
    """One way in which a file is played."""

    tracker: SimulatedTracker
    order: str = 'files'
    memory: bool = True
    seed: int = 0


PLAYS = (
    Play(SimulatedTracker()),
    Play(SimulatedTracker(), order='random', seed=1),
    Play(SimulatedTracker(), memory=False),
    Play(SimulatedTracker(noise_m=0.01), seed=2),
    Play(SimulatedTracker(noise_m=0.02), order='random', seed=3),
    Play(SimulatedTracker(noise_m=0.01), memory=False, seed=4),
    Play(SimulatedTracker(rate_hz=15.0, noise_m=0.003, wander_m=0.01, missing=0.02), seed=5),
    Play(SimulatedTracker(rate_hz=30.0, noise_m=0.03), order='random', seed=6),
    Play(SimulatedTracker(rate_hz=10.0, noise_m=0.005), seed=7),
)
"""The ways of playing: clean and as trackers send it, in order and mixed, with a memory and
without."""


@dataclass(frozen=True)
class Records:
    """
    N moments of one file and one way of playing; K knots, C candidates, J joints.

    Everything is in metres from the person's own origin; ``truth`` is clean.
    """

    laboratory: str
    play: int
    clip: NDArray[np.int64]
    minutes: NDArray[np.float32]
    kind: NDArray[np.str_]
    subject: NDArray[np.str_]
    features: NDArray[np.float32]
    """Inputs of the gate, (N, K, F)."""
    available: NDArray[np.bool_]
    """Which candidates were available, (N, C)."""
    evidence: NDArray[np.float32]
    """Evidence on the candidates, (N, K, E, C)."""
    means: NDArray[np.float32]
    """Means of the candidates, (N, K, C, J, 3)."""
    truth: NDArray[np.float32]
    """Real positions, (N, K, J, 3)."""
    near: NDArray[np.float32]
    """Mean distance of each candidate's samples from the truth, all joints in one
    norm, (N, K, C)."""
    between: NDArray[np.float32]
    """Mean distance of the samples of two candidates, (N, K, C, C)."""
    spreads: NDArray[np.float32]
    """Spreads of the candidates, (N, K, C, J)."""
    seen: NDArray[np.float32]
    """Observed windows, (N, T_obs, J, 3)."""
    velocity: NDArray[np.float32]
    """Velocities, metres per second, (N, J, 3)."""
    jitter: NDArray[np.float32]
    distance: NDArray[np.float32]
    alike: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of moments."""
        return len(self.clip)


def fit_basis(files: Sequence[Path], predictor: Predictor) -> NDArray[np.float32]:
    """
    Return the directions in which bodies and their velocities differ most, each file equally.

    Mirrored bodies count as much as the real ones, so that distances do not change by mirroring.

    :param files: the recordings.
    :param predictor: the model.
    :returns: orthonormal columns, float32 ``(6 J, R)``.
    """
    window = predictor.window
    rate_hz, observed = window.rate_hz, window.observed_frames
    memory = PlaceMemory(window, predictor.skeleton)
    covariance, mean, used = 0.0, 0.0, 0
    for file in files:
        keys = []
        for clip in load_clips(file, predictor.skeleton):
            poses = resample(clip.positions, clip.rate_hz, rate_hz)
            ends = np.arange(observed, len(poses) + 1, max(1, round(0.2 * rate_hz)))
            if not len(ends):
                continue
            windows = np.stack([poses[end - observed : end] - poses[end - 1, :1] for end in ends])
            now = stance(windows.astype(np.float32), np.zeros(len(ends)), rate_hz)
            own, _ = memory.own(now.pose, now.velocity)
            keys += [memory.keys(own), memory.keys(memory.mirrored(own))]
        if keys:
            found = np.concatenate(keys).astype(np.float64)
            covariance = covariance + found.T @ found / len(found)
            mean, used = mean + found.mean(axis=0), used + 1
    if not used:
        raise RecordingError(f'{[str(f) for f in files]}: no clip is as long as a window')
    mean = mean / used
    _, vectors = np.linalg.eigh(covariance / used - np.outer(mean, mean))
    return np.ascontiguousarray(vectors[:, ::-1][:, :RANK], dtype=np.float32)


def collect(
    weights: Path,
    basis: NDArray,
    files: Sequence[Path],
    plays: Sequence[Play] = PLAYS,
    processes: int = 1,
    samples: int = 50,
    held_out: Mapping[str, Path] | None = None,
) -> list[Records]:
    """
    Play every file in every way.

    :param weights: the model.
    :param basis: from :func:`fit_basis`.
    :param files: the recordings.
    :param plays: the ways of playing.
    :param processes: number of processes.
    :param samples: samples of the model.
    :param held_out: models trained without a set or a file, by its name or ``SET/FILE``; they play
        those people.
    :returns: one part for each file and way of playing that gave any moment.
    :raises ConfigError: if a model belongs to no file that is played.
    """
    others = dict(held_out or {})
    names = {file: (f'{file.parent.name}/{file.name}', file.parent.name) for file in files}
    unused = set(others) - {name for both in names.values() for name in both}
    if unused:
        raise ConfigError(f'--held-out {sorted(unused)}: no file of it among --data')
    models = {
        file: next((others[name] for name in both if name in others), weights)
        for file, both in names.items()
    }
    jobs = [
        (models[file], basis, file, number, play, samples)
        for file in files
        for number, play in enumerate(plays)
    ]
    if processes == 1:
        found = [_play(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context('spawn')) as pool:
            found = list(pool.map(_play_job, jobs, chunksize=1))
    return [each for each in found if each is not None]


def _play_job(job: tuple[Path, NDArray, Path, int, Play, int]) -> Records | None:
    torch.set_num_threads(1)
    return _play(*job)


def laboratory_of(file: Path) -> str:
    """Return the laboratory of a file: its set's name, with sets of one laboratory merged."""
    name = file.parent.name or file.stem
    return ONE_LABORATORY.get(name, name)


def _play(
    weights: Path, basis: NDArray, file: Path, number: int, play: Play, samples: int
) -> Records | None:
    predictor = Predictor.load(weights, device='cpu')
    clips: Sequence[Clip] = load_clips(file, predictor.skeleton)
    return play_clips(predictor, basis, clips, laboratory_of(file), number, play, samples)


def play_clips(
    predictor: Predictor,
    basis: NDArray,
    clips: Sequence[Clip],
    laboratory: str,
    number: int,
    play: Play,
    samples: int = 50,
) -> Records | None:
    """
    Play clips of one place in one way.

    :param predictor: the model.
    :param basis: the memory's basis.
    :param clips: the clips.
    :param laboratory: name of the laboratory.
    :param number: index of the way of playing among :data:`PLAYS`.
    :param play: the way of playing.
    :param samples: samples of the model.
    :returns: None if no clip is long enough for a window and its future.
    """
    place = Place(
        predictor.window, predictor.skeleton, WeighingWeights(basis), remember=play.memory
    )
    online = LivePredictor(predictor, max_persons=1, samples=samples, place=place)
    stream = Stream(online, takes_of(clips), play.tracker, order=play.order, seed=play.seed)
    rows = [_record(place, moment) for moment in stream]
    if not rows:
        return None
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Records(laboratory, number, **columns)


def _record(place: Place, moment: Moment) -> dict[str, NDArray]:
    working, prediction = place.working, moment.prediction.prediction
    assert working is not None
    assert prediction is not None
    assert prediction.mix is not None
    knots = knot_frames(place.window)
    truth = (moment.truth[knots] - working.origins[0]).astype(np.float32)
    futures = (prediction.futures_at(knots)[0] - working.origins[0]).astype(np.float32)
    flat = np.moveaxis(futures.reshape(*futures.shape[:2], -1), 0, 1)  # (K, S, 3 J)
    square = np.square(flat).sum(axis=-1)
    apart = square[:, :, None] + square[:, None] - 2.0 * flat @ flat.swapaxes(-1, -2)
    apart = np.sqrt(np.maximum(apart, 0.0))
    off = np.linalg.norm(flat - truth.reshape(len(knots), 1, -1), axis=-1)  # (K, S)
    within = np.zeros((flat.shape[1], len(CANDIDATES)), dtype=np.float32)
    within[np.arange(len(within)), prediction.mix.candidate] = prediction.mix.within[0]
    recall = working.recall
    return {
        'clip': np.int64(moment.clip),
        'minutes': np.float32(moment.minutes),
        'kind': np.str_(moment.kind),
        'subject': np.str_(moment.subject),
        'features': working.described.features[0],
        'available': working.described.available[0],
        'evidence': working.evidence[0],
        'means': working.described.means[0],
        'truth': truth,
        'near': off @ within,
        'between': within.T @ apart @ within,
        'spreads': working.spreads[0],
        'seen': working.seen[0],
        'velocity': working.now.velocity[0],
        'jitter': np.float32(working.now.jitter[0]),
        'distance': recall.distance_m[0],
        'alike': recall.alike[0],
    }  # fmt: skip


def save_records(parts: Sequence[Records], path: Path) -> None:
    """Write the records, so that a fit can be repeated."""
    arrays: dict[str, Any] = {'count': len(parts)}
    for index, part in enumerate(parts):
        for entry in fields(part):
            arrays[f'{index}.{entry.name}'] = np.asarray(getattr(part, entry.name))
    np.savez(path, **arrays)


def read_records(path: Path) -> list[Records]:
    """
    Read the records that :func:`save_records` wrote.

    :raises RecordingError: if it is not such a file.
    """
    with Npz(path) as found:
        if 'count' not in found.names:
            raise RecordingError(f'{path}: not records kept by training weighing; play them again')
        return [
            Records(
                laboratory_of(Path(str(found.read(f'{index}.laboratory')), 'kept')),
                int(found.read(f'{index}.play')),
                **{
                    entry.name: found.read(f'{index}.{entry.name}')
                    for entry in fields(Records)
                    if entry.name not in ('laboratory', 'play')
                },
            )
            for index in range(int(found.read('count')))
        ]
