# SPDX-License-Identifier: Apache-2.0
"""Check that the observed bodies can be people: in metres, upright, and with left on the left."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from motion_predictor.body.layout import joints_there, Layout
from motion_predictor.body.layout_file import layout
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17
from motion_predictor.sources.observation import Observation

LOOKED_AT_S = 3.0
ENOUGH_S = 2.0
"""Time in seconds for which a person must be seen before being judged; the last 3 s are judged."""
EVERY_S = 0.1
MESSAGES, MESSAGE_EVERY_S = 4, 0.5
LEAST_HEIGHT_M, MOST_HEIGHT_M = 0.8, 2.2
FLAT_M = 0.003
"""Joints that always lie this near to one plane, in metres, are not a body but those
of an image."""
UPRIGHT = 0.9
"""If the mean directions of a person's spine and legs along another axis than z both exceed this
cosine, the person lies along that axis."""
MIRRORED = -0.5
"""If the bend of the knees towards where the hips point, as a share of their whole bend, is below
this, left and right are exchanged. In recorded motion the share is above 0.4, and -0.3 for people
who stand with straight knees."""
BENT_M = 0.03
"""Knees that are out of line by less than this on average, in metres, show nothing."""
WRONG_BONES = 0.35
"""Mean error of the bones' lengths, in logarithms, from which on they are not those of a person,
or belong to another layout."""
FITTING_BONES = 0.2
_BONES_M = np.array([
    0.088, 0.399, 0.434, 0.088, 0.399, 0.432, 0.189, 0.286, 0.212, 0.189, 0.286, 0.212,
])  # fmt: skip
_LIMBS = np.array([1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16])
_PARENTS = np.array([0, 1, 2, 0, 4, 5, 8, 11, 12, 8, 14, 15])
_HIP, _THORAX, _HEAD = 0, 8, 10
_NS = 1e-9
_AXES = {
    (0, 1): ('x', '[0.0, -1.5708, 0.0]'), (0, -1): ('-x', '[0.0, 1.5708, 0.0]'),
    (1, 1): ('y', '[1.5708, 0.0, 0.0]'), (1, -1): ('-y', '[-1.5708, 0.0, 0.0]'),
    (2, -1): ('-z', '[3.1416, 0.0, 0.0]'),
}  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """The measurements of one pose."""

    at_s: float
    spine: np.ndarray
    legs: np.ndarray  # from the ankles up to the hip
    height_m: float
    bent_ahead_m: float  # distance of the knees out of line, towards where the hips point
    bent_m: float
    thin_m: float


def height_m(pose: np.ndarray) -> float:
    """
    Return the height of a person in metres, computed from the bones in any pose.

    :param pose: metres, (17, 3).
    """
    bones = _lengths(pose[_LIMBS] - pose[_PARENTS])
    legs = 0.5 * float(bones[[1, 2, 4, 5]].sum())
    torso, head = pose[_THORAX] - pose[_HIP], pose[_HEAD] - pose[_THORAX]
    return legs + float(np.linalg.norm(torso) + np.linalg.norm(head)) + 0.08


def wrong_bones(pose: np.ndarray, known: np.ndarray) -> float:
    """
    Return how far the proportions of a pose are from those of a person.

    :param pose: metres, (17, 3).
    :param known: joints that may be used, bool (17,).
    :returns: mean error of the bones of the limbs, in logarithms, for a body of any size; infinite
        if too few joints are known.
    """
    both = known[_LIMBS] & known[_PARENTS]
    if both.sum() < 6:
        return math.inf
    found = np.maximum(_lengths(pose[_LIMBS] - pose[_PARENTS])[both], 1e-4)
    ratios = np.log(found / _BONES_M[both])
    return float(np.abs(ratios - np.median(ratios)).mean())


def fitting_layout(points: np.ndarray, seen: np.ndarray, current: Layout) -> str:
    """
    Return the layout that fits the bones of a message's joints better than the current one.

    :param points: all joints of a message in its order, metres, (N, 3).
    :param seen: which of them are really shown, bool (N,).
    :param current: the layout with which they are read.
    :returns: name of the layout; '' if no other one fits well.
    """
    best, name = FITTING_BONES, ''
    for candidate in LAYOUTS:
        other = layout(candidate)
        if candidate == current.name or len(points) % other.num_joints:
            continue
        shape = (-1, other.num_joints)
        poses, known = other.to_model(points.reshape(*shape, 3), seen.reshape(shape))
        wrong = float(np.mean([wrong_bones(*each) for each in zip(poses, known)]))
        if wrong < best:
            best, name = wrong, candidate
    return name


class BodyChecks:
    """Checks everybody who is predicted, ten times a second. One thread uses it."""

    def __init__(self, layout_: Layout) -> None:
        """
        Begin without people.

        :param layout_: layout of the input.
        """
        self._layout = layout_
        self._looks: dict[str, deque[_Look]] = {}
        self._wrong: deque[tuple[float, float]] = deque()  # time, and mean error of the bones
        self._fits = ''
        self._is_person = layout_.target.joints == H36M17.joints

    @property
    def heights_m(self) -> dict[str, float]:
        """Return the height of everybody in metres, by name."""
        looks = dict(self._looks)  # another thread may add to it
        return {
            name: float(np.median([look.height_m for look in list(each)]))
            for name, each in looks.items()
            if each
        }

    @property
    def has_doubts(self) -> bool:
        """Return whether the bones in the messages, read with this layout, are not people's."""
        errors = [error for _, error in list(self._wrong)]
        return len(errors) >= MESSAGES and float(np.median(errors)) > WRONG_BONES

    def note(
        self,
        persons: Sequence[str],
        stamps_ns: np.ndarray,
        poses: np.ndarray,
        filled: np.ndarray,
    ) -> None:
        """
        Check the people who are predicted.

        :param persons: P names.
        :param stamps_ns: stamps of the poses, nanoseconds, (P,).
        :param poses: in a level frame, metres, (P, 17, 3).
        :param filled: joints that were not seen, bool (P, 17).
        """
        if not self._is_person:
            return
        kept = {name: self._looks.get(name, deque()) for name in persons}
        for name, stamp_ns, pose, unseen in zip(persons, stamps_ns, poses, filled, strict=True):
            at_s, looks = float(stamp_ns * _NS), kept[name]
            if looks and 0.0 <= at_s - looks[-1].at_s < EVERY_S:
                continue
            if looks and not 0.0 <= at_s - looks[-1].at_s < ENOUGH_S:
                looks.clear()
            if not unseen.any():
                looks.append(_look(at_s, pose))
            while looks and at_s - looks[0].at_s > LOOKED_AT_S:
                looks.popleft()
        self._looks = kept

    def look_at(self, at_s: float, people: Sequence[Observation], scale: float = 1.0) -> None:
        """
        Check the bones of a message from time to time, whether its people are predicted or not.

        :param at_s: time when it came, seconds.
        :param people: the people as they were decoded, joints in the order of the layout.
        :param scale: factor from their unit to metres.
        """
        if not self._is_person or not people:
            return
        if self._wrong and 0.0 <= at_s - self._wrong[-1][0] < MESSAGE_EVERY_S:
            return
        points = np.stack([person.xyz for person in people]) * scale
        seen = np.stack([
            joints_there(person.xyz, self._layout.target) if person.seen is None else person.seen
            for person in people
        ])  # fmt: skip
        errors = [wrong_bones(*each) for each in zip(*self._layout.to_model(points, seen))]
        known = [error for error in errors if math.isfinite(error)]
        if known:
            self._wrong.append((at_s, float(np.mean(known))))
        while self._wrong and not 0.0 <= at_s - self._wrong[0][0] <= LOOKED_AT_S:
            self._wrong.popleft()
        self._fits = ''
        if self.has_doubts:
            self._fits = fitting_layout(points.reshape(-1, 3), seen.ravel(), self._layout)

    def complaints(self) -> list[str]:
        """Return one sentence for each thing that cannot be right."""
        looks = {
            name: list(each)
            for name, each in dict(self._looks).items()
            if len(each) > 1 and each[-1].at_s - each[0].at_s >= ENOUGH_S
        }
        found = []
        if self.has_doubts:
            better = f'; {self._fits} fits better (input.skeleton)' if self._fits else ''
            found.append(f'bones do not fit {self._layout.name}{better}')
        sizes = {name: float(np.median([look.height_m for look in looks[name]])) for name in looks}
        odd = [n for n, size in sizes.items() if not LEAST_HEIGHT_M <= size <= MOST_HEIGHT_M]
        if odd:
            told = ', '.join(f'{name} {sizes[name]:.2f} m' for name in odd[:4])
            found.append(f'body height {told}: not in metres? set input.units_scale')
        flat = [n for n, each in looks.items() if max(look.thin_m for look in each) < FLAT_M]
        if flat:
            found.append(f'{_names(flat)} flat as an image: are these joints in metres?')
        found += self._lying(looks)
        sided = [name for name, each in looks.items() if _is_mirrored(each)]
        if sided:
            found.append(
                f'{_names(sided)} mirrored: knees bend backwards, so left and right are '
                'exchanged, or the image is flipped'
            )
        return found

    @staticmethod
    def _lying(looks: dict[str, list[_Look]]) -> list[str]:
        along: dict[tuple[int, int], list[str]] = {}
        for name, each in looks.items():
            spine = np.mean([look.spine for look in each], axis=0)
            legs = np.mean([look.legs for look in each], axis=0)
            axis = int(np.abs(spine).argmax())
            side = 1 if spine[axis] > 0.0 else -1
            if (axis, side) in _AXES and min(side * spine[axis], side * legs[axis]) > UPRIGHT:
                along.setdefault((axis, side), []).append(name)
        return [
            f'{_names(names)} along {_AXES[key][0]}: is z up in the frame of the input? Set '
            f'input.rotation (to {_AXES[key][1]} if it is not set) or target_frame'
            for key, names in along.items()
        ]


