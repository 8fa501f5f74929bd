# SPDX-License-Identifier: Apache-2.0
"""Detect that the frame of the predictions moves: then people who stand still seem to walk."""

from __future__ import annotations

from collections import deque
import math

import numpy as np

MOVES_M_S = 0.1
MOVES_RAD_S = math.radians(5.0)
LOOKS = 10
MOVING = 3
"""A frame is moving if it moved between this many of the last checks; one correction is not
enough."""


class FrameMotion:
    """Watches the position of a frame in the root of its tree."""

    def __init__(self, frame: str) -> None:
        """
        Begin without a check.

        :param frame: name of the frame.
        """
        self._frame = frame
        self._root = ''
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None
        self._moved: deque[bool] = deque(maxlen=LOOKS)

    def note(self, at_s: float, root: str, rotation: np.ndarray, translation: np.ndarray) -> None:
        """
        Record one check.

        :param at_s: time of the check, seconds.
        :param root: root of the frame's tree.
        :param rotation: from the frame to the root, (3, 3).
        :param translation: from the frame to the root, metres (3,).
        """
        if root != self._root:
            self._moved.clear()
            self._root, self._last = root, None
        if self._last is not None and at_s > self._last[0]:
            step_s = at_s - self._last[0]
            cosine = 0.5 * (float(np.trace(self._last[1].T @ rotation)) - 1.0)
            turned = math.acos(min(max(cosine, -1.0), 1.0)) / step_s
            shifted = float(np.linalg.norm(translation - self._last[2])) / step_s
            self._moved.append(shifted > MOVES_M_S or turned > MOVES_RAD_S)
        self._last = at_s, rotation, translation

    @property
    def complaint(self) -> str:
        """Return a sentence that says that the frame moves; '' if it does not."""
        if sum(self._moved) < MOVING:
            return ''
        return (
            f'target_frame {self._frame!r} moves in {self._root!r}: people who stand still seem '
            'to walk; set target_frame to a level frame that does not move (odom or map)'
        )
