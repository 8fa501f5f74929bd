"""People of a recorded topic that says of nobody who it is: the same body, the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from motion_predictor.track.identity.assign import free_name, pair_up

KNOWN_S = 0.9
"""Whoever was not seen for longer is not looked for any more: a new clip begins anew."""
REACH = 3.0
"""From one message to the next, in sizes of a body; farther off is somebody else."""


def followed(
    frames: Sequence[Mapping[str, np.ndarray]], times_s: np.ndarray
) -> tuple[list[dict[str, np.ndarray]], int]:
    """
    Name people by where they were, all of a message at once (Hungarian method).

    :param frames: who is in each message, by their place in it: ``(J, 3)`` in any unit,
        NaN where a joint was not seen.
    :param times_s: instants of the messages, seconds, increasing.
    :returns: the same with a name for every body, and how many poses got another name than their
        place.
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
    for place in places:  # somebody new
        if place not in names:
            names[place] = free_name(place, _taken(names, tracks))
    return names


def _taken(names: Mapping[str, str], tracks: Iterable[str]) -> set[str]:
    return {*names.values(), *tracks}


def _is_there(pose: np.ndarray) -> bool:
    return bool(np.isfinite(pose).any())


def _apart(pose: np.ndarray, before: np.ndarray) -> float:
    # Median distance of the joints seen in both, in sizes of the body; infinite where none is.
    pose, before = pose.astype(np.float64), before.astype(np.float64)  # squares must fit
    both = (np.isfinite(pose) & np.isfinite(before)).all(axis=-1)
    if not both.any():
        return float('inf')
    size = float(np.linalg.norm(before[both] - before[both].mean(axis=0), axis=-1).mean())
    apart = float(np.median(np.linalg.norm(pose[both] - before[both], axis=-1)))
    return apart / max(size, 1e-9)
