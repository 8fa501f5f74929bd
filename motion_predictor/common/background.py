"""One thread for work that may take its time, beside the worker that must not wait for it."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

Stopped = Callable[[], bool]
"""Whether the work under way is no longer wanted."""


class CancelledError(Exception):
    """The work was called off."""


class Background:
    """
    Makes the latest thing that it was asked for, one at a time, and hands it over.

    What was called off is never handed over, whatever the thread is doing just then.
    """

    def __init__(self, name: str) -> None:
        """
        Start no thread yet.

        :param name: of the thread.
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
        """Whether something is being made, or waits for its turn."""
        with self._changed:
            return self._busy or self._wanted is not None

    def ask(self, make: Callable[[Stopped], Any], hand_over: Callable[[Any], None]) -> None:
        """
        Ask for something; what was asked for before and not begun is dropped.

        :param make: called in the thread; told whether to give up, which it does by raising
            :class:`CancelledError`.
        :param hand_over: called in the thread with what was made, unless it was called off.
        """
        with self._changed:
            self._wanted = make, hand_over
            if self._thread is None:
                self._ending = False
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def call_off(self) -> None:
        """Drop what is asked for, and what is being made."""
        with self._changed:
            self._wanted = None
            self._turn += 1

    def close(self, within_s: float) -> None:
        """
        Call everything off and end the thread.

        :param within_s: how long to wait for it; it is left to itself then.
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
        # One that was left to itself while another began has nothing to do here any more.
        return self._ending or self._thread is not threading.current_thread()
