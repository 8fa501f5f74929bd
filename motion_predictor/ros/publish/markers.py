# SPDX-License-Identifier: Apache-2.0
"""The topic ~/markers: which people and futures are drawn, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from motion_predictor.predict.likely import drawn_samples, likely_futures
from motion_predictor.ros.messages import MarkerEncoder, MarkerPerson
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outlook import Shown
from motion_predictor.ros.session import Session

MAX_DRAWN = 2_000
"""Greatest number of drawn samples, of all people together."""


class MarkerTopic:
    """Draws people and their futures at a rate of its own while somebody subscribes."""

    def __init__(self, session: Session, publishers: Mapping[str, Any]) -> None:
        """
        Begin with nobody drawn.

        :param session: has the people to draw.
        :param publishers: publishers by topic without ``~/``; without ``markers`` nothing is
            drawn.
        """
        self._session, self._publishers = session, publishers
        self._encoder = MarkerEncoder(session.predictor.skeleton)
        self._due_s = 0.0

    def publish(self, shown: Shown, settings: Settings) -> None:
        """Draw a prediction if it is time; people who have gone are deleted at once."""
        publisher = self._publishers.get('markers')
        now_s = perf_counter()
        gone = self._encoder.shown - set(shown.numbers)
        if publisher is None or not (gone or now_s >= self._due_s):
            return
        if not (gone or publisher.get_subscription_count()):
            return
        period_s = 1.0 / settings.markers.rate_hz
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        result, turn = shown.result, self._session.turn
        assert result.prediction is not None
        poses, prediction = result.last_poses, result.prediction
        likely = likely_futures(prediction, settings.output.future, shown.frames)
        if turn is not None:
            poses, likely = poses @ turn, likely @ turn
        drawn = min(settings.markers.samples, MAX_DRAWN // max(1, len(shown.numbers)))
        chosen = drawn_samples(prediction, drawn)
        people = [
            MarkerPerson(
                number,
                poses[index],
                likely[index],
                shown.futures[index, chosen[index]],
                self._session.words(result.persons[index]),
                result.windows[index].seen,
            )
            for index, number in enumerate(shown.numbers)
        ]
        publisher.publish(self._encoder.encode(result.stamp_ns, result.frame_id, people))

    def publish_nobody(self, stamp_ns: int, frame_id: str) -> None:
        """Delete what was drawn, if anything was."""
        if self._encoder.shown and 'markers' in self._publishers:
            self._publishers['markers'].publish(self._encoder.encode(stamp_ns, frame_id, []))
