# SPDX-License-Identifier: Apache-2.0
"""The person's own frame and the features of poses, each with its inverse, in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motion_predictor.body.geometry import MIN_LINE_M
from motion_predictor.body.skeleton import Skeleton


@dataclass(frozen=True)
class PersonFrame:
    """
    The person's own frame in that of the input: last observed hip, heading +x, z up.

    ``origin`` is (..., 3), metres. ``rotation`` is (..., 3, 3); its columns are the person's axes.
    """

    origin: Tensor
    rotation: Tensor

    @classmethod
    def of(cls, observed: Tensor, skeleton: Skeleton) -> PersonFrame:
        """
        Return the frame of the last observed pose.

        Left is the horizontal part of the hip line plus the shoulder line (right to left). Ahead
        is left turned by -90 degrees about z. If both lines are vertical (the person lies on one
        side), or if the skeleton has neither, the heading is the skeleton's own ``ahead`` line, or
        the line from the root to the middle of the shoulders. If these fail too, it is the +x axis
        of the input.

        :param observed: z up, metres, shape ``(..., T_obs, J, 3)``.
        :param skeleton: names the pairs of joints that these lines connect.
        """
        last = observed[..., -1, :, :]
        pairs = [pair for pair in (skeleton.hips, skeleton.shoulders) if pair is not None]
        headings = []
        if pairs:
            left = sum(last[..., to, :] - last[..., start, :] for start, to in pairs)
            assert isinstance(left, Tensor)
            headings.append(torch.stack((left[..., 1], -left[..., 0]), dim=-1))  # left x up
        if skeleton.ahead is not None:
            start, to = skeleton.ahead
            headings.append((last[..., to, :] - last[..., start, :])[..., :2])
        elif skeleton.shoulders is not None:
            right, left_shoulder = skeleton.shoulders
            middle = 0.5 * (last[..., left_shoulder, :] + last[..., right, :])
            headings.append((middle - last[..., 0, :])[..., :2])
        ahead = torch.zeros_like(last[..., 0, :2])
        ahead[..., 0] = 1.0
        for heading in reversed(headings):
            ahead = torch.where(_length(heading) > MIN_LINE_M, heading, ahead)
        cos, sin = (ahead / _length(ahead)).unbind(dim=-1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), dim=-1)
        return cls(last[..., 0, :], rotation.unflatten(-1, (3, 3)))

    def unturned(self) -> PersonFrame:
        """Return the frame at the same place with the axes of the input."""
        upright = torch.eye(3, dtype=self.rotation.dtype, device=self.rotation.device)
        return PersonFrame(self.origin, upright.expand_as(self.rotation))

    def enter(self, points: Tensor) -> Tensor:
        """
        Return points of the input's frame in the person's frame.

        :param points: ``(..., T, J, 3)``, metres; the leading axes are those of the frame.
        """
        return (points - self.origin[..., None, None, :]) @ self.rotation[..., None, :, :]

    def leave(self, points: Tensor) -> Tensor:
        """
        Return points of the person's frame in the input's frame; the inverse of :meth:`enter`.

        :param points: ``(..., T, J, 3)``, metres; the leading axes are those of the frame.
        """
        back = self.rotation.transpose(-1, -2)[..., None, :, :]
        return points @ back + self.origin[..., None, None, :]


def _length(vector: Tensor) -> Tensor:
    return vector.norm(dim=-1, keepdim=True)


def to_features(points: Tensor) -> Tensor:
    """
    Split joints into the trajectory of the root and the pose relative to it.

    :param points: ``(..., T, J, 3)``, the root first.
    :returns: ``(..., T, 3J)``: the root position, then the other joints relative to the root.
    """
    root = points[..., :1, :]
    return torch.cat((root, points[..., 1:, :] - root), dim=-2).flatten(-2)


def from_features(features: Tensor) -> Tensor:
    """
    Combine root and pose into joints; the inverse of :func:`to_features`.

    :param features: ``(..., T, 3J)``.
    :returns: joints, ``(..., T, J, 3)``.
    """
    parts = features.unflatten(-1, (-1, 3))
    root = parts[..., :1, :]
    return torch.cat((root, parts[..., 1:, :] + root), dim=-2)
