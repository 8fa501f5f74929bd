# SPDX-License-Identifier: Apache-2.0
"""Hide joints from an evaluated model, and compute the errors of the seen ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, Literal

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.completion import can_complete, shows_torso
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from training.data.hidden import HIPS, LEGS, ONE_BY_ONE

Hidden = Literal['legs', 'hips_and_legs', 'arm', 'head', 'random']
HIDDEN: tuple[Hidden, ...] = get_args(Hidden)
"""Parts that can be hidden: knees and ankles; these and the hips; elbow and wrist of one arm; nose
and head; or 30 % of the joints, drawn one by one."""


def seen_joints(
    hidden: Hidden, skeleton: Skeleton, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """
    Draw the joints of one person that are seen.

    :param hidden: the part that is hidden.
    :param skeleton: skeleton of the recordings.
    :param generator: draws the arm's side, or the single joints; both shoulders stay seen.
    :returns: bool (J,).
    :raises ConfigError: if the usual positions of the skeleton's joints are not known.
    """
    if not can_complete(skeleton):
        raise ConfigError(f'--hidden {hidden}: needs the joints of a person, not {skeleton.name}')
    seen = np.ones(skeleton.num_joints, dtype=bool)
    if hidden == 'random':
        seen = generator.random(skeleton.num_joints) >= ONE_BY_ONE
        if not shows_torso(seen, skeleton):
            seen[list(skeleton.shoulders or ())] = True
        return seen
    side = 'LR'[int(generator.integers(2))]
    parts: Mapping[str, Sequence[str]] = {
        'legs': LEGS,
        'hips_and_legs': (*HIPS, *LEGS),
        'arm': (f'{side}Elbow', f'{side}Wrist'),
        'head': ('Nose', 'Head'),
    }
    seen[[skeleton.index(joint) for joint in parts[hidden]]] = False
    return seen


def seen_errors(errors: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """
    Return the mean error of the joints that are seen.

    :param errors: of each joint, (N, F, J).
    :param seen: which joints of each window are seen, bool (N, J).
    :returns: (N, F).
    """
    share = seen / seen.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.einsum('nfj,nj->nf', errors, share, dtype=np.float64)
    return found


def hidden_row(
    errors: Mapping[str, NDArray[np.float64]], energy: Mapping[str, NDArray[np.float64]]
) -> dict[str, Any]:
    """
    Return the mean errors of the seen joints and the ratios of hidden to all seen.

    :param errors: metres, (N, F), under 'all_seen', 'hidden' and any other name.
    :param energy: energy scores of the seen joints, (N, F), under the same names; may be empty.
    """
    row: dict[str, Any] = {'error_cm': {n: _means(100.0 * of, 3) for n, of in errors.items()}}
    row['error_ratio'] = _ratio(errors)
    if energy:
        row['energy'] = {name: _means(of, 5) for name, of in energy.items()}
        row['energy_ratio'] = _ratio(energy)
    return row


def hidden_table(rows: Sequence[Mapping[str, Any]], times_s: Sequence[float]) -> str:
    """
    Return rows of :func:`hidden_row` as plain text, with the ratios at each time.

    :param rows: rows that also hold ``name``, ``hidden`` and ``windows``.
    :param times_s: times of the columns, seconds.
    """
    heads = ''.join(f'{f"@{time_s:g}":>8}' for time_s in times_s)
    lines = [
        'seen joints alone: error in cm with all seen, with some hidden, and their ratio',
        f'{"":<48}{"n":>6}{heads}{heads}{heads}  energy ratio',
    ]
    for row in rows:
        numbers = [*row['error_cm']['all_seen'], *row['error_cm']['hidden']]
        lines.append(
            f'{row["name"] + ", " + row["hidden"] + " hidden":<48}{row["windows"]:>6}'
            + ''.join(f'{value:8.2f}' for value in numbers)
            + ''.join(f'{value:8.3f}' for value in row['error_ratio'])
            + ''.join(f'{value:8.3f}' for value in row.get('energy_ratio', ()))
        )
    return '\n'.join(lines)


def _ratio(values: Mapping[str, NDArray[np.float64]]) -> list[float]:
    return _means(
        values['hidden'].mean(axis=0, keepdims=True) / values['all_seen'].mean(axis=0), 4
    )


def _means(values: NDArray[np.float64], digits: int) -> list[float]:
    return _rounded(values.mean(axis=0), digits)


def _rounded(values: NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
