# SPDX-License-Identifier: Apache-2.0
"""The facts that make a result reproducible: command, commit, machine, checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import platform
import shlex
import subprocess
import sys
from typing import Any

import torch

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


def shown_path(path: Path | str) -> str:
    """Return a path relative to the repository's root if it lies in or beside it."""
    absolute = Path(path).resolve()
    for base in (REPOSITORY, REPOSITORY.parent):
        if absolute.is_relative_to(base) and base != Path(base.root):
            return Path(os.path.relpath(absolute, REPOSITORY)).as_posix()
    return absolute.name


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return the running command, with paths relative to the repository's root."""
    shown = [shown_path(word) if os.path.isabs(word) else word for word in arguments]
    return shlex.join(['python', '-m', *module.split(), *shown])


def commit() -> dict[str, Any]:
    """
    Return the commit of the source tree, and whether tracked files differ from it.

    :returns: ``{'commit': hash or None, 'modified': bool}``; None outside a git checkout.
    """
    if not (REPOSITORY / '.git').exists():  # git would find whatever repository is around it
        return {'commit': None, 'modified': False}
    try:
        head = _git('rev-parse', 'HEAD')
        changed = _git('status', '--porcelain', '--untracked-files=no')
    except (OSError, subprocess.CalledProcessError):
        return {'commit': None, 'modified': False}
    return {'commit': head, 'modified': bool(changed)}


def origin(kind: str, version: int, module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Begin a result with its kind and its origin: what made it, where and when.

    :param kind: the ``format`` by which the pages know it.
    :param version: version of that format.
    :param module: the verb, for example ``training evaluate``.
    :param arguments: the words after it.
    """
    return {
        'format': kind,
        'version': version,
        'command': command_line(module, arguments),
        **commit(),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'machine': machine(),
    }


def machine() -> dict[str, Any]:
    """Return the processor, the accelerator and the libraries that measured the figures."""
    return {
        'processor': _processor(),
        'cores': os.cpu_count(),
        'accelerator': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'system': f'{platform.system()} {platform.machine()}',
        'python': '.'.join(str(part) for part in sys.version_info[:3]),
        'torch': torch.__version__,
    }


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """
    Write results, whole or not at all; one line for each entry, and for each row of a list.

    :param path: the file; a missing folder is made.
    :param result: JSON-able values.
    :raises StorageError: if it cannot be written; the old file stays.
    """
    entries: list[str] = []
    for name, value in result.items():
        if isinstance(value, list) and value:
            rows = ',\n'.join('  ' + json.dumps(row) for row in value)
            text = f'[\n{rows}\n ]'
        else:
            text = json.dumps(value)
        entries.append(f' {json.dumps(name)}: {text}')
    write_whole(path, '{\n' + ',\n'.join(entries) + '\n}\n')


def read_result(path: Path, kind: str, version: int) -> dict[str, Any]:
    """
    Read an earlier result.

    :param path: the file.
    :param kind: the ``format`` that it must have.
    :param version: version of that format.
    :raises ConfigError: if the file cannot be read or has another format.
    """
    try:
        found: dict[str, Any] = read_json(path, ConfigError)
        if (found['format'], found['version']) != (kind, version):
            raise ValueError(f'format {found["format"]!r}, version {found["version"]!r}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: no {kind} of this release: {error!r}') from None
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ['git', *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
