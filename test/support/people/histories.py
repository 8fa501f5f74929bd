# SPDX-License-Identifier: Apache-2.0
"""A walking person as a smooth function of time, and histories of the poses."""

from hypothesis import settings
import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.window import ObservedWindow

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # today's stamps do not fit into a float of seconds
GRID_S = np.arange(-24, 1) / 50.0
quick = settings(deadline=None, max_examples=25)


def walker(times_s: np.ndarray, hertz: float = 0.9) -> np.ndarray:
    """
    Return a walking person as a smooth function of time with constant bone lengths.

    :param times_s: any times, shape (N,).
    :param hertz: steps of each leg per second.
    :returns: metres, z up, shape (N, 17, 3).
    """
    times_s = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    phase = 2.0 * np.pi * hertz * times_s
    zero = np.zeros_like(times_s)

    def swing(length: float, angle: np.ndarray) -> np.ndarray:
        return length * np.stack((np.sin(angle), zero, -np.cos(angle)), axis=1)

    def at(x: float, y: float, z: float) -> np.ndarray:
        return np.stack((zero + x, zero + y, zero + z), axis=1)

    joints = {'Hip': at(0, 0, 0), 'Spine': at(0, 0, 0.23), 'Thorax': at(0.02, 0, 0.48)}
    joints['Nose'] = joints['Thorax'] + at(0.05, 0, 0.16)
    joints['Head'] = joints['Thorax'] + at(0.03, 0, 0.27)
    for side, left, shift in (('L', 1.0, 0.0), ('R', -1.0, np.pi)):
        stride = 0.4 * np.sin(phase + shift)
        joints[side + 'Hip'] = at(0, left * 0.1, 0)
        joints[side + 'Knee'] = joints[side + 'Hip'] + swing(0.43, stride)
        joints[side + 'Ankle'] = joints[side + 'Knee'] + swing(
            0.43, stride - 0.3 - 0.3 * np.sin(phase + shift + 1.0)
        )
        joints[side + 'Shoulder'] = joints['Thorax'] + at(0, left * 0.18, -0.04)
        joints[side + 'Elbow'] = joints[side + 'Shoulder'] + swing(0.28, -0.5 * stride)
        joints[side + 'Wrist'] = joints[side + 'Elbow'] + swing(0.25, 0.4 - 0.7 * stride)
    pose = np.stack([joints[joint] for joint in H36M17.joints], axis=1)
    pose[..., 0] += 1.2 * times_s[:, None] + 3.0
    pose[..., 1] += 0.3 * np.sin(0.7 * times_s)[:, None] - 2.0
    pose[..., 2] += 0.9 + 0.02 * np.sin(2.0 * phase)[:, None]
    return pose


def stamps_at(rate_hz: float, seconds: float = 1.5, start_ns: int = START) -> np.ndarray:
    """Return the stamps of a source, from the end, so that every rate ends at one stamp."""
    count = int(seconds * rate_hz) + 1
    end = start_ns + 2 * SECOND
    return end - np.round(np.arange(count)[::-1] * SECOND / rate_hz).astype(np.int64)


def seconds(stamps_ns: np.ndarray) -> np.ndarray:
    """Return seconds since START, exact enough to compare."""
    return (np.asarray(stamps_ns) - START) / SECOND


def filled_history(stamps_ns: np.ndarray, **settings_: object) -> PoseHistory:
    """Return a history of the walker."""
    history = PoseHistory(**settings_)
    for stamp, pose in zip(stamps_ns, walker(seconds(stamps_ns))):
        assert history.add(int(stamp), pose).accepted
    return history


def ready(history: PoseHistory) -> ObservedWindow:
    """Return the window of a history that must have one."""
    window = history.window()
    assert isinstance(window, ObservedWindow), window
    return window


def error_m(window: ObservedWindow) -> float:
    """Return the largest distance of a joint from the walker's real position."""
    truth = walker(seconds(window.stamp_ns) + GRID_S)
    return float(np.linalg.norm(window.poses - truth, axis=-1).max())


def with_missing(
    joints: list[str], first: int, last: int, rate_hz: float = 30.0
) -> tuple[PoseHistory, np.ndarray]:
    """Return a walker whose joints are NaN from pose ``first`` to ``last`` from the end."""
    stamps = stamps_at(rate_hz)
    poses = walker(seconds(stamps))
    columns = [H36M17.index(joint) for joint in joints]
    rows = np.arange(len(stamps))[-first : len(stamps) - last]
    poses[np.ix_(rows, columns)] = np.nan
    history = PoseHistory()
    for stamp, pose in zip(stamps, poses):
        history.add(int(stamp), pose)
    return history, stamps


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """Return the lengths of all bones, (..., 16)."""
    child, parent = np.array(H36M17.bones).T
    return np.linalg.norm(poses[..., child, :] - poses[..., parent, :], axis=-1)
