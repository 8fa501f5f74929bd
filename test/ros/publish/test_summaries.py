# SPDX-License-Identifier: Apache-2.0
"""When each output beside ~/predictions is made."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy')

from rclpy.qos import DurabilityPolicy, QoSProfile

from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.qos import is_wanted
from motion_predictor.ros.publish.summaries import SUMMARIES, SummaryPublishers

VOLATILE, KEPT = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


def test_occupancy_keeps_to_its_rate_and_never_takes_most_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Publisher:
        published = 0

        def get_subscription_count(self) -> int:
            return 1

        def publish(self, message: Any) -> None:
            self.published += 1

    now_s, cost_s = [100.0], [0.0]
    monkeypatch.setattr('motion_predictor.ros.publish.summaries.perf_counter', lambda: now_s[0])

    def encode(view: Any, settings: Any, stopped: Any = None) -> None:
        now_s[0] += cost_s[0]

    for summary in SUMMARIES.values():
        monkeypatch.setitem(summary.__dict__, 'encode', encode)
    publishers = {name: Publisher() for name in SUMMARIES}
    outputs = SummaryPublishers(publishers)
    settings = Settings.from_values({'occupancy.rate_hz': 5.0})

    def frames(count: int) -> dict[str, int]:
        before = {name: publisher.published for name, publisher in publishers.items()}
        begun_s = now_s[0]
        for frame in range(count):
            now_s[0] = max(now_s[0], begun_s + frame / 30.0)
            for name in outputs.wanted(settings, now_s[0]):
                outputs.publish(name, None, settings)  # type: ignore[arg-type]
                while outputs.busy:  # what is made in the background
                    pass
        return {name: publishers[name].published - before[name] for name in publishers}

    found = frames(60)
    assert {found[name] for name in ('poses', 'moments', 'trajectory')} == {60}
    assert found['occupancy'] in (10, 11), 'five a second'
    cost_s[0] = 0.1  # of each output: many people, a slow machine
    begun_s = now_s[0]
    found = frames(60)
    assert found['poses'] == 60
    assert found['occupancy'] * cost_s[0] <= 0.25 * (now_s[0] - begun_s) + cost_s[0]


@pytest.mark.parametrize('listeners', [0, 1])
@pytest.mark.parametrize(
    'durability', [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL]
)
def test_an_output_is_wanted_by_listeners_of_now_and_of_later(
    listeners: int, durability: DurabilityPolicy
) -> None:
    class Publisher:  # what DDS would say, without waiting for it
        qos_profile = QoSProfile(depth=1, durability=durability)

        def get_subscription_count(self) -> int:
            return listeners

    kept = durability == KEPT
    assert is_wanted(Publisher()) == (kept or listeners > 0)
    assert not is_wanted(None)
