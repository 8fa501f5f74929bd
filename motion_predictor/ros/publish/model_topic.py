# SPDX-License-Identifier: Apache-2.0
"""The topic ~/model: the running model, the numbers of people, the sources of their futures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motion_predictor.ros import messages
from motion_predictor.ros.session import Session

TELL_PERIOD_S = 10.0
"""Longest time in seconds between messages on ~/model about the sources of the futures."""


class ModelTopic:
    """Publishes ~/model whenever its content has changed."""

    def __init__(self, session: Session, publishers: Mapping[str, Any]) -> None:
        """
        Begin without a message.

        :param session: has the model.
        :param publishers: publishers by topic without ``~/``, with ``model`` among them.
        """
        self._session, self._publishers = session, publishers
        self._leading: Mapping[str, str] = {}
        self._told_s = 0.0

    def publish(self) -> None:
        """Publish the present model."""
        session = self._session
        predictor = session.predictor
        window = predictor.window
        facts = {
            'model': predictor.name,
            'device': predictor.device,
            'engine': predictor.engine,
            'rate_hz': window.rate_hz,
            'observed_frames': window.observed_frames,
            'future_frames': window.future_frames,
            'horizon_s': window.horizon_s,
        }
        table = session.numbers.table
        if session.remembering is not None:
            facts |= session.remembering.facts(session.tracks, table)
        content = messages.encode_model(predictor.skeleton, predictor.card, table, facts)
        self._publishers['model'].publish(content)

    def tell_leading(self, active: bool, now_s: float) -> None:
        """
        Publish again if it is due, or if a future now mostly comes from another candidate.

        :param active: whether the node predicts.
        :param now_s: reading of ``perf_counter``, seconds.
        """
        if self._session.remembering is None:
            return
        leading = self._session.remembering.leading(self._session.tracks)
        due = leading and now_s - self._told_s >= TELL_PERIOD_S
        if active and (due or leading != self._leading):
            self._leading, self._told_s = leading, now_s
            self.publish()
