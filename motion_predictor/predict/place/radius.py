"""
What the radius network is told, and what its radii are then multiplied by, as people here move.

The network (:mod:`motion_predictor.model.networks.radius_network`) is trained by the pinball loss
on people that the model has not seen; the scale follows what the people here then did, by person
and for the place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
import math

import numpy as np

from motion_predictor.body.body_geometry import lengths, squares
from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.radius_network import BY_JOINT, COMMON, SPEED_FLOOR
from motion_predictor.predict.place.candidates import Stance
from motion_predictor.predict.place.memory import Recall

PACE, RARE_PACE = 0.15, 0.5
"""How fast a scale follows, below RARE_LEVEL and from there on; see :class:`Following`."""
NARROWEST, WIDEST = 0.4, 6.0
RARE_LEVEL = 0.99
"""From here on a scale never narrows: a quiet hour says nothing of what is rare."""
_JOINT_FLOORS = np.array([0.003] * 3 + [SPEED_FLOOR] * 2 + [0.003], np.float32).reshape(6, 1, 1, 1)
_BODY_FLOORS = np.array([SPEED_FLOOR, 0.05, 0.0005, 0.01, 1.0], np.float32)


def tell(
    windows: np.ndarray,
    now: Stance,
    means: np.ndarray,
    weights: np.ndarray,
    spreads: np.ndarray,
    recall: Recall,
    rate_hz: float,
) -> np.ndarray:
    """
    Make what the network is told.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param now: of these people.
    :param means: of each candidate, metres, ``(P, K, C, J, 3)``.
    :param weights: of each candidate, ``(P, K, C)``.
    :param spreads: of each candidate's samples about its mean, metres, ``(P, K, C, J)``.
    :param recall: what the memory found.
    :returns: float32 ``(P, K, J, F)``.
    """
    persons, knots, _, joints = means.shape[:4]
    shares = weights[..., None, :]  # (P, K, 1, C)
    middle = (shares @ means.reshape(persons, knots, -1, 3 * joints)).reshape(
        persons, knots, 1, joints, 3
    )
    apart = squares(means - middle)  # (P, K, C, J)
    speed = lengths(now.velocity)  # (P, J)
    by_joint = np.empty((BY_JOINT, persons, knots, joints), dtype=np.float32)
    by_joint[0] = np.sqrt(shares @ (apart + spreads * spreads))[:, :, 0]
    by_joint[1] = np.sqrt(shares @ apart)[:, :, 0]
    by_joint[2] = spreads[:, :, 0]
    by_joint[3] = speed[:, None]
    by_joint[4] = (lengths(windows[:, -1] - windows[:, 0]) * (rate_hz / (windows.shape[1] - 1)))[
        :, None
    ]
    by_joint[5] = np.sqrt(apart[:, :, 2])
    by_joint = np.log(by_joint + _JOINT_FLOORS)
    known = recall.known
    body = np.empty((persons, 5), dtype=np.float32)
    body[:, 0], body[:, 1], body[:, 2] = (
        speed.sum(axis=-1) / joints,
        speed.max(axis=-1),
        now.jitter,
    )
    body[:, 3], body[:, 4] = np.where(known, recall.distance_m, 1.0), recall.alike
    body = np.log(body + _BODY_FLOORS)
    told = np.empty((persons, knots, joints, BY_JOINT + COMMON + knots + joints), np.float32)
    at = BY_JOINT + COMMON
    told[..., :BY_JOINT] = np.moveaxis(by_joint, 0, -1)
    told[..., BY_JOINT : BY_JOINT + 3] = body[:, None, None, :3]
    told[..., BY_JOINT + 3] = known[:, None, None]
    told[..., BY_JOINT + 4 : BY_JOINT + 6] = (body[:, 3:] * known[:, None])[:, None, None]
    told[..., BY_JOINT + 6 : at] = weights[:, :, None]
    told[..., at:] = _places(knots, joints)
    return told


@lru_cache(maxsize=8)
def _places(knots: int, joints: int) -> np.ndarray:
    # Which horizon and which joint, (K, J, K + J).
    found = np.zeros((knots, joints, knots + joints), dtype=np.float32)
    found[..., :knots] = np.eye(knots)[:, None]
    found[..., knots:] = np.eye(joints)
    return found


@dataclass
class _Scales:
    logs: np.ndarray
    held: np.ndarray = field(default_factory=lambda: np.zeros(2))


class Following:
    """
    What radii are multiplied by so that they hold what was asked, by person and for the place.

    Quantile tracking (Angelopoulos, Candes and Tibshirani, Conformal PID Control for Time Series
    Prediction, NeurIPS 2023, eq. 4) of the logarithm of each level's scale: a check moves the
    place's and the person's by ``pace (missed - (1 - level))`` each. A new person begins with the
    place's.
    """

    def __init__(self, levels: Sequence[float], mode: str = 'both') -> None:
        """
        Begin with radii as they are.

        :param levels: shares of real positions to be held.
        :param mode: ``both`` for wider and narrower, ``widen`` for never narrower than stated,
            ``fixed`` for as stated.
        :raises ConfigError: if the mode is unknown.
        """
        self.levels = np.array(levels, dtype=np.float64)
        self.follow(mode)
        self._place = np.zeros(len(self.levels))
        self._persons: dict[int, np.ndarray] = {}
        self._checked = np.zeros(len(self.levels))
        self._missed = np.zeros(len(self.levels))

    def follow(self, mode: str) -> None:
        """
        Follow in another way from now on; what was found out is kept.

        :param mode: as for the constructor.
        :raises ConfigError: if the mode is unknown.
        """
        if mode not in ('both', 'widen', 'fixed'):
            raise ConfigError(f'mode={mode!r}: must be both, widen or fixed')
        self.mode = mode
        self._pace = np.where(self.levels < RARE_LEVEL, PACE, RARE_PACE)
        narrows = (self.levels < RARE_LEVEL) & (mode == 'both')
        self._lowest = np.where(narrows, math.log(NARROWEST), 0.0)
        self._highest = math.log(WIDEST) if mode != 'fixed' else 0.0

    def scales(self, tracks: Sequence[int]) -> np.ndarray:
        """Return what each level's radius is multiplied by, rising enough, ``(L, P)``."""
        none = np.zeros(len(self.levels))
        logs = np.stack([self._place + self._persons.get(track, none) for track in tracks], axis=1)
        return np.exp(np.clip(logs, self._lowest[:, None], self._highest))

    @property
    def held(self) -> np.ndarray:
        """Return the share of joints that each level held of late, ``(L,)``; NaN before any."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return 1.0 - self._missed / self._checked

    @property
    def place_scales(self) -> np.ndarray:
        """Return the place's scale of each level, ``(L,)``."""
        return np.exp(np.clip(self._place, self._lowest, self._highest))

    @property
    def place_logs(self) -> np.ndarray:
        """Return the logarithm of the place's scale of each level, ``(L,)``."""
        return self._place.copy()

    def begin_with(self, place_logs: np.ndarray) -> None:
        """Go on from scales that were found before; see :attr:`place_logs`."""
        self._place = np.clip(place_logs, self._lowest, self._highest)

    def stay(self, tracks: Sequence[int]) -> None:
        """Forget everybody who is not among the tracks."""
        self._persons = {t: self._persons[t] for t in tracks if t in self._persons}

    def forget_tracks(self, tracks: Collection[int]) -> None:
        """Forget what was found out of some people; the place's scale stays."""
        for track in tracks:
            self._persons.pop(track, None)

    def note(self, track: int, missed: np.ndarray, part: float = 1.0) -> None:
        """
        Take in one check.

        :param missed: share of the joints outside of each level's scaled radius, ``(L,)``.
        :param part: of a whole prediction that was checked.
        """
        kept = 1.0 - part / 120.0
        self._checked = kept * self._checked + 1.0
        self._missed = kept * self._missed + missed
        step = self._pace * part * (missed - (1.0 - self.levels))
        low, high = self._lowest, self._highest
        self._place = np.clip(self._place + step, low, high)
        person = self._persons.get(track, np.zeros(len(self.levels))) + step
        self._persons[track] = np.clip(person, low - self._place, high - self._place)

    def forget(self) -> None:
        """Begin anew."""
        self._place = np.zeros(len(self.levels))
        self._persons.clear()
        self._checked[:] = 0.0
        self._missed[:] = 0.0
