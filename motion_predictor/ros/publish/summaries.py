# SPDX-License-Identifier: Apache-2.0
"""The outputs beside ~/predictions, and when each is made and taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from geometry_msgs.msg import PoseArray
import numpy as np
from sensor_msgs.msg import PointCloud2
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.common.background import Background, CancelledError, Stopped
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outlook import Outlook
from motion_predictor.ros.publish.outputs import (
    encode_moments,
    encode_occupancy,
    no_moments,
    no_occupancy,
    no_poses,
    no_trajectory,
    pack_poses,
    pack_trajectory,
)
from motion_predictor.ros.publish.qos import is_wanted, RATES_HZ


@dataclass(frozen=True)
class Summary:
    """One output beside ~/predictions: its message type and its encoder."""

    message_type: type
    encode: Callable[..., Any]
    """Makes the message, or its bytes, from an outlook and the settings. An output with a rate of
    its own also gets a function that returns whether to stop."""
    nobody: Callable[[int, str], Any]


SUMMARIES: Mapping[str, Summary] = {
    'poses': Summary(PoseArray, pack_poses, no_poses),  # first: a robot may have to brake
    'moments': Summary(PointCloud2, encode_moments, no_moments),
    'trajectory': Summary(MultiDOFJointTrajectory, pack_trajectory, no_trajectory),
    'occupancy': Summary(PointCloud2, encode_occupancy, no_occupancy),
}
"""The outputs by topic, in the order in which they are published."""


class SummaryPublishers:
    """Builds and publishes the outputs with subscribers, and takes them back."""

    def __init__(
        self,
        publishers: Mapping[str, Any],
        note: Callable[[str, float], None] = lambda name, seconds: None,
        failed: Callable[[str, Exception], None] = lambda name, error: None,
    ) -> None:
        """
        Begin with nobody shown.

        :param publishers: publishers of the outputs among :data:`SUMMARIES` to publish, by name.
        :param note: called with the name and the duration of each, seconds.
        :param failed: called with the error of an output that is built in the background.
        """
        self._note, self._failed = note, failed
        self._background = Background('occupancy')
        self._publishers = {name: publishers[name] for name in SUMMARIES if name in publishers}
        self._due_s = dict.fromkeys(SUMMARIES, 0.0)
        self._shown: set[str] = set()

    def wanted(self, settings: Settings, now_s: float) -> list[str]:
        """
        Return the names of the outputs that have subscribers and are due.

        :param settings: the node's parameters.
        :param now_s: reading of ``time.perf_counter``, seconds.
        """
        names = []
        for name, publisher in self._publishers.items():
            if not is_wanted(publisher):
                self._shown.discard(name)
                continue
            if name in RATES_HZ:
                if self._background.busy:
                    continue
                period_s = 1.0 / RATES_HZ[name](settings)
                if now_s < self._due_s[name] - 0.1 * period_s:
                    continue
                self._due_s[name] = max(self._due_s[name], now_s - period_s) + period_s
            names.append(name)
        return names

    def publish(self, name: str, outlook: Outlook, settings: Settings) -> None:
        """
        Build one output and publish it.

        An output with a rate of its own is built in a thread of its own, because it may take long.
        It takes at most a quarter of the time for any number of people: its next turn is put off.

        :param name: name of the output.
        :param outlook: the prediction.
        :param settings: the node's parameters.
        """
        begun_s, summary = perf_counter(), SUMMARIES[name]
        if name not in RATES_HZ:
            self._hand_over(name, summary.encode(outlook, settings), begun_s)
            return

        def make(stopped: Stopped) -> Any:
            try:
                return summary.encode(outlook, settings, stopped)
            except CancelledError:
                raise
            except Exception as error:
                self._failed(name, error)
                raise CancelledError from None
            finally:
                end_s = perf_counter()
                self._due_s[name] = max(self._due_s[name], end_s + 3.0 * (end_s - begun_s))

        def hand_over(made: Any) -> None:
            try:
                self._hand_over(name, made, begun_s)
            except Exception as error:  # the thread continues
                self._failed(name, error)

        self._background.ask(make, hand_over)

    def _hand_over(self, name: str, message: Any, begun_s: float) -> None:
        self._publishers[name].publish(message)
        self._shown.add(name)
        self._note(name, perf_counter() - begun_s)

    def close(self, within_s: float) -> None:
        """
        Cancel the output that is being built.

        :param within_s: longest time to wait for the building thread, seconds.
        """
        self._background.close(within_s)

    @property
    def busy(self) -> bool:
        """Return whether an output is being built in the background."""
        return self._background.busy

    def publish_nobody(
        self,
        stamp_ns: int,
        frame_id: str,
        *,
        asked: bool,
        others: Sequence[np.ndarray] = (),
        horizons: int = 1,
    ) -> None:
        """
        Take back what was shown, once; ~/poses continues with the people who are seen.

        :param stamp_ns: stamp, nanoseconds.
        :param frame_id: frame of the output.
        :param asked: whether the tracker has just said that nobody is present. Then ~/poses says
            so each time, because a monitor may wait for a sign of life. At other times it must
            not, because a monitor would believe that the room is empty.
        :param others: last poses (J, 3), metres, of everybody who is seen but not predicted.
        :param horizons: number of keyframes of ~/poses.
        """
        self._background.call_off()
        for name, publisher in self._publishers.items():
            if name != 'poses':
                if name in self._shown:
                    publisher.publish(SUMMARIES[name].nobody(stamp_ns, frame_id))
            elif publisher.get_subscription_count() and (asked or others):
                publisher.publish(no_poses(stamp_ns, frame_id, others, horizons))
        self._shown.clear()
