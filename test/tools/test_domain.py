# SPDX-License-Identifier: Apache-2.0
"""Domains of DDS that nobody else on this machine uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import subprocess
import sys

import pytest

pytest.importorskip('rclpy')

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from tools import domain
from tools.domain import Domain, DomainError, is_in_use
from tools.rig import ROOT

CLAIM = 'from tools.domain import Domain; held = Domain(); print(held.number, flush=True); input()'


@contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Claim a domain in a process of its own, and kill that."""
    command = [sys.executable, '-c', CLAIM]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert started.stdout is not None
    try:
        yield started, int(started.stdout.readline())
    finally:
        started.kill()
        started.communicate()


def test_a_domain_of_another_process_is_not_claimed_before_that_process_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with another_process() as (_, number):
        monkeypatch.setattr(domain, 'DOMAINS', range(number, number + 1))
        with pytest.raises(DomainError, match=f'each of {number} to {number} is in use'):
            Domain()
    with Domain() as found:
        assert found == number


def test_a_closed_domain_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Domain() as number:
        monkeypatch.setattr(domain, 'DOMAINS', range(number, number + 1))
        with pytest.raises(DomainError):
            Domain()
    with Domain() as again:
        assert again == number


def test_a_domain_that_a_participant_is_in_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Domain() as number:
        context = Context()
        rclpy.init(context=context, domain_id=number)
        node = Node('somebody', context=context)
        assert is_in_use(number)
    monkeypatch.setattr(domain, 'DOMAINS', range(number, number + 1))
    with pytest.raises(DomainError):
        Domain()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_as_many_domains_as_are_asked_for_are_different() -> None:
    held = [Domain() for _ in range(20)]
    assert len({each.number for each in held}) == 20
    for each in held:
        each.close()
