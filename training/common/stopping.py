# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM: work ends in a complete state, is saved, and says how to continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import errno
import signal
import sys
import threading
from types import FrameType

from motion_predictor.errors import MotionPredictorError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GOES_ON = 'stopped; the same command goes on from here'
NOTHING = 'stopped; nothing was written: give the same command again'
STOPPED = 130
"""Exit code of a stopped program."""


def stopped_at(title: str, done: int, steps: int) -> str:
    """Return the sentence that says where a training was stopped, and how to continue it."""
    return f'{title}: stopped after step {done} of {steps}, saved; {GOES_ON.split("; ")[1]}'


class Stop:
    """Whether this process was asked to stop; see :func:`stop_when_whole`."""

    def __init__(self) -> None:
        """Begin without a request."""
        self.asked = False


@contextmanager
def stop_when_whole() -> Iterator[Stop]:
    """
    Hold a signal back, for a loop that checks ``asked`` whenever its state is complete.

    The loop then saves and raises KeyboardInterrupt. A second signal ends it at once.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    with _handled(ask):
        yield stop


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}  # nohup stays nohup
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def run_verb(main: Callable[[], int | None], goes_on: str = GOES_ON, program: str = '') -> int:
    """
    Run a verb's main function so that any end is reported in one line.

    :param main: returns the exit code, or None for 0.
    :param goes_on: sentence for a user who stopped it.
    :param program: name of the verb, with which the line of an error begins.
    :returns: the exit code: 130 if stopped, 2 if something cannot be used or written.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        with _handled(stop):
            return main() or 0
    except KeyboardInterrupt as error:
        print(str(error) or goes_on, file=sys.stderr)
        return STOPPED
    except MotionPredictorError as error:
        print(f'{program or "error"}: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
                               errno.EFBIG, errno.ENOTDIR, errno.EISDIR):  # fmt: skip
            raise
        print(
            f'{program or "error"}: {error.filename or "a file"}: cannot be written or read '
            f'({error.strerror}); what was written before stays',
            file=sys.stderr,
        )
        return 2
