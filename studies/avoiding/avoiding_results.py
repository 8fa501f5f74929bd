"""Write docs/results/avoiding.md from its JSON: python -m studies report avoiding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from studies.avoiding import avoiding
from studies.avoiding.avoiding_task import GAPS_M, OBSTACLES_M, WAYS
from studies.common.verdicts import TEMPLATES
from training.report.page import render, write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report avoiding --json docs/results/data/avoiding.json \\
      --out docs/results/avoiding.md
"""
CLAIM = 0.05
"""Success rates or entropies with a smaller difference than this are alike."""


def table(result: Mapping[str, Any]) -> list[str]:
    """Return the table of methods."""
    lines = [
        '| method | success: mean ± deviation | least | entropy: mean ± deviation | least '
        '| a choice: median ms | p99 ms | times as fast as the teacher |',
        '|---|---:|---:|---:|---:|---:|---:|---:|',
    ]
    for row in result['summary']:
        lines.append(
            f'| {avoiding.METHODS[row["method"]]} '
            f'| {row["success_rate_mean"]:.3f} ± {row["success_rate_spread"]:.3f} '
            f'| {row["success_rate_least"]:.3f} '
            f'| {row["entropy_mean"]:.3f} ± {row["entropy_spread"]:.3f} '
            f'| {row["entropy_least"]:.3f} | {row["call_median_ms"]:.2f} '
            f'| {row["call_p99_ms"]:.2f} | {row["times_as_fast_as_teacher"]:.1f} |'
        )
    return lines


def verdict(summary: Sequence[Mapping[str, Any]], method: str, other: str) -> str:
    """
    Return how a method compares with another, in both measures.

    :returns: for example ``success ahead (0.95 to 0.90), entropy alike (0.91 to 0.92)``.
    """
    of = {row['method']: row for row in summary}
    parts = []
    for name, shown in (('success_rate_mean', 'success'), ('entropy_mean', 'entropy')):
        own, theirs = of[method][name], of[other][name]
        word = 'alike' if abs(own - theirs) < CLAIM else 'ahead' if own > theirs else 'behind'
        parts.append(f'{shown} {word} ({own:.3f} to {theirs:.3f})')
    return ', '.join(parts)


def ranking(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return whether each claim of the paper holds here."""
    claims = (
        ('It distils the teacher accurately', ('teacher',)),
        ('It is ahead of other distillations', ('teacher_one', 'consistency')),
        ('It is ahead of mixtures trained on the data', ('em', 'imc')),
    )
    lines = []
    for claim, others in claims:
        found = [verdict(summary, 'vdd', other) for other in others]
        behind = any('behind' in text for text in found)
        ahead = all('ahead' in text for text in found)
        if others == ('teacher',):
            word = 'does not hold' if behind else 'holds'
        else:
            word = 'holds' if ahead and not behind else 'does not hold'
            if not behind and not ahead and any('ahead' in text for text in found):
                word = 'holds in part'
        beside = '; '.join(
            f'beside {avoiding.METHODS[other]}: {text}' for other, text in zip(others, found)
        )
        lines.append(f'- {claim}: **{word}**. VDD {beside}.')
    return lines


def page_text(result: Mapping[str, Any], page: Path, images: Path, command: str) -> str:
    """
    Return the text of the page.

    :raises ConfigError: if the result is of another command.
    """
    if result.get('format') != avoiding.FORMAT:
        raise ConfigError(f'format {result.get("format")!r}: not of {avoiding.FORMAT!r}')
    return (
        render(
            'avoiding.md',
            TEMPLATES,
            command=command,
            result=result,
            rows=len(GAPS_M),
            obstacles=', '.join(str(len(row)) for _, row in OBSTACLES_M),
            ways=WAYS,
            methods='\n'.join(table(result)),
            image=Path(os.path.relpath(images / 'avoiding.svg', page.parent)).as_posix(),
            alike=CLAIM,
            ranking='\n'.join(ranking(result['summary'])),
        )
        + '\n'
    )


def _of_one(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    if len(results) != 1:
        raise ConfigError(f'--json: {len(results)} files; give the one of studies avoiding')
    return page_text(results[0], page, images, command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return write_page('studies report avoiding', __doc__ or '', EXAMPLE, _of_one, arguments)
