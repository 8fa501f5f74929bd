# SPDX-License-Identifier: Apache-2.0
"""Checks for the command lines of the studies: recordings, files and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from motion_predictor.errors import ConfigError
from training.data.windows import recordings_folder

Budget = TypeVar('Budget')


def within(budget: Budget, options: object) -> Budget:
    """Return a budget, a dataclass, with the fields that a command line sets."""
    names = [entry.name for entry in fields(budget)]  # type: ignore[arg-type]
    given = {name: getattr(options, name, None) for name in names}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(budget, **changes)  # type: ignore[type-var]


def require_positive(options: object, names: Sequence[str]) -> None:
    """
    Check whole numbers of a command line; numbers that were not given are None.

    :raises ConfigError: if one is below 1.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: must be at least 1')


def found_recordings(given: Sequence[Path]) -> tuple[Path, ...]:
    """
    Return the recordings to train on.

    :param given: recordings on the command line; none means train.npz of every set.
    :raises ConfigError: if there are none, or one does not exist.
    """
    if not given:
        folder = recordings_folder()
        given = sorted(folder.glob('*/train.npz')) if folder else []
    if not given:
        raise ConfigError('--data: no recordings found; name train.npz files')
    require_files('data', given)
    return tuple(given)


def require_files(name: str, paths: Sequence[Path]) -> None:
    """
    Check that files or stores exist.

    :param name: name of the option.
    :raises ConfigError: if one does not.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ConfigError(f'--{name}: no such file: {", ".join(missing)}')


def beside(data: Sequence[Path], *splits: str) -> tuple[Path, ...]:
    """Return the files of other splits beside recordings."""
    return tuple(path.with_name(f'{split}.npz') for split in splits for path in data)
