"""
A DDS domain that nobody else on this machine uses, for as long as it is needed.

A domain is claimed by a TCP port that is bound and never listened to, at the numbers that
``domain_coordinator`` uses, so that the tests of other ROS packages keep away, too. The operating
system frees the port when the process ends, however it ends.
"""

from __future__ import annotations

from contextlib import suppress
import random
import socket

from motion_predictor.errors import MotionPredictorError

DOMAINS = range(1, 101)
"""0 is the default of every robot, and above 101 the ports of DDS are ephemeral ports on Linux."""
CLAIM_PORT = 32768
"""To this the domain is added."""
DDS_PORT, PORTS_OF_DOMAIN = 7400, 250
FIRST_OF_PARTICIPANT, PARTICIPANTS = 10, 100
"""A participant listens at two ports: 10 + 2 * its number above the first port of the domain."""


class DomainError(MotionPredictorError):
    """No domain is free."""


class Domain:
    """A domain that is claimed until it is closed; ``with Domain() as number`` closes it."""

    def __init__(self) -> None:
        """
        Claim a domain of those that nobody has claimed and no participant is in.

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
    """Return whether a participant of this machine is in a domain, claimed or not."""
    first = DDS_PORT + PORTS_OF_DOMAIN * number + FIRST_OF_PARTICIPANT
    for port in range(first, first + 2 * PARTICIPANTS, 2):
        tried = _bound(socket.SOCK_DGRAM, port)
        if tried is None:
            return True
        tried.close()
    return False


def _bound(kind: socket.SocketKind, port: int) -> socket.socket | None:
    # A socket that is bound to a port; None where another one is. Children do not inherit it.
    made = socket.socket(socket.AF_INET, kind)
    with suppress(OSError):
        made.bind(('', port))
        return made
    made.close()
    return None
