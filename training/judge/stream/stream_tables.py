# SPDX-License-Identifier: Apache-2.0
"""Tables of streams: by kind of motion, laboratory and minutes watched; radii; running error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.judge.hiding import hidden_table
from training.judge.scoring import bootstrap_interval
from training.judge.stream.kinds import KINDS
from training.judge.stream.stream_scores import (
    BEST_OF,
    CANDIDATES,
    DAMPED,
    EVERY_CANDIDATE,
    ISO_SPEED_M_S,
    joined,
    LEVELS,
    PUBLISHED,
    Scores,
    SPEED_FLOOR_M_S,
)
from training.judge.stream.streams import EVERY_S, HORIZONS_S

MINUTES = (('0-1', 0.0, 1.0), ('1-5', 1.0, 5.0), ('5-15', 5.0, 15.0), ('15+', 15.0, np.inf))
"""Groups by the minutes watched before a prediction: name, from, to."""
MINUTE = round(60.0 / EVERY_S)
"""Number of predictions in a minute."""
ALLOWED = 1.08
"""Multiple of the error of a minute's best candidate that no minute should exceed."""
ONE_SECOND = HORIZONS_S.index(1.0)
ALL = 'all'


def groups(
    laboratories: Mapping[str, Scores],
) -> Iterator[tuple[str, str, Scores]]:
    """
    Yield the groups of predictions that the tables show.

    :param laboratories: scores by the set they belong to.
    :returns: the criterion, the name of the group, and its scores; no empty groups.
    """
    together = joined(list(laboratories.values()))
    yield ALL, ALL, together
    for kind in KINDS:
        chosen = together.kind == kind
        if chosen.any():
            yield 'kind', kind, together.select(chosen)
    for name, scores in laboratories.items():
        if len(scores):
            yield 'laboratory', name, scores
    for name, begin, end in MINUTES:
        chosen = (together.minutes >= begin) & (together.minutes < end)
        if chosen.any():
            yield 'minutes', name, together.select(chosen)


def error_row(scores: Scores) -> dict[str, Any]:
    """
    Return the mean errors and energy scores of a group, and their ratios to the best candidate's.

    The best candidate is chosen afterwards, for each horizon: the one with the least mean over
    this same group. Intervals draw whole clips.
    """
    errors = {name: of.mean(axis=2) for name, of in scores.errors.items()}  # (N, F)
    row: dict[str, Any] = {
        'predictions': len(scores),
        'clips': len(np.unique(scores.clip)),
        'error_cm': {name: _means(100.0 * of, 3) for name, of in errors.items()},
        'energy': {name: _means(of, 5) for name, of in scores.energy.items()},
        'best_of': {
            name: dict(zip(BEST_OF, _rounded(of.mean(axis=0), 4)))
            for name, of in scores.best_of.items()
        },
    }
    intervals = [_interval(errors[PUBLISHED][:, f], None, scores.clip) for f in range(_F)]
    row['error_interval95_cm'] = [_rounded(100.0 * np.array(pair), 3) for pair in intervals]
    row |= _against_best('error', errors, scores.clip)
    row |= _against_best('energy', scores.energy, scores.clip)
    row['error_ratio_any'] = _against_any(errors)
    return row


def joint_row(scores: Scores, joints: Sequence[str]) -> dict[str, list[float]]:
    """Return the mean error of the published future in centimetres, by joint and horizon."""
    mean = 100.0 * scores.errors[PUBLISHED].mean(axis=0)  # (F, J)
    return {joint: _rounded(mean[:, index], 3) for index, joint in enumerate(joints)}


def radius_row(scores: Scores) -> dict[str, Any]:
    """
    Return the shares that stated radii held, and their size beside simple radii.

    The simple radius is ``q (recent speed of the joint + 0.1 m/s)`` about damped velocity, with
    the q that holds the same share on the same predictions. The ball of ISO 13855 grows by 1.6 m/s
    and is compared by volume.
    """
    inside = scores.apart[:, None] <= scores.radius  # (N, L, F, J)
    held = inside.mean(axis=(0, 3))  # (L, F)
    scale = scores.speed + SPEED_FLOOR_M_S  # (N, J)
    relative = scores.errors[DAMPED][:, ONE_SECOND] / scale
    size = scores.radius.mean(axis=(0, 3))
    simple = np.array(
        [np.quantile(relative, held[level, ONE_SECOND]) * scale.mean() for level in range(_L)]
    )
    iso = (ISO_SPEED_M_S * np.array(HORIZONS_S)) ** 3
    volume = (scores.radius.astype(np.float64) ** 3).mean(axis=(0, 3)) / iso
    return {
        'predictions': len(scores),
        'levels': list(LEVELS),
        'held': [_rounded(of, 5) for of in held],
        'held_of_all_horizons': _rounded(held.mean(axis=1), 5),
        'radius_m': [_rounded(of, 4) for of in size],
        'simple_radius_1s_m': _rounded(simple, 4),
        'ratio_1s': _rounded(size[:, ONE_SECOND] / np.maximum(simple, 1e-9), 4),
        'volume_of_iso': [_rounded(of, 6) for of in volume],
    }


