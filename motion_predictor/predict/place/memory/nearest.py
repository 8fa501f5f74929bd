# SPDX-License-Identifier: Apache-2.0
"""Find the nearest of many keys, and the nearest ones that are apart in time."""

from __future__ import annotations

import numpy as np
import torch

_FEW = 16_384  # up to this number, keys are searched in one step
_ROWS = 16  # width of the blocks of a search in two steps


def nearest(
    keys: np.ndarray, norms: np.ndarray, queries: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the nearest keys of each query; all queries are one matrix product.

    :param keys: float32 ``(N, R)``.
    :param norms: squared length of each key, ``(N,)``; infinite for a key that must not be found.
    :param queries: float32 ``(Q, R)``.
    :param wanted: greatest number of keys, at most N.
    :returns: indices ``(Q, wanted)``, the nearest first, and their distances, infinite if there
        are no more.
    """
    with torch.inference_mode():  # torch keeps to the number of threads that it was given
        stored, asked = torch.from_numpy(keys), torch.from_numpy(np.ascontiguousarray(queries))
        squares = torch.addmm(torch.from_numpy(norms), asked, stored.T, alpha=-2.0)
        values, indices = least(squares, min(wanted, len(keys)))
        own = (queries * queries).sum(axis=1, keepdims=True)
        return indices.numpy(), np.sqrt(np.maximum(values.numpy() + own, 0.0))


def least(values: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the least values of each row, increasing, and their positions.

    All of them lie in the columns with the least minima, as many columns as values; only those are
    searched.

    :param values: ``(rows, count)``.
    :param wanted: number of values of each row.
    """
    rows, count = values.shape
    columns = count // _ROWS
    if columns <= 2 * wanted or values.numel() < _FEW:
        found = torch.topk(values, wanted, dim=1, largest=False, sorted=True)
        return found.values, found.indices
    folded = values[:, : columns * _ROWS].view(rows, _ROWS, columns)
    best = torch.topk(folded.amin(dim=1), wanted, dim=1, largest=False, sorted=False).indices
    at = best[:, None] + columns * torch.arange(_ROWS)[:, None]  # (rows, _ROWS, wanted)
    rest = torch.arange(columns * _ROWS, count).expand(rows, -1)
    at = torch.cat((at.flatten(1), rest), dim=1)
    found = torch.topk(values.gather(1, at), wanted, dim=1, largest=False, sorted=True)
    return found.values, at.gather(1, found.indices)


def apart(stamps: np.ndarray, tracks: np.ndarray, limit: int, wanted: int) -> list[int]:
    """
    Return the first moments that are not the same moment of one track.

    :param stamps: whole numbers, in the order of preference, ``(N,)``.
    :param tracks: tracks of the moments, ``(N,)``.
    :param limit: two moments of one track with a smaller difference are the same moment.
    :param wanted: greatest number of moments.
    :returns: their indices, increasing.
    """
    chosen: list[int] = []
    taken: dict[int, list[int]] = {}
    for index, (stamp, track) in enumerate(zip(stamps.tolist(), tracks.tolist())):
        others = taken.setdefault(track, [])
        if any(-limit < stamp - other < limit for other in others):
            continue
        others.append(stamp)
        chosen.append(index)
        if len(chosen) == wanted:
            break
    return chosen
