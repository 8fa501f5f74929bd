# SPDX-License-Identifier: Apache-2.0
"""Write the pages of tuning and ablations from their JSON: python -m studies report recipe.

Every number and every verdict on the pages comes from those files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from studies.ablation import ablate, ablate_moe, ablate_teacher
from studies.ablation.ablation_pages import ablations_page, rows_page
from studies.tune import outcome
from studies.tune.tuning_page import tuning_page
from training.common import provenance
from training.common.options import about, read_options

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report recipe --json docs/results/data/tuning.json --out docs/results/tuning.md
  python -m studies report recipe --json docs/results/data/ablations.json \\
      --out docs/results/ablations.md
  python -m studies report recipe --json docs/results/data/teacher_ablations.json \\
      --out docs/results/teacher_ablations.md
  python -m studies report recipe --json docs/results/data/moe_ablations.json \\
      --out docs/results/moe_ablations.md
"""


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options of ``report recipe``."""

    json: Path
    """Result of studies tune or of an ablation."""
    out: Path
    """File for the page, in Markdown."""


PAGES: dict[str, tuple[int, Callable[[Mapping[str, Any], str], str]]] = {
    outcome.FORMAT: (outcome.VERSION, tuning_page),
    ablate.FORMAT: (ablate.VERSION, ablations_page),
    ablate_teacher.FORMAT: (ablate_teacher.VERSION, rows_page),
    ablate_moe.FORMAT: (ablate_moe.VERSION, rows_page),
}


def read_result(path: Path) -> dict[str, Any]:
    """
    Read the JSON of ``studies tune --report`` or of one of the ablations.

    :raises ConfigError: if it is none of these.
    """
    result = read_json(path, ConfigError)
    form = result.get('format') if isinstance(result, dict) else None
    if form not in PAGES or result.get('version') != PAGES[form][0]:
        raise ConfigError(f'{path}: format {form!r}; must be one of {", ".join(PAGES)}')
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, or 2 if a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(RecipeOptions, 'studies report recipe', about(__doc__), EXAMPLE, words)
    try:
        result = read_result(options.json)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    page = PAGES[result['format']][1](
        result, provenance.command_line('studies report recipe', words)
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, page)
    print(f'written: {options.out}')
    return 0
