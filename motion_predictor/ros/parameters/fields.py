# SPDX-License-Identifier: Apache-2.0
"""Fields of frozen dataclasses that declare parameters, and the parameters that they declare.

:func:`parameter` states the default of a field and its bounds. The text below the field is its
description, as documentation and editors show it::

    coverage: float = parameter(0.9, minimum=0.01, maximum=1.0, applies=ALWAYS)
    '''Share of real positions within the radius.'''
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass, replace
from functools import cache, reduce
import inspect
from itertools import pairwise
import sys
from typing import Any, cast, TypeVar

from motion_predictor.ros.parameters.parameter import AT_CONFIGURE, Parameter, Value

T = TypeVar('T')


def parameter(
    default: T,
    *,
    unit: str = '',
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    lengths: tuple[int, ...] = (),
    applies: str = AT_CONFIGURE,
) -> T:
    """
    Declare a field of a dataclass as a parameter; see :class:`Parameter`.

    :returns: a dataclass field with the type of its value.
    """
    declared = Parameter(
        name='',
        default=cast(Value, default),
        description='',
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        choices=choices,
        lengths=lengths,
        applies=applies,
    )
    return field(default=default, metadata={'parameter': declared})


def group(kind: type[T]) -> T:
    """
    Declare a field of a dataclass as a group of parameters with their defaults.

    :param kind: a frozen dataclass; its fields are named ``group.field``.
    :returns: a dataclass field with the type of the group.
    """
    return field(default=kind())


def parameters_of(kind: Any, within: str = '') -> Iterator[Parameter]:
    """
    Yield the parameters of a dataclass and of its groups, in the order of the fields.

    :param kind: the dataclass, or an instance of it.
    :param within: prefix of the names, with its dot.
    """
    for item in fields(kind):
        name = within + item.name
        if is_dataclass(item.default):
            yield from parameters_of(item.default, f'{name}.')
        else:
            words = descriptions(kind if isinstance(kind, type) else type(kind))
            yield replace(
                item.metadata['parameter'], name=name, description=words.get(item.name, '')
            )


def value_of(record: Any, name: str) -> Value:
    """Return the value of a dotted name in a record of nested dataclasses."""
    return cast(Value, reduce(getattr, name.split('.'), record))


def replaced(record: T, values: Mapping[str, Value]) -> T:
    """
    Return a copy of a record with other values.

    :param record: a record of nested dataclasses.
    :param values: new values by dotted name.
    """
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        first, _, rest = name.partition('.')
        if rest:
            inner.setdefault(first, {})[rest] = value
        else:
            own[first] = value
    for first, changed in inner.items():
        own[first] = replaced(getattr(record, first), changed)
    return cast(T, replace(cast(Any, record), **own))


@cache
def descriptions(kind: type) -> Mapping[str, str]:
    """Return the text below each field, by name; empty if the sources are not installed."""
    for node in _module(kind.__module__).body:
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            return {
                item.target.id: inspect.cleandoc(text.value.value).replace('\n', ' ')
                for item, text in pairwise(node.body)
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return {}


@cache
def _module(name: str) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(sys.modules[name]))
    except OSError:
        return ast.parse('')
