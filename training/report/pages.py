"""The command line of verbs that write one page from the JSON of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from training.common import provenance
from training.common.options import read_options

PageText = Callable[[Sequence[Mapping[str, Any]], Path, Path, str], str]
"""Results, the page's path, the folder of its figures and the command; the page in Markdown."""


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What such a verb can be told."""

    json: tuple[Path, ...] = ()
    """Results to be shown."""
    images: Path = Path('docs/results/images')
    """Of the figures."""
    out: Path
    """The page."""


def write_page(
    module: str, purpose: str, example: str, text: PageText, arguments: Sequence[str] | None
) -> int:
    """
    Run such a verb.

    :param module: as ``studies report toy``.
    :param purpose: of its help.
    :param example: worked, below its help.
    :param text: writes the page.
    :param arguments: the words after the verb; those of this process by default.
    :returns: the exit code: 0, or 2 when a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(PageOptions, module, purpose, example, words)
    try:
        results = [read_json(path, ConfigError) for path in options.json]
        command = provenance.command_line(module, words)
        write_whole(options.out, text(results, options.out, options.images, command))
    except (MotionPredictorError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'written: {options.out}')
    return 0
