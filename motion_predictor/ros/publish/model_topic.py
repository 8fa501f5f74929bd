"""The topic ~/model: what predicts, who has which number, and what the futures are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motion_predictor.ros import messages
from motion_predictor.ros.session import Session

TELL_PERIOD_S = 10.0
"""~/model says anew what the futures are made of, at least so often."""


class ModelTopic:
    """Publishes ~/model when what it says has changed."""

    def __init__(self, session: Session, publishers: Mapping[str, Any]) -> None:
        """
        Say nothing yet.

        :param session: whose model it is.
        :param publishers: by the topic without ``~/``; ``model`` is there.
        """
        self._session, self._publishers = session, publishers
        self._leading: Mapping[str, str] = {}
        self._told_s = 0.0

    def publish(self) -> None:
        """Publish what predicts now."""
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
        Publish anew, at once where a future is mostly taken from elsewhere now.

        :param active: whether the node predicts.
        :param now_s: reading of ``perf_counter``.
        """
        if self._session.remembering is None:
            return
        leading = self._session.remembering.leading(self._session.tracks)
        due = leading and now_s - self._told_s >= TELL_PERIOD_S
        if active and (due or leading != self._leading):
            self._leading, self._told_s = leading, now_s
            self.publish()
