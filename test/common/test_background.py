# SPDX-License-Identifier: Apache-2.0
"""What takes its time is made beside the worker, and never shown once it was called off."""

from __future__ import annotations

from collections.abc import Iterator
import threading
from typing import Any

import pytest

from motion_predictor.common.background import Background, CancelledError, Stopped

PATIENCE_S = 60.0


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background('test')
    yield background
    background.close(PATIENCE_S)


class Work:
    """Work that begins and ends when the test says so."""

    def __init__(self, result: str) -> None:
        self.result = result
        self.begun, self.may_end, self.saw_stop = (threading.Event() for _ in range(3))

    def __call__(self, stopped: Stopped) -> str:
        self.begun.set()
        while not self.may_end.wait(0.002):
            if stopped():
                self.saw_stop.set()
                raise CancelledError
        return self.result


def test_the_latest_wish_is_made_and_those_between_are_dropped(background: Background) -> None:
    shown: list[Any] = []
    all_shown = threading.Event()
    first, second, third = Work('a'), Work('b'), Work('c')
    background.ask(first, shown.append)
    assert first.begun.wait(PATIENCE_S)
    background.ask(second, shown.append)
    background.ask(third, lambda made: (shown.append(made), all_shown.set()))
    assert background.busy
    first.may_end.set()
    third.may_end.set()
    assert all_shown.wait(PATIENCE_S)
    assert shown == ['a', 'c']
    assert not second.begun.is_set()


def test_what_is_called_off_is_told_and_never_shown(background: Background) -> None:
    shown: list[Any] = []
    done = threading.Event()
    work, deaf, last = Work('a'), Work('b'), Work('c')
    background.ask(work, shown.append)
    assert work.begun.wait(PATIENCE_S)
    background.call_off()
    assert work.saw_stop.wait(PATIENCE_S)

    def without_listening(stopped: Stopped) -> str:
        deaf.begun.set()
        deaf.may_end.wait(PATIENCE_S)
        return deaf.result

    background.ask(without_listening, shown.append)
    assert deaf.begun.wait(PATIENCE_S)
    background.call_off()
    deaf.may_end.set()
    last.may_end.set()
    background.ask(last, lambda made: (shown.append(made), done.set()))
    assert done.wait(PATIENCE_S)
    assert shown == ['c']


def test_a_thread_that_was_left_to_itself_shows_nothing_and_another_begins() -> None:
    background = Background('test')
    shown: list[Any] = []
    done, may_end, begun = (threading.Event() for _ in range(3))

    def without_listening(stopped: Stopped) -> str:
        begun.set()
        may_end.wait(PATIENCE_S)
        return 'old'

    background.ask(without_listening, shown.append)
    assert begun.wait(PATIENCE_S)
    background.close(0.0)
    new = Work('new')
    new.may_end.set()
    background.ask(new, lambda made: (shown.append(made), done.set()))
    assert done.wait(PATIENCE_S)
    may_end.set()
    background.close(PATIENCE_S)
    assert shown == ['new']
