# SPDX-License-Identifier: Apache-2.0
"""Rates, latencies, counters, and messages that never came."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy')


from motion_predictor.ros.diagnostics.monitoring import Counts, EventRate, LatencyLog, SequenceGaps


def test_monitoring_counts_rates_and_percentiles() -> None:
    rate = EventRate(window_s=2.0)
    assert rate.rate_hz(0.0) == 0.0
    for index in range(50):
        rate.note(0.1 * index)
    assert rate.rate_hz(5.0) == pytest.approx(10.0)
    assert rate.rate_hz(100.0) == 0.0
    log = LatencyLog(('model', 'total'), keep=100)
    for index in range(1000):
        log.add({'model': index / 1000.0})
    assert set(log.percentiles_s(50)) == {'model'}
    assert log.percentiles_s(0, 100)['model'] == (0.9, 0.999)
    counts = Counts('a')
    counts.add('b', 3)
    assert counts.snapshot() == {'a': 0, 'b': 3}


def test_what_got_lost_before_the_node_is_told_by_the_messages_numbers() -> None:
    gaps = SequenceGaps(publishers=2)

    def lost(publisher: bytes, number: int | None) -> int:
        gid = {'implementation_identifier': 'x', 'data': publisher}
        info = {'publication_sequence_number': number, 'publisher_gid': gid}
        return gaps.lost_before(info)

    assert [lost(b'a', 7), lost(b'a', 8), lost(b'a', 12), lost(b'b', 3), lost(b'b', 3)] == [
        0, 0, 3, 0, 0,
    ]  # fmt: skip
    assert lost(b'c', 100) == lost(b'd', 1) == 0
    assert lost(b'a', 100) == 0, 'long forgotten'
    assert lost(b'a', None) == 0
    assert gaps.lost_before({}) == 0
