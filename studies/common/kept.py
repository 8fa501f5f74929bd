# SPDX-License-Identifier: Apache-2.0
"""Results in a run folder, found by the digest of what they depend on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
import time
from typing import Any

from motion_predictor.errors import ConfigError


def digest(key: Any) -> str:
    """Return the digest of a JSON-able key, 16 hexadecimal digits."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any] | None:
    """
    Read a result of ``provenance.write_json``; None if there is none.

    :raises ConfigError: if it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path}: no readable JSON ({error}); delete it') from None


class Stopwatch:
    """Processor seconds of this process since this object was made."""

    def __init__(self) -> None:
        self._begun = time.process_time()

    def seconds(self) -> float:
        """Return the seconds."""
        return time.process_time() - self._begun
