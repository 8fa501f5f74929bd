# SPDX-License-Identifier: Apache-2.0
"""Name the people of a recorded topic without ids: the same body gets the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from motion_predictor.track.identity.assign import free_name, pair_up

KNOWN_S = 0.9
"""A person who was not seen for longer than this, in seconds, is no longer looked for; a new clip
begins."""
REACH = 3.0
"""Largest distance from one message to the next in units of a body's size; a body further away is
another person."""


def followed(
    frames: Sequence[Mapping[str, np.ndarray]], times_s: np.ndarray
) -> tuple[list[dict[str, np.ndarray]], int]:
    """
    Name people by their positions, all people of a message at once (Hungarian method).

    :param frames: the people of each message by their position in it: ``(J, 3)`` in any unit, NaN
        for a joint that was not seen.
    :param times_s: instants of the messages, seconds, increasing.
    :returns: the same people with a name for every body, and the number of poses whose name
        differs from their position in the message.
    """
    known: dict[str, tuple[float, np.ndarray]] = {}
    named: list[dict[str, np.ndarray]] = []
    changed = 0
    for time_s, people in zip(times_s.tolist(), frames, strict=True):
        known = {name: seen for name, seen in known.items() if time_s - seen[0] <= KNOWN_S}
        there = {place: pose for place, pose in people.items() if _is_there(pose)}
        names = _names(there, {name: pose for name, (_, pose) in known.items()})
        known |= {names[place]: (time_s, pose) for place, pose in there.items()}
        changed += sum(place != name for place, name in names.items())
        named.append({names[place]: pose for place, pose in there.items()})
    return named, changed


def _names(people: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> dict[str, str]:
    places, tracks = list(people), list(known)
    names: dict[str, str] = {}
    if places and tracks:
        costs = np.array([[_apart(people[p], known[t]) for t in tracks] for p in places])
        for row, column in pair_up(np.where(costs <= REACH, costs, np.inf), 10.0 * REACH):
            names[places[row]] = tracks[column]
    for place in places:  # a new person
        if place not in names:
            names[place] = free_name(place, _taken(names, tracks))
    return names


def _taken(names: Mapping[str, str], tracks: Iterable[str]) -> set[str]:
    return {*names.values(), *tracks}


def _is_there(pose: np.ndarray) -> bool:
    return bool(np.isfinite(pose).any())


def _apart(pose: np.ndarray, before: np.ndarray) -> float:
    # Median distance of the joints seen in both, in units of the body's size; infinite if there
    # are none.
    pose, before = pose.astype(np.float64), before.astype(np.float64)  # squares must fit
    both = (np.isfinite(pose) & np.isfinite(before)).all(axis=-1)
    if not both.any():
        return float('inf')
    size = float(np.linalg.norm(before[both] - before[both].mean(axis=0), axis=-1).mean())
    apart = float(np.median(np.linalg.norm(pose[both] - before[both], axis=-1)))
    return apart / max(size, 1e-9)
