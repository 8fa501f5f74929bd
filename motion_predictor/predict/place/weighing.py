# SPDX-License-Identifier: Apache-2.0
"""The inputs of the gate and of the radius network.

The gate (:mod:`motion_predictor.model.networks.gate`) outputs the weight of each candidate future
at each horizon. The radius network (:mod:`motion_predictor.model.networks.radius_network`),
trained by the pinball loss, outputs how far off the result may be. Both are trained on people that
the model has not seen. Their inputs are what the node knows: how fast the body moves, how noisy
the input is, how far apart the candidates are, and how near an earlier moment is. The later errors
of the candidates are evidence (:mod:`motion_predictor.predict.place.evidence`). The share that the
radii then held is followed (:mod:`motion_predictor.predict.place.following`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from motion_predictor.body.geometry import lengths, squares
from motion_predictor.model.candidates import CANDIDATES, MEMORY
from motion_predictor.model.networks.gate import BY_KNOT, COMMON, Described, PAIRS, SEGMENTS
from motion_predictor.model.networks.radius_network import BY_JOINT, SPEED_FLOOR
from motion_predictor.model.networks.radius_network import COMMON as RADIUS_COMMON
from motion_predictor.predict.place.candidates import Stance
from motion_predictor.predict.place.memory.recall import Recall

_PAIRS = np.array(PAIRS).T
_OF_MEMORY = np.array([False, True, *(MEMORY in pair for pair in PAIRS)])  # index in BY_KNOT
_FLOORS = np.array(
    [0.02] * SEGMENTS + [0.05, 0.02, 0.02, 0.05, 0.0005, 0.01, 1.0], dtype=np.float32
)  # index in the body's numbers before the logarithm
_JOINT_FLOORS = np.array([0.003] * 3 + [SPEED_FLOOR] * 2 + [0.003], np.float32).reshape(6, 1, 1, 1)
_BODY_FLOORS = np.array([SPEED_FLOOR, 0.05, 0.0005, 0.01, 1.0], np.float32)


def describe(
    windows: np.ndarray,
    now: Stance,
    means: np.ndarray,
    model_spread: np.ndarray,
    memory_spread: np.ndarray,
    recall: Recall,
    rate_hz: float,
) -> Described:
    """
    Return the inputs of the gate.

    They do not change if people are turned, moved or mirrored.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param now: pose and velocity of these people.
    :param means: mean of each candidate at the knots, metres, ``(P, K, C, J, 3)``.
    :param model_spread: spread of the model's samples, metres per joint, ``(P, K)``.
    :param memory_spread: spread of the memory's futures, likewise.
    :param recall: result of the memory.
    :param rate_hz: frames per second.
    """
    persons, knots = means.shape[:2]
    known = recall.known
    joints = windows.shape[2]
    features = np.empty((persons, knots, COMMON + BY_KNOT + knots), dtype=np.float32)
    frames, lasted = _segments(windows.shape[1], rate_hz)
    marks = windows[:, frames]
    velocities = (marks[:, 1:] - marks[:, :-1]) / lasted
    present = lengths(now.velocity)  # (P, J)
    # inputs that are logarithms, then the others
    body = np.empty((persons, COMMON - 1), dtype=np.float32)
    body[:, :SEGMENTS] = lengths(velocities).sum(axis=-1) / joints
    body[:, SEGMENTS] = present.max(axis=-1)
    body[:, SEGMENTS + 1] = present.sum(axis=-1) / joints
    body[:, SEGMENTS + 2] = present[:, 0]
    body[:, SEGMENTS + 3] = lengths(velocities[:, -1] - velocities[:, -2]).sum(axis=-1) / joints
    body[:, SEGMENTS + 4] = now.jitter
    body[:, SEGMENTS + 5] = np.where(known, recall.distance_m, 1.0)
    body[:, SEGMENTS + 6] = recall.alike
    body = np.log(body + _FLOORS)
    body[:, SEGMENTS + 5 :] *= known[:, None]
    features[..., : SEGMENTS + 5] = body[:, None, : SEGMENTS + 5]
    features[..., SEGMENTS + 5] = known[:, None]
    features[..., SEGMENTS + 6 : COMMON] = body[:, None, SEGMENTS + 5 :]
    by_knot = features[..., COMMON : COMMON + BY_KNOT]
    by_knot[..., 0], by_knot[..., 1] = model_spread, memory_spread
    apart = means[:, :, _PAIRS[0]] - means[:, :, _PAIRS[1]]
    by_knot[..., 2:] = lengths(apart).sum(axis=-1) / joints  # (P, K, pairs)
    np.log(by_knot + np.float32(0.005), out=by_knot)
    by_knot *= known[:, None, None] | ~_OF_MEMORY
    features[..., COMMON + BY_KNOT :] = np.eye(knots, dtype=np.float32)
    available = np.ones((persons, len(CANDIDATES)), dtype=bool)
    available[:, MEMORY] = known
    return Described(features, means, available)


@lru_cache(maxsize=8)
def _segments(observed: int, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    # Return the frames at which the parts of a window meet, and the length of each part, (S, 1,
    # 1).
    frames = np.rint(np.linspace(0, observed - 1, SEGMENTS + 1)).astype(np.int64)
    return frames, (np.diff(frames) / rate_hz).astype(np.float32)[:, None, None]


def tell(
    windows: np.ndarray,
    now: Stance,
    means: np.ndarray,
    weights: np.ndarray,
    spreads: np.ndarray,
    recall: Recall,
    rate_hz: float,
) -> np.ndarray:
    """
    Return the inputs of the radius network.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param now: pose and velocity of these people.
    :param means: mean of each candidate, metres, ``(P, K, C, J, 3)``.
    :param weights: weight of each candidate, ``(P, K, C)``.
    :param spreads: spread of each candidate's samples about its mean, metres, ``(P, K, C, J)``.
    :param recall: result of the memory.
    :param rate_hz: frames per second.
    :returns: float32 ``(P, K, J, F)``.
    """
    persons, knots, _, joints = means.shape[:4]
    shares = weights[..., None, :]  # (P, K, 1, C)
    middle = (shares @ means.reshape(persons, knots, -1, 3 * joints)).reshape(
        persons, knots, 1, joints, 3
    )
    apart = squares(means - middle)  # (P, K, C, J)
    speed = lengths(now.velocity)  # (P, J)
    by_joint = np.empty((BY_JOINT, persons, knots, joints), dtype=np.float32)
    by_joint[0] = np.sqrt(shares @ (apart + spreads * spreads))[:, :, 0]
    by_joint[1] = np.sqrt(shares @ apart)[:, :, 0]
    by_joint[2] = spreads[:, :, 0]
    by_joint[3] = speed[:, None]
    by_joint[4] = (lengths(windows[:, -1] - windows[:, 0]) * (rate_hz / (windows.shape[1] - 1)))[
        :, None
    ]
    by_joint[5] = np.sqrt(apart[:, :, 2])
    by_joint = np.log(by_joint + _JOINT_FLOORS)
    known = recall.known
    body = np.empty((persons, 5), dtype=np.float32)
    body[:, 0], body[:, 1], body[:, 2] = (
        speed.sum(axis=-1) / joints,
        speed.max(axis=-1),
        now.jitter,
    )
    body[:, 3], body[:, 4] = np.where(known, recall.distance_m, 1.0), recall.alike
    body = np.log(body + _BODY_FLOORS)
    at = BY_JOINT + RADIUS_COMMON
    told = np.empty((persons, knots, joints, at + knots + joints), np.float32)
    told[..., :BY_JOINT] = np.moveaxis(by_joint, 0, -1)
    told[..., BY_JOINT : BY_JOINT + 3] = body[:, None, None, :3]
    told[..., BY_JOINT + 3] = known[:, None, None]
    told[..., BY_JOINT + 4 : BY_JOINT + 6] = (body[:, 3:] * known[:, None])[:, None, None]
    told[..., BY_JOINT + 6 : at] = weights[:, :, None]
    told[..., at:] = _places(knots, joints)
    return told


@lru_cache(maxsize=8)
def _places(knots: int, joints: int) -> np.ndarray:
    # Return one-hot codes of the horizon and the joint, (K, J, K + J).
    found = np.zeros((knots, joints, knots + joints), dtype=np.float32)
    found[..., :knots] = np.eye(knots)[:, None]
    found[..., knots:] = np.eye(joints)
    return found
