# SPDX-License-Identifier: Apache-2.0
"""Weights that were trained without a set of recordings, for the evaluation on that set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motion_predictor.errors import ConfigError


def made_without(given: Sequence[str]) -> dict[str, Path]:
    """
    Return the weights file for each named set.

    :param given: words ``SET=FILE``: a weights file that was trained without that set.
    :returns: the files by the name of the set.
    :raises ConfigError: if a word has another form.
    """
    found: dict[str, Path] = {}
    for word in given:
        name, separator, path = word.partition('=')
        if not separator or not name or not path:
            raise ConfigError(
                f'--held-out {word}: expected SET=FILE, as cmu17=without_cmu17.safetensors'
            )
        found[name] = Path(path)
    return found
