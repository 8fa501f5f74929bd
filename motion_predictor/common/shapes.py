"""Check an array's shape at a public boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motion_predictor.errors import ShapeError


def require_shape(name: str, array: Any, shape: Sequence[int | str | None]) -> None:
    """
    Raise unless an array has the shape that was agreed.

    :param name: what the array is called by the caller.
    :param array: anything with a ``shape``.
    :param shape: one entry an axis: a length, or a letter (``'J'``) or None for any length.
    :raises ShapeError: naming the array, what was expected and what was found.
    """
    found = tuple(getattr(array, 'shape', ()))
    fits = len(found) == len(shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(shape, found)
    )
    if not fits:
        expected = ', '.join('*' if want is None else str(want) for want in shape)
        comma = ',' if len(shape) == 1 else ''
        raise ShapeError(f'{name}: expected ({expected}{comma}), got {found}')
