# SPDX-License-Identifier: Apache-2.0
"""Synthetic people, windows and weights for the tests of weighing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from random_models import walking

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.networks.gate import feature_count, Gate
from motion_predictor.model.networks.radius_network import BY_JOINT, COMMON, RadiusNetwork
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.prediction import Prediction
from motion_predictor.track.window import ObservedWindow

WINDOW = WindowConfig()
KNOTS = knot_frames(WINDOW)
BEGIN_NS = 10**12
PERIOD_NS = 20_000_000
LEVELS = (0.5, 0.9, 0.99)
ARM = Skeleton('arm', ('base', 'elbow', 'hand'), (-1, 0, 1), (0, 1, 2))
"""A robot's skeleton without sides, hips or a line ahead."""


def swinging(seconds: float, seed: int = 0, pace: float = 1.0) -> np.ndarray:
    """Return a person at a bench who moves the arms, (frames, 17, 3) at 50 Hz, float64 metres."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * 50.0))[:, None, None] / 50.0
    pose = walking(1, 5)[0].astype(np.float64)
    pose = pose - pose[0] * [1.0, 1.0, 0.0]
    phases = generator.uniform(0.0, 6.0, (3, 1, 17, 3))
    sizes = np.zeros((17, 1))
    sizes[7:11], sizes[11:14], sizes[14:] = 0.02, 0.12, 0.12
    swing = sum(
        size * np.sin(2.0 * np.pi * pace * rate * time + phase)
        for size, rate, phase in zip((0.5, 0.3, 0.2), (0.31, 0.83, 1.37), phases)
    )
    return pose + sizes * swing


def window_at(
    poses: np.ndarray,
    frame: int,
    begin_ns: int = BEGIN_NS,
    filled: np.ndarray | None = None,
    padded: int = 0,
) -> ObservedWindow:
    """Return the observed window when frame `frame` of poses at 50 Hz has just come."""
    of = slice(frame + 1 - WINDOW.observed_frames, frame + 1)
    hidden = np.zeros(poses.shape[:2], bool) if filled is None else filled
    seen = poses[of].astype(np.float64).copy()
    seen[:padded] = seen[padded]
    stamp_ns = begin_ns + PERIOD_NS * frame
    return ObservedWindow(stamp_ns, seen, hidden[of].copy(), padded, 0.02)


def asked(poses: np.ndarray, every: int = 24, begin: int = 24) -> range:
    """Return the frames at which a prediction is made."""
    return range(begin, len(poses), every)


def predicted(windows: Sequence[ObservedWindow], samples: int = 4) -> Prediction:
    """Return a prediction in which everybody continues to move; its samples differ in speed."""
    poses = np.stack([window.poses for window in windows])
    way = poses[:, -1] - poses[:, -6]  # in 0.1 s
    times = np.arange(1, WINDOW.future_frames + 1)[:, None, None] * WINDOW.period_s
    lasting = 0.3 * (1.0 - np.exp(-times / 0.3)) / 0.1
    futures = np.stack(
        [
            poses[:, -1, None] + share * lasting * way[:, None]
            for share in np.linspace(0.6, 1.4, samples)
        ],
        axis=1,
    )
    weights = np.full((len(poses), samples), 1.0 / samples, np.float32)
    return Prediction(futures, weights, WINDOW.rate_hz)


def weights_of(
    skeleton: Skeleton = H36M17, seed: int = 0, trust: float = 3.0, depends: float = 0.1
) -> WeighingWeights:
    """Return a gate and a radius network of random numbers; `depends`: the inputs' effect."""
    generator = np.random.default_rng(seed)

    def some(*shape: int, of: float = depends) -> np.ndarray:
        return (of * generator.standard_normal(shape)).astype(np.float32)

    features, knots, joints = feature_count(WINDOW), len(KNOTS), skeleton.num_joints
    gate = Gate(
        some(features), np.ones(features, np.float32), some(features, 8), some(8),
        some(8, len(CANDIDATES)), some(len(CANDIDATES)),
        np.full((knots, len(MEMORIES)), trust, np.float32),
    )  # fmt: skip
    told = BY_JOINT + COMMON + knots + joints
    radius = RadiusNetwork(
        some(told), np.ones(told, np.float32), some(told, 8), some(8), some(8, 8), some(8),
        some(8, len(LEVELS)), np.array([-3.0, 0.5, 0.5], np.float32),
        np.ones((len(LEVELS), knots), np.float32), LEVELS,
    )  # fmt: skip
    rank = min(32, 6 * joints)
    basis = np.linalg.qr(generator.standard_normal((6 * joints, rank)))[0].astype(np.float32)
    return WeighingWeights(basis, gate, radius, {'seed': seed})


def sided_weights(seed: int = 0) -> WeighingWeights:
    """Return weights whose basis and radius network do not tell left from right."""
    made = weights_of(seed=seed)
    assert made.radius is not None
    first = made.radius.first.copy()
    first[-17:] += first[-17:][list(H36M17.mirror)]
    mean = made.radius.mean.copy()
    mean[-17:] = 0.0
    return replace(
        made,
        basis=np.eye(102, dtype=np.float32),
        radius=replace(made.radius, first=first, mean=mean),
    )


def play(
    place: Place,
    people: Sequence[np.ndarray],
    every: int = 24,
    begin_ns: int = BEGIN_NS,
    first_track: int = 1,
) -> list[Prediction]:
    """Show people to a place; return its predictions at each instant."""
    tracks = range(first_track, first_track + len(people))
    said = []
    for frame in asked(people[0], every):
        windows = [window_at(poses, frame, begin_ns) for poses in people]
        said.append(place.weigh(tracks, windows, predicted(windows)))
    return said
