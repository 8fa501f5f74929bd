# SPDX-License-Identifier: Apache-2.0
"""Speed and separation monitoring on ~/poses, against the same on measured positions alone.

    python -m tools.demo.ssm_demo --clip walk --seconds 20

Motion is recorded into a rosbag2 and played through the real node (see ``tools.measure.bag_run``).
A robot stands in the person's way. Both monitors give it the highest speed at which it could still
stop in time, by the protective separation distance of ISO/TS 15066:2016, 5.5.4.2.3 (now in ISO
10218-2:2025):

    S_p = v_h (T_r + T_s) + v_r T_r + v_r^2 / (2 a) + C + Z,    T_s = v_r / a

with the person's speed v_h held at 1.6 m/s, reaction time T_r, deceleration a, intrusion C and
uncertainty of the measurement Z. One monitor gets the observed joints. The other gets the points
of ~/poses, which hold the observed joints and those of the likely future, so it is never faster
than the first. The output shows how much earlier it slows the robot, and how often for nothing.

This is an example of a consumer and not a safety function: see docs/guide/consumers/ssm.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import sys
import tempfile

import numpy as np

from motion_predictor.errors import MotionPredictorError
from motion_predictor.ros.consumers.separation import (
    permitted_speed_m_s,
    separation_m,
    SeparationSettings,
)
from tools.demo.demo import DemoError
from tools.demo.demo_clips import demo_recording
from tools.measure.bag_record import BagRunError, record
from tools.measure.bag_run import BagRun, play
from training.common.options import read_options


@dataclass(frozen=True)
class Comparison:
    """Two monitors at the same instants."""

    times_s: np.ndarray
    """Time of each frame since the first, seconds, (N,)."""
    measured_m_s: np.ndarray
    """Speed permitted by the observed joints, m/s, (N,)."""
    predicted_m_s: np.ndarray
    """Speed permitted by ~/poses, m/s, (N,)."""
    full_speed_m_s: float
    nearest_m: float
    """Least real distance between the person and the robot, metres."""

    def first_below(self, speeds: np.ndarray, share: float) -> float | None:
        """Return the time at which speeds first fall below a share of the full speed, or None."""
        below = np.flatnonzero(speeds < share * self.full_speed_m_s - 1e-9)
        return float(self.times_s[below[0]]) if len(below) else None

    def lead_s(self, share: float) -> float | None:
        """Return how much earlier ~/poses falls below a share of the full speed, or None."""
        measured = self.first_below(self.measured_m_s, share)
        predicted = self.first_below(self.predicted_m_s, share)
        return None if measured is None or predicted is None else measured - predicted

    def needless_share(self, ahead_s: float = 1.0) -> float:
        """
        Return the share of the time in which ~/poses slowed the robot for nothing.

        This means: more than 1 % of the full speed below the lowest speed that the observed joints
        permitted from then until ``ahead_s`` later.
        """
        needless = 0
        for index, time_s in enumerate(self.times_s):
            later = (self.times_s >= time_s) & (self.times_s <= time_s + ahead_s)
            spared = self.measured_m_s[later].min() - self.predicted_m_s[index]
            needless += spared > 0.01 * self.full_speed_m_s
        return needless / max(len(self.times_s), 1)


def in_the_way(run: BagRun, share: float = 0.6) -> np.ndarray:
    """
    Place a robot where the nearest hand will be at some time, so that there is an approach.

    :param share: the time, as a share of the run.
    :returns: position of the first person's right wrist at that time, metres, (3,).
    """
    return np.asarray(run.observed[int(share * (len(run.observed) - 1))][0, 16])


def compare(
    run: BagRun, robot: np.ndarray, settings: SeparationSettings | None = None
) -> Comparison:
    """
    Run both monitors over the node's answers.

    :param run: from :func:`tools.measure.bag_run.play`.
    :param robot: position of the robot, metres, (3,).
    """
    settings = settings or SeparationSettings()
    observed = dict(zip(run.stamps_ns, run.observed))
    stamps = [stamp for stamp in run.asked_ns if stamp in run.poses]
    measured = [separation_m(observed[stamp].reshape(-1, 3), robot) for stamp in stamps]
    predicted = [separation_m(run.poses[stamp], robot) for stamp in stamps]
    return Comparison(
        (np.array(stamps) - stamps[0]) * 1e-9,
        np.array([permitted_speed_m_s(each, settings) for each in measured]),
        np.array([permitted_speed_m_s(each, settings) for each in predicted]),
        settings.full_speed_m_s,
        min(measured),
    )


def report(found: Comparison) -> str:
    """Return in words how much earlier the robot slows."""
    lines = [
        f'the person comes as near as {found.nearest_m:.2f} m; {len(found.times_s)} frames',
        'permitted speed falls below | measured alone | with ~/poses | earlier by',
    ]
    for share, name in ((1.0, 'full speed'), (0.5, 'half of it'), (0.01, '1 %, a stop')):
        texts = [
            'never' if time_s is None else f'{time_s:.2f} s'
            for time_s in (
                found.first_below(found.measured_m_s, share),
                found.first_below(found.predicted_m_s, share),
                found.lead_s(share),
            )
        ]
        lines.append(f'{name:27} | {texts[0]:14} | {texts[1]:12} | {texts[2]}')
    lines.append(
        f'mean permitted speed: {found.measured_m_s.mean():.3f} m/s measured alone, '
        f'{found.predicted_m_s.mean():.3f} m/s with ~/poses; slowed for nothing in '
        f'{100 * found.needless_share():.0f} % of the time'
    )
    return '\n'.join(lines)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.demo.ssm_demo``."""

    clip: str = 'walk'
    """Motion that is played, as for scripts/demo."""
    seconds: float = 15.0
    """Duration of the motion, s."""
    rate: float = 30.0
    """Frame rate, Hz."""
    weights: str = 'swiftdiff'
    """Name of a shipped model, or a weights file."""
    robot: tuple[float, float, float] | None = None
    """Position of the robot, m; the default is that of the right hand after 60 % of the clip."""


def main(arguments: list[str] | None = None) -> int:
    """Record, play, monitor and print."""
    options = read_options(Options, 'tools.demo.ssm_demo', __doc__, '', arguments)
    try:
        recording = demo_recording(options.clip, options.seconds, options.rate)
        print(f'ssm_demo: {recording.source}', flush=True)
        with tempfile.TemporaryDirectory() as folder:
            record(recording, Path(folder) / 'bag', speed=2.0)
            run = play(Path(folder) / 'bag', weights=options.weights)
    except (BagRunError, DemoError, MotionPredictorError) as error:
        print(f'ssm_demo: {error}', file=sys.stderr)
        return 1
    robot = in_the_way(run) if options.robot is None else np.array(options.robot)
    print(f'a robot at {robot.round(2).tolist()} m; {report(compare(run, robot))}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
