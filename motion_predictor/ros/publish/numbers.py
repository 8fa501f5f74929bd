# SPDX-License-Identifier: Apache-2.0
"""The numbers of people in the outputs."""

from __future__ import annotations

from collections.abc import Mapping

MAX_GONE = 32
"""Number of people who have gone whose numbers are reserved."""


class PersonNumbers:
    """
    The numbers of people in ~/predictions; a tracker's own number is kept if it is free.

    A person who comes back has the former number, which nobody else has in between.
    """

    def __init__(self) -> None:
        """Begin without people."""
        self._numbers: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    @property
    def table(self) -> dict[str, int]:
        """Return the number of everybody who is present, by name."""
        return dict(self._numbers)

    def update(self, present: list[str], renamed: Mapping[str, str] | None = None) -> bool:
        """
        Reserve the numbers of people who have gone, and number the new ones.

        :param present: names of everybody who is present.
        :param renamed: new names, each with the former name whose number continues.
        :returns: whether the table changed.
        """
        for new, former in (renamed or {}).items():
            if former in self._numbers:
                self._numbers[new] = self._numbers.pop(former)
        kept = {name: n for name, n in self._numbers.items() if name in present}
        self._gone = {name: n for name, n in self._gone.items() if name not in kept}
        self._gone |= {name: n for name, n in self._numbers.items() if name not in kept}
        for name in list(self._gone)[:-MAX_GONE]:
            del self._gone[name]
        for name in present:
            if name not in kept:
                number = self._gone.pop(name, -1)
                taken = {*kept.values(), *self._gone.values()}
                free = number >= 0 and number not in taken
                kept[name] = number if free else self._free_number(name, taken)
        changed = kept != self._numbers
        self._numbers = kept
        return changed

    @staticmethod
    def _free_number(name: str, taken: set[int]) -> int:
        tail = name.rpartition('/')[2]
        if tail.isascii() and tail.isdigit() and int(tail) < 2**32 and int(tail) not in taken:
            return int(tail)
        return next(n for n in range(len(taken) + 1) if n not in taken)
