# SPDX-License-Identifier: Apache-2.0
"""The least of many numbers are found in two steps."""

import torch

from motion_predictor.predict.place.memory.nearest import least


def test_the_least_are_found_in_two_steps_as_in_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (64, 1000, 2100, 20_011):
        values = torch.randn((3, count), generator=generator)
        values[:, ::3] = torch.inf
        found, at = least(values, min(64, count // 2))
        real = torch.topk(values, min(64, count // 2), dim=1, largest=False, sorted=True)
        assert (found == real.values).all()
        assert (values.gather(1, at) == real.values).all()
