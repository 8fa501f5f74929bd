# SPDX-License-Identifier: Apache-2.0
"""Check the stamps of a tracker and report faults in words for whoever runs the robot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BEHIND_S = 0.5
"""Stamps further behind the clock than this, in seconds, come from another clock or a very slow
tracker."""
AHEAD_S = 0.05
ALIKE = 0.95
"""If at least this share of the messages have one and the same stamp, all stamps are the same."""
REPEATED = 0.5
"""If at least this share of the poses have a stamp that came before, the stamps stand still."""
_DAY_S = 86_400.0


class SameStamps:
    """Finds messages that have the stamp of the message before them and show the same people."""

    def __init__(self) -> None:
        """Begin without a message."""
        self._latest: dict[str, tuple[int, frozenset[str]]] = {}

    def repeat(self, topic: str, stamp_ns: int, people: Iterable[str]) -> bool:
        """
        Return whether a message has the stamp of the one before it.

        :param topic: the topic that it came on.
        :param stamp_ns: its stamp in nanoseconds; 0 means none and is not a repetition.
        :param people: names of its people; messages of one person each may share a stamp.
        """
        before_ns, those = self._latest.get(topic, (0, frozenset()))
        names = frozenset(people)
        same = stamp_ns > 0 and stamp_ns == before_ns
        self._latest[topic] = stamp_ns, names | those if same else names
        return same and not names.isdisjoint(those)


def duration(seconds: float) -> str:
    """
    Return a duration in words.

    :param seconds: not negative.
    """
    for unit, length_s in (('years', 365.0 * _DAY_S), ('days', _DAY_S), ('h', 3600.0)):
        if seconds >= length_s:
            return f'{seconds / length_s:.1f} {unit}'
    return f'{seconds:.2f} s'


def stamp_complaints(
    lag_s: float | None, new: Mapping[str, int], *, sim_time: bool, clock_ns: int
) -> list[str]:
    """
    Return what is wrong with the stamps of the input.

    :param lag_s: time from the latest stamp to its arrival, seconds; None before the first.
    :param new: recent increase of each counter of the node and of
        :class:`motion_predictor.predict.live.LivePredictor`.
    :param sim_time: whether ``use_sim_time`` is set.
    :param clock_ns: the node's clock, nanoseconds.
    """
    if sim_time and clock_ns == 0:
        return ['use_sim_time is set, and nobody publishes /clock']
    found = []
    if lag_s is not None and lag_s > BEHIND_S:
        found.append(
            f"stamps are {duration(lag_s)} behind the node's clock (a device's own clock, a "
            'recording without use_sim_time, or a slow tracker)'
        )
    elif lag_s is not None and lag_s < -AHEAD_S:
        found.append(f"stamps are {duration(-lag_s)} ahead of the node's clock: synchronize them")
    repeated, taken = new.get('poses_duplicate', 0), new.get('poses_accepted', 0)
    same = new.get('messages_same_stamp', 0)
    shown = new.get('messages', 0) - new.get('messages_empty', 0)
    if same > 1 and same >= ALIKE * shown:
        found.append(
            f'every stamp is the same ({same} messages with the stamp of the one before): the '
            'tracker must stamp each message anew, or leave the stamp at zero, which means arrival'
        )
    elif repeated > 0 and repeated >= REPEATED * (repeated + taken):
        found.append(f'{repeated} poses with a stamp that was there already: stamps stand still')
    bursts = new.get('observations_steadied', 0)
    if bursts > 0:
        found.append(
            f'{bursts} poses with stamps in bursts (of their arrival?), taken as evenly spaced; '
            'stamp them when they are measured'
        )
    return found
