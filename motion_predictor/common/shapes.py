# SPDX-License-Identifier: Apache-2.0
"""Check an array's shape at a public boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motion_predictor.errors import ShapeError


def require_shape(name: str, array: Any, shape: Sequence[int | str | None]) -> None:
    """
    Raise an error unless an array has the expected shape.

    :param name: the caller's name for the array.
    :param array: anything with a ``shape``.
    :param shape: one entry per axis: a length, or a letter (``'J'``) or None for any length.
    :raises ShapeError: naming the array, the expected shape and the shape found.
    """
    found = tuple(getattr(array, 'shape', ()))
    fits = len(found) == len(shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(shape, found)
    )
    if not fits:
        expected = ', '.join('*' if want is None else str(want) for want in shape)
        comma = ',' if len(shape) == 1 else ''
        raise ShapeError(f'{name}: expected ({expected}{comma}), got {found}')
