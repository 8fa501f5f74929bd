# SPDX-License-Identifier: Apache-2.0
"""Resumable training state and the run folder; the node never loads these files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
import json
from pathlib import Path
import subprocess
from typing import Any

import torch

from motion_predictor.common.whole_files import write_whole, written_whole
from motion_predictor.errors import ConfigError
from training.common import parallel
from training.common.locks import hold_folder


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """
    Write training state, whole or not at all.

    :param path: the file.
    :param state: tensors and plain values.
    :raises StorageError: if it cannot be written; the old file stays.
    """
    with written_whole(path) as partial, partial.open('wb') as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path, device: torch.device | str = 'cpu') -> dict[str, Any] | None:
    """
    Read training state; no code in the file is run.

    :param path: the file.
    :param device: device of the tensors.
    :returns: the state; None if there is no file.
    :raises ConfigError: if the file cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ConfigError(f'{path}: cannot be read ({error}); delete it to start again') from error


@dataclass(frozen=True)
class Kept:
    """The file in which a training keeps its state, so that it can be stopped and continued."""

    path: Path
    key: str = ''
    """Key of everything that the state depends on; a file with another key is ignored. '': any
    file is accepted."""
    mended: bool = False
    """Whether a damaged file is ignored, too."""

    def load(self, device: torch.device | str = 'cpu') -> dict[str, Any] | None:
        """
        Return the state of an earlier call; None if there is none of this training.

        :raises ConfigError: if the file cannot be read, unless damaged files are ignored.
        """
        try:
            found = load_checkpoint(self.path, device)
        except ConfigError:
            if not self.mended:
                raise
            return None
        if found is None or not self.key:
            return found
        return found if found.get('key', self.key) == self.key else None

    def save(self, state: Mapping[str, Any]) -> None:
        """
        Write a state.

        :raises StorageError: if it cannot be written; the old file stays.
        """
        save_checkpoint(self.path, {'key': self.key, **state} if self.key else state)

    def forget(self) -> None:
        """Delete the file: the work is done."""
        self.path.unlink(missing_ok=True)


def open_run(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    may_grow: Collection[str] = (),
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """
    Make a run folder, or check that it belongs to the same settings; hold it for this process.

    :param folder: folder of the run.
    :param settings: JSON-able, written to ``config.json`` with the commit.
    :param may_grow: dotted names of numbers of steps that may be larger than those of the run in
        the folder: it continues from its last checkpoint.
    :param read: converts settings of a former release into this one's.
    :raises ConfigError: if the folder holds a run with other settings; the error names each with
        both values.
    :raises StorageError: if another process works in it, or if it cannot be written.
    """
    if parallel.current().is_main:
        hold_folder(folder)
    path = folder / 'config.json'
    wanted = json.loads(json.dumps(settings))
    commit = git_commit() if not path.is_file() else begun_at(folder)
    if path.is_file():
        differs = differences(_read_as_now(path, read), wanted)
        other = {
            name: values
            for name, values in differs.items()
            if name not in may_grow or not _grew(*values)
        }
        if other:
            told = '; '.join(f'{name}={old!r}, now {new!r}' for name, (old, new) in other.items())
            raise ConfigError(
                f'{folder}: holds a run with other settings: {told}; '
                'choose another --run folder or delete this one'
            )
        if not differs:
            return
    write_whole(path, json.dumps({'settings': wanted, 'commit': commit}, indent=2) + '\n')


def _read_as_now(
    path: Path, read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Mapping[str, Any]:
    found = _config(path)['settings']
    try:
        return read(found)
    except ConfigError as error:
        raise ConfigError(
            f'{path.parent}: holds a run with other settings: {error}; '
            'choose another --run folder or delete this one'
        ) from None


def _grew(old: Any, new: Any) -> bool:
    return isinstance(old, int) and isinstance(new, int) and 0 < old < new


NOTHING = 'nothing'
"""Stands for a setting that one side does not have."""


def differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], above: str = ''
) -> dict[str, tuple[Any, Any]]:
    """
    Return the settings that differ, by their dotted names.

    :param found: nested settings.
    :param wanted: other nested settings.
    :param above: prefix of the names.
    :returns: both values by name.
    """
    result: dict[str, tuple[Any, Any]] = {}
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        old, new = found.get(name, NOTHING), wanted.get(name, NOTHING)
        dotted = f'{above}{name}'
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            result |= differences(old, new, f'{dotted}.')
        elif old != new:
            result[dotted] = old, new
    return result


def begun_at(folder: Path) -> str:
    """Return the commit of the source tree with which a run folder was made."""
    return str(_config(folder / 'config.json')['commit'])


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        if {'settings', 'commit'} <= found.keys() and isinstance(found['settings'], dict):
            return found
        raise ValueError('it has no settings and commit')
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f'{path}: cannot be read ({error}); choose another --run folder or delete this one'
        ) from None


def git_commit() -> str:
    """Return the source tree's commit, ``-dirty`` if it was changed; 'unknown' without git."""
    root = Path(__file__).resolve().parents[2]
    try:
        return subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
