# SPDX-License-Identifier: Apache-2.0
"""Claim a DDS domain that nobody else on this machine uses, for as long as it is needed.

A domain is claimed by binding a TCP port that is never listened to, at the numbers that
``domain_coordinator`` uses, so that the tests of other ROS packages keep away, too. The operating
system frees the port when the process ends in any way.
"""

from __future__ import annotations

from contextlib import suppress
import random
import socket

from motion_predictor.errors import MotionPredictorError

DOMAINS = range(1, 101)
"""Domains to choose from: 0 is the default of every robot, and above 101 the ports of DDS are
ephemeral ports on Linux."""
CLAIM_PORT = 32768
"""Number to which the domain is added to get the claimed port."""
DDS_PORT, PORTS_OF_DOMAIN = 7400, 250
FIRST_OF_PARTICIPANT, PARTICIPANTS = 10, 100
"""Offset of a participant's ports (10 + 2 * its number) from the first port of the domain, and
number of participants checked."""


class DomainError(MotionPredictorError):
    """No domain is free."""


class Domain:
    """A domain that is claimed until it is closed; ``with Domain() as number`` closes it."""

    def __init__(self) -> None:
        """
        Claim a domain that nobody has claimed and that has no participant.

        :raises DomainError: if there is none.
        """
        for number in random.SystemRandom().sample(DOMAINS, len(DOMAINS)):
            claim = _bound(socket.SOCK_STREAM, CLAIM_PORT + number)
            if claim is None:
                continue
            if not is_in_use(number):
                self.number = number
                """ROS_DOMAIN_ID."""
                self._claim = claim
                return
            claim.close()
        raise DomainError(
            f'ROS_DOMAIN_ID: each of {DOMAINS[0]} to {DOMAINS[-1]} is in use on this machine; end '
            'ROS programs or tests that are left over'
        )

    def close(self) -> None:
        """Free the domain."""
        self._claim.close()

    def __enter__(self) -> int:
        """Return the number."""
        return self.number

    def __exit__(self, *error: object) -> None:
        """Free the domain."""
        self.close()


def is_in_use(number: int) -> bool:
    """Return whether a domain has a participant on this machine, claimed or not."""
    first = DDS_PORT + PORTS_OF_DOMAIN * number + FIRST_OF_PARTICIPANT
    for port in range(first, first + 2 * PARTICIPANTS, 2):
        tried = _bound(socket.SOCK_DGRAM, port)
        if tried is None:
            return True
        tried.close()
    return False


def _bound(kind: socket.SocketKind, port: int) -> socket.socket | None:
    # Return a socket that is bound to a port; None if another one is. Children do not inherit it.
    made = socket.socket(socket.AF_INET, kind)
    with suppress(OSError):
        made.bind(('', port))
        return made
    made.close()
    return None
