# SPDX-License-Identifier: Apache-2.0
"""Errors of the predictions of a stream: of the published future, and of each candidate alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model import candidates
from motion_predictor.predict.futures.sampled import as_futures
from motion_predictor.predict.place.mix import Mix
from motion_predictor.predict.prediction import Prediction
from training.judge import metrics
from training.judge.baselines import DAMPED_OVER_S, damped_velocity, zero_velocity
from training.judge.neighbours import TrainingNeighbours
from training.judge.stream.streams import HORIZONS_S, Moment

PUBLISHED = 'published'
MODEL = 'model'
DAMPED = 'damped velocity'
STILL = 'standing still'
MEDOID = 'model, medoid'
NEIGHBOURS = 'nearest neighbours'
MEMORY = 'memory'
SMOOTHED_DAMPED = 'damped velocity, smoothed'
SMOOTHED_STILL = 'standing still, smoothed'
CANDIDATES = (MODEL, DAMPED, STILL)
"""Candidates with which the published future is compared: the best of them, chosen afterwards."""
EVERY_CANDIDATE = (*CANDIDATES, SMOOTHED_DAMPED, SMOOTHED_STILL, MEMORY)
"""These, and the node's own: simple candidates from a smoothed pose and velocity, and
the memory."""
LEVELS = (0.9, 0.99, 0.999)
"""Shares that stated radii must hold."""
SPEED_FLOOR_M_S = 0.1
"""Speed in m/s that is added to a joint's recent speed, by which the simple radius is scaled."""
ISO_SPEED_M_S = 1.6
"""Speed in m/s of an approaching person in ISO 13855, with which its ball grows."""
BEST_OF = ('pose.ade', 'pose.fde', 'world.ade', 'world.fde')


@dataclass(frozen=True)
class Scores:
    """
    Scores of N predictions, in the order of the stream; horizons F, joints J, levels L.

    Distances are in metres. Candidates that a stream does not have (nearest neighbours that were
    not requested) are not among the names.
    """

    clip: NDArray[np.int64]
    subject: NDArray[np.str_]
    kind: NDArray[np.str_]
    minutes: NDArray[np.float64]
    on_seam: NDArray[np.bool_]
    errors: Mapping[str, NDArray[np.float32]]
    """By candidate: distance of each joint at each horizon, metres, ``(N, F, J)``."""
    energy: Mapping[str, NDArray[np.float32]]
    """By candidate: energy score at each horizon, ``(N, F)``."""
    best_of: Mapping[str, NDArray[np.float32]]
    """By candidate: error of the best of its samples, in the order of :data:`BEST_OF`,
    ``(N, 4)``."""
    radius: NDArray[np.float32]
    """Stated radius of each level, metres, ``(N, L, F, J)``."""
    apart: NDArray[np.float32]
    """Distance of the truth from the centre of the radius, metres, ``(N, F, J)``."""
    speed: NDArray[np.float32]
    """Recent speed of each joint, m/s, ``(N, J)``."""

    def __len__(self) -> int:
        """Return the number of predictions."""
        return len(self.clip)

    def select(self, chosen: NDArray) -> Scores:
        """Return some of the predictions, by a mask or by indices."""
        fields: dict[str, Any] = {
            name: {key: array[chosen] for key, array in value.items()}
            if isinstance(value, Mapping)
            else value[chosen]
            for name, value in vars(self).items()
        }
        return Scores(**fields)


def joined(parts: Sequence[Scores]) -> Scores:
    """Return the predictions of several streams one after another; clips are numbered anew."""
    clips, begin = [], 0
    for part in parts:
        clips.append(part.clip + begin)
        begin += int(part.clip.max(initial=-1)) + 1
    fields: dict[str, Any] = {}
    for name, value in vars(parts[0]).items():
        if isinstance(value, Mapping):
            fields[name] = {
                key: np.concatenate([vars(part)[name][key] for part in parts]) for key in value
            }
        else:
            fields[name] = np.concatenate([vars(part)[name] for part in parts])
    return Scores(**{**fields, 'clip': np.concatenate(clips)})


def model_alone(prediction: Prediction) -> Prediction:
    """Return the prediction with only the model's own samples."""
    if prediction.mix is None:
        return prediction
    own = np.flatnonzero(prediction.candidate == candidates.MODEL)
    return Prediction(
        as_futures(prediction.futures[:, own]),
        prediction.mix.within[:, own],
        prediction.rate_hz,
    )


