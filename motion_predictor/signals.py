# SPDX-License-Identifier: Apache-2.0
"""The signals that ask a program to end, and their effect while it starts, runs and ends."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
from types import FrameType

Handler = Callable[[int, FrameType | None], None]

ENDING = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)
"""Ctrl-C, the usual signal to end a process, and the closing of the terminal."""


def when_asked_to_end(handler: Handler | signal.Handlers) -> None:
    """
    Set the handler of the signals that ask the program to end.

    A program that was started to outlive its terminal (``nohup``) still does.

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
    Make those signals end the program with code 0 and without a traceback; nothing is open yet.

    An exception would be lost in a callback of the import machinery, and the program would run on.
    """

    def leave(received: int, frame: FrameType | None) -> None:
        os._exit(0)

    when_asked_to_end(leave)
