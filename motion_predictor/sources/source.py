"""What every input has in common: it reads messages, and says who is in them."""

from __future__ import annotations

from typing import Any, Protocol

from motion_predictor.sources.observation import DecodedPerson

AUTO = 'auto'
"""What a parameter is set to when the type of the input decides."""


class Source(Protocol):
    """
    What turns the messages of one input into people.

    It is made for one run of the node, or for one bag; :meth:`decode` is called by one thread with
    every message, in the order of arrival.
    """

    counters: dict[str, int]
    """How often something was left out, by what it was; the diagnostics show it."""

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """
        Read one message.

        :param topic: that it came on.
        :param message: with the fields of the tracker's message.
        :param received_ns: the node's clock when it came.
        :returns: the people in it, [] for nobody; None where it does not say who is there.
        :raises MessageError: if it does not have the form that the settings promise.
        """