def as_many(prediction: Prediction) -> NDArray[np.float32]:
    """
    Return as many published samples of one person as the model has.

    With more samples than the model alone, the best of them would look too good. So the other
    candidates' samples replace the model's last ones.

    :returns: metres, ``(S, T_fut, J, 3)``.
    """
    if prediction.mix is None:
        return prediction.futures[0]
    own = prediction.candidate == candidates.MODEL
    others = np.flatnonzero(~own & (prediction.mix.within[0] > 0.0))[: own.sum() - 1]
    kept = np.flatnonzero(own)[: own.sum() - len(others)]
    return prediction.futures[0, np.concatenate((kept, others))]


def keep_bones(
    poses: NDArray[np.floating], observed: NDArray[np.floating], skeleton: Skeleton
) -> NDArray[np.floating]:
    """
    Return poses with the observed bone lengths of the person.

    In the mean of futures whose limbs point in different directions, the limbs are too short.

    :param poses: metres, ``(..., J, 3)``; the root stays.
    :param observed: observed poses of the same person, metres, ``(T_obs, J, 3)``; bones get their
        mean lengths.
    :param skeleton: gives the parent of each joint.
    """
    kept = poses.copy()
    for joint, parent in sorted(skeleton.bones, key=lambda bone: _depth(skeleton, bone[0])):
        length = np.linalg.norm(observed[:, joint] - observed[:, parent], axis=-1).mean()
        bone = poses[..., joint, :] - poses[..., parent, :]
        norm = np.linalg.norm(bone, axis=-1, keepdims=True)
        kept[..., joint, :] = kept[..., parent, :] + bone * (length / np.maximum(norm, 1e-6))
    return kept


def energy_score(
    samples: NDArray[np.floating], weights: NDArray[np.floating], truth: NDArray[np.floating]
) -> NDArray[np.float64]:
    """
    Return the energy score of a weighted sample of poses at each horizon.

    It is a proper score; lower is better: ``sum_i w_i |X_i - y| - 1/2 sum_ij w_i w_j |X_i -
    X_j|``, with the norm over all joints together.

    :param samples: metres, ``(S, F, J, 3)``.
    :param weights: ``(S, F)``; they sum to one at every horizon.
    :param truth: metres, ``(F, J, 3)``.
    :returns: metres, ``(F,)``.
    """
    flat = torch.from_numpy(
        np.ascontiguousarray(np.moveaxis(samples, 0, 1).reshape(len(truth), len(samples), -1))
    ).double()
    real = torch.from_numpy(np.ascontiguousarray(truth)).double().flatten(1)[:, None]
    share = torch.from_numpy(np.ascontiguousarray(weights.T)).double()  # (F, S)
    off = (flat - real).norm(dim=-1)
    pairs = torch.cdist(flat, flat, compute_mode='donot_use_mm_for_euclid_dist')
    between = torch.einsum('fi,fij,fj->f', share, pairs, share)
    return ((share * off).sum(dim=1) - 0.5 * between).numpy()


