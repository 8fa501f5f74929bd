# SPDX-License-Identifier: Apache-2.0
"""People who change their kind of motion every few seconds: pieces of different clips in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from training.data.clips import Clip
from training.judge.stream.kinds import kind_of
from training.judge.stream.streams import HORIZONS_S, Take

RATE_HZ = 50.0
SHORTEST_S, LONGEST_S = 5.0, 20.0
"""Shortest and longest duration of a piece in seconds."""
SEAM_S = 0.6
"""Time in seconds in which one piece passes into the next."""
LASTS_S = 240.0
"""Approximate time in seconds that one person continues."""
_WINDOW_S = 0.5 + HORIZONS_S[-1]


def regime_takes(
    clips: Sequence[Clip],
    skeleton: Skeleton,
    *,
    seed: int = 0,
    lasts_s: float = LASTS_S,
) -> tuple[Take, ...]:
    """
    Return takes in which the people of a file change their kind of motion every 5 to 20 s.

    Each person's clips are cut into pieces of one kind (the most frequent in them). These follow
    one another so that the kind changes as long as another kind is left. A piece begins where the
    person stands and in the direction that they face. Over the first 0.6 s the last pose of the
    piece before fades into it. Every piece is played once. A person with a single kind is played
    too; there only the motion changes.

    :param clips: clips of one file.
    :param skeleton: skeleton of the recordings.
    :param seed: seed of the cuts and the order.
    :param lasts_s: approximate duration of a take in seconds; the same person continues in the
        next.
    :returns: takes at 50 Hz, numbered.
    :raises ConfigError: if no clip is as long as a piece.
    """
    generator = np.random.default_rng((seed, 3))
    takes: list[Take] = []
    for subject in dict.fromkeys(clip.subject for clip in clips):
        pieces = [
            piece
            for clip in clips
            if clip.subject == subject
            for piece in _pieces(clip, generator)
        ]
        ordered = _alternating(pieces, generator)
        while ordered:
            taken, length_s = [], 0.0
            while ordered and length_s < lasts_s:
                taken.append(ordered.pop(0))
                length_s += len(taken[-1][1]) / RATE_HZ
            takes.append(_joined(len(takes), subject, taken, skeleton))
    if not takes:
        raise ConfigError(f'regimes: no clip lasts {SHORTEST_S:g} s, as long as a piece')
    return tuple(takes)


_Piece = tuple[str, NDArray[np.float32], str]  # kind, positions (T, J, 3), action


def _pieces(clip: Clip, generator: np.random.Generator) -> list[_Piece]:
    even = resample(clip.positions, clip.rate_hz, RATE_HZ)
    shortest = round(SHORTEST_S * RATE_HZ)
    found: list[_Piece] = []
    begin = 0
    while len(even) - begin >= shortest:
        end = begin + round(generator.uniform(SHORTEST_S, LONGEST_S) * RATE_HZ)
        if len(even) - end < shortest:
            end = min(len(even), begin + round(LONGEST_S * RATE_HZ))
        part = even[begin:end]
        found.append((_common_kind(part, clip.action), part, clip.action))
        begin = end
    return found


def _common_kind(poses: NDArray[np.float32], action: str) -> str:
    length, observed = round(_WINDOW_S * RATE_HZ), 25
    kinds = [
        kind_of(poses[begin : begin + length], observed, RATE_HZ, action)
        for begin in range(0, len(poses) - length + 1, observed)
    ]
    return max(dict.fromkeys(kinds), key=kinds.count)


def _alternating(pieces: Sequence[_Piece], generator: np.random.Generator) -> list[_Piece]:
    # Always a piece of another kind than the last, of the kind with the most pieces left.
    left: dict[str, list[_Piece]] = {}
    for index in generator.permutation(len(pieces)):
        left.setdefault(pieces[index][0], []).append(pieces[index])
    ordered: list[_Piece] = []
    while left:
        last = ordered[-1][0] if ordered else ''
        others = [kind for kind in left if kind != last] or list(left)
        kind = max(others, key=lambda kind: len(left[kind]))
        ordered.append(left[kind].pop())
        if not left[kind]:
            del left[kind]
    return ordered


def _joined(number: int, subject: str, pieces: Sequence[_Piece], skeleton: Skeleton) -> Take:
    whole = [pieces[0][1]]
    begins, seams = [0.0], []
    length = len(pieces[0][1])
    for _, poses, _ in pieces[1:]:
        begin_s = length / RATE_HZ
        begins.append(begin_s)
        seams.append((begin_s - 1.0 / RATE_HZ, begin_s + SEAM_S))
        whole.append(_continued(whole[-1][-1], poses, skeleton))
        length += len(poses)
    return Take(
        number,
        subject,
        np.concatenate(whole),
        RATE_HZ,
        tuple(begins),
        tuple(action for _, _, action in pieces),
        tuple(seams),
    )


def _continued(
    last: NDArray[np.float32], poses: NDArray[np.float32], skeleton: Skeleton
) -> NDArray[np.float32]:
    # Turned and moved over the floor to the person's position; the rest of the difference fades.
    ends = np.stack((last, poses[0])).astype(np.float64)
    turn = float(np.subtract(*heading_rad(ends, skeleton)))
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    moved = (poses - poses[0, 0] * np.array([1.0, 1.0, 0.0])) @ rotation
    moved = moved + last[0] * np.array([1.0, 1.0, 0.0])
    passed = np.minimum(np.arange(1, len(poses) + 1) / (SEAM_S * RATE_HZ), 1.0)
    fading = 1.0 - passed**3 * (10.0 - 15.0 * passed + 6.0 * passed**2)  # minimum jerk
    return (moved + fading[:, None, None] * (last - moved[0])).astype(np.float32)
