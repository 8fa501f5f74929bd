# SPDX-License-Identifier: Apache-2.0
"""Distil the teacher into one step, and no further: python -m training train one-step."""

from __future__ import annotations

from collections.abc import Sequence

from training.stages.distill import train_students

EXAMPLE = """
example, after training train teacher with the same preset and run folder:
  python -m training train one-step --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
training train swiftdiff with the same folder goes on from there.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb; it continues where it stopped."""
    train_students('training train one-step', __doc__, EXAMPLE, arguments, ('one_step',))