def running(places: Sequence[Scores]) -> dict[str, Any]:
    """
    Compare the published error of any minute of any person with that minute's best candidate.

    Candidates are the model, damped velocity and standing still, both plain and from the node's
    smoothed input, and the memory if it had an answer to every prediction of the minute.

    :param places: scores of each place, in the order of its stream.
    :returns: the number of minutes; for each horizon the greatest ratio and its 99 % quantile
        (None if nobody was watched for a minute), the share of minutes whose error exceeds
        :data:`ALLOWED` times the best, and the largest excess of those in centimetres.
    """
    people = [
        place.select(place.subject == subject)
        for place in places
        for subject in dict.fromkeys(place.subject.tolist())
    ]
    found = [_running_errors(person) for person in people if len(person) >= MINUTE]
    if not found:
        return {'persons': 0, 'minutes': 0, 'max': None, 'q99': None}
    published, best = (np.concatenate([pair[i] for pair in found]) for i in range(2))
    ratios = published / np.maximum(best, 1e-9)
    above = ratios > ALLOWED
    return {
        'persons': len(found),
        'minutes': len(ratios),
        'max': _rounded(ratios.max(axis=0), 4),
        'q99': _rounded(np.quantile(ratios, 0.99, axis=0), 4),
        'above': _rounded(above.mean(axis=0), 5),
        'above_by_cm': _rounded(100.0 * np.where(above, published - best, 0.0).max(axis=0), 3),
    }


def _running_errors(person: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # For every minute: the published error, and that of the minute's best candidate; (M, F),
    # metres.
    means = {
        name: _means_over(person.errors[name].mean(axis=2).astype(np.float64), MINUTE)
        for name in (PUBLISHED, *EVERY_CANDIDATE)
        if name in person.errors
    }
    best = np.full_like(means[PUBLISHED], np.inf)
    for name, of in means.items():
        if name != PUBLISHED:
            best = np.fmin(best, of)  # NaN if the memory had no answer
    return means[PUBLISHED], best


def over_laboratories(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Return the mean and the greatest ratio over laboratories, all of equal weight.

    :param rows: rows with ``by``, ``name`` and the result of :func:`error_row`.
    """
    labs = [row for row in rows if row['by'] == 'laboratory']
    found: dict[str, Any] = {}
    for what in ('error', 'energy'):
        ratios = np.array([row[f'{what}_ratio'] for row in labs])  # (laboratories, F)
        worst = ratios.argmax(axis=0)
        found[f'{what}_ratio_mean'] = _rounded(ratios.mean(axis=0), 4)
        found[f'{what}_ratio_max'] = _rounded(ratios.max(axis=0), 4)
        found[f'{what}_ratio_max_of'] = [labs[index]['name'] for index in worst]
    return found


def summary(result: Mapping[str, Any]) -> str:
    """Return the errors of the published future, and their ratios to the best, as plain text."""
    head = ''.join(f'{"@" + format(h, "g"):>8}' for h in HORIZONS_S)
    lines = [f'{"centimetres, then ratio to the best":<36}{"n":>7}{head}{head}']
    for row in result['rows']:
        errors = row['error_cm'][PUBLISHED]
        lines.append(
            f'{row["by"] + ": " + row["name"]:<36}{row["predictions"]:>7}'
            + ''.join(f'{value:8.2f}' for value in errors)
            + ''.join(f'{value:8.2f}' for value in row['error_ratio'])
        )
    if result['hidden']:
        lines.append(hidden_table(result['hidden'], HORIZONS_S[1:]))
    return '\n'.join(lines)


_F, _L = len(HORIZONS_S), len(LEVELS)


def _against_best(
    what: str, values: Mapping[str, NDArray], clips: NDArray[np.int64]
) -> dict[str, Any]:
    means = np.stack([values[name].mean(axis=0) for name in CANDIDATES])  # (candidates, F)
    best = means.argmin(axis=0)
    ratio, intervals = [], []
    for f in range(_F):
        of_best = values[CANDIDATES[best[f]]][:, f]
        ratio.append(float(values[PUBLISHED][:, f].mean() / max(of_best.mean(), 1e-9)))
        intervals.append(_interval(values[PUBLISHED][:, f], of_best, clips))
    return {
        f'{what}_best': [CANDIDATES[index] for index in best],
        f'{what}_ratio': _rounded(np.array(ratio), 4),
        f'{what}_ratio_interval95': [_rounded(np.array(pair), 4) for pair in intervals],
    }


def _against_any(errors: Mapping[str, NDArray]) -> list[float]:
    # Ratio to the best of all candidates that always had an answer: NaN (the memory) is never the
    # least.
    means = [errors[name].mean(axis=0) for name in EVERY_CANDIDATE if name in errors]
    best = np.fmin.reduce(np.stack(means))
    return _rounded(errors[PUBLISHED].mean(axis=0) / np.maximum(best, 1e-9), 4)


def _interval(
    values: NDArray, against: NDArray | None, clips: NDArray[np.int64]
) -> tuple[float, float]:
    beside = np.ones(len(values)) if against is None else against.astype(np.float64) + 1e-12
    return bootstrap_interval(values.astype(np.float64), beside, clips)


def _means_over(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    # Mean of every run of so many rows, (N - count + 1, F); NaN if one of them is NaN.
    views = np.lib.stride_tricks.sliding_window_view(values, count, axis=0)
    return views.mean(axis=-1)


def _means(values: NDArray, digits: int) -> list[float] | None:
    # Over the predictions with an answer: the memory may have none.
    there = np.isfinite(values).all(axis=1)
    return _rounded(values[there].mean(axis=0), digits) if there.any() else None


def _rounded(values: NDArray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