class StreamScorer:
    """Scores moments one by one, and keeps the values for the tables."""

    def __init__(self, skeleton: Skeleton, bank: TrainingNeighbours | None = None) -> None:
        """
        Begin without scores.

        :param skeleton: skeleton of the recordings.
        :param bank: nearest neighbours to score beside the candidates.
        """
        self._skeleton = skeleton
        self._bank = bank
        self._rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Return the number of scored predictions."""
        return len(self._rows)

    def add(self, moment: Moment) -> None:
        """Score one prediction."""
        prediction = moment.prediction.prediction
        assert prediction is not None
        frames = horizon_frames(prediction.rate_hz)
        truth = moment.truth[frames]
        guesses, samples = self._candidates(moment, prediction, frames)
        errors = {
            name: np.linalg.norm(guess - truth, axis=-1).astype(np.float32)
            for name, guess in guesses.items()
        }
        energy = {
            name: energy_score(of, share, truth).astype(np.float32)
            for name, (of, share) in samples.items()
        }
        best = {PUBLISHED: _best_of(as_many(prediction), moment.truth)}
        own = model_alone(prediction)
        best[MODEL] = (
            best[PUBLISHED] if own is prediction else _best_of(own.futures[0], moment.truth)
        )
        moments = prediction.moments(frames)
        radii = [prediction.radius(level, moments, frames)[0] for level in LEVELS]
        stated = prediction.mix is not None and prediction.mix.radii is not None
        middle = guesses[PUBLISHED] if stated else moments.mean[0]
        steps = round(DAMPED_OVER_S * prediction.rate_hz)
        poses = moment.window.poses
        speed = np.linalg.norm(poses[-1] - poses[-1 - steps], axis=-1) / DAMPED_OVER_S
        self._rows.append(
            {  # the prediction itself is not kept: it is a megabyte
                'clip': moment.clip,
                'subject': moment.subject,
                'kind': moment.kind,
                'minutes': moment.minutes,
                'on_seam': moment.on_seam,
                'errors': errors,
                'energy': energy,
                'best_of': best,
                'radius': np.stack(radii).astype(np.float32),
                'apart': np.linalg.norm(middle - truth, axis=-1).astype(np.float32),
                'speed': speed.astype(np.float32),
            }
        )

    def _candidates(
        self, moment: Moment, prediction: Prediction, frames: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray], dict[str, tuple[NDArray, NDArray]]]:
        # Return one future (F, J, 3) of each candidate, its samples (S, F, J, 3) and their weights
        # (S, F).
        window = moment.window.poses.astype(np.float32)[None]
        future_frames, rate_hz = prediction.future_frames, prediction.rate_hz
        damped = damped_velocity(window, future_frames, rate_hz)[0][:, frames]
        still = zero_velocity(window, future_frames, rate_hz)[0][:, frames]
        own = model_alone(prediction)
        futures = own.futures[0][:, frames]
        weights = np.repeat(own.weights[0][:, None], len(frames), axis=1)
        mean = np.einsum('sf,sfjk->fjk', weights, futures)
        one = np.ones((1, len(frames)))
        guesses = {
            PUBLISHED: prediction.expected[0][frames],
            MODEL: keep_bones(mean, moment.window.poses, self._skeleton),
            DAMPED: damped[0],
            STILL: still[0],
            MEDOID: futures[int(own.most_likely[0])],
        }
        samples = {
            PUBLISHED: (prediction.futures[0][:, frames], prediction.weights_at(frames)[0]),
            MODEL: (futures, weights),
            DAMPED: (damped, one),
            STILL: (still, one),
        }
        if prediction.mix is not None:
            self._add_learnt(moment, prediction, prediction.mix, frames, guesses, samples)
        if self._bank is not None:
            near = self._bank.futures(window, without_subject=moment.subject)[0][:, frames]
            share = np.full((len(near), len(frames)), 1.0 / len(near))
            guesses[NEIGHBOURS] = keep_bones(
                near.mean(axis=0), moment.window.poses, self._skeleton
            )
            samples[NEIGHBOURS] = (near, share)
        return guesses, samples

    def _add_learnt(
        self,
        moment: Moment,
        prediction: Prediction,
        mix: Mix,
        frames: NDArray[np.int64],
        guesses: dict[str, NDArray],
        samples: dict[str, tuple[NDArray, NDArray]],
    ) -> None:
        # The node's own simple candidates, and the memory's: NaN if it finds nothing.
        means = mix.means[0, frames] + mix.origin[0]  # (F, C, J, 3)
        guesses[SMOOTHED_DAMPED] = means[:, candidates.DAMPED]
        guesses[SMOOTHED_STILL] = means[:, candidates.STILL]
        of = np.flatnonzero(prediction.candidate == candidates.MEMORY)
        known = mix.within[0, of].sum() > 0.5
        memory = keep_bones(means[:, candidates.MEMORY], moment.window.poses, self._skeleton)
        guesses[MEMORY] = memory if known else np.full_like(memory, np.nan)
        share = np.repeat(mix.within[0, of][:, None], len(frames), axis=1)
        futures = prediction.futures[0, of][:, frames]
        if not known:
            share, futures = np.full((1, len(frames)), np.nan), memory[None]
        samples[MEMORY] = (futures, share)

    def scores(self) -> Scores:
        """Return the scores of all moments so far."""
        rows = self._rows
        fields: dict[str, Any] = {}
        for name, value in rows[0].items():
            if isinstance(value, Mapping):
                fields[name] = {key: np.stack([row[name][key] for row in rows]) for key in value}
            else:
                fields[name] = np.array([row[name] for row in rows])
        return Scores(**fields)


def horizon_frames(rate_hz: float) -> NDArray[np.int64]:
    """Return the indices of the scored future frames."""
    return np.rint(np.array(HORIZONS_S) * rate_hz).astype(np.int64) - 1


def _depth(skeleton: Skeleton, joint: int) -> int:
    depth = 0
    while skeleton.parents[joint] >= 0:
        joint, depth = skeleton.parents[joint], depth + 1
    return depth


def _best_of(futures: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float32]:
    samples, real = torch.from_numpy(futures[None]), torch.from_numpy(truth[None])
    found = []
    for parts in (
        (metrics.root_relative(samples), metrics.root_relative(real)),
        (samples, real),
    ):
        errors = metrics.frame_errors(parts[0].flatten(-2), parts[1].flatten(-2))
        found.append(float(metrics.ade_of_samples(errors).min()))
        found.append(float(metrics.fde_of_samples(errors).min()))
    return np.array(found, dtype=np.float32)
