# SPDX-License-Identifier: Apache-2.0
"""Interpolation of several people's poses as weights of these poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOW_PASS_FROM = 1.5
"""Sources faster than the window by this factor are low-pass filtered."""
_UNEVEN = 3.0  # neighbouring time steps whose lengths differ by more have no common slope


@dataclass(frozen=True)
class Cubic:
    """
    A curve through poses as weights of four neighbours of each instant.

    Its slopes are those of the parabola through three neighbours. Before the first and after the
    last pose it stays where they are.
    """

    places: np.ndarray
    """Places of the four poses, increasing; at the ends one place may stand twice, (P, T, 4), or
    (T, 4) for one person."""
    weights: np.ndarray
    """Their weights, in the same shape."""

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the curve through values (P, N, C) at all instants, (P, T, C)."""
        row = np.arange(len(values))[:, None, None]
        return np.asarray(np.einsum('ptk,ptkc->ptc', self.weights, values[row, self.places]))

    def dense(self, places: int) -> np.ndarray:
        """Return a weight for every one of N places, (P, T, N) or (T, N)."""
        instants = self.places.shape[:-1]
        found = np.zeros(self.places.size // 4 * places)
        begin = np.arange(0, found.size, places).reshape(instants)
        for tap in (1, 2):
            found[begin + self.places[..., tap]] = self.weights[..., tap]
        for tap in (0, 3):  # at the ends such a place stands twice, with a weight of zero
            found[begin + self.places[..., tap]] += self.weights[..., tap]
        return found.reshape(*instants, places)


def cubic(
    times: np.ndarray, first: np.ndarray, at: np.ndarray, left: np.ndarray | None = None
) -> Cubic:
    """
    Return the curve through poses at some instants.

    :param times: times of the poses, increasing, (P, N).
    :param first: place of each person's first pose, at least two before the end, (P,).
    :param at: instants, (P, T).
    :param left: place of the last pose that is not after each instant, (P, T); None: it is
        searched for.
    """
    if left is None:
        left = _last_not_after(times, at)
    # Indices into flat arrays are several times faster than pairs of indices.
    row = np.arange(0, times.size, times.shape[1])[:, None]
    end = times.shape[1] - 2  # of the steps
    return Cubic(*cubic_weights(times.ravel(), at, left, first[:, None], end, row))


def cubic_weights(
    times: np.ndarray,
    at: np.ndarray,
    left: np.ndarray,
    begin: np.ndarray | int,
    end: int,
    row: np.ndarray | int,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the places and weights of a :class:`Cubic`, for one person or several.

    :param times: times of the poses of all people, one after another, (P * N,).
    :param at: instants, (P, T), or (T,) for one person.
    :param left: place of the last pose that is not after each instant, in the same shape.
    :param begin: place of each person's first pose, (P, 1), or a number for one person.
    :param end: place of the last step.
    :param row: index of each person's first place in ``times``, (P, 1), or a number.
    """
    # On recorded motion it was measured to be as good as a spline at 10 to 120 Hz, and better at 5
    # Hz and with noise.
    left = np.minimum(np.maximum(left, begin), end)
    lower, upper = np.maximum(left - 1, begin), np.minimum(left + 1, end)
    steps = np.empty_like(times)
    np.subtract(times[1:], times[:-1], out=steps[:-1])
    here_at = left + row
    width, shorter, later = steps.take(here_at), steps.take(lower + row), steps.take(upper + row)
    u = np.minimum(np.maximum((at - times.take(here_at)) / width, 0.0), 1.0)
    v = 1.0 - u
    # Beside a much shorter step a slope says little: two poses at almost the same time and a
    # little apart must not throw the curve off. So the curve strays no further than such
    # neighbours are apart.
    bend = width * u * v
    enter = bend * v * np.minimum(_UNEVEN * shorter / width, 1.0)
    leave = bend * u * np.minimum(_UNEVEN * later / width, 1.0)
    # The tangents at both ends of a step, as weights of the slopes before, here and after. At the
    # first and the last pose they are those of the neighbouring parabola.
    here, after = width / (width + shorter), width / (later + width)
    at_begin, at_end = left == begin, left == end
    before_weight = np.where(at_begin, 0.0, np.where(at_end, enter + leave, enter) * here)
    after_weight = np.where(at_end, 0.0, np.where(at_begin, enter + leave, leave) * after)
    here_weight = u * width - before_weight + after_weight
    if np.max(begin) == end:  # two poses: a straight line
        here_weight = np.where(at_begin & at_end, u * width, here_weight)
    before_weight, after_weight = before_weight / shorter, after_weight / later
    here_weight /= width
    weights = np.empty((*at.shape, 4))
    weights[..., 0] = -before_weight
    weights[..., 1] = 1.0 - here_weight + before_weight
    weights[..., 2] = here_weight + after_weight
    weights[..., 3] = -after_weight
    places = np.empty(weights.shape, dtype=np.int64)
    places[..., 0], places[..., 1], places[..., 2], places[..., 3] = (
        lower, left, left + 1, upper + 1,
    )  # fmt: skip
    return places, weights


def _last_not_after(times: np.ndarray, at: np.ndarray) -> np.ndarray:
    # Return the place of the last pose that is not after each instant, (P, T); -1 for none.
    if len(times) == 1:
        return np.searchsorted(times[0], at, side='right') - 1
    return np.asarray((times[:, None] <= at[..., None]).sum(axis=2) - 1)


def local_parabolas(
    times: np.ndarray, at: np.ndarray, reach: float, period: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the weights of a low-pass filter without delay, also at the end of the window.

    It keeps any parabola. Towards the end the kernel is one-sided and reaches further back, to as
    many poses.

    :param times: times of the poses, seconds, increasing, (P, N); places without a pose are far
        back.
    :param at: instants, seconds, (P, T).
    :param reach: half-width of the kernel, seconds.
    :param period: period of each source, seconds, (P,).
    :returns: weights (P, T, N); and where enough poses lie around, bool (P, T).
    """
    room = times[:, -1:] - at
    reaches = reach + np.maximum(reach - room, 0.0)
    distance = (times[:, None] - at[..., None]) / reaches[..., None]  # (P, T, N)
    weights = np.maximum(1.0 - distance * distance, 0.0) ** 2
    enough = (weights > 0.0).sum(axis=2) >= np.maximum(4, 0.4 * reach / period)[:, None]
    # The powers of the distance under the weights give the normal equations of all frames at once.
    moments = np.empty((5, *at.shape))
    columns = np.empty((3, *weights.shape))
    term = weights
    for power in range(5):
        if power < 3:
            columns[power] = term
        moments[power] = term.sum(axis=2)
        term = term * distance
    order = np.arange(3)
    normal = np.moveaxis(moments[order[:, None] + order], (0, 1), (-2, -1)).copy()
    normal += 1e-9 * np.eye(3) * np.maximum(moments[0], 1.0)[..., None, None]
    first = np.zeros((*at.shape, 3, 1))
    first[..., 0, 0] = 1.0
    solved = np.linalg.solve(normal, first)[..., 0]  # (P, T, 3)
    kernel = np.einsum('ptk,kptn->ptn', solved, columns)
    # If all poses lie on one side, a parabola may amplify their noise: leave that frame alone.
    return kernel, enough & ((kernel * kernel).sum(axis=2) <= 1.0)


def between_seen(times: np.ndarray, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """
    Interpolate linearly where something was not seen; before and after that, hold it.

    :param times: increasing, (P, N).
    :param values: (P, N, K, C).
    :param seen: which of the K things were seen, bool (P, N, K).
    :returns: (P, N, K, C); what was never seen holds anything.
    """
    places = times.shape[1]
    index = np.arange(places)[:, None]
    before = np.maximum.accumulate(np.where(seen, index, -1), axis=1)
    after = np.minimum.accumulate(np.where(seen, index, places)[:, ::-1], axis=1)[:, ::-1]
    held = np.where(before < 0, np.minimum(after, places - 1), before)  # (P, N, K)
    after = np.where(after == places, held, after)
    row = np.arange(len(times))[:, None, None]
    start, end = times[row, held], times[row, after]
    share = (times[..., None] - start) / np.where(end > start, end - start, 1.0)
    share = np.where(end > start, share, 0.0)[..., None]
    thing = np.arange(values.shape[2])
    lower, upper = values[row, held, thing], values[row, after, thing]
    return np.asarray(lower + share * (upper - lower))
