"""The signals that ask a program to end: what they do while it starts, runs and ends."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
from types import FrameType

Handler = Callable[[int, FrameType | None], None]

ENDING = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)
"""Ctrl-C, what ends processes, and the terminal that was closed."""


def when_asked_to_end(handler: Handler | signal.Handlers) -> None:
    """
    Set what happens when the program is asked to end.

    A program that was started to outlive its terminal (``nohup``) does.

    :param handler: as for :func:`signal.signal`.
    """
    for number in ENDING:
        if number == getattr(signal, 'SIGHUP', None) and (
            signal.getsignal(number) is signal.SIG_IGN
        ):
            continue
        signal.signal(number, handler)


def leave_at_once_when_asked() -> None:
    """
    End with code 0 and without a trace, for as long as nothing is open yet.

    An exception would be lost in a callback of the import machinery, and the program would run on.
    """

    def leave(received: int, frame: FrameType | None) -> None:
        os._exit(0)

    when_asked_to_end(leave)
