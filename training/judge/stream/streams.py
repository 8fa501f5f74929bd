# SPDX-License-Identifier: Apache-2.0
"""Recordings played as a tracker would have sent them: one clip after another, causally.

An evaluation of what a node learns while it runs must not show it the future. One
:class:`motion_predictor.predict.live.LivePredictor` observes the clips of a place pose by pose,
and is asked for predictions on the way. The truth is the clean recording, whatever the tracker
adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from motion_predictor.body.resampling import resample
from motion_predictor.errors import ConfigError
from motion_predictor.predict.live import LivePrediction, LivePredictor
from motion_predictor.sources.observation import Observation
from motion_predictor.track.window import ObservedWindow
from training.data.clips import Clip
from training.judge.stream.kinds import kind_of

EVERY_S = 0.48
"""Time in seconds between predictions: 12 frames at 25 Hz."""
GAP_S = 3.0
"""Time in seconds between two clips when nobody is present, so that the last person
has departed."""
HORIZONS_S = (0.26, 0.5, 1.0, 2.0)
"""Horizons in seconds: frames 13, 25, 50 and 100 at 50 Hz."""
ORDERS = ('files', 'random')
FRAME_ID = 'world'
_NS = 1e-9
_BEGIN_NS = 1_000_000_000_000
_EPSILON_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class SimulatedTracker:
    """The effects of a tracker on the poses that it sends: its rate, its noise and its gaps."""

    rate_hz: float = 25.0
    """Poses per second."""
    noise_m: float = 0.0
    """Standard deviation in metres of white noise on every coordinate of every joint."""
    wander_m: float = 0.0
    """Standard deviation in metres of slow noise on every coordinate: AR(1) with the time constant
    below."""
    wander_s: float = 1.0
    """Time in seconds after which the correlation of the slow noise has fallen to 1 / e."""
    missing: float = 0.0
    """Share of the time in which a joint is not seen, each joint independently."""
    missing_s: float = 0.1
    """Mean duration of such a gap in seconds."""

    def __post_init__(self) -> None:
        bounds = {
            'rate_hz': (4.0, 1000.0),
            'noise_m': (0.0, 1.0),
            'wander_m': (0.0, 1.0),
            'wander_s': (0.01, 1000.0),
            'missing': (0.0, 0.9),
            'missing_s': (0.001, 10.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # this also refuses NaN
                raise ConfigError(f'tracker {name}={value}: must lie in {low}..{high}')

    def see(
        self, positions: NDArray[np.float32], rate_hz: float, generator: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """
        Return what the tracker sends of a recording.

        :param positions: the clean recording, metres, ``(T, J, 3)``.
        :param rate_hz: rate of the recording.
        :param generator: source of the noise and the gaps.
        :returns: positions in metres ``(T', J, 3)``, pose i at the instant ``i / self.rate_hz``,
            and which joints were seen, ``(T', J)``.
        """
        # A tracker samples and does not smooth. A slow tracker is a fast one of which every k-th
        # pose is kept; otherwise its poses would depend on later ones.
        every = max(1, math.ceil(rate_hz / self.rate_hz - 1e-9))
        poses = resample(positions, rate_hz, every * self.rate_hz)[::every].astype(np.float64)
        frames, joints = poses.shape[:2]
        if self.noise_m > 0.0:
            poses += self.noise_m * generator.standard_normal(poses.shape)
        if self.wander_m > 0.0:
            poses += self.wander_m * self._wander(poses.shape, generator)
        seen = np.ones((frames, joints), dtype=bool)
        if self.missing > 0.0:
            seen = self._seen(frames, joints, generator)
        return poses, seen

    def _wander(
        self, shape: tuple[int, ...], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        kept = math.exp(-1.0 / (self.rate_hz * self.wander_s))
        wander = generator.standard_normal(shape)
        wander[1:] *= math.sqrt(1.0 - kept * kept)
        for frame in range(1, len(wander)):
            wander[frame] += kept * wander[frame - 1]
        return wander

    def _seen(self, frames: int, joints: int, generator: np.random.Generator) -> NDArray[np.bool_]:
        # Two states per joint, seen and unseen, each left with its own probability per frame.
        back = min(1.0, 1.0 / (self.missing_s * self.rate_hz))
        away = min(1.0, back * self.missing / (1.0 - self.missing))
        chance = generator.random((frames, joints))
        seen = np.empty((frames, joints), dtype=bool)
        seen[0] = chance[0] >= self.missing
        for frame in range(1, frames):
            before = seen[frame - 1]
            seen[frame] = np.where(before, chance[frame] >= away, chance[frame] < back)
        return seen


@dataclass(frozen=True)
class Take:
    """
    One person without a gap, as played: a clip, or pieces of several clips in turn.

    ``positions`` are clean world positions in metres, ``(T, J, 3)`` at ``rate_hz``.
    """

    clip: int
    """Number of the take, by which intervals draw."""
    subject: str
    positions: NDArray[np.float32]
    rate_hz: float
    begins_s: tuple[float, ...]
    """Begin of each piece in seconds, increasing from 0."""
    actions: tuple[str, ...]
    """Name of the action in each piece, as the recording says."""
    seams_s: tuple[tuple[float, float], ...] = ()
    """Begin and end in seconds of each transition between pieces: invented motion."""

    @property
    def duration_s(self) -> float:
        """Return the seconds from the first pose to the last."""
        return (len(self.positions) - 1) / self.rate_hz

    def action_at(self, time_s: float) -> str:
        """Return the action at an instant."""
        return self.actions[int(np.searchsorted(self.begins_s, time_s + _EPSILON_S)) - 1]

    def touches_seam(self, begin_s: float, end_s: float) -> bool:
        """Return whether some of the motion between two instants was invented."""
        return any(begin < end_s and end > begin_s for begin, end in self.seams_s)


@dataclass(frozen=True)
class Moment:
    """One prediction on the way, and what then really happened."""

    clip: int
    """Number of the take."""
    subject: str
    action: str
    kind: str
    """Kind of the true motion; see :mod:`training.judge.stream.kinds`."""
    time_s: float
    """Time in the take, seconds."""
    minutes: float
    """Minutes of people watched in this place before, gaps not counted."""
    window: ObservedWindow
    """Input of the model."""
    prediction: LivePrediction
    """Prediction of this one person."""
    truth: NDArray[np.float32]
    """The clean future, metres, ``(T_fut, J, 3)``; frame i corresponds to frame i of the
    prediction."""
    on_seam: bool
    """Whether the observed window or the future holds invented motion."""


def takes_of(clips: Sequence[Clip]) -> tuple[Take, ...]:
    """Return each clip as a take, numbered in their order."""
    return tuple(
        Take(number, clip.subject, clip.positions, clip.rate_hz, (0.0,), (clip.action,))
        for number, clip in enumerate(clips)
    )


class Stream:
    """
    The takes of one place, played into one node's memory.

    The person of every take has the subject's name and begins a new track, because the last person
    departed in the gap. Noise and gaps of a take depend only on the seed and the take: in another
    order, the same poses of it are seen.
    """

    def __init__(
        self,
        online: LivePredictor,
        takes: Sequence[Take],
        tracker: SimulatedTracker | None = None,
        *,
        order: str = ORDERS[0],
        seed: int = 0,
        gap_s: float = GAP_S,
        every_s: float = EVERY_S,
        keep_every: int = 1,
        seen: Callable[[int], NDArray[np.bool_]] | None = None,
    ) -> None:
        """
        Prepare to play.

        :param online: the predictor, of this place alone.
        :param takes: the takes, all with the same joints.
        :param tracker: the tracker; the default gives exact poses at 25 Hz.
        :param order: 'files' as given, or 'random': a place's tasks mixed.
        :param seed: seed of the order, the noise and the gaps.
        :param gap_s: time in seconds between takes, long enough that people depart.
        :param every_s: time in seconds between predictions.
        :param keep_every: n: of every n predictions with known truth, only the first is returned;
            a node that learns no place is not asked for the others.
        :param seen: returns which joints are seen at all in the take of a number, bool ``(J,)``;
            by default all.
        :raises ConfigError: if a setting cannot work.
        """
        if order not in ORDERS:
            raise ConfigError(f'order={order!r}: must be one of {", ".join(ORDERS)}')
        departed_s = online.limits.stale_timeout_s
        if not gap_s > departed_s:
            raise ConfigError(
                f'gap_s={gap_s}: must be longer than {departed_s:g} s, after which people depart'
            )
        if not every_s > 0.0:
            raise ConfigError(f'every_s={every_s}: must be positive')
        if keep_every < 1:
            raise ConfigError(f'keep_every={keep_every}: must be at least 1')
        self.online = online
        self.takes = tuple(takes)
        self.tracker = tracker or SimulatedTracker()
        self.seed = seed
        self.gap_s = gap_s
        self.every_s = every_s
        self.keep_every = keep_every
        self._seen_of = seen
        self.not_predicted: Counter[str] = Counter()
        """Moments without a prediction, by the reason that the node gave."""
        self.watched_s = 0.0
        """Of people so far, gaps not counted."""
        self._known = 0  # number of predictions with known truth
        # nothing is learnt from predictions that nobody uses, so none is made
        self._spares = online.place is None and keep_every > 1
        self._played = np.arange(len(self.takes))
        if order == 'random':
            self._played = np.random.default_rng((seed, 1)).permutation(len(self.takes))
        self._now_ns = _BEGIN_NS

    def __iter__(self) -> Iterator[Moment]:
        """Play everything, once."""
        for number in self._played:
            yield from self._play(self.takes[number])
            self._leave()

    def _play(self, take: Take) -> Iterator[Moment]:
        window = self.online.predictor.window
        generator = np.random.default_rng((self.seed, 2, take.clip))
        poses, seen = self.tracker.see(take.positions, take.rate_hz, generator)
        if self._seen_of is not None:
            seen = seen & self._seen_of(take.clip)
        truth = _Truth(take, window.rate_hz)
        begin_ns, before_s = self._now_ns, self.watched_s
        due_s = self.every_s
        for frame in range(len(poses)):
            time_s = frame / self.tracker.rate_hz
            stamp_ns = begin_ns + round(time_s / _NS)
            self.online.observe(
                Observation(stamp_ns, FRAME_ID, take.subject, poses[frame], None, seen[frame]),
                stamp_ns,
            )
            self._now_ns = stamp_ns
            self.watched_s = before_s + time_s
            last = frame == len(poses) - 1  # motion must be seen to be learnt
            if last or time_s + 1.0 / self.tracker.rate_hz > due_s + _EPSILON_S:
                moment = self._ask(take, truth, time_s)
                if moment is not None:
                    yield moment
                while due_s <= time_s + 1.0 / self.tracker.rate_hz - _EPSILON_S:
                    due_s += self.every_s

    def _ask(self, take: Take, truth: _Truth, time_s: float) -> Moment | None:
        window = self.online.predictor.window
        snapshot = self.online.snapshot(self._now_ns)
        if snapshot is None:
            return None
        kept = time_s + window.horizon_s <= take.duration_s + _EPSILON_S  # else truth is not known
        if kept:
            kept = self._known % self.keep_every == 0
            self._known += 1
        if not kept and self._spares:
            return None
        prediction = self.online.run(snapshot)
        if not kept:
            return None  # requested because the node learns from it
        if take.subject not in prediction.persons:
            reason = prediction.unpredicted.get(take.subject)
            self.not_predicted[reason.value if reason else 'not_there'] += 1
            return None
        if snapshot.windows[0].stamp_ns != self._now_ns:  # the newest pose was refused
            self.not_predicted['newest_pose_refused'] += 1
            return None
        around = truth.around(time_s, window.observed_frames, window.future_frames)
        action = take.action_at(time_s)
        return Moment(
            clip=take.clip,
            subject=take.subject,
            action=action,
            kind=kind_of(around, window.observed_frames, window.rate_hz, action),
            time_s=time_s,
            minutes=self.watched_s / 60.0,
            window=snapshot.windows[0],
            prediction=prediction,
            truth=around[window.observed_frames :],
            on_seam=take.touches_seam(time_s - window.observed_s, time_s + window.horizon_s),
        )

    def _leave(self) -> None:
        # The tracker continues to send, and shows nobody.
        end_ns = self._now_ns + round(self.gap_s / _NS)
        next_ns = self._now_ns + round(1.0 / self.tracker.rate_hz / _NS)
        for stamp_ns in range(next_ns, end_ns, round(1.0 / _NS)):
            self._nobody(stamp_ns)
        self._nobody(end_ns)
        self._now_ns = end_ns

    def _nobody(self, stamp_ns: int) -> None:
        self.online.observe_nobody(stamp_ns, FRAME_ID, stamp_ns)
        snapshot = self.online.snapshot(stamp_ns)
        if snapshot is not None and not self._spares:
            self.online.run(snapshot)


class _Truth:
    """The clean motion of a take at any instant."""

    def __init__(self, take: Take, rate_hz: float) -> None:
        even = resample(take.positions, take.rate_hz, rate_hz)
        self._even = even
        self._rate_hz = rate_hz
        self._curve: CubicSpline | None = None

    def around(self, time_s: float, observed: int, future: int) -> NDArray[np.float32]:
        """
        Return the motion before and after an instant.

        :param time_s: time in the take, seconds.
        :param observed: number of frames that end at the instant; frames before the take repeat
            its first.
        :param future: number of frames after it.
        :returns: metres, ``(observed + future, J, 3)``.
        """
        at = time_s * self._rate_hz + np.arange(1 - observed, future + 1)
        at = np.clip(at, 0.0, len(self._even) - 1.0)
        nearest = np.rint(at).astype(np.int64)
        if np.abs(at - nearest).max() < 1e-4:
            return self._even[nearest]
        if self._curve is None:
            self._curve = CubicSpline(np.arange(len(self._even)), self._even, axis=0)
        return self._curve(at).astype(np.float32)