def _look(at_s: float, pose: np.ndarray) -> _Look:
    spine = _unit(pose[_THORAX] - pose[_HIP])
    legs = _unit(pose[_HIP] - 0.5 * (pose[3] + pose[6]))
    ahead = _unit(_cross(pose[4] - pose[1], spine))
    bent_ahead = bent = 0.0
    for hip, knee, ankle in ((1, 2, 3), (4, 5, 6)):
        line = _unit(pose[ankle] - pose[hip])
        out = pose[knee] - pose[hip]
        out = out - (out @ line) * line
        bent_ahead += min(max(float(out @ ahead), -0.15), 0.15)
        bent += min(math.sqrt(float(out @ out)), 0.15)
    about = pose - pose.mean(axis=0)
    thin = math.sqrt(max(0.0, float(np.linalg.eigvalsh(about.T @ about)[0])) / len(pose))
    return _Look(
        at_s, spine, legs, height_m(pose), 0.5 * bent_ahead, 0.5 * bent, float(thin),
    )  # fmt: skip


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    (ax, ay, az), (bx, by, bz) = first.tolist(), second.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _is_mirrored(looks: Sequence[_Look]) -> bool:
    bent = sum(look.bent_m for look in looks)
    if bent < BENT_M * len(looks):
        return False
    return sum(look.bent_ahead_m for look in looks) < MIRRORED * bent


def _names(names: Sequence[str]) -> str:
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return f'{", ".join(name[:40] for name in names[:4])}{more}'


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(axis=-1))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(math.sqrt(float(vector @ vector)), 1e-9)
