# SPDX-License-Identifier: Apache-2.0
"""The interface of all inputs: a source reads messages and returns the people in them."""

from __future__ import annotations

from typing import Any, Protocol

from motion_predictor.sources.observation import DecodedPerson

AUTO = 'auto'
"""Value of a parameter that the type of the input decides."""


class Source(Protocol):
    """
    Turns the messages of one input into people.

    One object serves one run of the node, or one bag. One thread calls :meth:`decode` with every
    message, in the order of arrival.
    """

    counters: dict[str, int]
    """How often something was left out, by its kind; the diagnostics show this."""

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """
        Read one message.

        :param topic: the topic that it came on.
        :param message: an object with the fields of the tracker's message.
        :param received_ns: the node's clock when the message came, nanoseconds.
        :returns: the people in it, [] for nobody; None if the message does not say who is present.
        :raises MessageError: if it does not have the form that the settings promise.
        """
