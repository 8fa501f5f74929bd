# SPDX-License-Identifier: Apache-2.0
"""One parameter of the node: its default, its bounds, and the check of a value."""

from __future__ import annotations

from dataclasses import dataclass
import math

from motion_predictor.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...] | tuple[float, ...]
"""Type of a parameter's value; lists are stored as tuples, so that a set of values is
immutable."""

MAX_TEXT = 4_096
"""Greatest number of characters in a text: that of the longest path."""
AT_START = 'start'
AT_CONFIGURE = 'configure'
ALWAYS = 'now'


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """
    One parameter of the node.

    ``applies`` says when a new value takes effect: ``start`` (read-only afterwards), ``configure``
    (refused while the node is configured) or ``now`` (with the next prediction).
    """

    name: str
    default: Value
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    applies: str = AT_CONFIGURE

    @property
    def read_only(self) -> bool:
        """Return whether the value is fixed once the node runs."""
        return self.applies == AT_START

    @property
    def type_name(self) -> str:
        """Return the type as ROS names it: bool, integer, double, string or an array of one."""
        if isinstance(self.default, tuple):
            return 'string array' if isinstance(self.default[0], str) else 'double array'
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def allowed(self) -> str:
        """Return the allowed values in words; empty if every value of the type is allowed."""
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if self.lengths:
            return ' or '.join(str(length) for length in self.lengths) + ' numbers'
        if self.minimum is not None and self.maximum is not None:
            each = 'each ' if isinstance(self.default, tuple) else ''
            return f'{each}{self.minimum:g} to {self.maximum:g}'
        return f'at least {self.minimum:g}' if self.minimum is not None else ''

    def check(self, value: object) -> Value:
        """
        Check one value and convert it to the declared type.

        :param value: the user's value; an integer is accepted for a double.
        :returns: the value, lists as tuples.
        :raises ConfigError: naming the parameter, the value found and the allowed values.
        """
        try:
            checked = self._of_type(value)
        except (TypeError, ValueError):
            raise ConfigError(f'{self.name}: expected {self.type_name}, got {value!r}') from None
        for text in checked if isinstance(checked, tuple) else (checked,):
            if isinstance(text, str) and len(text) > MAX_TEXT:
                raise ConfigError(
                    f'{self.name}={text[:20]!r}...: has {len(text)} characters; at most {MAX_TEXT}'
                )
        if self.choices and checked not in self.choices:
            raise ConfigError(f'{self.name}={value!r}: must be {self.allowed}')
        if isinstance(checked, (int, float)) and not isinstance(checked, bool):
            self._check_range(checked)
        if isinstance(checked, tuple):
            self._check_elements(checked)
        return checked

    def _of_type(self, value: object) -> Value:
        if isinstance(self.default, tuple):
            if isinstance(value, (str, bytes)) or not hasattr(value, '__iter__'):
                raise TypeError
            kind = type(self.default[0])
            return tuple(_scalar(kind, item) for item in value)  # type: ignore[return-value]
        return _scalar(type(self.default), value)

    def _check_range(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not math.isfinite(value) or not inside:
            raise ConfigError(f'{self.name}={value:g}: must be {self.allowed or "finite"}')

    def _check_elements(self, value: tuple[str, ...] | tuple[float, ...]) -> None:
        if not value or (self.lengths and len(value) not in self.lengths):
            wanted = self.allowed or 'at least one entry'
            raise ConfigError(f'{self.name}={list(value)}: must be {wanted}')
        for item in value:
            if item == '' or (isinstance(item, float) and not math.isfinite(item)):
                raise ConfigError(f'{self.name}={list(value)}: {item!r} is not allowed in it')
            if isinstance(item, float):
                self._check_range(item)


def _scalar(kind: type, value: object) -> bool | int | float | str:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise TypeError
    return value  # type: ignore[return-value]
