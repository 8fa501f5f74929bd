# SPDX-License-Identifier: Apache-2.0
"""Decide whether the worker keeps up with the input, and when the next prediction is due."""

from __future__ import annotations

from collections import deque
from statistics import median
from time import perf_counter

from motion_predictor.ros.parameters import Settings

CATCHES_UP = 0.8
"""If predicting every input frame would take a larger share of the worker's time than this, it
skips to the newest frame."""
REMEMBERED = 9


class Pace:
    """The times that the latest predictions took, and decisions based on them; for the worker."""

    def __init__(self) -> None:
        """Begin without predictions."""
        self.cycles_s: deque[float] = deque(maxlen=REMEMBERED)
        """The time that each of the latest predictions took, with all that belongs to them."""
        self.due_s = 0.0
        """When ``rate_limit_hz`` allows the next prediction, by ``perf_counter``."""
        self._behind_since_s: float | None = None

    def can_catch_up(
        self, settings: Settings, waiting: int, rate_hz: float, now_s: float, *, in_pieces: bool
    ) -> bool:
        """
        Return whether to predict from each waiting message, with the newest not much later.

        :param settings: the node's parameters.
        :param waiting: number of waiting messages.
        :param rate_hz: rate of the input.
        :param now_s: reading of ``perf_counter``, seconds.
        :param in_pieces: whether messages are pieces of a whole, as with TF.
        """
        if waiting < 2:
            self._behind_since_s = None
            return False
        since_s = self._behind_since_s or now_s
        self._behind_since_s = since_s  # more may come in while the first ones are predicted
        if not self.cycles_s:
            return False
        cycle_s = median(self.cycles_s)  # one delayed prediction says nothing about the next
        if now_s - since_s + waiting * cycle_s > settings.catch_up_s:
            return False
        busy = rate_hz * cycle_s
        return busy <= CATCHES_UP and not in_pieces and not settings.rate_limit_hz

    def can_answer_each(self, settings: Settings, waiting: int) -> bool:
        """
        Return whether to predict from each of several messages whose transforms came together.

        :param settings: the node's parameters.
        :param waiting: number of messages that wait for their transforms.
        """
        if not waiting or not self.cycles_s or settings.rate_limit_hz:
            return False
        return waiting * median(self.cycles_s) <= settings.catch_up_s

    def is_due(self, settings: Settings) -> bool:
        """Return whether ``rate_limit_hz`` allows a prediction now; if so, it counts as made."""
        limit_hz = settings.rate_limit_hz
        if limit_hz > 0.0:
            period_s, now_s = 1.0 / limit_hz, perf_counter()
            if now_s < self.due_s - 0.1 * period_s:
                return False
            self.due_s = max(self.due_s, now_s - period_s) + period_s
        return True
