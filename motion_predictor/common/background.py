# SPDX-License-Identifier: Apache-2.0
"""A background thread for slow work that the worker must not wait for."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

Stopped = Callable[[], bool]
"""A function that returns whether the current work is no longer wanted."""


class CancelledError(Exception):
    """The work was cancelled."""


class Background:
    """
    Runs the latest task that it was asked for in a thread, and hands over the result.

    It runs one task at a time. The result of a cancelled task is never handed over, whatever the
    thread is doing at that moment.
    """

    def __init__(self, name: str) -> None:
        """
        Make the object; the thread starts with the first task.

        :param name: name of the thread.
        """
        self._name = name
        self._changed = threading.Condition()
        self._wanted: tuple[Callable[[Stopped], Any], Callable[[Any], None]] | None = None
        self._thread: threading.Thread | None = None
        self._turn = 0
        self._busy = False
        self._ending = False

    @property
    def busy(self) -> bool:
        """Return whether a task is running or waiting."""
        with self._changed:
            return self._busy or self._wanted is not None

    def ask(self, make: Callable[[Stopped], Any], hand_over: Callable[[Any], None]) -> None:
        """
        Ask for a task; an earlier task that has not begun is dropped.

        :param make: called in the thread with a function that returns whether to give up; to give
            up, ``make`` raises :class:`CancelledError`.
        :param hand_over: called in the thread with the result of ``make``, unless the task was
            cancelled.
        """
        with self._changed:
            self._wanted = make, hand_over
            if self._thread is None:
                self._ending = False
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def call_off(self) -> None:
        """Cancel the waiting task and the running one."""
        with self._changed:
            self._wanted = None
            self._turn += 1

    def close(self, within_s: float) -> None:
        """
        Cancel everything and end the thread.

        :param within_s: longest time in seconds to wait for the thread; after that it is
            abandoned.
        """
        self.call_off()
        with self._changed:
            thread, self._thread = self._thread, None
            self._ending = True
            self._changed.notify_all()
        if thread is not None:
            thread.join(within_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._leaves():
                    self._changed.wait()
                if self._wanted is None or self._leaves():
                    return
                (make, hand_over), self._wanted = self._wanted, None
                turn, self._busy = self._turn, True
            try:
                made = make(lambda turn=turn: turn != self._turn)  # type: ignore[misc]
                with self._changed:
                    if turn == self._turn:
                        hand_over(made)
            except CancelledError:
                pass
            finally:
                with self._changed:
                    self._busy = False

    def _leaves(self) -> bool:
        # An abandoned thread has nothing to do here any more if another has begun since.
        return self._ending or self._thread is not threading.current_thread()
