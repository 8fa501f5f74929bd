# SPDX-License-Identifier: Apache-2.0
"""``config.yaml`` of a run folder: the settings with which the run can be started again."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import from_dict
from training.engine.config import as_plain, ChainConfig
from training.engine.overrides import renewed

NAME = 'config.yaml'
PLACE = ('run', 'data', 'skeleton_file', 'device')
"""Entries on where a run works; all others are settings of the chain."""
HEAD = '# A run of python -m training train; train STAGE --config THIS_FILE starts it again.\n'


def write_config(path: Path, place: Mapping[str, Any], chain: ChainConfig) -> None:
    """
    Write a run's settings, whole or not at all.

    :param path: the file.
    :param place: the entries of PLACE, as plain values.
    :param chain: settings of the chain.
    :raises StorageError: if it cannot be written; the old file stays.
    """
    text = StringIO()
    yaml = YAML(typ='safe', pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump({**place, **as_plain(chain)}, text)
    write_whole(path, HEAD + text.getvalue())


def read_config(path: Path) -> tuple[dict[str, Any], ChainConfig]:
    """
    Read a file that :func:`write_config` or ``--dry-run`` wrote.

    :returns: its entries of PLACE, and the settings.
    :raises ConfigError: if it cannot be read, or holds unknown settings.
    """
    try:
        found = YAML(typ='safe', pure=True).load(path.read_text(encoding='utf-8'))
        if not isinstance(found, dict):
            raise ValueError('it holds no settings')
        place = {name: found.pop(name) for name in PLACE if name in found}
        chain = from_dict(ChainConfig, renewed(found))
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(f'--config {path}: {error}') from None
    return place, chain
