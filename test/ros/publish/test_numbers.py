# SPDX-License-Identifier: Apache-2.0
"""The numbers of people in the outputs."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy')


from motion_predictor.ros.publish.numbers import PersonNumbers


def test_numbers_of_people_are_kept_and_given_anew() -> None:
    numbers = PersonNumbers()
    assert numbers.update(['left/1', '7', 'anna'])
    assert numbers.table == {'left/1': 1, '7': 7, 'anna': 0}
    assert not numbers.update(['anna', '7', 'left/1'])
    assert numbers.update(['right/1', 'left/1', '7'])
    assert numbers.table == {'left/1': 1, '7': 7, 'right/1': 2}, "0 is anna's"
    assert numbers.update(['9', 'left/1'], {'9': '7'})
    assert numbers.table == {'left/1': 1, '9': 7}, 'the same person keeps the number'
    assert numbers.update(['right/1', 'anna'])
    assert numbers.table == {'right/1': 2, 'anna': 0}, 'who comes back has the number of before'
    for count in range(1000):
        numbers.update([f'somebody {count}', 'anna'])
        assert numbers.table['anna'] == 0
        assert max(numbers.table.values()) < 50, 'numbers of those who do not come back are used'
