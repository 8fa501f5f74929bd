# SPDX-License-Identifier: Apache-2.0
"""Streams with hidden joints, beside the same streams with all joints seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.skeleton import Skeleton
from training.judge.hiding import Hidden, hidden_row, seen_errors, seen_joints
from training.judge.stream.stream_scores import MODEL, PUBLISHED, Scores
from training.judge.stream.streams import HORIZONS_S

TIMES_S = HORIZONS_S[1:]
"""Horizons in seconds at which errors are compared."""


@dataclass(frozen=True)
class HiddenErrors:
    """Errors of the seen joints in one place, metres, (N, F) each, at :data:`TIMES_S`."""

    hidden: Hidden
    all_seen: Mapping[str, NDArray[np.float64]]
    """By candidate, with all joints seen."""
    some_hidden: Mapping[str, NDArray[np.float64]]
    """By candidate, at the same instants, with some joints hidden."""


def seen_of_take(
    hidden: Hidden | None, skeleton: Skeleton, seed: int, clip: int
) -> NDArray[np.bool_]:
    """
    Return which joints of a take's person are seen in all of it, bool (J,).

    :param hidden: the part that is hidden; None: nothing.
    :param skeleton: skeleton of the recordings.
    :param seed: seed of the stream.
    :param clip: number of the take.
    """
    if hidden is None:
        return np.ones(skeleton.num_joints, dtype=bool)
    return seen_joints(hidden, skeleton, np.random.default_rng((seed, 3, clip)))


def beside(
    hidden: Hidden, plain: Scores, partly: Scores, skeleton: Skeleton, seed: int
) -> HiddenErrors:
    """
    Compare the predictions of two streams at the same instants.

    :param hidden: the part that was hidden in the second stream.
    :param plain: scores with all joints seen.
    :param partly: scores of the same place with joints hidden.
    :param skeleton: skeleton of the recordings.
    :param seed: seed of both streams.
    """
    places = {instant: row for row, instant in enumerate(_instants(plain))}
    pairs = [
        (places[instant], row)
        for row, instant in enumerate(_instants(partly))
        if instant in places and not plain.on_seam[places[instant]]
    ]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    masks = {
        clip: seen_of_take(hidden, skeleton, seed, clip) for clip in set(partly.clip.tolist())
    }
    seen = np.array([masks[int(clip)] for clip in partly.clip[second]], dtype=bool)
    seen = seen.reshape(len(second), skeleton.num_joints)
    both = [
        {name: seen_errors(of.errors[name][rows, 1:], seen) for name in (PUBLISHED, MODEL)}
        for of, rows in ((plain, first), (partly, second))
    ]
    return HiddenErrors(hidden, *both)


def hidden_rows(laboratories: Mapping[str, Sequence[HiddenErrors]]) -> list[dict[str, Any]]:
    """
    Return a row for each hidden part, laboratory and candidate, and for all of them together.

    :param laboratories: the errors in the places of each laboratory.
    """
    every = [each for parts in laboratories.values() for each in parts]
    rows: list[dict[str, Any]] = []
    for hidden in dict.fromkeys(each.hidden for each in every):
        for laboratory, parts in (*laboratories.items(), ('all', every)):
            chosen = [each for each in parts if each.hidden == hidden]
            for candidate in (PUBLISHED, MODEL):
                errors = {
                    'all_seen': np.concatenate([each.all_seen[candidate] for each in chosen]),
                    'hidden': np.concatenate([each.some_hidden[candidate] for each in chosen]),
                }
                if not len(errors['hidden']):
                    continue
                rows.append(
                    {
                        'name': f'{candidate} on {laboratory}',
                        'laboratory': laboratory,
                        'candidate': candidate,
                        'hidden': hidden,
                        'windows': len(errors['hidden']),
                        **hidden_row(errors, {}),
                    }
                )
    return rows


def _instants(scores: Scores) -> list[tuple[int, float]]:
    # Return the time of each prediction: its take, and the minutes watched before it.
    return [
        (int(clip), round(float(minutes), 6))
        for clip, minutes in zip(scores.clip, scores.minutes, strict=True)
    ]
